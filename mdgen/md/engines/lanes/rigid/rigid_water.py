"""Rigid triangles, such as water, sixteen at a time in double precision: positions and velocities.

The three multipliers of a triangle solve a small linear system exactly, so Newton's iteration converges quadratically
(M-SHAKE: Krautler et al., J. Comput. Chem. 2001, 22, 501). Constraints outside triangles are in `rigid_bonds`.
"""

from typing import Any

from mdgen.md.engines.lanes.vectors import dot, load_vector, minus, plus, scaled, store_vector
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import absolute, bits_less, maximum
from mdgen.simd.lanes import LANES, load

_TOLERANCE = 1e-10
"""Relative error of a squared length that may be left; Newton's last step leaves far less."""
_MOST_STEPS = 20


@lane_function
def _gathered(array: Any, atoms: Any, group: Any, work: Any) -> Any:
    """The three corners of sixteen triangles."""
    for corner in range(3):
        for lane in range(LANES):
            atom = atoms[group, corner, lane]
            for axis in range(3):
                work[corner, axis, lane] = array[atom, axis]
    return load_vector(work, 0), load_vector(work, 1), load_vector(work, 2)


@lane_function
def _scattered(array: Any, atoms: Any, group: Any, work: Any, corners: Any, count: Any) -> None:
    """Write corners back, those of filled-up lanes left out."""
    store_vector(work, 0, corners[0])
    store_vector(work, 1, corners[1])
    store_vector(work, 2, corners[2])
    for corner in range(3):
        for lane in range(min(LANES, count - group * LANES)):
            atom = atoms[group, corner, lane]
            for axis in range(3):
                array[atom, axis] = work[corner, axis, lane]


@lane_function
def _sides(corners: Any) -> Any:
    return minus(corners[0], corners[1]), minus(corners[1], corners[2]), minus(corners[2], corners[0])


@lane_function
def _solved(now: Any, then: Any, w: Any, right: Any) -> Any:
    """Multipliers along the sides `then` that change the products of the sides `now` with their own rates by `right`.

    The change of side a is `(w_i + w_j) l_a then_a`, less `w` of the shared corner times its neighbours' terms.
    """
    a00, a01, a02 = (w[0] + w[1]) * dot(now[0], then[0]), -w[1] * dot(now[0], then[1]), -w[0] * dot(now[0], then[2])
    a10, a11, a12 = -w[1] * dot(now[1], then[0]), (w[1] + w[2]) * dot(now[1], then[1]), -w[2] * dot(now[1], then[2])
    a20, a21, a22 = -w[0] * dot(now[2], then[0]), -w[2] * dot(now[2], then[1]), (w[2] + w[0]) * dot(now[2], then[2])
    c00, c01, c02 = a11 * a22 - a12 * a21, a12 * a20 - a10 * a22, a10 * a21 - a11 * a20
    inverse = 1.0 / (a00 * c00 + a01 * c01 + a02 * c02)
    x = (c00 * right[0] + (a02 * a21 - a01 * a22) * right[1] + (a01 * a12 - a02 * a11) * right[2]) * inverse
    y = (c01 * right[0] + (a00 * a22 - a02 * a20) * right[1] + (a02 * a10 - a00 * a12) * right[2]) * inverse
    z = (c02 * right[0] + (a01 * a20 - a00 * a21) * right[1] + (a00 * a11 - a01 * a10) * right[2]) * inverse
    return x, y, z


@lane_function
def _pushed(corners: Any, then: Any, w: Any, by: Any) -> Any:
    """Corners moved by multipliers along the sides `then`."""
    on_0, on_1, on_2 = scaled(then[0], by[0]), scaled(then[1], by[1]), scaled(then[2], by[2])
    return (
        plus(corners[0], scaled(minus(on_0, on_2), w[0])),
        plus(corners[1], scaled(minus(on_1, on_0), w[1])),
        plus(corners[2], scaled(minus(on_2, on_1), w[2])),
    )


@lane_function
def constrain_triangle_velocities(x: Any, v: Any, tables: Any, work: Any) -> None:
    """Remove the stretching of sides from the velocities (atom, 3); `work` is float64 (3, 3, lane)."""
    for group in range(tables.triangle_atoms.shape[0]):
        w = load(tables.triangles, (group, 3)), load(tables.triangles, (group, 4)), load(tables.triangles, (group, 5))
        sides = _sides(_gathered(x, tables.triangle_atoms, group, work))
        speeds = _gathered(v, tables.triangle_atoms, group, work)
        rates = _sides(speeds)
        right = -dot(sides[0], rates[0]), -dot(sides[1], rates[1]), -dot(sides[2], rates[2])
        speeds = _pushed(speeds, sides, w, _solved(sides, sides, w, right))
        _scattered(v, tables.triangle_atoms, group, work, speeds, tables.triangle_count)


@lane_function
def constrain_triangle_positions(before: Any, x: Any, v: Any, inverse_timestep: Any, tables: Any, work: Any) -> None:
    """Move corners along the sides before the step until every side has its length; velocities follow.

    Converged lanes are iterated together with the others, by corrections of the size of rounding.
    """
    for group in range(tables.triangle_atoms.shape[0]):
        numbers = tables.triangles
        length = load(numbers, (group, 0)), load(numbers, (group, 1)), load(numbers, (group, 2))
        w = load(numbers, (group, 3)), load(numbers, (group, 4)), load(numbers, (group, 5))
        then = _sides(_gathered(before, tables.triangle_atoms, group, work))
        trial = _gathered(x, tables.triangle_atoms, group, work)
        corners = trial
        for _ in range(_MOST_STEPS):
            now = _sides(corners)
            excess = dot(now[0], now[0]) - length[0], dot(now[1], now[1]) - length[1], dot(now[2], now[2]) - length[2]
            right = -0.5 * excess[0], -0.5 * excess[1], -0.5 * excess[2]
            corners = _pushed(corners, then, w, _solved(now, then, w, right))
            error = maximum(maximum(absolute(excess[0]), absolute(excess[1])), absolute(excess[2]))
            # Newton's step squares the error: what is small before it is gone after it.
            if not bits_less(length[0] * _TOLERANCE**0.5 * 0.1, error):
                break
        moved = minus(corners[0], trial[0]), minus(corners[1], trial[1]), minus(corners[2], trial[2])
        _scattered(x, tables.triangle_atoms, group, work, corners, tables.triangle_count)
        speeds = _gathered(v, tables.triangle_atoms, group, work)
        speeds = (
            plus(speeds[0], scaled(moved[0], inverse_timestep)),
            plus(speeds[1], scaled(moved[1], inverse_timestep)),
            plus(speeds[2], scaled(moved[2], inverse_timestep)),
        )
        _scattered(v, tables.triangle_atoms, group, work, speeds, tables.triangle_count)
