"""What all trainable parts share: they remember how they were made, so that a file can make them again."""

import functools
import inspect
from typing import Any, ClassVar

import torch
from torch import nn

from mdgen.models.batches import TrainingData


class Part(nn.Module):
    """Base of encoders, propagators and decoders that are trained and kept in files.

    The arguments of the constructor are recorded in `arguments`; `metadata` says what a part from a file was trained
    on. Subclasses are registered (`mdgen.registry.register`) and offer one procedure of `interfaces.Trainable`.
    """

    training_defaults: ClassVar[dict[str, Any]] = {}
    """Settings with which this part trains well, where those of `training.settings.TrainingSettings` do not."""

    arguments: dict[str, Any]
    metadata: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Nothing needs to be known beforehand."""
        return data

    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """Nothing is left to do."""


def _recording(initialise: Any) -> Any:
    signature = inspect.signature(initialise)

    @functools.wraps(initialise)
    def recorded(self: Part, *positional: Any, **named: Any) -> None:
        initialise(self, *positional, **named)
        bound = signature.bind(self, *positional, **named)
        bound.apply_defaults()
        self.arguments = dict(list(bound.arguments.items())[1:])
        self.metadata = {}

    return recorded
