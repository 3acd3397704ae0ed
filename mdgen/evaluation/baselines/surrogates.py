"""Surrogate dynamics made from the reference alone: paths of its Markov model, and an Ornstein-Uhlenbeck process.

Both choose frames of the reference, one every lag; they show which scores models as simple as these reach.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from mdgen.evaluation.statistics.markov import connected_set, stationary_distribution, transition_matrix
from mdgen.evaluation.statistics.observables import Observables

STEPS_A_TRAJECTORY = 1000
NEIGHBOUR_FRAMES = 50_000
"""Frames of the reference among which the nearest one is looked up."""


def markov_paths(
    target: Observables, counts: Float[np.ndarray, "state state"], lag_ps: float, frames: int, rng: np.random.Generator
) -> Observables:
    """Paths of the target's Markov state model; each state shows a random one of its frames."""
    active = connected_set(counts)
    matrix = transition_matrix(counts[np.ix_(active, active)])
    number, steps = _shape(frames)
    paths = walk(matrix, stationary_distribution(matrix), number, steps, rng)
    order = np.argsort(target["states"], kind="stable")
    ends = np.searchsorted(target["states"][order], np.arange(len(counts) + 1))
    state = active[paths.reshape(-1)]
    member = ends[state] + (rng.random(len(state)) * (ends[state + 1] - ends[state])).astype(np.int64)
    return replace(target.take(order[member], (steps,) * number), frame_spacing_ps=lag_ps)


def walk(
    matrix: Float[np.ndarray, "state state"],
    start: Float[np.ndarray, "state"],
    number: int,
    steps: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "path step"]:
    """Independent paths of a Markov chain."""
    cumulative, paths = matrix.cumsum(1), np.empty((number, steps), dtype=np.int64)
    paths[:, 0] = rng.choice(len(start), size=number, p=start / start.sum())
    for step in range(1, steps):
        draws = rng.random((number, 1)) * cumulative[paths[:, step - 1], -1:]
        paths[:, step] = (cumulative[paths[:, step - 1]] <= draws).sum(1)
    return paths


def ornstein_uhlenbeck(
    target: Observables,
    modes: Float[np.ndarray, "frame mode"],
    eigenvalues: Float[np.ndarray, "mode"],
    lag_ps: float,
    frames: int,
    rng: np.random.Generator,
) -> Observables:
    """Independent Gaussian processes in the TICA modes; each point shows the nearest frame of the target.

    `x' = lambda x + sqrt(1 - lambda^2) xi`: the same timescales and variances as TICA found, and nothing else.
    """
    number, steps = _shape(frames)
    decay = np.clip(eigenvalues, 0.0, 1.0)
    points = np.empty((number, steps, len(decay)))
    points[:, 0] = rng.normal(size=(number, len(decay)))
    for step in range(1, steps):
        noise = np.sqrt(1 - decay**2) * rng.normal(size=(number, len(decay)))
        points[:, step] = decay * points[:, step - 1] + noise
    chosen = np.arange(0, len(modes), max(1, len(modes) // NEIGHBOUR_FRAMES))
    nearest = cKDTree(modes[chosen] * decay).query(points.reshape(-1, len(decay)) * decay, workers=-1)[1]
    return replace(target.take(chosen[nearest], (steps,) * number), frame_spacing_ps=lag_ps)


def _shape(frames: int) -> tuple[int, int]:
    number = max(5, frames // STEPS_A_TRAJECTORY)
    return number, max(1, frames // number)
