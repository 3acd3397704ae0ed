"""What every potential shares: forces by differentiation, and sums of potentials."""

from collections.abc import Sequence

import torch

from mdgen.interfaces import Cells, Energies, Positions, Potential
from mdgen.md.force_field.fingerprint import fingerprint
from mdgen.registry import register


def energy_and_forces(
    potential: Potential, positions: Positions, cell: Cells | None = None
) -> tuple[Energies, Positions]:
    """Energies in kJ/mol and forces in kJ/mol/nm of any potential.

    Where `positions` require a gradient, both results can be differentiated again, in the positions and in whatever
    parameters of the potential require a gradient; so a rollout from such positions is differentiable from end to
    end. Otherwise no graph is kept. `differentiable.rollout` does the same in far less memory. A potential with a
    method `attached_energy_and_forces` is asked for its own forces instead, which it can keep differentiable.
    """
    own = getattr(potential, "attached_energy_and_forces", None)
    if own is not None:
        return own(positions, cell)
    keep = positions.requires_grad and torch.is_grad_enabled()
    if isinstance(potential, SumOfPotentials) and not keep:
        found = [energy_and_forces(part, positions.detach(), cell) for part in potential.parts]
        return torch.stack([energy for energy, _ in found]).sum(0), torch.stack([forces for _, forces in found]).sum(0)
    with torch.enable_grad():
        attached = positions if keep else positions.detach().requires_grad_()
        energy = potential.energy(attached, cell)
        (gradient,) = torch.autograd.grad(energy.sum(), attached, create_graph=keep)
    return (energy, -gradient) if keep else (energy.detach(), -gradient)


@register
class SumOfPotentials:
    """Potentials added: a force field with a bias, a network, a restraint.

    Args:
        parts: potentials to add.
    """

    def __init__(self, parts: Sequence[Potential]) -> None:
        self.parts = tuple(parts)

    @property
    def fingerprint(self) -> str:
        """Fingerprints of the parts, in their order."""
        return fingerprint(type(self).__name__, {"parts": [part.fingerprint for part in self.parts]})

    @property
    def translation_invariant(self) -> bool:
        """Whether no part depends on where the centre is."""
        return all(is_translation_invariant(part) for part in self.parts)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "SumOfPotentials":
        """The sum of the same parts on a device and in a precision."""
        return SumOfPotentials([placed_potential(part, device, dtype) for part in self.parts])

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Sum of the parts' energies in kJ/mol."""
        return torch.stack([part.energy(positions, cell) for part in self.parts]).sum(0)


def parts_of(potential: Potential) -> list[Potential]:
    """The terms of a sum of potentials, nested sums included; a potential that is no sum is its own only term."""
    if not isinstance(potential, SumOfPotentials):
        return [potential]
    return [term for part in potential.parts for term in parts_of(part)]


def is_translation_invariant(potential: Potential) -> bool:
    """Whether the energy is declared not to change when all atoms are shifted (attribute `translation_invariant`)."""
    return bool(getattr(potential, "translation_invariant", False))


def placed_potential(potential: Potential, device: torch.device | str, dtype: torch.dtype) -> Potential:
    """The potential on a device and in a precision, by its method `to`; itself where it has none."""
    move = getattr(potential, "to", None)
    return potential if move is None else move(device, dtype)
