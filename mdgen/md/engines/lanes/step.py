"""Time steps of one block of sixteen replicas, run to completion while the block sits in the processor's cache.

The scheme is the one of OpenMM's LangevinMiddleIntegrator: kick, drift half, randomise, drift half. Without friction it
is leapfrog. Velocities belong to half a step before the positions.

References: Zhang, Liu, Yan, Tuckerman, Liu, J. Phys. Chem. A 2019, 123, 6056 (LFMiddle).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mdgen.md.engines.lanes.constraints import constrain_positions, constrain_velocities
from mdgen.md.engines.lanes.forces import block_forces
from mdgen.md.engines.lanes.lane_math import lane_function
from mdgen.md.engines.lanes.lanes import LANES, filled, load
from mdgen.md.engines.lanes.random import fill_normal
from mdgen.md.engines.lanes.vectors import load_vector, plus, scaled, store_vector, subtract_from

RECENTRE_EVERY = 1000
"""Steps after which a molecule's centre goes back to the origin: single precision would fade as it diffuses away."""


class WorkSpace(NamedTuple):
    """What one thread needs beside a block's state; contents do not matter between calls.

    Args:
        pairs: number (pair, 4, lane).
        born: number (4, atom, lane).
        forces: number (atom, 3, lane).
        previous: number (atom, 3, lane).
        noise: number (row, lane), an even number of rows, at least three an atom.
    """

    pairs: np.ndarray
    born: np.ndarray
    forces: np.ndarray
    previous: np.ndarray
    noise: np.ndarray


class Dynamics(NamedTuple):
    """The settings of the integrator.

    Args:
        masses: number (atom, 2): inverse mass, and its square root.
        numbers: number (4,): time step in ps, its inverse, the part of a velocity that survives friction over a step,
            and the part of the thermal velocity that replaces the rest.
    """

    masses: np.ndarray
    numbers: np.ndarray


@lane_function
def _recentre(positions: Any) -> None:
    atoms = positions.shape[0]
    centre = filled(positions, 0.0), filled(positions, 0.0), filled(positions, 0.0)
    for atom in range(atoms):
        centre = plus(centre, load_vector(positions, atom))
    centre = scaled(centre, 1.0 / atoms)
    for atom in range(atoms):
        subtract_from(positions, atom, centre)


@lane_function
def _drift(positions: Any, velocities: Any, thermal: Any, dynamics: Any, work: Any) -> None:
    """Half a drift, friction and noise, half a drift; the positions before it go to `work.previous`."""
    half, surviving, random = 0.5 * dynamics.numbers[0], dynamics.numbers[2], dynamics.numbers[3]
    speed = load(thermal, (0,)) * random
    for atom in range(positions.shape[0]):
        thermal_speed = speed * dynamics.masses[atom, 1]
        before = load_vector(positions, atom)
        velocity = load_vector(velocities, atom)
        middle = plus(before, scaled(velocity, half))
        if random > 0.0:
            row = 3 * atom
            deviates = load(work.noise, (row,)), load(work.noise, (row + 1,)), load(work.noise, (row + 2,))
            velocity = plus(scaled(velocity, surviving), scaled(deviates, thermal_speed))
        store_vector(work.previous, atom, before)
        store_vector(positions, atom, plus(middle, scaled(velocity, half)))
        store_vector(velocities, atom, velocity)


@lane_function
def _step(
    positions: Any, velocities: Any, random: Any, thermal: Any, tables: Any, constraints: Any, dynamics: Any, work: Any
) -> None:
    block_forces(positions, work.forces, tables, work, None)
    for atom in range(positions.shape[0]):
        kick = scaled(load_vector(work.forces, atom), dynamics.numbers[0] * dynamics.masses[atom, 0])
        store_vector(velocities, atom, plus(load_vector(velocities, atom), kick))
    constrain_velocities(positions, velocities, constraints)
    if dynamics.numbers[3] > 0.0:
        fill_normal(random, work.noise)
    _drift(positions, velocities, thermal, dynamics, work)
    constrain_positions(work.previous, positions, velocities, dynamics.numbers[1], constraints)


def _source_digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _entry_points(digest: str) -> tuple[Callable, Callable]:
    """The two compiled functions that Python calls.

    Numba's cache looks at the file of the function itself, not at those of the functions that it inlines. A value
    closed over is part of the cache's key, so closing over a digest of all sources makes a change in any of them
    compile anew.
    """

    @njit(error_model="numpy", nogil=True, cache=True)
    def advance_block(  # type: ignore[no-untyped-def]
        block,
        positions,
        velocities,
        random,
        thermal,
        tables,
        constraints,
        dynamics,
        work,
        steps_done,
        steps,
        every,
        frames,
    ):
        digest  # noqa: B018
        x, v = positions[block], velocities[block]
        for step in range(1, steps + 1):
            _step(x, v, random[block], thermal[block], tables, constraints, dynamics, work)
            if (steps_done + step) % RECENTRE_EVERY == 0:
                _recentre(x)
            if step % every == 0:
                frame = step // every - 1
                for lane in range(LANES):
                    for atom in range(x.shape[0]):
                        for axis in range(3):
                            frames[block * LANES + lane, frame, atom, axis] = x[atom, axis, lane]

    @njit(error_model="numpy", nogil=True, cache=True)
    def energy_block(positions, forces, tables, work, energies):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        block_forces(positions, forces, tables, work, energies)

    return advance_block, energy_block


advance_block, energy_block = _entry_points(_source_digest())
