"""Solvers of the probability flow `dx/dt = velocity(x, t)` from noise (t = 0) to data (t = 1), behind one call.

`integrate` counts evaluations of the velocity, which are what sampling costs. Orders: Euler 1, Heun, midpoint and
Adams-Bashforth 2 (the last with one evaluation a step), Dormand-Prince 5 with an adaptive step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError

Value = Float[Tensor, "*shape"]
Velocity = Callable[[Value, float], Value]
"""The velocity at a value and a flow time."""


@dataclass(frozen=True)
class Solution:
    """Where a flow ends, and how often its velocity was evaluated."""

    value: Value
    n_evaluations: int


def integrate(
    velocity: Velocity, start: Value, solver: str = "midpoint", n_evaluations: int = 10, time_warp: float = 1.0
) -> Solution:
    """Follow the flow from t = 0 to t = 1.

    Args:
        velocity: velocity of the flow.
        start: value at t = 0.
        solver: one of `SOLVERS`, or `dormand_prince`.
        n_evaluations: evaluations of the velocity; solvers with two a step take half as many steps. The adaptive one
            takes what its tolerance asks for instead.
        time_warp: exponent w of the times `1 - (1 - i/n)^w` between steps; above 1 steps get shorter towards the data.

    Raises:
        MdgenError: for an unknown solver, or fewer evaluations than one step takes.
    """
    counted = _Counted(velocity)
    if solver == "dormand_prince":
        return Solution(dormand_prince(counted, start), counted.n)
    if solver not in SOLVERS:
        raise MdgenError(f"solver {solver!r} is not known; choose one of {', '.join([*SOLVERS, 'dormand_prince'])}")
    a_step = 2 if solver in ("heun", "midpoint") else 1
    if n_evaluations < a_step:
        raise MdgenError(f"{n_evaluations} evaluations make no step; {solver} takes {a_step} for each")
    return Solution(SOLVERS[solver](counted, start, flow_times(n_evaluations // a_step, time_warp)), counted.n)


def flow_times(n_steps: int, time_warp: float = 1.0) -> list[float]:
    """The `n_steps + 1` times from 0 to 1 between which steps go, as `integrate` explains them.

    >>> flow_times(2, 2.0)
    [0.0, 0.75, 1.0]
    """
    return [1.0 - (1.0 - step / n_steps) ** time_warp for step in range(n_steps + 1)]


@runtime_checkable
class Solver(Protocol):
    """A method with fixed steps."""

    def __call__(self, velocity: Velocity, start: Value, times: list[float]) -> Value:
        """The value at the last of the times, from that at the first."""
        ...


def euler(velocity: Velocity, start: Value, times: list[float]) -> Value:
    """Straight steps; order 1."""
    value = start
    for now, later in pairwise(times):
        value = torch.add(value, velocity(value, now), alpha=later - now)
    return value


def heun(velocity: Velocity, start: Value, times: list[float]) -> Value:
    """The mean of the velocities at both ends of a step; order 2."""
    value = start
    for now, later in pairwise(times):
        step = later - now
        first = velocity(value, now)
        second = velocity(torch.add(value, first, alpha=step), later)
        value = torch.add(value, first + second, alpha=0.5 * step)
    return value


def midpoint(velocity: Velocity, start: Value, times: list[float]) -> Value:
    """The velocity in the middle of a step; order 2."""
    value = start
    for now, later in pairwise(times):
        step = later - now
        halfway = torch.add(value, velocity(value, now), alpha=0.5 * step)
        value = torch.add(value, velocity(halfway, now + 0.5 * step), alpha=step)
    return value


def adams_bashforth(velocity: Velocity, start: Value, times: list[float]) -> Value:
    """The velocity extrapolated over a step from this point and the one before; order 2, one evaluation a step."""
    value, before, step_before = start, None, 1.0
    for now, later in pairwise(times):
        step = later - now
        here = velocity(value, now)
        mean = here if before is None else torch.lerp(before, here, 1 + 0.5 * step / step_before)
        value = torch.add(value, mean, alpha=step)
        before, step_before = here, step
    return value


SOLVERS: Mapping[str, Solver] = {
    "euler": euler,
    "heun": heun,
    "midpoint": midpoint,
    "adams_bashforth": adams_bashforth,
}
"""Solvers with fixed steps, by the names that configs give them."""

_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Fifth-order weights less fourth-order ones. Source: Dormand and Prince, J. Comput. Appl. Math. 6, 19 (1980)."""


def dormand_prince(
    velocity: Velocity,
    start: Value,
    relative_tolerance: float = 1e-4,
    absolute_tolerance: float = 1e-4,
    first_step: float = 0.05,
) -> Value:
    """Steps as long as the tolerance allows, by the root mean square of the error of one step; order 5."""
    value, now, step = start, 0.0, first_step
    first = velocity(value, now)
    while now < 1.0:
        step = min(step, 1.0 - now)
        slopes = [first]
        for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
            point = value + step * _weighted(slopes, weights)
            slopes.append(velocity(point, now + node * step))
        scale = absolute_tolerance + relative_tolerance * torch.maximum(value.abs(), point.abs())
        error = float((step * _weighted(slopes, _ERROR) / scale).square().mean().sqrt())
        if error <= 1.0:
            now, value, first = (1.0 if now + step >= 1.0 else now + step), point, slopes[-1]
        step *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        if step < 1e-7 or error != error:
            raise MdgenError(
                f"the flow cannot be solved to its tolerance at flow time {now:.4f}; train the network longer, or use "
                "a solver with fixed steps"
            )
    return value


def _weighted(slopes: list[Value], weights: tuple[float, ...]) -> Value:
    total = torch.zeros_like(slopes[0])
    for slope, weight in zip(slopes, weights, strict=True):
        total = torch.add(total, slope, alpha=weight)
    return total


class _Counted:
    def __init__(self, velocity: Velocity) -> None:
        self.velocity, self.n = velocity, 0

    def __call__(self, value: Value, time: float) -> Value:
        self.n += 1
        return self.velocity(value, time)
