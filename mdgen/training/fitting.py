"""The one place that makes a Lightning trainer: quiet, resumable, and interrupted without loss."""

import logging
import math
import pickle
import signal
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger

from mdgen.errors import MdgenError
from mdgen.training.callbacks import LOSSES, History, ProgressLines, RollingCheckpoint
from mdgen.training.modules import PartTraining
from mdgen.training.settings import ONE_PROCESSOR, TrainerSettings

logger = logging.getLogger("mdgen")


def fit(
    label: str,
    module: PartTraining,
    batches: Iterable[Any],
    validation: Iterable[Any] | None = None,
    max_epochs: int | None = None,
    machine: TrainerSettings = ONE_PROCESSOR,
    folder: Path | None = None,
    run_logger: Logger | None = None,
) -> list[dict[str, float]]:
    """Train until done, from the checkpoint `<folder>/<label>.ckpt` where there is one.

    Args:
        label: what is trained; names the checkpoint and the progress lines.
        module: training; left with its best weights where there is validation data, else with its last.
        batches: an epoch each time it is iterated over.
        validation: likewise, or None.
        max_epochs: number of epochs at most; None for that of the module's settings.
        machine: accelerator, devices, precision and strategy.
        folder: folder of the checkpoint; none is written where None.
        run_logger: logger that receives every figure; none where None.

    Returns:
        The figures of every epoch.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the last checkpoint stays to resume from. It is of the end of an epoch, and
            epochs that ended within `checkpoint_interval_s` after it are trained again, as is the broken one.
        MdgenError: if the checkpoint is not one of this training, the machine has no such device, or the training
            diverged (its checkpoint is then removed, as there is nothing to resume).
    """
    history = History()
    callbacks: list[lightning.Callback] = [ProgressLines(label), history]
    if validation is not None:
        callbacks.append(EarlyStopping("validation/loss", patience=module.settings.patience, strict=False))
    checkpoint = None if folder is None else folder / f"{label}.ckpt"
    if checkpoint is not None:
        callbacks.append(RollingCheckpoint(checkpoint, machine.checkpoint_interval_s))
    resume = checkpoint if checkpoint is not None and checkpoint.is_file() else None
    with quiet_lightning():
        trainer = _trainer(machine, module, max_epochs or module.settings.max_epochs, callbacks, run_logger)
        if resume is not None:
            _require_as_written(resume)
            logger.info("%-12s resuming from %s", label, resume)
        _run(trainer, module, batches, validation, resume)
    try:
        _require_finite(label, history, validation is not None)
    except MdgenError:
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        raise
    if validation is not None:
        module.load_state_dict(history.weights)
    return history.rows


def _trainer(
    machine: TrainerSettings,
    module: PartTraining,
    max_epochs: int,
    callbacks: list[lightning.Callback],
    run_logger: Logger | None,
) -> lightning.Trainer:
    asked = {key: value for key, value in vars(machine).items() if key != "checkpoint_interval_s"}
    if machine.strategy == "ddp" and not module.automatic_optimization:
        # Each of two optimisers leaves the other's parameters out.
        asked["strategy"] = "ddp_find_unused_parameters_true"
    try:
        return lightning.Trainer(
            **asked,
            max_epochs=max_epochs,
            callbacks=callbacks,
            logger=run_logger if run_logger is not None else False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (MisconfigurationException, ValueError, ImportError) as error:
        words = " ".join(f"{key}={value}" for key, value in asked.items())
        reason = " ".join(str(error).split())[:200]
        raise MdgenError(f"no training with {words} here: {reason}") from error


def _require_as_written(checkpoint: Path) -> None:
    """Compare a checkpoint of torch's with the CRC-32 that its archive holds of each part, which torch passes over."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        damaged = " ".join(str(error).split())[:160]
    if damaged:
        raise MdgenError(
            f"{checkpoint} is not a checkpoint of this training as it was written ({damaged}); "
            "delete it to train from the beginning"
        )


def _require_finite(label: str, history: History, validated: bool) -> None:
    last = history.rows[-1] if history.rows else {}
    for name in LOSSES:
        if not math.isfinite(last.get(name, 0.0)):
            raise MdgenError(
                f"the training of the {label} diverged (its {name.replace('/', ' ')} is {last[name]}); "
                "use a smaller learning rate"
            )
    if validated and not history.weights:
        raise MdgenError(
            f"the training of the {label} ended without one finite validation loss; "
            "train for at least one epoch, with a smaller learning rate"
        )


def _run(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    batches: Iterable[Any],
    validation: Iterable[Any] | None,
    resume: Path | None,
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches, validation, ckpt_path=resume, weights_only=True if resume else None)
    except SystemExit as end:  # what Lightning makes of Ctrl-C, after switching the signal off for good
        raise KeyboardInterrupt from end
    except (RuntimeError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        if resume is None or trainer.global_step > 0:
            raise
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(
            f"{resume} is not a checkpoint of this training ({reason}); delete it to train from the beginning"
        ) from error
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's banners, tips and warnings about workers are no news to a user; errors still are."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
