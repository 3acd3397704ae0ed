"""The nearest training frame: the baseline that a generative decoder must beat in variety."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.molecule.topology import Molecule
from mdgen.registry import register

BLOCK = 1024
"""Frames whose neighbours are sought at a time."""


@register
class NearestFrame(nn.Module):
    """Decoder: the structure of one of the training frames nearest in the latent.

    Args:
        latent: of the encoder.
        molecule: of the frames.
        n_frames: how many training frames are kept.
        n_neighbours: one of this many nearest frames is drawn.
    """

    positions: Tensor
    latents: Tensor

    def __init__(self, latent: LatentSpace, molecule: Molecule, n_frames: int = 20_000, n_neighbours: int = 1) -> None:
        super().__init__()
        if not 1 <= n_neighbours <= n_frames:
            raise MdgenError(f"n_neighbours is {n_neighbours}; it must be between 1 and n_frames, {n_frames}")
        self.arguments = {
            "latent": latent,
            "molecule": molecule,
            "n_frames": int(n_frames),
            "n_neighbours": int(n_neighbours),
        }
        self.latent, self.molecule, self.n_neighbours = latent, molecule, n_neighbours
        self.register_buffer("positions", torch.zeros(n_frames, molecule.n_atoms, 3))
        self.register_buffer("latents", torch.zeros(n_frames, latent.tokens * latent.channels))

    @torch.no_grad()
    def fit(
        self,
        positions: Float[Tensor, "frame atom 3"],
        latents: Float[Tensor, "frame channel"],
        generator: torch.Generator,
    ) -> None:
        """Keep frames of the data, drawn at random (with repetition only where there are too few)."""
        n = len(self.positions)
        order = torch.randperm(len(positions), generator=generator)
        chosen = order.repeat(-(-n // len(order)))[:n]
        self.positions.copy_(positions[chosen])
        self.latents.copy_(latents[chosen])

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
