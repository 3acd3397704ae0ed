"""Harmonic restraints of distances, positions and torsions: biases to add to any other potential."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.interfaces import Cells, Energies, Positions
from mdgen.md.force_field.fingerprint import Fingerprinted
from mdgen.md.force_field.terms.bonded import bond_energy
from mdgen.registry import register


class _Restraint(Fingerprinted):
    """Atoms, the values that they are held at, and a stiffness."""

    translation_invariant = True

    def __init__(self, atoms: Tensor, target: Tensor, k: float) -> None:
        if len(atoms) != len(target):
            raise MdgenError(f"a restraint of {len(atoms)} sets of atoms has {len(target)} targets; give one each")
        if not 0 <= k < float("inf"):
            raise MdgenError(f"the stiffness of a restraint is {k}, but must be zero or a positive number")
        self.atoms, self.target, self.k = atoms, target, k

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "_Restraint":
        """The same restraint on a device and in a precision."""
        return type(self)(self.atoms.to(device), self.target.to(device, dtype), self.k)


@register
class DistanceRestraints(_Restraint):
    """Holds pairs of atoms near given distances: `k (r - r0)^2`. A periodic cell is ignored.

    Args:
        atoms: indices of the two atoms of each restraint, (restraint, 2).
        length_nm: distances r0 in nm.
        k: stiffness in kJ/mol/nm^2.
    """

    def __init__(
        self,
        atoms: Int[Tensor, "restraint 2"] | Sequence[Sequence[int]],
        length_nm: Float[Tensor, "restraint"] | Sequence[float],
        k: float = 1000.0,
    ) -> None:
        super().__init__(_indices(atoms, 2), _numbers(length_nm), k)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        return bond_energy(positions, self.atoms, self.target, self.target.new_full(self.target.shape, self.k))


@register
class PositionRestraints(_Restraint):
    """Holds atoms near points in space: `k |x - x0|^2`.

    Args:
        atoms: indices of the atoms.
        positions_nm: the points x0 in nm, (restraint, 3).
        k: stiffness in kJ/mol/nm^2.
    """

    translation_invariant = False

    def __init__(
        self,
        atoms: Int[Tensor, "restraint"] | Sequence[int],
        positions_nm: Float[Tensor, "restraint 3"] | Sequence[Sequence[float]],
        k: float = 1000.0,
    ) -> None:
        super().__init__(torch.as_tensor(atoms, dtype=torch.int64), _numbers(positions_nm).reshape(-1, 3), k)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        return self.k * (positions[:, self.atoms] - self.target).square().sum((-1, -2))


@register
class TorsionRestraints(_Restraint):
    """Holds torsions near given angles: `k (1 - cos(phi - phi0))`, periodic and smooth.

    Args:
        atoms: indices of the four atoms of each torsion, (restraint, 4).
        angle_rad: angles phi0 in radians, of IUPAC sign.
        k: height in kJ/mol: a torsion opposite to its angle has the energy 2 k.
    """

    def __init__(
        self,
        atoms: Int[Tensor, "restraint 4"] | Sequence[Sequence[int]],
        angle_rad: Float[Tensor, "restraint"] | Sequence[float],
        k: float = 100.0,
    ) -> None:
        super().__init__(_indices(atoms, 4), _numbers(angle_rad), k)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        return self.k * (1 - torch.cos(dihedral_angles(positions, self.atoms) - self.target)).sum(-1)


def _indices(atoms: Tensor | Sequence[Sequence[int]], width: int) -> Tensor:
    return torch.as_tensor(atoms, dtype=torch.int64).reshape(-1, width)


def _numbers(values: Tensor | Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    return values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
