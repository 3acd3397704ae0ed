import numpy as np
import pytest

from mdgen.evaluation.baselines.surrogates import walk
from mdgen.evaluation.statistics.markov import count_matrices, leading_eigenvalues, stationary_distribution, timescales
from mdgen.evaluation.statistics.states import CROSSINGS, LEAST_POPULATION, States, fit_states, merged_states

CHAIN = np.array([[0.97, 0.02, 0.01], [0.02, 0.97, 0.01], [0.02, 0.02, 0.96]])
"""Three states whose slowest timescale is 25."""

CENTRES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
RARE_PLACE = np.array([8.0, 8.0])


def coordinates(seed: int, steps: int = 6000) -> np.ndarray:
    """The chain with noise about its centres; in the middle one stay of 150 frames far away."""
    rng = np.random.default_rng(seed)
    states = walk(CHAIN, stationary_distribution(CHAIN), 1, steps, rng)[0]
    places = CENTRES[states] + 0.05 * rng.normal(size=(steps, 2))
    places[steps // 2 : steps // 2 + 150] = RARE_PLACE + 0.3 * rng.normal(size=(150, 2))
    return places


def count(states: np.ndarray, number: int) -> np.ndarray:
    one = np.zeros(len(states), dtype=np.int64)
    return count_matrices(states, one, one, 1, number)[0]


def slowest(states: np.ndarray) -> float:
    return timescales(leading_eigenvalues(count(states, int(states.max()) + 1)[None], 1)[0], 1.0)[0]


def test_a_place_visited_once_makes_no_slow_timescale() -> None:
    places = coordinates(0)
    naive = States(places, 20, seed=1)
    assert slowest(naive.assign(places)) > 70  # the one stay, in several states of k-means
    states = fit_states(places, count, 1, 20, 3, 1, seed=0)
    assert slowest(states.assign(places)) == pytest.approx(25, rel=0.3)
    assert states.number < len(states.centres)
    assert len(states.timescale_spread) == 1


def test_groups_that_many_transitions_join_are_kept_whatever_their_population() -> None:
    flux = np.array([[900.0, 3.0, 0.0], [3.0, 40.0, 30.0], [0.0, 30.0, 40.0]])
    state, _ = merged_states(flux, np.arange(3.0)[:, None])
    assert state.tolist() == [0, 1, 2]  # few crossings, but 14 % of the frames: real, if badly sampled
    flux[0, 0] = 90_000
    state, merged = merged_states(flux, np.arange(3.0)[:, None])
    assert state.tolist() == [0, 0, 0]
    assert merged.sum() == flux.sum()
    flux[0, 1] = flux[1, 0] = 2 * CROSSINGS
    assert merged_states(flux, np.arange(3.0)[:, None])[0].tolist() == [0, 1, 2]


def test_states_that_nothing_joins_go_to_the_nearest_centre() -> None:
    flux = np.diag([500.0, 500.0, 0.0])
    flux[0, 1] = flux[1, 0] = 50
    assert merged_states(flux, np.array([[0.0], [1.0], [1.4]]))[0].tolist() == [0, 1, 1]


def test_lumped_states_hold_at_least_one_percent_and_come_by_population() -> None:
    rng = np.random.default_rng(1)
    centres = np.arange(8.0)[:, None]
    states = States(centres, 8, seed=1)
    populations = np.array([0.4, 0.3, 0.2, 0.08, 0.009, 0.005, 0.004, 0.002])
    matrix = 0.98 * np.eye(8) + 0.02 * populations
    counts = 1e5 * populations[:, None] * matrix
    states.lump(counts + rng.random((8, 8)) * 1e-3, 6)
    share = np.bincount(states.macrostate, weights=counts.sum(1)) / counts.sum()
    assert share.min() >= LEAST_POPULATION
    assert (np.diff(share) <= 0).all()
    assert states.n_macrostates >= 3
