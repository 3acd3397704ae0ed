"""Loggers of trainings receive the run's name, group and settings; nothing here needs a network or an account."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mdtraj
import numpy as np
import pytest
import yaml
from lightning.pytorch.loggers import WandbLogger

from mdgen.apps.config.composition import compose, plain
from mdgen.apps.config.search_path import option_names
from mdgen.apps.main import main
from mdgen.apps.runs.run_logger import run_logger
from mdgen.errors import MdgenError
from mdgen.registry import resolve
from tests.models.structures import alanine_dipeptide, frames


def config(*overrides: str) -> dict[str, Any]:
    made: dict[str, Any] = plain(compose("train", ["encoder=srv", "data.trajectories=md.npy", *overrides]))
    return made


class FakeRun:
    """What `wandb.init` returns, as far as Lightning uses it; `wandb.run` holds the one that goes on."""

    def __init__(self, module: Any, **asked: Any) -> None:
        self.asked, self.settings, self.rows, self.finished = asked, {}, [], False
        self.config = SimpleNamespace(update=lambda settings, **_: self.settings.update(settings))
        self._module = module
        module.run = self

    def log(self, row: dict[str, Any], **_: Any) -> None:
        self.rows.append(row)

    def finish(self, exit_code: int) -> None:
        self.finished, self.exit_code, self._module.run = True, exit_code, None


@pytest.fixture
def wandb_runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    wandb = pytest.importorskip("wandb", reason="the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")  # Lightning sets it
    made: list[FakeRun] = []

    def init(**asked: Any) -> FakeRun:
        made.append(FakeRun(wandb, **asked))
        return made[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "run", None)
    return made


def test_wandb_gets_the_name_the_group_and_the_settings_of_each_run_of_a_sweep(
    wandb_runs: list[FakeRun], tmp_path: Path
) -> None:
    for seed in (0, 1):
        with run_logger(config("logger=wandb", f"seed={seed}"), tmp_path / "seeds" / f"seed_{seed}") as logger:
            logger.log_metrics({"train/loss": 0.5}, step=3)
    assert [run.asked["name"] for run in wandb_runs] == ["seed_0", "seed_1"]  # and not both in the first
    assert {run.asked["group"] for run in wandb_runs} == {str(tmp_path / "seeds")}
    assert [run.settings["seed"] for run in wandb_runs] == [0, 1]
    assert wandb_runs[0].settings["encoder"]["model"]["n_modes"] == 3
    assert "logger" not in wandb_runs[0].settings
    assert wandb_runs[0].rows == [{"train/loss": 0.5, "trainer/global_step": 3}]
    assert all(run.finished and run.exit_code == 0 for run in wandb_runs)


def test_a_name_and_a_group_that_are_given_are_taken(wandb_runs: list[FakeRun], tmp_path: Path) -> None:
    with run_logger(config("logger=wandb", "logger.name=mine", "logger.group=ours"), tmp_path) as logger:
        assert isinstance(logger, WandbLogger)
    assert (wandb_runs[0].asked["name"], wandb_runs[0].asked["group"]) == ("mine", "ours")


def test_a_run_that_fails_is_closed_too(wandb_runs: list[FakeRun], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_logger(config("logger=wandb"), tmp_path):
        raise KeyboardInterrupt
    assert wandb_runs[0].finished
    assert wandb_runs[0].exit_code == 1


def test_csv_lies_in_the_run_folder_with_the_settings(tmp_path: Path) -> None:
    with run_logger(config("seed=7"), tmp_path) as logger:
        logger.log_metrics({"train/loss": 0.5}, step=3)
        logger.finalize("success")
    (row,) = csv.DictReader((tmp_path / "log/metrics.csv").open())
    assert row == {"step": "3", "train/loss": "0.5"}
    assert yaml.safe_load((tmp_path / "log/hparams.yaml").read_text())["seed"] == 7


def test_tensorboard_writes_into_the_run_folder(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard")
    with run_logger(config("logger=tensorboard", "seed=7"), tmp_path) as logger:
        logger.log_metrics({"train/loss": 0.5}, step=3)
        logger.finalize("success")
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))
    assert yaml.safe_load((tmp_path / "log/hparams.yaml").read_text())["seed"] == 7


def test_mlflow_gets_the_name_the_group_and_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'mlruns'}"
    asked = config("logger=mlflow", f"logger.tracking_uri='{uri}'", "seed=7")
    with run_logger(asked, tmp_path / "seeds" / "seed_7") as logger:
        logger.log_metrics({"train/loss": 0.5}, step=3)
        logger.finalize("success")
    client = tracking.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mdgen").experiment_id])
    assert run.data.tags["mlflow.runName"] == "seed_7"
    assert run.data.tags["group"] == str(tmp_path / "seeds")
    assert run.data.params["seed"] == "7"
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow"])
def test_a_logger_that_is_not_installed_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdgen.apps.runs.run_logger.find_spec", lambda _: None)
    with (
        pytest.raises(MdgenError, match=rf"logger={name} needs .* pip install 'mdgen\[{name}\]'"),
        run_logger(config(f"logger={name}"), tmp_path),
    ):
        pass


def test_no_logger_but_those_of_the_configs_is_called(tmp_path: Path) -> None:
    assert set(option_names("logger")) == {"csv", "mlflow", "tensorboard", "wandb"}
    for name in ("lightning.pytorch.loggers.CSVLogger", "lightning.pytorch.loggers.CometLogger", "os.system"):
        with pytest.raises(MdgenError, match="is not registered"):
            resolve(name)


def test_a_training_logs_where_the_config_says(wandb_runs: list[FakeRun], tmp_path: Path) -> None:
    """From the command line: the figures of every epoch arrive, and the run is closed."""
    np.save(tmp_path / "md.npy", frames(400).numpy()[None])
    mdtraj.Trajectory(frames(1).numpy(), alanine_dipeptide().topology).save_pdb(str(tmp_path / "my.pdb"))
    arguments = [
        *(
            "train",
            "encoder=srv",
            "encoder.model.hidden=[8]",
            "encoder.model.lag_ps=1",
            "encoder.training.max_epochs=2",
        ),
        *(f"data.trajectories='{tmp_path}/md.npy'", f"data.topology='{tmp_path}/my.pdb'", "data.frame_spacing_ps=1"),
        *(f"output='{tmp_path}/runs/encoder'", "logger=wandb"),
    ]
    assert main(arguments) == 0
    (run,) = wandb_runs
    assert (run.asked["name"], run.asked["group"]) == ("encoder", f"{tmp_path}/runs")
    assert sum("train/loss" in row for row in run.rows) == 2
    assert run.finished
