"""The nearest training frame: the baseline that a generative decoder must beat in variety."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.library_decoder import LibraryDecoder
from mdgen.molecule.topology import Molecule
from mdgen.registry import register


@register
class NearestFrame(LibraryDecoder):
    """Decoder: the structure of one of the training frames nearest in the latent.

    Args:
        latent: latent space of the encoder.
        molecule: molecule of the frames.
        n_frames: number of training frames that are kept, at most.
        n_neighbours: number of nearest frames, of which one is drawn, with the weights of `neighbours.tilted_weights`.
        coherent_modes: as for `LibraryDecoder`.
        coherent_neighbours: as for `LibraryDecoder`.
    """

    learns_from = "frames"
    positions: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        molecule: Molecule,
        n_frames: int = 20_000,
        n_neighbours: int = 1,
        coherent_modes: int = 0,
        coherent_neighbours: int = 32,
    ) -> None:
        super().__init__(latent, n_neighbours, coherent_modes, coherent_neighbours)
        if not 1 <= n_neighbours <= n_frames:
            raise MdgenError(f"n_neighbours is {n_neighbours}; it must be between 1 and n_frames, {n_frames}")
        self.molecule = molecule
        self._keep(n_frames)

    def _keep(self, n_frames: int) -> None:
        """Make room for the frames."""
        self.register_buffer("positions", torch.zeros(n_frames, self.molecule.n_atoms, 3))
        self._make_room(n_frames)

    @torch.no_grad()
    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Keep frames of the data, drawn at random; all of them where there are too few."""
        frames: FrameBatch = data.every
        chosen = torch.randperm(len(frames), generator=generator)[: len(self.positions)]
        if len(chosen) < len(self.positions):
            self._keep(len(chosen))
        self.arguments["n_frames"] = len(chosen)
        self.positions.copy_(frames.frames[chosen])
        self._keep_neighbours(data, chosen)

    @torch.no_grad()
    def decode_chosen(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        chosen: Int[Tensor, "batch frame"],
        context: Context,
        generator: torch.Generator,
    ) -> Float[Tensor, "batch frame atom 3"]:
        """These frames themselves."""
        return self.positions[chosen]

    def library_structures(self) -> Float[Tensor, "frame atom 3"]:
        """The training frames that are kept, in nm."""
        return self.positions
