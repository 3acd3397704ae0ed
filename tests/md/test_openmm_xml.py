"""An `openmm.System` of a user's own: virtual sites, custom forces, LJPME and triclinic boxes on engine=openmm."""

import os
from functools import cache
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine, passed_over
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.systems.openmm_systems.openmm_xml import build_openmm_xml, read_openmm_system, system_for_openmm

EDGE_NM = 1.5
TRICLINIC_NM = [[1.5, 0.0, 0.0], [0.3, 1.5, 0.0], [-0.3, 0.2, 1.5]]


@cache
def water() -> tuple[str, openmm.app.Topology, np.ndarray]:
    """TIP4P-Ew with LJPME, the first oxygen on a custom spring: XML, topology and positions (nm)."""
    field = openmm.app.ForceField("tip4pew.xml")
    modeller = openmm.app.Modeller(openmm.app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(field, model="tip4pew", boxSize=openmm.Vec3(EDGE_NM, EDGE_NM, EDGE_NM) * unit.nanometer)
    system = field.createSystem(
        modeller.topology, nonbondedMethod=openmm.app.LJPME, nonbondedCutoff=0.6, removeCMMotion=False
    )
    spring = openmm.CustomExternalForce("k*periodicdistance(x,y,z,0,0,0)^4")
    spring.addGlobalParameter("k", 50.0)
    spring.addParticle(0, [])
    system.addForce(spring)
    x = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return openmm.XmlSerializer.serialize(system), modeller.topology, x


def written(folder: Path, vectors: list[list[float]] | None = None) -> dict[str, str]:
    """The water's files, in a box of other vectors if they are given."""
    text, topology, x = water()
    if vectors is not None:
        system = openmm.XmlSerializer.deserialize(text)
        system.setDefaultPeriodicBoxVectors(*vectors)
        text = openmm.XmlSerializer.serialize(system)
    files = {"xml": folder / "system.xml", "pdb": folder / "water.pdb"}
    files["xml"].write_text(text)
    with files["pdb"].open("w") as file:
        openmm.app.PDBFile.writeFile(topology, x * unit.nanometer, file)
    return {kind: str(path) for kind, path in files.items()}


def engine_of(folder: Path, vectors: list[list[float]] | None = None, pressure_bar: float | None = None):
    system = build_openmm_xml(**written(folder, vectors))
    integrator, generator = Langevin(1.0, 300.0, 1.0), torch.Generator().manual_seed(0)
    engine = make_engine(system, integrator, 2, generator, threads=1, pressure_bar=pressure_bar)
    engine.prepare(initial_state(system, 2, torch.tensor([300.0]), generator))
    return system, engine


def test_virtual_sites_and_custom_forces_run_on_openmm(tmp_path: Path) -> None:
    system, engine = engine_of(tmp_path)
    assert isinstance(engine, OpenMMEngine)
    assert list(passed_over(system, engine.integrator)) == ["kernel", "torch"]
    massless = ~system.masses.isfinite()
    assert int(massless.sum()) == system.molecule.n_atoms // 4
    assert system.molecule.elements.count("VS") == system.molecule.n_atoms // 4
    before = engine.advance(0)
    after = engine.advance(20)
    assert float((after.positions - before.positions).norm(dim=-1).min()) > 0  # virtual sites follow
    oxygen, site = after.positions[:, ::4], after.positions[:, 3::4]
    torch.testing.assert_close(
        (site - oxygen).norm(dim=-1).float(), torch.full(site.shape[:2], 0.0125), atol=1e-4, rtol=0
    )
    assert system.constraints is not None
    assert float(system.constraints.largest_error(after.positions.double()).max()) < 1e-4
    expected = system.potential.energy(after.positions, after.cell)
    np.testing.assert_allclose(engine.potential_energy(), expected.numpy(), rtol=1e-3)
    spring = 50.0 * np.linalg.norm((after.positions[0, 0] + 0.5 * EDGE_NM) % EDGE_NM - 0.5 * EDGE_NM) ** 4
    without = openmm.XmlSerializer.deserialize(water()[0])
    without.removeForce(without.getNumForces() - 1)
    rest = system_for_openmm(without, system.positions).potential.energy(after.positions, after.cell)
    assert float(expected[0] - rest[0]) == pytest.approx(spring, rel=1e-4)


def test_a_triclinic_box_is_kept_and_recorded(tmp_path: Path) -> None:
    system, engine = engine_of(tmp_path, TRICLINIC_NM)
    assert system.cell is None
    frames, cells = engine.record(2, 5)
    assert cells is not None
    assert np.isfinite(frames).all()
    np.testing.assert_allclose(cells, np.broadcast_to(TRICLINIC_NM, (2, 2, 3, 3)), atol=1e-6)


def test_a_barostat_moves_a_triclinic_box(tmp_path: Path) -> None:
    _, engine = engine_of(tmp_path, TRICLINIC_NM, pressure_bar=5000.0)
    engine.advance(100)
    cells = engine.record(1, 25).cells
    assert cells is not None
    assert cells[0, 0, 0, 0] < TRICLINIC_NM[0][0]
    np.testing.assert_allclose(cells[0, 0] / cells[0, 0, 0, 0], np.array(TRICLINIC_NM) / 1.5, atol=1e-5)


def test_the_command_line_runs_and_resumes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = written(tmp_path, TRICLINIC_NM)
    run = ["simulate", "system=openmm_xml", f"system.xml={files['xml']}", f"system.pdb={files['pdb']}"]
    run += ["n_replicas=1", "equilibration_ns=0", "integrator.timestep_fs=1.0", "save_ps=0.01", "threads=1"]
    run += [f"output={tmp_path / 'run'}"]
    assert main([*run, "length_ns=0.00003"]) == 0
    with TrajectoryStore.open(tmp_path / "run" / "trajectories") as store:
        assert store.n_frames == 3
        np.testing.assert_allclose(store.cells(0)[-1], TRICLINIC_NM, atol=1e-6)
    start = mdtraj.load(str(tmp_path / "run/topology.pdb"))
    np.testing.assert_allclose(start.unitcell_vectors[0], TRICLINIC_NM, atol=1e-3)
    assert main([*run, "length_ns=0.00005"]) == 0
    with TrajectoryStore.open(tmp_path / "run" / "trajectories") as store:
        assert store.n_frames == 5
    start.unitcell_angles = start.unitcell_angles + 1.0
    start.save_pdb(str(tmp_path / "start.pdb"))
    other = [*run[:-1], "system.relax=false", f"start={tmp_path / 'start.pdb'}", f"output={tmp_path / 'other'}"]
    assert main(other) == 2
    assert "of another periodic box than the system's" in capsys.readouterr().err


class _Code:
    """Stands for a function of a stranger: unpickling it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __call__(self, state: object) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros((1, 3))

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("spelled", ["PythonForce", "&#80;ythonForce", "&#x50;ythonForce"])
def test_pickled_code_is_refused(tmp_path: Path, spelled: str) -> None:
    system, touched = openmm.System(), tmp_path / "touched"
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(_Code(f"touch {touched}")))
    file = tmp_path / "system.xml"
    file.write_text(openmm.XmlSerializer.serialize(system).replace("PythonForce", spelled))
    with pytest.raises(MdgenError, match="PythonForce, whose pickled function would run code"):
        read_openmm_system(str(file))
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no XML"),
        (b"\xff\xfe<\0S\0", "no XML"),
        (b"<System", "no XML"),
        (b'<System type="System"></System>', "cannot read"),
        (b'<System type="Nonsense" version="1"/>', "cannot read"),
        (b"<a>" * 100 + b"</a>" * 100, "no openmm.System needs"),
        (b"<foo/>", "cannot read"),
        (b'<Force energy="' + b"-" * 2000 + b'r"/>', "no openmm.System needs"),
        (b'<Force energy="a0;' + b";".join(b"a%d=a%d*a%d" % (n, n + 1, n + 1) for n in range(20)) + b'"/>', "needs"),
        (b'<Force energy="a;a=b;b=a"/>', "no openmm.System needs"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "no openmm.System needs"),
        (b'<a energy="' + 2000 * b"(" + b'"/>', "no openmm.System needs"),
        (openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)).encode(), "holds an openmm VerletIntegrator"),
    ],
)
def test_files_that_are_no_system_are_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "system.xml"
    file.write_bytes(content)
    with pytest.raises(MdgenError, match=complaint):
        read_openmm_system(str(file))


def test_mistakes_are_named(tmp_path: Path) -> None:
    files = written(tmp_path)
    with pytest.raises(MdgenError, match=r"xml file missing\.xml does not exist"):
        build_openmm_xml(**files | {"xml": "missing.xml"})
    lines = Path(files["pdb"]).read_text().splitlines()
    last = max(index for index, line in enumerate(lines) if line.startswith(("ATOM", "HETATM")))
    Path(files["pdb"]).write_text("\n".join([*lines[: last - 3], "END"]))
    with pytest.raises(MdgenError, match=r"holds \d+ particles, but .* has \d+ atoms"):
        build_openmm_xml(**files)
    for force, name in (
        (openmm.MonteCarloBarostat(1.0, 300.0), "MonteCarloBarostat"),
        (openmm.AndersenThermostat(300.0, 1.0), "AndersenThermostat"),
    ):
        system = openmm.XmlSerializer.deserialize(water()[0])
        system.addForce(force)
        with pytest.raises(MdgenError, match=f"has a {name}, but temperature and pressure are settings of the run"):
            system_for_openmm(system, torch.from_numpy(water()[2]))
