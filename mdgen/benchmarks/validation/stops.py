"""Blow-ups, and processes killed at any moment: nothing wrong is stored, nothing is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgen.data.store import TrajectoryStore, is_store
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
"""How long a process may live once it moves; all of them together get through a part of the frames only."""


def check_blow_up() -> tuple[dict[str, Any], list[Acceptance]]:
    """One replica of three is torn apart: it alone stops, is named, stores nothing wrong, and harms no other."""
    system = build_system(sequence="A", solvent="obc2", constraints="none")
    rows = []
    for kind in ("kernel", "torch"):
        with tempfile.TemporaryDirectory() as folder:
            peace, torn = (
                _run_of_three(system, kind, Path(folder) / name, name == "torn") for name in ("peace", "torn")
            )
            stops = stops_of(torn.path)
            named = [stop.replica for stop in stops] == [_TORN] and "first at" in stops[0].how
            wrong = sum(int((~np.isfinite(torn.positions(i))).sum()) for i in range(3))
            others = [i for i in range(3) if i != _TORN]
            whole = torn.lengths[_TORN] < torn.n_frames and all(torn.lengths[i] == peace.n_frames for i in others)
            changed = sum(int((torn.positions(i) != peace.positions(i)).sum()) for i in others) if whole else -1
        words = "== 0, and replica, step and atom named"
        rows.append(
            Acceptance.judged(f"wrong_numbers_stored_in_a_blow_up_{kind}", Estimate(wrong), words, named and not wrong)
        )
        words = "== 0, and the others run to the end"
        rows.append(
            Acceptance.judged(f"coordinates_changed_by_a_blow_up_beside_{kind}", Estimate(changed), words, changed == 0)
        )
    return {}, rows


def _run_of_three(system: System, kind: str, path: Path, torn: bool) -> TrajectoryStore:
    """Three replicas, one of which starts with an atom half across the molecule if `torn`."""
    first, generator = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    engine = make_engine(system, Langevin(0.5, 300.0), 3, first, kind=kind)  # type: ignore[arg-type]
    start = system.positions.repeat(3, 1, 1)
    if torn:
        start[_TORN, 8] = start[_TORN, 4] + 1e-3
    return simulate(system, engine, path, 4e-4, 0.0, 0.01, generator, start=start)


def check_kills(n_kills: int = 20, seed: int = 0) -> tuple[dict[str, Any], list[Acceptance]]:
    """Kill a simulation with SIGKILL at random moments, resume it, and compare every bit with one left in peace."""
    moments = random.Random(seed)
    progress = Progress("trust kills", n_kills)
    with tempfile.TemporaryDirectory() as folder:
        killed, peace = Path(folder) / "killed", Path(folder) / "peace"
        frames = []
        for kill in range(n_kills):
            _kill_one(killed, moments.uniform(0.0, _LONGEST_S))
            frames.append(TrajectoryStore.open(killed).n_frames if is_store(killed) else 0)
            progress.update(kill + 1)
        run_victim(killed)
        run_victim(peace)
        one, other = (TrajectoryStore.open(path) for path in (killed, peace))
        same = one.n_frames == other.n_frames == _FRAMES
        differ = sum(int((one.positions(i) != other.positions(i)).sum()) for i in range(_REPLICAS) if same)
    name = f"coordinates_changed_by_{n_kills}_kills"
    # A run that had ended, or not yet begun to write, would have been killed less often than it says.
    holds = same and not differ and 0 < frames[-1] < _FRAMES
    row = Acceptance.judged(name, Estimate(differ), "== 0, no frame missing or doubled", holds)
    return {"frames_after_each_kill": frames}, [row]


def _kill_one(path: Path, after_s: float) -> None:
    """Start or resume the simulation in a process of its own, and kill that some time after it begins to move."""
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


def run_victim(path: Path, announce: bool = False) -> None:
    """The simulation to be killed: it flushes all the time, and goes on where it was."""
    system = build_system(sequence="A", solvent="vacuum")
    first, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    engine = make_engine(system, Langevin(2.0, 300.0), _REPLICAS, first, threads=1)
    if announce:
        sys.stdout.write("running\n")
        sys.stdout.flush()
    simulate(system, engine, path, _FRAMES * 1e-4, 5e-4, 0.1, generator, report_s=0.0, flush_s=0.0)


if __name__ == "__main__":
    run_victim(Path(sys.argv[1]), announce=True)
