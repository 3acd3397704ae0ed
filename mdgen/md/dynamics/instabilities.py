"""Numerical instabilities: which replicas became unstable in a batch of frames, at which atom, and what can be stored.

An unstable molecule is often finite for a while, only enormous, and files can turn what is not finite into a number
that is. So every frame is checked before it is stored. The criterion is the extent of each molecule: whole molecules
diffuse away from each other, in a box of water by 100 nm within 100 ns, and are stable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from mdgen.data.finite import LARGEST_NM
from mdgen.md.dynamics.checkpoint import Stop

_LARGEST_MOLECULE_NM = 100.0


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of those replicas that are stable in all of them.

    Args:
        replicas: their numbers, ascending.
        frames: positions to store in nm, one row a replica.
        cells: vectors of the periodic box in nm; None without one.
    """

    replicas: tuple[int, ...]
    frames: Float[np.ndarray, "row frame atom 3"]
    cells: Float[np.ndarray, "row frame 3 3"] | None = None


def stable_segments(
    moved: Float[np.ndarray, "replica frame atom 3"],
    energy: Float[np.ndarray, "replica"],
    alive: Sequence[int],
    first_step: int,
    steps_between: int,
    label: Callable[[int], str],
    molecules: Int[np.ndarray, "atom"],
    centred: bool = True,
    cells: Float[np.ndarray, "replica frame 3 3"] | None = None,
) -> tuple[list[Segment], list[Stop]]:
    """Cut a batch of frames where replicas become unstable.

    A replica stops at its first frame with an atom that is not finite, or 100 nm from the centre of its molecule, or
    at coordinates larger than can be stored; one whose energy is not finite at the end of the batch stops before its
    last frame.

    Args:
        moved: frames, nm.
        energy: energy after the last of them, kJ/mol.
        alive: replicas that have not stopped before; the others are ignored.
        first_step: step before the batch.
        steps_between: steps between two frames.
        label: function that names an atom.
        molecules: number of the molecule that each atom belongs to, from 0.
        centred: whether frames are stored with the mean of their positions at the origin.
        cells: vectors of the periodic box of each frame in nm; None without one.

    Returns:
        The stable frames in order, and the replicas that stopped, the first to do so first.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        from_mean = moved - moved.mean(2, keepdims=True)
        stored = from_mean if centred else moved
        # Comparisons are false for NaN, which is what infinite positions leave of any mean.
        stable = np.isfinite(moved) & (np.abs(stored) < LARGEST_NM)
        stable &= np.abs(_within_molecules(moved, from_mean, molecules)) < _LARGEST_MOLECULE_NM
    ends, stops = {}, []
    n_frames = moved.shape[1]
    for replica in alive:
        whole = stable[replica].all((1, 2))
        if not whole.all():
            frame = int(np.argmin(whole))
            how = f"first at {label(_first_atom(moved[replica, frame], stable[replica, frame]))}"
        elif not np.isfinite(energy[replica]):
            frame, how = n_frames - 1, "its potential energy is not finite"
        else:
            continue
        after = first_step + frame * steps_between
        ends[replica] = frame
        stops.append(Stop(int(replica), after, after + steps_between, how))
    segments = []
    for begin, end in pairwise(sorted({0, *ends.values(), n_frames})):
        rows = [replica for replica in alive if ends.get(replica, n_frames) >= end]
        if rows:
            chosen = slice(None) if len(rows) == len(stored) else rows
            boxes = None if cells is None else cells[chosen][:, begin:end]
            segments.append(Segment(tuple(map(int, rows)), stored[chosen][:, begin:end], boxes))
    return segments, sorted(stops, key=lambda stop: stop.after_step)


def _within_molecules(
    moved: Float[np.ndarray, "replica frame atom 3"],
    from_mean: Float[np.ndarray, "replica frame atom 3"],
    molecules: Int[np.ndarray, "atom"],
) -> Float[np.ndarray, "replica frame atom 3"]:
    """Positions from the mean of each atom's own molecule; `from_mean` are those from the mean of all."""
    sizes = np.bincount(molecules)
    if len(sizes) == 1:
        return from_mean
    order = np.argsort(molecules, kind="stable")
    sums = np.add.reduceat(moved[:, :, order], np.cumsum(sizes) - sizes, axis=2)
    return moved - (sums / sizes[:, None].astype(moved.dtype))[:, :, molecules]


def _first_atom(frame: np.ndarray, stable: np.ndarray) -> int:
    """The first atom that is not finite, or else the first that is too far away."""
    broken = ~np.isfinite(frame).all(-1)
    return int(np.flatnonzero(broken if broken.any() else ~stable.all(-1))[0])
