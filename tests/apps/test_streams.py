"""A run needs no terminal, no reader of what it says, and is refused before it begins where the disk is too small."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.runs import run_folder
from mdgen.data.store import TrajectoryStore
from tests.apps.interrupted_run import interrupted

COMMAND = [sys.executable, "-m", "mdgen"]
WELL = ["simulate", "system=double_well", "integrator=overdamped", "threads=1", "equilibration_ns=0", "n_replicas=2"]
SHORT = [*WELL, "save_ps=0.0001", "length_ns=0.000001"]


def test_a_run_needs_no_standard_streams(tmp_path: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    assert subprocess.run([*shell, *COMMAND, *SHORT, f"output={tmp_path / 'run'}"]).returncode == 0
    assert (tmp_path / "run/DONE").is_file()
    assert "trajectories in" in (tmp_path / "run/run.log").read_text()
    assert TrajectoryStore.open(tmp_path / "run/trajectories").lengths == (10, 10)


def test_a_run_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen([*COMMAND, *SHORT, f"output={tmp_path / 'run'}"], stdout=write, stderr=write)
    os.close(write)
    with open(read) as pipe:
        assert pipe.readline().startswith("simulate")
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "run/DONE").is_file()
    assert "trajectories in" in (tmp_path / "run/run.log").read_text()


@pytest.mark.parametrize("words", [["--help"], ["simulate", "--cfg"]])
def test_a_result_that_nobody_reads_ends_quietly(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, *words], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_result_that_does_not_fit_is_said_in_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    sentence = "mdgen: the result cannot be written (No space left on device); write it elsewhere\n"
    assert (done.returncode, done.stderr) == (2, sentence)


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [False, True])
def test_a_lost_terminal_stops_a_run_unless_it_is_ignored(tmp_path: Path, ignored: bool) -> None:
    length = "length_ns=0.0003" if ignored else "length_ns=0.002"
    command = [*COMMAND, *WELL, "save_ps=0.0001", length, f"output={tmp_path / 'run'}"]
    store = tmp_path / "run/trajectories"
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    status, said = interrupted(command, store, signal.SIGHUP, SIGHUP=handler)
    if ignored:
        assert status == 0
        return
    assert status == 130
    assert said.splitlines()[-1].startswith("mdgen: stopped")
    kept = np.array(TrajectoryStore.open(store).positions(1))
    assert 0 < len(kept) < 20000
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert TrajectoryStore.open(store).lengths == (20000, 20000)
    np.testing.assert_array_equal(TrajectoryStore.open(store).positions(1, 0, len(kept)), kept)


def test_a_verb_leaves_the_handlers_of_signals_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert main(["simulate", "--cfg"]) == 0
    assert main(["simulate", "n_replicas=0"]) == 2
    assert [signal.getsignal(number) for number in numbers] == before


def test_frames_that_do_not_fit_the_disk_are_refused_before_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"output={tmp_path / 'run'}"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300))  # 12 frames of 2 replicas
    assert main([*SHORT, "length_ns=0.0000013", output]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("mdgen: "))
    assert "take 3.12e-07 GB" in said
    assert "has 3e-07 GB left; lower length_ns" in said
    assert main([*SHORT, output]) == 0
    assert main([*SHORT, "length_ns=0.000002", output]) == 0  # ten frames more
    done = (tmp_path / "run/DONE").read_bytes()
    assert main([*SHORT, "length_ns=0.000004", output]) == 2
    assert TrajectoryStore.open(tmp_path / "run/trajectories").lengths == (20, 20)
    assert (tmp_path / "run/DONE").read_bytes() == done  # it is as long as it was, and may be made longer by less
    assert main([*SHORT, "length_ns=0.000002", output]) == 0
    assert main([*SHORT, "length_ns=0.000003", output]) == 0
    assert TrajectoryStore.open(tmp_path / "run/trajectories").lengths == (30, 30)


def test_an_extension_for_which_there_is_no_room_for_notes_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    output = f"output={tmp_path / 'run'}"
    assert main([*SHORT, output]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_aside", full)
        assert main([*SHORT, "length_ns=0.000002", output]) == 2
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("mdgen: ")]) == 1
    assert main([*SHORT, output]) == 0
    assert (tmp_path / "run/DONE").is_file()
    assert TrajectoryStore.open(tmp_path / "run/trajectories").lengths == (10, 10)
