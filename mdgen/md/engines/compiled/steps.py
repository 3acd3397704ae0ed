"""Many time steps by one compiled function: forces, integrator and constraints traced once, noise drawn outside.

The whole step becomes one flat graph of tensor operations, which `torch.compile` fuses into few kernels. On CUDA those
are recorded, several steps at a time, as a graph that is replayed without the host: see `recorded`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, State
from mdgen.md.dynamics.constraints import distance_constraints
from mdgen.md.dynamics.thermostatted import Thermostatted, standard_normal
from mdgen.md.engines.compiled.constraints import UnrolledConstraints
from mdgen.md.engines.compiled.forces import DenseForces
from mdgen.md.engines.compiled.recorded import RecordedSteps
from mdgen.md.force_field.parameters import ForceFieldParameters

logger = logging.getLogger("mdgen")

Step = Callable[..., tuple[Tensor, Tensor]]
"""Positions and velocities `(3, atom, replica)`, noise, kT and perhaps the cell, to positions and velocities."""


class CompiledSteps:
    """The compiled step of one molecule; made at the first move, which takes from seconds to a minute.

    It holds neither state nor random numbers, so that cutting a run into calls changes no bit of it.

    Args:
        parameters: the force field, in the precision and on the device of the states to come.
        integrator: time step and friction; its temperature is given with each move.
        extra: potentials to add; they must be written in torch operations that do not look at values.

    Raises:
        MdgenError: for what a compiled step cannot hold: Ewald sums, large clusters of constraints.
    """

    def __init__(
        self, parameters: ForceFieldParameters, integrator: Thermostatted, extra: Sequence[Potential] = ()
    ) -> None:
        p = parameters
        held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length)
        self._integrator = replace(integrator, constraints=UnrolledConstraints(held) if held.count else None)
        self._forces = DenseForces(p, extra)
        self._masses, self._extra = p.masses, tuple(extra)
        self._step: Step | None = None
        self._recorded: RecordedSteps | None = None

    def advance(
        self, state: State, n_steps: int, kT: Float[Tensor, "replica 1 1"], generator: torch.Generator
    ) -> State:
        """Move on by `n_steps`; the random numbers are those that the integrator itself would draw.

        Raises:
            MdgenError: if the step cannot be traced or compiled.
        """
        x, v = (values.permute(2, 1, 0).contiguous() for values in (state.positions, state.velocities))
        fixed = (kT.contiguous(),) if state.cell is None else (kT.contiguous(), state.cell.contiguous())
        if self._step is None:
            self._step = _compiled(self._traced(x, v, torch.empty_like(state.positions), fixed), x.device)
        if x.device.type == "cuda":
            if self._recorded is None:
                self._recorded = RecordedSteps(self._step, x, v, fixed)
            x, v = self._recorded.advance(x, v, fixed, n_steps, generator)
        else:
            for _ in range(n_steps):
                x, v = self._step(x, v, standard_normal(state.positions, generator), *fixed)
        x, v = x.permute(2, 1, 0).contiguous(), v.permute(2, 1, 0).contiguous()
        return replace(state, positions=x, velocities=v, step=state.step + n_steps)

    def _traced(self, x: Tensor, v: Tensor, noise: Tensor, fixed: tuple[Tensor, ...]) -> torch.fx.GraphModule:
        def step(x: Tensor, v: Tensor, noise: Tensor, kT: Tensor, *cells: Tensor) -> tuple[Tensor, Tensor]:
            cell = cells[0] if cells else None
            moved = self._integrator.moved(
                x.permute(2, 1, 0),
                v.permute(2, 1, 0),
                self._masses,
                lambda at: self._forces(at, cell),
                noise,
                kT,
            )
            positions, velocities = (values.permute(2, 1, 0).contiguous() for values in moved)
            return positions, velocities

        try:
            # With fake tensors, whatever looks at a value fails here rather than being frozen into the graph.
            return make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(x, v, noise, *fixed)
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            if not self._extra:
                raise
            raise MdgenError(
                f"the step cannot be compiled, since an added potential does more than torch operations on whole "
                f"tensors ({_first_line(error)}); use compile=false"
            ) from error


def _compiled(graph: torch.fx.GraphModule, device: torch.device) -> Step:
    """The graph as compiled code; a C++ compiler makes it for processors, Triton for CUDA."""
    logger.info("compile       a step of %d operations for %s", len(graph.graph.nodes), device.type)
    step = torch.compile(graph, fullgraph=True, dynamic=False)
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    try:
        with torch.no_grad():
            step(*(torch.ones(like.shape, dtype=like.dtype, device=device) for like in inputs))
    except RuntimeError as error:
        needed = "Triton, which comes with torch for CUDA" if device.type == "cuda" else "a C++ compiler such as g++"
        raise MdgenError(
            f"torch could not compile the step ({_first_line(error)}); compile=true needs {needed}: install it, or use "
            "compile=false"
        ) from error
    return step


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
