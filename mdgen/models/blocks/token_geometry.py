"""Atoms from tokens: rigid groups of the key frame's own geometry, placed level by level of each residue's tree.

Tables of different molecules in one batch are padded, so that every step is one tensor operation for all of them. A
table has one row for the whole batch where all molecules are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mdgen.errors import MdgenError
from mdgen.geometry.frames import Frames, frames_about_bonds, frames_from_atoms, leaned_towards, turned_about_z
from mdgen.geometry.rotations import nearest_rotation
from mdgen.interfaces import Context
from mdgen.molecule.tokens import TokenLayout, token_layout
from mdgen.molecule.topology import Molecule

_LONGEST_LINK = 0.3
"""Length in nm above which two bonded atoms of different residues in a key frame are not bonded at all."""

_LEAST_NORM = 1e-12
"""Least squared norm of a sine and a cosine that is divided by."""

_LEAST_SQUARE = 1e-6
"""Least squared distance in nm^2 of a ring's CG from the axis CB-CD."""


@dataclass(frozen=True)
class TokenTables:
    """The tables of `TokenLayout`, padded and stacked; `row` is 1 where all of a batch is one molecule.

    Args:
        frame_atoms: atoms of each token's frame.
        fourth_atoms: atom that each token's frame leans towards (CB).
        has_fourth: which tokens have one.
        token_mask: which tokens are real.
        torsion_atoms: atoms of each torsion.
        torsion_mask: which torsions there are.
        levels: number of groups in each level of the trees.
        group_parent: body that each group hangs on; bodies are tokens, then groups level by level.
        group_torsion: torsion of each group, an index into tokens times slots.
        group_atoms: atoms (reference, start, end, turned) of each group's torsion.
        tree_atoms: atoms that are rigid with a body.
        tree_body: body of each of them.
        ring_atoms: atoms (CA, CB, CD, CG) of the rings that hold a frame.
        ring_torsion: torsion of each ring.
        follower_atoms: atoms (left, middle, right, placed).
        place: place of each atom among the tree's atoms, rings and followers, in this order.
        atom_mask: which atoms are real.
        links: atoms of the bonds between tokens.
        link_mask: which of them are real.
        colours: number of joints of each colour.
        joints: atoms (near first, first, second, near second) of links between frames, colour by colour.
        joint_tokens: the two tokens of each.
        joint_mask: which joints are real.
    """

    frame_atoms: Int[Tensor, "row token 3"]
    fourth_atoms: Int[Tensor, "row token"]
    has_fourth: Bool[Tensor, "row token"]
    token_mask: Bool[Tensor, "row token"]
    torsion_atoms: Int[Tensor, "row token slot 4"]
    torsion_mask: Bool[Tensor, "row token slot"]
    levels: tuple[int, ...]
    group_parent: Int[Tensor, "row group"]
    group_torsion: Int[Tensor, "row group"]
    group_atoms: Int[Tensor, "row group 4"]
    tree_atoms: Int[Tensor, "row tree_atom"]
    tree_body: Int[Tensor, "row tree_atom"]
    ring_atoms: Int[Tensor, "row ring 4"]
    ring_torsion: Int[Tensor, "row ring"]
    follower_atoms: Int[Tensor, "row follower 4"]
    place: Int[Tensor, "row atom"]
    atom_mask: Bool[Tensor, "row atom"]
    links: Int[Tensor, "row link 2"]
    link_mask: Bool[Tensor, "row link"]
    colours: tuple[int, ...]
    joints: Int[Tensor, "row joint 4"]
    joint_tokens: Int[Tensor, "row joint 2"]
    joint_mask: Bool[Tensor, "row joint"]

    def to(self, device: torch.device | str) -> "TokenTables":
        """The same tables on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]


def tables_of(context: Context) -> TokenTables:
    """The tables of a batch.

    Raises:
        MdgenError: if the context names no molecules or key frames, they do not fit each other, or a molecule has no
            tokens.
    """
    if not context.molecules:
        raise MdgenError("tokens need the molecule of each trajectory; give a context with molecules")
    n_rows, _, n_atoms, _ = structures_of(context).shape
    if len(context.molecules) not in (1, n_rows):
        raise MdgenError(
            f"{len(context.molecules)} molecules are named for a batch of {n_rows}; name one for the whole batch or "
            "one for each row"
        )
    sizes = [molecule.n_atoms for molecule in context.molecules]
    if max(sizes) > n_atoms or (context.atom_mask is None and min(sizes) < n_atoms):
        wrong = context.molecules[int(np.argmax([abs(size - n_atoms) for size in sizes]))]
        raise MdgenError(
            f"the key frames have {n_atoms} atoms, but {wrong!r} has {wrong.n_atoms}; give structures of the molecule"
        )
    masks = [mask for mask in (context.token_mask, context.residue_types) if mask is not None]
    n_tokens = masks[0].shape[1] if masks else 0
    return _tables(context.molecules, n_tokens, n_atoms, structures_of(context).device)


def structures_of(context: Context) -> Float[Tensor, "batch key atom 3"]:
    """The key frames of a context, which must have some."""
    if context.key_frames is None:
        raise MdgenError("tokens are measured against a key frame; give a context with key_frames")
    return context.key_frames


@lru_cache(maxsize=64)
def _tables(molecules: tuple[Molecule, ...], n_tokens: int, n_atoms: int, device: torch.device) -> TokenTables:
    layouts = [token_layout(molecule) for molecule in molecules]
    sizes = {
        "token": max(n_tokens, max(each.n_tokens for each in layouts)),
        "atom": n_atoms,
        "tree": max(int((each.atom_body >= 0).sum()) for each in layouts),
        "ring": max(len(each.ring_atoms) for each in layouts),
        "follower": max(len(each.follower_atoms) for each in layouts),
        "link": max(len(each.links) for each in layouts),
    }
    levels = _most([each.group_level - 1 for each in layouts])
    colours = _most([each.link_colour for each in layouts])
    rows = [_group_rows(each, sizes, levels) | _link_rows(each, sizes, colours) for each in layouts]
    stacked = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    return TokenTables(levels=levels, colours=colours, **stacked).to(device)


def _most(numbers: Sequence[np.ndarray]) -> tuple[int, ...]:
    """How many entries of each value from 0 there are, in the row with the most of it."""
    last = max(int(each.max(initial=-1)) for each in numbers)
    return tuple(max(int((each == value).sum()) for each in numbers) for value in range(last + 1))


def _columns(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The place of each entry in a table that has `sizes` places for each value from 0."""
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    within = np.array([int((values[:number] == value).sum()) for number, value in enumerate(values)], dtype=np.int64)
    return starts[values] + within


def _group_rows(layout: TokenLayout, sizes: dict[str, int], levels: Sequence[int]) -> dict[str, np.ndarray]:
    """The padded tables of frames, torsions and atoms of one molecule.

    Padding repeats atoms of a real torsion, so that all geometry is finite.
    """
    n_tokens, slots = sizes["token"], layout.torsion_atoms.shape[1]
    filler = layout.torsion_atoms[layout.torsion_mask][0]
    column = _columns(layout.group_level - 1, levels)
    body = np.concatenate([np.arange(layout.n_tokens), n_tokens + column])
    torsion, n_groups = layout.group_token * slots + layout.group_slot, int(sum(levels))
    torsion_atoms = layout.torsion_atoms.reshape(-1, 4)
    real = np.flatnonzero(layout.torsion_mask)
    fourth = layout.fourth_atoms >= 0
    tree_atoms = np.flatnonzero(layout.atom_body >= 0)
    place = np.zeros(sizes["atom"], dtype=np.int64)
    place[tree_atoms] = np.arange(len(tree_atoms))
    place[layout.ring_atoms[:, 3]] = sizes["tree"] + np.arange(len(layout.ring_atoms))
    place[layout.follower_atoms[:, 3]] = sizes["tree"] + sizes["ring"] + np.arange(len(layout.follower_atoms))
    return {
        "frame_atoms": _filled(layout.frame_atoms, None, n_tokens, filler[:3]),
        "fourth_atoms": _filled(np.where(fourth, layout.fourth_atoms, filler[3]), None, n_tokens, filler[3]),
        "has_fourth": _filled(fourth, None, n_tokens, False),
        "token_mask": np.arange(n_tokens) < layout.n_tokens,
        "torsion_atoms": _filled(torsion_atoms[real], real, n_tokens * slots, filler).reshape(n_tokens, slots, 4),
        "torsion_mask": _filled(layout.torsion_mask, None, n_tokens, False),
        "group_parent": _filled(body[layout.group_parent], column, n_groups),
        "group_torsion": _filled(torsion, column, n_groups),
        "group_atoms": _filled(torsion_atoms[torsion], column, n_groups, filler),
        "tree_atoms": _filled(tree_atoms, None, sizes["tree"]),
        "tree_body": _filled(body[layout.atom_body[tree_atoms]], None, sizes["tree"]),
        "ring_atoms": _filled(layout.ring_atoms, None, sizes["ring"], filler),
        "ring_torsion": _filled(layout.ring_token * slots + layout.ring_slot, None, sizes["ring"]),
        "follower_atoms": _filled(layout.follower_atoms, None, sizes["follower"], filler),
        "place": place,
        "atom_mask": np.arange(sizes["atom"]) < layout.molecule.n_atoms,
    }


def _link_rows(layout: TokenLayout, sizes: dict[str, int], colours: Sequence[int]) -> dict[str, np.ndarray]:
    """The padded tables of the bonds between tokens of one molecule."""
    filler = layout.torsion_atoms[layout.torsion_mask][0]
    joints = layout.link_colour >= 0
    column, n_joints = _columns(layout.link_colour[joints], colours), int(sum(colours))
    return {
        "links": _filled(layout.links[:, 1:3], None, sizes["link"], filler[1:3]),
        "link_mask": np.arange(sizes["link"]) < len(layout.links),
        "joints": _filled(layout.links[joints], column, n_joints, filler),
        "joint_tokens": _filled(layout.link_tokens[joints], column, n_joints),
        "joint_mask": _filled(np.ones(len(column), dtype=bool), column, n_joints, False),
    }


def _filled(values: np.ndarray, where: np.ndarray | None, size: int, filler: Any = 0) -> np.ndarray:
    """A table of `size` rows that holds `values` at some of them, at the first where None, and `filler` elsewhere."""
    table = np.empty((size, *values.shape[1:]), dtype=values.dtype)
    table[:] = filler
    table[slice(len(values)) if where is None else where] = values
    return table


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
    first, middle, last = (pick(positions, column) for column in tables.frame_atoms.unbind(-1))
    frames = frames_from_atoms(first, middle, last)
    leaned = leaned_towards(frames, pick(positions, tables.fourth_atoms))
    leans = tables.has_fourth[:, None, :, None, None]
    return Frames(torch.where(leans, leaned.rotations, frames.rotations), frames.origins)


def torsions_of(
    positions: Float[Tensor, "batch frame atom 3"], tables: TokenTables
) -> tuple[Float[Tensor, "batch frame token slot"], Float[Tensor, "batch frame token slot"]]:
    """Sine and cosine of every torsion, IUPAC sign; zero where there is none."""
    quads = tables.torsion_atoms.flatten(1, 2)
    a, b, c, d = (pick(positions, column) for column in quads.unbind(-1))
    axis = c - b
    before, after = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    sine = torch.linalg.vector_norm(axis, dim=-1) * ((b - a) * after).sum(-1)
    turn = normalize(torch.stack([sine, (before * after).sum(-1)], -1), dim=-1)
    turn = torch.where(tables.torsion_mask.flatten(1)[:, None, :, None], turn, 0)
    sine, cosine = turn.unflatten(2, tables.torsion_mask.shape[1:]).unbind(-1)
    return sine, cosine


@dataclass(frozen=True)
class LocalGeometry:
    """Geometry of the rigid groups, which torsions and frames do not change.

    Args:
        group_base: each group's frame at torsion zero, in the body that it hangs on.
        tree_points: each atom in the body that it is rigid with, nm.
        ring_bonds: bond lengths CB-CG and CG-CD in nm.
        follower_points: each follower in the frame of its three atoms, nm.
    """

    group_base: Frames
    tree_points: Float[Tensor, "batch 1 tree_atom 3"]
    ring_bonds: Float[Tensor, "batch 1 ring 2"]
    follower_points: Float[Tensor, "batch 1 follower 3"]


def measured(structures: Float[Tensor, "batch key atom 3"], tables: TokenTables) -> LocalGeometry:
    """The geometry of structures, its mean where there are several.

    Raises:
        MdgenError: if atoms that are bonded across two residues are far apart, as beside a gap in the chain.
    """
    _require_linked(structures, tables)
    reference, start, end, turned = (pick(structures, column) for column in tables.group_atoms.unbind(-1))
    tokens, groups = token_frames(structures, tables), frames_about_bonds(turned, start, end)
    bodies = joined([tokens, groups])
    base = pick_frames(bodies, tables.group_parent).inverse().compose(frames_about_bonds(reference, start, end))
    tree = pick_frames(bodies, tables.tree_body).inverse().apply(pick(structures, tables.tree_atoms))
    _, cb, cd, cg = (pick(structures, column) for column in tables.ring_atoms.unbind(-1))
    bonds = torch.stack([torch.linalg.vector_norm(cg - each, dim=-1) for each in (cb, cd)], -1)
    left, middle, right, placed = (pick(structures, column) for column in tables.follower_atoms.unbind(-1))
    followers = frames_from_atoms(left, middle, right).inverse().apply(placed)
    if structures.shape[1] > 1:
        base = Frames(nearest_rotation(base.rotations.mean(1, True)), base.origins.mean(1, True))
        tree, bonds, followers = (each.mean(1, True) for each in (tree, bonds, followers))
    return LocalGeometry(base, tree, bonds, followers)


def placed_atoms(
    frames: Frames,
    sine: Float[Tensor, "batch frame token slot"],
    cosine: Float[Tensor, "batch frame token slot"],
    geometry: LocalGeometry,
    tables: TokenTables,
) -> Float[Tensor, "batch frame atom 3"]:
    """Positions of all atoms from the tokens' frames and torsions, in nm; zero where an atom is padding.

    Sines and cosines need not be normalised.
    """
    # components lead and frames of the trajectories come last, so that every operation runs along memory
    turn = torch.stack([sine, cosine], 1).flatten(3).mT.contiguous()
    sines, cosines = _unit(_picked(turn, tables.group_torsion)).split(1, 1)
    axes, origins = frames.rotations.permute(0, 3, 4, 2, 1).contiguous(), frames.origins.permute(0, 3, 2, 1)
    begin = 0
    for size in tables.levels:
        level = slice(begin, begin + size)
        base, parents = geometry.group_base[:, 0, level], tables.group_parent[:, level]
        vectors = torch.cat([base.rotations.movedim(-1, 1), base.origins[:, None]], 1).flatten(1, 2)
        x, y, z, offset = _turned(axes, vectors, parents.repeat(1, 4)).unflatten(2, (4, size)).unbind(2)
        s, c = sines[:, :, level], cosines[:, :, level]
        axes = torch.cat([axes, torch.stack([c * x + s * y, c * y - s * x, z], 2)], 3)
        origins = torch.cat([origins, offset + _picked(origins, parents)], 2)
        begin += size
    placed = _turned(axes, geometry.tree_points[:, 0], tables.tree_body) + _picked(origins, tables.tree_body)
    if tables.ring_atoms.shape[1]:
        atoms = placed.permute(0, 3, 2, 1)
        ring_turn = _unit(_picked(turn, tables.ring_torsion)).permute(0, 3, 2, 1)
        atoms = torch.cat([atoms, _ring_carbons(atoms, ring_turn, geometry, tables)], 2)
        outer = tables.follower_atoms[..., :3].unbind(-1)
        left, middle, right = (_placed_before(atoms, column, tables) for column in outer)
        followers = frames_from_atoms(left, middle, right).apply(geometry.follower_points)
        placed = torch.cat([atoms, followers], 2).permute(0, 3, 2, 1)
    atoms = _picked(placed, tables.place).permute(0, 3, 2, 1).contiguous()
    return atoms if bool(tables.atom_mask.all()) else atoms * tables.atom_mask[:, None, :, None]


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


def _picked(values: Float[Tensor, "batch component item frame"], index: Int[Tensor, "row chosen"]) -> Tensor:
    """As `pick`, with the frames last."""
    if len(index) == 1:
        return values.index_select(2, index[0])
    return values.gather(2, index[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[3]))


def joined(frames: Sequence[Frames]) -> Frames:
    """Bodies side by side in one axis."""
    if len(frames) == 1:
        return frames[0]
    return Frames(torch.cat([each.rotations for each in frames], 2), torch.cat([each.origins for each in frames], 2))


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
