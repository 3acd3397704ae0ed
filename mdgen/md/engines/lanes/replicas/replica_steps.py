"""Forces and time steps of one block of sixteen replicas, which stays in the processor's cache through all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_forces import BONDED_TERMS, bonded_forces
from mdgen.md.engines.lanes.integration import RECENTRE_EVERY, Dynamics, drift, kick
from mdgen.md.engines.lanes.replicas.constraint_tables import ConstraintTables
from mdgen.md.engines.lanes.replicas.force_tables import ForceTables
from mdgen.md.engines.lanes.replicas.pair_sweeps import born_forces, vacuum_forces
from mdgen.md.engines.lanes.rigid.rigid_bonds import constrain_positions, constrain_velocities
from mdgen.md.engines.lanes.vectors import load_vector, plus, scaled, subtract_from
from mdgen.simd.jit import entry_point, lane_function, part_of_caller, source_digest
from mdgen.simd.lanes import LANES, filled, store
from mdgen.simd.random import fill_normal

ENERGY_TERMS = (*BONDED_TERMS, "nonbonded", "generalized_born")
"""The rows of an energy table, in order."""


class Model(NamedTuple):
    """Tables that do not change during a run."""

    tables: ForceTables
    constraints: ConstraintTables
    dynamics: Dynamics


class WorkSpace(NamedTuple):
    """Arrays that one thread needs beside a block's state; contents do not matter between calls.

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


@part_of_caller
def _block_forces(positions: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    """Forces of one block.

    Args:
        positions: (atom, 3, lane) in nm.
        forces: (atom, 3, lane) in kJ/mol/nm, overwritten.
        tables: `ForceTables`.
        work: `WorkSpace`.
        energies: (term, lane) in kJ/mol, rows as in `ENERGY_TERMS`, which must hold zeros; None where no energy is
            wanted, which compiles it away.
    """
    for atom in range(positions.shape[0]):
        for axis in range(3):
            store(forces, (atom, axis), filled(positions, 0.0))
    bonded_forces(positions, forces, tables.bonded, None, energies)
    if tables.born_atoms.shape[0] > 0:
        born_forces(positions, forces, tables, work.pairs, work.born, energies)
    else:
        vacuum_forces(positions, forces, tables, energies)


@lane_function
def _recentre(positions: Any) -> None:
    atoms = positions.shape[0]
    centre = filled(positions, 0.0), filled(positions, 0.0), filled(positions, 0.0)
    for atom in range(atoms):
        centre = plus(centre, load_vector(positions, atom))
    centre = scaled(centre, 1.0 / atoms)
    for atom in range(atoms):
        subtract_from(positions, atom, centre)


@part_of_caller
def _step(positions: Any, velocities: Any, random: Any, thermal: Any, model: Any, work: Any) -> None:
    tables, constraints, dynamics = model
    _block_forces(positions, work.forces, tables, work, None)
    kick(velocities, work.forces, dynamics)
    constrain_velocities(positions, velocities, constraints)
    if dynamics.numbers[3] > 0.0:
        fill_normal(random, work.noise)
    drift(positions, velocities, work.previous, work.noise, thermal, dynamics)
    constrain_positions(work.previous, positions, velocities, dynamics.numbers[1], constraints)


def _entry_points(digest: str) -> tuple[Callable, Callable]:
    """The two compiled functions that Python calls; see `jit.source_digest`."""

    @entry_point
    def advance_block(block, state, model, work, steps_done, steps, every, frames):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        x, v, random, thermal = (
            state.positions[block],
            state.velocities[block],
            state.random[block],
            state.thermal[block],
        )
        for step in range(1, steps + 1):
            _step(x, v, random, thermal, model, work)
            if (steps_done + step) % RECENTRE_EVERY == 0:
                _recentre(x)
            if step % every == 0:
                frame = step // every - 1
                for lane in range(LANES):
                    for atom in range(x.shape[0]):
                        for axis in range(3):
                            frames[block * LANES + lane, frame, atom, axis] = x[atom, axis, lane]

    @entry_point
    def energy_block(positions, forces, tables, work, energies):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        _block_forces(positions, forces, tables, work, energies)

    return advance_block, energy_block


advance_block, energy_block = _entry_points(source_digest(Path(__file__).parents[1]))
