"""What a network of velocities descends: the error of its velocities."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.models.interpolant.paths import Path

Latent = Float[Tensor, "batch frame token channel"]
Velocity = Callable[[Latent, Float[Tensor, "batch"]], Latent]
"""Velocity of a value at the flow time of each row."""


def velocity_loss(
    network: Velocity,
    path: Path,
    data: Latent,
    free: Bool[Tensor, "batch frame token channel"],
    noise: Latent,
    time: Float[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """Mean square error of the velocity at a flow time of each row, over the entries that are generated."""
    point = path.at(time, data, noise)
    predicted = network(torch.where(free, point.value, 0.0), time)
    return masked_mean((predicted - point.velocity).square(), free)


def masked_mean(values: Latent, mask: Bool[Tensor, "batch frame token channel"]) -> Float[Tensor, ""]:
    """Mean over the entries that the mask chooses; zero where it chooses none."""
    return (values * mask).sum() / mask.sum().clamp_min(1)
