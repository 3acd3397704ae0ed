"""OpenMM as an engine: the same protocol, PME, pressure, bitwise restarts, and NaN that stays in its replica."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.force_field.force_field import force_field_of
from mdgen.md.systems.build import build_system
from mdgen.molecule.torsions import torsions
from tests.md.reference import alanine_dipeptide


@cache
def solvated() -> System:
    return build_system(
        sequence="A",
        force_field="amber14",
        hydrogen_mass_amu=None,
        solvent="tip3pfb",
        long_range="pme",
        padding_nm=0.5,
        cutoff_nm=0.6,
    )


def started(engine: Engine, system: System, n: int = 1, seed: int = 0) -> None:
    engine.prepare(initial_state(system, n, torch.tensor([300.0]), torch.Generator().manual_seed(seed)))


def test_pme_runs_on_openmm_alone() -> None:
    system = solvated()
    assert system.potential.parameters.cutoff is not None
    assert system.potential.parameters.cutoff.ewald
    generator = torch.Generator().manual_seed(0)
    integrator = Langevin(2.0, 300.0)
    for kind in ("torch", "kernel"):
        with pytest.raises(MdgenError, match=rf"{kind} does not have Ewald sums.*use engine=openmm"):
            make_engine(system, integrator, 1, generator, kind=kind)
        with pytest.raises(MdgenError, match=r"constant volume; use engine=openmm"):
            make_engine(system, integrator, 1, generator, kind=kind, pressure_bar=1.0)
    with pytest.raises(MdgenError, match=r"Ewald sums .PME. are computed by OpenMM alone"):
        system.potential.energy(system.positions[None], system.cell[None])
    engine = make_engine(system, integrator, 1, generator, threads=1)
    assert isinstance(engine, OpenMMEngine)


@pytest.mark.parametrize(
    ("solvent", "salt", "is_its_own"), [("obc2", 0.0, True), ("obc2", 0.1, False), ("obc1", 0.0, False)]
)
def test_generalised_born_is_openmms_own_force_where_there_is_one(solvent: str, salt: float, is_its_own: bool) -> None:
    """The same energy many times faster than by the algebraic expressions in OpenMM's XML."""
    system = build_system(sequence="A", solvent=solvent, salt_molar=salt, relax=False)
    engine = OpenMMEngine(system, Langevin(2.0, 300.0), 1, torch.Generator().manual_seed(0), "double", threads=1)
    started(engine, system)
    forces = {type(force).__name__ for force in engine._contexts[0].getSystem().getForces()}
    assert ("GBSAOBCForce" in forces, "CustomGBForce" in forces) == (is_its_own, not is_its_own)
    expected = system.potential.energy(system.positions[None])
    np.testing.assert_allclose(engine.potential_energy(), expected.numpy(), rtol=1e-6)


def test_ambers_constant_is_not_taken_for_openmms() -> None:
    system = build_system(sequence="A", solvent="vacuum", coulomb="amber", relax=False)
    with pytest.raises(MdgenError, match=r"openmm does not have another constant .*coulomb=amber"):
        make_engine(system, Langevin(2.0, 300.0), 1, torch.Generator().manual_seed(0), kind="openmm")


def test_ff19sb_in_opc_runs_from_a_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fourth site of the water is a virtual one, 0.0159 nm from its oxygen (Izadi et al., 2014)."""
    of_system = [
        "sequence=A",
        "force_field=amber19",
        "solvent=opc",
        "padding_nm=0.4",
        "cutoff_nm=0.6",
        "long_range=pme",
    ]
    run = ["simulate", "system=peptide", *(f"system.{each}" for each in of_system), f"output={tmp_path / 'run'}"]
    run += ["n_replicas=1", "threads=1", "equilibration_ns=0", "integrator.timestep_fs=2", "save_ps=0.01"]
    run += ["length_ns=0.00005"]
    assert main([*run, "engine=torch"]) == 2
    assert re.search(r"engine=torch does not have .*M\) is a virtual site.* use engine=openmm", capsys.readouterr().err)
    assert main(run) == 0
    with TrajectoryStore.open(tmp_path / "run" / "trajectories") as store:
        frames, elements = store.positions(0, 0, store.n_frames), np.array(store.molecule.elements)
    sites = np.flatnonzero(elements == "VS")
    assert len(sites) > 20
    np.testing.assert_allclose(np.linalg.norm(frames[:, sites] - frames[:, sites - 3], axis=-1), 0.01594, atol=2e-5)
    assert np.linalg.norm(frames[-1] - frames[0], axis=-1).min() > 0
    box = {"sequence": "A", "solvent": "opc", "padding_nm": 0.4, "cutoff_nm": 0.6}
    one, two = build_system(**box), build_system(**box)
    assert torch.equal(one.positions, two.positions)  # minimised, and each time the same
    assert [torsion.name for torsion in torsions(one.molecule)][:1] == ["phi ALA2"]  # sites need no bonds
    with pytest.raises(MdgenError, match=r"needs a force field of this package.*virtual site"):
        force_field_of(one.potential)


def test_waters_of_a_file_get_hydrogens_and_their_fourth_site(tmp_path: Path) -> None:
    molecule = alanine_dipeptide()
    heavy = molecule.molecule.select("not element H")
    atoms = [molecule.molecule.topology.atom(int(index)) for index in heavy]
    rows = [(a.name, a.residue.name, a.residue.index + 1, *(10 * molecule.positions[a.index]).tolist()) for a in atoms]
    rows += [("O", "HOH", 4, 9.0, 9.0, 9.0), ("O", "HOH", 5, 14.0, 9.0, 9.0)]
    line = "{:6s}{:5d}  {:<3s} {:3s} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2s}\n"
    path = tmp_path / "crystal.pdb"
    path.write_text("".join(line.format("ATOM", n, *row, row[0][0]) for n, row in enumerate(rows, 1)) + "END\n")
    system = build_system(pdb=str(path), solvent="opc", padding_nm=0.3, cutoff_nm=0.5, relax=False)
    waters = [residue for residue in system.molecule.topology.residues if residue.name == "HOH"]
    assert {residue.n_atoms for residue in waters} == {4}
    assert len(waters) > 2


def test_pressure_changes_the_box_and_is_resumed() -> None:
    system = solvated()

    def engine(seed: int) -> OpenMMEngine:
        generator = torch.Generator().manual_seed(seed)
        return OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=5000.0)

    one, two = engine(1), engine(2)
    started(one, system)
    before = one.advance(200)
    two.load_state_dict(one.state_dict())
    resumed = two.advance(0)
    assert before.cell is not None
    assert resumed.cell is not None
    assert system.cell is not None
    assert not torch.equal(before.cell[0], system.cell)
    assert torch.equal(resumed.cell, before.cell)
    assert torch.equal(resumed.positions, before.positions)
    frames, cells = two.record(3, 50)
    assert np.isfinite(frames).all()
    assert cells is not None
    assert len(np.unique(cells[0, :, 0, 0])) > 1
    np.testing.assert_array_equal(cells[:, -1], two.advance(0).cell.float().diag_embed().numpy())


def test_mistakes_are_named() -> None:
    system = alanine_dipeptide()
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(MdgenError, match="no box to hold it"):
        OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1, pressure_bar=1.0)
    with pytest.raises(MdgenError, match="does not fit an engine"):
        started(OpenMMEngine(system, Langevin(2.0, 300.0), 2, generator, threads=1), system, 3)
    engine = OpenMMEngine(system, Langevin(2.0, 300.0), 1, generator, threads=1)
    wrong = {**engine.state_dict(), "checkpoint_0": torch.zeros(64, dtype=torch.uint8)}
    with pytest.raises(MdgenError, match="cannot continue from its checkpoint"):
        engine.load_state_dict(wrong)
