"""What happens beside the training: progress lines, a checkpoint to resume from, the figures and the best weights.

All are of Lightning's kind `Checkpoint`, whose hooks run after the module has logged its figures of the epoch; early
stopping is Lightning's own.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from mdgen.files import writable
from mdgen.progress import Progress

LOSSES = ("train/loss", "validation/loss", "train/wasserstein")
"""The logged figures by which a training is followed."""


class ProgressLines(Checkpoint):
    """Says through `mdgen.progress` how far the training of `label` is."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._progress: Progress | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count, from the epoch that a checkpoint left."""
        self._progress = Progress(self.label, float(trainer.max_epochs or 1), float(trainer.current_epoch))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """One more epoch."""
        logged = {name: float(trainer.callback_metrics.get(name, math.nan)) for name in LOSSES}
        figures = {name.replace("/", " ").replace(" loss", ""): v for name, v in logged.items() if math.isfinite(v)}
        if self._progress is not None and trainer.is_global_zero:
            self._progress.update(trainer.current_epoch + 1, **figures)


class RollingCheckpoint(Checkpoint):
    """Keeps one checkpoint of the whole training, renewed at the end of an epoch, by aside and rename.

    Between two, at least `interval_s` pass; Lightning's `ModelCheckpoint` keeps no least time between two at the ends
    of epochs, which may last milliseconds.
    """

    def __init__(self, path: Path, interval_s: float) -> None:
        self.path, self.interval_s = path, interval_s
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save, if the last one is old enough."""
        if not trainer.strategy.broadcast(time.monotonic() - self._last >= self.interval_s):
            return
        with writable(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            try:
                trainer.save_checkpoint(aside)
                if trainer.is_global_zero:
                    os.replace(aside, self.path)
            finally:
                aside.unlink(missing_ok=True)
        self._last = time.monotonic()


class History(Checkpoint):
    """Every figure that was logged, epoch by epoch, and the weights of the epoch of least validation loss.

    `rows` is a list of `{"epoch": ..., name: value}`; `weights` are empty where no epoch had a validation loss.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.best = math.inf
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note this epoch's figures, and its weights if they are the best so far."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if isinstance(value, Tensor)}
        self.rows.append({"epoch": float(trainer.current_epoch), **figures})
        value = figures.get("validation/loss", math.nan)
        if value < self.best:
            self.best = value
            self.weights = {name: part.detach().clone() for name, part in pl_module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"rows": self.rows, "best": self.best, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        vars(self).update(state_dict)
