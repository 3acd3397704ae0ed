"""What a propagator must know of the geometry behind a latent: key frames, and how to measure against others."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mdgen.errors import MdgenError
from mdgen.geometry.frames import Frames
from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.blocks import se3_tokens
from mdgen.models.interpolant.velocity_network import TokenContext

Latent = Float[Tensor, "batch frame token channel"]


class ResidueGeometry:
    """One token a residue: a rigid motion against the frame of the residue in a key structure, and torsions."""

    def key_of(self, context: Context) -> Frames:
        """The key frame of each row.

        Raises:
            MdgenError: if the context has none, or no residues.
        """
        if context.key_frames is None or context.residue_types is None:
            raise MdgenError("tokens of residues are measured against a key frame; give the context's key_frames")
        return se3_tokens.key_frames_of(context)

    def token_context(self, context: Context, key: Frames) -> TokenContext:
        """What a network is told of residues and a key frame."""
        types, mask = context.residue_types, context.token_mask
        assert types is not None
        mask = torch.ones_like(types, dtype=torch.bool) if mask is None else mask
        return TokenContext(types, mask, se3_tokens.channel_mask(context), key.rotations, key.origins)

    def projected(self, latent: Latent) -> Latent:
        """The nearest latents that are some structure's: unit quaternions, sines and cosines of unit norm or zero."""
        turn = normalize(latent[..., :4], dim=-1)
        turn = torch.where(turn[..., :1] < 0, -turn, turn)
        sine, cosine = latent[..., se3_tokens.SINES], latent[..., se3_tokens.COSINES]
        length = torch.hypot(sine, cosine).clamp_min(1e-6)
        shift, bends = latent[..., 4 : se3_tokens.RIGID], latent[..., se3_tokens.COSINES.stop :]
        return torch.cat([turn, shift, sine / length, cosine / length, bends], -1)

    def rebased(
        self,
        latent: Latent,
        known: Bool[Tensor, "batch frame"],
        key: Frames,
        number: Int[Tensor, "batch"],
        mask: Bool[Tensor, "batch token"] | None,
    ) -> tuple[Latent, Frames]:
        """The known frames measured against one of them, whose number is given; and that frame as key frame."""
        new = latent[torch.arange(len(latent), device=latent.device), number]
        # Unknown frames hold no rotations; any will do to be rebased and left out again.
        filled = torch.where(known[..., None, None], latent, new[:, None])
        return se3_tokens.rebase(filled, key, new, mask)

    def restored(self, latent: Latent, new_key: Frames, key: Frames, mask: Tensor | None) -> Latent:
        """The inverse of `rebased`."""
        return se3_tokens.with_key(latent, new_key, key, mask)


def geometry_of(latent: LatentSpace) -> ResidueGeometry | None:
    """The geometry behind a latent; None where it has none."""
    return ResidueGeometry() if latent.kind == "se3_tokens" else None


def known_frames(
    condition: Condition, exists: Bool[Tensor, "batch token channel"]
) -> tuple[Bool[Tensor, "batch frame"], Int[Tensor, "batch"]] | None:
    """Which frames are known, and the first of them in each row; None unless each is known or unknown as a whole.

    A frame of which only some tokens are known cannot be superposed on another key frame, so it keeps the one it has.
    """
    whole = (condition.known | ~exists[:, None]).flatten(2).all(-1)
    part = (condition.known & exists[:, None]).flatten(2).any(-1)
    if not torch.equal(whole, part) or not bool(whole.any(1).all()):
        return None
    return whole, whole.long().argmax(1)
