"""What decoders that begin from frames of the training data have in common: a library, and memory along it."""

import logging
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.coherence import Coherence, order_of
from mdgen.models.decoders.neighbours import Neighbours
from mdgen.models.part import Part

logger = logging.getLogger(__name__)

BLOCK = 5_000
"""Frames whose features are computed at a time."""


class LibraryDecoder(Part, ABC):
    """Base of decoders that begin each frame from one of a library, near in the latent.

    Args:
        latent: latent space of the encoder.
        n_neighbours: nearest frames of the library, of which one is drawn (`neighbours.tilted_weights`).
        coherent_modes: slow coordinates, at most, that frames keep from one to the next where the latent does not hold
            them (`decoders.coherence`); 0 for frames that are independent given the latent.
        coherent_neighbours: nearest frames of which one is drawn, instead of `n_neighbours`, where frames remember.

    Raises:
        MdgenError: for numbers that make no choice.
    """

    neighbours: Neighbours
    coherence: Coherence | None

    def __init__(self, latent: LatentSpace, n_neighbours: int, coherent_modes: int, coherent_neighbours: int) -> None:
        super().__init__()
        if coherent_modes < 0:
            raise MdgenError(f"coherent_modes is {coherent_modes}; it must be 0, for frames without memory, or more")
        if coherent_neighbours < 3:
            raise MdgenError(
                f"coherent_neighbours is {coherent_neighbours}; of fewer than 3 there is nothing to choose"
            )
        self.latent, self.n_neighbours = latent, n_neighbours
        self.coherent_modes, self.coherent_neighbours = coherent_modes, coherent_neighbours
        self.coherence = None

    def _make_room(self, n_frames: int) -> None:
        """Make room for a library of `n_frames`."""
        self.neighbours = Neighbours(n_frames, self.latent.tokens * self.latent.channels)
        self.coherence = None
        if self.coherent_modes:
            self.coherence = Coherence(n_frames, self.coherent_modes, self.coherent_neighbours)

    def _keep_neighbours(self, data: TrainingData, chosen: Int[Tensor, "row"]) -> None:
        """Keep the latents of a library, the `chosen` rows of all frames, and how what they leave moves."""
        frames: FrameBatch = data.every
        self.n_neighbours = min(self.n_neighbours, len(chosen))
        self.neighbours.latents.copy_(frames.latents[chosen])
        features = self._features(data)
        if features is not None:
            table = torch.cat([features(block) for block in frames.frames.split(BLOCK)])
            lag_ps = getattr(data.encoder, "lag_ps", None)
            self.coherence = Coherence.fitted(
                table, frames, chosen, lag_ps, self.coherent_modes, self.coherent_neighbours
            )
            self.coherent_modes = self.coherence.modes.shape[1]
            if not self.coherent_modes:
                logger.warning("frames are decoded without memory: nothing that the latent leaves lasts for its lag")
                self.coherence = None
        self.arguments |= {"n_neighbours": self.n_neighbours, "coherent_modes": self.coherent_modes}

    def _features(self, data: TrainingData) -> nn.Module | None:
        """Features of structures, by which frames remember; None where they are not to.

        Raises:
            MdgenError: if the encoder has none, or the order of the frames is not known.
        """
        if not self.coherent_modes:
            return None
        features = getattr(data.encoder, "features", None)
        if not isinstance(features, nn.Module) or isinstance(features, nn.Identity):
            raise MdgenError(
                f"coherent_modes={self.coherent_modes} needs an encoder with features of structures, which "
                f"{type(data.encoder).__name__} has not; give coherent_modes=0"
            )
        order_of(data.every)
        return features

    @property
    def remembers(self) -> bool:
        """Whether a frame depends on the one before it."""
        return self.coherence is not None

    @torch.no_grad()
    def choose(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        context: Context,
        generator: torch.Generator,
        before: Int[Tensor, "batch"] | None = None,
    ) -> Int[Tensor, "batch frame"]:
        """The frame of the library that each frame begins from."""
        if self.coherence is None:
            flat = latent.flatten(0, 1).flatten(1)
            return self.neighbours.draw(flat, self.n_neighbours, generator).unflatten(0, latent.shape[:2])
        spacing = context.frame_spacing_ps
        spacing_ps = self.coherence.lag_ps if spacing is None else float(spacing[0])
        if spacing is not None and bool((spacing != spacing[0]).any()):
            raise MdgenError(
                "trajectories of one batch have different frame spacings; decode those of each by themselves"
            )
        return self.coherence.choose(latent.flatten(2), before, spacing_ps, self.neighbours, generator)

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """A structure for every frame, in nm."""
        return self.decode_chosen(latent, self.choose(latent, context, generator), context, generator)

    @abstractmethod
    def decode_chosen(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        chosen: Int[Tensor, "batch frame"],
        context: Context,
        generator: torch.Generator,
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Positions in nm of every frame, begun from these frames of the library."""

    @abstractmethod
    def library_structures(self) -> Float[Tensor, "frame atom 3"]:
        """The training frames that are kept, in nm."""
