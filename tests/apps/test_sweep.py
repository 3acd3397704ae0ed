"""`--multirun` makes a run for each combination of values, in folders of their own, by any of Hydra's launchers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.sweeps import sweep
from mdgen.apps.sweeps.sweep import config_of, jobs
from mdgen.apps.sweeps.sweep_job import Job
from mdgen.apps.sweeps.sweep_mark import is_finished, mark_finished
from mdgen.apps.sweeps.sweep_summary import metrics_of
from mdgen.data.store import TrajectoryStore
from tests.apps.interrupted_run import interrupted

SMALL = ["n_replicas=2", "engine=torch", "length_ns=2e-5", "equilibration_ns=0", "save_ps=0.004"]
COMMAND = [sys.executable, "-c", "import sys; from mdgen.apps.main import main; sys.exit(main(sys.argv[1:]))"]


def test_every_combination_is_a_run_in_a_folder_of_its_own() -> None:
    arguments = ["system.sequence=A,NAN", "seed=range(0,2)", "output=runs/x", "integrator=overdamped"]
    found = jobs("simulate", arguments)
    assert [str(job.folder) for job in found] == [
        f"runs/x/{name}" for name in ["A-seed_0", "A-seed_1", "NAN-seed_0", "NAN-seed_1"]
    ]
    configs = [config_of("simulate", job) for job in found]
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
    assert [config_of("simulate", job)["system"]["pdb"] for job in found] == ["a b.pdb", "../c.pdb", "it's.pdb"]
    assert [job.folder.name for job in found] == ["a_b.pdb", "c.pdb", "it_s.pdb"]
    file.write_text("0.5\n1\n")
    assert [job.folder.name for job in jobs("simulate", [f"length_ns=@{file}"])] == ["length_ns_0.5", "length_ns_1"]


def test_groups_and_experiments_are_swept_like_keys() -> None:
    found = jobs("train", ["encoder=srv,tica", "output=runs/x"])
    assert [job.folder.name for job in found] == ["srv", "tica"]
    assert "hidden" not in config_of("train", found[1])["encoder"]["model"]


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


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
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
    store = tmp_path / "many/A/trajectories"
    status, said = interrupted(command, store, number, SIGINT=signal.SIG_DFL)  # shells let background jobs ignore it
    assert status == 130
    assert said.splitlines()[-1].startswith("mdgen: stopped")
    assert not (tmp_path / "many/A/DONE").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert TrajectoryStore.open(store).lengths == (1000, 1000)


def test_cfg_lists_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-m", "system.sequence=A,G", "output=runs/x", "--cfg"]) == 0
    assert capsys.readouterr().out == "runs/x/A: system.sequence=A\nruns/x/G: system.sequence=G\n"


def test_a_sweep_ends_in_a_table_and_plots_and_is_answered_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["simulate", "-m", "system.sequence=A,G", "n_replicas=2,3", "output=many", *SMALL[1:]]
    assert main(command) == 0
    lines = [line.split(",") for line in Path("many/summary.csv").read_text().splitlines()]
    assert lines[0][:4] == ["run", "system.sequence", "n_replicas", "state"]
    table = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    assert list(table) == [f"{name}-n_replicas_{n}" for name in "AG" for n in (2, 3)]
    for run, row in table.items():
        metrics = json.loads(Path(f"many/{run}/metrics.json").read_text())
        assert float(row["total_ns"]) == pytest.approx(metrics["total_ns"])
        assert (int(row["n_atoms"]), row["state"]) == (metrics["n_atoms"], "done")
    drawn = Path("many/summary.svg").read_text()
    assert drawn.count("<!-- total_ns -->") == drawn.count("<!-- n_atoms -->") == 1
    assert drawn.count("<!-- system.sequence -->") == drawn.count("<!-- n_replicas -->") > 1
    assert "<!-- n_frames -->" not in drawn  # the same in all runs

    def refuse(*_: object) -> None:
        raise AssertionError("a finished sweep looks at its runs again")

    monkeypatch.setattr(sweep, "compose", refuse)
    monkeypatch.setattr(sweep, "_launched", refuse)
    capsys.readouterr()
    assert main(command) == 0
    assert "4 runs of `mdgen simulate` done already: many/summary.csv" in capsys.readouterr().err
    for changed in (["seed=1"], ["n_replicas=2,3,4"]):
        with pytest.raises(AssertionError):
            main([*(each for each in command if each.partition("=")[0] != changed[0].partition("=")[0]), *changed])
    Path("many/A-n_replicas_2/DONE").unlink()
    with pytest.raises(AssertionError):
        main(command)


@pytest.mark.parametrize(("argument", "file"), [
    ("model={}", "encoder.safetensors"), ("seeds=[{}]", "encoder.safetensors"), ("encoder_run={}", "encoder/DONE"),
    ("data.trajectories={}/*.xtc", "a.xtc"), ("data.trajectories='{}/*.xtc'", "a.xtc"), ("coarse={}", "a.xtc"),
    ("data.trajectories=[{}/b.xtc,{}/a.xtc]", "a.xtc"),
])  # fmt: skip
def test_what_was_made_again_is_no_finished_sweep(argument: str, file: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / file).parent.mkdir(parents=True)
    (model / file).write_bytes(b"1")
    given = argument.replace("{}", str(model))
    found = tuple(Job(tmp_path / f"n_{n}", (f"seed={n}",), (given, f"seed={n}")) for n in (0, 1))
    for job in found:
        job.folder.mkdir()
        (job.folder / "DONE").touch()
    assert not is_finished(tmp_path, "generate", found)
    mark_finished(tmp_path, "generate", found)
    assert is_finished(tmp_path, "generate", found)
    (model / file).write_bytes(b"12")
    assert not is_finished(tmp_path, "generate", found)


def test_an_input_that_is_gone_is_no_finished_sweep(tmp_path: Path) -> None:
    (tmp_path / "a.xtc").write_bytes(b"1")
    (tmp_path / "linked.xtc").symlink_to(tmp_path / "a.xtc")
    job = Job(tmp_path / "run", ("seed=0",), (f"data.trajectories={tmp_path}/linked.xtc", "seed=0"))
    job.folder.mkdir()
    (job.folder / "DONE").touch()
    mark_finished(tmp_path, "train", (job,))
    assert is_finished(tmp_path, "train", (job,))
    (tmp_path / "a.xtc").unlink()  # the link stays, and leads nowhere
    assert not is_finished(tmp_path, "train", (job,))
    (tmp_path / "sweep.json").unlink()
    mark_finished(tmp_path, "train", (job,))
    assert not (tmp_path / "sweep.json").exists()


def test_rows_and_intervals_of_an_evaluation_are_metrics_by_their_names(tmp_path: Path) -> None:
    document = {
        "verb": "evaluate",
        "criteria": [{"metric": "torsion_jsd/all", "value": 0.1, "floor": 0.2}],
        "rows": {"generated": {"label": "x", "metrics": {"size_nm": {"value": 1.5, "low": 1.0, "high": None}}}},
        "timescales_ps": [60, None],
    }
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    assert metrics_of(tmp_path) == {}  # not done
    (tmp_path / "DONE").touch()
    assert metrics_of(tmp_path) == {
        "criteria/torsion_jsd/all": 0.1,
        "rows/generated/metrics/size_nm": 1.5,
        "rows/generated/metrics/size_nm/low": 1.0,
        "timescales_ps/1": 60,
    }
