"""HDF5 files are data: nothing in them runs, nothing outside them is read, and mdtraj's own come back bit for bit."""

import json
import os
import pickle
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

import mdgen
from mdgen.data.formats.h5 import H5Source
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule

from .conftest import walk


@pytest.fixture
def file(tmp_path: Path, molecule: Molecule) -> Path:
    write_trajectory(tmp_path / "walk.h5", walk(9), molecule, 0.2)
    return tmp_path / "walk.h5"


def changed(path: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as opened:
        change(opened)
    return path


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("place", ["/", "coordinates", "time", "topology"])
@pytest.mark.parametrize(
    "name", ["TITLE", "CLASS", "FLAVOR", "FILTERS", "VERSION", "EXTDIM", "units", "title", "conventions", "custom"]
)
@pytest.mark.parametrize("kind", [np.bytes_, np.void])
def test_a_pickled_attribute_runs_nothing(
    file: Path, tmp_path: Path, molecule: Molecule, place: str, name: str, kind: type
) -> None:
    made = tmp_path / "made"
    changed(file, lambda opened: opened[place].attrs.__setitem__(name, kind(pickle.dumps(Payload(made), 0))))
    read = name == "units" and place in ("coordinates", "time")  # all others are never touched
    for topology in (None, file, molecule):
        with pytest.raises(MdgenError, match=f"{place} in") if read else nullcontext():
            np.testing.assert_array_equal(open_trajectories(file, topology).positions(0), walk(9))
    assert Molecule.from_file(file) == molecule
    assert not made.exists()


def test_the_payload_would_run_in_pytables(file: Path, tmp_path: Path) -> None:
    """What the tests above guard against: without this one they could pass with a payload that is none."""
    tables = pytest.importorskip("tables")
    made = tmp_path / "made"
    changed(file, lambda opened: opened.attrs.__setitem__("title", np.bytes_(pickle.dumps(Payload(made), 0))))
    with tables.open_file(file) as opened:
        assert opened.root._v_attrs.title is None
    assert made.exists()


def test_no_file_of_the_package_opens_hdf5_otherwise() -> None:
    """PyTables, and mdtraj where it chooses the reader by the extension, would run what a file holds."""
    package = Path(mdgen.__file__).parent
    for path in package.rglob("*.py"):
        found = re.search(
            r"import tables\b|mdtraj\.(open|load|iterload|load_frame|load_hdf5|load_h5)\(", path.read_text()
        )
        assert found is None, f"{path}: {found}"
    assert "mdtraj.load_topology(" in (package / "molecule" / "topology.py").read_text()
    users = [path.name for path in package.rglob("*.py") if "load_topology(" in path.read_text()]
    assert users == ["topology.py"]


def test_pickled_data_sets_are_refused(file: Path, tmp_path: Path) -> None:
    content, made = np.frombuffer(pickle.dumps(Payload(tmp_path / "made"), 0), np.uint8), tmp_path / "made"

    def replace(name: str, **settings: object) -> Callable[[h5py.File], None]:
        def change(opened: h5py.File) -> None:
            del opened[name]
            opened.create_dataset(name, **settings)
            opened[name].attrs["PSEUDOATOM"] = np.bytes_(b"object")

        return change

    variable = {"dtype": h5py.vlen_dtype(np.uint8), "shape": (1,)}
    for name in ("topology", "coordinates", "time"):
        for settings in (variable, {"data": content}, {"data": np.void(content.tobytes())}):
            path = tmp_path / "other.h5"
            path.write_bytes(file.read_bytes())
            with pytest.raises(MdgenError, match=name):
                open_trajectories(changed(path, replace(name, **settings)))
    assert not made.exists()


@pytest.mark.parametrize("name", ["coordinates", "time", "topology"])
@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "storage"])
def test_data_elsewhere_is_refused(file: Path, tmp_path: Path, name: str, kind: str) -> None:
    secret = tmp_path / "secret.h5"
    secret.write_bytes(file.read_bytes())

    def change(opened: h5py.File) -> None:
        shape, dtype = opened[name].shape, opened[name].dtype
        opened.move(name, "aside")
        if kind == "soft":
            opened[name] = h5py.SoftLink("/aside")
        elif kind == "external":
            opened[name] = h5py.ExternalLink(str(secret), f"/{name}")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource(str(secret), name, shape)
            opened.create_virtual_dataset(name, layout)
        else:
            opened.create_dataset(name, shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

    with pytest.raises(MdgenError, match=f"{name} in .* (is a link|lies in another file)"):
        open_trajectories(changed(file, change))


@pytest.mark.parametrize("shape", [(2**40, 12, 3), (9, 2**40, 3), (9, 12, 4), (9, 36), (9, 2**20, 3)])
def test_absurd_shapes_are_refused_before_anything_is_allocated(
    file: Path, molecule: Molecule, shape: tuple[int, ...]
) -> None:
    def change(opened: h5py.File) -> None:
        del opened["coordinates"]
        opened.create_dataset("coordinates", shape, np.float32, chunks=True)

    with pytest.raises(MdgenError, match=r"claims shape|coordinates of shape"):
        open_trajectories(changed(file, change), molecule)


@pytest.mark.parametrize("key", ["name", "atom", "bond"])
@pytest.mark.parametrize("wrong", [5, None, ["N"], -1])
def test_names_that_are_no_text_and_bonds_to_nowhere_are_refused(file: Path, key: str, wrong: object) -> None:
    with h5py.File(file, "r+") as opened:
        document = json.loads(bytes(opened["topology"][0]))
        residue = document["chains"][0]["residues"][0]
        if key == "bond":
            document["bonds"].append([0, 0 if wrong is None else 10**6 if wrong == 5 else wrong])
        else:
            (residue if key == "name" else residue["atoms"][0])["name"] = wrong
        del opened["topology"]
        opened["topology"] = np.array([json.dumps(document).encode()])
    with pytest.raises(MdgenError, match=r"topology in .* is damaged"):
        Molecule.from_file(file)


@pytest.mark.parametrize("text", [b"\x80\x02", b"[" * 100_000, b'{"chains": 3}', b'{"chains": [], "bonds": [[0, 1]]}'])
def test_a_damaged_topology_is_refused(file: Path, text: bytes) -> None:
    def change(opened: h5py.File) -> None:
        del opened["topology"]
        opened["topology"] = np.array([text])

    with pytest.raises(MdgenError, match=r"topology in .* is damaged"):
        Molecule.from_file(changed(file, change))


def test_a_filter_of_pytables_is_refused(tmp_path: Path) -> None:
    tables = pytest.importorskip("tables")
    path = tmp_path / "blosc.h5"
    with tables.open_file(path, "w", filters=tables.Filters(5, "blosc")) as opened:
        opened.create_carray("/", "coordinates", obj=walk(200))
    with pytest.raises(MdgenError, match="compressed by another filter than zlib"):
        H5Source(path)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_files_of_mdtraj_come_back_bit_for_bit(tmp_path: Path, molecule: Molecule, compression: str | None) -> None:
    pytest.importorskip("tables")
    path, whole = tmp_path / "mdtraj.h5", walk(300)
    with mdtraj.formats.HDF5TrajectoryFile(str(path), "w", compression=compression) as opened:
        opened.topology = molecule.topology
        opened.write(
            whole, time=0.2 * np.arange(300), cell_lengths=np.ones((300, 3)), cell_angles=np.full((300, 3), 90)
        )
    found = open_trajectories(path)
    assert (found.molecule, found.frame_spacing_ps, found.lengths) == (molecule, 0.2, (300,))
    np.testing.assert_array_equal(found.positions(0), whole)
    np.testing.assert_array_equal(found.positions(0, 7, 290, 13), whole[7:290:13])
    write_trajectory(tmp_path / "mdgen.h5", whole, molecule, 0.2)
    read = mdtraj.load(str(tmp_path / "mdgen.h5"))
    np.testing.assert_array_equal(read.xyz, whole)
    assert Molecule.from_mdtraj(read.topology) == molecule


def test_other_units_are_converted(file: Path) -> None:
    def change(opened: h5py.File) -> None:
        opened["coordinates"].attrs["units"] = "angstroms"
        opened["time"].attrs["units"] = "nanoseconds"

    found = open_trajectories(changed(file, change))
    assert found.frame_spacing_ps == 200.0
    np.testing.assert_allclose(found.positions(0), walk(9) / 10, rtol=1e-6)
    with pytest.raises(MdgenError, match="holds coordinates in 'miles'"):
        open_trajectories(changed(file, lambda opened: opened["coordinates"].attrs.__setitem__("units", "miles")))
