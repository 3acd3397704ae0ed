"""Time steps of one replica, from a neighbour list through forces and constraints to the next, without a stop.

The scheme is that of OpenMM's LangevinMiddleIntegrator: kick, drift half, randomise, drift half. Without friction it is
leapfrog. Velocities belong to half a step before the positions.

References: Zhang, Liu, Yan, Tuckerman, Liu, J. Phys. Chem. A 2019, 123, 6056 (LFMiddle).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mdgen.md.engines.lanes.box.bonded import bonded_forces
from mdgen.md.engines.lanes.box.lists import LOST, READY, find, is_stale, place
from mdgen.md.engines.lanes.box.rigid import (
    constrain_bond_positions,
    constrain_bond_velocities,
    constrain_triangle_positions,
    constrain_triangle_velocities,
)
from mdgen.md.engines.lanes.box.sweep import pair_forces
from mdgen.md.engines.lanes.lane_math import lane_function
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.engines.lanes.random import fill_normal

ENERGY_TERMS = ("bonds", "angles", "torsions", "impropers", "lennard_jones", "coulomb")
"""The elements of an energy table, in order."""


class Model(NamedTuple):
    """All that does not change: `PairTables`, `Search`, `BondedTables`, `RigidTables`, and the integrator's numbers.

    Args:
        masses: float64 (atom, 2): inverse mass, and its square root.
        numbers: float64 (3,): time step in ps, the part of a velocity that survives friction over a step, and the part
            of the thermal velocity that replaces the rest.
    """

    pairs: Any
    search: Any
    bonded: Any
    rigid: Any
    masses: np.ndarray
    numbers: np.ndarray


class WorkSpace(NamedTuple):
    """What a thread needs beside a replica's state; contents do not matter between calls.

    Args:
        forces: number (atom, 3).
        before: float64 (atom, 3).
        noise: float32 (row, lane), an even number of rows, at least three numbers an atom.
        terms: number (4, 3, lane).
        triangles: float64 (3, 3, lane).
    """

    forces: np.ndarray
    before: np.ndarray
    noise: np.ndarray
    terms: np.ndarray
    triangles: np.ndarray


@lane_function
def _ready(x: Any, space: Any, near: Any, model: Any) -> Any:
    """See to it that grid and list are those of `x`."""
    if is_stale(x, space, model.search):
        return find(x, space, near, model.pairs, model.search)
    place(x, space)
    return READY


@lane_function
def _forces(x: Any, space: Any, near: Any, model: Any, work: Any, energies: Any) -> None:
    pair_forces(near, space, model.pairs, energies)
    for slot in range(x.shape[0]):
        for axis in range(3):
            work.forces[space.order[slot], axis] = space.forces[slot // LANES, axis, slot % LANES]
    bonded_forces(x, work.forces, model.bonded, work.terms, energies)


@lane_function
def _kick(v: Any, forces: Any, model: Any) -> None:
    for atom in range(v.shape[0]):
        push = model.numbers[0] * model.masses[atom, 0]
        for axis in range(3):
            v[atom, axis] += push * forces[atom, axis]


@lane_function
def _drift(x: Any, v: Any, thermal: Any, model: Any, work: Any) -> None:
    """Half a drift, friction and noise, half a drift; the positions before it go to `work.before`."""
    half, surviving, random = 0.5 * model.numbers[0], model.numbers[1], model.numbers[2]
    noise = work.noise.reshape(-1)
    for atom in range(x.shape[0]):
        thermal_speed = thermal * random * model.masses[atom, 1]
        for axis in range(3):
            before, speed = x[atom, axis], v[atom, axis]
            after = surviving * speed + thermal_speed * noise[3 * atom + axis]
            work.before[atom, axis] = before
            x[atom, axis] = before + half * (speed + after)
            v[atom, axis] = after


@lane_function
def _step(x: Any, v: Any, random: Any, thermal: Any, space: Any, near: Any, model: Any, work: Any) -> None:
    timestep = model.numbers[0]
    _forces(x, space, near, model, work, None)
    _kick(v, work.forces, model)
    constrain_triangle_velocities(x, v, model.rigid, work.triangles)
    constrain_bond_velocities(x, v, model.rigid, timestep)
    if model.numbers[2] > 0.0:
        fill_normal(random, work.noise)
    _drift(x, v, thermal, model, work)
    constrain_triangle_positions(work.before, x, v, 1.0 / timestep, model.rigid, work.triangles)
    constrain_bond_positions(work.before, x, v, 1.0 / timestep, model.rigid)


@lane_function
def _photograph(x: Any, frames: Any, frame: Any) -> None:
    for atom in range(x.shape[0]):
        for axis in range(3):
            frames[frame, atom, axis] = x[atom, axis]


def _source_digest() -> str:
    digest, here = hashlib.sha256(), Path(__file__).parent
    shared = ("lanes", "lane_instructions", "lane_math", "random", "vectors")
    for source in [*sorted(here.glob("*.py")), *(here.parent / f"{name}.py" for name in shared)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _entry_points(digest: str) -> tuple[Callable, Callable]:
    """The two compiled functions that Python calls.

    Numba's cache looks at the file of the function itself, not at those of the functions that it inlines. A value
    closed over is part of the cache's key, so closing over a digest of all sources makes a change in any of them
    compile anew.
    """

    @njit(error_model="numpy", nogil=True, cache=True)
    def advance_replica(x, v, random, thermal, space, near, model, work, done, steps, every, frames):  # type: ignore[no-untyped-def]
        """Go on from step `done` to step `steps`; returns where it had to stop and why."""
        digest  # noqa: B018
        for step in range(done + 1, steps + 1):
            state = _ready(x, space, near, model)
            if state == READY:
                _step(x, v, random, thermal, space, near, model, work)
            elif state != LOST:
                return step - 1, state
            if step % every == 0:
                _photograph(x, frames, step // every - 1)
        return steps, READY

    @njit(error_model="numpy", nogil=True, cache=True)
    def replica_energies(x, space, near, model, work, energies):  # type: ignore[no-untyped-def]
        """Forces to `work.forces` and energies of `ENERGY_TERMS` to `energies`; returns what came of the list."""
        digest  # noqa: B018
        state = _ready(x, space, near, model)
        if state == READY:
            _forces(x, space, near, model, work, energies)
        return state

    return advance_replica, replica_energies


advance_replica, replica_energies = _entry_points(_source_digest())
