"""The one place that makes a Lightning trainer: quiet, resumable, and interrupted without loss."""

import logging
import math
import pickle
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.loggers import Logger

from mdgen.errors import MdgenError
from mdgen.training.callbacks import LOSSES, BestWeights, History, ProgressLines, RollingCheckpoint

logger = logging.getLogger("mdgen")


@dataclass(frozen=True)
class FitSettings:
    """How long to train and when to stop.

    Args:
        max_epochs: epochs at most.
        patience: epochs without a better validation loss after which the training stops.
        checkpoint_interval_s: least time between two checkpoints.
        accelerator: `cpu`, `gpu` or `auto`, as Lightning takes it.
        check_validation_every: epochs between two looks at the validation data.
    """

    max_epochs: int
    patience: int = 20
    checkpoint_interval_s: float = 5.0
    accelerator: str = "cpu"
    check_validation_every: int = 1


def fit(
    label: str,
    module: lightning.LightningModule,
    batches: Iterable[Any],
    validation: Iterable[Any] | None,
    settings: FitSettings,
    folder: Path | None,
    run_logger: Logger | None = None,
) -> list[dict[str, float]]:
    """Train until done, from the checkpoint `<folder>/<label>.ckpt` where there is one.

    Args:
        label: what is trained; names the checkpoint and the progress lines.
        module: the training; left with its best weights where there is validation data, else with its last.
        batches: an epoch each time it is iterated over.
        validation: likewise, or None.
        settings: how long.
        folder: for the checkpoint; none is written where None.
        run_logger: receives every figure; none where None.

    Returns:
        The figures of every epoch.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the last checkpoint stays to resume from. It is of the end of an epoch, and
            epochs that ended within `checkpoint_interval_s` after it are trained again, as is the broken one.
        MdgenError: if the checkpoint is not one of this training, or the training diverged (its checkpoint is then
            removed, as there is nothing to resume).
    """
    history, best = History(), BestWeights(patience=settings.patience)
    callbacks: list[lightning.Callback] = [ProgressLines(label), history]
    if validation is not None:
        callbacks.append(best)
    checkpoint = None if folder is None else Path(folder) / f"{label}.ckpt"
    if checkpoint is not None:
        callbacks.append(RollingCheckpoint(checkpoint, settings.checkpoint_interval_s))
    resume = checkpoint if checkpoint is not None and checkpoint.is_file() else None
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            devices=1,
            max_epochs=settings.max_epochs,
            callbacks=callbacks,
            logger=run_logger if run_logger is not None else False,
            check_val_every_n_epoch=settings.check_validation_every,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
        if resume is not None:
            logger.info("%-12s resuming from %s", label, resume)
        _run(trainer, module, batches, validation, resume)
    try:
        _require_finite(label, history.rows, best if validation is not None else None)
    except MdgenError:
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        raise
    if validation is not None:
        best.restore(module)
    return history.rows


def _require_finite(label: str, rows: list[dict[str, float]], best: BestWeights | None) -> None:
    last = rows[-1] if rows else {}
    for name in LOSSES:
        if not math.isfinite(last.get(name, 0.0)):
            raise MdgenError(
                f"the training of the {label} diverged (its {name.replace('/', ' ')} is {last[name]}); "
                "use a smaller learning rate"
            )
    if best is not None and not best.weights:
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
    names = ("lightning.pytorch", "lightning.fabric", "lightning")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
