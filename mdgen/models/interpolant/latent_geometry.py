"""What a propagator must know of the geometry behind a latent: key frames, and how to measure against others."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.interpolant.velocity_network import TokenContext

Latent = Float[Tensor, "batch frame token channel"]


@runtime_checkable
class LatentGeometry(Protocol):
    """A latent with one token a residue, measured against a key frame."""

    def key_of(self, context: Context) -> Any:
        """Key frame of each row."""
        ...

    def channel_mask(self, context: Context) -> Bool[Tensor, "batch token channel"]:
        """Which channels exist."""
        ...

    def frames(self, key: Any) -> tuple[Float[Tensor, "batch token 3 3"], Float[Tensor, "batch token 3"]]:
        """Rotations and origins of the tokens of a key frame, nm."""
        ...

    def rebased(self, latent: Latent, key: Any, new: Float[Tensor, "batch token channel"]) -> tuple[Latent, Any]:
        """The same trajectory measured against one of its frames, and that frame as key frame."""
        ...

    def restored(self, latent: Latent, key: Any, new_key: Any) -> Latent:
        """The inverse of `rebased`: latents against `new_key`, measured against `key` again."""
        ...


GEOMETRIES: Mapping[str, LatentGeometry] = {}
"""Geometries by the kind of their latent; latents of other kinds have no key frames."""


def geometry_of(latent: LatentSpace) -> LatentGeometry | None:
    """The geometry behind a latent; None where it has none."""
    return GEOMETRIES.get(latent.kind)


def token_context(geometry: LatentGeometry, context: Context, key: Any) -> TokenContext:
    """What a network is told of residues and a key frame."""
    assert context.residue_types is not None
    mask = context.token_mask if context.token_mask is not None else torch.ones_like(context.residue_types).bool()
    rotations, origins = geometry.frames(key)
    return TokenContext(context.residue_types, mask, geometry.channel_mask(context), rotations, origins)


def key_frame_number(
    condition: Condition, exists: Bool[Tensor, "batch token channel"]
) -> Float[Tensor, "batch"] | None:
    """The first known frame of each row; None where a row has none, or any frame is known in part.

    A frame that is known in part cannot be superposed on another key frame, so its latents stay as they are.
    """
    known = condition.known | ~exists[:, None]
    whole, none = known.flatten(2).all(-1), ~(condition.known & exists[:, None]).flatten(2).any(-1)
    if not bool((whole | none).all()) or not bool(whole.any(1).all()):
        return None
    return whole.long().argmax(1)
