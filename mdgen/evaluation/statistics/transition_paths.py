"""Paths between two states in a given number of steps: those observed, and exact probabilities of a chain.

The protocol of MDGen (Jing et al., 2024): paths between the two states of lowest flux, compared with the bridges of
the reference's Markov state model.
"""

import numpy as np
from jaxtyping import Float, Int


def rarest_pair(flux: Float[np.ndarray, "state state"]) -> tuple[int, int] | None:
    """The two different states with the lowest flux above zero between them; None where there is none."""
    upper = np.triu(flux, 1)
    if not (upper > 0).any():
        return None
    first, second = np.unravel_index(np.where(upper > 0, upper, np.inf).argmin(), upper.shape)
    return int(first), int(second)


def first_transition(
    states: Int[np.ndarray, "frame"], trajectory: Int[np.ndarray, "frame"], pair: tuple[int, int]
) -> slice | None:
    """The frames from the last one in one state of the pair to the first one in the other; None if never.

    >>> first_transition(np.array([0, 0, 2, 2, 1, 1]), np.zeros(6, dtype=int), (0, 1))
    slice(1, 5, None)
    """
    visits = np.flatnonzero(np.isin(states, pair))
    crossed = (states[visits[:-1]] != states[visits[1:]]) & (trajectory[visits[:-1]] == trajectory[visits[1:]])
    if not crossed.any():
        return None
    first = int(crossed.argmax())
    return slice(int(visits[first]), int(visits[first + 1]) + 1)


def bridge_occupancy(
    matrix: Float[np.ndarray, "state state"], start: int, end: int, steps: int
) -> Float[np.ndarray, "state"]:
    """Expected share of time that bridges spend in each state between their ends, exactly."""
    to_end = _to_end(matrix, end, steps)
    here = np.zeros(len(matrix))
    here[start] = 1.0
    occupancy = np.zeros(len(matrix))
    for step in range(1, steps):
        here = here @ matrix
        occupancy += here * to_end[steps - step] / max(to_end[steps][start], 1e-300)
    return occupancy / max(steps - 1, 1)


def path_log_probability(
    matrix: Float[np.ndarray, "state state"], paths: Int[np.ndarray, "path step"]
) -> Float[np.ndarray, "path"]:
    """Log-probability of each path under a chain, given both ends; minus infinity where it cannot happen."""
    whole = np.linalg.matrix_power(matrix, paths.shape[1] - 1)
    with np.errstate(divide="ignore"):
        logarithm, given = np.log(matrix), np.log(whole)
    return logarithm[paths[:, :-1], paths[:, 1:]].sum(1) - given[paths[:, 0], paths[:, -1]]


def observed_paths(
    states: Int[np.ndarray, "frame"], trajectory: Int[np.ndarray, "frame"], lag_frames: int, steps: int
) -> tuple[Int[np.ndarray, "path step"], Int[np.ndarray, "path"]]:
    """Stretches of trajectories, a frame every lag, that begin and end in different states, and their first frames.

    >>> paths, start = observed_paths(np.array([0, 0, 1, 1]), np.zeros(4, dtype=int), 1, 2)
    >>> paths.tolist(), start.tolist()
    ([[0, 0, 1], [0, 1, 1]], [0, 1])
    """
    span = lag_frames * steps
    same = trajectory[:-span] == trajectory[span:]
    start = np.flatnonzero(same & (states[:-span] != states[span:]))
    return states[start[:, None] + lag_frames * np.arange(steps + 1)], start


def path_visits(
    paths: Int[np.ndarray, "path step"], units: Int[np.ndarray, "path"], n_states: int, n_units: int
) -> Float[np.ndarray, "unit bin"]:
    """Number of visits of each state between each pair of ends, by unit: bins by first, last and visited state."""
    ends = (units * n_states + paths[:, 0]) * n_states + paths[:, -1]
    bins = (ends[:, None] * n_states + paths[:, 1:-1]).reshape(-1)
    return np.bincount(bins, minlength=n_units * n_states**3).reshape(n_units, -1).astype(np.float64)


def _to_end(matrix: np.ndarray, end: int, steps: int) -> list[np.ndarray]:
    """Probability of being in `end` after 0, 1, ... `steps` steps, from each state."""
    found = [np.eye(len(matrix))[end]]
    for _ in range(steps):
        found.append(matrix @ found[-1])
    return found
