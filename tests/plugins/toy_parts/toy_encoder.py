"""Shape of a chain: radius of gyration and end-to-end distance, standardised over the data; a closed form."""

import torch
from torch import Tensor

from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import TrainingData
from mdgen.models.fingerprint import fingerprint
from mdgen.models.part import Part
from mdgen.registry import register


@register
class ChainShape(Part):
    """Encoder into two channels of mean zero and variance one.

    Args:
        end_to_end: whether the second channel, the distance of the first atom from the last, is there.
    """

    learns_from = "lagged_frames"
    mean: Tensor
    spread: Tensor

    def __init__(self, end_to_end: bool = True) -> None:
        super().__init__()
        self.channels = 2 if end_to_end else 1
        self.register_buffer("mean", torch.zeros(self.channels))
        self.register_buffer("spread", torch.ones(self.channels))

    @property
    def latent(self) -> LatentSpace:
        """`origin` names the standardisation."""
        return LatentSpace("chain_shape", 1, self.channels, fingerprint(self))

    def shape(self, positions: Tensor) -> Tensor:
        """Radius of gyration and end-to-end distance in nm of positions (..., atom, 3)."""
        centred = positions - positions.mean(-2, keepdim=True)
        radius = centred.square().sum(-1).mean(-1).sqrt()
        distance = (positions[..., 0, :] - positions[..., -1, :]).square().sum(-1).sqrt()
        return torch.stack([radius, distance], -1)[..., : self.channels]

    @torch.no_grad()
    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Take mean and spread from every frame."""
        shapes = self.shape(data.every.frames)
        self.mean.copy_(shapes.mean(0))
        self.spread.copy_(shapes.std(0))

    def encode(self, positions: Tensor, context: Context) -> Tensor:
        """The shape of each frame as one token."""
        return ((self.shape(positions) - self.mean) / self.spread).unsqueeze(-2)
