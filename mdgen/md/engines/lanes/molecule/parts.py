"""Threads that share the parts of one molecule: they meet after each sweep, and sleep while they wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import numpy as np

from mdgen.md.engines.lanes.lane_kernel import Motion
from mdgen.md.engines.lanes.molecule.molecule_steps import (
    Model,
    WorkSpace,
    descreening_phase,
    finish_phase,
    pair_phase,
    place_phase,
    response_phase,
)


def advance_in_parts(
    replica: int,
    motion: Motion,
    model: Model,
    work: WorkSpace,
    steps_done: int,
    n_steps: int,
    every: int,
    frames: np.ndarray,
    threads: int,
) -> None:
    """Advance one replica, as `advance_molecule` does, on some threads; their number changes no bit."""
    parts, meeting = range(len(work.pairs.rows) - 1), Barrier(threads)
    solvated = len(model.pairs.born_atoms) > 0
    phases = (descreening_phase, pair_phase, response_phase) if solvated else (pair_phase,)

    def advance(member: int) -> None:
        try:
            for step in range(1, n_steps + 1):
                for phase in phases:
                    for part in parts[member::threads]:
                        phase(part, model.pairs, work.pairs)
                    meeting.wait()
                if member == 0:
                    finish_phase(step, every, replica, motion, model, work, steps_done, frames)
                meeting.wait()
        except BrokenBarrierError:
            pass  # another member has failed, and says why
        except BaseException:
            meeting.abort()  # nobody waits for a member that has failed
            raise

    place_phase(motion.positions[replica], work.pairs.coordinates)
    with ThreadPoolExecutor(threads) as pool:
        try:
            list(pool.map(advance, range(threads)))
        except BaseException:
            meeting.abort()  # nor for one that never began
            raise
