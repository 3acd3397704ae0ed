"""Many molecules open from a list, a table or a folder, and split so that no part shares a frame."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.data.collection import TrajectoryCollection, open_molecules
from mdgen.data.splits import CollectionSplit, split_collection
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import TrajectorySet, write_trajectory
from mdgen.errors import MdgenError

from .conftest import argon, walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run, a store, an h5 file, and npy files with a structure beside them."""
    for name, n_atoms in (("run/trajectories", 2), ("store", 3)):
        with TrajectoryStore.create(tmp_path / name, argon(n_atoms), 0.2, 1, {"temperature_K": 300}) as store:
            store.append(walk(5, n_atoms, n_atoms)[None])
    (tmp_path / "run" / "DONE").touch()
    (tmp_path / "file").mkdir()
    (tmp_path / "arrays").mkdir()
    write_trajectory(tmp_path / "file" / "a.h5", walk(6, 4, 4), argon(4), 0.2)
    write_trajectory(tmp_path / "arrays" / "start.pdb", walk(1, 5, 5), argon(5), 0.4)
    for number in range(2):
        np.save(tmp_path / "arrays" / f"{number}.npy", walk(7, 5 + number, 5))
    return tmp_path


def test_a_folder_of_molecules(folder: Path) -> None:
    found = open_molecules(folder, frame_spacing_ps=0.2, temperature_K=300.0)
    assert found.names == ("arrays", "file", "run", "store")
    assert [each.molecule.n_atoms for each in found] == [5, 4, 2, 3]
    assert [len(each) for each in found] == [2, 1, 1, 1]
    assert found.knows_temperatures
    assert not open_molecules(folder, 0.2).knows_temperatures
    np.testing.assert_array_equal(found[0].positions(1), walk(7, 6, 5))
    with pytest.raises(MdgenError, match=r"molecule arrays: .*does not say how far apart"):
        open_molecules(folder)


def test_a_table_and_a_list(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text(
        "trajectories,topology,frame_spacing_ps,temperature_K,name\n"
        "run,,,,small\narrays/*.npy,arrays/start.pdb,0.4,310,\nstore,,0.2,,\n"
    )
    listed = [
        {"trajectories": str(folder / "run"), "name": "small"},
        {
            "trajectories": [str(folder / "arrays" / "0.npy"), str(folder / "arrays" / "1.npy")],
            "topology": str(folder / "arrays" / "start.pdb"),
            "frame_spacing_ps": 0.4,
            "temperature_K": 310,
        },
        {"trajectories": str(folder / "store"), "frame_spacing_ps": 0.2},
    ]
    for found in (open_molecules(table), open_molecules(listed)):
        assert [each.temperature_K for each in found] == [300.0, 310.0, 300.0]
        assert [each.frame_spacing_ps for each in found] == [0.2, 0.4, 0.2]
        assert found.names == ("small", str(folder / "arrays" / "0.npy"), f"{folder / 'store'}[0]")
        assert found.n_frames == 24


def test_mistakes_are_refused(folder: Path) -> None:
    table = folder / "table.csv"
    (folder / "empty").mkdir()
    for content, match in [
        ("trajectories,mass\nrun,3\n", r"line 2 of .*table\.csv has no key 'mass'; expected trajectories, topology"),
        ("topology\nrun\n", "line 2 of .* lacks trajectories"),
        ("trajectories,temperature_K\nrun,hot\n", "temperature_K is 'hot'; expected a number"),
        ("trajectories,name\nrun,a,b\n", "has no key 'more columns"),
        ("trajectories\n", "of no molecules is empty"),
        ("trajectories\nnone\n", "molecule .*none: .*does not exist"),
        ("trajectories\nrun\nrun\n", "stands in this collection twice"),
    ]:
        table.write_text(content)
        with pytest.raises(MdgenError, match=match):
            open_molecules(table)
    with pytest.raises(MdgenError, match="entry 0 of molecules lacks trajectories"):
        open_molecules([{"topology": "a.pdb"}])
    with pytest.raises(MdgenError, match="empty holds no trajectories"):
        open_molecules(folder, 0.2)
    with pytest.raises(MdgenError, match="holds no folders"):
        open_molecules(folder / "empty")
    with pytest.raises(MdgenError, match="does not exist"):
        open_molecules(folder / "nothing")


def many(seed: int) -> TrajectoryCollection:
    """Twelve sets of eight molecules, frames numbered across all."""
    rng, sets, first = np.random.default_rng(seed), [], 0
    for number in range(12):
        arrays = []
        for _ in range(int(rng.integers(1, 4))):
            length = int(rng.integers(10, 100))
            frames = np.arange(first, first + length, dtype=np.float32)
            arrays.append(np.tile(frames[:, None, None], (1, number % 8 + 1, 3)))
            first += length
        sets.append(TrajectorySet.from_arrays(argon(number % 8 + 1), 0.2, arrays))
    return TrajectoryCollection(sets)


def parts_of(split: CollectionSplit) -> list[TrajectoryCollection]:
    return [part for part in (split.training, split.validation, split.test) if part is not None]


def frames_of(part: TrajectoryCollection) -> list[int]:
    return [int(x) for each in part for t in range(len(each)) for x in each.positions(t)[:, 0, 0]]


@pytest.mark.parametrize("by", ["molecule", "trajectory"])
@pytest.mark.parametrize("seed", range(6))
def test_parts_share_no_frame(by: str, seed: int) -> None:
    whole = many(seed)
    split = split_collection(whole, 0.2, 0.2, torch.Generator().manual_seed(seed), by)
    frames = [frames_of(part) for part in parts_of(split)]
    assert sorted(itertools.chain(*frames)) == list(range(whole.n_frames))
    for part in frames[1:]:
        assert 0.05 < len(part) / whole.n_frames < 0.4
    if by == "molecule":
        molecules = [{each.molecule for each in part} for part in parts_of(split)]
        assert sum(map(len, molecules)) == len(set.union(*molecules)) == 8
    again = split_collection(whole, 0.2, 0.2, torch.Generator().manual_seed(seed), by)
    assert [frames_of(part) for part in parts_of(again)] == frames


def test_a_part_that_is_not_asked_for() -> None:
    split = split_collection(many(0), 0.2, 0.0, torch.Generator())
    assert split.test is None
    assert split.validation is not None
    assert len(parts_of(split_collection(many(0), 0.0, 0.0, torch.Generator()))) == 1


def test_splits_that_leave_a_part_empty_are_refused() -> None:
    two = TrajectoryCollection([TrajectorySet.from_arrays(argon(n), 0.2, [walk(5, 0, n)]) for n in (1, 2)])
    assert len(parts_of(split_collection(two, 0.5, 0.0, torch.Generator()))) == 2
    for arguments, match in [
        ((two, 0.2, 0.2, torch.Generator()), "2 molecules cannot be split into 3 parts"),
        ((two, 0.5, 0.5, torch.Generator()), "leave nothing to train on"),
        ((two, -0.1, 0.5, torch.Generator()), "leave nothing to train on"),
        ((two, 0.5, 0.0, torch.Generator(), "frame"), "choose molecule or trajectory"),
    ]:
        with pytest.raises(MdgenError, match=match):
            split_collection(*arguments)
