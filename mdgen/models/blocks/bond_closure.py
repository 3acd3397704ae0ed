"""Bonds between residues closed by small rigid motions of the residues.

Frames that were sampled, or rebuilt with other bond angles than their own, do not quite meet: the peptide bond between
them is too long or too short. Each bond has three distances of the key frame: the bond itself and those that stand for
the angles at both of its atoms. What deviates from them by no more than thermal motion does is left alone. Newton steps
of least motion |t|^2 + (r w)^2 of the two residues (translation t, turn w about the middle atom) meet all three at
once, bond after bond; bonds that share no residue move together. The torsion about the bond is free, but for those far
from planar, which are brought to the edge of what peptides show.

Components lead and frames of the trajectories come last, `(component, body, column)`, so that every operation runs
along memory; frames whose bonds are closed take no part in further sweeps.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.frames import Frames
from mdgen.models.blocks.token_geometry import pick
from mdgen.models.blocks.token_tables import TokenTables

MOST_SWEEPS = 12
"""Times that every bond of a frame is closed at most; each closing moves the bonds beside it a little."""

CLOSED = 1e-3
"""Deviation in nm beyond `SLACK`, before the last sweep over a bond, up to which it counts as closed after it."""

SLACK = (0.005, 0.01, 0.01)
"""Deviations in nm that are left alone, of a bond and of the distances across its angles: twice the thermal spread of
peptides at 300 K, since the key frame is as far from the mean as any other."""

_COLUMNS = 8192
"""Frames that are closed together: so many stay in a processor's cache."""

_RADIUS = 0.12
"""Radius of gyration r of a residue in nm: the motion of a turn by one radian."""

_LARGEST_STEP = 0.3
"""Share of a distance that one step may change it by."""

_LARGEST_MOTION = 0.05
"""Largest motion sqrt(|t|^2 + (r w)^2) of both residues in one step, nm: the equations of a step are linear."""

_LARGEST_TWIST = math.radians(22)
"""Largest deviation of the torsion about a bond from planarity."""

_UNTWISTING = 2
"""First sweeps, in which torsions are brought into range; later ones turn them by no more than a degree or so."""

_DAMPING = 1e-3
"""Added to the diagonal of J J^T, whose entries are about 3, where the bond's atoms lie on a line."""

_SHORTEST = 1e-3
"""Least distance in nm that is divided by."""

_LEAST = 1e-9
"""Least cosine, or squared motion in nm^2, that is divided by."""

_PAIRS = ((1, 2), (0, 2), (1, 3))
"""Distances of a joint's atoms (near first, first, second, near second): the bond, and across each of its angles."""


@dataclass(frozen=True)
class Joints:
    """What closed bonds look like.

    Args:
        arms: each joint's four atoms in their residues' frames, nm.
        lengths: the bond and the distances across its two angles, nm.
    """

    arms: Float[Tensor, "batch 3 4 joint frame"]
    lengths: Float[Tensor, "batch joint 3"]


@dataclass(frozen=True)
class _Colour:
    """Joints that share no residue; `_column` is 1 where it is the same for all.

    Args:
        tokens: the first residues of all joints, then the second ones.
        arms: for each of these residues the nearer and the farther of its two atoms from the bond's other residue.
        lengths: distances of a closed bond.
        real: 1, and 0 where a joint is padding.
    """

    tokens: Int[Tensor, "both_sides _column"]
    arms: Float[Tensor, "2 3 both_sides _column"]
    lengths: Float[Tensor, "3 joint _column"]
    real: Float[Tensor, "joint _column"]

    def columns(self, chosen: Int[Tensor, "chosen"]) -> "_Colour":
        """The joints of some columns."""
        return _Colour(*(x if x.shape[-1] == 1 else x.index_select(-1, chosen) for x in vars(self).values()))


def joints_of(
    points: Float[Tensor, "batch 3 frame_atom frame"],
    structures: Float[Tensor, "batch key atom 3"],
    tables: TokenTables,
) -> Joints:
    """The joints of atoms in their residues' frames, and their lengths in structures: the mean where there are several.

    Args:
        points: what `token_geometry.points_of_frames` returned.
        structures: key frames.
        tables: tables of the molecules.
    """
    places = tables.place.expand(len(tables.joints), -1).gather(1, tables.joints.flatten(1))
    arms = pick(points.transpose(1, 2)[:, None], places)[:, 0]  # (batch, joint and atom, 3, frame)
    arms = arms.unflatten(1, (-1, 4)).permute(0, 3, 2, 1, 4)
    atoms = [pick(structures, column) for column in tables.joints.unbind(-1)]
    lengths = torch.stack([torch.linalg.vector_norm(atoms[i] - atoms[j], dim=-1) for i, j in _PAIRS], -1)
    return Joints(arms, lengths.mean(1))


def closed(frames: Frames, joints: Joints, tables: TokenTables) -> Frames:
    """Frames (batch, frame, token) moved, as little as possible, until the bonds between them are those of `joints`."""
    batch, n_frames = frames.shape[:2]
    colours = _colours(joints, tables, batch, n_frames)
    # components of the rotation, then of the origin: (component, token, column)
    bodies = torch.cat([frames.rotations.flatten(-2), frames.origins], -1).flatten(0, 1).permute(2, 1, 0).contiguous()
    parts = torch.arange(bodies.shape[-1], device=bodies.device).split(_COLUMNS)
    moved = [
        _swept(bodies[..., some[0] : some[-1] + 1], [colour.columns(some) for colour in colours], MOST_SWEEPS)
        for some in parts
    ]
    moved = torch.cat(moved, -1).permute(2, 1, 0).unflatten(0, (batch, n_frames))
    return Frames(moved[..., :9].unflatten(-1, (3, 3)), moved[..., 9:])


def _colours(joints: Joints, tables: TokenTables, batch: int, n_frames: int) -> list[_Colour]:
    """The joints of each colour, for all frames of a batch as columns."""

    def columns(values: Tensor) -> Tensor:
        """Rows first to columns last; the same values for all stay one column."""
        values = values.movedim(0, -1)
        return values.repeat_interleave(n_frames, -1) if values.shape[-1] == batch > 1 else values

    found, begin = [], 0
    for size in tables.colours:
        chosen = slice(begin, begin + size)
        tokens = columns(tables.joint_tokens[:, chosen])
        near_first, first, second, near_second = joints.arms[..., chosen, :].permute(2, 1, 3, 0, 4).flatten(3)
        arms = torch.stack([torch.cat([first, second], 1), torch.cat([near_first, near_second], 1)])
        lengths = columns(joints.lengths[:, chosen]).transpose(0, 1)
        real = columns(tables.joint_mask[:, chosen]).to(arms)
        found.append(_Colour(tokens.transpose(0, 1).flatten(0, 1), arms.contiguous(), lengths.contiguous(), real))
        begin += size
    return found


def _swept(bodies: Tensor, colours: list[_Colour], sweeps: int) -> Tensor:
    """Bodies after as many sweeps as each column needs."""
    for left in range(sweeps, 0, -1):
        worst = bodies.new_zeros(bodies.shape[-1])
        for colour in colours:
            bodies, excess = _step(bodies, colour, left > MOST_SWEEPS - _UNTWISTING)
            worst = torch.maximum(worst, excess)
        open_ = (worst > CLOSED).nonzero()[:, 0]
        if len(open_) == 0:
            break
        if len(open_) < bodies.shape[-1]:
            others = [colour.columns(open_) for colour in colours]
            return bodies.index_copy(-1, open_, _swept(bodies.index_select(-1, open_), others, left - 1))
    return bodies


def _step(bodies: Tensor, colour: _Colour, untwist: bool) -> tuple[Tensor, Tensor]:
    """One step of the joints of a colour, and the largest deviation of each column before it."""
    mine = _picked(bodies, colour.tokens)
    rotations, origins = mine[:9].unflatten(0, (3, 3)), mine[9:]
    near, far = _rotated(rotations, colour.arms[0]), _rotated(rotations, colour.arms[1])
    (first, second), (near_first, near_second) = (each.chunk(2, 1) for each in (near, far))
    here, there = origins.chunk(2, 1)
    apart = here - there
    points = torch.stack([first, near_first, first, second, second, near_second])
    between = apart + points[:3] - points[3:]
    distances = between.square().sum(1).sqrt().clamp(min=_SHORTEST)
    unit = between / distances[:, None]
    torques = _cross(points / _RADIUS, torch.cat([unit, unit])).chunk(2)
    excess = distances - colour.lengths
    slack = excess.new_tensor(SLACK)[:, None, None]
    excess = (excess - within(excess, slack)) * colour.real
    worst = excess.detach().abs().amax((0, 1))
    largest = _LARGEST_STEP * distances
    factors = _least_motion(unit, torques, torch.maximum(torch.minimum(excess, largest), -largest))[:, None]
    shift, *turns = ((factors * rows).sum(0) for rows in (unit, *torques))
    shifts, turns = [-shift, shift], [-turns[0] / _RADIUS, turns[1] / _RADIUS]
    if untwist:
        half = _half_twist(first - near_first, near_second - second, unit[0]) * colour.real
        # about the bond, away from its other atom: it changes none of the distances
        shifts = [shifts[0] - half * _RADIUS * torques[0][0], shifts[1] + half * _RADIUS * torques[1][0]]
        turns = [turns[0] - half * unit[0], turns[1] + half * unit[0]]
    change = _product(_rotation(torch.cat(turns, 1)), rotations) - rotations
    return _added(bodies, torch.cat([change.flatten(0, 1), torch.cat(shifts, 1)]), colour.tokens), worst


def _least_motion(unit: Tensor, torques: tuple[Tensor, ...], change: Tensor) -> Tensor:
    """Factors f of the rows (u, w, -u, -w') of J, so that the motion J^T f is short and J J^T f = change.

    The 3 x 3 matrix is symmetric and solved by its adjugate. Of the motion, |J^T f|^2 = f . J J^T f.
    """
    rows = torch.cat([2**0.5 * unit, *torques], 1)
    (a, b, c), (d, e), (f,) = ([(rows[i] * rows[j]).sum(0) for j in range(i, 3)] for i in range(3))
    a, d, f = a + _DAMPING, d + _DAMPING, f + _DAMPING
    adjugate = ((d * f - e * e, c * e - b * f, b * e - c * d), (a * f - c * c, b * c - a * e), (a * d - b * b,))
    (aa, ab, ac), (dd, de), (ff,) = adjugate
    x, y, z = change
    factors = torch.stack([aa * x + ab * y + ac * z, ab * x + dd * y + de * z, ac * x + de * y + ff * z])
    factors = factors / (a * aa + b * ab + c * ac)
    squared = (factors * change).sum(0).clamp(min=_LEAST)
    return factors * (_LARGEST_MOTION * squared.rsqrt()).clamp(max=1.0)


def _half_twist(before: Tensor, after: Tensor, unit: Tensor) -> Tensor:
    """Half the turn about a bond that brings its torsion into range.

    Args:
        before: from the near atom of the bond's first one to that.
        after: from the bond's second atom to that near to it.
        unit: direction from the second atom to the first.
    """
    # of the angle to the nearer planar torsion only the sine and the absolute cosine are needed
    sine = -(before * _cross(unit, after)).sum(0)
    cosine = (before * unit).sum(0) * (after * unit).sum(0) - (before * after).sum(0)
    angle = torch.atan2(torch.where(cosine < 0, -sine, sine), cosine.abs() + _LEAST)
    return (angle - within(angle, angle.new_tensor(_LARGEST_TWIST))) / 2


def within(deviation: Tensor, slack: Tensor) -> Tensor:
    """Deviations within a slack: those that are already, and others the smaller the larger they were, at last zero.

    So the result is continuous, and what is out of range does not pile up at its ends.
    """
    return torch.where(
        deviation.abs() <= slack, deviation, deviation.sign() * (2 * slack - deviation.abs()).clamp(min=0)
    )


def _rotation(turn: Tensor) -> Tensor:
    """Rotation matrices (3, 3, ...) of the quaternions (1, turn / 2)."""
    x, y, z = turn / 2
    scale = 2 / (1 + (turn / 2).square().sum(0))
    sx, sy, sz = scale * x, scale * y, scale * z
    xx, yy, zz, xy, xz, yz = sx * x, sy * y, sz * z, sx * y, sx * z, sy * z
    entries = [1 - yy - zz, xy - sz, xz + sy, xy + sz, 1 - xx - zz, yz - sx, xz - sy, yz + sx, 1 - xx - yy]
    return torch.stack(entries).unflatten(0, (3, 3))


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Products of matrices (3, 3, ...)."""
    total = first[:, 0, None] * second[0]
    return torch.addcmul(torch.addcmul(total, first[:, 1, None], second[1]), first[:, 2, None], second[2])


def _rotated(rotations: Tensor, points: Tensor) -> Tensor:
    """Points (3, ...) turned by matrices (3, 3, ...)."""
    total = rotations[:, 0] * points[0]
    return torch.addcmul(torch.addcmul(total, rotations[:, 1], points[1]), rotations[:, 2], points[2])


def _cross(first: Tensor, second: Tensor) -> Tensor:
    """Cross products along the axis before bodies and columns."""
    (a, b, c), (x, y, z) = first.unbind(-3), second.unbind(-3)
    return torch.stack([b * z - c * y, c * x - a * z, a * y - b * x], -3)


def _picked(bodies: Tensor, tokens: Int[Tensor, "chosen _column"]) -> Tensor:
    if tokens.shape[-1] == 1:
        return bodies.index_select(1, tokens[:, 0])
    return bodies.gather(1, tokens.expand(len(bodies), -1, -1))


def _added(bodies: Tensor, change: Tensor, tokens: Int[Tensor, "chosen _column"]) -> Tensor:
    """Bodies after a change of some; one that is named twice is padding the second time, whose change is zero."""
    if tokens.shape[-1] == 1:
        return bodies.index_add(1, tokens[:, 0], change)
    return bodies.scatter_add(1, tokens.expand_as(change), change)
