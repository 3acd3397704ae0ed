"""Trajectories that stand still: stretches in which the atoms hardly move from one frame to the next.

Atoms of dynamics vibrate in every state of the molecule, so typical steps are much alike all along it. Block
permutation cannot tell a trajectory that stands: a few blocks of a single frame are as unlike others as those of a
rare state.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.conformation.nearest import LEAST_DISTANCES
from mdgen.evaluation.statistics.observables import Observables

STRETCH, LEAST_STEPS = 100, 10
"""Steps of a stretch, and the fewest for a typical one to be known; shorter trajectories are left out."""

STILL = 0.1
"""Typical step in nm of what stands still, over the least of all stretches of dynamics.

The median over ten steps or more, each a mean over six distances or more: dynamics never varies by so much.
"""


@dataclass(frozen=True)
class Standstill:
    """How much of some trajectories stands still.

    Args:
        trajectories: number of trajectories that do somewhere.
        share: share of all stretches that do.
        repeated: share of their steps that repeat all coordinates bit for bit.
    """

    trajectories: int
    share: float
    repeated: float


def standstill(dynamics: Iterable[Observables], generated: Observables) -> Standstill | None:
    """Stretches of the generated trajectories that stand still beside those of the dynamics; None where none does."""
    least = min((step for data in dynamics for _, step, _ in _stretches(data)), default=0.0)
    found = _stretches(generated)
    still = [(trajectory, repeated) for trajectory, step, repeated in found if step < STILL * least]
    if not still:
        return None
    repeated = float(np.mean([each for _, each in still]))
    return Standstill(len({trajectory for trajectory, _ in still}), len(still) / len(found), repeated)


def _stretches(data: Observables) -> list[tuple[int, float, float]]:
    """Of each stretch its trajectory, its median step in nm, and the share of its steps that repeat a frame."""
    found = []
    if data["fingerprint"].shape[1] < LEAST_DISTANCES:
        return []
    for number, frames in enumerate(data.slices()):
        steps = _steps_nm(data["fingerprint"][frames])
        repeats = data["mark"][frames][1:] == data["mark"][frames][:-1]
        if len(steps) < LEAST_STEPS:
            continue
        for part in np.array_split(np.arange(len(steps)), max(1, len(steps) // STRETCH)):
            found.append((number, float(np.median(steps[part])), float(repeats[part].mean())))
    return found


def _steps_nm(fingerprint: Float[np.ndarray, "frame distance"]) -> Float[np.ndarray, "step"]:
    """Root-mean-square change of the distances from each frame to the next."""
    return np.asarray(np.sqrt(np.square(np.diff(fingerprint, axis=0)).mean(1)))
