"""zarr arrays are read slice by slice, of both formats; what a stranger's array says of itself runs nothing."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdgen
from mdgen.data.collection import open_molecules
from mdgen.data.loading import WindowLoader
from mdgen.data.trajectories import open_trajectories
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule

from .conftest import walk

zarr = pytest.importorskip("zarr", reason="zarr is not installed (the extra `zarr`)")


def written(path: Path, positions: np.ndarray, **settings: Any) -> Path:
    chunks = (1,) * (positions.ndim - 3) + (4, *positions.shape[-2:])
    array = zarr.create_array(store=str(path), shape=positions.shape, chunks=chunks, dtype=positions.dtype, **settings)
    array[...] = positions
    return path


SETTINGS: list[dict[str, Any]] = [
    {},
    {"zarr_format": 2},
    {"compressors": None},
    {"shards": (8, 12, 3)},
    {"compressors": zarr.codecs.BloscCodec(cname="lz4")},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["3", "2", "plain", "shards", "blosc"])
def test_slices_of_one_trajectory(tmp_path: Path, molecule: Molecule, settings: dict[str, Any]) -> None:
    path = written(tmp_path / "a.zarr", walk(10), **settings)
    opened = mdgen.open(path, molecule, 0.2)
    assert opened.lengths == (10,)
    np.testing.assert_array_equal(opened.positions(0, 1, 9, 3), walk(10)[1:9:3])


def test_several_trajectories_in_a_group_and_a_glob(tmp_path: Path, molecule: Molecule) -> None:
    positions = np.stack([walk(10), walk(10) + 1]).astype(np.float64)
    written(tmp_path / "run.zarr" / "positions", positions)
    written(tmp_path / "b.zarr", walk(5))
    opened = open_trajectories(tmp_path / "run.zarr/positions", molecule, 0.2)
    assert opened.lengths == (10, 10)
    assert opened.names[1].endswith("positions[1]")
    np.testing.assert_array_equal(opened.positions(1), positions[1].astype(np.float32))
    again = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(again.positions(0), positions[0].astype(np.float32))
    assert open_trajectories(tmp_path / "b*.zarr", molecule, 0.2).lengths == (5,)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_windows_of_a_folder_of_molecules(tmp_path: Path, molecule: Molecule, num_workers: int) -> None:
    for number in range(2):
        written(tmp_path / f"m{number}/a.zarr", walk(10) + number)
        mdgen.open(tmp_path / f"m{number}/a.zarr", molecule, 0.2)[0, 0].save_pdb(tmp_path / f"m{number}/top.pdb")
    dataset = WindowDataset(open_molecules(tmp_path, frame_spacing_ps=0.2), 4)
    batches = list(WindowLoader(dataset, batch_size=4, seed=1, num_workers=num_workers))
    assert sum(len(batch.positions) for batch in batches) == len(dataset) > 2


def changed(path: Path, **changes: Any) -> None:
    name = path / ("zarr.json" if (path / "zarr.json").is_file() else ".zarray")
    name.write_text(json.dumps(json.loads(name.read_text()) | changes))


def test_an_array_that_names_a_pickle_is_not_opened(tmp_path: Path, molecule: Molecule) -> None:
    inner = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}
    for number, (zarr_format, change) in enumerate(
        [(2, {"filters": [{"id": "pickle"}]}), (2, {"compressor": {"id": "pickle"}}), (3, {"codecs": [inner]})]
    ):
        path = written(tmp_path / f"{number}.zarr", walk(10), zarr_format=zarr_format)
        changed(path, **change)
        with pytest.raises(MdgenError, match=r"is encoded by (numcodecs\.)?pickle; expected blosc"):
            open_trajectories(path, molecule, 0.2)


MISTAKES = [
    ({"shape": [10, 12, 2]}, r"shape \(10, 12, 2\)"),
    ({"data_type": "int32"}, "int32"),
    ({"shape": [30, 12, 3]}, "lacks 5 of its 8 chunks"),
    ({"node_type": "group"}, r"a\.zarr/positions"),
    ({"shape": "many"}, "no zarr array of numbers"),
    ({"codecs": [3]}, "no zarr array of numbers"),
]


@pytest.mark.parametrize(("change", "sentence"), MISTAKES)
def test_mistakes(tmp_path: Path, molecule: Molecule, change: dict[str, Any], sentence: str) -> None:
    changed(written(tmp_path / "a.zarr", walk(10)), **change)
    with pytest.raises(MdgenError, match=sentence):
        open_trajectories(tmp_path / "a.zarr", molecule, 0.2)


def test_damage_is_found_when_it_is_read(tmp_path: Path, molecule: Molecule) -> None:
    path = written(tmp_path / "a.zarr", walk(10))
    chunk = path / "c/1/0/0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    opened = open_trajectories(path, molecule, 0.2)
    np.testing.assert_array_equal(opened.positions(0, 0, 4), walk(10)[:4])
    with pytest.raises(MdgenError, match=r"a\.zarr is damaged"):
        opened.positions(0)
    chunk.unlink()
    with pytest.raises(MdgenError, match=r"a\.zarr lacks 1 of its 3 chunks"):
        open_trajectories(path, molecule, 0.2)
