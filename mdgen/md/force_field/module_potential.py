"""Any `torch.nn.Module` as a `Potential`: a network, a prior, an expression of one's own."""

from copy import deepcopy

import torch
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Cells, Energies, Positions
from mdgen.md.force_field.fingerprint import fingerprint
from mdgen.registry import register


@register
class ModulePotential:
    """Calls a module on positions and takes what it returns as energies.

    The module gets positions (replica, atom, 3) and returns energies (replica,) or (replica, 1), or a tuple that begins
    with them; forces follow by differentiation.

    Args:
        module: the network; it is used as it is, in the mode (training or evaluation) that it is in.
        length_nm: the module's unit of length in nm; 0.1 for angstrom.
        energy_kJ_per_mol: its unit of energy in kJ/mol; 4.184 for kcal/mol.
        translation_invariant: whether its energy stays the same when all atoms are shifted.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        length_nm: float = 1.0,
        energy_kJ_per_mol: float = 1.0,
        translation_invariant: bool = False,
    ) -> None:
        for name, value in (("length_nm", length_nm), ("energy_kJ_per_mol", energy_kJ_per_mol)):
            if not 0 < value < float("inf"):
                raise MdgenError(f"{name} is {value}, but must be a positive number: the module's unit in ours")
        self.module, self.length_nm, self.energy_kJ_per_mol = module, length_nm, energy_kJ_per_mol
        self.translation_invariant = translation_invariant

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the module's classes, weights, buffers and settings, and of its units."""
        return fingerprint(type(self).__name__, vars(self))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "ModulePotential":
        """The same potential with a copy of the module on a device and in a precision."""
        settings = {name: value for name, value in vars(self).items() if name != "module"}
        return ModulePotential(deepcopy(self.module).to(device, dtype), **settings)

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol; a cell is ignored.

        Raises:
            MdgenError: if the module returns anything else than one energy a replica.
        """
        found = self.module(positions / self.length_nm)
        found = found[0] if isinstance(found, tuple) else found
        if not isinstance(found, Tensor) or tuple(found.shape) not in ((len(positions),), (len(positions), 1)):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise MdgenError(
                f"the external potential {type(self.module).__name__} returned {shape} for {len(positions)} replicas, "
                f"but must return their energies, ({len(positions)},); sum over atoms inside it"
            )
        return self.energy_kJ_per_mol * found.reshape(-1)
