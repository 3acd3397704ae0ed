"""Where the runs of the next round start: the states that were seen least, or that a timescale hangs on most."""

import numpy as np
from jaxtyping import Float, Int

from mdgen.enhanced_sampling.markov_estimate import MarkovEstimate


def least_counts(visits: Int[np.ndarray, "state"], n_starts: int, rng: np.random.Generator) -> Int[np.ndarray, "start"]:
    """States drawn with a probability inverse to the frames seen in each (Bowman et al., J. Chem. Theory Comput. 6, 787
    (2010)): explores. No state is drawn twice before all are, or one lonely frame would get every run. States without
    a frame cannot be started from.
    """
    weights = np.where(visits > 0, 1 / np.maximum(visits, 1), 0.0)
    chosen: list[int] = []
    while len(chosen) < n_starts:
        some = min(n_starts - len(chosen), int((visits > 0).sum()))
        chosen += rng.choice(len(visits), some, replace=False, p=weights / weights.sum()).tolist()
    return np.array(chosen, dtype=np.int64)


def farthest_point_cells(
    latents: Float[np.ndarray, "frame channel"], n_cells: int, first: int
) -> Int[np.ndarray, "frame"]:
    """Cells around frames, each the farthest from all before (Gonzalez, Theor. Comput. Sci. 38, 293 (1985)).

    k-means places its centres where frames are many; a barrier of which a few frames are known shares a cell with the
    well beside it, and least counts never starts there. These cells are of one size whatever they hold.
    """
    cells, nearest = np.zeros(len(latents), dtype=np.int64), np.full(len(latents), np.inf)
    centre = first
    for cell in range(n_cells):
        distances = np.linalg.norm(latents - latents[centre], axis=1)
        closer = distances < nearest
        nearest[closer], cells[closer] = distances[closer], cell
        centre = int(nearest.argmax())
        if nearest[centre] == 0:
            break
    return cells


def timescale_uncertainty(
    estimate: MarkovEstimate, lag_frames: int, n_starts: int, mode: int = 1
) -> Int[np.ndarray, "start"]:
    """States whose further transitions lower the variance of an eigenvalue most, one after the other: refines.

    To first order the eigenvalue l of the eigenvector f has the variance `sum_i q_i / n_i` with `q_i = (pi_i f_i)^2
    (sum_j T_ij f_j^2 - l^2 f_i^2)` and n_i the independent transitions out of state i, so one more of them lowers it by
    `q_i / (n_i (n_i + 1))` (Hinrichs and Pande, J. Chem. Phys. 126, 244101 (2007)).
    """
    value, function = estimate.eigenfunction(mode)
    spread = estimate.matrix @ function**2 - value**2 * function**2
    q = (estimate.stationary * function) ** 2 * np.maximum(spread, 0)
    left = np.maximum(estimate.counts.sum(1) / lag_frames, 1e-3)
    chosen = []
    for _ in range(n_starts):
        best = int(np.argmax(q / (left * (left + 1))))
        left[best] += 1
        chosen.append(best)
    return estimate.active[np.array(chosen, dtype=np.int64)]


def frames_in(
    states: Int[np.ndarray, "frame"], chosen: Int[np.ndarray, "start"], rng: np.random.Generator
) -> Int[np.ndarray, "start"]:
    """A random frame of each chosen state."""
    order = np.argsort(states, kind="stable")
    first = np.searchsorted(states[order], chosen)
    size = np.searchsorted(states[order], chosen, side="right") - first
    return order[first + rng.integers(0, size)]


def equilibrium_weights(
    estimate: MarkovEstimate, states: Int[np.ndarray, "frame"], n_states: int
) -> Float[np.ndarray, "frame"]:
    """The weight of each frame such that averages are those of equilibrium: that of its state over its visits.

    Frames outside the connected set have none.
    """
    of_state = np.zeros(n_states)
    of_state[estimate.active] = estimate.stationary
    visits = np.bincount(states, minlength=n_states)
    weights = (of_state / np.maximum(visits, 1))[states]
    return weights / weights.sum()
