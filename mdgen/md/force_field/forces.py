"""What every potential shares: forces by differentiation, and sums of potentials."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Potential


@runtime_checkable
class KnowsForces(Protocol):
    """A potential with a quicker way to its forces than differentiation, for when no graph is wanted."""

    def detached_energy_and_forces(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
        """Energies in kJ/mol and forces in kJ/mol/nm, without a graph."""
        ...


@runtime_checkable
class KnowsAttachedForces(Protocol):
    """A potential with its own way to forces that can be differentiated, whatever they are asked for."""

    def attached_energy_and_forces(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
        """Energies in kJ/mol and forces in kJ/mol/nm, with a graph where gradients are enabled."""
        ...


def energy_and_forces(
    potential: Potential,
    positions: Float[Tensor, "replica atom 3"],
    cell: Float[Tensor, "replica 3"] | None = None,
) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
    """Energies in kJ/mol and forces in kJ/mol/nm of any potential.

    Where `positions` require a gradient, both results can be differentiated again, in the positions and in whatever
    parameters of the potential require a gradient; so a rollout from such positions is differentiable from end to
    end. Otherwise no graph is kept. `differentiable.rollout` does the same in far less memory.
    """
    if isinstance(potential, KnowsAttachedForces):
        return potential.attached_energy_and_forces(positions, cell)
    keep = positions.requires_grad and torch.is_grad_enabled()
    if not keep and isinstance(potential, KnowsForces):
        return potential.detached_energy_and_forces(positions, cell)
    return differentiated(potential, positions, cell, keep)


def differentiated(
    potential: Potential, positions: Tensor, cell: Tensor | None, keep: bool = False
) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
    """Energies and minus their gradient; `keep` keeps the graph of both."""
    with torch.enable_grad():
        attached = positions if keep else positions.detach().requires_grad_()
        energy = potential.energy(attached, cell)
        (gradient,) = torch.autograd.grad(energy.sum(), attached, create_graph=keep)
    return (energy, -gradient) if keep else (energy.detach(), -gradient)


class SumOfPotentials:
    """Potentials added: a force field with a bias, a network, a restraint.

    Args:
        parts: what to add.
    """

    def __init__(self, parts: Sequence[Potential]) -> None:
        self.parts = tuple(parts)

    def energy(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> Float[Tensor, "replica"]:
        """Sum of the parts' energies in kJ/mol."""
        return torch.stack([part.energy(positions, cell) for part in self.parts]).sum(0)

    def detached_energy_and_forces(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
        """Sums over the parts, each by its quickest way."""
        found = [energy_and_forces(part, positions.detach(), cell) for part in self.parts]
        return torch.stack([energy for energy, _ in found]).sum(0), torch.stack([forces for _, forces in found]).sum(0)
