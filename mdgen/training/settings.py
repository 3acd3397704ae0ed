"""How a part is trained, and on what machine."""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mdgen.errors import MdgenError
from mdgen.registry import register

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
"""Weights are kept in single precision; what needs double precision, as covariances, takes it by itself."""

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@register
@dataclass(frozen=True)
class TrainingSettings:
    """How a part is trained; parts name in `training_defaults` what suits them better than these.

    Args:
        optimizer: function that makes the optimiser from the parameters.
        max_epochs: passes over the data at most.
        patience: epochs without a better validation loss after which the training stops.
        patience_steps: steps without a better validation loss that must have passed too, however few make an epoch.
        batch_size: pairs, frames or windows a step and process.
        validation_share: share of the frames kept back, by trajectory or long block; 0 for none.
        n_steps: steps of a training that draws its batches at random, with repetition, instead of passing over the
            data; 0 for passes.
        cosine: whether the learning rate falls to nothing on a cosine.
        gradient_clip: greatest norm of the gradient; 0 for none.
        average_decay: decay of the moving average of the weights, which is then what is kept; 0 for none.
        max_frames: frames, evenly spaced, that are held in memory with all their atoms at most.
        seed: seed of weights, split, order and noise.

    Raises:
        MdgenError: for a number that makes no training, such as no epoch or a learning rate of 0.
    """

    optimizer: OptimizerFactory = field(default=functools.partial(torch.optim.Adam, lr=1e-3))
    max_epochs: int = 60
    patience: int = 60
    patience_steps: int = 0
    batch_size: int = 4_000
    validation_share: float = 0.1
    n_steps: int = 0
    cosine: bool = True
    gradient_clip: float = 1.0
    average_decay: float = 0.0
    max_frames: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"max_epochs": 1, "patience": 1, "batch_size": 1, "n_steps": 0, "patience_steps": 0}
        least |= {"gradient_clip": 0, "max_frames": 1}
        for key, lowest in least.items():
            value = getattr(self, key)
            if not lowest <= value < math.inf:
                raise MdgenError(f"{key}={value}: expected at least {lowest}")
        for key in ("validation_share", "average_decay"):
            if not 0 <= getattr(self, key) < 1:
                raise MdgenError(f"{key}={getattr(self, key)}: expected at least 0 and less than 1")
        rate = getattr(self.optimizer, "keywords", {}).get("lr", 1.0)
        if not 0 < rate < math.inf:
            raise MdgenError(f"optimizer.lr={rate}: a training needs a learning rate above 0")

    def patience_of(self, n_batches: int) -> int:
        """Epochs of so many batches without a better validation loss after which the training stops."""
        return max(self.patience, -(-self.patience_steps // max(1, n_batches)))


def settings_for(part: Any, **given: Any) -> TrainingSettings:
    """The settings of a part: those given, then its own `training_defaults`, then the general ones."""
    return TrainingSettings(**{**getattr(part, "training_defaults", {}), **given})


@register
@dataclass(frozen=True)
class TrainerSettings:
    """The machine, in the words of `lightning.Trainer`.

    Args:
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
        devices: number of devices, or their indices; each has a process of its own.
        num_nodes: number of machines.
        strategy: how several processes work together, such as `ddp`.
        precision: one of `PRECISIONS`.
        checkpoint_interval_s: least time between two checkpoints.

    Raises:
        MdgenError: for another precision, or a negative time.
    """

    accelerator: str = "cpu"
    devices: int | str | list[int] = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    checkpoint_interval_s: float = 5.0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise MdgenError(f"trainer.precision={self.precision}: expected one of {', '.join(PRECISIONS)}")
        if not self.checkpoint_interval_s >= 0:
            raise MdgenError(f"trainer.checkpoint_interval_s={self.checkpoint_interval_s}: expected at least 0")


ONE_PROCESSOR = TrainerSettings()
"""One process on the CPU."""
