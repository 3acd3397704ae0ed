"""Forces and time steps of one replica of a molecule, in one call or, for threads to share, phase by phase."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mdgen.md.engines.lanes.bonded_forces import BONDED_TERMS
from mdgen.md.engines.lanes.integration import RECENTRE_EVERY
from mdgen.md.engines.lanes.molecule.all_pairs import (
    PairSpace,
    descreening_part,
    pair_part,
    radii_part,
    response_part,
)
from mdgen.md.engines.lanes.rigid.whole_step import StepSpace, StepTables, move, term_forces, write_frame
from mdgen.simd.jit import entry_point, lane_function, part_of_caller, source_digest
from mdgen.simd.lanes import LANES

ENERGY_TERMS = (*BONDED_TERMS, "nonbonded", "generalized_born")
"""The elements of an energy table, in order."""


class Model(NamedTuple):
    """Tables that do not change during a run: of pairs, and of the rest of a step."""

    pairs: Any
    step: StepTables


class WorkSpace(NamedTuple):
    """Arrays that a replica needs beside its state: for all pairs, and for the rest of a step."""

    pairs: PairSpace
    step: StepSpace


@lane_function
def _place(x: Any, coordinates: Any) -> None:
    for atom in range(x.shape[0]):
        for axis in range(3):
            coordinates[atom // LANES, axis, atom % LANES] = x[atom, axis]


@part_of_caller
def _gather(x: Any, model: Any, work: Any, energies: Any) -> None:
    """Forces of the pairs of all parts, and those of all other terms, to `work.step.forces`."""
    of_parts = work.pairs.forces
    for atom in range(x.shape[0]):
        block, lane = atom // LANES, atom % LANES
        for axis in range(3):
            total = of_parts[0, block, axis, lane]
            for part in range(1, of_parts.shape[0]):
                total += of_parts[part, block, axis, lane]
            work.step.forces[atom, axis] = total
    term_forces(x, model.step, work.step, energies, (5, 5))


@part_of_caller
def _forces(x: Any, model: Any, work: Any, energies: Any) -> None:
    tables, space = model.pairs, work.pairs
    solvated, parts = tables.born_atoms.shape[0] > 0, space.forces.shape[0]
    _place(x, space.coordinates)
    if solvated:
        for part in range(parts):
            descreening_part(part, tables, space, tables.cutoff)
        for part in range(parts):
            radii_part(part, tables, space, energies)
    for part in range(parts):
        pair_part(part, tables, space, energies, tables.cutoff)
    if solvated:
        for part in range(parts):
            response_part(part, tables, space, tables.cutoff)
    _gather(x, model, work, energies)


@lane_function
def _recentre(x: Any) -> None:
    for axis in range(3):
        total = 0.0
        for atom in range(x.shape[0]):
            total += x[atom, axis]
        for atom in range(x.shape[0]):
            x[atom, axis] -= total / x.shape[0]


@part_of_caller
def _finish(
    step: Any, every: Any, replica: Any, motion: Any, model: Any, work: Any, steps_done: Any, frames: Any
) -> None:
    """Move the atoms by `work.step.forces`, and write the frame of a step, counted within a run, that has one."""
    x, v, random = motion.positions[replica], motion.velocities[replica], motion.random[replica]
    move(x, v, random, motion.thermal[replica], model.step, work.step)
    if (steps_done + step) % RECENTRE_EVERY == 0:
        _recentre(x)
    write_frame(step, every, x, frames)


def _entry_points(digest: str) -> tuple[Callable, ...]:
    """The compiled functions that Python calls; see `jit.source_digest`."""

    @entry_point
    def advance_molecule(replica, motion, model, work, steps_done, steps, every, frames):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        for step in range(1, steps + 1):
            _forces(motion.positions[replica], model, work, None)
            _finish(step, every, replica, motion, model, work, steps_done, frames)

    @entry_point
    def molecule_energies(x, model, work, energies):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        _forces(x, model, work, energies)

    @entry_point
    def place_phase(x, coordinates):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        _place(x, coordinates)

    @entry_point
    def descreening_phase(part, tables, space):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        descreening_part(part, tables, space, tables.cutoff)

    @entry_point
    def pair_phase(part, tables, space):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        if tables.born_atoms.shape[0] > 0:
            radii_part(part, tables, space, None)
        pair_part(part, tables, space, None, tables.cutoff)

    @entry_point
    def response_phase(part, tables, space):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        response_part(part, tables, space, tables.cutoff)

    @entry_point
    def finish_phase(step, every, replica, motion, model, work, steps_done, frames):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        _gather(motion.positions[replica], model, work, None)
        _finish(step, every, replica, motion, model, work, steps_done, frames)
        _place(motion.positions[replica], work.pairs.coordinates)

    compiled = advance_molecule, molecule_energies, place_phase
    return *compiled, descreening_phase, pair_phase, response_phase, finish_phase


_compiled = _entry_points(source_digest(Path(__file__).parents[1]))
advance_molecule, molecule_energies, place_phase, descreening_phase, pair_phase, response_phase, finish_phase = (
    _compiled
)
