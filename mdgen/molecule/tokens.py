"""Tokens of a peptide or protein: a rigid frame a residue, and the torsions of the rigid groups that hang on it.

Everything is found in the bond graph, so protonation states, terminal groups, caps and bonds between side chains need
no table of their own. A residue's tree grows from the middle atom of its frame; a bond of the tree that is in no ring,
and beyond which there is something to turn, is a torsion. Proline's ring holds the frame itself: its CD is placed from
N, as the amide hydrogen of other residues, and CG by its turn about the axis CB-CD, at its bond lengths to both, so
that the ring closes whatever the torsions are.

Bond angles are no part of the rigid geometry where they carry heavy atoms: the frame's own (N-CA-C, and the direction
of CB), that at the far end of each torsion's bond (CA-CB-CG), and the turn of a group about its first bond (CG2 of
valine about CB-CG1). All are counted from the ideal angle of their middle atom, so they mean the same in every frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import mdtraj
import numpy as np
from jaxtyping import Bool, Int

from mdgen.errors import MdgenError
from mdgen.molecule.residues import PARENTS, RESIDUE_TYPES, UNKNOWN
from mdgen.molecule.topology import Molecule

TORSION_SLOTS = 7
"""Torsions a token: the carbonyl about CA-C, the amide or amine about CA-N, and at most five of the side chain."""

FRAME_BENDS = 3
"""Bond angles of a frame: that of its three atoms, and two of the atom it leans towards."""

_CARBONYL, _AMIDE, _SIDE_CHAIN = 0, 1, 2
_CAPS = {"ACE": ("CH3", "C", "O"), "NME": ("C", "N", "H")}
_BACKBONE = ("N", "CA", "C")
_HEAVY = {
    "ALA": "CB", "ARG": "CB CG CD NE CZ NH1 NH2", "ASN": "CB CG OD1 ND2", "ASP": "CB CG OD1 OD2", "CYS": "CB SG",
    "GLN": "CB CG CD OE1 NE2", "GLU": "CB CG CD OE1 OE2", "GLY": "", "HIS": "CB CG ND1 CD2 CE1 NE2",
    "ILE": "CB CG1 CG2 CD1", "LEU": "CB CG CD1 CD2", "LYS": "CB CG CD CE NZ", "MET": "CB CG SD CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ", "PRO": "CB CG CD", "SER": "CB OG", "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH", "VAL": "CB CG1 CG2",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """How the atoms of a molecule hang on its tokens, as index tables.

    Bodies are numbered from 0: first the frames of all tokens, then the groups, parents before children.

    Args:
        molecule: molecule that it belongs to.
        frame_atoms: outer, middle and outer atom of each token's frame (N, CA, C).
        fourth_atoms: atom that the frame leans towards (CB); -1 where there is none.
        torsion_atoms: atoms (reference, start, end, turned) of each torsion; -1 where there is none.
        beside_atoms: another heavy atom of the group that a torsion turns, in a ring that of its far side; -1 where
            there is none.
        bends: whether the angle start-end-turned of a torsion is a channel: where it moves heavy atoms.
        planar: whether `end` of each torsion has three bonds, so that ideal angles are 120 degrees.
        planar_frame: whether the middle atom of each token's frame has.
        group_level: number of bonds that turn between each group and its frame, from 1, ascending.
        group_token: token of each group.
        group_slot: torsion slot of each group.
        atom_body: body that each atom is rigid with; -1 for atoms that close a ring.
        ring_atoms: atoms (CA, CB, CD, CG) of each ring that holds a frame; CG is placed from the other three.
        ring_token: token of each ring; its torsion has slot `ring_slot`.
        follower_atoms: atoms (left, middle, right, placed): the last is rigid with the frame of the three before it.
        links: bonded atoms of different tokens, with a neighbour of each: (near first, first, second, near second).
        link_tokens: the tokens of the two atoms of each link.
        link_colour: colour of each link whose atoms are all rigid with frames, so that no two links of one colour share
            a token; -1 for the others, such as disulphides.
        plane_atoms: atoms (reference, start, end, far) of the peptide plane between each token and the one before: the
            first three of that one's carbonyl torsion and N, then those of the token's own amide torsion and the C
            before; -1 where there is none.
        plane_torsion: these two torsions of each token, token times slots plus slot.
        plane_turns: whether the chain may be turned there, since no other link holds the two sides together; where not,
            the atoms of the plane are turned, but for those of a ring.
        starts_chain: whether no link joins a token to the one before.
        chain_atoms: atoms of the frames on both sides of the link that joins each token to the one before: the three
            of that one's frame, from the far one to the bonded one, and the three of its own, from the bonded one; -1
            where there is no link between atoms of both frames.
    """

    molecule: Molecule
    frame_atoms: Int[np.ndarray, "token 3"]
    fourth_atoms: Int[np.ndarray, "token"]
    torsion_atoms: Int[np.ndarray, "token slot 4"]
    beside_atoms: Int[np.ndarray, "token slot"]
    bends: Bool[np.ndarray, "token slot"]
    planar: Bool[np.ndarray, "token slot"]
    planar_frame: Bool[np.ndarray, "token"]
    group_level: Int[np.ndarray, "group"]
    group_token: Int[np.ndarray, "group"]
    group_slot: Int[np.ndarray, "group"]
    atom_body: Int[np.ndarray, "atom"]
    ring_atoms: Int[np.ndarray, "ring 4"]
    ring_token: Int[np.ndarray, "ring"]
    follower_atoms: Int[np.ndarray, "follower 4"]
    links: Int[np.ndarray, "link 4"]
    link_tokens: Int[np.ndarray, "link 2"]
    link_colour: Int[np.ndarray, "link"]
    plane_atoms: Int[np.ndarray, "token 2 4"]
    plane_torsion: Int[np.ndarray, "token 2"]
    plane_turns: Bool[np.ndarray, "token 2"]
    starts_chain: Bool[np.ndarray, "token"]
    chain_atoms: Int[np.ndarray, "token 6"]

    ring_slot = _SIDE_CHAIN

    @property
    def n_tokens(self) -> int:
        """Number of tokens: residues and caps."""
        return len(self.frame_atoms)

    @property
    def torsion_mask(self) -> Bool[np.ndarray, "token slot"]:
        """Which torsions there are."""
        return self.torsion_atoms[..., 0] >= 0


@lru_cache(maxsize=4096)
def token_layout(molecule: Molecule) -> TokenLayout:
    """The tokens of a peptide or protein, with or without caps; several chains and disulphides are allowed.

    Raises:
        MdgenError: naming the residue that is unknown or lacks atoms, or where the chain has a gap.
    """
    residues = list(molecule.topology.residues)
    if not residues:
        raise MdgenError("a molecule without residues has no tokens; give a peptide or protein")
    for residue in residues:
        _require_whole(molecule, residue)
    _require_no_gap(molecule, residues)
    molecule.require_bonded()
    trees = [_ResidueTree(molecule, residue) for residue in residues]
    groups = sorted(
        (group.level, token, place, group)
        for token, tree in enumerate(trees)
        for place, group in enumerate(tree.groups)
    )
    body_of = {(token, place): len(trees) + n for n, (_, token, place, _) in enumerate(groups)}
    body_of |= {(token, -1): token for token in range(len(trees))}
    atom_body = np.full(molecule.n_atoms, -1)
    torsion_atoms = np.full((len(trees), TORSION_SLOTS, 4), -1)
    beside_atoms = np.full((len(trees), TORSION_SLOTS), -1)
    bends = np.zeros((len(trees), TORSION_SLOTS), dtype=bool)
    planar = np.zeros((len(trees), TORSION_SLOTS), dtype=bool)
    for token, tree in enumerate(trees):
        for place, members in tree.members.items():
            atom_body[members] = body_of[token, place]
        for slot, atoms in tree.torsions.items():
            torsion_atoms[token, slot] = atoms
        for place, group in enumerate(tree.groups):
            _, _, end, turned = tree.torsions[group.slot]
            beside_atoms[token, group.slot] = tree.beside(place, end, turned)
            bends[token, group.slot] = molecule.elements[turned] != "H"
            planar[token, group.slot] = len(molecule.neighbours[end]) == 3
    rings = [(token, tree.ring) for token, tree in enumerate(trees) if tree.ring]
    links, link_tokens = _links(molecule, trees)
    return TokenLayout(
        molecule=molecule,
        frame_atoms=np.array([tree.frame for tree in trees]),
        fourth_atoms=np.array([tree.own.get("CB", -1) for tree in trees]),
        torsion_atoms=torsion_atoms,
        beside_atoms=beside_atoms,
        bends=bends,
        planar=planar,
        planar_frame=np.array([len(molecule.neighbours[tree.frame[1]]) == 3 for tree in trees]),
        group_level=np.array([level for level, *_ in groups], dtype=np.int64),
        group_token=np.array([token for _, token, *_ in groups], dtype=np.int64),
        group_slot=np.array([group.slot for *_, group in groups], dtype=np.int64),
        atom_body=atom_body,
        ring_atoms=_table([ring for _, ring in rings]),
        ring_token=np.array([token for token, _ in rings], dtype=np.int64),
        follower_atoms=_table([row for tree in trees for row in tree.followers]),
        links=links,
        link_tokens=link_tokens,
        link_colour=_colours(links, link_tokens, atom_body < len(trees)),
        chain_atoms=_chain([tree.frame for tree in trees], links, link_tokens),
        **_planes(molecule, torsion_atoms, links, link_tokens),
    )


def _table(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "row 4"]:
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


@dataclass(frozen=True, order=True)
class _Group:
    """A rigid group: its bonds from the frame, and its torsion slot."""

    level: int
    slot: int


class _ResidueTree:
    """The tree of one residue: `members` of the frame (-1) and of each group, and the `torsions` by their slots."""

    def __init__(self, molecule: Molecule, residue: mdtraj.core.topology.Residue) -> None:
        self.molecule, self.residue = molecule, residue
        self.own = {atom.name: atom.index for atom in residue.atoms}
        indices = set(self.own.values())
        self.near = {i: [j for j in molecule.neighbours[i] if j in indices] for i in indices}
        first, middle, last = _CAPS.get(residue.name, _BACKBONE)
        if residue.name == "NME" and "CH3" in self.own:
            first = "CH3"
        self.frame = (self.own[first], self.own[middle], self.own[last])
        self.ring: tuple[int, int, int, int] | None = None
        self.followers: list[tuple[int, int, int, int]] = []
        self.members: dict[int, list[int]] = {-1: [self.frame[1]]}
        self.groups: list[_Group] = []
        self.torsions: dict[int, tuple[int, int, int, int]] = {}
        self._placed = {self.frame[1]}
        if _parent_name(residue) == "PRO":
            self._open_ring()
        self._grow()
        if len(self._placed) < len(indices):
            lost = molecule.atom_label(min(indices - self._placed))
            raise MdgenError(f"tokens cannot place {lost}: nothing bonds it to {residue}; give its bonds")

    def _open_ring(self) -> None:
        """Take CG and what hangs on CB, CG and CD out of the tree; they are placed once CB and CD are."""
        n, ca, cb, cg, cd = (self.own[name] for name in ("N", "CA", "CB", "CG", "CD"))
        self.ring = (ca, cb, cd, cg)
        self.torsions[TokenLayout.ring_slot] = self.ring
        for left, middle, right in ((ca, cb, cg), (cb, cg, cd), (cg, cd, n)):
            hanging = [i for i in self.near[middle] if i not in (left, right)]
            self.followers += [(left, middle, right, i) for i in hanging]
            self._placed.update(hanging)
        self._placed.add(cg)

    def _grow(self) -> None:
        first, middle, last = self.frame
        bonds = []
        for atom in self._ordered(middle):
            self.members[-1].append(atom)
            self._placed.add(atom)
            bonds.append((last if atom == first else first, middle, atom, -1))
        found: list[tuple[tuple[int, int, int, int], int]] = []  # torsion, and the place of the group it hangs on
        members: list[list[int]] = []
        for reference, start, end, parent in bonds:  # grows while it is walked along
            turned = [atom for atom in self._ordered(end) if atom not in self._placed]
            if not turned:
                continue
            group = len(found)
            found.append(((reference, start, end, turned[0]), parent))
            members.append([])
            edge = [(start, end, atom) for atom in turned]
            for before, near, atom in edge:
                if atom in self._placed:
                    continue
                self._placed.add(atom)
                members[group].append(atom)
                if self._in_ring(near, atom):
                    edge += [(near, atom, beyond) for beyond in self._ordered(atom) if beyond not in self._placed]
                else:
                    bonds.append((before, near, atom, group))
        self._choose_slots(found, members)

    def _choose_slots(self, found: list[tuple[tuple[int, int, int, int], int]], members: list[list[int]]) -> None:
        """Give each torsion its slot; those that only wag stay rigid where there are more than slots."""
        first, middle, last = self.frame
        backbone = {} if self.residue.name in _CAPS else {last: _CARBONYL, first: _AMIDE}
        slots: dict[int, int] = {}
        side = []
        for place, ((_, start, end, _), _) in enumerate(found):
            if start == middle and end in backbone:
                slots[place] = backbone[end]
            else:
                moves_heavy = any(self.molecule.elements[atom] != "H" for atom in members[place])
                side.append((not moves_heavy, self._wags(start, end), place))
        free = [slot for slot in range(_SIDE_CHAIN, TORSION_SLOTS) if slot not in self.torsions]
        # chis before rotors of hydrogens alone, and of these the ones that only wag last
        chosen = sorted(side)[: len(free)]
        if any(not wags for _, wags, _ in sorted(side)[len(free) :]):
            raise MdgenError(f"residue {self.residue} has more torsions than the {TORSION_SLOTS} of a token")
        slots |= {place: slot for (*_, place), slot in zip(chosen, free, strict=False)}
        place_of: dict[int, int] = {-1: -1}
        for place, (torsion, parent) in enumerate(found):
            parent = place_of[parent]
            if place not in slots:  # rigid with what it hangs on
                place_of[place] = parent
            else:
                place_of[place] = len(self.groups)
                level = 1 if parent < 0 else self.groups[parent].level + 1
                self.groups.append(_Group(level, slots[place]))
                self.torsions[slots[place]] = torsion
            self.members.setdefault(place_of[place], []).extend(members[place])

    def beside(self, place: int, end: int, turned: int) -> int:
        """Of a group's heavy atoms but `turned` the one farthest from it, and from `end`; -1 where there is none.

        In a ring that is the far side, so that the ring as a whole is turned right and not its first bonds alone; what
        hangs on a ring, and may lie straight ahead, does not count.
        """
        elements = self.molecule.elements
        heavy = [i for i in self.members[place] if elements[i] != "H" and i != turned]
        in_ring = [i for i in heavy if sum(elements[j] != "H" for j in self.near[i]) > 1]
        from_turned, from_end = _distances(self.near, turned), _distances(self.near, end)
        return max(in_ring or heavy, key=lambda i: (from_turned[i], from_end[i]), default=-1)

    def _ordered(self, atom: int) -> list[int]:
        names = {index: name for name, index in self.own.items()}
        masses = self.molecule.masses
        return sorted(self.near[atom], key=lambda i: (-masses[i], names[i]))

    def _wags(self, start: int, end: int) -> bool:
        """Whether a bond is conjugated, so that what hangs on it stays near one plane: amines of ARG, acids, amides."""
        near, elements = self.molecule.neighbours, self.molecule.elements
        acid = elements[end] == "O" and any(elements[atom] == "O" for atom in near[start] if atom != end)
        return len(near[start]) == 3 and (acid or len(near[end]) == 3)

    def _in_ring(self, first: int, second: int) -> bool:
        reached, edge = {first}, [near for near in self.near[first] if near != second]
        while edge:
            atom = edge.pop()
            if atom not in reached:
                reached.add(atom)
                edge += self.near[atom]
        return second in reached


def _parent_name(residue: mdtraj.core.topology.Residue) -> str:
    name = residue.name.upper()
    if name not in RESIDUE_TYPES and name not in PARENTS and len(name) == 4 and name[0] in "NC":
        name = name[1:]
    return PARENTS.get(name, name)


def _require_whole(molecule: Molecule, residue: mdtraj.core.topology.Residue) -> None:
    name = _parent_name(residue)
    if name not in RESIDUE_TYPES or name == UNKNOWN:
        known = ", ".join((*RESIDUE_TYPES[1:], *PARENTS))
        raise MdgenError(f"tokens do not know residue {residue}; they know {known}; remove it, or rename a variant")
    own = {atom.name: atom.index for atom in residue.atoms}
    if name in _CAPS:
        needed = ["C", "N", "H"] if name == "NME" else ["CH3", "C", "O"]
        if name == "NME" and "CH3" in own:
            needed[0] = "CH3"
    else:
        needed = [*_BACKBONE, "O", *_HEAVY[name].split()]
    lacking = [each for each in needed if each not in own]
    if lacking:
        raise MdgenError(f"residue {residue} lacks {', '.join(lacking)}; tokens need every atom: repair the structure")
    for atom, least in (("N", 3), ("CA", 4), ("C", 3)):
        if atom in own and name not in _CAPS and len(molecule.neighbours[own[atom]]) < least:
            raise MdgenError(
                f"{atom} of residue {residue} has {len(molecule.neighbours[own[atom]])} bonds of {least}; tokens need "
                "every atom, hydrogens and chain ends included: add them, or the missing residues or caps"
            )


def _require_no_gap(molecule: Molecule, residues: Sequence[mdtraj.core.topology.Residue]) -> None:
    bonded = {(a, b) for i, j in molecule.bonds.tolist() for a, b in ((i, j), (j, i))}
    for before, after in pairwise(residues):
        if before.chain.index != after.chain.index:
            continue
        carbon = next(atom.index for atom in before.atoms if atom.name == "C")
        nitrogen = next((atom.index for atom in after.atoms if atom.name == "N"), None)
        if (carbon, nitrogen) not in bonded:
            raise MdgenError(
                f"the chain has a gap between {before} and {after}, which no peptide bond joins; tokens need whole "
                "chains: model the missing residues, or put the parts into chains of their own"
            )


def _links(
    molecule: Molecule, trees: Sequence[_ResidueTree]
) -> tuple[Int[np.ndarray, "link 4"], Int[np.ndarray, "link 2"]]:
    token = {atom: number for number, tree in enumerate(trees) for atom in tree.own.values()}
    links, tokens = [], []
    for i, j in molecule.bonds.tolist():
        if token[i] != token[j]:
            links.append((_inner(trees[token[i]], i), i, j, _inner(trees[token[j]], j)))
            tokens.append((token[i], token[j]))
    return _table(links), np.array(tokens, dtype=np.int64).reshape(-1, 2)


def _planes(
    molecule: Molecule,
    torsion_atoms: Int[np.ndarray, "token slot 4"],
    links: Int[np.ndarray, "link 4"],
    link_tokens: Int[np.ndarray, "link 2"],
) -> dict[str, np.ndarray]:
    """The tables of peptide planes; a link is one where its atoms are ends of torsions with three bonds.

    A chain may be turned where no other link joins what follows in it to anything else.
    """
    n_tokens = len(torsion_atoms)
    atoms, torsion = np.full((n_tokens, 2, 4), -1), np.zeros((n_tokens, 2), dtype=np.int64)
    turns, starts = np.zeros((n_tokens, 2), dtype=bool), np.ones(n_tokens, dtype=bool)
    pairs = [sorted(tokens) for tokens in link_tokens.tolist()]
    starts[[second for first, second in pairs if second == first + 1]] = False
    ends_of_chains = [*np.flatnonzero(starts)[1:].tolist(), n_tokens]
    for number, ((near_first, first, second, near_second), tokens) in enumerate(
        zip(links.tolist(), link_tokens.tolist(), strict=True)
    ):
        ends = sorted([(tokens[0], near_first, first, second), (tokens[1], near_second, second, first)])
        (before, *_), (here, *_) = ends
        if here != before + 1:
            continue
        moved = range(here, next(end for end in ends_of_chains if end > here))
        others = pairs[:number] + pairs[number + 1 :]
        whole = not any((one in moved) != (other in moved) for one, other in others)
        for plane, (slot, (token, start, end, far)) in enumerate(zip((_CARBONYL, _AMIDE), ends, strict=True)):
            reference, *axis, _ = torsion_atoms[token, slot].tolist()
            if axis == [start, end] and len(molecule.neighbours[end]) == 3:
                atoms[here, plane] = reference, start, end, far
                torsion[here, plane] = token * TORSION_SLOTS + slot
                turns[here, plane] = whole
    return {"plane_atoms": atoms, "plane_torsion": torsion, "plane_turns": turns, "starts_chain": starts}


def _chain(
    frames: Sequence[tuple[int, int, int]], links: Int[np.ndarray, "link 4"], link_tokens: Int[np.ndarray, "link 2"]
) -> Int[np.ndarray, "token 6"]:
    """The atoms of the frames on both sides of each link between neighbours along a chain."""
    table = np.full((len(frames), 6), -1)
    for (near_first, first, second, near_second), tokens in zip(links.tolist(), link_tokens.tolist(), strict=True):
        (before, *one), (here, *other) = sorted([(tokens[0], first, near_first), (tokens[1], second, near_second)])
        if here == before + 1 and set(one) <= set(frames[before]) and set(other) <= set(frames[here]):
            (far_before,), (far_here,) = set(frames[before]) - set(one), set(frames[here]) - set(other)
            table[here] = far_before, *one[::-1], *other, far_here
    return table


def _colours(
    links: Int[np.ndarray, "link 4"], link_tokens: Int[np.ndarray, "link 2"], on_frame: Bool[np.ndarray, "atom"]
) -> Int[np.ndarray, "link"]:
    taken: dict[int, set[int]] = {}
    colours = []
    for atoms, (first, second) in zip(links, link_tokens.tolist(), strict=True):
        used = taken.setdefault(first, set()) | taken.setdefault(second, set())
        colour = min(set(range(len(used) + 1)) - used) if on_frame[atoms].all() else -1
        colours.append(colour)
        taken[first].add(colour)
        taken[second].add(colour)
    return np.array(colours, dtype=np.int64)


def _distances(near: dict[int, list[int]], atom: int) -> dict[int, int]:
    """Number of bonds from an atom to each of its residue."""
    distance, edge = {atom: 0}, [atom]
    for here in edge:
        for there in near[here]:
            if there not in distance:
                distance[there] = distance[here] + 1
                edge.append(there)
    return distance


def _inner(tree: _ResidueTree, atom: int) -> int:
    """The neighbour of an atom nearest to the middle of its residue's frame."""
    distance = _distances(tree.near, tree.frame[1])
    if atom == tree.frame[1]:  # the middle atom of a cap
        return next(i for i in tree.frame if i != atom)
    return min(tree.near[atom], key=lambda i: distance[i])
