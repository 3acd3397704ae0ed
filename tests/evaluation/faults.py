"""Faults introduced into trajectories, to test that the evaluation detects each of them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from mdgen.data.trajectories import TrajectorySet
from mdgen.molecule.topology import Molecule

Frames = Float[np.ndarray, "frame atom 3"]


def with_fault(trajectories: TrajectorySet, fault: Callable[[Frames], Frames]) -> TrajectorySet:
    """The trajectories, in memory, after `fault` has changed the positions of each."""
    arrays = [fault(np.array(trajectories.positions(i))).astype(np.float32) for i in range(len(trajectories))]
    return TrajectorySet.from_arrays(trajectories.molecule, trajectories.frame_spacing_ps, arrays, trajectories.names)


def turned(
    frames: Frames, molecule: Molecule, torsion: tuple[int, int, int, int], angles: Float[np.ndarray, "frame"]
) -> Frames:
    """Each frame with one torsion turned by an angle in radians; everything beyond its middle bond moves along."""
    _, first, second, _ = torsion
    beyond, edge = {first, second}, [second]
    while edge:
        new = [near for near in molecule.neighbours[edge.pop()] if near not in beyond]
        beyond.update(new)
        edge += new
    moved = sorted(beyond - {first, second})
    axis = frames[:, second] - frames[:, first]
    axis = (axis / np.linalg.norm(axis, axis=-1, keepdims=True))[:, None]
    arms = frames[:, moved] - frames[:, [second]]
    along = (arms * axis).sum(-1, keepdims=True) * axis
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    result = frames.copy()
    result[:, moved] = frames[:, [second]] + cosine * (arms - along) + sine * np.cross(axis, arms) + along
    return result


def mirrored(frames: Frames, every: int) -> Frames:
    """Every `every`-th frame replaced by its mirror image."""
    result = frames.copy()
    result[::every, :, 2] *= -1
    return result


def stretched(frames: Frames, first: int, second: int, by_nm: float) -> Frames:
    """One bond longer by `by_nm`: the second atom is moved alone."""
    bond = frames[:, second] - frames[:, first]
    result = frames.copy()
    result[:, second] += by_nm * bond / np.linalg.norm(bond, axis=-1, keepdims=True)
    return result


def in_random_order(frames: Frames, rng: np.random.Generator) -> Frames:
    """The frames shuffled in time."""
    return frames[rng.permutation(len(frames))]
