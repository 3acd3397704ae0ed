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
    """One token a residue: a rigid motion against the frame of the residue in a key structure, and torsions."""

    against_key_frame = True
    """Whether motions are told against a key structure, so that a residue can stay where it is."""
    n_kinds = len(RESIDUE_TYPES)
    """Number of kinds of tokens whose statistics are kept apart."""
    _latent_kind = se3_tokens.KEY_FRAME_TOKENS

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
        channels = se3_tokens.channel_mask(context, self._latent_kind)
        return TokenContext(types, mask, channels, key.rotations, key.origins)

    def kinds(self, told: TokenContext) -> Int[Tensor, "row token"]:
        """The kind of each token, by which statistics are kept: its residue type."""
        return told.residue_types

    def projected(self, latent: Latent) -> Latent:
        """The nearest latents that are some structure's: sines and cosines of unit norm or zero, and such motions."""
        motion = self._projected_motion(latent[..., : se3_tokens.RIGID])
        sine, cosine = latent[..., se3_tokens.SINES], latent[..., se3_tokens.COSINES]
        length = torch.hypot(sine, cosine).clamp_min(1e-6)
        return torch.cat([motion, sine / length, cosine / length, latent[..., se3_tokens.COSINES.stop :]], -1)

    def _projected_motion(self, motion: Tensor) -> Tensor:
        """Unit quaternions of non-negative real part, and translations."""
        turn = normalize(motion[..., :4], dim=-1)
        return torch.cat([torch.where(turn[..., :1] < 0, -turn, turn), motion[..., 4:]], -1)

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


class ChainGeometry(ResidueGeometry):
    """One token a residue: its link to the residue before, which no key structure changes, and torsions."""

    against_key_frame = False
    n_kinds = len(RESIDUE_TYPES) * CHAIN_PLACES
    _latent_kind = se3_tokens.CHAIN_TOKENS

    def kinds(self, told: TokenContext) -> Int[Tensor, "row token"]:
        """Residue type, and whether it is the first or last of the chain: amines and acids turn there, not phi, psi."""
        places = torch.zeros_like(told.residue_types)
        places.scatter_(1, told.mask.sum(1, keepdim=True).sub(1).clamp_min(0), 2)
        places[:, 0] = 1
        return told.residue_types * CHAIN_PLACES + places

    def rebased(
        self,
        latent: Latent,
        known: Bool[Tensor, "batch frame"],
        key: Frames,
        number: Int[Tensor, "batch"],
        mask: Bool[Tensor, "batch token"] | None,
    ) -> tuple[Latent, Frames]:
        """The frames as they are."""
        return latent, key

    def restored(self, latent: Latent, new_key: Frames, key: Frames, mask: Tensor | None) -> Latent:
        """The frames as they are."""
        return latent

    def _projected_motion(self, motion: Tensor) -> Tensor:
        """Sine and cosine of omega of unit norm."""
        before, after = motion[..., : chain_links.OMEGA.start], motion[..., chain_links.OMEGA.stop :]
        return torch.cat([before, normalize(motion[..., chain_links.OMEGA], dim=-1), after], -1)


def geometry_of(latent: LatentSpace) -> ResidueGeometry | None:
    """The geometry behind a latent; None where it has none."""
    found = {se3_tokens.KEY_FRAME_TOKENS: ResidueGeometry, se3_tokens.CHAIN_TOKENS: ChainGeometry}
    return found[latent.kind]() if latent.kind in found else None


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
