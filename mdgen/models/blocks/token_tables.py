"""Index tables of tokens: `molecule.tokens.TokenLayout` of the molecules of a batch, padded and stacked.

Every step of the geometry is then one tensor operation for all of them. A table has one row for the whole batch where
all molecules are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Context
from mdgen.molecule.tokens import TokenLayout, token_layout
from mdgen.molecule.topology import Molecule


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
        beside_atoms: another heavy atom that each torsion turns; `start` where there is none.
        has_beside: which torsions turn one.
        bends: which torsions have a bond angle.
        planar: whether the bonds at the far end of each torsion's bond lie in a plane.
        planar_frame: likewise at the middle of each token's frame.
        levels: number of groups in each level of the trees.
        group_torsion: torsion of each group, an index into tokens times slots.
        group_atoms: atoms (reference, start, end, turned, beside) of each group.
        tree_levels: number of atoms that are rigid with frames, and with groups of each level.
        tree_atoms: these atoms, but for the outer and fourth atoms of frames.
        tree_body: token, or group of its level, that each of them is rigid with.
        ring_atoms: atoms (CA, CB, CD, CG) of the rings that hold a frame.
        ring_torsion: torsion of each ring.
        follower_atoms: atoms (left, middle, right, placed).
        place: place of each atom among the first, last and fourth atoms of all frames, the tree's atoms, rings and
            followers, in this order.
        atom_mask: which atoms are real.
        links: atoms of the bonds between tokens.
        link_mask: which of them are real.
        colours: number of joints of each colour.
        joints: atoms (near first, first, second, near second) of links between frames, colour by colour.
        joint_tokens: the two tokens of each.
        joint_mask: which joints are real.
        plane_atoms: atoms (reference, start, end, far) of the peptide plane before each token: those of the carbonyl's
            torsion and the next N, then those of the amide's torsion and the C before.
        plane_torsion: these torsions, indices into tokens times slots.
        has_plane: which of them there are.
        plane_turns: whether the chain may be turned there, since no other bond holds its two sides together.
        plane_in_ring: whether the atom that the torsion turns belongs to a ring that holds the frame.
        starts_chain: which tokens no bond joins to the one before.
        chain_atoms: atoms (far, near, bonded) of the frame before each token, and (bonded, near, far) of its own.
        chain_roles: which of their frames' atoms these are: 0, 1 or 2.
        has_chain: which tokens are linked so to the one before.
    """

    frame_atoms: Int[Tensor, "row token 3"]
    fourth_atoms: Int[Tensor, "row token"]
    has_fourth: Bool[Tensor, "row token"]
    token_mask: Bool[Tensor, "row token"]
    torsion_atoms: Int[Tensor, "row token slot 4"]
    torsion_mask: Bool[Tensor, "row token slot"]
    beside_atoms: Int[Tensor, "row token slot"]
    has_beside: Bool[Tensor, "row token slot"]
    bends: Bool[Tensor, "row token slot"]
    planar: Bool[Tensor, "row token slot"]
    planar_frame: Bool[Tensor, "row token"]
    levels: tuple[int, ...]
    group_torsion: Int[Tensor, "row group"]
    group_atoms: Int[Tensor, "row group 5"]
    tree_levels: tuple[int, ...]
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
    plane_atoms: Int[Tensor, "row token 2 4"]
    plane_torsion: Int[Tensor, "row token 2"]
    has_plane: Bool[Tensor, "row token 2"]
    plane_turns: Bool[Tensor, "row token 2"]
    plane_in_ring: Bool[Tensor, "row token 2"]
    starts_chain: Bool[Tensor, "row token"]
    chain_atoms: Int[Tensor, "row token 6"]
    chain_roles: Int[Tensor, "row token 6"]
    has_chain: Bool[Tensor, "row token"]

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
        "ring": max(len(each.ring_atoms) for each in layouts),
        "follower": max(len(each.follower_atoms) for each in layouts),
        "link": max(len(each.links) for each in layouts),
    }
    levels = _most([each.group_level - 1 for each in layouts])
    tree_levels = _most([_atom_levels(each)[1] for each in layouts])
    sizes["tree"] = sum(tree_levels)
    colours = _most([each.link_colour for each in layouts])
    rows = [
        _group_rows(each, sizes, levels, tree_levels)
        | _link_rows(each, sizes, colours)
        | _chain_rows(each, sizes["token"])
        for each in layouts
    ]
    with torch.inference_mode(False):  # they are kept, and followed back elsewhere
        stacked = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        return TokenTables(levels=levels, tree_levels=tree_levels, colours=colours, **stacked).to(device)


def _atom_levels(layout: TokenLayout) -> tuple[np.ndarray, np.ndarray]:
    """Atoms that are rigid with a body, but for those that bond angles of frames move, and their levels from 0."""
    of_body = np.concatenate([np.zeros(layout.n_tokens, dtype=np.int64), layout.group_level])
    moved = [layout.frame_atoms[:, 0], layout.frame_atoms[:, 2], layout.fourth_atoms[layout.fourth_atoms >= 0]]
    atoms = np.setdiff1d(np.flatnonzero(layout.atom_body >= 0), np.concatenate(moved))
    return atoms, of_body[layout.atom_body[atoms]]


def _most(numbers: Sequence[np.ndarray]) -> tuple[int, ...]:
    """How many entries of each value from 0 there are, in the row with the most of it."""
    last = max(int(each.max(initial=-1)) for each in numbers)
    return tuple(max(int((each == value).sum()) for each in numbers) for value in range(last + 1))


def _columns(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The place of each entry in a table that has `sizes` places for each value from 0."""
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    within = np.array([int((values[:number] == value).sum()) for number, value in enumerate(values)], dtype=np.int64)
    return starts[values] + within


def _group_rows(
    layout: TokenLayout, sizes: dict[str, int], levels: Sequence[int], tree_levels: Sequence[int]
) -> dict[str, np.ndarray]:
    """The padded tables of frames, torsions and atoms of one molecule.

    Padding repeats atoms of a real torsion, so that all geometry is finite.
    """
    n_tokens, slots = sizes["token"], layout.torsion_atoms.shape[1]
    filler = layout.torsion_atoms[layout.torsion_mask][0]
    column = _columns(layout.group_level - 1, levels)
    first_of_level = np.concatenate([[0], np.cumsum(levels)]).astype(np.int64)
    body = np.concatenate([np.arange(layout.n_tokens), column - first_of_level[layout.group_level - 1]])
    torsion, n_groups = layout.group_token * slots + layout.group_slot, int(sum(levels))
    torsion_atoms = layout.torsion_atoms.reshape(-1, 4)
    real = np.flatnonzero(layout.torsion_mask)
    fourth = layout.fourth_atoms >= 0
    tree_atoms, atom_level = _atom_levels(layout)
    tree_column = _columns(atom_level, tree_levels)
    beside = np.where(layout.beside_atoms >= 0, layout.beside_atoms, layout.torsion_atoms[..., 1])
    group_atoms = np.concatenate([torsion_atoms, beside.reshape(-1, 1)], -1)[torsion]
    in_ring = np.stack(
        [np.zeros(layout.n_tokens, dtype=bool), np.isin(np.arange(layout.n_tokens), layout.ring_token)], 1
    )
    planes, of_frame = layout.plane_atoms[..., :1] >= 0, layout.frame_atoms[0, [0, 1, 2, 0]]
    place = np.zeros(sizes["atom"], dtype=np.int64)
    for number, atoms in enumerate((layout.frame_atoms[:, 0], layout.frame_atoms[:, 2], layout.fourth_atoms)):
        place[atoms[atoms >= 0]] = number * n_tokens + np.flatnonzero(atoms >= 0)
    place[tree_atoms] = 3 * n_tokens + tree_column
    rings = 3 * n_tokens + sizes["tree"]
    place[layout.ring_atoms[:, 3]] = rings + np.arange(len(layout.ring_atoms))
    place[layout.follower_atoms[:, 3]] = rings + sizes["ring"] + np.arange(len(layout.follower_atoms))
    return {
        "frame_atoms": _filled(layout.frame_atoms, None, n_tokens, filler[:3]),
        "fourth_atoms": _filled(np.where(fourth, layout.fourth_atoms, filler[3]), None, n_tokens, filler[3]),
        "has_fourth": _filled(fourth, None, n_tokens, False),
        "token_mask": np.arange(n_tokens) < layout.n_tokens,
        "torsion_atoms": _filled(torsion_atoms[real], real, n_tokens * slots, filler).reshape(n_tokens, slots, 4),
        "torsion_mask": _filled(layout.torsion_mask, None, n_tokens, False),
        "beside_atoms": _filled(beside.reshape(-1)[real], real, n_tokens * slots, filler[1]).reshape(n_tokens, slots),
        "has_beside": _filled(layout.beside_atoms >= 0, None, n_tokens, False),
        "bends": _filled(layout.bends, None, n_tokens, False),
        "planar": _filled(layout.planar, None, n_tokens, False),
        "planar_frame": _filled(layout.planar_frame, None, n_tokens, False),
        "group_torsion": _filled(torsion, column, n_groups),
        "group_atoms": _filled(group_atoms, column, n_groups, [*filler, filler[1]]),
        "tree_atoms": _filled(tree_atoms, tree_column, sizes["tree"]),
        "tree_body": _filled(body[layout.atom_body[tree_atoms]], tree_column, sizes["tree"]),
        "ring_atoms": _filled(layout.ring_atoms, None, sizes["ring"], filler),
        "ring_torsion": _filled(layout.ring_token * slots + layout.ring_slot, None, sizes["ring"]),
        "follower_atoms": _filled(layout.follower_atoms, None, sizes["follower"], filler),
        "place": place,
        "atom_mask": np.arange(sizes["atom"]) < layout.molecule.n_atoms,
        "plane_atoms": _filled(np.where(planes, layout.plane_atoms, of_frame), None, n_tokens, of_frame),
        "plane_torsion": _filled(layout.plane_torsion, None, n_tokens),
        "has_plane": _filled(planes[..., 0], None, n_tokens, False),
        "plane_turns": _filled(layout.plane_turns, None, n_tokens, False),
        "plane_in_ring": _filled(in_ring, None, n_tokens, False),
        "starts_chain": _filled(layout.starts_chain, None, n_tokens, True),
    }


def _chain_rows(layout: TokenLayout, n_tokens: int) -> dict[str, np.ndarray]:
    """The padded tables of the links of tokens to those before them of one molecule."""
    chained = layout.chain_atoms[:, 0] >= 0
    tokens = np.arange(layout.n_tokens)
    roles = layout.frame_atoms[np.stack([tokens - 1, tokens], 1).repeat(3, 1)] == layout.chain_atoms[..., None]
    no_atoms = layout.torsion_atoms[layout.torsion_mask][0, [0, 1, 2, 3, 0, 1]]  # any dihedrals that are finite
    no_roles = np.array([0, 1, 2, 0, 1, 2])
    there = chained[:, None]
    return {
        "chain_atoms": _filled(np.where(there, layout.chain_atoms, no_atoms), None, n_tokens, no_atoms),
        "chain_roles": _filled(np.where(there, roles.argmax(-1), no_roles), None, n_tokens, no_roles),
        "has_chain": _filled(chained, None, n_tokens, False),
    }


def _link_rows(layout: TokenLayout, sizes: dict[str, int], colours: Sequence[int]) -> dict[str, np.ndarray]:
    """The padded tables of the bonds between tokens of one molecule."""
    filler = layout.frame_atoms[0, [0, 1, 2, 0]]  # atoms of a frame, as those of real joints are
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
