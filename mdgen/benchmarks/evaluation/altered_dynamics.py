"""Faults of the order in time: right frames at the wrong moment, and motion of the wrong speed or smoothness."""

import numpy as np
from scipy.signal import lfilter

from mdgen.benchmarks.evaluation.copied_frames import tumbled
from mdgen.benchmarks.evaluation.fault import Catalogue, Dynamics, turned
from mdgen.benchmarks.evaluation.known_chain import Frames

ALTERED_DYNAMICS = Catalogue()


@ALTERED_DYNAMICS.add_invisible
def time_reversed(frames: Frames, dynamics: Dynamics) -> Frames:
    """Each trajectory played backwards: at equilibrium nothing can tell it."""
    return frames[:, ::-1].copy()


@ALTERED_DYNAMICS.add_invisible
def tumbling(frames: Frames, dynamics: Dynamics) -> Frames:
    """Honest frames, each turned and shifted at random: no observable depends on it."""
    return tumbled(frames, dynamics.rng)


@ALTERED_DYNAMICS.add
def methyl_hydrogens_renamed(frames: Frames, dynamics: Dynamics) -> Frames:
    """The hydrogens of each methyl group renamed cyclically: alike in nature, in this chain their angles differ.

    The chain places the second and third relative to the first, so that the angle between them spreads more.
    """
    molecule, changed = dynamics.chain.molecule, frames.copy()
    for near in molecule.neighbours:
        hydrogens = [atom for atom in near if molecule.elements[atom] == "H"]
        if len(hydrogens) == 3:
            changed[:, :, hydrogens] = frames[:, :, hydrogens[1:] + hydrogens[:1]]
    return changed


@ALTERED_DYNAMICS.add
def shuffled(frames: Frames, dynamics: Dynamics) -> Frames:
    """The frames of each trajectory in random order."""
    return np.stack([each[dynamics.rng.permutation(len(each))] for each in frames])


@ALTERED_DYNAMICS.add
def independent_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Frames drawn independently from all honest trajectories: the right law, no kinetics."""
    flat = frames.reshape(-1, *frames.shape[2:])
    return flat[dynamics.rng.integers(len(flat), size=len(flat))].reshape(frames.shape)


@ALTERED_DYNAMICS.add
def shuffled_within_5(frames: Frames, dynamics: Dynamics) -> Frames:
    """The frames shuffled within groups of five."""
    return frames[:, _within(frames.shape[1], 5, dynamics)]


@ALTERED_DYNAMICS.add
def shuffled_within_20(frames: Frames, dynamics: Dynamics) -> Frames:
    """The frames shuffled within groups of twenty."""
    return frames[:, _within(frames.shape[1], 20, dynamics)]


@ALTERED_DYNAMICS.add
def shuffled_blocks_of_20(frames: Frames, dynamics: Dynamics) -> Frames:
    """Blocks of twenty frames in random order."""
    return frames[:, _blocks(frames.shape[1], 20, dynamics)]


@ALTERED_DYNAMICS.add
def seams_every_100_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Chunks of a hundred frames joined without regard to their ends."""
    return frames[:, _blocks(frames.shape[1], 100, dynamics)]


ALTERED_DYNAMICS.add_law("twice_as_fast", "Every process twice as fast.", speed=2.0)
ALTERED_DYNAMICS.add_law("half_as_fast", "Every process half as fast.", speed=0.5)
ALTERED_DYNAMICS.add_law("slower_by_half", "Every process 1.5 times slower.", speed=1 / 1.5)


@ALTERED_DYNAMICS.add
def interpolated_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every second frame is the mean of its neighbours' positions."""
    changed = frames.copy()
    middle = np.arange(1, frames.shape[1] - 1, 2)
    changed[:, middle] = (frames[:, middle - 1] + frames[:, middle + 1]) / 2
    return changed


@ALTERED_DYNAMICS.add
def averaged_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Positions averaged over three frames."""
    changed = frames.copy()
    changed[:, 1:-1] = (frames[:, :-2] + frames[:, 1:-1] + frames[:, 2:]) / 3
    return changed


@ALTERED_DYNAMICS.add
def psi_smoothed(frames: Frames, dynamics: Dynamics) -> Frames:
    """Psi of alanine averaged over five frames."""
    internal, column = dynamics.to_internal(frames), dynamics.column("psi ALA2")
    phase = np.exp(1j * internal["dihedrals"][:, column]).reshape(frames.shape[:2])
    summed = sum(np.roll(phase, shift, axis=1) for shift in range(-2, 3))
    internal["dihedrals"][:, column] = np.angle(summed).ravel()
    return dynamics.to_frames(internal)


@ALTERED_DYNAMICS.add
def drift(frames: Frames, dynamics: Dynamics) -> Frames:
    """Psi of alanine drifts by 40 degrees along each trajectory."""
    by = np.radians(40.0) * np.linspace(0, 1, frames.shape[1])
    return turned(frames, "psi ALA2", np.tile(by, len(frames)), dynamics)


@ALTERED_DYNAMICS.add
def ornstein_uhlenbeck(frames: Frames, dynamics: Dynamics) -> Frames:
    """Torsions as a Gaussian process: their means, covariance and one-frame correlation, no wells."""
    internal = dynamics.to_internal(frames)
    for wells in dynamics.chain.wells:
        for name in wells.torsions:
            column = dynamics.column(name)
            phase = np.exp(1j * internal["dihedrals"][:, column].astype(np.float64))
            middle = np.angle(phase.mean())
            away = np.angle(phase * np.exp(-1j * middle)).reshape(frames.shape[:2])
            memory = float((away[:, 1:] * away[:, :-1]).mean() / (away**2).mean())
            process = np.stack([_process(frames.shape[1], memory, dynamics.rng) for _ in frames])
            internal["dihedrals"][:, column] = middle + away.std() * process.ravel()
    return dynamics.to_frames(internal)


def _process(n: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """A stationary Gaussian process with this correlation from one frame to the next."""
    kicks = rng.standard_normal(n)
    kicks[1:] *= np.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], kicks)


def _within(n: int, size: int, dynamics: Dynamics) -> np.ndarray:
    """Order of frames that is random within groups of `size`."""
    return np.lexsort((dynamics.rng.random(n), np.arange(n) // size))


def _blocks(n: int, size: int, dynamics: Dynamics) -> np.ndarray:
    """Order of frames in which blocks of `size` are permuted."""
    key = dynamics.rng.random(-(-n // size))[np.arange(n) // size]
    return np.argsort(key, kind="stable")
