"""The store keeps what it was given, refuses what it cannot keep, and is whole after a crash at any moment."""

import errno
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from mdgen import files
from mdgen.data.manifest import crc32_of
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import open_trajectories
from mdgen.documents import seal, unsealed_field
from mdgen.errors import MdgenError

from .conftest import argon


def frames(n_frames: int, seed: int = 0, n_trajectories: int = 2, n_atoms: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_trajectories, n_frames, n_atoms, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(tmp_path / "store", argon(), 0.5, 2, {"temperature_K": 300})


def test_keeps_what_it_was_given(store: TrajectoryStore) -> None:
    parts = [frames(n, seed) for seed, n in enumerate((5, 1, 7))]
    for part in parts:
        store.append(part)
    whole = np.concatenate(parts, axis=1)
    again = TrajectoryStore.open(store.path)
    assert (again.n_frames, again.n_trajectories, again.frame_spacing_ps) == (13, 2, 0.5)
    assert again.metadata == {"temperature_K": 300}
    assert again.molecule == argon()
    np.testing.assert_array_equal(again.positions(1), whole[1])


def test_any_slice_reads_as_a_slice_of_the_whole(store: TrajectoryStore) -> None:
    parts = [frames(n, seed) for seed, n in enumerate((4, 3, 1, 6, 2))]
    for part in parts:
        store.append(part)
    whole = np.concatenate(parts, axis=1)
    rng = np.random.default_rng(5)
    for _ in range(300):
        start, stop, stride = int(rng.integers(-18, 18)), int(rng.integers(-18, 18)), int(rng.integers(1, 9))
        np.testing.assert_array_equal(store.positions(0, start, stop, stride), whole[0, start:stop:stride])
    assert store.positions(0, 3, 3).shape == (0, 3, 3)


def test_a_trajectory_may_end_before_the_others(tmp_path: Path) -> None:
    store = TrajectoryStore.create(tmp_path / "store", argon(), 0.5, 4)
    whole = frames(12, n_trajectories=4)
    store.append(whole[:, :5])
    store.append(whole[[0, 1, 3], 5:7], [0, 1, 3])
    store.append(whole[[1, 3], 7:], [1, 3])
    for seen in (store, TrajectoryStore.open(store.path)):
        assert (seen.lengths, seen.n_frames) == ((7, 12, 5, 12), 12)
        for row, length in enumerate(seen.lengths):
            np.testing.assert_array_equal(seen.positions(row), whole[row, :length])
            np.testing.assert_array_equal(seen.positions(row, 3, 11, 2), whole[row, 3 : min(11, length) : 2])
    assert open_trajectories(store.path).lengths == store.lengths
    with pytest.raises(MdgenError, match=r"trajectories \[0, 1\] cannot grow .* \[1, 3\]"):
        store.append(whole[:2], [0, 1])
    with pytest.raises(MdgenError, match="cannot grow"):
        store.append(whole)
    store.truncate(6)
    assert store.lengths == (6, 6, 5, 6)
    store.truncate(4)
    store.append(whole[:, 4:])
    assert store.lengths == (12, 12, 12, 12)
    np.testing.assert_array_equal(store.positions(2), whole[2])


def test_a_trajectory_that_never_began_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = TrajectoryStore.create(tmp_path / "store", argon(), 0.5, 3)
    store.append(frames(5), [0, 2])
    opened = open_trajectories(store.path)
    assert opened.lengths == (5, 5)
    assert "trajectories 1 ended before their first frame" in caplog.text


def flipped(path: Path, bit: int) -> bytes:
    """Flip one bit of a file; returns what it held before."""
    before = path.read_bytes()
    changed = bytearray(before)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    return before


def test_every_flipped_bit_is_noticed(store: TrajectoryStore) -> None:
    store.append(frames(3))
    store.append(frames(2)[:1], [0])
    TrajectoryStore.open(store.path).verify()
    for name in ("manifest.json", "molecule.json", "chunk-00000000.npy", "chunk-00000001.npy"):
        path = store.path / name
        for bit in range(0, 8 * path.stat().st_size, 7):
            before = flipped(path, bit)
            with pytest.raises(MdgenError, match=r"damaged|another format"):
                TrajectoryStore.open(store.path).positions(0)
            path.write_bytes(before)
    TrajectoryStore.open(store.path).verify()


def test_a_chunk_is_summed_once_and_after_a_cut_as_well(
    store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(frames(6))
    store.truncate(4)
    again, summed = TrajectoryStore.open(store.path), []
    monkeypatch.setattr("mdgen.data.store.crc32_of", lambda path: summed.append(path) or crc32_of(path))
    for _ in range(3):
        again.verify()
        again.positions(0)
    pickle.loads(pickle.dumps(again)).positions(0)
    assert summed == [store.path / "chunk-00000000.npy"]


def rewritten(store: TrajectoryStore, **changes: object) -> None:
    """Replace fields of the manifest, with the right checksum: a stranger's store."""
    document = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_bytes(seal(json.dumps(document | unsealed_field() | changes).encode()))


ABSURD = [
    {"n_trajectories": 10**8},
    {"n_trajectories": 10**30},
    {"n_trajectories": "2"},
    {"n_trajectories": 0},
    {"n_atoms": 2**31},
    {"n_atoms": 4},
    {"frame_spacing_ps": 0},
    {"frame_spacing_ps": float("nan")},
    {"metadata": [1]},
    {"chunks": {}},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 10**12, "crc32": 0}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 0, "crc32": 0}]},
    {"chunks": [{"file": "../chunk-00000000.npy", "frames": 1, "crc32": 0}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 1}]},
    {"chunks": 2 * [{"file": "chunk-00000000.npy", "frames": 1, "crc32": 0}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 1, "crc32": 0, "trajectories": [2]}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 1, "crc32": 0, "trajectories": [1, 0]}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 1, "crc32": 0, "trajectories": [10**30]}]},
    {"chunks": [{"file": "chunk-00000000.npy", "frames": 1, "crc32": 0, "trajectories": []}]},
    {"next_chunk": 0},
]


@pytest.mark.parametrize("changes", ABSURD, ids=lambda changes: json.dumps(changes)[:60])
def test_an_absurd_manifest_is_refused_within_a_second(store: TrajectoryStore, changes: dict) -> None:
    store.append(frames(3))
    rewritten(store, **changes)
    begin = time.monotonic()
    with pytest.raises(MdgenError, match=r"damaged|lacks its file|atoms and the frames"):
        TrajectoryStore.open(store.path)
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("kind", ["<i2", "<c8", "<U3", "<f8", ">f4"])
def test_chunks_of_other_types_are_refused(store: TrajectoryStore, kind: str) -> None:
    store.append(frames(3))
    path = store.path / "chunk-00000000.npy"
    np.save(path, np.zeros((2, 12, 3, 3), kind))
    rewritten(store, chunks=[{"file": path.name, "frames": 3, "crc32": crc32_of(path)}])
    with pytest.raises(MdgenError, match=r"which the manifest does not say|checksum"):
        TrajectoryStore.open(store.path).positions(0)


def test_reads_are_views_of_the_file(store: TrajectoryStore) -> None:
    store.append(frames(100))
    read = store.positions(1, 10, 20)
    assert isinstance(read, np.memmap)
    assert not read.flags.writeable


@pytest.mark.parametrize("cut", [0, 3, 5, 6, 12])
def test_truncate_then_append(store: TrajectoryStore, cut: int) -> None:
    whole = frames(12)
    store.append(whole[:, :5])
    store.append(whole[:, 5:])
    store.truncate(cut)
    assert TrajectoryStore.open(store.path).n_frames == cut
    store.append(whole[:, cut:])
    np.testing.assert_array_equal(TrajectoryStore.open(store.path).positions(0), whole[0])
    with pytest.raises(MdgenError, match="cannot be cut to 13"):
        store.truncate(13)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(store: TrajectoryStore, bad: float) -> None:
    store.append(frames(4))
    broken = frames(6)
    broken[1, 2, 0, 1] = bad
    with pytest.raises(MdgenError, match="atom 0 in frame 6 of trajectory 1"):
        store.append(broken)
    assert TrajectoryStore.open(store.path).n_frames == 4


def test_refuses_other_shapes(store: TrajectoryStore) -> None:
    for wrong in (frames(2, n_atoms=4), frames(2, n_trajectories=3)):
        with pytest.raises(MdgenError, match="do not fit"):
            store.append(wrong)


def test_create_refuses_an_existing_store(store: TrajectoryStore) -> None:
    with pytest.raises(MdgenError, match="already holds trajectories"):
        TrajectoryStore.create(store.path, argon(), 0.5, 2)


@pytest.mark.parametrize("writes_before_full", [0, 1])
def test_a_full_disk_leaves_the_previous_state(
    store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch, writes_before_full: int
) -> None:
    first = frames(4)
    store.append(first)
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > writes_before_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(MdgenError, match="the disk is full"):
        store.append(frames(3, seed=1))
    monkeypatch.undo()
    for seen in (store, TrajectoryStore.open(store.path)):
        assert seen.n_frames == 4
        np.testing.assert_array_equal(seen.positions(0), first[0])
    assert not list(store.path.glob(".*.part"))
    store.append(frames(3, seed=1))
    assert TrajectoryStore.open(store.path).n_frames == 7


def test_a_second_writer_is_refused_and_a_reader_is_not(store: TrajectoryStore) -> None:
    store.append(frames(2))
    other = TrajectoryStore.open(store.path)
    with pytest.raises(MdgenError, match=f"in use: process {os.getpid()}"):
        other.append(frames(2))
    assert other.positions(0).shape[0] == 2
    store.close()
    other.append(frames(2))
    store.refresh()
    assert store.n_frames == 4


def test_the_lock_of_a_dead_process_is_taken_over(store: TrajectoryStore) -> None:
    store.close()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (store.path / "lock").write_text(str(dead.pid))
    store.append(frames(2))
    assert store.n_frames == 2


def keep_writing(path: Path, ready: Connection) -> None:
    """Append frames that hold their numbers for ever."""
    store = TrajectoryStore.open(path)
    number = store.n_frames
    ready.send("ready")
    while True:
        store.append(np.full((2, 50, 3, 3), number, np.float32))
        number += 50


def test_killed_writers_leave_a_whole_store(store: TrajectoryStore) -> None:
    """Writers are killed with SIGKILL at moments that nothing chooses; what the manifest names is always there."""
    store.close()
    context = multiprocessing.get_context("fork")  # a new interpreter takes seconds to import what is imported here
    seen = 0
    for attempt in range(3):
        here, there = context.Pipe()
        writer = context.Process(target=keep_writing, args=(store.path, there), daemon=True)
        writer.start()
        assert here.recv() == "ready"
        writer.join(timeout=0.05 + 0.037 * attempt)
        assert writer.exitcode is None
        writer.kill()
        writer.join()
        left = TrajectoryStore.open(store.path)
        assert left.n_frames >= seen
        assert left.n_frames % 50 == 0
        expected = np.repeat(np.arange(0, left.n_frames, 50), 50)
        np.testing.assert_array_equal(left.positions(1)[:, 2, 0], expected)
        seen = left.n_frames
    assert seen > 0


def test_strays_of_a_killed_writer_do_not_exist_and_are_removed(store: TrajectoryStore) -> None:
    store.append(frames(4))
    store.close()
    for stray in ("chunk-00000001.npy", ".chunk-00000002.npy.99.part", ".manifest.json.99.part"):
        (store.path / stray).write_bytes(b"half a fra")
    again = TrajectoryStore.open(store.path)
    assert again.n_frames == 4
    again.append(frames(3, seed=3))
    assert again.n_frames == 7
    assert sorted(p.name for p in store.path.iterdir()) == [
        "chunk-00000000.npy",
        "chunk-00000001.npy",
        "lock",
        "manifest.json",
        "molecule.json",
    ]


def test_damage_is_said_in_one_sentence(store: TrajectoryStore, tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="holds no trajectory store"):
        TrajectoryStore.open(tmp_path)
    store.append(frames(4))
    store.append(frames(4))
    chunk = store.path / "chunk-00000001.npy"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(MdgenError, match=r"chunk-00000001\.npy is damaged"):
        TrajectoryStore.open(store.path).positions(0)
    chunk.unlink()
    with pytest.raises(MdgenError, match="lacks its file chunk-00000001"):
        TrajectoryStore.open(store.path)
    manifest = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(MdgenError, match="written in another format"):
        TrajectoryStore.open(store.path)
    (store.path / "manifest.json").write_text("{")
    with pytest.raises(MdgenError, match="is damaged"):
        TrajectoryStore.open(store.path)


def test_periodic_boxes_are_kept_frame_by_frame(tmp_path: Path) -> None:
    store = TrajectoryStore.create(tmp_path / "store", argon(), 0.5, 2)
    whole = frames(9)
    cells = np.linspace(2, 3, 18).reshape(2, 9)[..., None, None] * np.array([[1, 0, 0], [0, 2, 0], [0.5, 0, 3]])
    cells = cells.astype(np.float32)
    store.append(whole[:, :4], cells=cells[:, :4])
    store.append(whole[:1, 4:], [0], cells[:1, 4:])
    again = TrajectoryStore.open(store.path)
    np.testing.assert_array_equal(again.cells(0, 1, 8, 3), cells[0, 1:8:3])
    np.testing.assert_array_equal(again.cells(1), cells[1, :4])
    np.testing.assert_allclose(open_trajectories(store.path)[0].unitcell_vectors, cells[0], atol=2e-6)
    for wrong in (None, cells[:1, :2], 0 * cells[:1, :1]):
        with pytest.raises(MdgenError, match=r"box|cells of shape"):
            store.append(whole[:1, :1], [0], wrong)
    store.truncate(4)
    assert sorted(each.name for each in store.path.glob("*.npy")) == ["cells-00000000.npy", "chunk-00000000.npy"]
    (store.path / "cells-00000000.npy").unlink()
    with pytest.raises(MdgenError, match="lacks its file cells-00000000"):
        TrajectoryStore.open(store.path)


def test_boxes_of_some_chunks_only_are_damage(tmp_path: Path) -> None:
    store = TrajectoryStore.create(tmp_path / "store", argon(), 0.5, 2)
    for block in (frames(3), frames(2)):
        store.append(block, cells=np.broadcast_to(np.eye(3, dtype=np.float32), (*block.shape[:2], 3, 3)))
    chunks = json.loads((store.path / "manifest.json").read_text())["chunks"]
    rewritten(store, chunks=[{k: v for k, v in chunks[0].items() if "cells" not in k}, chunks[1]])
    with pytest.raises(MdgenError, match="box vectors of some chunks only"):
        TrajectoryStore.open(store.path)
