"""What a network of velocities descends: the error of its velocities, and of its long steps against two short ones."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.models.interpolant.paths import Path

Latent = Float[Tensor, "batch frame token channel"]
MeanVelocity = Callable[[Latent, Float[Tensor, "batch"], Float[Tensor, "batch"]], Latent]
"""Mean velocity over a step, of a value, a flow time and the length of the step; the velocity itself for length 0."""

SHORTEST_STEP = 7
"""Shortcuts are learnt for steps of 1, 1/2, 1/4 ... down to two to the power of minus this, a velocity's own step."""


def velocity_loss(
    network: MeanVelocity,
    path: Path,
    data: Latent,
    free: Bool[Tensor, "batch frame token channel"],
    noise: Latent,
    time: Float[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """Mean square error of the velocity at a flow time of each row, over the entries that are generated."""
    point = path.at(time, data, noise)
    predicted = network(torch.where(free, point.value, 0.0), time, torch.zeros_like(time))
    return masked_mean((predicted - point.velocity).square(), free)


def shortcut_loss(
    network: MeanVelocity,
    path: Path,
    data: Latent,
    free: Bool[Tensor, "batch frame token channel"],
    noise: Latent,
    draws: Float[Tensor, "2 batch"],
) -> Float[Tensor, ""]:
    """Mean square difference of a long step from two steps of half its length, which are taken as they are.

    Source: Frans, Hafner, Levine and Abbeel, "One step diffusion via shortcut models", arXiv 2410.12557 (2024).

    Args:
        network: mean velocity over a step; trained to keep what two halves of a step do.
        path: path from noise to data.
        data: latents at flow time 1.
        free: entries that are generated.
        noise: latents at flow time 0.
        draws: numbers from 0 to 1 that choose the length of each row's step, and where it begins.
    """
    halvings = (draws[0] * SHORTEST_STEP).floor()
    step = 0.5**halvings
    time = step * (draws[1] * 2**halvings).floor()
    half = 0.5 * step
    told = torch.where(half > 0.5**SHORTEST_STEP, half, 0.0)
    start = torch.where(free, path.at(time, data, noise).value, 0.0)
    with torch.no_grad():
        first = network(start, time, told)
        middle = torch.where(free, start + half.view(-1, 1, 1, 1) * first, 0.0)
        target = 0.5 * (first + network(middle, time + half, told))
    return masked_mean((network(start, time, step) - target).square(), free)


def masked_mean(values: Latent, mask: Bool[Tensor, "batch frame token channel"]) -> Float[Tensor, ""]:
    """Mean over the entries that the mask chooses; zero where it chooses none."""
    return (values * mask).sum() / mask.sum().clamp_min(1)
