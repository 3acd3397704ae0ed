"""A run folder is one run's, whole or resumable, and never two runs' at once."""

import errno
import json
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mdgen.apps.runs.run_folder import open_run
from mdgen.errors import MdgenError
from mdgen.results import Acceptance, Estimate


def test_a_finished_run_holds_config_provenance_metrics_and_mark(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "train", {"seed": 3, "lag_ps": 2.0}) as run:
        assert not run.done
        run.finish({"loss": float("nan")}, [Acceptance.below("error", Estimate(0.1), 0.2)])
        assert run.done
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert list(metrics)[-1] == "acceptance"
    assert metrics["loss"] is None
    assert metrics["acceptance"][0]["holds"] is True
    provenance = json.loads((tmp_path / "run/provenance.json").read_text())
    assert provenance[0]["seed"] == 3
    assert provenance[0]["packages"]["torch"]
    assert "lag_ps: 2.0" in (tmp_path / "run/config.yaml").read_text()


def test_the_same_run_is_resumed_and_a_different_one_refused(tmp_path: Path) -> None:
    config = {"seed": 0, "threads": 1, "model": {"width": 8}}
    for threads in (1, 2):  # threads do not change a result
        with open_run(tmp_path / "run", "train", {**config, "threads": threads}) as run:
            assert not run.done
    assert len(json.loads((tmp_path / "run/provenance.json").read_text())) == 2
    with (
        pytest.raises(MdgenError, match=r"model.width was 8, now 9"),
        open_run(tmp_path / "run", "train", {**config, "model": {"width": 9}}),
    ):
        pass
    with pytest.raises(MdgenError, match="another kind of run"), open_run(tmp_path / "run", "generate", config):
        pass


def test_a_folder_of_other_files_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(MdgenError, match=r"thesis.tex"), open_run(tmp_path, "train", {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(MdgenError, match="is a file"), open_run(tmp_path / "thesis.tex", "train", {}):
        pass


def keep_open(path: Path, ready: Connection) -> None:
    with open_run(path, "train", {}):
        ready.send("open")
        ready.recv()


def test_a_folder_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    other = context.Process(target=keep_open, args=(tmp_path / "run", there), daemon=True)
    other.start()
    assert here.recv() == "open"
    with pytest.raises(MdgenError, match=f"process {other.pid}"), open_run(tmp_path / "run", "train", {}):
        pass
    other.kill()
    other.join()
    with open_run(tmp_path / "run", "train", {}):  # a killed process leaves no stale lock
        pass


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MdgenError, match="disk is full"), open_run(tmp_path / "run", "train", {}):
        pass
    assert not (tmp_path / "run").exists()


def test_a_mistake_leaves_the_name_free_for_the_corrected_command(tmp_path: Path) -> None:
    with pytest.raises(MdgenError), open_run(tmp_path / "run", "train", {"lag_ps": 2.5}):
        raise MdgenError("the lag is no multiple of the spacing")
    assert not (tmp_path / "run").exists()
    with open_run(tmp_path / "run", "train", {"lag_ps": 2.0}) as run:
        (run.path / "weights").write_text("precious")
    with pytest.raises(MdgenError), open_run(tmp_path / "run", "train", {"lag_ps": 2.0}):
        raise MdgenError("the disk is full")
    assert (tmp_path / "run/weights").read_text() == "precious"


@pytest.mark.parametrize(("file", "kept"), [("log/hparams.yaml", False), ("log/metrics.csv", True), ("a/b/c", True)])
def test_notes_in_folders_are_no_results_and_all_else_is(file: str, kept: bool, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "train", {}) as run:
        (run.path / "log").mkdir()
        (run.path / file).parent.mkdir(parents=True, exist_ok=True)
        (run.path / file).write_text("a line")
    with pytest.raises(MdgenError), open_run(tmp_path / "run", "train", {}):
        raise MdgenError("the training was refused")
    assert (tmp_path / "run").exists() == kept


def test_threads_of_a_run_and_of_its_steps_may_change_but_no_parameter_of_that_name(tmp_path: Path) -> None:
    def config(threads: int, parameter: int) -> dict:
        step = {"output": str(threads), "seed": 0, "threads": threads, "logger": {"a": threads}}
        return {"threads": threads, "step": step, "potential": {"threads": parameter}}

    for threads in (1, 2):
        with open_run(tmp_path / "run", "demo", config(threads, 1)) as run:
            (run.path / "result").write_text("")
    with (
        pytest.raises(MdgenError, match=r"potential.threads was 1, now 2"),
        open_run(tmp_path / "run", "demo", config(2, 2)),
    ):
        pass
    assert len(json.loads((tmp_path / "run/provenance.json").read_text())) == 2


def test_a_key_that_only_one_run_has_is_named(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "simulate", {"a": [1]}):
        (tmp_path / "run/result").write_text("")
    with (
        pytest.raises(MdgenError, match=r"b\.c was None, now 2"),
        open_run(tmp_path / "run", "simulate", {"a": [1], "b": {"c": 2}}),
    ):
        pass


def test_a_finished_simulation_may_be_asked_to_be_longer_but_nothing_else(tmp_path: Path) -> None:
    config = {"seed": 0, "length_ns": 1.0, "save_ps": 1.0}
    with open_run(tmp_path / "run", "simulate", config) as run:
        run.finish({})
    with open_run(tmp_path / "run", "simulate", config) as run:
        assert run.done
    with open_run(tmp_path / "run", "simulate", {**config, "length_ns": 2.0}) as run:
        assert not run.done
        run.finish({})
    assert "length_ns: 2.0" in (tmp_path / "run/config.yaml").read_text()
    for other in ({"length_ns": 1.5}, {"length_ns": 3.0, "save_ps": 2.0}):
        with pytest.raises(MdgenError, match="other settings"), open_run(tmp_path / "run", "simulate", config | other):
            pass
    with open_run(tmp_path / "run", "simulate", {**config, "length_ns": 2.0}) as run:
        assert run.done
