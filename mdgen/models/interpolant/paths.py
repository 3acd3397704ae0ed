"""Paths from noise to data: `x(t) = alpha(t) data + sigma(t) noise`, from t = 0 (noise) to t = 1 (data).

Source: Albergo, Boffi and Vanden-Eijnden, arXiv 2303.08797 (2023).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Times = Float[Tensor, "batch"]


class PathPoint(NamedTuple):
    """A point of a path and the velocity at it.

    Args:
        value: `alpha data + sigma noise`.
        velocity: its derivative with respect to the flow time; its mean at each value generates data.
    """

    value: Float[Tensor, "batch *shape"]
    velocity: Float[Tensor, "batch *shape"]


class Path(ABC):
    """The coefficients of data and noise along a path."""

    @abstractmethod
    def coefficients(self, time: Times) -> tuple[Times, Times]:
        """`alpha` and `sigma`."""

    @abstractmethod
    def derivatives(self, time: Times) -> tuple[Times, Times]:
        """Derivatives of `alpha` and `sigma` with respect to the time."""

    def at(self, time: Times, data: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"]) -> PathPoint:
        """The point at each row's time."""
        alpha, sigma, d_alpha, d_sigma = self._all(time, data.ndim)
        return PathPoint(alpha * data + sigma * noise, d_alpha * data + d_sigma * noise)

    def gaussian_velocity(
        self, value: Float[Tensor, "batch *shape"], mean: Float[Tensor, "batch *shape"], time: Times
    ) -> Float[Tensor, "batch *shape"]:
        """Mean velocity at a value where data and noise are Gaussian of one mean and one covariance, whatever that is.

        With the mean taken off, `E[data | x] = alpha / (alpha^2 + sigma^2) x`, and so for the noise.
        """
        alpha, sigma, d_alpha, d_sigma = self._all(time, value.ndim)
        slope = (alpha * d_alpha + sigma * d_sigma) / (alpha.square() + sigma.square())
        return slope * value + (d_alpha + d_sigma - slope * (alpha + sigma)) * mean

    def _all(self, time: Times, ndim: int) -> Iterator[Tensor]:
        """Coefficients and derivatives of each row, to be multiplied by tensors of so many dimensions."""
        for each in (*self.coefficients(time), *self.derivatives(time)):
            yield each.view(-1, *[1] * (ndim - 1))


class Linear(Path):
    """`alpha = t`, `sigma = 1 - t`: straight lines, as in flow matching (Lipman et al., arXiv 2210.02747, 2022)."""

    def coefficients(self, time: Times) -> tuple[Times, Times]:
        """`t` and `1 - t`."""
        return time, 1 - time

    def derivatives(self, time: Times) -> tuple[Times, Times]:
        """1 and -1."""
        return torch.ones_like(time), -torch.ones_like(time)


class Trigonometric(Path):
    """`alpha = sin(pi t / 2)`, `sigma = cos(pi t / 2)`: the variance of standardised data stays one along the path."""

    def coefficients(self, time: Times) -> tuple[Times, Times]:
        """Sine and cosine."""
        angle = 0.5 * math.pi * time
        return angle.sin(), angle.cos()

    def derivatives(self, time: Times) -> tuple[Times, Times]:
        """Cosine and minus sine, times `pi / 2`."""
        sine, cosine = self.coefficients(time)
        return 0.5 * math.pi * cosine, -0.5 * math.pi * sine


PATHS: Mapping[str, Path] = {"linear": Linear(), "trigonometric": Trigonometric()}
"""Paths by the names that configs give them."""
