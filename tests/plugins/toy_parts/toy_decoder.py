"""Positions linear in the latent, with noise as wide as what the latent does not explain; by descent."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mdgen.geometry.superposition import superpose
from mdgen.interfaces import Context, LatentSpace, Loss
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.part import Part
from mdgen.molecule.topology import Molecule
from mdgen.registry import register


@register
class LinearDecoder(Part):
    """Mean structure plus the latent times a matrix plus noise.

    Args:
        latent: latent space of the encoder.
        molecule: molecule whose atoms are placed.
    """

    learns_from = "frames"
    training_defaults: ClassVar[dict[str, Any]] = {"max_epochs": 5, "batch_size": 500}
    reference: Tensor
    width: Tensor

    def __init__(self, latent: LatentSpace, molecule: Molecule) -> None:
        super().__init__()
        self.latent, self.molecule = latent, molecule
        self.mean = nn.Parameter(torch.zeros(molecule.n_atoms, 3))
        self.modes = nn.Parameter(torch.zeros(latent.tokens * latent.channels, molecule.n_atoms, 3))
        self.register_buffer("reference", torch.zeros(molecule.n_atoms, 3))
        self.register_buffer("width", torch.zeros(molecule.n_atoms, 1))

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Superpose every frame on the first."""
        frames: FrameBatch = data.training
        self.reference.copy_(frames.frames[0] - frames.frames[0].mean(0))
        aligned = superpose(frames.frames, self.reference)
        self.mean.copy_(aligned.mean(0))
        return replace(data, training=replace(frames, frames=aligned))

    def _place(self, latents: Tensor) -> Tensor:
        return self.mean + torch.einsum("bc,cax->bax", latents, self.modes)

    def loss(self, batch: FrameBatch, generator: torch.Generator) -> Loss:
        """Mean square deviation in nm^2."""
        return Loss((batch.frames - self._place(batch.latents)).square().mean())

    @torch.no_grad()
    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """Take the width of the noise from what is left."""
        left = data.training.frames - self._place(data.training.latents)
        self.width.copy_(left.square().mean((0, 2)).sqrt()[:, None])

    @torch.no_grad()
    def decode(self, latent: Tensor, context: Context, generator: torch.Generator) -> Tensor:
        """A structure for every frame, in nm."""
        flat = latent.flatten(0, 1).flatten(1)
        noise = torch.randn(len(flat), *self.mean.shape, generator=generator, device=generator.device)
        return (self._place(flat) + self.width * noise).unflatten(0, latent.shape[:2])
