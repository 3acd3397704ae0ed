"""Rollouts that can be differentiated: from the state they end in back to where they began and to every parameter.

Reverse-mode differentiation needs what a step computed, and that is mostly pairs of atoms. Two things bound the memory:

- Forces keep no graph. They are computed by the fastest method there is, only the positions are kept, and the backward
  pass computes the energy again with the graph it needs. A step thus keeps a few arrays of the size of the positions.
- Steps are checkpointed in segments (Chen et al., arXiv:1604.06174): of a segment only its first state is kept, and the
  backward pass repeats it. Segments of about the square root of the number of steps need the least memory. They pay in
  long rollouts, and soonest with constraints, whose iterations keep most of what is left to keep.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from mdgen.errors import MdgenError
from mdgen.interfaces import Cells, Energies, Integrator, Positions, Potential, State, System
from mdgen.md.force_field.forces import energy_and_forces

_Edge = tuple[Node, int]


def rollout(
    state: State,
    system: System,
    integrator: Integrator,
    n_steps: int,
    generator: torch.Generator,
    checkpoint_every: int | None = None,
) -> State:
    """Make `n_steps` steps; the state at the end can be differentiated once in all that it depends on.

    Gradients reach the positions and velocities of `state`, every tensor that the system's potential holds and that
    requires a gradient (charges, Lennard-Jones, bonds, angles, torsions, Born radii, weights of a network), its masses,
    and the lengths of its constraints. Through constraints they are as exact as the constraints' tolerance: use 1e-12
    in double precision. Hooks on tensors that the potential holds run at every step of the backward pass.

    Args:
        state: start; its cell is taken as fixed.
        system: masses, potential and constraints; lists of neighbours may be searched again within the rollout.
        integrator: time step and temperature.
        n_steps: number of steps.
        generator: source of randomness; it is left as after `n_steps` ordinary steps, and the backward pass draws the
            same numbers again.
        checkpoint_every: steps of a segment; None keeps every step.

    Raises:
        MdgenError: if the energy comes from a tensor that requires a gradient and cannot be found in the potential, so
            that its gradient would be missed, or if `checkpoint_every` is not positive.
    """
    if checkpoint_every is not None and checkpoint_every < 1:
        raise MdgenError(f"checkpoint_every is {checkpoint_every}, but must be a number of steps, or None for none")
    inputs = differentiable_inputs(system.potential, state)
    every = checkpoint_every or max(n_steps, 1)
    for begin in range(0, n_steps, every):
        walk = _Segment(integrator, system, inputs, min(every, n_steps - begin), generator)
        if checkpoint_every is None:
            state = walk(state)
        else:
            state = checkpoint(walk, state, use_reentrant=False, preserve_rng_state=False)
        generator.set_state(walk.after)
    return state


class _Segment:
    """Some steps, the same however often they are repeated; `after` is the state that they leave a generator in."""

    def __init__(
        self,
        integrator: Integrator,
        system: System,
        inputs: tuple[Tensor, ...],
        n_steps: int,
        generator: torch.Generator,
    ) -> None:
        self._integrator, self._system, self._inputs, self._n_steps = integrator, system, inputs, n_steps
        self._device, self._before = generator.device, generator.get_state()
        self.after = self._before

    def __call__(self, state: State) -> State:
        generator = torch.Generator(device=self._device)
        generator.set_state(self._before)
        system = replace(self._system, potential=GraphlessForces(self._system.potential, self._inputs))
        for _ in range(self._n_steps):
            state = self._integrator.step(state, system, generator)
        self.after = generator.get_state()
        return state


class GraphlessForces:
    """A potential whose forces can be differentiated but keep positions only: the backward pass computes them again.

    The forces of one and the same tensor of positions are not computed twice running, as an integrator asks for them at
    the end of a step and at the beginning of the next.

    Args:
        potential: the energy.
        inputs: its tensors that gradients shall reach, `differentiable_inputs`.
    """

    def __init__(self, potential: Potential, inputs: tuple[Tensor, ...]) -> None:
        self._potential, self._inputs = potential, inputs
        self._last: tuple[Tensor, int, tuple[Tensor, Tensor]] | None = None

    @property
    def fingerprint(self) -> str:
        """That of the potential."""
        return self._potential.fingerprint

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """The potential's energy in kJ/mol, with its graph."""
        return self._potential.energy(positions, cell)

    def attached_energy_and_forces(self, positions: Positions, cell: Cells | None = None) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm, both differentiable once."""
        last = self._last
        if last is not None and last[0] is positions and last[1] == positions._version:
            return last[2]
        found = _Forces.apply(self._potential, cell, positions, *self._inputs)
        self._last = (positions, positions._version, found)
        return found


class _Forces(torch.autograd.Function):
    """Energy and forces; what backward needs is computed there."""

    @staticmethod
    def forward(
        ctx: Any, potential: Potential, cell: Tensor | None, positions: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.potential, ctx.cell = potential, cell
        ctx.save_for_backward(positions, *inputs)
        ctx.set_materialize_grads(False)
        with _kept_as_they_are():
            return energy_and_forces(potential, positions.detach(), cell)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_energy: Tensor | None, of_forces: Tensor | None) -> tuple[Tensor | None, ...]:
        positions, *inputs = ctx.saved_tensors
        gradients: list[Tensor | None] = [None] * (1 + len(inputs))
        if of_energy is None and of_forces is None:
            return None, None, *gradients
        with torch.enable_grad(), _kept_as_they_are():
            at = positions.detach().requires_grad_()
            energy = ctx.potential.energy(at, ctx.cell)
            total = energy.new_zeros(())
            if of_energy is not None:
                total = total + (of_energy * energy).sum()
            if of_forces is not None:
                (slope,) = torch.autograd.grad(energy.sum(), at, create_graph=True)
                total = total - (of_forces * slope).sum()
            if not total.requires_grad:  # a force that is the same everywhere
                return None, None, *gradients
            wanted = [at, *inputs]
            needed = [i for i, needs in enumerate(ctx.needs_input_grad[2:]) if needs]
            found = torch.autograd.grad(total, [wanted[i] for i in needed], allow_unused=True)
        for i, gradient in zip(needed, found, strict=True):
            gradients[i] = gradient
        return None, None, *gradients


def _kept_as_they_are() -> saved_tensors_hooks:
    # Inside a checkpoint tensors that are saved are dropped; those of a graph that is used at once must not be.
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def differentiable_inputs(potential: Potential, state: State) -> tuple[Tensor, ...]:
    """The tensors held by a potential that require a gradient and that its energy comes from.

    They are sought in its attributes, in theirs, and in containers and networks among them. The graph of the energy at
    `state` then shows which of them enter, and whether any other does.

    Raises:
        MdgenError: if the energy comes from a tensor that was not found, or if it comes from one both directly and
            through another that is held as well.
    """
    if not torch.is_grad_enabled():
        return ()
    held: dict[_Edge, Tensor] = {}
    for tensor in _held(potential, set()):
        made_by = get_gradient_edge(tensor)
        held.setdefault((made_by.node, made_by.output_nr), tensor)
    energy = potential.energy(state.positions.detach(), state.cell)
    if energy.grad_fn is None:
        return ()
    reached = _reached([(energy.grad_fn, 0)], lambda edge: edge in held)
    entering = {edge: tensor for edge, tensor in held.items() if edge in reached}
    name = type(potential).__name__
    for node, number in reached:
        if (node, number) not in held and hasattr(node, "variable"):
            raise MdgenError(
                f"the energy of {name} comes from a tensor of shape {tuple(node.variable.shape)} that requires a "
                "gradient and is no attribute of it, so a rollout would miss that gradient; keep it as an attribute"
            )
    for edge in entering:
        below = _reached(_following(edge), lambda _: False)
        if any(other in below for other in entering):
            raise MdgenError(
                f"{name} holds a tensor of shape {tuple(entering[edge].shape)} and another that it was made from, and "
                "its energy comes from both, so a rollout would count that gradient twice; compute one inside `energy`"
            )
    return tuple(entering.values())


def _reached(start: list[_Edge], ends: Callable[[_Edge], bool]) -> set[_Edge]:
    """Every edge of a graph that is reached from `start` without passing beyond one that `ends`."""
    reached, waiting = set(start), list(start)
    while waiting:
        edge = waiting.pop()
        if ends(edge):
            continue
        new = [each for each in _following(edge) if each not in reached]
        reached.update(new)
        waiting.extend(new)
    return reached


def _following(edge: _Edge) -> list[_Edge]:
    return [(node, number) for node, number in edge[0].next_functions if node is not None]


def _held(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Tensors that require a gradient among the attributes and members of anything."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if value.requires_grad:
            yield value
        return
    if isinstance(value, dict):
        members = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        members = list(value)
    else:
        members = list(getattr(value, "__dict__", {}).values())
    for member in members:
        yield from _held(member, seen)
