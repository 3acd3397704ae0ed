"""A mixture of Gaussians with full covariances, one a row: its density and its samples."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.models.rejection_sampling import Rows


class Mixture(NamedTuple):
    """Gaussians `mean + factor @ normal`, `factor` lower triangular with `widths` on its diagonal.

    Every entry is a table (batch, component) of its own, listed by channel, and `lower` row by row: slices of one large
    table would each cost a table of zeros in the backward pass.
    """

    log_weights: Float[Tensor, "batch component"]
    means: tuple[Tensor, ...]
    widths: tuple[Tensor, ...]
    lower: tuple[Tensor, ...]

    @property
    def deviations(self) -> tuple[Tensor, ...]:
        """Standard deviation of each channel, whatever the others are."""
        lower = iter(self.lower)
        variances = (sum((next(lower).square() for _ in range(row)), w.square()) for row, w in enumerate(self.widths))
        return tuple(each.sqrt() for each in variances)

    def rows(self, chosen: Rows) -> "Mixture":
        """The mixtures of some rows of the batch."""
        return Mixture(self.log_weights[chosen], *(tuple(table[chosen] for table in part) for part in self[1:]))

    def log_density(self, points: Float[Tensor, "*_points channel"]) -> Float[Tensor, "*_batch"]:
        """Log of the density at a point of each row; points and rows broadcast."""
        # Forward substitution by hand: points have few channels, and a batched solver costs more than these few lines.
        normals: list[Tensor] = []
        exponent = self.log_weights
        lower = iter(self.lower)
        for row, (mean, width) in enumerate(zip(self.means, self.widths, strict=True)):
            rest = points[..., row, None] - mean
            for normal in normals:
                rest = rest - next(lower) * normal
            normals.append(rest / width)
            exponent = exponent - width.log() - 0.5 * normals[-1].square()
        return torch.logsumexp(exponent, -1) - 0.5 * points.shape[-1] * math.log(2 * math.pi)

    def draw(self, generator: torch.Generator, alike: bool = False) -> Float[Tensor, "batch channel"]:
        """A sample of each row; `alike` of all rows by the same random numbers."""
        return self.draw_with_component(generator, alike)[0]

    def draw_with_component(
        self, generator: torch.Generator, alike: bool = False
    ) -> tuple[Float[Tensor, "batch channel"], Int[Tensor, "batch"]]:
        """A sample of each row, and the Gaussian that it was drawn from."""
        cumulative = self.log_weights.exp().cumsum(-1)
        shape = (1 if alike else len(cumulative), 1)
        kind: Any = {"generator": generator, "device": cumulative.device, "dtype": cumulative.dtype}
        chosen = (torch.rand(shape, **kind) > cumulative[:, :-1]).sum(-1, keepdim=True)
        lower = iter(self.lower)
        normals: list[Tensor] = []
        values = []
        for mean, width in zip(self.means, self.widths, strict=True):
            value = mean.gather(1, chosen)
            for normal in normals:
                value = value + next(lower).gather(1, chosen) * normal
            normals.append(torch.randn(shape, **kind))
            values.append(value + width.gather(1, chosen) * normals[-1])
        return torch.cat(values, -1), chosen[:, 0]
