"""Harmonic distance restraints as a `Potential`: soft stand-ins for constraints while minimising."""

from jaxtyping import Float, Int
from torch import Tensor

from mdgen.md.force_field.terms.bonds import bond_energy


class DistanceRestraints:
    """Holds pairs of atoms near given distances with `k (r - r0)^2`.

    Args:
        atoms: pairs.
        length: distances in nm.
        k: stiffness in kJ/mol/nm^2.
    """

    def __init__(self, atoms: Int[Tensor, "restraint 2"], length: Float[Tensor, "restraint"], k: float = 2.0e5) -> None:
        self.atoms, self.length, self.k = atoms, length, k

    def energy(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> Float[Tensor, "replica"]:
        """Energy in kJ/mol; a cell plays no part."""
        return bond_energy(positions, self.atoms, self.length, self.length.new_full(self.length.shape, self.k))
