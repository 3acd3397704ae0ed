"""Whatever is written is read back, in slices or whole; every bad input is refused in one sentence."""

import errno
import multiprocessing
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from mdgen.data import trajectories as module
from mdgen.data.formats import writing
from mdgen.data.splits import take_fraction
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import TrajectorySet, open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule
from mdgen.open_files import OpenFiles

from .conftest import argon, walk

ROUNDING = {"xtc": 6e-4, "dcd": 1e-6, "h5": 0.0, "pdb": 6e-5}


def opened(path: Path, molecule: Molecule) -> TrajectorySet:
    needs_spacing = path.suffix in (".dcd", ".pdb", ".npy")
    return open_trajectories(path, molecule, frame_spacing_ps=0.2 if needs_spacing else None)


@pytest.mark.parametrize("suffix", ROUNDING)
@pytest.mark.parametrize("n_atoms", [3, 12])  # xtc files of up to nine atoms are not compressed
def test_round_trip_and_slices(tmp_path: Path, suffix: str, n_atoms: int) -> None:
    path, molecule, whole = tmp_path / f"walk.{suffix}", argon(n_atoms), walk(41, n_atoms=n_atoms)
    assert write_trajectory(path, (whole[i : i + 7] for i in range(0, 41, 7)), molecule, 0.2) == 41
    found = opened(path, molecule)
    assert (found.lengths, found.frame_spacing_ps, found.molecule) == ((41,), 0.2, molecule)
    np.testing.assert_allclose(found.positions(0), whole, atol=ROUNDING[suffix])
    rng = np.random.default_rng(0)
    for _ in range(40):
        start, stop, stride = int(rng.integers(-45, 45)), int(rng.integers(-45, 45)), int(rng.integers(1, 12))
        expected = whole[start:stop:stride]
        np.testing.assert_allclose(found.positions(0, start, stop, stride), expected, atol=ROUNDING[suffix])
    np.testing.assert_array_equal(np.concatenate(list(found.blocks(0, 9))), found.positions(0))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ROUNDING)
def test_the_box_goes_along(tmp_path: Path, molecule: Molecule, suffix: str) -> None:
    path, whole = tmp_path / f"walk.{suffix}", walk(9)
    atol = 5e-4 if suffix == "pdb" else 2e-6  # CRYST1 has angles to 0.01 degrees
    edges = np.linspace(2.0, 2.2, 9)[:, None] * np.array([1.0, 1.5, 2.0])
    if suffix == "pdb":
        edges[:] = edges[0]  # the format has one box for all frames
    cells = (edges[..., None] * np.array([[1, 0, 0], [0.3, 1, 0], [0, 0.2, 1]])).astype(np.float32)
    write_trajectory(path, (whole[i : i + 4] for i in range(0, 9, 4)), molecule, 0.2, cells)
    found = opened(path, molecule)
    np.testing.assert_allclose(found.cells(0, 1, 8, 2), cells[1:8:2], atol=atol)
    read = mdtraj.load(str(path), **({} if suffix in ("h5", "pdb") else {"top": molecule.topology}))
    np.testing.assert_allclose(read.unitcell_vectors, cells, atol=atol)
    np.testing.assert_allclose(found[0, ::3].unitcell_vectors, cells[::3], atol=atol)
    write_trajectory(path, whole, molecule, 0.2)
    assert opened(path, molecule).cells(0) is None


def test_a_set_is_indexed_and_iterated_as_mdtraj(molecule: Molecule) -> None:
    arrays = [walk(5 + index, index) for index in range(3)]
    opened_set = TrajectorySet.from_arrays(molecule, 0.5, arrays)
    assert [each.n_frames for each in opened_set] == [5, 6, 7]
    np.testing.assert_array_equal(opened_set[-1].xyz, arrays[2])
    np.testing.assert_allclose(opened_set[1, 1::2].time, [0.5, 1.5, 2.5])
    np.testing.assert_array_equal(opened_set[1, -1].xyz, arrays[1][-1:])
    assert opened_set[1:].lengths == (6, 7)
    with pytest.raises(IndexError):
        opened_set[3]
    with pytest.raises(IndexError):
        opened_set[0, 5]


@pytest.mark.parametrize("suffix", ROUNDING)
def test_mdtraj_reads_what_is_written(tmp_path: Path, molecule: Molecule, suffix: str) -> None:
    path = tmp_path / f"walk.{suffix}"
    write_trajectory(path, walk(5), molecule, 0.2)
    read = mdtraj.load(str(path), **({} if suffix in ("h5", "pdb") else {"top": molecule.topology}))
    np.testing.assert_allclose(read.xyz, walk(5), atol=ROUNDING[suffix])
    if suffix in ("xtc", "h5"):
        np.testing.assert_allclose(read.time, 0.2 * np.arange(5), atol=1e-6)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_dcd_of_other_programs(tmp_path: Path, byte_order: str) -> None:
    """CHARMM writes a unit cell and a fourth dimension, and other machines the other byte order."""
    whole, path = walk(4, n_atoms=2), tmp_path / "charmm.dcd"

    def record(content: bytes) -> bytes:
        return struct.pack(byte_order + "i", len(content)) + content + struct.pack(byte_order + "i", len(content))

    control = [4, 0, 1, 4] + [0] * 6 + [1, 1] + [0] * 7 + [24]
    data = record(b"CORD" + struct.pack(byte_order + "20i", *control)) + record(b"\x00" * 164)
    data += record(struct.pack(byte_order + "i", 2))
    for frame in whole:
        data += record(b"\x00" * 48)
        for values in [*(10 * frame.T), np.zeros(2)]:
            data += record(values.astype(byte_order + "f4").tobytes())
    path.write_bytes(data)
    np.testing.assert_allclose(open_trajectories(path, argon(2), 1.0).positions(0), whole, atol=1e-6)


def test_stores_files_and_globs_together(tmp_path: Path, molecule: Molecule) -> None:
    with TrajectoryStore.create(tmp_path / "store", molecule, 0.2, 2) as store:
        store.append(np.stack([walk(6, 1), walk(6, 2)]))
    for index in range(3):
        write_trajectory(tmp_path / f"run-{index}.h5", walk(5 + index, 3 + index), molecule, 0.2)
    np.save(tmp_path / "more.npy", walk(9, 8))
    found = open_trajectories([tmp_path / "store", str(tmp_path / "run-*.h5"), tmp_path / "more.npy"])
    assert found.lengths == (6, 6, 5, 6, 7, 9)
    assert found.n_frames == 39
    assert found.frame_spacing_ps == 0.2
    for index, seed in enumerate([1, 2, 3, 4, 5, 8]):
        np.testing.assert_array_equal(found.positions(index), walk(found.lengths[index], seed))
    chosen = found.select([4, 0])
    assert chosen.names == (str(tmp_path / "run-2.h5"), f"{tmp_path / 'store'}[0]")
    frames = chosen.trajectory(0, start=1, stride=2)
    np.testing.assert_array_equal(frames.xyz, walk(7, 5)[1::2])
    np.testing.assert_allclose(frames.time, [0.2, 0.6, 1.0])


def test_more_files_than_may_be_open(tmp_path: Path, molecule: Molecule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_opened", OpenFiles(most=2))
    for index in range(6):
        write_trajectory(tmp_path / f"run-{index}.xtc", walk(4, index), molecule, 0.2)
    found = open_trajectories(tmp_path / "run-*.xtc", molecule)
    for index in (0, 5, 2, 0, 3, 1, 4, 0):
        np.testing.assert_allclose(found.positions(index), walk(4, index), atol=6e-4)


def test_what_is_open_stays_behind_when_pickled(tmp_path: Path, molecule: Molecule) -> None:
    """A worker process maps and opens the files itself: neither frames nor handles travel."""
    for suffix in ROUNDING:
        write_trajectory(tmp_path / f"walk.{suffix}", walk(2000), molecule, 0.2)
    np.save(tmp_path / "walk.npy", np.stack([walk(2000)] * 2))
    with TrajectoryStore.create(tmp_path / "store", molecule, 0.2, 1) as store:
        store.append(walk(2000)[None])
        for name in ("walk.xtc", "walk.dcd", "walk.h5", "walk.npy", "store"):
            found = open_trajectories(tmp_path / name, molecule, frame_spacing_ps=0.2)
            expected = found.positions(0, 3, 1000, 7)
            sent = pickle.dumps(found)
            assert len(sent) < 60_000 < expected.nbytes * 7
            np.testing.assert_array_equal(pickle.loads(sent).positions(0, 3, 1000, 7), expected)
        pickle.loads(pickle.dumps(store)).close()
        store.append(walk(1)[None])  # the copy neither holds nor gives back the lock


def test_a_forked_reader_does_not_move_its_parents_file(tmp_path: Path, molecule: Molecule) -> None:
    write_trajectory(tmp_path / "walk.xtc", walk(50), molecule, 0.2)
    found = open_trajectories(tmp_path / "walk.xtc", molecule)
    whole = found.positions(0)
    found.positions(0, 0, 10)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child = pool.apply_async(found.positions, (0, 40, 50))
        for start in range(0, 40, 5):
            np.testing.assert_array_equal(found.positions(0, start, start + 5), whole[start : start + 5])
        np.testing.assert_array_equal(child.get(60), whole[40:])


def test_temperatures_travel(tmp_path: Path, molecule: Molecule) -> None:
    for name, temperature in (("one", [300]), ("each", [300.0, 310.0]), ("none", None)):
        metadata = {} if temperature is None else {"temperature_K": temperature}
        with TrajectoryStore.create(tmp_path / name, molecule, 0.2, 2, metadata) as store:
            store.append(np.stack([walk(6, 1), walk(6, 2)]))
    assert open_trajectories(tmp_path / "one").temperature_K == 300.0
    mixed = open_trajectories([tmp_path / "one", tmp_path / "each", tmp_path / "none"])
    assert mixed.temperatures_K == (300.0, 300.0, 300.0, 310.0, None, None)
    with pytest.raises(MdgenError, match=r"one\[0\] is at 300 K and .*each\[1\] at 310 K, where one"):
        mixed.temperature_K  # noqa: B018
    assert mixed.select([3, 0]).temperatures_K == (310.0, 300.0)
    assert mixed.select([3]).temperature_K == 310.0
    assert mixed.select([0, 4]).temperature_K is None
    assert take_fraction(mixed, 0.4, 0.75).temperatures_K == (300.0, 310.0, None)
    assert open_trajectories(tmp_path / "none", temperature_K=280.0).temperatures_K == (280.0, 280.0)
    with pytest.raises(MdgenError, match=r"temperature_K is 280, but .*one\[0\] was made at 300 K"):
        open_trajectories([tmp_path / "none", tmp_path / "one"], temperature_K=280.0)
    with pytest.raises(MdgenError, match="must be positive"):
        open_trajectories(tmp_path / "none", temperature_K=0.0)


@pytest.mark.parametrize("temperature", ["hot", -1, [300] * 3, [300, "hot"], {}, float("nan")])
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, molecule: Molecule, temperature: object) -> None:
    with TrajectoryStore.create(tmp_path / "store", molecule, 0.2, 2, {"temperature_K": temperature}) as store:
        store.append(np.stack([walk(6, 1), walk(6, 2)]))
    with pytest.raises(MdgenError, match="expected a number, or one for each of its 2 trajectories"):
        open_trajectories(tmp_path / "store")


def test_a_finished_run_stands_for_its_store(tmp_path: Path, molecule: Molecule) -> None:
    with TrajectoryStore.create(tmp_path / "run" / "trajectories", molecule, 0.2, 1) as store:
        store.append(walk(6)[None])
    with pytest.raises(MdgenError, match="is not finished"):
        open_trajectories(tmp_path / "run")
    (tmp_path / "run" / "DONE").touch()
    assert open_trajectories(tmp_path / "r*n").lengths == (6,)


@pytest.mark.parametrize("suffix", ["xtc", "dcd"])
def test_every_cut_tail_is_found(tmp_path: Path, molecule: Molecule, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    write_trajectory(path, walk(4), molecule, 0.2)
    whole = path.read_bytes()
    refusals: list[str] = []
    frame = len(whole) // 4  # every cut of the last frame, and some of the others
    lengths = [*range(len(whole) - 1, len(whole) - frame, -1), *range(len(whole) - frame, -1, -5)]
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            kept = opened(path, molecule).lengths[0]
        except MdgenError as error:
            refusals.append(str(error))
        else:
            assert kept < 4
            np.testing.assert_allclose(opened(path, molecule).positions(0), walk(4)[:kept], atol=6e-4)
    assert len(refusals) > 0.95 * len(lengths)
    assert all(str(path) in refusal and len(refusal.splitlines()) == 1 for refusal in refusals)
    path.write_bytes(whole[:-3])
    with pytest.raises(MdgenError, match="truncated: it ends inside a frame, after 3 whole frames"):
        opened(path, molecule)


def test_damage_inside_an_xtc(tmp_path: Path, molecule: Molecule) -> None:
    path = tmp_path / "damaged.xtc"
    write_trajectory(path, walk(30), molecule, 0.2)
    data = bytearray(path.read_bytes())
    frame = data.index(struct.pack(">2i", 1995, 12), len(data) // 2)
    data[frame] = 9
    path.write_bytes(data)
    with pytest.raises(MdgenError, match=r"damaged after \d+ whole frames"):
        opened(path, molecule)


@pytest.mark.parametrize("suffix", ["h5", "npy", "xtc", "dcd", "pdb", "trr"])
@pytest.mark.parametrize("content", [b"", b"hello world " * 20])
def test_files_that_are_none(tmp_path: Path, molecule: Molecule, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(MdgenError, match="broken") as caught:
        opened(path, molecule)
    assert len(str(caught.value).splitlines()) == 1


def test_a_cut_h5_is_refused(tmp_path: Path, molecule: Molecule) -> None:
    path = tmp_path / "cut.h5"
    write_trajectory(path, walk(200), molecule, 0.2)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MdgenError, match=r"cut\.h5"):
        opened(path, molecule).positions(0)


def test_a_pickle_is_not_loaded(tmp_path: Path, molecule: Molecule) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MdgenError, match="no npy file of numbers"):
        open_trajectories(tmp_path / "evil.npy", molecule, 1.0)


def test_what_is_missing(tmp_path: Path, molecule: Molecule) -> None:
    write_trajectory(tmp_path / "a.dcd", walk(3), molecule, 0.2)
    (tmp_path / "folder").mkdir()
    for paths, topology, match in [
        (tmp_path / "none.xtc", molecule, "does not exist"),
        (tmp_path / "*.xtc", molecule, "no file matches"),
        ([], molecule, "no trajectory was named"),
        (tmp_path / "folder", molecule, "holds no trajectory store"),
        (tmp_path / "a.dcd", None, "does not say which molecule"),
        (tmp_path / "a.dcd", molecule, "does not say how far apart"),
        (tmp_path / "a.dcd", tmp_path / "none.pdb", "topology file .* does not exist"),
    ]:
        with pytest.raises(MdgenError, match=match):
            open_trajectories(paths, topology)


def test_another_number_of_atoms(tmp_path: Path, molecule: Molecule) -> None:
    write_trajectory(tmp_path / "a.xtc", walk(3), molecule, 0.2)
    with pytest.raises(MdgenError, match="has 12 atoms and the topology 11"):
        open_trajectories(tmp_path / "a.xtc", argon(11))
    write_trajectory(tmp_path / "b.h5", walk(3, n_atoms=11), argon(11), 0.2)
    with pytest.raises(MdgenError, match="has 11 atoms where 12 were expected"):
        open_trajectories([tmp_path / "a.xtc", tmp_path / "b.h5"], molecule)


def test_spacings_that_contradict(tmp_path: Path, molecule: Molecule) -> None:
    for name, spacing in (("a", 0.2), ("b", 0.5)):
        write_trajectory(tmp_path / f"{name}.xtc", walk(3), molecule, spacing)
    with pytest.raises(MdgenError, match=r"a\.xtc are 0\.2 ps apart and those of .*b\.xtc 0\.5 ps"):
        open_trajectories(tmp_path / "*.xtc", molecule)
    with pytest.raises(MdgenError, match="frame_spacing_ps is 2, but"):
        open_trajectories(tmp_path / "a.xtc", molecule, frame_spacing_ps=2.0)
    with pytest.raises(MdgenError, match="must be positive"):
        open_trajectories(tmp_path / "a.xtc", molecule, frame_spacing_ps=-1.0)


def test_uneven_spacing(tmp_path: Path, molecule: Molecule) -> None:
    path = tmp_path / "uneven.xtc"
    with mdtraj.open(str(path), "w") as file:
        file.write(walk(4), time=np.array([0, 1, 2, 4], np.float32), step=np.arange(4, dtype=np.int32))
    with pytest.raises(MdgenError, match="frames 2 and 3 are 2 ps apart and most others 1 ps"):
        open_trajectories(path, molecule)


def test_late_float32_times_still_give_the_spacing(tmp_path: Path, molecule: Molecule) -> None:
    path = tmp_path / "late.xtc"
    with mdtraj.open(str(path), "w") as file:
        time = (4e6 + 0.4 * np.arange(3000)).astype(np.float32)
        file.write(walk(3000), time=time, step=np.arange(3000, dtype=np.int32))
    assert open_trajectories(path, molecule).frame_spacing_ps == pytest.approx(0.4, rel=1e-3)


@pytest.mark.parametrize("suffix", ["xtc", "dcd", "h5", "npy"])
def test_nan_in_coordinates_is_located(tmp_path: Path, molecule: Molecule, suffix: str) -> None:
    """Other programs write NaN, and xtc turns it into 2147483.75 nm."""
    path, broken = tmp_path / f"nan.{suffix}", walk(9)
    broken[5, 7, 1] = np.nan
    if suffix == "npy":
        np.save(path, broken)
    else:
        mdtraj.Trajectory(broken, molecule.topology, time=0.2 * np.arange(9)).save(str(path))
    found = opened(path, molecule)
    assert found.positions(0, 0, 5).shape == (5, 12, 3)
    atom = 0 if suffix == "xtc" else 7  # xtc loses the whole frame
    with pytest.raises(MdgenError, match=rf"atom {atom} in frame 5 of .*nan\.{suffix} is (not finite|absurd)"):
        found.positions(0, 1, 9, 2)


@pytest.mark.parametrize("suffix", ROUNDING)
def test_writing_refuses_nan_and_leaves_nothing(tmp_path: Path, molecule: Molecule, suffix: str) -> None:
    path, broken = tmp_path / f"out.{suffix}", walk(9)
    broken[5, 7, 1] = np.inf
    with pytest.raises(MdgenError, match=r"atom 7 in frame 5 is not finite; .*out\.\w+ was not written"):
        write_trajectory(path, iter([broken[:4], broken[4:]]), molecule, 0.2)
    assert os.listdir(tmp_path) == []


def test_writing_refuses_other_mistakes(tmp_path: Path, molecule: Molecule) -> None:
    with pytest.raises(MdgenError, match=r"\.mp4 is not among"):
        write_trajectory(tmp_path / "out.mp4", walk(3), molecule, 0.2)
    with pytest.raises(MdgenError, match="do not fit a molecule of 12 atoms"):
        write_trajectory(tmp_path / "out.xtc", walk(3, n_atoms=11), molecule, 0.2)
    with pytest.raises(MdgenError, match="no frame to write"):
        write_trajectory(tmp_path / "out.xtc", iter([]), molecule, 0.2)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, molecule: Molecule, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.xtc"
    write_trajectory(path, walk(3), molecule, 0.2)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mdgen.data.formats.writing.os.fsync", full)
    with pytest.raises(MdgenError, match="the disk is full"):
        write_trajectory(path, walk(9), molecule, 0.2)
    assert os.listdir(tmp_path) == ["out.xtc"]
    assert open_trajectories(path, molecule).lengths == (3,)


@pytest.mark.parametrize("suffix", ["xtc", "dcd", "h5"])
def test_frames_lost_in_silence_are_missed(
    tmp_path: Path, molecule: Molecule, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """On a full disk some of the C writers return as if all were well."""
    whole = writing._FORMATS[f".{suffix}"]

    @contextmanager
    def lossy(path: Path, molecule: Molecule) -> Iterator[Callable]:
        with whole(path, molecule) as write:
            yield lambda block, time, first, cells: None if first >= 4 else write(block, time, first, cells)

    monkeypatch.setitem(writing._FORMATS, f".{suffix}", lossy)
    with pytest.raises(MdgenError, match=r"only 4 of 8 frames reached .*; is the disk full\?"):
        write_trajectory(tmp_path / f"out.{suffix}", iter([walk(4), walk(4)]), molecule, 0.2)
    assert os.listdir(tmp_path) == []


def test_atoms_in_another_order_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topology = argon(4).topology
    for first, second in ((0, 1), (1, 2), (2, 3)):
        topology.add_bond(topology.atom(first), topology.atom(second))
    molecule, line = Molecule.from_mdtraj(topology), np.zeros((2, 4, 3), np.float32)
    line[:, :, 0] = [0, 0.15, 0.3, 0.45]
    np.save(tmp_path / "line.npy", line)
    open_trajectories(tmp_path / "line.npy", molecule, 1.0)
    assert not caplog.records
    np.save(tmp_path / "line.npy", line[:, [0, 3, 1, 2]])
    open_trajectories(tmp_path / "line.npy", molecule, 1.0)
    assert "AR1-AR (atom 0) and AR2-AR (atom 1) is 0.45 nm long" in caplog.text
