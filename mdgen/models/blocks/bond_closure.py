"""Bonds between residues closed by small rigid motions of the residues.

Frames that were sampled, or rebuilt with other bond angles than their own, do not quite meet: the peptide bond between
them is too long or too short. Each bond has three distances of the key frame: the bond itself and those that stand for
the angles at both of its atoms. Newton steps of least motion |t|^2 + (r w)^2 of the two residues (translation t, turn w
about the middle atom) meet all three at once, bond after bond; bonds that share no residue move together. The torsion
about the bond is free, but for those far from planar, which are brought to the edge of what peptides show.
"""

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

_LEAST_COSINE = 0.9063
"""Least absolute cosine of the torsion about a bond: that of 25 degrees."""

_SHORTEST = 1e-3
"""Least distance in nm that is divided by."""

_LEAST_ROW = 1e-6
"""Least determinant, and least squared gradient of a torsion's distance, that is divided by."""

_PAIRS = ((1, 2), (0, 2), (1, 3), (0, 3))
"""Distances of a joint's atoms (near first, first, second, near second); the last stands for the torsion."""


@dataclass(frozen=True)
class Joints:
    """What closed bonds look like.

    Args:
        arms: each joint's four atoms in their residues' frames, nm.
        lengths: the bond and the distances across its two angles, nm.
        span: square of the distance of the outer atoms at a torsion of 90 degrees, nm^2.
        swing: change of that square from there to planarity, nm^2.
    """

    arms: Float[Tensor, "batch 1 joint 4 3"]
    lengths: Float[Tensor, "batch 1 joint 3"]
    span: Float[Tensor, "batch 1 joint"]
    swing: Float[Tensor, "batch 1 joint"]


def measured_joints(structures: Float[Tensor, "batch key atom 3"], tables: TokenTables) -> Joints:
    """The joints of structures, their mean where there are several."""
    tokens = token_frames(structures, tables)
    atoms = [pick(structures, column) for column in tables.joints.unbind(-1)]
    owners = [pick_frames(tokens, tables.joint_tokens[..., column]).inverse() for column in (0, 0, 1, 1)]
    arms = torch.stack([owner.apply(each) for owner, each in zip(owners, atoms, strict=True)], -2)
    lengths = torch.stack([torch.linalg.vector_norm(atoms[i] - atoms[j], dim=-1) for i, j in _PAIRS[:3]], -1)
    axis = torch.nn.functional.normalize(atoms[2] - atoms[1], dim=-1)
    first, last = (each - (each * axis).sum(-1, True) * axis for each in (atoms[0] - atoms[1], atoms[3] - atoms[2]))
    swing = 2 * torch.linalg.vector_norm(first, dim=-1) * torch.linalg.vector_norm(last, dim=-1)
    span = (atoms[0] - atoms[3]).square().sum(-1) + 2 * (first * last).sum(-1)
    return Joints(*(each.mean(1, True) for each in (arms, lengths, span, swing)))


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
    jacobian, distances = torch.stack(rows[:3], -2), torch.stack(lengths[:3], -1)
    excess = distances - joints.lengths[:, :, chosen]
    excess = torch.maximum(torch.minimum(excess, _LARGEST_STEP * distances), -_LARGEST_STEP * distances)
    motion = _least_motion(jacobian, excess)
    bent = _bent(lengths[3], joints, chosen)
    if bool((bent != 0).any()):
        # of the row of the torsion only what does not disturb the three distances
        row = rows[3] - _least_motion(jacobian, (jacobian @ rows[3][..., None]).squeeze(-1))
        share = torch.where(bent != 0, bent - (rows[3] * motion).sum(-1), 0) / row.square().sum(-1).clamp(min=_LEAST_ROW)
        motion = motion + share[..., None] * row
    motion = motion * -tables.joint_mask[:, None, chosen, None].to(motion)
    for column, own in enumerate(motion.split(6, -1)):
        frames = _moved(frames, own[..., :3], own[..., 3:] / _RADIUS, tokens[..., column])
    return frames


def _bent(distance: Tensor, joints: Joints, chosen: slice) -> Tensor:
    """Difference of the outer atoms' distance from that of the nearest torsion in the allowed range; zero within it."""
    span, swing = joints.span[:, :, chosen], joints.swing[:, :, chosen]
    cosine = (span - distance.square()) / swing
    nearest = torch.where(cosine < 0, -_LEAST_COSINE, _LEAST_COSINE)
    wanted = (span - swing * nearest).clamp(min=_SHORTEST**2).sqrt()
    return torch.where(cosine.abs() < _LEAST_COSINE, distance - wanted, 0)


def _least_motion(
    jacobian: Float[Tensor, "*batch 3 12"], change: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 12"]:
    """The shortest vector m with J m = change, by Cramer's rule for J J^T."""
    a, b, c = (jacobian @ jacobian.mT).unbind(-2)
    columns = torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)
    determinant = (a * columns[0]).sum(-1, True).clamp(min=_LEAST_ROW)
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
