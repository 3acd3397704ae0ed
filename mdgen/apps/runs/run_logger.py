"""Where the figures of a training go: Lightning's loggers, told the run's name, its group and all of its settings.

A run is named after its folder, and its group is the folder above: the runs of a sweep, or the parts of a demo.
Lightning is imported with the first logger that is made: it takes longer to import than torch does, and configs are
composed, shown and completed without one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdgen.apps.config.instantiation import instantiate
from mdgen.errors import MdgenError
from mdgen.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LOG_FOLDER = "log"
"""What loggers that write files write into, in the run folder."""


@contextmanager
def run_logger(config: dict[str, Any], folder: Path | str) -> "Iterator[Logger]":
    """The logger of a training run, which has received the run's settings; closed afterwards.

    Args:
        config: config of the run; its `logger` names one of the loggers below.
        folder: run folder.

    Raises:
        MdgenError: if the logger's package is not installed.
    """
    from lightning.pytorch.loggers import WandbLogger

    from mdgen.training.fitting import quiet_lightning

    logger: Logger = instantiate(config["logger"], save_dir=str(folder))
    failed = 1
    try:
        with quiet_lightning():
            settings = {key: value for key, value in config.items() if key != "logger" and value is not None}
            logger.log_hyperparams(settings)
        yield logger
        failed = 0
    finally:
        if isinstance(logger, WandbLogger):  # or the next run of a sweep would be logged into this one
            logger.experiment.finish(exit_code=failed)


@register
def csv(save_dir: str) -> Any:
    """`log/metrics.csv` in the run folder.

    Args:
        save_dir: run folder.
    """
    from lightning.pytorch.loggers import CSVLogger

    return CSVLogger(save_dir, name="", version=LOG_FOLDER)


@register
def wandb(
    save_dir: str,
    name: str | None = None,
    group: str | None = None,
    project: str = "mdgen",
    offline: bool = True,
) -> Any:
    """A run of Weights & Biases.

    Args:
        save_dir: run folder.
        name: name of the run; that of the run folder where None.
        group: group of the run; the folder above the run folder where None.
        project: project of your account.
        offline: whether the run stays in the run folder, for `wandb sync`; false sends it to your account.

    Raises:
        MdgenError: if wandb is not installed.
    """
    _require("wandb", "wandb")
    named, grouped = _name_and_group(save_dir, name, group)
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(save_dir=save_dir, name=named, group=grouped, project=project, offline=offline)


@register
def tensorboard(save_dir: str) -> Any:
    """Event files in `log` of the run folder; `tensorboard --logdir` on a folder of runs shows each by its folder.

    Args:
        save_dir: run folder.

    Raises:
        MdgenError: if tensorboard is not installed.
    """
    _require("tensorboard", "tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(save_dir, name="", version=LOG_FOLDER, default_hp_metric=False)


@register
def mlflow(
    save_dir: str,
    name: str | None = None,
    group: str | None = None,
    experiment: str = "mdgen",
    tracking_uri: str = "sqlite:///mlflow.db",
) -> Any:
    """A run of MLflow, with its group as the tag `group`.

    Args:
        save_dir: run folder.
        name: name of the run; that of the run folder where None.
        group: group of the run; the folder above the run folder where None.
        experiment: experiment that the run belongs to.
        tracking_uri: address of the server, or a data base: a file in the current folder, where `mlflow ui` looks.

    Raises:
        MdgenError: if mlflow is not installed.
    """
    _require("mlflow", "mlflow")
    named, grouped = _name_and_group(save_dir, name, group)
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(experiment, named, tracking_uri, {"group": grouped})


def _name_and_group(save_dir: str, name: str | None, group: str | None) -> tuple[str, str]:
    folder = Path(save_dir)
    return name or folder.resolve().name, group or str(folder.parent)


def _require(package: str, extra: str) -> None:
    found = find_spec(package)
    if found is None or found.origin is None:  # a folder of that name is no package
        raise MdgenError(
            f"logger={extra} needs {package}, which is not installed; pip install 'mdgen[{extra}]', or leave out "
            f"logger={extra}"
        )
