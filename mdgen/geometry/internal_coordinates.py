"""Internal coordinates: bond lengths, bond angles and dihedrals along a tree of atoms, and back to positions.

Positions are rebuilt with the natural extension reference frame (NeRF; Parsons et al., J. Comput. Chem. 26, 1063
(2005)). All atoms whose references are known are placed at once, so that the number of steps is the depth of the
tree, not its size.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_angles, bond_lengths, dihedral_angles

_TURN = 2 * torch.pi


@dataclass(frozen=True, eq=False)
class ZMatrix:
    """Index tables that define the internal coordinates of N atoms: N-1 lengths, N-2 angles and N-3 dihedrals.

    Row n is `(a, b, c, d)`: atom d is placed at a length from c, an angle b-c-d and a dihedral a-b-c-d. The first row
    has no references, the second only c, the third b and c; these are -1.

    Atoms placed about the same bond b-c rotate together with it. One of them has the primary dihedral; the dihedrals of
    the others are relative to it. Primary dihedrals are in [-pi, pi]. Relative ones are in [0, 2 pi): near 2/3, 1 or
    4/3 pi for tetrahedral and planar groups, far from the cut. Collinear atoms a, b, c are not supported.

    Args:
        rows: table of `(a, b, c, d)`.
        relative_to: row of the primary dihedral that each dihedral is relative to; -1 for a primary dihedral, 2 for the
            atoms next to the first three, where the dihedral of row 2 counts as zero.
    """

    rows: Int[np.ndarray, "atom 4"]
    relative_to: Int[np.ndarray, "dihedral"]

    def __post_init__(self) -> None:
        if len(self.rows) < 3:
            raise MdgenError(f"internal coordinates need at least three atoms; there are {len(self.rows)}")
        if len(self.relative_to) != len(self.rows) - 3:
            raise ValueError("relative_to has one entry for each row from the fourth on")
        placed: set[int] = set()
        for number, row in enumerate(self.rows.tolist()):
            references = row[max(0, 3 - number) : 3]
            if not placed.issuperset(references) or len(set(references)) < len(references):
                raise ValueError(f"row {number} refers to atoms that no earlier row places")
            placed.add(row[3])
        for number, other in enumerate(self.relative_to.tolist(), start=3):
            if other != -1 and other != 2 and not (3 <= other < number and self.relative_to[other - 3] == -1):
                raise ValueError(f"row {number} is relative to row {other}, which has no primary dihedral before it")

    @property
    def bond_atoms(self) -> Int[np.ndarray, "bond 2"]:
        """Atom pair of each bond length."""
        return self.rows[1:, 2:]

    @property
    def dihedral_atoms(self) -> Int[np.ndarray, "dihedral 4"]:
        """Atom quadruple of each dihedral."""
        return self.rows[3:]

    @property
    def is_primary(self) -> Bool[np.ndarray, "dihedral"]:
        """Whether each dihedral is primary; the others are offsets from a primary one."""
        return self.relative_to == -1

    def to_internal(
        self, positions: Float[Tensor, "*batch atom 3"]
    ) -> tuple[Float[Tensor, "*batch bond"], Float[Tensor, "*batch angle"], Float[Tensor, "*batch dihedral"]]:
        """Bond lengths (nm), bond angles and dihedrals (radians) of each frame, differentiable."""
        absolute = dihedral_angles(positions, self.dihedral_atoms)
        relative = torch.as_tensor(~self.is_primary, device=positions.device)
        offsets = torch.remainder(absolute - self._turned(absolute), _TURN)
        # a tiny negative float rounds to a whole turn
        offsets = torch.where(offsets >= _TURN, torch.zeros_like(offsets), offsets)
        dihedrals = torch.where(relative, offsets, absolute)
        return bond_lengths(positions, self.bond_atoms), bond_angles(positions, self.rows[2:, 1:]), dihedrals

    def to_cartesian(
        self,
        bonds: Float[Tensor, "*batch bond"],
        angles: Float[Tensor, "*batch angle"],
        dihedrals: Float[Tensor, "*batch dihedral"],
    ) -> Float[Tensor, "*batch atom 3"]:
        """Positions in nm, in the order of the atoms, differentiable.

        The first atom lies at the origin, the second on the x axis, and the third in the xy plane. Angles need
        not be in the ranges of `to_internal`.
        """
        absolute = dihedrals + self._turned(dihedrals)
        placed = _first_three(bonds[..., :2], angles[..., 0])
        for rows, references in self._levels:
            # bond, angle and dihedral tables begin one, two and three rows down
            length, angle, dihedral = bonds[..., rows - 1], angles[..., rows - 2], absolute[..., rows - 3]
            a, b, c = (placed.index_select(-2, column) for column in references.to(placed.device).unbind(-1))
            placed = torch.cat([placed, _extend(a, b, c, length, angle, dihedral)], dim=-2)
        return placed.index_select(-2, self._place_of_atom.to(placed.device))

    def gradient(
        self, positions: Float[Tensor, "*batch atom 3"], by_position: Float[Tensor, "*batch function atom 3"]
    ) -> tuple[
        Float[Tensor, "*batch function bond"],
        Float[Tensor, "*batch function angle"],
        Float[Tensor, "*batch function dihedral"],
    ]:
        """Gradients of functions of the positions by lengths, angles and dihedrals: those through `to_cartesian`.

        A length shifts all atoms beyond it, an angle or a dihedral turns them: so the sums of the gradients there, and
        of their torques, say it all without a step back for each level of the tree (Abe et al., Comput. Chem. 8, 239
        (1984)). Where the reference a of dihedrals about b-c is no ancestor but another atom s on b, they turn with s:
        with the unit vectors p of b-s and e of b-c, and the sum t of the torques along e, that is a couple
        `t (e - p (p e)) / (1 - (p e)^2)` on s, and its opposite on c.

        Args:
            positions: positions in nm, as `to_cartesian` gives them.
            by_position: gradients of each function by the positions.
        """
        tree, device = self._tree, positions.device
        # Components come first, (3, *batch, function, atom): what is done to vectors is then done to long rows.
        x = positions.movedim(-1, 0).unsqueeze(-2).contiguous()
        force = by_position.movedim(-1, 0).contiguous()
        beyond = tree.beyond.to(force)
        shift, moment = (nn.functional.linear(each, beyond) for each in (force, _cross(x, force)))
        # What is missing in the first three rows is -1, the last atom; what comes of it is left out in the end.
        _, b, c, d = (x[..., column] for column in torch.from_numpy(self.rows).to(device).unbind(-1))
        torque = moment - _cross(c, shift)
        along, axis = _normalised(d - c), _normalised(c - b)
        for rows, side, stem in tree.couplings:
            e, p = axis[..., rows[0]], along[..., side]
            turning = (e[..., None] * torque[..., rows]).sum((0, -1))
            cosine = (p * e).sum(0)
            couple = turning * (e - p * cosine) / (1 - cosine.square())
            turned = beyond[:, self.rows[side, 3]]
            if stem > 0:
                turned = turned - beyond[:, self.rows[stem, 3]]
            torque = torque + couple[..., None] * turned
        normal = _normalised(_cross(along, axis))
        lengths, angles, absolute = ((u * v).sum(0) for u, v in ((along, shift), (normal, torque), (axis, torque)))
        primary = torch.as_tensor(np.maximum(self.relative_to - 2, 0), device=device)
        shared = torch.zeros_like(absolute[..., 2:]).index_add(-1, primary, absolute[..., 3:])[..., 1:]
        return lengths[..., 1:], angles[..., 2:], absolute[..., 3:] + shared

    def _turned(self, dihedrals: Tensor) -> Tensor:
        """Reference of each dihedral: its primary dihedral, or zero."""
        filled = torch.cat([torch.zeros_like(dihedrals[..., :1]), dihedrals], dim=-1)
        place = torch.as_tensor(np.maximum(self.relative_to - 2, 0), device=dihedrals.device)
        return filled.index_select(-1, place)

    @cached_property
    def _tree(self) -> "_Subtrees":
        return _Subtrees.of(self.rows)

    @cached_property
    def _depths(self) -> Int[np.ndarray, "atom"]:
        """Step in which each row is placed."""
        depth: dict[int, int] = {}
        for number, (*references, atom) in enumerate(self.rows.tolist()):
            depth[atom] = 0 if number < 3 else 1 + max(depth[reference] for reference in references)
        return np.array([depth[atom] for atom in self.rows[:, 3].tolist()])

    @cached_property
    def _place_of_atom(self) -> Int[Tensor, "atom"]:
        """Place of each atom in the order of placement, level by level."""
        order = np.argsort(self._depths, kind="stable")
        return torch.from_numpy(np.argsort(self.rows[order, 3], kind="stable"))

    @cached_property
    def _levels(self) -> list[tuple[Int[Tensor, "placed"], Int[Tensor, "placed 3"]]]:
        """Rows of each step, and the indices of their references among the atoms placed before."""
        place = self._place_of_atom.numpy()
        levels = []
        for depth in range(1, int(self._depths.max()) + 1):
            rows = np.flatnonzero(self._depths == depth)
            levels.append((torch.from_numpy(rows), torch.from_numpy(place[self.rows[rows, :3]])))
        return levels


class _Subtrees(NamedTuple):
    """Which atoms lie beyond which: each hangs on the atom from which its length is measured.

    Args:
        beyond: for each row, one in the columns of its own atom and of those beyond it.
        couplings: rows whose dihedrals refer to an atom beside, the row of that atom, and the row of the atom that
            theirs hang on; those that hang on atoms beyond come first.
    """

    beyond: Float[Tensor, "atom atom"]
    couplings: list[tuple[list[int], int, int]]

    @classmethod
    def of(cls, rows: Int[np.ndarray, "atom 4"]) -> "_Subtrees":
        """The tree of the rows of a `ZMatrix`.

        Raises:
            ValueError: if a dihedral refers to an atom that is neither two bonds back nor beside.
        """
        table = rows.tolist()
        number = {row[3]: index for index, row in enumerate(table)}
        beyond = torch.zeros(len(table), len(table))
        for index in reversed(range(len(table))):  # an atom's row comes before those of all beyond it
            *_, c, d = table[index]
            beyond[index, d] = 1.0
            if index > 0:
                beyond[number[c]] += beyond[index]
        first, middle, last = (row[3] for row in table[:3])
        beside: dict[tuple[int, int], list[int]] = {}
        for index, (a, b, c, _) in enumerate(table[3:], start=3):
            # The third atom moves in the plane of the first three alone: nothing turns with it.
            if a != (last if c in (first, middle) else table[number[c]][1]):
                if table[number[a]][2] != b:
                    raise ValueError(f"row {index} refers to an atom that is neither two bonds back nor beside")
                beside.setdefault((number[c], number[a]), []).append(index)
        return cls(beyond, [(found, side, stem) for (stem, side), found in sorted(beside.items(), reverse=True)])


def _cross(u: Float[Tensor, "3 *left"], v: Float[Tensor, "3 *right"]) -> Float[Tensor, "3 *both"]:
    """Cross product of vectors whose components come first; six times faster than `torch.linalg.cross`."""
    return torch.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


def _normalised(u: Float[Tensor, "3 *batch"]) -> Float[Tensor, "3 *batch"]:
    return u / u.square().sum(0).sqrt().clamp_min(1e-12)


def _first_three(bonds: Tensor, angle: Tensor) -> Tensor:
    zero = torch.zeros_like(angle)
    first, second = bonds.unbind(-1)
    x = torch.stack([zero, first, first - second * angle.cos()], dim=-1)
    y = torch.stack([zero, zero, second * angle.sin()], dim=-1)
    return torch.stack([x, y, torch.zeros_like(x)], dim=-1)


def _extend(a: Tensor, b: Tensor, c: Tensor, length: Tensor, angle: Tensor, dihedral: Tensor) -> Tensor:
    """Position of atom d with |cd| = length, angle b-c-d and dihedral a-b-c-d."""
    along = torch.nn.functional.normalize(c - b, dim=-1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, along), dim=-1)
    across = torch.linalg.cross(normal, along)
    sine = angle.sin()
    direction = (
        -angle.cos()[..., None] * along
        + (sine * dihedral.cos())[..., None] * across
        + (sine * dihedral.sin())[..., None] * normal
    )
    return c + length[..., None] * direction
