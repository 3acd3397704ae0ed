"""The conditions of the four tasks: what of a latent trajectory is known when it is sampled.

`values` count only where `known`; both may be views in which frames share memory, so they are not to be written into.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition


def first_frame(start: Float[Tensor, "batch token channel"], n_frames: int) -> Condition:
    """Forward simulation: the first of `n_frames` frames is known."""
    _require_frames(n_frames, 1)
    # A view of the one frame: the condition of a million frames takes no room.
    return _known_frames(start[:, None].expand(-1, n_frames, -1, -1), torch.arange(n_frames) == 0)


def both_ends(
    first: Float[Tensor, "batch token channel"],
    last: Float[Tensor, "batch token channel"],
    n_frames: int,
) -> Condition:
    """Interpolation: the first and the last of `n_frames` frames are known."""
    _require_frames(n_frames, 2)
    values = first.new_zeros(len(first), n_frames, *first.shape[1:])
    values[:, 0], values[:, -1] = first, last
    return _known_frames(values, torch.arange(n_frames) % (n_frames - 1) == 0)


def every_kth(latent: Float[Tensor, "batch coarse_frame token channel"], k: int) -> Condition:
    """Upsampling: the frames of `latent` are known, k apart, in a trajectory of `(coarse_frame - 1) k + 1` frames."""
    _require_frames(latent.shape[1], 1)
    if k < 1:
        raise MdgenError(f"every {k}-th frame cannot be known; k must be at least 1")
    batch, coarse, *rest = latent.shape
    values = latent.new_zeros(batch, (coarse - 1) * k + 1, *rest)
    values[:, ::k] = latent
    return _known_frames(values, torch.arange(values.shape[1]) % k == 0)


def tokens(
    latent: Float[Tensor, "batch frame token channel"],
    known_tokens: Sequence[int] | Bool[Tensor, "token"],
) -> Condition:
    """Inpainting: the chosen tokens are known in every frame, the others in none."""
    n_tokens = latent.shape[2]
    _require_frames(latent.shape[1], 1)
    if isinstance(known_tokens, Tensor):
        chosen = known_tokens.to(latent.device)
    else:
        outside = [index for index in known_tokens if not 0 <= index < n_tokens]
        if outside:
            raise MdgenError(f"there are tokens 0 to {n_tokens - 1}; there is no {outside[0]}")
        chosen = torch.zeros(n_tokens, dtype=torch.bool, device=latent.device)
        chosen[list(known_tokens)] = True
    known = chosen[:, None].expand(latent.shape)
    return Condition(torch.where(known, latent, 0), known)


def distinct(known: Bool[Tensor, "batch frame token channel"]) -> Bool[Tensor, "_batch frame _token _channel"]:
    """One of the rows, tokens and channels that share memory, so that views of any size are looked at in no time."""
    axes = [slice(0, 1) if axis != 1 and step == 0 else slice(None) for axis, step in enumerate(known.stride())]
    return known[tuple(axes)]


def _known_frames(values: Float[Tensor, "batch frame token channel"], known: Bool[Tensor, "frame"]) -> Condition:
    return Condition(values, known.to(values.device)[None, :, None, None].expand(values.shape))


def _require_frames(n_frames: int, least: int) -> None:
    if n_frames != int(n_frames):
        raise MdgenError(f"a trajectory of {n_frames} frames was asked for; it must be a whole number")
    if n_frames < least:
        raise MdgenError(f"a trajectory of {n_frames} frames cannot hold this condition; it must be at least {least}")
