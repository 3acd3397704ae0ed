from itertools import pairwise, product

import numpy as np
import pytest

from mdgen.evaluation.statistics.transition_paths import (
    bridge_occupancy,
    first_transition,
    path_log_probability,
    rarest_pair,
    sample_bridges,
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


def test_sampled_bridges_follow_the_exact_path_ensemble() -> None:
    exact, number = exact_ensemble(), 20_000
    paths = sample_bridges(CHAIN, 0, 2, STEPS, number, np.random.default_rng(0))
    assert paths is not None
    found, counts = np.unique(paths, axis=0, return_counts=True)
    assert {tuple(path) for path in found.tolist()} == set(exact)
    for path, count in zip(found.tolist(), counts, strict=True):
        p = exact[tuple(path)]
        assert count / number == pytest.approx(p, abs=5 * np.sqrt(p / number))


def test_probabilities_and_occupancy_are_those_of_the_ensemble() -> None:
    exact = exact_ensemble()
    paths = np.array(list(exact))
    np.testing.assert_allclose(np.exp(path_log_probability(CHAIN, paths)), list(exact.values()))
    occupancy = sum(p * np.bincount(path[1:-1], minlength=3) for path, p in exact.items()) / (STEPS - 1)
    np.testing.assert_allclose(bridge_occupancy(CHAIN, 0, 2, STEPS), occupancy)


def test_impossible_paths_are_known_as_such() -> None:
    assert sample_bridges(CHAIN, 0, 2, 1, 5, np.random.default_rng(0)) is None
    assert path_log_probability(CHAIN, np.array([[0, 2, 2, 2, 2]]))[0] == -np.inf


def test_the_rarest_pair_has_the_lowest_flux_that_is_not_zero() -> None:
    flux = np.array([[0, 5, 0], [5, 0, 2], [0, 2, 0.0]])
    assert rarest_pair(flux) == (1, 2)
    assert rarest_pair(np.zeros((2, 2))) is None


def test_the_first_transition_is_within_one_trajectory() -> None:
    states, trajectory = np.array([0, 0, 1, 0, 2, 1]), np.array([0, 0, 1, 1, 1, 1])
    assert first_transition(states, trajectory, (0, 1)) == slice(2, 4)
    assert first_transition(states, trajectory, (0, 5)) is None
