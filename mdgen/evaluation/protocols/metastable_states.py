"""The Markov state model of MDGen: k-means on TICA, PCCA+ and a coarse model of the metastable states.

As in the public analysis: TICA with the kinetic map; k-means++ with 100 centres on every frame; reversible maximum
likelihood models of the 100 states and of the 10 metastable ones, both at the lag of TICA, from sliding counts.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from deeptime.clustering import KMeans
from deeptime.markov import pcca
from deeptime.markov.tools.estimation import transition_matrix
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from mdgen.errors import MdgenError
from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries
from mdgen.evaluation.statistics.markov import connected_set, count_matrices, stationary_distribution
from mdgen.evaluation.statistics.slow_coordinates import TICA, fit_tica

KINETIC_VARIANCE = 0.95
"""Share of the kinetic variance, the squared eigenvalues, that PyEMMA keeps by default."""

MOST_ITERATIONS = 100
"""Iterations of k-means."""

CONVERGED = 1e-12
"""Change of the stationary distribution at which the estimation of a transition matrix ends."""


def kinetic_map(reference: TorsionSeries, lag_ps: float, modes: int | None) -> TICA:
    """TICA of the reference's torsions, each mode scaled by its eigenvalue (Noe and Clementi, 2015).

    Args:
        reference: torsions of the reference.
        lag_ps: lag time.
        modes: modes that are kept; None keeps as many as hold 95 % of the kinetic variance, but at least two.

    Raises:
        MdgenError: if no trajectory is longer than the lag, or no torsion varies.
    """
    lag = reference.lag_frames(lag_ps)
    every = 2 * reference.angles.shape[1]
    fit = fit_tica((reference.features(piece) for piece in reference.slices()), lag, every)
    if fit is None or len(fit.eigenvalues) < 2:
        raise MdgenError(
            f"protocol=mdgen needs two slow modes at a lag of {lag_ps:g} ps; give reference trajectories of more than "
            f"{lag + 1} frames in which torsions move"
        )
    if modes is None:
        shares = np.cumsum(fit.eigenvalues**2) / (fit.eigenvalues**2).sum()
        modes = max(2, int(np.searchsorted(shares, KINETIC_VARIANCE)) + 1)
    return TICA(fit.mean, (fit.components * fit.eigenvalues)[:, :modes], fit.eigenvalues[:modes])


def project(fit: TICA, series: TorsionSeries) -> Float[np.ndarray, "frame mode"]:
    """The modes of every frame."""
    return np.concatenate([fit.project(series.features(piece)) for piece in series.slices()])


@dataclass(frozen=True)
class CoarseModel:
    """A reversible Markov model of the metastable states.

    A state outside the largest connected set keeps to itself and has no stationary probability.
    """

    matrix: Float[np.ndarray, "state state"]
    stationary: Float[np.ndarray, "state"]
    active: Int[np.ndarray, "active"]

    @property
    def flux(self) -> Float[np.ndarray, "state state"]:
        """`T_ij pi_j`, as the original has it; the flux of a stationary chain would be `pi_i T_ij`."""
        return self.matrix * self.stationary[None, :]


def coarse_model(counts: Float[np.ndarray, "state state"]) -> CoarseModel:
    """The most likely reversible model behind counted transitions."""
    matrix, stationary = np.eye(len(counts)), np.zeros(len(counts))
    if counts.sum() == 0:
        return CoarseModel(matrix, stationary, np.zeros(0, dtype=np.int64))
    active = connected_set(counts)
    fitted = reversible(counts[np.ix_(active, active)])
    matrix[np.ix_(active, active)] = fitted
    stationary[active] = stationary_distribution(fitted)
    return CoarseModel(matrix, stationary, active)


def reversible(counts: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
    """The most likely reversible transition matrix of connected states, converged far below what PyEMMA asks for."""
    if len(counts) == 1:
        return np.ones((1, 1))
    return np.asarray(transition_matrix(counts, reversible=True, maxerr=CONVERGED, warn_not_converged=False))


class MetastableStates:
    """Metastable states of the reference.

    A k-means state outside the largest connected set joins the metastable state of the nearest centre in it; there the
    original leaves the peptide out.

    Args:
        modes: slow modes of the reference, scaled by the kinetic map.
        reference: torsions of the same frames.
        lag_ps: lag of the Markov models.
        n_states: k-means states.
        n_macrostates: metastable states.
        seed: seed of k-means.

    Raises:
        MdgenError: if there are fewer different frames than states, or PCCA+ finds no such number of metastable states.
    """

    def __init__(
        self,
        modes: Float[np.ndarray, "frame mode"],
        reference: TorsionSeries,
        lag_ps: float,
        n_states: int,
        n_macrostates: int,
        seed: int,
    ) -> None:
        if len(modes) < n_states:
            raise MdgenError(f"the reference has {len(modes)} frames for {n_states} k-means states; give more frames")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in the original, k-means ends after 100 iterations
            estimator = KMeans(n_states, max_iter=MOST_ITERATIONS, fixed_seed=seed, n_jobs=1)
            self._clusters = estimator.fit_fetch(np.ascontiguousarray(modes))
        self.number, self.lag_ps = n_macrostates, lag_ps
        micro = self._nearest(modes)
        lag = reference.lag_frames(lag_ps)
        counts = count_matrices(micro, reference.trajectory, np.zeros_like(reference.units), lag, n_states)[0]
        active = connected_set(counts)
        if len(active) < n_macrostates:
            raise MdgenError(
                f"only {len(active)} k-means states of the reference are connected at {lag_ps:g} ps, fewer than "
                f"{n_macrostates} metastable states; give longer dynamics, or fewer protocol.n_macrostates"
            )
        try:
            lumped = np.asarray(pcca(reversible(counts[np.ix_(active, active)]), n_macrostates).assignments)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise MdgenError(
                f"PCCA+ finds no {n_macrostates} metastable states in the reference ({error}); give longer dynamics, "
                "or fewer protocol.n_macrostates"
            ) from error
        centres = self._clusters.cluster_centers
        self._macrostate = lumped[cKDTree(centres[active]).query(centres)[1]]

    def assign(self, modes: Float[np.ndarray, "frame mode"]) -> Int[np.ndarray, "frame"]:
        """The metastable state of each frame."""
        return self._macrostate[self._nearest(modes)]

    def counts(self, states: Int[np.ndarray, "frame"], series: TorsionSeries) -> Float[np.ndarray, "unit state state"]:
        """Transitions at the lag in each bootstrap unit."""
        lag = series.lag_frames(self.lag_ps)
        if max(series.lengths) <= lag:
            return np.zeros((1, self.number, self.number))
        return count_matrices(states, series.trajectory, series.units, lag, self.number)

    def _nearest(self, modes: Float[np.ndarray, "frame mode"]) -> Int[np.ndarray, "frame"]:
        return self._clusters.transform(np.ascontiguousarray(modes, dtype=np.float64), n_jobs=1)
