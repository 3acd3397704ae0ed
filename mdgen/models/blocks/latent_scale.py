"""The scale on which networks see a latent of one token: the data fill [0, 1], crowded regions may get more room."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.models.blocks.density_equalising import DensityEqualising


class LatentScale(nn.Module):
    """A monotone map of each channel and back; the identity, but for the margin, before `fit`.

    Args:
        channels: channels of the latent.
        padding: margin at both sides of the data, which lie within `[padding, 1 - padding]`.
        equalising: whether crowded regions of each channel get more room (`DensityEqualising`).
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, channels: int, padding: float, equalising: bool) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("offset", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.equalised = DensityEqualising(channels) if equalising else None

    @torch.no_grad()
    def fit(self, latents: Float[Tensor, "frame channel"]) -> None:
        """Take the range and the density from data.

        Raises:
            MdgenError: for latents that are not finite or do not vary.
        """
        if not bool(torch.isfinite(latents).all()):
            raise MdgenError("the latent of some training frames is not finite; check the encoder and the trajectories")
        low, high = latents.min(0).values, latents.max(0).values
        if bool((high <= low).any()):
            raise MdgenError(f"channel {int((high <= low).nonzero()[0])} of the latent does not vary over the data")
        self.scale.copy_((high - low) / (1 - 2 * self.padding))
        self.offset.copy_(low - self.padding * self.scale)
        if self.equalised is not None:
            self.equalised.fit(self._unpadded((latents - self.offset) / self.scale))

    def forward(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Latents as a network sees them."""
        linear = (latents - self.offset) / self.scale
        return linear if self.equalised is None else self._padded(self.equalised(self._unpadded(linear)))

    def inverse(self, scaled: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Latents from what a network sees."""
        linear = scaled if self.equalised is None else self._padded(self.equalised.inverse(self._unpadded(scaled)))
        return linear * self.scale + self.offset

    def log_slope(self, latents: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch"]:
        """Log of the scaled volume that belongs to one of the latent itself, by which densities change."""
        linear = -self.scale.log().sum()
        if self.equalised is None:
            return linear.expand(len(latents))
        return linear + self.equalised.log_slope(self._unpadded((latents - self.offset) / self.scale)).sum(-1)

    def _unpadded(self, linear: Tensor) -> Tensor:
        return (linear - self.padding) / (1 - 2 * self.padding)

    def _padded(self, unpadded: Tensor) -> Tensor:
        return self.padding + (1 - 2 * self.padding) * unpadded
