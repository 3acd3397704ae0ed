"""Roofline of the engine: the operations of all pairs over the peak rate of fused multiply-adds.

Only pairs are counted; bonds, constraints and random numbers come on top, and no code consists of fused multiply-adds
alone, so that the roofline cannot be reached.
"""

import time
from typing import Any

import numpy as np
from jaxtyping import Float
from numba import njit

from mdgen.md.engines.lanes.born_laws import DISTANT
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.lanes import LANES, load, store

OPERATIONS_BORN = 140
"""Operations of a pair with generalised Born: 70 for distance and descreening of either atom by its polynomial, 54 for
pair forces and dE/dB, 16 for the chain rule; a product, sum, comparison or Newton step counts one each."""

OPERATIONS_NECK = 50
"""Further operations of a pair with the neck correction."""

OPERATIONS_NEAR = 110
"""Further operations of a pair so near that its descreening takes the closed form with its logarithm."""

OPERATIONS_CUTOFF = 40
"""Operations of a pair within the cutoff: nearest image, distance, Lennard-Jones and reaction field, forces."""

OPERATIONS_VACUUM = 30
"""Operations of a pair with Lennard-Jones and Coulomb alone."""

_CHAINS = 12
_BURST = 200_000


def pair_operations(
    parameters: ForceFieldParameters, positions: Float[np.ndarray, "atom 3"], cell: Float[np.ndarray, "edge"]
) -> dict[str, int]:
    """Number of pairs and of their operations in one step of one replica at these positions (nm)."""
    upper = np.triu_indices(parameters.n_atoms, 1)
    between = positions[upper[0]] - positions[upper[1]]
    if len(cell):
        between = between - cell * np.round(between / cell)
    distance = np.linalg.norm(between, axis=-1)
    born, cutoff = parameters.born, parameters.cutoff
    if cutoff is not None:
        within = distance < cutoff.distance_nm
        upper, distance = (upper[0][within], upper[1][within]), distance[within]
    if born is None and cutoff is not None:
        return {"pairs": len(distance), "operations": OPERATIONS_CUTOFF * len(distance)}
    if born is None:
        return {"pairs": len(distance), "operations": OPERATIONS_VACUUM * len(distance)}
    reach = (born.scale.abs() * (born.radius - born.offset_nm)).numpy() / np.sqrt(DISTANT)
    near = int((distance < np.maximum(reach[upper[0]], reach[upper[1]])).sum())
    each = OPERATIONS_BORN + (OPERATIONS_NECK if born.neck is not None else 0)
    return {"pairs": len(distance), "operations": each * len(distance) + OPERATIONS_NEAR * near}


@njit(error_model="numpy")
def _burst(numbers, steps):  # type: ignore[no-untyped-def]
    """Twelve independent chains of fused multiply-adds, enough to hide the latency of two units."""
    a, b, c, d = load(numbers, (0,)), load(numbers, (1,)), load(numbers, (2,)), load(numbers, (3,))
    e, f, g, h = load(numbers, (4,)), load(numbers, (5,)), load(numbers, (6,)), load(numbers, (7,))
    i, j, k, m = load(numbers, (8,)), load(numbers, (9,)), load(numbers, (10,)), load(numbers, (11,))
    slope, shift = load(numbers, (12,)), load(numbers, (13,))
    for _ in range(steps):
        a, b, c, d = a * slope + shift, b * slope + shift, c * slope + shift, d * slope + shift
        e, f, g, h = e * slope + shift, f * slope + shift, g * slope + shift, h * slope + shift
        i, j, k, m = i * slope + shift, j * slope + shift, k * slope + shift, m * slope + shift
    store(numbers, (0,), a + b + c + d + e + f + g + h + i + j + k + m)


def measured_peak(bursts: int = 100) -> float:
    """Peak operations per second of one thread in single precision: the best of some bursts of multiply-adds.

    Processor time counts, as it does for the engines: a burst that waits for its core is no slower.
    """
    numbers = np.full((_CHAINS + 2, LANES), 0.5, np.float32)
    _burst(numbers, 1)
    best = 0.0
    for _ in range(bursts):
        begin = time.thread_time()
        _burst(numbers, _BURST)
        best = max(best, 2 * _CHAINS * LANES * _BURST / (time.thread_time() - begin))
    return best


def roofline_row(counted: dict[str, int], peak: float, reached_us: float | None) -> dict[str, Any]:
    """Least possible time of one thread beside the time that it took.

    Args:
        counted: result of `pair_operations`.
        peak: result of `measured_peak`.
        reached_us: processor time in microseconds per step and replica; None if unknown.
    """
    least_us = 1e6 * counted["operations"] / peak
    share = None if reached_us is None else least_us / reached_us
    return {**counted, "floor_us": least_us, "reached_us": reached_us, "share_of_peak": share}
