"""Gradients of rollouts: against finite differences, with and without checkpoints, in bounded memory."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.differentiable import rollout
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.md.force_field.module_potential import ModulePotential
from mdgen.md.systems.salt_water import salt_water_box
from tests.md.reference import shaken, strained

STEPS = 3


@cache
def peptide() -> tuple[System, State]:
    """Two strained alanine dipeptides in generalised Born, moving."""
    system = strained("A", constraints="none")
    return system, moving(system, shaken(system))


@cache
def brine() -> tuple[System, State]:
    """A periodic box of twenty flexible waters, Na+ and Cl-, moving."""
    box = salt_water_box(20, 1, 0.9, 0.42, 0.36, torch.Generator().manual_seed(0))
    return box, moving(box, box.positions[None])


def moving(system: System, x: torch.Tensor) -> State:
    return initial_state(system, len(x), torch.tensor([300.0]), torch.Generator().manual_seed(1), x)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def with_numbers(system: System, **changed: object) -> System:
    """The system with other numbers in its force field."""
    return replace(system, potential=ForceField(replace(system.potential.parameters, **changed)))


def rigid(system: System, lengths: torch.Tensor | None = None) -> System:
    """The bonds to hydrogen fixed, at their lengths or at others."""
    held = strained("A", constraints="hbonds").constraints
    lengths = held.lengths if lengths is None else lengths
    return replace(system, constraints=DistanceConstraints(system.masses, held.atoms, lengths, 1e-12))


def ends(system: System, state: State, integrator: Integrator, every: int | None = 2) -> torch.Tensor:
    """Positions, in nm, and velocities, scaled to be about as large, after a rollout."""
    end = rollout(state, system, integrator, STEPS, seeded(), every)
    return torch.cat([end.positions, 0.1 * end.velocities])


def slope_holds(function: Callable[..., torch.Tensor], *values: torch.Tensor, eps: float = 1e-6) -> bool:
    leaves = tuple(value.clone().requires_grad_() for value in values)
    return torch.autograd.gradcheck(function, leaves, eps=eps, rtol=1e-4, atol=1e-7, fast_mode=True)


FORCE_FIELD = ["charges", "sigma", "epsilon", "bond_length", "bond_k", "angle_theta0", "angle_k", "torsion_phase"]
FORCE_FIELD += ["torsion_k", "exception_charge_product", "exception_sigma", "exception_epsilon", "masses"]


@pytest.mark.parametrize("name", FORCE_FIELD)
def test_slopes_in_the_force_field(name: str) -> None:
    system, state = peptide()
    # The slope in epsilon is infinite at 0, where it is taken as 0; the check stays off that point.
    parameters = system.potential.parameters
    parameters = replace(parameters, epsilon=parameters.epsilon.clamp(min=0.01))
    value = getattr(parameters, name)
    # Pairs that are left out have no Lennard-Jones, but a sigma of 1 nm: a trace of epsilon would tear them apart.
    checked = parameters.exception_epsilon > 0 if name.startswith("exception") else torch.ones(len(value)) > 0

    def end(changed: torch.Tensor) -> torch.Tensor:
        put = {name: value.masked_scatter(checked, changed)}
        moved = replace(system, **put) if name == "masses" else system
        return ends(replace(moved, potential=ForceField(replace(parameters, **put))), state, VelocityVerlet(1.0))

    assert slope_holds(end, value[checked], eps=1e-6 * float(value[checked].abs().max()))


@pytest.mark.parametrize("name", ["radius", "scale"])
def test_slopes_in_born_radii(name: str) -> None:
    system, state = peptide()
    born = system.potential.parameters.born
    assert born is not None

    def end(changed: torch.Tensor) -> torch.Tensor:
        return ends(with_numbers(system, born=replace(born, **{name: changed})), state, VelocityVerlet(1.0))

    assert slope_holds(end, getattr(born, name))


@pytest.mark.parametrize("of", [peptide, brine])
@pytest.mark.parametrize("every", [None, 2])
def test_slopes_in_the_start(of: Callable[[], tuple[System, State]], every: int | None) -> None:
    system, state = of()

    def end(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return ends(system, replace(state, positions=x, velocities=v), VelocityVerlet(1.0), every)

    assert slope_holds(end, state.positions, state.velocities, eps=1e-7)


@pytest.mark.parametrize("name", ["charges", "sigma"])
def test_slopes_in_a_periodic_box(name: str) -> None:
    system, state = brine()

    def end(changed: torch.Tensor) -> torch.Tensor:
        return ends(with_numbers(system, **{name: changed}), state, VelocityVerlet(1.0))

    assert slope_holds(end, getattr(system.potential.parameters, name), eps=1e-7)


def test_slopes_through_constraints() -> None:
    system, state = peptide()
    held = rigid(system).constraints
    state = replace(state, positions=held.positions(state.positions, state.positions))

    def end(x: torch.Tensor, v: torch.Tensor, charges: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        start = replace(state, positions=x, velocities=v)
        return ends(rigid(with_numbers(system, charges=charges), length), start, VelocityVerlet(1.0))

    charges = system.potential.parameters.charges
    assert slope_holds(end, state.positions, state.velocities, charges, held.lengths, eps=1e-7)


WALKS = [(VelocityVerlet(1.0), False), (Langevin(1.0, 300.0, 5.0), False), (VelocityVerlet(1.0), True)]
"""Integrators, with constraints or without."""


@pytest.mark.parametrize(("walk", "constrained"), WALKS)
def test_a_rollout_is_what_ordinary_steps_are(walk: Integrator, constrained: bool) -> None:
    system, state = peptide()
    system = rigid(system) if constrained else system
    charges = system.potential.parameters.charges.clone().requires_grad_()
    plain = state
    steps, drawn = seeded(), seeded()
    for _ in range(5):
        plain = walk.step(plain, system, steps)
    end = rollout(state, with_numbers(system, charges=charges), walk, 5, drawn, 2)
    assert torch.equal(end.positions.detach(), plain.positions)
    assert torch.equal(end.velocities.detach(), plain.velocities)
    assert end.step == 5
    assert torch.equal(steps.get_state(), drawn.get_state())


@pytest.mark.parametrize(("walk", "constrained"), WALKS)
def test_checkpoints_change_no_gradient(walk: Integrator, constrained: bool) -> None:
    """And neither does computing forces again: a graph of every step, kept whole, gives the same."""
    system, state = peptide()
    system = rigid(system) if constrained else system
    parameters = system.potential.parameters

    def gradients(every: int | None, whole: bool = False) -> list[torch.Tensor]:
        charges, k = (value.clone().requires_grad_() for value in (parameters.charges, parameters.bond_k))
        start = replace(state, positions=state.positions.clone().requires_grad_())
        changed = with_numbers(system, charges=charges, bond_k=k)
        generator, end = seeded(), start
        if whole:
            for _ in range(7):
                end = walk.step(end, changed, generator)
        else:
            end = rollout(start, changed, walk, 7, generator, every)
        loss = end.positions.square().sum() + end.velocities.square().sum()
        return list(torch.autograd.grad(loss, [start.positions, charges, k]))

    expected = gradients(None, whole=True)
    for every in (None, 1, 3, 7, 100):
        for found, known in zip(gradients(every), expected, strict=True):
            assert float((found - known).norm()) < 1e-10 * float(known.norm())


class LiveBytes(TorchDispatchMode):
    """Counts the memory of tensors made while it is on and still alive, and the most there was."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return found

    def _freed(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.now -= size


def kept_and_most(system: System, n_steps: int, every: int | None = None, whole: bool = False) -> tuple[int, int, int]:
    """Tensors that autograd keeps outside checkpoints; memory after the way there; the most, way back included."""
    integrator, state = VelocityVerlet(1.0), peptide()[1]
    state = replace(state, positions=state.positions.repeat(8, 1, 1), velocities=state.velocities.repeat(8, 1, 1))
    charges = system.potential.parameters.charges.clone().requires_grad_()
    changed, generator, end = with_numbers(system, charges=charges), seeded(), state
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with LiveBytes() as live, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if whole:
            end = replace(state, positions=state.positions.clone().requires_grad_())
            for _ in range(n_steps):
                end = integrator.step(end, changed, generator)
        else:
            end = rollout(state, changed, integrator, n_steps, generator, every)
        loss = end.positions.square().sum()
        gc.collect()
        there = live.now
        loss.backward()
    return len(kept), there, live.most


def test_forces_without_a_graph_bound_memory() -> None:
    system, _ = peptide()
    whole_kept, whole_there, whole_most = kept_and_most(system, 5, whole=True)
    kept, there, most = kept_and_most(system, 5)
    _, twice_there, twice_most = kept_and_most(system, 10)
    assert kept < 0.1 * whole_kept
    assert there < 0.05 * whole_there
    assert most < 0.5 * whole_most  # one graph of forces at a time, rather than that of every step
    assert twice_there < 2 * there
    assert twice_most < 1.1 * most


@pytest.mark.slow
def test_checkpoints_bound_memory() -> None:
    system, n_steps, every = rigid(peptide()[0]), 8, 4
    plain_kept, plain_there, _ = kept_and_most(system, n_steps)
    kept, there, most = kept_and_most(system, n_steps, every)
    twice_kept, twice_there, twice_most = kept_and_most(system, 2 * n_steps, every)
    assert kept < 0.1 * plain_kept
    assert there < 0.2 * plain_there
    # Twice the steps add the starts of as many segments, and nothing inside one.
    assert twice_kept <= 2 * kept
    assert twice_there <= 2 * there
    assert twice_most < 1.1 * most


def test_weights_of_a_network_have_gradients() -> None:
    class Well(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 500 * self.layers(x)[..., 0].sum(-1)

    system, state = peptide()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Well().double()
    system = replace(system, potential=SumOfPotentials([system.potential, ModulePotential(network)]))
    walk, weights = VelocityVerlet(1.0), [weight for weight in network.parameters() if weight.numel() > 1]
    loss = rollout(state, system, walk, 4, seeded(), 2).positions.square().sum()
    found = torch.autograd.grad(loss, weights)
    plain = replace(state, positions=state.positions.clone().requires_grad_())
    for _ in range(4):
        plain = walk.step(plain, system, seeded())
    for mine, known in zip(found, torch.autograd.grad(plain.positions.square().sum(), weights), strict=True):
        assert float(known.norm()) > 0
        assert float((mine - known).norm()) < 1e-10 * float(known.norm())


class _Scaled(torch.autograd.Function):
    """A product that notes when it is differentiated."""

    @staticmethod
    def forward(ctx: Any, scale: torch.Tensor, values: torch.Tensor, passed: list[int]) -> torch.Tensor:
        ctx.values, ctx.passed = values, passed
        return scale * values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        ctx.passed.append(1)
        return gradient @ ctx.values, None, None


def test_gradients_flow_on_to_what_parameters_are_made_of() -> None:
    """Charges that a network or a rule gives are differentiated once for all steps, not once a step."""
    system, state = peptide()
    known = system.potential.parameters.charges
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    passed: list[int] = []
    charges = _Scaled.apply(scale, known, passed)
    end = rollout(state, with_numbers(system, charges=charges), VelocityVerlet(1.0), 6, seeded(), 2)
    (slope,) = torch.autograd.grad(end.positions.square().sum(), scale)
    direct = known.clone().requires_grad_()
    end = rollout(state, with_numbers(system, charges=direct), VelocityVerlet(1.0), 6, seeded())
    (gradient,) = torch.autograd.grad(end.positions.square().sum(), direct)
    assert float(slope) == pytest.approx(float(gradient @ known), rel=1e-10)
    assert len(passed) == 1


class Spring:
    """A spring to the origin whose stiffness may hide."""

    fingerprint = "spring"

    def __init__(self, stiffness: Callable[[], torch.Tensor], **held: torch.Tensor) -> None:
        self._stiffness = stiffness
        vars(self).update(held)

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return self._stiffness() * positions.square().sum((1, 2))


def test_a_gradient_that_would_be_missed_is_refused() -> None:
    system, state = peptide()
    k = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    walk = (VelocityVerlet(1.0), 1, seeded())
    with pytest.raises(MdgenError, match="energy of Spring comes from a tensor of shape"):
        rollout(state, replace(system, potential=Spring(lambda: k)), *walk)
    end = rollout(state, replace(system, potential=Spring(lambda: k, k=k)), *walk)
    assert torch.autograd.grad(end.positions.sum(), k)[0].isfinite()


def test_a_gradient_that_would_count_twice_is_refused() -> None:
    system, state = peptide()
    k = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    twice = 2 * k
    spring = Spring(lambda: k + twice, k=k, twice=twice)
    with pytest.raises(MdgenError, match="count that gradient twice"):
        rollout(state, replace(system, potential=spring), VelocityVerlet(1.0), 1, seeded())
    only_through = Spring(lambda: twice, k=k, twice=twice)
    end = rollout(state, replace(system, potential=only_through), VelocityVerlet(1.0), 1, seeded())
    assert torch.autograd.grad(end.positions.sum(), k)[0].isfinite()


def test_a_force_that_is_the_same_everywhere_has_no_slope() -> None:
    class Gravity:
        fingerprint = "gravity"

        def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
            return 3.0 * positions.sum((1, 2))

    system, state = peptide()
    start = replace(state, positions=state.positions.clone().requires_grad_())
    end = rollout(start, replace(system, potential=Gravity()), VelocityVerlet(1.0), 3, seeded())
    (slope,) = torch.autograd.grad(end.positions.sum(), start.positions)
    torch.testing.assert_close(slope, torch.ones_like(slope))


def test_senseless_segments_are_named() -> None:
    system, state = peptide()
    with pytest.raises(MdgenError, match="checkpoint_every is 0"):
        rollout(state, system, VelocityVerlet(1.0), 1, seeded(), 0)


def test_without_gradients_nothing_is_kept() -> None:
    system, state = peptide()
    charges = system.potential.parameters.charges.clone().requires_grad_()
    with torch.no_grad():
        end = rollout(state, with_numbers(system, charges=charges), VelocityVerlet(1.0), 2, seeded(), 1)
    assert not end.positions.requires_grad
