"""A double well in two dimensions: the smallest system with a barrier, and with a known answer."""

from mdgen.errors import MdgenError
from mdgen.interfaces import Cells, Energies, Positions
from mdgen.md.force_field.fingerprint import Fingerprinted
from mdgen.registry import register


@register
class DoubleWell(Fingerprinted):
    """Two wells at `x = -x0` and `x = x0`, harmonic in y and z: `barrier ((x/x0)^2 - 1)^2 + k (y^2 + z^2) / 2`.

    Every particle moves in it by itself.

    Args:
        barrier: height between the wells in kJ/mol.
        x0_nm: distance of the wells from the origin in nm.
        k: stiffness in y and z in kJ/mol/nm^2.
    """

    translation_invariant = False

    def __init__(self, barrier: float = 7.5, x0_nm: float = 0.2, k: float = 500.0) -> None:
        if not x0_nm > 0:
            raise MdgenError(f"x0_nm is {x0_nm}, but must be a positive distance in nm")
        self.barrier, self.x0_nm, self.k = float(barrier), float(x0_nm), float(k)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol; a cell is ignored."""
        x, y, z = positions.unbind(-1)
        wells = self.barrier * ((x / self.x0_nm).square() - 1).square()
        return (wells + 0.5 * self.k * (y.square() + z.square())).sum(-1)
