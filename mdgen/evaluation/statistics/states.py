"""Markov states of the dynamics: k-means on its slow coordinates, rare ones merged, lumped by PCCA+.

A state that was entered a handful of times, or a group of such states, makes a slow timescale of its own: the time of
one stay. Such states are merged into their neighbours before anything is estimated, as states of too few transitions
are in the protocols of Markov models (Prinz et al., J. Chem. Phys. 134, 174105, 2011; Bowman, J. Chem. Phys. 137,
134111, 2012, on neighbours that the data cannot tell apart).
"""

import warnings
from collections.abc import Callable

import numpy as np
from deeptime.clustering import KMeans
from deeptime.markov import pcca
from jaxtyping import Bool, Float, Int

from mdgen.evaluation.statistics.markov import leading_eigenvalues, symmetrised, timescales

KMEANS_FRAMES = 10_000
"""Frames, spread evenly, on which the centres are placed."""

CROSSINGS = 4
"""Least number of independent crossings, one a lag, by which a rare group of states is joined to the rest: two visits,
the fewest from which a time has an error."""

RARE = 0.05
"""Population below which a group of states with fewer crossings is merged; a larger one is real, if badly sampled."""

LEAST_POPULATION = 0.01
"""Population below which a lumped state is merged."""

VISITS = 50
"""Independent frames, one a lag, that a state must hold on average; fewer states are placed where data are few."""

MODES_SEARCHED = 10
"""Slow modes of the chain that are searched for rare groups, the stationary one among them."""

SEEDS = 3
"""Starts of k-means, of which the best is taken."""

Counter = Callable[[Int[np.ndarray, "frame"], int], Float[np.ndarray, "state state"]]
"""Transition counts at the lag, given the state of each frame and the number of states."""


class States:
    """K-means states of slow coordinates, and the lumped state of each.

    Args:
        coordinates: slow coordinates of the dynamics.
        n_states: number of centres.
        seed: seed of k-means.
    """

    def __init__(self, coordinates: Float[np.ndarray, "frame mode"], n_states: int, seed: int) -> None:
        sample = coordinates[:: max(1, len(coordinates) // KMEANS_FRAMES)].astype(np.float64)
        n_states = min(n_states, len(np.unique(sample, axis=0)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # centres need not converge to the last digit
            self._model = KMeans(n_states, max_iter=50, fixed_seed=seed or 1, n_jobs=1).fit_fetch(sample)
        self.centres = np.asarray(self._model.cluster_centers)
        self.state_of_centre = np.arange(len(self.centres))
        self.macrostate = np.zeros(len(self.centres), dtype=np.int32)
        self.timescale_spread = np.zeros(0)

    @property
    def number(self) -> int:
        """Number of states."""
        return len(self.macrostate)

    @property
    def n_macrostates(self) -> int:
        """Number of lumped states."""
        return int(self.macrostate.max()) + 1

    def assign(self, coordinates: Float[np.ndarray, "frame mode"]) -> Int[np.ndarray, "frame"]:
        """The state of each frame: that of the nearest centre."""
        nearest = self._model.transform(np.ascontiguousarray(coordinates, dtype=np.float64), n_jobs=1)
        return self.state_of_centre[nearest]

    def merge_rare(self, counts: Float[np.ndarray, "state state"], lag_frames: int) -> None:
        """Merge rare states, alone or in groups, with fewer than `CROSSINGS` crossings; states are renumbered.

        Args:
            counts: transitions of all centres at the lag, sliding window.
            lag_frames: frames of the lag: so many sliding counts are one independent transition.
        """
        merged, flux = merged_states((counts + counts.T) / lag_frames, self.centres)
        self.state_of_centre = merged
        self.macrostate = np.zeros(len(flux), dtype=np.int32)

    def lump(self, counts: Float[np.ndarray, "state state"], n_macrostates: int) -> None:
        """Lump by PCCA+ (Roeblitz and Weber, 2013), most populated first; small lumped states join the best connected.

        States without transitions are lumped into the largest.
        """
        active = np.flatnonzero(counts.sum(0) + counts.sum(1) > 0)
        flux = (counts + counts.T)[np.ix_(active, active)]
        label = _metastable(flux, n_macrostates)
        while True:
            sets = label[:, None] == np.unique(label)
            between = sets.T.astype(float) @ flux @ sets
            share = between.sum(1) / between.sum()
            smallest = int(share.argmin())
            if len(share) == 1 or share[smallest] >= LEAST_POPULATION:
                break
            np.fill_diagonal(between, -1.0)
            label[sets[:, smallest]] = label[sets[:, int(between[smallest].argmax())]][0]
        rank = np.argsort(np.argsort(-share, kind="stable"), kind="stable")
        self.macrostate = np.zeros(len(counts), dtype=np.int32)
        self.macrostate[active] = rank[sets.argmax(1)]


def fit_states(
    coordinates: Float[np.ndarray, "frame mode"],
    count: Counter,
    lag_frames: int,
    n_states: int,
    n_macrostates: int,
    modes: int,
    seed: int,
) -> States:
    """The best of several starts of k-means: the one whose lumped chain has the highest VAMP-2 score.

    The score is the sum of the squared eigenvalues (Wu and Noe, J. Nonlinear Sci. 30, 23, 2020). The spread of the
    timescales' logarithms over the starts is kept as `timescale_spread`, part of the uncertainty of every timescale.
    """
    fitted, scores, logarithms = [], [], []
    n_states = max(2, min(n_states, len(coordinates) // (VISITS * lag_frames)))
    for start in range(SEEDS):
        states = States(coordinates, n_states, seed * SEEDS + start + 1)
        centre = states.assign(coordinates)
        states.merge_rare(count(centre, states.number), lag_frames)
        found = states.state_of_centre[centre]
        counts = count(found, states.number)
        states.lump(counts, n_macrostates)
        lumped = count(states.macrostate[found], states.n_macrostates)
        fitted.append(states)
        scores.append((leading_eigenvalues(lumped[None], n_macrostates) ** 2).sum())
        logarithms.append(np.log(np.maximum(timescales(leading_eigenvalues(counts[None], modes)[0], 1.0), 1e-3)))
    best = fitted[int(np.argmax(scores))]
    best.timescale_spread = np.std(logarithms, axis=0, ddof=1)
    return best


def merged_states(
    flux: Float[np.ndarray, "centre centre"], centres: Float[np.ndarray, "centre mode"]
) -> tuple[Int[np.ndarray, "centre"], Float[np.ndarray, "state state"]]:
    """The state of each centre after merging, and the flux between states.

    Args:
        flux: symmetric number of independent transitions between centres, both directions together.
        centres: coordinates, for centres that nothing connects.

    Each slow mode of the chain splits its states in two where their exchange is smallest for their populations; where
    the smaller side is rare and fewer than `CROSSINGS` cross, it becomes part of the state that it exchanges most with.
    """
    state = np.arange(len(flux))
    while len(flux) > 1:
        group = _rare_group(flux)
        if group is None:
            break
        outside = flux[group].sum(0) * ~group
        if outside.max() > 0:
            joins = int(outside.argmax())
        else:
            inside, others = group[state], np.flatnonzero(~group[state])
            gaps = np.linalg.norm(centres[inside][:, None] - centres[others][None], axis=-1)
            joins = int(state[others[gaps.min(0).argmin()]])
        target = np.where(group, joins, np.arange(len(flux)))
        _, target = np.unique(target, return_inverse=True)
        members = (target[:, None] == np.arange(target.max() + 1)).astype(float)
        flux, state = members.T @ flux @ members, target[state]
    return state, flux


def _rare_group(flux: Float[np.ndarray, "state state"]) -> Bool[np.ndarray, "state"] | None:
    """A group of states with a small population that too few transitions join to the others; None if there is none."""
    populations, total = flux.sum(1), flux.sum()
    leaving = populations - np.diag(flux)
    weak = np.flatnonzero((leaving < CROSSINGS) & (populations < RARE * total))
    if len(weak):
        return np.arange(len(flux)) == weak[leaving[weak].argmin()]
    root = np.sqrt(populations)
    _, vectors = np.linalg.eigh(flux / root[:, None] / root[None, :])
    for mode in range(2, min(len(flux), MODES_SEARCHED) + 1):
        order = np.argsort(vectors[:, -mode] / root)
        below = np.cumsum(populations[order])[:-1] / total
        sorted_flux = flux[np.ix_(order, order)]
        inner = np.cumsum(np.cumsum(sorted_flux, axis=0), axis=1).diagonal()[:-1]
        crossing = np.maximum(below * total - inner, 0.0)
        small = np.minimum(below, 1 - below)
        cut = np.where((crossing < CROSSINGS) & (small < RARE), crossing / small, np.inf)
        if np.isfinite(cut).any():
            at = int(cut.argmin()) + 1
            lower = np.zeros(len(flux), dtype=bool)
            lower[order[:at]] = True
            return lower if below[at - 1] <= 0.5 else ~lower
    return None


def _metastable(flux: Float[np.ndarray, "state state"], number: int) -> Int[np.ndarray, "state"]:
    """PCCA+ sets of a reversible chain, as many as it has up to `number`."""
    matrix, stationary = symmetrised(flux)
    for fewer in range(min(number, len(flux) - 1), 1, -1):
        try:
            return np.array(pcca(matrix, fewer, stationary_distribution=stationary).assignments, dtype=np.int64)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            continue  # no metastable sets for coinciding eigenvalues: try fewer
    return np.zeros(len(flux), dtype=np.int64)
