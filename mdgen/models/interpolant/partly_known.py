"""Chains of which some residues are known and others designed: motions that are no function of the latter.

Frames are superposed on the known residues alone, and a designed residue is measured against the key frame of the
nearest known one. There are no torsions, and no channels that only some types have.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mdgen.geometry.frames import Frames
from mdgen.geometry.rotations import quaternion_from_rotation
from mdgen.interfaces import Context
from mdgen.models.blocks.se3_tokens import superposed
from mdgen.models.blocks.token_geometry import token_frames
from mdgen.models.blocks.token_tables import tables_of
from mdgen.molecule.residues import AMINO_ACIDS

STRETCHES = 0.75
"""Share of training windows in which a stretch between known residues is designed; of the others any residues are."""

TOLD = 0.25
"""Share of training windows in which the types of known residues are told, and of those in which half of the designed
ones' are, so that what a candidate says of the next can be asked."""

FARTHEST = 3
"""Residues to the nearest known one, beyond which kinds are not told apart."""


@dataclass(frozen=True)
class PartlyKnown:
    """Chains of which some residues are designed.

    Args:
        motion: rigid motion of each residue against `key`; that of designed ones counts in training alone.
        designed: which residues are designed; the others are known in every frame.
        real: which tokens are real rather than padding.
        told: types that a network is told, 0 for none.
        nearest: nearest known residue of each.
        key: key frame of that.
    """

    motion: Float[Tensor, "batch frame token motion"]
    designed: Bool[Tensor, "batch token"]
    real: Bool[Tensor, "batch token"]
    told: Int[Tensor, "batch token"]
    nearest: Int[Tensor, "batch token"]
    key: Frames

    @property
    def known(self) -> Bool[Tensor, "batch 1 token 1"]:
        """Which residues are known, beside their motions."""
        return (self.real & ~self.designed)[:, None, :, None]

    @property
    def kinds(self) -> Int[Tensor, "batch token"]:
        """How far along the chain each residue is from the nearest known one, by which statistics are kept."""
        own = torch.arange(self.nearest.shape[1], device=self.nearest.device)
        return (own - self.nearest).clamp(-FARTHEST, FARTHEST) + FARTHEST

    def telling(self, token: int, types: Int[Tensor, "batch"]) -> "PartlyKnown":
        """The same with the type of one more residue told."""
        told = self.told.clone()
        told[:, token] = types
        return replace(self, told=told)


def partly_known(
    positions: Float[Tensor, "batch frame atom 3"],
    context: Context,
    designed: Bool[Tensor, "batch token"],
    told: Int[Tensor, "batch token"],
) -> PartlyKnown:
    """Windows of which some residues are designed; the first frame is the key frame.

    Args:
        positions: positions in nm.
        context: molecules of the windows.
        designed: which residues are designed.
        told: types that a network is told, 0 for none.
    """
    real = real_tokens(context)
    known = real & ~designed
    place = torch.arange(designed.shape[1], device=designed.device)
    apart = 2 * (place[:, None] - place).abs() + (place > place[:, None])  # the earlier of two that are as near
    nearest = torch.where(known[:, None], apart, 4 * len(place)).argmin(-1)
    with torch.autocast(positions.device.type, enabled=False):
        frames = token_frames(positions, tables_of(context))
        key = frames[torch.arange(len(designed), device=designed.device)[:, None], 0, nearest]
        relative = key[:, None].inverse().compose(superposed(frames, key, known))
        motion = torch.cat([quaternion_from_rotation(relative.rotations), relative.origins], -1)
    return PartlyKnown(torch.where(real[:, None, :, None], motion, 0), designed, real, told, nearest, key)


def draw_designed(context: Context, generator: torch.Generator) -> Bool[Tensor, "batch token"]:
    """Residues to design in training windows: a stretch between known ones, or any share; never all, never caps."""
    types, real = types_of(context), real_tokens(context)
    batch, n_tokens = types.shape
    device = generator.device

    def uniform(*size: int) -> Float[Tensor, "..."]:
        return torch.rand(size, generator=generator, device=device)

    place, n = torch.arange(n_tokens, device=device), real.sum(1, keepdim=True)
    length = 1 + (uniform(batch, 1) * (n - 2).clamp_min(1)).long()
    start = 1 + (uniform(batch, 1) * (n - 1 - length).clamp_min(1)).long()
    stretch = (place >= start) & (place < (start + length).clamp_max(n - 1))
    some = uniform(batch, n_tokens) < uniform(batch, 1)
    chosen = torch.where(uniform(batch, 1) < STRETCHES, stretch, some) & is_amino_acid(types) & real
    chosen[:, 0] &= ~(chosen | ~real).all(1)
    return chosen


def draw_told(
    context: Context, designed: Bool[Tensor, "batch token"], generator: torch.Generator
) -> Int[Tensor, "batch token"]:
    """Types that are told in training: those of known residues in some windows, of designed ones in fewer."""

    def some(share: float, *size: int) -> Bool[Tensor, "..."]:
        return torch.rand(size, generator=generator, device=generator.device) < share

    batch, n_tokens = designed.shape
    of_designed = some(0.5, batch, n_tokens) & some(TOLD, batch, 1)
    return torch.where(torch.where(designed, of_designed, some(TOLD, batch, 1)), types_of(context), 0)


def types_of(context: Context) -> Int[Tensor, "batch token"]:
    """The residue types of a context, which must have some."""
    assert context.residue_types is not None
    return context.residue_types


def real_tokens(context: Context) -> Bool[Tensor, "batch token"]:
    """Which tokens of a context are real rather than padding."""
    mask = context.token_mask
    return torch.ones_like(types_of(context), dtype=torch.bool) if mask is None else mask


def is_amino_acid(types: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Which residues are one of the twenty amino acids, which are what is designed."""
    return (types >= AMINO_ACIDS.start) & (types < AMINO_ACIDS.stop)
