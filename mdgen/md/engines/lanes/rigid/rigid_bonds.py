"""Rigid bonds, one after the other: SHAKE for positions, RATTLE for velocities.

Every sweep takes one Newton step in the multiplier of each constraint in turn. Over sixteen replicas the number of
sweeps is fixed beforehand from the masses: stopping on convergence would let the worst replica of a block decide for
the others. A replica of its own is swept, cluster by cluster of coupled constraints, until it has converged.

References: Ryckaert, Ciccotti, Berendsen, J. Comput. Phys. 1977, 23, 327; Andersen, J. Comput. Phys. 1983, 52, 24.
"""

from typing import Any

from mdgen.md.engines.lanes.vectors import add_to, dot, load_vector, minus, scaled, subtract_from
from mdgen.simd.jit import lane_function

_TOLERANCE = 1e-10
"""Relative error of a squared length at which a cluster has converged, in double precision."""
_MOST_CLUSTER_SWEEPS = 500


@lane_function
def _position_multiplier(now: Any, before: Any, squared_length: Any, factor: Any, weight: Any) -> Any:
    """Excess of the squared length, and SHAKE's multiplier `factor * excess / (weight * now . before)`.

    `factor / weight` is half the reduced mass; it comes in two parts since the two kernels round it differently.
    """
    excess = dot(now, now) - squared_length
    return excess, excess * factor / (weight * dot(now, before))


@lane_function
def _velocity_multiplier(between: Any, approach: Any, factor: Any, weight: Any) -> Any:
    """Rate of half the squared length, and RATTLE's multiplier `factor * rate / weight`, reduced mass over r^2."""
    rate = dot(between, approach)
    return rate, rate * factor / weight


@lane_function
def _difference(array: Any, i: Any, j: Any) -> Any:
    return minus(load_vector(array, i), load_vector(array, j))


@lane_function
def _push(v: Any, i: Any, j: Any, by_i: Any, by_j: Any) -> None:
    """Subtract `by_i` from the vector of one atom and add `by_j` to that of the other."""
    subtract_from(v, i, by_i)
    add_to(v, j, by_j)


@lane_function
def constrain_velocities(positions: Any, velocities: Any, constraints: Any) -> None:
    """Remove the motion along every rigid bond from the velocities (atom, 3, lane)."""
    for _ in range(constraints.sweeps):
        for k in range(constraints.atoms.shape[0]):
            i, j, number = constraints.atoms[k, 0], constraints.atoms[k, 1], constraints.numbers
            between, approach = _difference(positions, i, j), _difference(velocities, i, j)
            _, impulse = _velocity_multiplier(between, approach, number[k, 3] / number[k, 0], 1.0)
            _push(velocities, i, j, scaled(between, impulse * number[k, 1]), scaled(between, impulse * number[k, 2]))


@lane_function
def constrain_positions(
    previous: Any, positions: Any, velocities: Any, inverse_timestep: Any, constraints: Any
) -> None:
    """Move atoms along the bonds' previous directions until every rigid bond has its length.

    What a position is moved by is given to its velocity too, over the time step.

    Args:
        previous: positions before the step, which fulfil the constraints, (atom, 3, lane).
        positions: positions after the step, corrected.
        velocities: velocities, corrected.
        inverse_timestep: inverse time step, 1/ps.
        constraints: `ConstraintTables`.
    """
    for _ in range(constraints.sweeps):
        for k in range(constraints.atoms.shape[0]):
            i, j, number = constraints.atoms[k, 0], constraints.atoms[k, 1], constraints.numbers
            before, now = _difference(previous, i, j), _difference(positions, i, j)
            _, push = _position_multiplier(now, before, number[k, 0], 0.5 * number[k, 3], 1.0)
            move_i, move_j = scaled(before, push * number[k, 1]), scaled(before, push * number[k, 2])
            _push(positions, i, j, move_i, move_j)
            _push(velocities, i, j, scaled(move_i, inverse_timestep), scaled(move_j, inverse_timestep))


@lane_function
def constrain_cluster_velocities(x: Any, v: Any, tables: Any, timestep: Any) -> None:
    """Remove the motion along rigid bonds from the velocities (atom, 3) of one replica; `tables` is `RigidTables`."""
    for cluster in range(tables.starts.shape[0] - 1):
        for _ in range(_MOST_CLUSTER_SWEEPS):
            worst = 0.0
            for k in range(tables.starts[cluster], tables.starts[cluster + 1]):
                i, j, w_i, w_j = tables.atoms[k, 0], tables.atoms[k, 1], tables.numbers[k, 1], tables.numbers[k, 2]
                between = _difference(x, i, j)
                square = dot(between, between)
                rate, impulse = _velocity_multiplier(between, _difference(v, i, j), 1.0, square * (w_i + w_j))
                _push(v, i, j, scaled(between, impulse * w_i), scaled(between, impulse * w_j))
                worst = max(worst, abs(rate) * timestep / square)
            if not worst > _TOLERANCE:
                break


@lane_function
def constrain_cluster_positions(before: Any, x: Any, v: Any, inverse_timestep: Any, tables: Any) -> None:
    """Move atoms of one replica along the bonds' previous directions until every bond has its length."""
    for cluster in range(tables.starts.shape[0] - 1):
        for _ in range(_MOST_CLUSTER_SWEEPS):
            worst = 0.0
            for k in range(tables.starts[cluster], tables.starts[cluster + 1]):
                i, j, number = tables.atoms[k, 0], tables.atoms[k, 1], tables.numbers
                w_i, w_j, direction = number[k, 1], number[k, 2], _difference(before, i, j)
                excess, push = _position_multiplier(_difference(x, i, j), direction, number[k, 0], 0.5, w_i + w_j)
                along = scaled(direction, push)
                move_i, move_j = scaled(along, w_i), scaled(along, w_j)
                _push(x, i, j, move_i, move_j)
                _push(v, i, j, scaled(move_i, inverse_timestep), scaled(move_j, inverse_timestep))
                worst = max(worst, abs(excess) / number[k, 0])
            if not worst > _TOLERANCE:
                break
