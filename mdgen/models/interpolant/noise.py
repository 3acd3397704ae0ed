"""Noise that a flow starts from: a stationary Gauss-Markov process in time, bound to what is known.

White noise leaves all of a trajectory's time correlation to the network. This noise has the correlation of the data
from each frame to the next, so a Gaussian process with that correlation needs no network at all
(`Path.gaussian_velocity`). Beside a known frame it starts where the trajectory is expected.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Latent = Float[Tensor, "batch frame token channel"]

_LEAST = 1e-6
"""Least variance between two known frames that is divided by."""


def bound_noise(
    white: Latent,
    persistence: Float[Tensor, "batch channel"],
    values: Latent,
    known: Bool[Tensor, "batch frame token channel"],
) -> tuple[Latent, Latent]:
    """A draw of the process given its known values, and its expectation; both are `values` where these are known.

    Args:
        white: standard normal noise.
        persistence: correlation of each channel from one frame to the next, from 0 to below 1.
        values: standardised latents; only those that are known count.
        known: which are.
    """
    rho = persistence[:, None, None]
    free = white[:, :1]
    frames = [free[:, 0]]
    step = (1 - rho.square()).sqrt()[:, 0]
    for frame in white[:, 1:].unbind(1):
        frames.append(torch.addcmul(step * frame, rho[:, 0], frames[-1]))
    free = torch.stack(frames, 1)
    # Of a Markov process only the nearest known frame on each side counts.
    n_frames = white.shape[1]
    place = torch.arange(n_frames, device=white.device)[:, None, None]
    left = torch.where(known, place, -1).cummax(1).values
    right = torch.where(known, place, n_frames).flip(1).cummin(1).values.flip(1)
    before = torch.where(left >= 0, rho ** (place - left), 0.0)
    after = torch.where(right < n_frames, rho ** (right - place), 0.0)
    span = (1 - (before * after).square()).clamp_min(_LEAST)
    weights = before * (1 - after.square()) / span, after * (1 - before.square()) / span
    ends = left.clamp_min(0), right.clamp_max(n_frames - 1)
    mean = sum(weight * values.gather(1, end) for weight, end in zip(weights, ends, strict=True))
    drift = sum(weight * free.gather(1, end) for weight, end in zip(weights, ends, strict=True))
    return torch.where(known, values, free + mean - drift), torch.where(known, values, mean)
