"""A run's trajectories in the hands of other programs: on the command line, in Python, with the box."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

import mdgen
from mdgen.apps.main import main
from mdgen.data.export import export_trajectories
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two replicas of alanine dipeptide, its heavy atoms, three frames each."""
    folder = tmp_path_factory.mktemp("runs") / "md"
    given = ["system.sequence=A", "engine=torch", "n_replicas=2", "equilibration_ns=0", "length_ns=0.0003"]
    given += ["save_ps=0.1", "export=xtc", "save_atoms=not element H", "threads=1"]
    assert main(["simulate", *given, f"output={folder}"]) == 0
    return folder


def test_a_run_holds_its_topology_and_the_files_asked_for(run: Path) -> None:
    store = TrajectoryStore.open(run / "trajectories")
    assert {atom.element.symbol for atom in store.molecule.topology.atoms} == {"C", "N", "O"}
    assert Molecule.from_file(run / "topology.pdb") == store.molecule
    read = mdtraj.load(str(run / "trajectory-0001.xtc"), top=str(run / "topology.pdb"))
    np.testing.assert_allclose(read.xyz, store.positions(1), atol=6e-4)
    np.testing.assert_allclose(read.time, [0.0, 0.1, 0.2], atol=1e-6)


def test_a_run_is_opened_as_mdtraj(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = mdgen.open(run)
    assert mdgen.open(run / "trajectories").lengths == opened.lengths  # beside a checkpoint
    assert len(opened) == 2
    assert all(isinstance(each, mdtraj.Trajectory) for each in opened)
    np.testing.assert_array_equal(opened[1, ::2].xyz, opened[1].xyz[::2])
    with pytest.raises(MdgenError, match=r"name a run within it: .*md"):
        mdgen.open(run.parent)


@pytest.mark.parametrize("to", ["xtc", "dcd", "h5", "pdb"])
def test_export(run: Path, tmp_path: Path, to: str) -> None:
    assert main(["export", str(run), f"to={to}", "atoms=backbone", "stride=2", f"output={tmp_path / 'files'}"]) == 0
    files = sorted((tmp_path / "files").iterdir())
    assert [each.name for each in files] == ["topology.pdb", f"trajectory-0000.{to}", f"trajectory-0001.{to}"]
    top = {} if to in ("h5", "pdb") else {"top": str(files[0])}
    read, whole = mdtraj.load(str(files[2]), **top), mdgen.open(run)[1]
    atoms = whole.topology.select("backbone")
    assert 0 < len(atoms) < whole.n_atoms
    np.testing.assert_allclose(read.xyz, whole.xyz[::2, atoms], atol=6e-4)


@pytest.mark.parametrize("to", ["xtc", "dcd", "pdb"])
def test_mdanalysis_reads_what_is_exported(tmp_path: Path, to: str) -> None:
    universe_of = pytest.importorskip("MDAnalysis").Universe
    store, cells = boxes(tmp_path / "store")
    files = export_trajectories(mdgen.open(store), tmp_path, to)
    universe = universe_of(str(tmp_path / "topology.pdb"), str(files[0]))
    for frame, expected, cell in zip(universe.trajectory, mdgen.open(store)[0].xyz, cells, strict=True):
        np.testing.assert_allclose(frame.positions / 10, expected, atol=6e-4)
        if to != "pdb":  # one box for all frames
            np.testing.assert_allclose(frame.dimensions, [*(10 * np.diag(cell)), 90, 90, 90], atol=1e-4)


def boxes(path: Path) -> tuple[Path, np.ndarray]:
    """A store of one trajectory of two water molecules in a box that changes; its path and cells."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number in range(2):
        residue = topology.add_residue("HOH", chain, resSeq=number + 1)
        for name in ("O", "H1", "H2"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    cells = np.linspace(2, 3, 5)[:, None, None] * np.diag([1.0, 1.5, 2.0])
    near = np.array([[0, 0, 0], [0.09, 0, 0], [-0.03, 0.09, 0]])
    frames = np.random.default_rng(0).normal(size=(5, 2, 1, 3)) + near
    with TrajectoryStore.create(path, Molecule.from_mdtraj(topology), 0.2, 1) as store:
        store.append(frames.reshape(1, 5, 6, 3), cells=cells[None])
    return path, cells


@pytest.mark.parametrize("to", ["xtc", "dcd", "h5"])
def test_the_box_is_exported(tmp_path: Path, to: str) -> None:
    store, cells = boxes(tmp_path / "store")
    assert main(["export", str(store), f"to={to}", "atoms=element O", f"output={tmp_path}"]) == 0
    top = {} if to == "h5" else {"top": str(tmp_path / "topology.pdb")}
    read = mdtraj.load(str(tmp_path / f"trajectory-0000.{to}"), **top)
    assert read.n_atoms == 2
    np.testing.assert_allclose(read.unitcell_vectors, cells, atol=2e-6)
    start = mdtraj.load(str(tmp_path / "topology.pdb"))
    np.testing.assert_allclose(start.unitcell_vectors[0], cells[0], atol=1e-3)


MISTAKES = [
    (["to=trr"], "to=trr"),
    (["atoms=proteins"], "'proteins' is no selection of atoms"),
    (["atoms=water"], "'water' names no atom of Molecule"),
    (["stride=0"], "stride=0: expected at least 1"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_mistakes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["export", str(run), f"output={tmp_path / 'files'}", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "files").exists()
