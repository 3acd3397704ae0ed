"""Many runs by one command: which they are, that what fails keeps no other from running, and that they go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.multirun import shared_out
from mdgen.apps.sweep import sweep
from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError

SMALL = [
    "n_replicas=2",
    "engine=torch",
    "system.solvent=vacuum",
    "length_ns=2e-5",
    "equilibration_ns=0",
    "save_ps=0.004",
]


def swept(*overrides: str) -> dict[str, tuple[str, ...]]:
    return {run.name: run.overrides for run in sweep("simulate", list(overrides))}


def test_every_combination_is_a_run_in_a_folder_of_its_own() -> None:
    runs = sweep("simulate", ["system.sequence=A,NAN", "seed=range(0,2)", "output=runs/x", "integrator=overdamped"])
    assert [run.name for run in runs] == ["A-seed_0", "A-seed_1", "NAN-seed_0", "NAN-seed_1"]
    assert [run.config["output"] for run in runs] == [f"runs/x/{run.name}" for run in runs]
    assert [run.config["system"]["sequence"] for run in runs] == ["A", "A", "NAN", "NAN"]
    assert [run.config["seed"] for run in runs] == [0, 1, 0, 1]
    assert all("overdamped" in run.config["integrator"]["_target_"] for run in runs)


def test_the_lines_of_a_file_are_values(tmp_path: Path) -> None:
    file = tmp_path / "many peptides.txt"
    file.write_text("# tetrapeptides\nIPGD\n\n  GTLM  \nNAN\n")
    assert list(swept(f"system.sequence=@{file}")) == ["IPGD", "GTLM", "NAN"]
    file.write_text("a b.pdb\n../c.pdb\nit's.pdb\n")
    runs = sweep("simulate", ["system=pdb", f"system.pdb=@{file}"])
    assert [run.config["system"]["pdb"] for run in runs] == ["a b.pdb", "../c.pdb", "it's.pdb"]
    assert [run.name for run in runs] == ["a_b.pdb", "c.pdb", "it_s.pdb"]
    file.write_text("0.5\n1\n")
    assert list(swept(f"length_ns=@{file}")) == ["length_ns_0.5", "length_ns_1"]


def test_groups_and_experiments_are_swept_like_keys() -> None:
    runs = sweep("train", ["encoder=srv,tica", "output=runs/x"])
    assert [run.name for run in runs] == ["srv", "tica"]
    assert "hidden" not in runs[1].config["encoder"]["model"]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["system.sequence=A"], "needs a key with several values"),
        (["system.sequence=A,A"], r"same folder 'A' \(system.sequence=A\)"),
        (["output=a,b"], "output is the folder of all runs"),
        (["system.sequence=@nowhere.txt"], "nowhere.txt: that file cannot be read"),
        (["seed=interval(0,1)"], "expected values to choose from"),
        (["seed=1,x"], "seed=x: expected a whole number"),
        (["system.sequense=A,G"], "the nearest is 'system.sequence'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_one_sentence(overrides: list[str], complaint: str) -> None:
    with pytest.raises(MdgenError, match=complaint):
        sweep("simulate", overrides)


def test_threads_and_runs_together_fit_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert shared_out("-1", [None] * 3, 3) == (3, 2)
    assert shared_out("-1", [None] * 100, 100) == (8, 1)
    assert shared_out("2", [None] * 100, 100) == (2, 4)
    assert shared_out("-1", [3] * 100, 100) == (2, 3)
    assert shared_out("20", [1] * 100, 100) == (8, 1)
    assert shared_out("4", [16] * 100, 100) == (1, 16)
    with pytest.raises(MdgenError, match="n_jobs=0: expected a positive"):
        shared_out("0", [None], 1)


def test_what_fails_is_named_at_the_end_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("A\nAXA\nG\n")
    command = ["simulate", "-m", f"system.sequence=@{tmp_path}/list.txt", f"output={tmp_path}/many", *SMALL]
    assert main(command) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("mdgen: 1 of 3 runs failed: AXA: residue 'X' at position 2")
    summary = json.loads((tmp_path / "many/summary.json").read_text())
    assert [(run["name"], run["status"]) for run in summary["runs"]] == [
        ("A", "done"),
        ("AXA", "failed"),
        ("G", "done"),
    ]
    assert not (tmp_path / "many/AXA").exists()
    assert TrajectoryStore.open(tmp_path / "many/G/trajectories").lengths == (5, 5)

    (tmp_path / "list.txt").write_text("A\nG\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert main(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert "A  simulate      done already" in capsys.readouterr().err


@pytest.mark.slow
def test_side_by_side_makes_the_same_runs_as_one_after_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["simulate", "--multirun", "system.sequence=A,AXA,G", *SMALL]
    assert main([*command, f"output={tmp_path}/one"]) == 2
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"]
    assert main([*command, f"output={tmp_path}/two", *launcher]) == 2
    said = capsys.readouterr().err
    assert "mdgen: 1 of 3 runs failed: AXA: residue 'X'" in said.splitlines()[-1]
    assert "G  simulate" in said
    for name in ("A", "G"):
        one, two = (TrajectoryStore.open(tmp_path / each / name / "trajectories") for each in ("one", "two"))
        assert np.array_equal(one.positions(1), two.positions(1))


def test_a_process_that_is_killed_keeps_no_other_from_running(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom mdgen.apps import simulate\nfrom mdgen.apps.main import main\n"
        "if __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"
        "real = simulate.run\n"
        "def run(config):\n"
        "    if config['system']['sequence'] == 'A':\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(config)\n"
        "simulate.run = run\n"
    )
    (tmp_path / "killed.py").write_text(script)
    arguments = ["simulate", "-m", "system.sequence=A,G", f"output={tmp_path}/many", *SMALL, "hydra/launcher=joblib"]
    ended = subprocess.run([sys.executable, tmp_path / "killed.py", *arguments], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "1 of 2 runs failed: A: step A was killed" in ended.stderr
    assert (tmp_path / "many/G/DONE").is_file()


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_ctrl_c_stops_all_and_the_same_command_goes_on(tmp_path: Path, launcher: str, number: int) -> None:
    command = [
        str(Path(sys.executable).with_name("mdgen")),
        "simulate",
        "-m",
        "system.sequence=A,G",
        f"output={tmp_path}/many",
    ]
    command += [f"hydra/launcher={launcher}", *SMALL, "length_ns=0.004"]

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell is deaf to it

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen)
    store = tmp_path / "many/A/trajectories"
    for _ in range(600):
        time.sleep(0.2)
        if is_store(store):
            break
    time.sleep(0.5)
    if number == signal.SIGINT:  # a terminal sends it to all processes
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("mdgen: stopped")
    assert not (tmp_path / "many/A/DONE").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert TrajectoryStore.open(store).lengths == (1000, 1000)


def test_launchers_and_files_of_values_go_with_multirun(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        return capsys.readouterr().err

    assert "goes with --multirun" in said("simulate", "system.sequence=@list.txt")
    assert "add --multirun to run each" in said("simulate", "system.sequence=A,G")
    assert "launchers go with --multirun" in said("simulate", "hydra/launcher=joblib")
    assert "expected basic" in said("simulate", "-m", "seed=0,1", "hydra/launcher=slurm")
    assert "give both, or neither" in said("simulate", "-m", "seed=0,1", "hydra.launcher.n_jobs=2")
    assert "no key 'hydra.sweep.dir'" in said("simulate", "-m", "seed=0,1", "hydra.sweep.dir=x")
    assert "is for verbs that write run folders" in said("compare", "-m", "a,b")
    assert main(["simulate", "-m", "system.sequence=A,G", "output=runs/x", "--cfg"]) == 0
    assert capsys.readouterr().out == "runs/x/A: system.sequence=A\nruns/x/G: system.sequence=G\n"
