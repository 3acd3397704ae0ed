"""An encoder that learns from windows of many molecules how far atoms move; it descends."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from mdgen.data.collation import TrajectoryBatch
from mdgen.interfaces import Context, LatentSpace, Loss
from mdgen.models.batches import TrainingData
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.fingerprint import fingerprint
from mdgen.models.part import Part
from mdgen.registry import register


@register
class Mobility(Part):
    """Guesses each atom's mean square displacement within a window from its distance to the centre.

    Args:
        window: frames of a window.
        hidden: width of the hidden layer.
    """

    learns_from = "trajectory_windows"
    training_defaults: ClassVar[dict[str, Any]] = {"max_epochs": 2, "batch_size": 16}

    def __init__(self, window: int = 4, hidden: int = 8) -> None:
        super().__init__()
        self.window = window
        self.network = perceptron(1, [hidden], 1)

    @property
    def latent(self) -> LatentSpace:
        """One token, one channel, of any molecule."""
        return LatentSpace("mobility", 1, 1, fingerprint(self))

    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights."""
        initialise(self.network, generator)
        return data

    def _guess(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Of positions (..., atom, 3) and a mask (..., atom), the displacement (..., atom) in nm2."""
        real = mask.unsqueeze(-1)
        centre = (positions * real).sum(-2, keepdim=True) / real.sum(-2, keepdim=True)
        return self.network((positions - centre).norm(dim=-1, keepdim=True))[..., 0]

    def loss(self, batch: TrajectoryBatch, generator: torch.Generator) -> Loss:
        """Mean square error over the atoms that are no padding."""
        mask = batch.context.atom_mask
        assert mask is not None
        moved = (batch.positions - batch.positions[:, :1]).square().sum(-1).mean(1)
        error = self._guess(batch.positions[:, 0], mask) - moved
        return Loss(error[mask].square().mean())

    def encode(self, positions: Tensor, context: Context) -> Tensor:
        """The mean over the atoms as one token."""
        mask = context.atom_mask
        if mask is None:
            mask = torch.ones(positions.shape[0], positions.shape[-2], dtype=torch.bool, device=positions.device)
        mask = mask.view(-1, *[1] * (positions.ndim - 3), mask.shape[-1]).expand(positions.shape[:-1])
        return ((self._guess(positions, mask) * mask).sum(-1) / mask.sum(-1))[..., None, None]
