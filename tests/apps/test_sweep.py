"""`--multirun` makes a run for each combination of values, in folders of their own, by any of Hydra's launchers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.runs.sweep import jobs
from mdgen.data.store import TrajectoryStore, is_store

SMALL = ["n_replicas=2", "engine=torch", "length_ns=2e-5", "equilibration_ns=0", "save_ps=0.004"]
COMMAND = [sys.executable, "-c", "import sys; from mdgen.apps.main import main; sys.exit(main(sys.argv[1:]))"]


def test_every_combination_is_a_run_in_a_folder_of_its_own() -> None:
    arguments = ["system.sequence=A,NAN", "seed=range(0,2)", "output=runs/x", "integrator=overdamped"]
    found = jobs("simulate", arguments)
    assert [str(job.folder) for job in found] == [
        f"runs/x/{name}" for name in ["A-seed_0", "A-seed_1", "NAN-seed_0", "NAN-seed_1"]
    ]
    configs = [job.config("simulate") for job in found]
    assert [config["output"] for config in configs] == [str(job.folder) for job in found]
    assert [config["system"]["sequence"] for config in configs] == ["A", "A", "NAN", "NAN"]
    assert [config["seed"] for config in configs] == [0, 1, 0, 1]
    assert all("overdamped" in config["integrator"]["_target_"] for config in configs)


def test_the_lines_of_a_file_are_values(tmp_path: Path) -> None:
    file = tmp_path / "many peptides.txt"
    file.write_text("# tetrapeptides\nIPGD\n\n  GTLM  \nNAN\n")
    assert [job.folder.name for job in jobs("simulate", [f"system.sequence=@{file}"])] == ["IPGD", "GTLM", "NAN"]
    file.write_text("a b.pdb\n../c.pdb\nit's.pdb\n")
    found = jobs("simulate", ["system=pdb", f"system.pdb=@{file}"])
    assert [job.config("simulate")["system"]["pdb"] for job in found] == ["a b.pdb", "../c.pdb", "it's.pdb"]
    assert [job.folder.name for job in found] == ["a_b.pdb", "c.pdb", "it_s.pdb"]
    file.write_text("0.5\n1\n")
    assert [job.folder.name for job in jobs("simulate", [f"length_ns=@{file}"])] == ["length_ns_0.5", "length_ns_1"]


def test_groups_and_experiments_are_swept_like_keys() -> None:
    found = jobs("train", ["encoder=srv,tica", "output=runs/x"])
    assert [job.folder.name for job in found] == ["srv", "tica"]
    assert "hidden" not in found[1].config("train")["encoder"]["model"]


def test_what_fails_is_named_at_the_end_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("A\nAXA\nG\n")
    command = ["simulate", "-m", f"system.sequence=@{tmp_path}/list.txt", f"output={tmp_path}/many", *SMALL]
    assert main(command) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("mdgen: 1 of 3 runs failed: AXA: residue 'X' at position 2")
    assert not (tmp_path / "many/AXA").exists()
    assert TrajectoryStore.open(tmp_path / "many/G/trajectories").lengths == (5, 5)

    (tmp_path / "list.txt").write_text("A\nG\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert main(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert "A  simulate      done already" in capsys.readouterr().err


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_with_processes_make_the_same_runs_and_survive_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for submitit's processes
    command = ["simulate", "--multirun", "system.sequence=A,AXA", "tempering=null", *SMALL]
    assert main([*command, f"output={tmp_path}/many", f"hydra/launcher={launcher}"]) == 2
    assert "mdgen: 1 of 2 runs failed: AXA: residue 'X'" in capsys.readouterr().err.splitlines()[-1]
    assert main(["simulate", "system.sequence=A", *SMALL, f"output={tmp_path}/one"]) == 0
    one, many = (TrajectoryStore.open(tmp_path / each / "trajectories") for each in ("one", "many/A"))
    assert np.array_equal(one.positions(1), many.positions(1))


@pytest.mark.slow
def test_a_launcher_whose_process_is_killed_says_so_and_the_same_command_continues(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(
        "import multiprocessing, os, pathlib, signal\n"
        "killed = pathlib.Path('killed')\n"
        "if 'Loky' in multiprocessing.current_process().name and not killed.exists():\n"
        "    killed.touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [*COMMAND, "simulate", "-m", "system.sequence=A,G", f"output={tmp_path}/many", *SMALL]
    command += ["hydra/launcher=joblib", "plugins=[killer]"]
    first, second = (subprocess.run(command, cwd=tmp_path, capture_output=True, text=True) for _ in range(2))
    assert first.returncode == 2
    assert "mdgen: the launcher stopped after" in first.stderr
    assert second.returncode == 0, second.stderr
    assert all((tmp_path / "many" / name / "DONE").is_file() for name in "AG")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_ctrl_c_stops_all_and_the_same_command_continues(tmp_path: Path, number: int) -> None:
    command = [*COMMAND, "simulate", "-m", "system.sequence=A,G", f"output={tmp_path}/many", *SMALL, "length_ns=0.004"]

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells let their background jobs ignore it

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen)
    store = tmp_path / "many/A/trajectories"
    for _ in range(600):
        time.sleep(0.2)
        if is_store(store):
            break
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("mdgen: stopped")
    assert not (tmp_path / "many/A/DONE").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert TrajectoryStore.open(store).lengths == (1000, 1000)


def test_cfg_lists_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-m", "system.sequence=A,G", "output=runs/x", "--cfg"]) == 0
    assert capsys.readouterr().out == "runs/x/A: system.sequence=A\nruns/x/G: system.sequence=G\n"
