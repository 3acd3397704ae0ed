"""Markov state models: counts, the reversible transition matrix, and quantities derived from it.

The estimator of the transition matrix is deeptime's reversible maximum likelihood (Prinz et al., J. Chem. Phys. 134,
174105, 2011); the rest is linear algebra.
"""

import numpy as np
from deeptime.markov.tools.estimation import transition_matrix as maximum_likelihood
from jaxtyping import Float, Int

LEAST_CORRELATION = 0.01
"""Correlation at the lag below which a process counts as gone."""


def count_matrices(
    states: Int[np.ndarray, "frame"],
    trajectory: Int[np.ndarray, "frame"],
    units: Int[np.ndarray, "frame"],
    lag_frames: int,
    n_states: int,
) -> Float[np.ndarray, "unit state state"]:
    """Transitions at a lag, sliding window, counted in the bootstrap unit of their first frame.

    Pairs never cross from one trajectory to the next. States below 0 are left out.
    """
    n_units = int(units.max(initial=-1)) + 1
    now, then = states[:-lag_frames], states[lag_frames:]
    kept = (trajectory[:-lag_frames] == trajectory[lag_frames:]) & (now >= 0) & (then >= 0)
    flat = (units[:-lag_frames][kept] * n_states + now[kept]) * n_states + then[kept]
    return np.bincount(flat, minlength=n_units * n_states**2).reshape(n_units, n_states, n_states).astype(np.float64)


def connected_set(counts: Float[np.ndarray, "state state"]) -> Int[np.ndarray, "active"]:
    """The strongly connected states that hold the most transitions, in ascending order."""
    reached = (counts > 0) | np.eye(len(counts), dtype=bool)
    for _ in range(len(counts).bit_length()):  # squaring: after k times all paths of up to 2^k steps
        reached = (reached.astype(np.float32) @ reached) > 0
    label = (reached & reached.T).argmax(1)  # the lowest state that is reached and reaches
    populations = np.bincount(label, weights=counts.sum(1), minlength=len(counts))
    return np.flatnonzero(label == int(populations.argmax()))


def transition_matrix(counts: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
    """The most likely reversible transition matrix behind the counts of a connected set of states."""
    if len(counts) == 1:
        return np.ones((1, 1))
    return np.asarray(maximum_likelihood(counts, reversible=True, maxerr=1e-7, maxiter=20000))


def stationary_distribution(matrix: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state"]:
    """The distribution that the matrix keeps: `pi T = pi`, summing to 1."""
    n = len(matrix)
    equations = np.vstack([matrix.T - np.eye(n), np.ones((1, n))])
    solution = np.linalg.lstsq(equations, np.r_[np.zeros(n), 1.0], rcond=None)[0]
    return np.maximum(solution, 0) / np.maximum(solution, 0).sum()


def eigenvalues(
    matrix: Float[np.ndarray, "state state"], stationary: Float[np.ndarray, "state"]
) -> Float[np.ndarray, "state"]:
    """Eigenvalues of a reversible matrix, largest first: real, since `pi_i T_ij = pi_j T_ji`."""
    root = np.sqrt(np.maximum(stationary, 1e-300))
    symmetric = root[:, None] * matrix / root[None, :]
    return np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[::-1]


def timescales(values: Float[np.ndarray, "*mode"], lag_ps: float) -> Float[np.ndarray, "*mode"]:
    """Implied timescales `-lag / ln(eigenvalue)` in ps; 0 where an eigenvalue is not above 0, too fast to be resolved.

    >>> timescales(np.array([np.exp(-0.5), -0.1]), 2.0).round(6).tolist()
    [4.0, 0.0]
    """
    clipped = np.clip(values, 1e-300, 1 - 1e-12)
    return np.where(values > 0, -lag_ps / np.log(clipped), 0.0)


def slowest_timescales(
    counts: Float[np.ndarray, "state state"], lag_ps: float, number: int
) -> Float[np.ndarray, "mode"]:
    """The slowest implied timescales in ps of the largest connected set; NaN where it has too few states for them."""
    slowest = np.full(number, np.nan)
    if counts.sum() == 0:
        return slowest
    active = connected_set(counts)
    matrix = transition_matrix(counts[np.ix_(active, active)])
    found = timescales(eigenvalues(matrix, stationary_distribution(matrix))[1 : number + 1], lag_ps)
    slowest[: len(found)] = found
    return slowest


def leading_eigenvalues(counts: Float[np.ndarray, "draw state state"], number: int) -> Float[np.ndarray, "draw mode"]:
    """Largest eigenvalues after the first of the symmetrised chain `C + C^T`, draw by draw; 0 where there are none.

    States without counts add eigenvalues of 0; each disconnected set adds one of 1, a time that no data bounds.
    """
    both = counts + counts.swapaxes(-1, -2)
    populations = both.sum(-1)
    root = np.sqrt(np.where(populations > 0, populations, 1.0))
    values = np.linalg.eigvalsh(both / root[:, :, None] / root[:, None, :])[:, ::-1][:, 1 : number + 1]
    return np.pad(values, ((0, 0), (0, number - values.shape[1])))


def bounded_timescales(
    values: Float[np.ndarray, "*batch"], lag_ps: float, longest_ps: Float[np.ndarray, "*#batch"] | float
) -> Float[np.ndarray, "*batch"]:
    """Implied timescales between that of a correlation of `LEAST_CORRELATION` and `longest_ps`: always finite.

    A row that never leaves a state, or whose motion is gone within a lag, is compared by these bounds.
    """
    shortest = -lag_ps / np.log(LEAST_CORRELATION)
    return np.clip(timescales(values, lag_ps), shortest, np.maximum(longest_ps, shortest))


def log10_passage_times(
    counts: Float[np.ndarray, "draw state state"], lag_ps: float
) -> Float[np.ndarray, "draw state state"]:
    """log10 of mean first-passage times in ps of symmetrised chains, draw by draw; zero on the diagonal.

    `m_ij = lag (Z_jj - Z_ij) / pi_j` with the fundamental matrix `Z = (1 - T + 1 pi)^-1` (Kemeny and Snell, 1976). Half
    a transition is added between each pair of states, so that a passage never seen is long and not infinite.
    """
    number = counts.shape[-1]
    both = counts + counts.swapaxes(-1, -2) + 0.5 * (1 - np.eye(number))
    populations = both.sum(-1)
    pi = populations / populations.sum(-1, keepdims=True)
    fundamental = np.linalg.inv(np.eye(number) - both / populations[:, :, None] + pi[:, None, :])
    diagonal = np.diagonal(fundamental, axis1=1, axis2=2)[:, None, :]
    times = lag_ps * (diagonal - fundamental) / pi[:, None, :]
    return np.log10(np.where(np.eye(number, dtype=bool), 1.0, np.maximum(times, lag_ps)))


def symmetrised(
    counts: Float[np.ndarray, "state state"],
) -> tuple[Float[np.ndarray, "state state"], Float[np.ndarray, "state"]]:
    """A reversible transition matrix and its stationary distribution from `C + C^T`, for connected states.

    Exact for long trajectories in equilibrium, a thousand times quicker than the most likely one: for resamples.
    """
    both = counts + counts.T
    populations = np.maximum(both.sum(1), 1e-300)
    return both / populations[:, None], populations / populations.sum()


def chapman_kolmogorov(
    matrix: Float[np.ndarray, "state state"],
    stationary: Float[np.ndarray, "state"],
    sets: Int[np.ndarray, "state"],
    n_sets: int,
    multiples: int,
) -> Float[np.ndarray, "multiple set"]:
    """Predicted probability of being in the same set again after 1, 2, ... lags, starting in it in equilibrium."""
    members = (sets[:, None] == np.arange(n_sets)).astype(np.float64)
    start = members * stationary[:, None]
    with np.errstate(invalid="ignore"):
        start = start / start.sum(0)
    result = []
    for _ in range(multiples):
        start = matrix.T @ start
        result.append((start * members).sum(0))
    return np.array(result)
