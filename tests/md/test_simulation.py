"""The loop: what it stores, that any stop can be resumed bit for bit, and that a blow-up is caught and named."""

import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import open_trajectories
from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics import simulation
from mdgen.md.dynamics.checkpoint import checkpoints, stops_of
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.engines.base_engine import Recording
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.engines.torch_engine import TorchEngine
from tests.md.reference import alanine_dipeptide

RUN = {"length_ns": 2e-4, "equilibration_ns": 8e-5, "save_ps": 0.01, "anneal_temperature_K": 500.0}
"""20 frames of 5 steps after 8 of equilibration."""


def engine_of(system: System, timestep_fs: float = 2.0, replicas: int = 2, kind: str = "torch") -> Engine:
    generator = torch.Generator().manual_seed(4)
    integrator = Langevin(timestep_fs, 300.0, 1.0)
    precision = "single" if kind == "kernel" else "double"
    return make_engine(system, integrator, replicas, generator, kind=kind, precision=precision)


def run(path: Path, engine: Engine | None = None, **changes: object) -> TrajectoryStore:
    system = alanine_dipeptide()
    generator = torch.Generator().manual_seed(5)
    return simulate(system, engine or engine_of(system), path, **{**RUN, "generator": generator, **changes})


def frames_of(store: TrajectoryStore) -> np.ndarray:
    return np.stack([store.positions(i) for i in range(store.n_trajectories)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The frames of a run that nothing stopped."""
    return frames_of(run(tmp_path_factory.mktemp("whole") / "store"))


def test_it_stores_centred_frames_with_their_settings(tmp_path: Path) -> None:
    system = alanine_dipeptide()
    store = run(tmp_path / "store")
    assert store.molecule == system.molecule
    assert (store.n_trajectories, store.n_frames, store.frame_spacing_ps) == (2, 20, 0.01)
    for key, value in {"temperature_K": [300.0], "timestep_fs": 2.0, "save_ps": 0.01}.items():
        assert store.metadata[key] == value
    frames = frames_of(store)
    assert float(np.abs(frames.mean(2)).max()) < 1e-6
    assert len(np.unique(frames[:, :, 0, 0])) == frames.shape[0] * frames.shape[1]


class Stop(BaseException):
    """Stands for whatever ends a process: not an `Exception`, so that nobody catches it by accident."""


def stopped_after(engine: Engine, calls: int, error: type[BaseException] = Stop) -> Engine:
    """The engine, with an error in the middle of its n-th move."""
    made = 0

    def breaking(move: Callable) -> Callable:
        def moved(*arguments: int) -> object:
            nonlocal made
            made += 1
            if made == calls:
                move(*arguments)
                raise error
            return move(*arguments)

        return moved

    engine.advance, engine.record = breaking(engine.advance), breaking(engine.record)
    return engine


@pytest.mark.parametrize("calls", [1, 3, 7, 12, 20, 27])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_stop_anywhere_is_resumed_bit_for_bit(
    tmp_path: Path, whole: np.ndarray, calls: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)  # a frame at a time
    with pytest.raises(error):
        run(tmp_path / "store", stopped_after(engine_of(alanine_dipeptide()), calls, error))
    assert TrajectoryStore.open(tmp_path / "store").n_frames < 20
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


@pytest.mark.parametrize("cut", ["append", "save_checkpoint", "after"])
def test_a_stop_while_writing_is_resumed_bit_for_bit(
    tmp_path: Path, whole: np.ndarray, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)
    monkeypatch.setattr(simulation, "_FLUSH_S", -1.0)  # every frame to the disk
    owner, name = (TrajectoryStore, "append") if cut == "append" else (simulation, "save_checkpoint")
    real, made = getattr(owner, name), 0

    def breaking(*arguments: object) -> None:
        nonlocal made
        made += 1
        if made >= 15 and cut != "after":
            raise Stop
        real(*arguments)
        if made >= 15:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaking)
        with pytest.raises(Stop):
            run(tmp_path / "store")
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)
    monkeypatch.setattr(simulation, "_FLUSH_S", -1.0)
    with pytest.raises(Stop):
        run(tmp_path / "store", stopped_after(engine_of(alanine_dipeptide()), 15))
    newest, before = checkpoints(tmp_path / "store")
    current = tmp_path / "store" / "checkpoint.safetensors"
    current.write_bytes(current.read_bytes()[:100])
    assert [c.frames_done for c in checkpoints(tmp_path / "store")] == [before.frames_done]
    assert newest.frames_done >= before.frames_done
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


def test_a_killed_process_is_resumed_bit_for_bit(tmp_path: Path, whole: np.ndarray) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from mdgen.md.dynamics import simulation
        from tests.md.test_simulation import run
        simulation._REPORT_S, simulation._FLUSH_S = 0.0, -1.0
        real = simulation.save_checkpoint
        simulation.save_checkpoint = lambda *a: (real(*a), print("saved", flush=True), time.sleep(0.02))
        run(Path({str(tmp_path / "store")!r}))
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    for _ in range(14):
        assert process.stdout.readline() == b"saved\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert 0 < TrajectoryStore.open(tmp_path / "store").n_frames < 20
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


def test_a_finished_run_is_left_alone_and_can_be_lengthened(tmp_path: Path, whole: np.ndarray) -> None:
    run(tmp_path / "store", length_ns=1e-4)
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("c*")}
    run(tmp_path / "store", length_ns=1e-4)
    run(tmp_path / "store", length_ns=5e-5)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("c*")} == files
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


def test_how_steps_are_cut_into_calls_changes_nothing(whole: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)
    assert np.array_equal(frames_of(run(tmp_path / "store")), whole)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"save_ps": 0.02}, "save_ps 0.01"),
        ({"equilibration_ns": 0.0, "anneal_temperature_K": None}, "equilibration_frames 8"),
        ({"anneal_temperature_K": 600.0}, "anneal_temperature_K 500"),
    ],
)
def test_another_run_in_the_folder_is_refused(tmp_path: Path, change: dict, complaint: str) -> None:
    run(tmp_path / "store", length_ns=2e-5)
    with pytest.raises(MdgenError, match=complaint):
        run(tmp_path / "store", **change)


def test_another_engine_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "store", length_ns=2e-5)
    with pytest.raises(MdgenError, match=r"n_replicas 2.*3 is asked for"):
        run(tmp_path / "store", engine_of(alanine_dipeptide(), replicas=3))
    with pytest.raises(MdgenError, match="timestep_fs 2"):
        run(tmp_path / "store", engine_of(alanine_dipeptide(), timestep_fs=1.0))


def test_frames_without_a_checkpoint_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "store", length_ns=2e-5)
    for path in (tmp_path / "store").glob("checkpoint*"):
        path.unlink()
    with pytest.raises(MdgenError, match="no checkpoint"):
        run(tmp_path / "store")


def test_a_folder_in_use_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run(tmp_path / "store", length_ns=2e-5)
    with TrajectoryStore.open(tmp_path / "store") as other:
        other.start_writing()
        with pytest.raises(MdgenError, match="in use"):
            run(tmp_path / "store", stopped_after(engine_of(alanine_dipeptide()), 1))


def strained(replicas: int, bad: int | None) -> torch.Tensor:
    """Starts, that of replica `bad` with one atom on top of others: it blows up at once."""
    start = alanine_dipeptide().positions.repeat(replicas, 1, 1)
    if bad is not None:
        start[bad, 10] += 0.25
        start[bad, 11] = start[bad, 12] + 0.001
    return start


@pytest.mark.parametrize("kind", ["torch", "kernel"])
@pytest.mark.parametrize("equilibration_ns", [0.0, 8e-5])
def test_a_blow_up_stops_one_replica_and_leaves_the_others_as_they_were(
    tmp_path: Path, equilibration_ns: float, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"equilibration_ns": equilibration_ns, "anneal_temperature_K": None}
    system = alanine_dipeptide()
    peace = frames_of(run(tmp_path / "peace", engine_of(system, 2.0, 3, kind), start=strained(3, None), **changes))
    with caplog.at_level(logging.WARNING, logger="mdgen"):
        store = run(tmp_path / "store", engine_of(system, 2.0, 3, kind), start=strained(3, 1), **changes)
    complaint = r"replica 1 blew up between steps \d+ and \d+ \((first at|its potential)"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert re.match(complaint + r".*the others go on", warnings[0])
    assert re.match(r"1 of 3 replicas stopped: " + complaint + r".*time step of 2 fs", warnings[-1])
    assert [stop.replica for stop in stops_of(store.path)] == [1]
    assert store.lengths[0] == store.lengths[2] == 20
    assert store.lengths[1] < 20
    assert store.lengths[1] == 0 or not equilibration_ns
    for replica in (0, 2):
        assert np.array_equal(store.positions(replica), peace[replica])
    assert np.isfinite(store.positions(1)).all()


def late_blow_up(path: Path, calls: int | None = None) -> TrajectoryStore:
    """Twenty frames of three replicas, one of which is torn apart after the seventh."""
    engine, made = engine_of(alanine_dipeptide(), 2.0, 3), 0
    record, load = engine.record, engine.load_state_dict

    def recorded(n_frames: int, steps_per_frame: int) -> Recording:
        nonlocal made
        recording = record(n_frames, steps_per_frame)
        for frame in range(n_frames):
            made += 1
            if made > 7:
                recording.frames[2, frame, 4] = np.nan
        return recording

    def loaded(state: dict) -> None:
        nonlocal made
        made = int(state["step"]) // 5
        load(state)

    engine.record, engine.load_state_dict = recorded, loaded
    engine = engine if calls is None else stopped_after(engine, calls)
    return run(path, engine, equilibration_ns=0.0, anneal_temperature_K=None)


@pytest.mark.parametrize("calls", [3, 9, 15])
def test_a_resumed_run_remembers_who_stopped(tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = late_blow_up(tmp_path / "whole")
    assert whole.lengths == (20, 20, 7)
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)
    with pytest.raises(Stop):
        late_blow_up(tmp_path / "store", calls)
    resumed = late_blow_up(tmp_path / "store")
    assert resumed.lengths == whole.lengths
    assert stops_of(resumed.path) == stops_of(whole.path)
    for replica in range(3):
        assert np.array_equal(resumed.positions(replica), whole.positions(replica))
    assert open_trajectories(resumed.path).lengths == (20, 20, 7)


def test_too_long_a_time_step_blows_up_in_a_sentence(tmp_path: Path) -> None:
    for _ in range(2):  # asked again, it says so again
        with pytest.raises(
            MdgenError, match=r"all 2 repl.* blew up.*first at \w+-\w+ \(atom \d+\).*time step of 40 fs"
        ):
            run(tmp_path / "store", engine_of(alanine_dipeptide(), timestep_fs=40.0), save_ps=0.04, length_ns=0.01)


def test_replicas_that_share_a_start_part_ways(tmp_path: Path) -> None:
    frames = frames_of(run(tmp_path / "store"))
    assert float(np.abs(frames[0, -1] - frames[1, -1]).max()) > 0.01


def test_annealing_warms_the_equilibration_only(tmp_path: Path) -> None:
    system = alanine_dipeptide()
    engine, seen = engine_of(system), []
    real = engine.set_temperature

    def noting(temperature_K: torch.Tensor) -> None:
        seen.append(float(temperature_K))
        real(temperature_K)

    engine.set_temperature = noting
    run(tmp_path / "store", engine)
    assert seen[0] == 500.0
    assert seen[-1] == 300.0
    assert seen == sorted(seen, reverse=True)


def test_progress_says_speed_and_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mdgen"):
        run(tmp_path / "store")
    assert "/day" in caplog.text
    assert "left" in caplog.text


def test_the_kernel_engine_runs_in_the_same_loop(tmp_path: Path) -> None:
    system = alanine_dipeptide()
    engine = engine_of(system, kind="kernel", replicas=3)
    whole = frames_of(run(tmp_path / "a", engine))
    with pytest.raises(Stop):
        run(tmp_path / "b", stopped_after(engine_of(system, kind="kernel", replicas=3), 4))
    assert np.array_equal(frames_of(run(tmp_path / "b", engine_of(system, kind="kernel", replicas=3))), whole)
    held = system.potential.parameters.constraint_atoms.numpy()
    lengths = np.linalg.norm(whole[:, :, held[:, 0]] - whole[:, :, held[:, 1]], axis=-1)
    assert float(np.abs(lengths / system.potential.parameters.constraint_length.numpy() - 1).max()) < 1e-5


def test_a_state_that_does_not_fit_is_named() -> None:
    system = alanine_dipeptide()
    engine = TorchEngine(system, Langevin(2.0, 300.0), 2, torch.Generator())
    assert isinstance(engine, Engine)
    with pytest.raises(MdgenError, match=r"\(3, 22, 3\).*\(2, 22, 3\)"):
        engine.prepare(engine_of(system, replicas=3).advance(0))
