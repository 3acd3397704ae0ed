"""Steps that run side by side end with the one that fails, and with the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.config.composition import complete, compose
from mdgen.apps.runs.concurrent_steps import run_concurrently
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from tests.data.conftest import argon

SLEEPER = """
import pathlib, time
try:
    pathlib.Path("started").touch()
    time.sleep(120)
finally:
    pathlib.Path("ended").touch()
"""
PARENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from mdgen.apps.runs.concurrent_steps import run_concurrently
if __name__ == "__main__":
    run_concurrently({"step": ("simulate", {})}, ["sleeper"])
"""


STAYER = """
import multiprocessing, pathlib, time
if multiprocessing.current_process().name == "stayer":
    time.sleep(120)
    pathlib.Path("stayed").touch()
"""


def test_a_step_that_fails_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stayer.py").write_text(STAYER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wrong = complete(compose("export", [f"run={tmp_path}/nowhere"]))
    begin = time.monotonic()
    with pytest.raises(MdgenError, match=r"^export \(exit status 2\) failed, as said above"):
        run_concurrently({"stayer": ("export", wrong), "export": ("export", wrong)}, ["stayer"])
    assert time.monotonic() - begin < 100
    assert not (tmp_path / "stayed").exists()


def test_steps_that_end_well_have_done_their_work(tmp_path: Path) -> None:
    with TrajectoryStore.create(tmp_path / "run/trajectories", argon(), 0.5, 1) as store:
        store.append(np.zeros((1, 3, 3, 3), np.float32))
    (tmp_path / "run/DONE").touch()
    steps = {}
    for kind in ("dcd", "xtc"):
        config = complete(compose("export", [f"run={tmp_path}/run", f"to={kind}", f"output={tmp_path}/{kind}"]))
        steps[kind] = ("export", config)
    run_concurrently(steps, [])
    assert all(list((tmp_path / kind).glob(f"*.{kind}")) for kind in steps)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_step_ends_when_its_parent_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)  # a plug-in, which each step loads first
    (tmp_path / "parent.py").write_text(PARENT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert _appears(tmp_path / "started")
    parent.send_signal(how)
    parent.wait(60)
    assert _appears(tmp_path / "ended")


def _appears(file: Path) -> bool:
    """Whether there is a file within a minute."""
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return file.exists()
