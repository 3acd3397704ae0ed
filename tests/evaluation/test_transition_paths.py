from itertools import pairwise, product

import numpy as np
import pytest

from mdgen.evaluation.baselines.surrogates import walk
from mdgen.evaluation.statistics.markov import stationary_distribution
from mdgen.evaluation.statistics.transition_paths import (
    bridge_occupancy,
    first_transition,
    observed_paths,
    path_log_probability,
    path_visits,
    rarest_pair,
)

CHAIN = np.array([[0.7, 0.3, 0.0], [0.2, 0.5, 0.3], [0.0, 0.4, 0.6]])
STEPS = 4


def exact_ensemble() -> dict[tuple[int, ...], float]:
    """Every path from 0 to 2 in four steps with its probability, by enumeration."""
    weights = {}
    for inner in product(range(3), repeat=STEPS - 1):
        path = (0, *inner, 2)
        weight = float(np.prod([CHAIN[a, b] for a, b in pairwise(path)]))
        if weight > 0:
            weights[path] = weight
    total = sum(weights.values())
    return {path: weight / total for path, weight in weights.items()}


def test_probabilities_and_occupancy_are_those_of_the_ensemble() -> None:
    exact = exact_ensemble()
    paths = np.array(list(exact))
    np.testing.assert_allclose(np.exp(path_log_probability(CHAIN, paths)), list(exact.values()))
    occupancy = sum(p * np.bincount(path[1:-1], minlength=3) for path, p in exact.items()) / (STEPS - 1)
    np.testing.assert_allclose(bridge_occupancy(CHAIN, 0, 2, STEPS), occupancy)


def test_impossible_paths_are_known_as_such() -> None:
    assert path_log_probability(CHAIN, np.array([[0, 2, 2, 2, 2]]))[0] == -np.inf


def test_the_rarest_pair_has_the_lowest_flux_that_is_not_zero() -> None:
    flux = np.array([[0, 5, 0], [5, 0, 2], [0, 2, 0.0]])
    assert rarest_pair(flux) == (1, 2)
    assert rarest_pair(np.zeros((2, 2))) is None


def test_the_first_transition_is_within_one_trajectory() -> None:
    states, trajectory = np.array([0, 0, 1, 0, 2, 1]), np.array([0, 0, 1, 1, 1, 1])
    assert first_transition(states, trajectory, (0, 1)) == slice(2, 4)
    assert first_transition(states, trajectory, (0, 5)) is None


def test_observed_paths_of_a_long_chain_have_the_probabilities_of_the_ensemble() -> None:
    states = walk(CHAIN, stationary_distribution(CHAIN), 20, 5000, np.random.default_rng(3))
    trajectory = np.repeat(np.arange(20), 5000)
    paths, start = observed_paths(states.reshape(-1), trajectory, 1, STEPS)
    assert (trajectory[start] == trajectory[start + STEPS]).all()
    assert (paths[:, 0] != paths[:, -1]).all()
    mine = paths[(paths[:, 0] == 0) & (paths[:, -1] == 2)]
    exact = sum(p * np.log(p) for p in exact_ensemble().values())
    assert path_log_probability(CHAIN, mine).mean() == pytest.approx(exact, abs=0.05)
    visits = path_visits(mine, np.zeros(len(mine), dtype=int), 3, 1).reshape(3, 3, 3)[0, 2]
    np.testing.assert_allclose(visits / visits.sum(), bridge_occupancy(CHAIN, 0, 2, STEPS), atol=0.02)


def test_the_lag_of_observed_paths_is_in_frames() -> None:
    paths, start = observed_paths(np.array([0, 9, 1, 9, 2, 9]), np.zeros(6, dtype=int), 2, 2)
    assert paths.tolist() == [[0, 1, 2]]
    assert start.tolist() == [0]
