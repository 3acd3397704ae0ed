"""Bonds between residues closed by small rigid motions of the residues.

Frames that were sampled, or rebuilt with other bond angles than their own, do not quite meet: the peptide bond between
them is too long or too short. Each bond has three distances of the key frame: the bond itself and those that stand for
the angles at both of its atoms. Newton steps of least motion |t|^2 + (r w)^2 of the two residues (translation t, turn w
about the middle atom) meet all three at once, bond after bond; bonds that share no residue move together. The torsion
about the bond is free, but for those far from planar, which are brought to the edge of what peptides show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.frames import Frames
from mdgen.geometry.rotations import rotation_from_quaternion
from mdgen.models.blocks.token_geometry import TokenTables, pick, pick_frames, token_frames

SWEEPS = 5
"""Times that every bond is closed; each closing moves the bonds beside it a little."""

_RADIUS = 0.12
"""Radius of gyration r of a residue in nm: the motion of a turn by one radian."""

_LARGEST_STEP = 0.3
"""Largest turn of a step in radians, and share of a distance that one step may change it by."""

_LARGEST_TWIST = 0.44
"""Largest deviation in radians of the torsion about a bond from planarity: 25 degrees."""

_SHORTEST = 1e-3
"""Least distance in nm that is divided by."""

_LEAST = 1e-9
"""Least determinant that is divided by."""

_PAIRS = ((1, 2), (0, 2), (1, 3))
"""Distances of a joint's atoms (near first, first, second, near second): the bond, and across each of its angles."""


@dataclass(frozen=True)
class Joints:
    """What closed bonds look like.

    Args:
        arms: each joint's four atoms in their residues' frames, nm.
        lengths: the bond and the distances across its two angles, nm.
    """

    arms: Float[Tensor, "batch 1 joint 4 3"]
    lengths: Float[Tensor, "batch 1 joint 3"]


def measured_joints(structures: Float[Tensor, "batch key atom 3"], tables: TokenTables) -> Joints:
    """The joints of structures, their mean where there are several."""
    tokens = token_frames(structures, tables)
    atoms = [pick(structures, column) for column in tables.joints.unbind(-1)]
    owners = [pick_frames(tokens, tables.joint_tokens[..., column]).inverse() for column in (0, 0, 1, 1)]
    arms = torch.stack([owner.apply(each) for owner, each in zip(owners, atoms, strict=True)], -2)
    lengths = torch.stack([torch.linalg.vector_norm(atoms[i] - atoms[j], dim=-1) for i, j in _PAIRS], -1)
    return Joints(*(each.mean(1, True) for each in (arms, lengths)))


def closed(frames: Frames, joints: Joints, tables: TokenTables, sweeps: int = SWEEPS) -> Frames:
    """Frames (batch, frame, token) moved, as little as possible, until the bonds between them are those of `joints`."""
    for _ in range(sweeps):
        begin = 0
        for size in tables.colours:
            frames = _step(frames, joints, tables, slice(begin, begin + size))
            begin += size
    return frames


def _step(frames: Frames, joints: Joints, tables: TokenTables, chosen: slice) -> Frames:
    """One step of the bonds of one colour."""
    tokens, arms = tables.joint_tokens[:, chosen], joints.arms[:, :, chosen]
    first, second = (pick_frames(frames, tokens[..., column]) for column in (0, 1))
    owners = (first, first, second, second)
    turned = [(owner.rotations @ arms[..., k, :, None]).squeeze(-1) for k, owner in enumerate(owners)]
    apart = first.origins - second.origins
    rows, lengths = [], []
    for i, j in _PAIRS:
        between = apart + turned[i] - turned[j]
        length = torch.linalg.vector_norm(between, dim=-1).clamp(min=_SHORTEST)
        unit = between / length[..., None]
        torques = [torch.linalg.cross(turned[k], unit) / _RADIUS for k in (i, j)]
        rows.append(torch.cat([unit, torques[0], -unit, -torques[1]], -1))
        lengths.append(length)
    jacobian, distances = torch.stack(rows, -2), torch.stack(lengths, -1)
    excess = distances - joints.lengths[:, :, chosen]
    excess = torch.maximum(torch.minimum(excess, _LARGEST_STEP * distances), -_LARGEST_STEP * distances)
    motion = torch.stack((-_least_motion(jacobian, excess)).split(6, -1), -2)
    shifts, turns = motion[..., :3], motion[..., 3:] / _RADIUS
    twist = _untwist(turned, apart)
    pivots = torch.stack([turned[1], turned[2]], -2)
    shifts, turns = shifts - torch.linalg.cross(twist, pivots), turns + twist
    real = tables.joint_mask[:, None, chosen, None].to(shifts)
    for side in (0, 1):
        frames = _moved(frames, shifts[..., side, :] * real, turns[..., side, :] * real, tokens[..., side])
    return frames


def _untwist(arms: Sequence[Tensor], apart: Tensor) -> Tensor:
    """Turns of both residues about the bond, which change none of its distances, that bring its torsion into range.

    Args:
        arms: the four atoms of a joint, each less the origin of its residue.
        apart: origin of the first residue less that of the second.
    """
    first_near, first, second, second_near = arms
    axis = torch.nn.functional.normalize(second - first - apart, dim=-1)
    before, after = torch.linalg.cross(first - first_near, axis), torch.linalg.cross(axis, second_near - second)
    # of the angle to the nearer planar torsion only the sine and the absolute cosine are needed
    sine, cosine = ((first - first_near) * after).sum(-1), (before * after).sum(-1)
    angle = torch.atan2(torch.where(cosine < 0, -sine, sine), cosine.abs() + _LEAST)
    half = (angle - angle.clamp(-_LARGEST_TWIST, _LARGEST_TWIST)) / 2
    return torch.stack([half, -half], -1)[..., None] * axis[..., None, :]


def _least_motion(
    jacobian: Float[Tensor, "*batch 3 12"], change: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 12"]:
    """The shortest vector m with J m = change, by Cramer's rule for J J^T."""
    a, b, c = (jacobian @ jacobian.mT).unbind(-2)
    columns = torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)
    determinant = (a * columns[0]).sum(-1, True).clamp(min=_LEAST)
    factors = sum(change[..., k, None] * column for k, column in enumerate(columns)) / determinant
    return (factors[..., None, :] @ jacobian).squeeze(-2)


def _moved(
    frames: Frames,
    shift: Float[Tensor, "batch frame joint 3"],
    turn: Float[Tensor, "batch frame joint 3"],
    tokens: Int[Tensor, "row joint"],
) -> Frames:
    """Frames after small motions of some tokens; a token that is named twice is padding the second time."""
    quaternion = torch.cat([torch.ones_like(turn[..., :1]), turn / 2], -1)
    before = pick(frames.rotations, tokens)
    change = rotation_from_quaternion(quaternion) @ before - before
    return Frames(_added(frames.rotations, change, tokens), _added(frames.origins, shift, tokens))


def _added(values: Tensor, change: Tensor, index: Tensor) -> Tensor:
    if len(index) == 1:
        return values.index_add(2, index[0], change)
    wide = index[:, None, :, *[None] * (change.ndim - 3)].expand_as(change)
    return values.scatter_add(2, wide, change)
