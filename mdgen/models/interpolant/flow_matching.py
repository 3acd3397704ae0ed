"""What a network of velocities descends: the error of its velocities, beyond those of a Gaussian process."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.models.interpolant.paths import Path

Latent = Float[Tensor, "batch frame token channel"]
Velocity = Callable[[Latent, Float[Tensor, "batch"]], Latent]
"""What a network adds to the velocity of a Gaussian process, for a value at the flow time of each row."""


def velocity_loss(
    network: Velocity,
    path: Path,
    data: Latent,
    free: Bool[Tensor, "batch frame token channel"],
    noise: Latent,
    time: Float[Tensor, "batch"],
    mean: Latent,
) -> Float[Tensor, ""]:
    """Mean square error of the velocity at a flow time of each row, over the entries that are generated.

    Args:
        network: network.
        path: path from noise to data.
        data: where the path ends.
        free: which entries are generated; the network is given zeros for the others.
        noise: where the path begins.
        time: flow time of each row.
        mean: mean of both, given what is known.
    """
    point = path.at(time, data, noise)
    predicted = path.gaussian_velocity(point.value, mean, time) + network(torch.where(free, point.value, 0.0), time)
    return masked_mean((predicted - point.velocity).square(), free)


def masked_mean(values: Latent, mask: Bool[Tensor, "batch frame token channel"]) -> Float[Tensor, ""]:
    """Mean over the entries that the mask chooses; zero where it chooses none."""
    return (values * mask).sum() / mask.sum().clamp_min(1)
