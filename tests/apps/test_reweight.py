"""`mdgen reweight`: a double well at another temperature and under a restraint, as solved by quadrature; refusals."""

import json
from pathlib import Path

import numpy as np
import openmm
import pytest

from mdgen.apps.main import main
from mdgen.apps.runs.potentials import potential_for
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.md.force_field.openmm_potential import OpenMMPotential
from mdgen.md.systems.openmm_systems.openmm_xml import build_openmm_xml
from mdgen.molecule.topology import Molecule
from mdgen.units import thermal_energy

GRID = np.linspace(-0.45, 0.45, 4001)
WELLS = 7.5 * ((GRID / 0.2) ** 2 - 1) ** 2
"""The double well of conf/system/double_well.yaml in kJ/mol; 500 kJ/mol/nm^2 in y and z."""
N = 8 * 5000


def law(energy_kT: np.ndarray) -> np.ndarray:
    density = np.exp(-(energy_kT - energy_kT.min()))
    return density / density.sum()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exact samples of the double well at 300 K, 8 trajectories."""
    rng, path = np.random.default_rng(1), tmp_path_factory.mktemp("wells") / "store"
    spread = np.sqrt(thermal_energy(300.0) / 500.0)
    x = rng.choice(GRID, N, p=law(WELLS / thermal_energy(300.0))) + rng.uniform(-0.5, 0.5, N) * (GRID[1] - GRID[0])
    positions = np.stack([x, *(spread * rng.standard_normal((2, N)))], -1).reshape(8, -1, 1, 3)
    with TrajectoryStore.create(path, Molecule.particles(["P"]), 1.0, 8, {"temperature_K": 300.0}) as store:
        store.append(positions.astype(np.float32))
    return path


def reweighted(frames: Path, folder: Path, *overrides: str) -> tuple[dict, np.ndarray]:
    command = ["reweight", f"generated.trajectories={frames}", "system=double_well", "threads=1", f"output={folder}"]
    assert main([*command, "bins=40", *overrides]) == 0
    return json.loads((folder / "metrics.json").read_text()), np.load(folder / "weights.npy")


def test_another_temperature(frames: Path, tmp_path: Path) -> None:
    metrics, weights = reweighted(frames, tmp_path / "run", "temperature_K=240")
    r = 300.0 / 240.0
    before, after = (law(WELLS / thermal_energy(kelvin)) for kelvin in (300.0, 240.0))
    ratio = after / before
    exact_share = 1 / (before @ ratio**2) * (2 * r - 1) / r**2  # of x, times that of y and z
    assert metrics["effective_share"] == pytest.approx(exact_share, rel=0.02)
    assert metrics["acceptance"][0]["value"] == pytest.approx(exact_share * N, rel=0.02)
    assert weights.shape == (N,)
    assert weights.sum() == pytest.approx(1)
    exact_energy = after @ WELLS + thermal_energy(240.0)
    assert metrics["mean_energy_kJ_mol"]["reweighted"] == pytest.approx(exact_energy, rel=0.03)
    along_x = metrics["free_energies"][0]
    exact = -np.log(np.interp(along_x["centres"], GRID, after))
    shown = exact - exact.min() < 3
    difference = np.array(along_x["reweighted_kT"], dtype=float)[shown] - exact[shown]
    assert np.std(difference) < 0.1
    unweighted = np.array(along_x["sampled_kT"], dtype=float)[shown] - exact[shown]
    assert np.std(unweighted) > 2 * np.std(difference)
    low, high = (np.array(along_x[key], dtype=float)[shown] for key in ("low_kT", "high_kT"))
    assert (low <= high).all()
    assert (tmp_path / "run/reweighted.png").stat().st_size > 1000


def test_an_added_potential(frames: Path, tmp_path: Path) -> None:
    restraint = ["potential=harmonic_restraint", "potential.positions_nm=[[0.2,0.0,0.0]]", "potential.k=20"]
    metrics, weights = reweighted(frames, tmp_path / "run", *restraint)
    exact = law((WELLS + 20 * (GRID - 0.2) ** 2) / thermal_energy(300.0))
    x = TrajectoryStore.open(frames)
    right = np.concatenate([x.positions(index)[:, 0, 0] > 0 for index in range(8)])
    assert weights @ right == pytest.approx(exact @ (GRID > 0), abs=0.01)
    assert right.mean() == pytest.approx(0.5, abs=0.02)
    assert metrics["temperature_K"] == 300.0


def test_too_little_overlap_is_refused_and_leaves_nothing(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reweight", f"generated.trajectories={frames}", "system=double_well", f"output={tmp_path}/run"]
    assert main([*command, "temperature_K=2", "least_effective=2000"]) == 2
    said = capsys.readouterr().err
    assert "hardly overlap" in said
    assert "% of the way" in said
    assert main(command) == 2
    assert "of this very ensemble" in capsys.readouterr().err
    assert main([*command, "temperature_K=-3"]) == 2
    capsys.readouterr()
    assert main([*command, "temperature_K=290", "seed=-1"]) == 2
    assert "seed=-1: expected at least 0" in capsys.readouterr().err
    assert main(["reweight", f"generated.trajectories={frames}", "temperature_K=290", f"output={tmp_path}/run"]) == 2
    assert "atom" in capsys.readouterr().err  # the double well's particle is no alanine dipeptide
    assert list(tmp_path.iterdir()) == []


def test_frames_of_a_run_under_an_added_potential_are_refused_however_they_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restraint = ["potential=harmonic_restraint", "potential.positions_nm=[[0.2,0.0,0.0]]", "potential.k=20"]
    run = ["simulate", "system=double_well", "integrator=overdamped", "n_replicas=2", "length_ns=2e-5", "save_ps=0.01"]
    run += ["equilibration_ns=0", "export=h5", "threads=1"]
    assert main([*run, *restraint, f"output={tmp_path / 'held'}"]) == 0
    assert main([*run, f"output={tmp_path / 'free'}"]) == 0
    command = ["reweight", "system=double_well", "temperature_K=299", "least_effective=2", f"output={tmp_path / 'x'}"]
    for name, is_named in (
        ("{}", "{}"),
        ("{}/trajectories", "{}/trajectories"),
        ("{}/*.h5", "{}/"),
        ("[{}/trajectories,{}/trajectories]", "{}/trajectories"),
    ):
        held, free = (name.replace("{}", str(tmp_path / each)) for each in ("held", "free"))
        asked = [*command, "generated.temperature_K=300"] if "h5" in name else command
        capsys.readouterr()
        assert main([*asked, f"generated.trajectories={held}"]) == 2
        said = capsys.readouterr().err
        assert f"mdgen: {is_named.replace('{}', str(tmp_path / 'held'))}" in said
        assert "was sampled under an added potential" in said
        assert main([*asked, f"generated.trajectories={free}", f"output={tmp_path / str(len(name))}"]) == 0


@pytest.mark.parametrize("vectors", [None, [[2, 0, 0], [0, 2, 0], [0, 0, 2]], [[2, 0, 0], [0.5, 2, 0], [0, 0.5, 2]]])
def test_a_force_field_of_openmm_in_a_box_is_refused(tmp_path: Path, vectors: list[list[float]] | None) -> None:
    openmm_system, force = openmm.System(), openmm.NonbondedForce()
    openmm_system.addParticle(39.9)
    force.addParticle(0.0, 0.34, 1.0)
    openmm_system.addForce(force)
    if vectors is not None:
        openmm_system.setDefaultPeriodicBoxVectors(*vectors)
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    (tmp_path / "argon.xml").write_text(openmm.XmlSerializer.serialize(openmm_system))
    (tmp_path / "argon.pdb").write_text(
        "HETATM    1 AR   AR  A   1       0.000   0.000   0.000  1.00  0.00          AR\nEND\n"
    )
    given = {"_target_": "mdgen.md.systems.openmm_systems.openmm_xml.build_openmm_xml"}
    given |= {kind: str(tmp_path / f"argon.{kind}") for kind in ("xml", "pdb")}
    molecule = build_openmm_xml(given["xml"], given["pdb"], relax=False).molecule
    if vectors is None:
        assert isinstance(potential_for(given, molecule), OpenMMPotential)
        return
    with pytest.raises(MdgenError, match="system: this force field needs a periodic box"):
        potential_for(given, molecule)
