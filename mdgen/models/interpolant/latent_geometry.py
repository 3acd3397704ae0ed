"""What a propagator must know of the geometry behind a latent: key frames, and how to measure against others."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mdgen.errors import MdgenError
from mdgen.geometry.frames import Frames
from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.blocks import chain_links, se3_tokens
from mdgen.models.interpolant.velocity_network import TokenContext
from mdgen.molecule.residues import RESIDUE_TYPES

CHAIN_PLACES = 3
"""Within a chain, first of it, last of it."""

Latent = Float[Tensor, "batch frame token channel"]


class ResidueGeometry:
    """One token a residue: a rigid motion against the frame of the residue in a key structure, and torsions.

    Args:
        chain: whether the motion is told against the residue before instead, which needs no key structure.
    """

    def __init__(self, chain: bool = False) -> None:
        self.chain = chain

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
        kind = "chain_tokens" if self.chain else "se3_tokens"
        return TokenContext(types, mask, se3_tokens.channel_mask(context, kind), key.rotations, key.origins)

    def kinds(self, told: TokenContext) -> Int[Tensor, "row token"]:
        """What the statistics of each token are kept by: its residue type; where tokens are told against the chain,
        also whether it is the first or the last of it, whose amines and acids turn where others have phi and psi.
        """
        if not self.chain:
            return told.residue_types
        places = torch.zeros_like(told.residue_types)
        places.scatter_(1, told.mask.sum(1, keepdim=True).sub(1).clamp_min(0), 2)
        places[:, 0] = 1
        return told.residue_types * CHAIN_PLACES + places

    @property
    def n_kinds(self) -> int:
        """How many there are."""
        return len(RESIDUE_TYPES) * (CHAIN_PLACES if self.chain else 1)

    def projected(self, latent: Latent) -> Latent:
        """The nearest latents that are some structure's: unit quaternions, sines and cosines of unit norm or zero."""
        motion = latent[..., : se3_tokens.RIGID]
        if self.chain:
            omega = normalize(motion[..., chain_links.OMEGA], dim=-1)
            small = motion[..., : chain_links.OMEGA.start], motion[..., chain_links.OMEGA.stop :]
            motion = torch.cat([small[0], omega, small[1]], -1)
        else:
            turn = normalize(motion[..., :4], dim=-1)
            motion = torch.cat([torch.where(turn[..., :1] < 0, -turn, turn), motion[..., 4:]], -1)
        sine, cosine = latent[..., se3_tokens.SINES], latent[..., se3_tokens.COSINES]
        length = torch.hypot(sine, cosine).clamp_min(1e-6)
        return torch.cat([motion, sine / length, cosine / length, latent[..., se3_tokens.COSINES.stop :]], -1)

    def rebased(
        self,
        latent: Latent,
        known: Bool[Tensor, "batch frame"],
        key: Frames,
        number: Int[Tensor, "batch"],
        mask: Bool[Tensor, "batch token"] | None,
    ) -> tuple[Latent, Frames]:
        """The known frames measured against one of them, whose number is given; and that frame as key frame."""
        if self.chain:
            return latent, key
        new = latent[torch.arange(len(latent), device=latent.device), number]
        # Unknown frames hold no rotations; any will do to be rebased and left out again.
        filled = torch.where(known[..., None, None], latent, new[:, None])
        return se3_tokens.rebase(filled, key, new, mask)

    def restored(self, latent: Latent, new_key: Frames, key: Frames, mask: Tensor | None) -> Latent:
        """The inverse of `rebased`."""
        if self.chain:
            return latent
        return se3_tokens.with_key(latent, new_key, key, mask)


def geometry_of(latent: LatentSpace) -> ResidueGeometry | None:
    """The geometry behind a latent; None where it has none."""
    return ResidueGeometry(latent.kind == "chain_tokens") if latent.kind in se3_tokens.KINDS else None


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
