"""Atoms from tokens and back: rigid groups of the key frame's geometry, placed level by level of each residue's tree.

What is measured of positions, in the order of a token's channels after its rigid motion: sines and cosines of torsions,
bond angles beyond them, turns about the first bond beyond them, and the bond angles of the frame. Angles are told as
deviations from ideal ones in rad; of planar groups with two heavy atoms that of the line midway between these, so that
a ring is not turned by its first bond alone. Bond lengths, and angles without a channel, are those of the key frame.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mdgen.errors import MdgenError
from mdgen.geometry.frames import (
    Frames,
    frames_about_bonds,
    frames_from_atoms,
    lean_of,
    leaned_towards,
    turned_about_z,
)
from mdgen.models.blocks.token_tables import TokenTables
from mdgen.molecule.tokens import FRAME_BENDS, TORSION_SLOTS

INTERNAL = 4 * TORSION_SLOTS + FRAME_BENDS
"""Channels of a token that are not its rigid motion."""

_PLANAR, _TETRAHEDRAL = math.radians(120.0), math.acos(-1 / 3)
_PLANAR_TURN, _TETRAHEDRAL_TURN = math.pi, math.radians(120.0)
"""Ideal angles between the bonds of an atom, and between two of them as seen along a third."""

_FOURTH = -(0.5**0.5)
"""Ideal x/|z| of the fourth atom of a frame."""

_LONGEST_LINK = 0.3
"""Length in nm above which two bonded atoms of different residues in a key frame are not bonded at all."""

_LEAST_NORM = 1e-12
"""Least squared norm of a sine and a cosine, or of a vector in nm, that is divided by."""

_LEAST_HEIGHT = 0.1
"""Least |z| of the direction of a frame's fourth atom that is divided by."""

_LEAST_SQUARE = 1e-6
"""Least squared distance in nm^2 of a ring's CG from the axis CB-CD."""

Internal = Float[Tensor, "batch frame token internal"]


def pick(
    values: Float[Tensor, "batch frame item *shape"], index: Int[Tensor, "row chosen"]
) -> Float[Tensor, "batch frame chosen *shape"]:
    """Items of each row of a batch by their indices; one row of indices serves all."""
    if len(index) == 1:
        return values.index_select(2, index[0])
    shape = values.shape[3:]
    wide = index[:, None, :, *[None] * len(shape)].expand(-1, values.shape[1], -1, *shape)
    return values.gather(2, wide)


def pick_frames(frames: Frames, index: Int[Tensor, "row chosen"]) -> Frames:
    """Bodies of each row of a batch by their indices."""
    return Frames(pick(frames.rotations, index), pick(frames.origins, index))


def token_frames(positions: Float[Tensor, "batch frame atom 3"], tables: TokenTables) -> Frames:
    """The frame of every token in every frame of a trajectory."""
    frames = _unleaned_frames(positions, tables)
    leaned = leaned_towards(frames, pick(positions, tables.fourth_atoms))
    leans = tables.has_fourth[:, None, :, None, None]
    return Frames(torch.where(leans, leaned.rotations, frames.rotations), frames.origins)


def _unleaned_frames(positions: Tensor, tables: TokenTables) -> Frames:
    return frames_from_atoms(*(pick(positions, column) for column in tables.frame_atoms.unbind(-1)))


def internal_mask(tables: TokenTables) -> Bool[Tensor, "row token internal"]:
    """Which internal channels there are."""
    of_frame = torch.stack([tables.token_mask, tables.has_fourth, tables.has_fourth], -1)
    return torch.cat([tables.torsion_mask, tables.torsion_mask, tables.bends, tables.has_beside, of_frame], -1)


def internal_of(
    positions: Float[Tensor, "batch frame atom 3"], keys: Float[Tensor, "batch 1 atom 3"], tables: TokenTables
) -> Internal:
    """The internal channels of positions; zero where there is none.

    Args:
        positions: positions in nm.
        keys: key frame, whose prochiral groups have the same sides.
        tables: tables of the molecules.
    """
    quads = tables.torsion_atoms.flatten(1, 2)
    a, b, c, d = (pick(positions, column) for column in quads.unbind(-1))
    axis = c - b
    before, after = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    sine = torch.linalg.vector_norm(axis, dim=-1) * ((b - a) * after).sum(-1)
    sine, cosine = normalize(torch.stack([sine, (before * after).sum(-1)], -1), dim=-1).unbind(-1)
    angle, spread, turn = _hinges(positions, quads, tables.beside_atoms.flatten(1, 2))
    side = _hinges(keys, quads, tables.beside_atoms.flatten(1, 2))[2].sign()
    planar, beside = (mask.flatten(1)[:, None] for mask in (tables.planar, tables.has_beside))
    bend = torch.where(planar & beside, spread / 2 - math.pi, -torch.where(planar, _PLANAR, _TETRAHEDRAL)) + angle
    turn = turn - side * torch.where(planar, _PLANAR_TURN, _TETRAHEDRAL_TURN)
    turn = turn - 2 * math.pi * (turn / (2 * math.pi)).round()
    of_torsions = torch.stack([sine, cosine, bend, turn], -2)
    of_torsions = of_torsions.unflatten(-1, tables.torsion_mask.shape[1:]).transpose(-2, -3).flatten(-2)
    internal = torch.cat([of_torsions, _frame_bends(positions, tables)], -1)
    return torch.where(internal_mask(tables)[:, None], internal, 0)


def _hinges(
    positions: Tensor, torsions: Int[Tensor, "row torsion 4"], beside: Int[Tensor, "row torsion"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Angles start-end-turned and turned-end-beside, and that from `start` to `beside` about the axis end-turned."""
    start, end, turned = (pick(positions, column) for column in torsions[..., 1:].unbind(-1))
    back, ahead, other = start - end, turned - end, pick(positions, beside) - end
    axis = normalize(ahead, dim=-1)
    sine = (axis * torch.linalg.cross(back, other)).sum(-1)
    cosine = (back * other).sum(-1) - (back * axis).sum(-1) * (other * axis).sum(-1)
    return _angle(back, ahead), _angle(ahead, other), torch.atan2(sine, cosine)


def _angle(first: Tensor, second: Tensor) -> Tensor:
    across = torch.linalg.vector_norm(torch.linalg.cross(first, second), dim=-1)
    return torch.atan2(across, (first * second).sum(-1))


def _frame_bends(positions: Tensor, tables: TokenTables) -> Float[Tensor, "batch frame token 3"]:
    frames = _unleaned_frames(positions, tables)
    first, _, last = (pick(positions, column) - frames.origins for column in tables.frame_atoms.unbind(-1))
    ideal = torch.where(tables.planar_frame, _PLANAR, _TETRAHEDRAL)[:, None]
    fourth = normalize(frames.inverse().apply(pick(positions, tables.fourth_atoms)), dim=-1)
    height = fourth[..., 2].abs().clamp_min(_LEAST_HEIGHT)
    return torch.stack([_angle(first, last) - ideal, fourth[..., 0] / height - _FOURTH, fourth[..., 1] / height], -1)


@dataclass(frozen=True)
class LocalGeometry:
    """Geometry that no channel changes.

    Args:
        frame_lengths: distances of the first, last and fourth atom of each frame from its middle, nm.
        fourth_side: 1 or -1, the side of each frame on which its fourth atom is.
        frame_points: the other atoms that are rigid with a frame, in it, nm.
        group_angles: angle start-end-turned of each group, rad; where it has a channel, at its zero.
        group_sides: 1 or -1, the side to which the atom `beside` of each group is turned.
        group_points: each atom of a group in its frame, nm; z points from `end` to `turned`, x to the side of
            the atom `beside` it, or of `start` where there is none.
        ring_bonds: bond lengths CB-CG and CG-CD in nm.
        follower_points: each follower in the frame of its three atoms, nm.
    """

    frame_lengths: Float[Tensor, "batch 3 token"]
    fourth_side: Float[Tensor, "batch token"]
    frame_points: Float[Tensor, "batch frame_atom 3"]
    group_angles: Float[Tensor, "batch group"]
    group_sides: Float[Tensor, "batch group"]
    group_points: Float[Tensor, "batch group_atom 3"]
    ring_bonds: Float[Tensor, "batch 1 ring 2"]
    follower_points: Float[Tensor, "batch 1 follower 3"]


def measured(structures: Float[Tensor, "batch key atom 3"], tables: TokenTables) -> LocalGeometry:
    """The geometry of structures, its mean where there are several; sides are those of the first.

    Raises:
        MdgenError: if atoms that are bonded across two residues are far apart, as beside a gap in the chain.
    """
    _require_linked(structures, tables)
    tokens, unleaned = token_frames(structures, tables), _unleaned_frames(structures, tables)
    outer = [pick(structures, atoms) for atoms in (*tables.frame_atoms[..., ::2].unbind(-1), tables.fourth_atoms)]
    lengths = torch.stack([torch.linalg.vector_norm(each - tokens.origins, dim=-1) for each in outer], 2)
    heights = unleaned.inverse().apply(outer[2])[:, 0, :, 2]
    begin = tables.tree_levels[0]
    atoms, bodies = tables.tree_atoms, tables.tree_body
    frame_points = pick_frames(tokens, bodies[:, :begin]).inverse().apply(pick(structures, atoms[:, :begin]))
    angles, spreads, turns = _hinges(structures, tables.group_atoms[..., :4], tables.group_atoms[..., 4])
    bends, has_beside, planar = (
        mask.flatten(1).gather(1, tables.group_torsion)[:, None]
        for mask in (tables.bends, tables.has_beside, tables.planar)
    )
    ideal = torch.where(planar, _PLANAR, _TETRAHEDRAL)
    angles = torch.where(planar & has_beside, math.pi - spreads / 2, torch.where(bends, ideal, angles))
    _, _, end, turned, beside = (pick(structures, column) for column in tables.group_atoms.unbind(-1))
    groups = Frames(frames_about_bonds(beside, end, turned).rotations, end)
    owners = torch.cat(
        [
            bodies[:, slice(*atoms_of)] + first
            for first, atoms_of in zip(_starts(tables.levels), _ranges(tables.tree_levels)[1:], strict=False)
        ],
        1,
    )
    group_points = pick_frames(groups, owners).inverse().apply(pick(structures, atoms[:, begin:]))
    _, cb, cd, cg = (pick(structures, column) for column in tables.ring_atoms.unbind(-1))
    bonds = torch.stack([torch.linalg.vector_norm(cg - each, dim=-1) for each in (cb, cd)], -1)
    left, middle, right, placed = (pick(structures, column) for column in tables.follower_atoms.unbind(-1))
    followers = frames_from_atoms(left, middle, right).inverse().apply(placed)
    return LocalGeometry(
        lengths.mean(1),
        torch.where(heights < 0, -1.0, 1.0).to(heights),
        frame_points.mean(1),
        angles.mean(1),
        turns[:, 0].sign(),
        group_points.mean(1),
        bonds.mean(1, True),
        followers.mean(1, True),
    )


def _starts(sizes: tuple[int, ...]) -> list[int]:
    return [sum(sizes[:level]) for level in range(len(sizes))]


def _ranges(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(begin, begin + size) for begin, size in zip(_starts(sizes), sizes, strict=True)]


def points_of_frames(
    internal: Internal, geometry: LocalGeometry, tables: TokenTables
) -> Float[Tensor, "batch 3 frame_atom frame"]:
    """The atoms of each frame in it, nm: the first of all frames, the last, the fourth, and those that are rigid."""
    of_frame = internal[..., -FRAME_BENDS:].permute(0, 3, 2, 1)
    ideal = torch.where(tables.planar_frame, _PLANAR, _TETRAHEDRAL)[..., None]
    half = (of_frame[:, 0] + ideal) / 2
    x, y, zero = half.cos(), half.sin(), torch.zeros_like(half)
    side = geometry.fourth_side[..., None].expand_as(half)
    fourth = normalize(torch.stack([of_frame[:, 1] + _FOURTH, of_frame[:, 2], side], 1), dim=1)
    outer = torch.stack([torch.stack([x, -y, zero], 1), torch.stack([x, y, zero], 1), fourth], 2)
    leaned = torch.einsum("blfij,bikclf->bjkclf", lean_of(fourth.permute(0, 2, 3, 1)), outer[:, :, :, None])[:, :, :, 0]
    outer = torch.where(tables.has_fourth[:, None, None, :, None], leaned, outer)
    outer = (outer * geometry.frame_lengths[:, None, ..., None]).flatten(2, 3)
    rigid = geometry.frame_points.mT[..., None].expand(len(outer), -1, -1, outer.shape[-1])
    return torch.cat([outer, rigid], 2)


def atoms_of_frames(
    frames: Frames, points: Float[Tensor, "batch 3 frame_atom frame"], tables: TokenTables
) -> Float[Tensor, "batch 3 frame_atom frame"]:
    """Positions of the atoms that `points_of_frames` gives in their frames, in nm and in its order."""
    # components lead and frames of the trajectories come last, so that every operation runs along memory
    axes, origins = frames.rotations.permute(0, 3, 4, 2, 1).contiguous(), frames.origins.permute(0, 3, 2, 1)
    tokens = torch.arange(axes.shape[3], device=axes.device).repeat(3).expand(len(tables.tree_body), -1)
    owners = torch.cat([tokens, tables.tree_body[:, : tables.tree_levels[0]]], 1)
    turned = (picked(axes.flatten(1, 2), owners).unflatten(1, (3, 3)) * points[:, None]).sum(2)
    return turned + picked(origins, owners)


def placed_atoms(
    frames: Frames,
    points: Float[Tensor, "batch 3 frame_atom frame"],
    internal: Internal,
    geometry: LocalGeometry,
    tables: TokenTables,
) -> Float[Tensor, "batch frame atom 3"]:
    """Positions of all atoms from the tokens' frames and internal channels, in nm; zero where an atom is padding.

    Sines and cosines need not be normalised.

    Args:
        frames: frame of each token.
        points: what `points_of_frames` returned.
        internal: channels that are not the rigid motion.
        geometry: what `measured` returned.
        tables: tables of the molecules.
    """
    placed = atoms_of_frames(frames, points, tables)
    channels = internal[..., :-FRAME_BENDS].permute(0, 3, 2, 1).unflatten(1, (4, TORSION_SLOTS)).transpose(2, 3)
    channels = channels.flatten(2, 3).contiguous()
    sides = _group_sides(channels, geometry, tables)
    places = tables.place.expand(len(tables.group_atoms), -1).gather(1, tables.group_atoms[..., :3].flatten(1))
    places = places.unflatten(1, (-1, 3))
    for groups, atoms in zip(_ranges(tables.levels), _ranges(tables.tree_levels)[1:], strict=False):
        level, members = slice(*groups), slice(*atoms)
        reference, start, end = (picked(placed, column) for column in places[:, level].unbind(-1))
        group = _group_axes(_axes_about(reference, start, end), [each[:, None, level] for each in sides])
        first = tables.tree_levels[0]
        local = geometry.group_points[:, members.start - first : members.stop - first]
        owners = tables.tree_body[:, members]
        placed = torch.cat([placed, _turned(group, local, owners) + picked(end, owners)], 2)
    if tables.ring_atoms.shape[1]:
        positions = placed.permute(0, 3, 2, 1)
        ring_turn = _unit(picked(channels[:, :2], tables.ring_torsion)).permute(0, 3, 2, 1)
        positions = torch.cat([positions, _ring_carbons(positions, ring_turn, geometry, tables)], 2)
        outer = tables.follower_atoms[..., :3].unbind(-1)
        left, middle, right = (_placed_before(positions, column, tables) for column in outer)
        followers = frames_from_atoms(left, middle, right).apply(geometry.follower_points)
        placed = torch.cat([positions, followers], 2).permute(0, 3, 2, 1)
    positions = picked(placed, tables.place).permute(0, 3, 2, 1).contiguous()
    return positions if bool(tables.atom_mask.all()) else positions * tables.atom_mask[:, None, :, None]


def _group_sides(channels: Tensor, geometry: LocalGeometry, tables: TokenTables) -> list[Tensor]:
    """Sines and cosines of each group's torsion, bond angle, and turn about its first bond: (batch, group, frame)."""
    chosen = picked(channels, tables.group_torsion)
    bends, beside, planar = (
        mask.flatten(1).gather(1, tables.group_torsion)[..., None]
        for mask in (tables.bends, tables.has_beside, tables.planar)
    )
    angle = geometry.group_angles[..., None] + torch.where(bends, chosen[:, 2], 0.0)
    ideal = torch.where(planar, _PLANAR_TURN, _TETRAHEDRAL_TURN) * geometry.group_sides[..., None]
    turn = torch.where(beside, chosen[:, 3] + ideal, 0.0)
    return [*_unit(chosen[:, :2]).unbind(1), angle.sin(), angle.cos(), turn.sin(), turn.cos()]


def _axes_about(reference: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `frames_about_bonds`, with components first: the axes x, y, z, each (batch, 3, group, frame)."""
    z, side = _normalised(end - start), reference - start
    x = _normalised(side - (side * z).sum(1, keepdim=True) * z)
    return x, torch.linalg.cross(z, x, dim=1), z


def _group_axes(bond: tuple[Tensor, Tensor, Tensor], sides: list[Tensor]) -> Float[Tensor, "batch 3 3 group frame"]:
    """Axes of groups (component, axis) from those about their bonds, turned, bent, and turned about the next bond."""
    (x, y, z), (sine, cosine, sine_bend, cosine_bend, sine_turn, cosine_turn) = bond, sides
    x, y = cosine * x + sine * y, cosine * y - sine * x
    x, z = -cosine_bend * x - sine_bend * z, sine_bend * x - cosine_bend * z
    x, y = cosine_turn * x + sine_turn * y, cosine_turn * y - sine_turn * x
    return torch.stack([x, y, z], 2)


def _normalised(vectors: Float[Tensor, "batch 3 item frame"]) -> Float[Tensor, "batch 3 item frame"]:
    return vectors * vectors.square().sum(1, keepdim=True).clamp(min=_LEAST_NORM).rsqrt()


def _turned(
    axes: Float[Tensor, "batch 3 3 body frame"],
    points: Float[Tensor, "batch point 3"],
    owners: Int[Tensor, "row point"],
) -> Float[Tensor, "batch 3 point frame"]:
    """Points in the coordinates of bodies, turned as those are.

    They are linear in the bodies' rotations: one product with a table of mostly zeros is several times as fast as
    products of single 3 x 3 matrices, up to about a thousand points.
    """
    batch, n_bodies = len(points), axes.shape[3]
    where = owners.expand(batch, -1)[:, None, None].expand(-1, 3, 1, -1)
    table = points.new_zeros(batch, 3, n_bodies, points.shape[1]).scatter(2, where, points.mT[:, :, None])
    return table.flatten(1, 2).mT[:, None] @ axes.flatten(2, 3)


def _unit(turn: Float[Tensor, "batch 2 torsion frame"]) -> Float[Tensor, "batch 2 torsion frame"]:
    """Sines and cosines of unit norm."""
    return turn * turn.square().sum(1, keepdim=True).clamp(min=_LEAST_NORM).rsqrt()


def picked(values: Float[Tensor, "batch component item frame"], index: Int[Tensor, "row chosen"]) -> Tensor:
    """As `pick`, with the frames last."""
    if len(index) == 1:
        return values.index_select(2, index[0])
    return values.gather(2, index[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[3]))


def _ring_carbons(atoms: Tensor, turn: Tensor, geometry: LocalGeometry, tables: TokenTables) -> Tensor:
    """CG of each ring: on the circle about CB-CD at its bond lengths to both, at the ring's torsion."""
    ca, cb, cd = (_placed_before(atoms, column, tables) for column in tables.ring_atoms[..., :3].unbind(-1))
    axes = turned_about_z(frames_about_bonds(ca, cb, cd), *turn.unbind(-1))
    first, second = geometry.ring_bonds.unbind(-1)
    span = torch.linalg.vector_norm(cd - cb, dim=-1)
    along = (span.square() + first.square() - second.square()) / (2 * span)
    # a span that the two bonds cannot reach leaves CG between CB and CD
    across = (first.square() - along.square()).clamp(min=_LEAST_SQUARE).sqrt()
    x, _, z = axes.rotations.unbind(-1)
    return cb + along[..., None] * z + across[..., None] * x


def _placed_before(atoms: Tensor, index: Tensor, tables: TokenTables) -> Tensor:
    return pick(atoms, tables.place.expand(len(index), -1).gather(1, index))


def _require_linked(structures: Tensor, tables: TokenTables) -> None:
    first, second = (pick(structures, column) for column in tables.links.unbind(-1))
    far = (torch.linalg.vector_norm(first - second, dim=-1) > _LONGEST_LINK) & tables.link_mask[:, None]
    if bool(far.any()):
        row, _, link = far.nonzero()[0].tolist()
        atoms = tables.links[min(row, len(tables.links) - 1), link].tolist()
        raise MdgenError(
            f"the key frame has a gap: atoms {atoms[0] + 1} and {atoms[1] + 1} join two residues, but are further "
            f"apart than {_LONGEST_LINK} nm; model the missing residues, and make molecules whole across a periodic box"
        )
