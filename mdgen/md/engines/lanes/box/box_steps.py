"""Forces and time steps of one replica with a cutoff, its neighbour list rebuilt on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mdgen.md.engines.lanes.bonded_forces import BONDED_TERMS
from mdgen.md.engines.lanes.box.block_neighbours import DIVERGED, READY, is_stale, rebuild, update_grid
from mdgen.md.engines.lanes.box.cutoff_pairs import cutoff_pair_forces
from mdgen.md.engines.lanes.rigid.whole_step import StepTables, move, term_forces, write_frame
from mdgen.simd.jit import entry_point, part_of_caller, source_digest
from mdgen.simd.lanes import LANES

ENERGY_TERMS = (*BONDED_TERMS, "lennard_jones", "coulomb")
"""The elements of an energy table, in order."""


class Model(NamedTuple):
    """Tables that do not change during a run: of pairs, neighbour search, and the rest of a step."""

    pairs: Any
    search: Any
    step: StepTables


@part_of_caller
def _ready(x: Any, ordered: Any, neighbours: Any, model: Any) -> Any:
    """Bring grid and neighbour list up to date with the positions `x`."""
    if is_stale(x, ordered, model.search):
        return rebuild(x, ordered, neighbours, model.pairs, model.search)
    update_grid(x, ordered)
    return READY


@part_of_caller
def _forces(x: Any, ordered: Any, neighbours: Any, model: Any, work: Any, energies: Any) -> None:
    cutoff_pair_forces(neighbours, ordered, model.pairs, energies)
    for slot in range(x.shape[0]):
        for axis in range(3):
            work.forces[ordered.order[slot], axis] = ordered.forces[slot // LANES, axis, slot % LANES]
    term_forces(x, model.step, work, energies, (5, 6))


def _entry_points(digest: str) -> tuple[Callable, Callable]:
    """The two compiled functions that Python calls; see `jit.source_digest`."""

    @entry_point
    def advance_replica(replica, motion, ordered, neighbours, model, work, done, steps, every, frames):  # type: ignore[no-untyped-def]
        """Advance from step `done` to step `steps`; returns the last step done and why it stopped there."""
        digest  # noqa: B018
        x, v, random = motion.positions[replica], motion.velocities[replica], motion.random[replica]
        for step in range(done + 1, steps + 1):
            state = _ready(x, ordered, neighbours, model)
            if state == READY:
                _forces(x, ordered, neighbours, model, work, None)
                move(x, v, random, motion.thermal[replica], model.step, work)
            elif state != DIVERGED:
                return step - 1, state
            write_frame(step, every, x, frames)
        return steps, READY

    @entry_point
    def replica_energies(x, ordered, neighbours, model, work, energies):  # type: ignore[no-untyped-def]
        """Forces to `work.forces` and energies of `ENERGY_TERMS` to `energies`; returns the state of the list."""
        digest  # noqa: B018
        state = _ready(x, ordered, neighbours, model)
        if state == READY:
            _forces(x, ordered, neighbours, model, work, energies)
        return state

    return advance_replica, replica_energies


advance_replica, replica_energies = _entry_points(source_digest(Path(__file__).parents[1]))
