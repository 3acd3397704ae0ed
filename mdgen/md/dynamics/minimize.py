"""L-BFGS minimisation of every replica at once (Liu and Nocedal, Math. Program. 1989, 45, 503)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Constraints, Potential
from mdgen.md.force_field.forces import SumOfPotentials, energy_and_forces
from mdgen.md.force_field.restraints import DistanceRestraints

_SUFFICIENT_DECREASE = 1e-4
_FIRST_DISPLACEMENT_NM = 1e-3
_LARGEST_DISPLACEMENT_NM = 0.02
_HALVINGS = 12


@dataclass(frozen=True)
class Minimum:
    """Result of a minimisation: positions (nm), energies (kJ/mol), the largest force on an atom (kJ/mol/nm)."""

    positions: Float[Tensor, "replica atom 3"]
    energy: Float[Tensor, "replica"]
    largest_force: Float[Tensor, "replica"]
    converged: Bool[Tensor, "replica"]
    n_iterations: int


def minimize(
    potential: Potential,
    positions: Float[Tensor, "replica atom 3"],
    force_tolerance: float = 10.0,
    max_iterations: int = 1000,
    memory: int = 10,
    cell: Float[Tensor, "replica 3"] | None = None,
) -> Minimum:
    """Minimise every replica until the force on no atom exceeds `force_tolerance`.

    Replicas take their steps together, each with its own curvature pairs and step length, which is halved until the
    energy falls enough; one that has converged is not moved. No atom moves more than 0.02 nm at a time.

    Args:
        potential: energy to minimise.
        positions: start in nm.
        force_tolerance: kJ/mol/nm.
        max_iterations: bound on the steps of all replicas together.
        memory: curvature pairs kept a replica.
        cell: edges of the periodic box in nm, if there is one.

    Raises:
        MdgenError: if the energy or a force is not finite where a replica starts.
    """
    shape = positions.shape
    x = positions.detach().reshape(len(positions), -1)
    evaluate = partial(_evaluate, potential, shape, cell)
    energy, gradient = evaluate(x)
    _require_finite_start(energy, gradient)
    history = _History(memory, x)
    converged = _largest(gradient, shape) <= force_tolerance
    iteration = idle = 0
    while iteration < max_iterations and not bool(converged.all()):
        direction = history.direction(gradient)
        uphill = (direction * gradient).sum(-1, keepdim=True) >= 0
        direction = _capped(torch.where(uphill, -gradient, direction), shape)
        x_new, energy_new, gradient_new, moved = _line_search(evaluate, x, energy, gradient, direction, ~converged)
        history.push(x_new - x, gradient_new - gradient, moved)
        x, energy, gradient = x_new, energy_new, gradient_new
        converged = _largest(gradient, shape) <= force_tolerance
        iteration += 1
        history.forget(~moved & ~converged)
        idle = 0 if bool(moved.any()) else idle + 1
        if idle == 2:
            break  # the gradient itself does not lower the energy: only rounding is left
    return Minimum(x.reshape(shape), energy, _largest(gradient, shape), converged, iteration)


def with_springs(potential: Potential, constraints: Constraints | None, k: float = 2.0e5) -> Potential:
    """A potential with stiff springs in place of constraints, of whose distances force fields know nothing.

    Args:
        potential: what is minimised.
        constraints: distances that may not change; None for none.
        k: stiffness in kJ/mol/nm^2; somewhat stiffer than bonds to hydrogen.
    """
    if constraints is None or not len(constraints.atoms):
        return potential
    return SumOfPotentials([potential, DistanceRestraints(constraints.atoms, constraints.lengths, k)])


class _History:
    """The last curvature pairs of every replica; a pair that would spoil convexity counts for nothing."""

    def __init__(self, memory: int, like: Tensor) -> None:
        self.memory = memory
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scale = like.new_zeros(len(like), 1)

    def push(self, step: Tensor, change: Tensor, moved: Tensor) -> None:
        curvature = (step * change).sum(-1, keepdim=True)
        square = change.square().sum(-1, keepdim=True)
        good = moved[:, None] & (curvature > 1e-10 * square.clamp(min=1e-30))
        inverse = torch.where(good, 1 / torch.where(good, curvature, torch.ones_like(curvature)), 0.0)
        self.pairs = [*self.pairs[-self.memory + 1 :], (step, change, inverse)]
        self.scale = torch.where(good, curvature / square.clamp(min=1e-30), self.scale)

    def forget(self, stuck: Tensor) -> None:
        """Restart from steepest descent where the last direction did not lower the energy."""
        kept = torch.where(stuck, 0.0, 1.0).to(self.scale.dtype)[:, None]
        self.pairs = [(step, change, inverse * kept) for step, change, inverse in self.pairs]
        self.scale = self.scale * kept

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian's estimate times the gradient (two-loop recursion)."""
        q = gradient.clone()
        weights = []
        for step, change, inverse in reversed(self.pairs):
            weight = inverse * (step * q).sum(-1, keepdim=True)
            q = q - weight * change
            weights.append(weight)
        largest = gradient.abs().amax(-1, keepdim=True).clamp(min=1e-30)
        q = q * torch.where(self.scale > 0, self.scale, _FIRST_DISPLACEMENT_NM / largest)
        for (step, change, inverse), weight in zip(self.pairs, reversed(weights), strict=True):
            q = q + step * (weight - inverse * (change * q).sum(-1, keepdim=True))
        return -q


def _line_search(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    energy: Tensor,
    gradient: Tensor,
    direction: Tensor,
    active: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each replica's step until its energy falls enough (Armijo); the last item says which replicas moved."""
    slope = (direction * gradient).sum(-1)
    step = torch.ones_like(energy)
    accepted = ~active
    best_x, best_energy, best_gradient = x, energy, gradient
    for _ in range(_HALVINGS):
        trial = x + step[:, None] * direction
        trial_energy, trial_gradient = evaluate(trial)
        enough = trial_energy <= energy + _SUFFICIENT_DECREASE * step * slope
        new = ~accepted & enough & trial_gradient.isfinite().all(-1)
        best_x = torch.where(new[:, None], trial, best_x)
        best_gradient = torch.where(new[:, None], trial_gradient, best_gradient)
        best_energy = torch.where(new, trial_energy, best_energy)
        accepted = accepted | new
        if bool(accepted.all()):
            break
        step = torch.where(accepted, step, 0.5 * step)
    return best_x, best_energy, best_gradient, accepted & active


def _evaluate(potential: Potential, shape: torch.Size, cell: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
    energy, forces = energy_and_forces(potential, x.reshape(shape), cell)
    return energy, -forces.reshape(len(x), -1)


def _capped(direction: Tensor, shape: torch.Size) -> Tensor:
    """The direction, shortened where an atom would move too far."""
    longest = _largest(direction, shape)[:, None]
    return direction * (_LARGEST_DISPLACEMENT_NM / longest.clamp(min=_LARGEST_DISPLACEMENT_NM))


def _largest(vectors: Tensor, shape: torch.Size) -> Tensor:
    """Length of the longest of each replica's atom vectors."""
    return vectors.reshape(shape).norm(dim=-1).amax(-1)


def _require_finite_start(energy: Tensor, gradient: Tensor) -> None:
    bad = ~(energy.isfinite() & gradient.isfinite().all(-1))
    if bool(bad.any()):
        replica = int(bad.nonzero()[0])
        raise MdgenError(
            f"the energy of replica {replica} is not finite where minimisation starts; "
            "two atoms may lie on the same spot: check the coordinates"
        )
