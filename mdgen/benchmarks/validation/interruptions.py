"""Instabilities, killed processes and full disks: no wrong number is stored, no frame is lost or doubled."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from mdgen.benchmarks.suite import Figures
from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.checkpoint import stops_of
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.build import build_system
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate

_REPLICAS = 16
_FRAMES = 1000
_TORN = 1
_LONGEST_S = 0.4
"""Longest time a process runs before it is killed, short enough that all kills fall within the simulation."""


def check_instability() -> Figures:
    """An instability in one replica of three: it alone stops and is reported, and no wrong number is stored."""
    system = build_system(
        sequence="A", force_field="amber14", hydrogen_mass_amu=None, solvent="obc2", constraints="none"
    )
    rows = []
    for kind in ("kernel", "torch"):
        with tempfile.TemporaryDirectory() as folder:
            stable, torn = (
                _run_of_three(system, kind, Path(folder) / name, name == "torn") for name in ("stable", "torn")
            )
            stops = stops_of(torn.path)
            named = [stop.replica for stop in stops] == [_TORN] and "first at" in stops[0].how
            wrong = sum(int((~np.isfinite(torn.positions(i))).sum()) for i in range(3))
            others = [i for i in range(3) if i != _TORN]
            changed = changed_coordinates(torn, stable, others) if torn.lengths[_TORN] < torn.n_frames else -1
        for name, count, words, holds in (
            ("wrong_numbers_stored_in_a_blow_up", wrong, "replica, step and atom named", named and not wrong),
            ("coordinates_changed_by_a_blow_up_beside", changed, "the others run to the end", changed == 0),
        ):
            rows.append(Acceptance.judged(f"{name}_{kind}", Estimate(count), f"== 0, and {words}", holds))
    return {}, rows


def _run_of_three(system: System, kind: str, path: Path, torn: bool) -> TrajectoryStore:
    """Three replicas; with `torn`, an atom of one starts on top of another atom."""
    first, generator = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    engine = make_engine(system, Langevin(0.5, 300.0), 3, first, kind=kind)  # type: ignore[arg-type]
    start = system.positions.repeat(3, 1, 1)
    if torn:
        start[_TORN, 19] = start[_TORN, 1] + 1e-3  # so far apart along the chain that they repel each other in full
    return simulate(system, engine, path, 4e-4, 0.0, 0.01, generator, start=start)


def check_kills(n_kills: int = 20, seed: int = 0) -> Figures:
    """Kill a simulation at random moments, resume it, and compare every bit with an undisturbed one."""
    moments = random.Random(seed)
    progress = Progress("validation kills", n_kills)
    with tempfile.TemporaryDirectory() as folder:
        killed = Path(folder) / "killed"
        frames = []
        for kill in range(n_kills):
            _kill_one(killed, moments.uniform(0.0, _LONGEST_S))
            frames.append(TrajectoryStore.open(killed).n_frames if is_store(killed) else 0)
            progress.update(kill + 1)
        differ = _changed_once_resumed(killed)
    name = f"coordinates_changed_by_{n_kills}_kills"
    # A run that had ended, or not yet begun to write, would have been killed fewer times than reported.
    holds = differ == 0 and 0 < frames[-1] < _FRAMES
    row = Acceptance.judged(name, Estimate(differ), "== 0, no frame missing or doubled", holds)
    return {"frames_after_each_kill": frames}, [row]


def check_full_disk(moments: Sequence[int] = (5, 1, 2, 30, 77)) -> Figures:
    """Let writing fail several times, resume each time, and compare every bit with an undisturbed simulation.

    Args:
        moments: number of writes of each attempt before the disk is full.
    """
    with tempfile.TemporaryDirectory() as folder:
        disturbed, reported = Path(folder) / "disturbed", 0
        for writes in moments:
            try:
                with _room_for(writes):
                    run_simulation(disturbed)
            except MdgenError as error:
                reported += "disk is full" in str(error)
        strays = sum(path.name.endswith(".part") for path in disturbed.rglob("*"))
        differ = _changed_once_resumed(disturbed)
    holds = differ == 0 and not strays and reported == len(moments)
    name = f"coordinates_changed_by_{len(moments)}_full_disks"
    row = Acceptance.judged(name, Estimate(differ), "== 0, said in a sentence", holds)
    return {"full_disks_reported": reported, "stray_files_after_full_disks": strays}, [row]


@contextmanager
def _room_for(writes: int) -> Iterator[None]:
    """Let `os.fsync` succeed `writes` times, then fail as on a full disk."""
    left, flush = writes, os.fsync

    def limited(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        flush(descriptor)

    with mock.patch("os.fsync", limited):
        yield


def _changed_once_resumed(disturbed: Path) -> int:
    """Finish a disturbed simulation, and count what differs from an undisturbed one; -1 if that one is incomplete."""
    undisturbed = disturbed.with_name("undisturbed")
    run_simulation(disturbed)
    run_simulation(undisturbed)
    one, other = (TrajectoryStore.open(path) for path in (disturbed, undisturbed))
    return changed_coordinates(one, other, range(_REPLICAS)) if other.n_frames == _FRAMES else -1


def changed_coordinates(one: TrajectoryStore, other: TrajectoryStore, replicas: Sequence[int]) -> int:
    """Number of coordinates of the replicas that differ in any bit between two runs; -1 if their lengths differ."""
    if any(one.lengths[i] != other.lengths[i] for i in replicas):
        return -1
    return sum(int((one.positions(i) != other.positions(i)).sum()) for i in replicas)


def _kill_one(path: Path, after_s: float) -> None:
    """Start or resume the simulation in a process, and kill that process some time after the simulation starts."""
    process = subprocess.Popen([sys.executable, "-m", __name__, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_s)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run_simulation(path: Path, announce: bool = False) -> None:
    """The simulation to be killed; it flushes every frame and resumes from its checkpoint."""
    system = build_system(sequence="A", force_field="amber14", hydrogen_mass_amu=None, solvent="vacuum")
    if announce:  # once the kernel is loaded, which may take longer than a process has until it is killed
        with tempfile.TemporaryDirectory() as folder:
            _simulate_frames(system, Path(folder) / "one", 1)
        sys.stdout.write("running\n")
        sys.stdout.flush()
    _simulate_frames(system, path, _FRAMES)


def _simulate_frames(system: System, path: Path, n_frames: int) -> None:
    first, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    engine = make_engine(system, Langevin(2.0, 300.0), _REPLICAS, first, threads=1)
    simulate(system, engine, path, n_frames * 1e-4, 5e-4, 0.1, generator, report_s=0.0, flush_s=0.0)


if __name__ == "__main__":
    run_simulation(Path(sys.argv[1]), announce=True)
