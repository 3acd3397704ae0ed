"""Sub-steps of the integrator, over sixteen replicas or one: kick, drift half, randomise, drift half.

The scheme is that of OpenMM's LangevinMiddleIntegrator; without friction it is leapfrog. Velocities belong to half a
step before the positions. Reference: Zhang, Liu, Yan, Tuckerman, Liu, J. Phys. Chem. A 2019, 123, 6056 (LFMiddle).
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.vectors import add_to, load_vector, plus, scaled, store_vector
from mdgen.simd.jit import lane_function
from mdgen.simd.lanes import load

RECENTRE_EVERY = 1000
"""Steps after which a molecule's centre goes back to the origin: single precision would fade as it diffuses away."""


class Dynamics(NamedTuple):
    """Settings of the integrator.

    Args:
        masses: number (atom, 2): inverse mass, and its square root.
        numbers: number (4,): time step in ps, its inverse, the fraction of a velocity that survives friction over a
            step, and the fraction of the thermal velocity that replaces the rest.
    """

    masses: np.ndarray
    numbers: np.ndarray


def dynamics(masses: np.ndarray, timestep_ps: float, friction_per_ps: float, dtype: type) -> Dynamics:
    """Settings for atoms of `masses` (amu), laid out in `dtype`, numpy's float32 or float64."""
    inverse = 1 / masses
    surviving, random = np.exp(-friction_per_ps * timestep_ps), np.sqrt(-np.expm1(-2 * friction_per_ps * timestep_ps))
    numbers: np.ndarray = np.array([timestep_ps, 1 / timestep_ps, surviving, random], dtype)
    return Dynamics(np.stack([inverse, np.sqrt(inverse)], -1).astype(dtype), numbers)


@lane_function
def kick(velocities: Any, forces: Any, dynamics: Any) -> None:
    """Change the velocities by the forces over a whole step."""
    for atom in range(velocities.shape[0]):
        add_to(velocities, atom, scaled(load_vector(forces, atom), dynamics.numbers[0] * dynamics.masses[atom, 0]))


@lane_function
def drift(x: Any, v: Any, previous: Any, noise: Any, thermal: Any, dynamics: Any) -> None:
    """Half a drift, friction and noise, half a drift.

    Args:
        x: positions in nm, (atom, 3, lane) or (atom, 3).
        v: velocities in nm/ps.
        previous: positions before the drift, written.
        noise: normal deviates, three an atom, (row, lane) or (row,); unused without friction.
        thermal: `sqrt(kT)`, (1, lane) or (1,).
        dynamics: `Dynamics`.
    """
    half, surviving, random = 0.5 * dynamics.numbers[0], dynamics.numbers[2], dynamics.numbers[3]
    speed = load(thermal, (0,)) * random
    for atom in range(x.shape[0]):
        thermal_speed = speed * dynamics.masses[atom, 1]
        before, velocity = load_vector(x, atom), load_vector(v, atom)
        after, middle = velocity, plus(before, scaled(velocity, half))
        if random > 0.0:
            row = 3 * atom
            deviates = load(noise, (row,)), load(noise, (row + 1,)), load(noise, (row + 2,))
            after = plus(scaled(velocity, surviving), scaled(deviates, thermal_speed))
        store_vector(previous, atom, before)
        # One sum in two orders of rounding: each keeps the trajectories of its kernel as they are.
        if x.ndim == 3:
            store_vector(x, atom, plus(middle, scaled(after, half)))
        else:
            store_vector(x, atom, plus(before, scaled(plus(velocity, after), half)))
        store_vector(v, atom, after)
