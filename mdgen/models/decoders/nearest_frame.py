"""The nearest training frame: the baseline that a generative decoder must beat in variety."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.part import Part
from mdgen.molecule.topology import Molecule
from mdgen.registry import register

BLOCK = 1024
"""Frames whose neighbours are sought at a time."""


@register
class NearestFrame(Part):
    """Decoder: the structure of one of the training frames nearest in the latent.

    Args:
        latent: latent space of the encoder.
        molecule: molecule of the frames.
        n_frames: number of training frames that are kept.
        n_neighbours: number of nearest frames, of which one is drawn.
    """

    learns_from = "frames"
    positions: Tensor
    latents: Tensor

    def __init__(self, latent: LatentSpace, molecule: Molecule, n_frames: int = 20_000, n_neighbours: int = 1) -> None:
        super().__init__()
        if not 1 <= n_neighbours <= n_frames:
            raise MdgenError(f"n_neighbours is {n_neighbours}; it must be between 1 and n_frames, {n_frames}")
        self.latent, self.molecule, self.n_neighbours = latent, molecule, n_neighbours
        self.register_buffer("positions", torch.zeros(n_frames, molecule.n_atoms, 3))
        self.register_buffer("latents", torch.zeros(n_frames, latent.tokens * latent.channels))

    @torch.no_grad()
    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Keep frames of the data, drawn at random (with repetition only where there are too few)."""
        frames: FrameBatch = data.every
        order = torch.randperm(len(frames), generator=generator)
        chosen = order[torch.arange(len(self.positions)) % len(order)]
        self.positions.copy_(frames.frames[chosen])
        self.latents.copy_(frames.latents[chosen])

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A training frame for every frame, in nm."""
        flat = latent.flatten(0, 1).flatten(1)
        blocks = []
        for part in flat.split(BLOCK):
            near = torch.cdist(part, self.latents).topk(self.n_neighbours, largest=False).indices
            which = torch.randint(self.n_neighbours, (len(part), 1), generator=generator, device=generator.device)
            blocks.append(self.positions[near.gather(1, which)[:, 0]])
        return torch.cat(blocks).unflatten(0, latent.shape[:2])
