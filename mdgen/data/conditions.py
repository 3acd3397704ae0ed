"""The conditions of the four tasks: what of a latent trajectory is known when it is sampled."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition


def first_frame(start: Float[Tensor, "batch token channel"], n_frames: int) -> Condition:
    """Forward simulation: the first of `n_frames` frames is known."""
    _require_frames(n_frames, 1)
    values = start.new_zeros(len(start), n_frames, *start.shape[1:])
    values[:, 0] = start
    known = torch.zeros_like(values, dtype=torch.bool)
    known[:, 0] = True
    return Condition(values, known)


def both_ends(
    first: Float[Tensor, "batch token channel"],
    last: Float[Tensor, "batch token channel"],
    n_frames: int,
) -> Condition:
    """Interpolation: the first and the last of `n_frames` frames are known."""
    _require_frames(n_frames, 2)
    condition = first_frame(first, n_frames)
    condition.values[:, -1] = last
    condition.known[:, -1] = True
    return condition


def every_kth(latent: Float[Tensor, "batch coarse_frame token channel"], k: int) -> Condition:
    """Upsampling: the frames of `latent` are known, k apart, in a trajectory of `(coarse_frame - 1) k + 1` frames.

    Args:
        latent: the frames that are known.
        k: frames from one known frame to the next.
    """
    _require_frames(latent.shape[1], 1)
    if k < 1:
        raise MdgenError(f"every {k}-th frame cannot be known; k must be at least 1")
    batch, coarse, *rest = latent.shape
    values = latent.new_zeros(batch, (coarse - 1) * k + 1, *rest)
    values[:, ::k] = latent
    known = torch.zeros_like(values, dtype=torch.bool)
    known[:, ::k] = True
    return Condition(values, known)


def tokens(
    latent: Float[Tensor, "batch frame token channel"],
    known_tokens: Sequence[int] | Bool[Tensor, "token"],
) -> Condition:
    """Inpainting: the chosen tokens are known in every frame, the others in none."""
    n_tokens = latent.shape[2]
    if isinstance(known_tokens, Tensor):
        chosen = known_tokens.to(latent.device)
    else:
        outside = [index for index in known_tokens if not 0 <= index < n_tokens]
        if outside:
            raise MdgenError(f"there are tokens 0 to {n_tokens - 1}; there is no {outside[0]}")
        chosen = torch.zeros(n_tokens, dtype=torch.bool, device=latent.device)
        chosen[list(known_tokens)] = True
    known = chosen[:, None].expand(latent.shape).clone()
    return Condition(torch.where(known, latent, 0), known)


def _require_frames(n_frames: int, least: int) -> None:
    if n_frames < least:
        raise MdgenError(f"a trajectory of {n_frames} frames cannot hold this condition; it needs at least {least}")
