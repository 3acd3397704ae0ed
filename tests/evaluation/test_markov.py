import numpy as np
import pytest

from mdgen.evaluation.statistics.markov import (
    chapman_kolmogorov,
    connected_set,
    count_matrices,
    eigenvalues,
    log10_passage_times,
    slowest_timescales,
    stationary_distribution,
    symmetrised,
    timescales,
    transition_matrix,
)

BIRTH_DEATH = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]])


def exact_counts(n: float = 1e6) -> np.ndarray:
    return n * stationary_distribution(BIRTH_DEATH)[:, None] * BIRTH_DEATH


def test_the_exact_chain_is_recovered_from_its_expected_counts() -> None:
    np.testing.assert_allclose(transition_matrix(exact_counts()), BIRTH_DEATH, atol=1e-5)
    exact = np.sort(np.linalg.eigvals(BIRTH_DEATH).real)[::-1]
    pi = stationary_distribution(BIRTH_DEATH)
    np.testing.assert_allclose(pi @ BIRTH_DEATH, pi, atol=1e-12)
    np.testing.assert_allclose(eigenvalues(BIRTH_DEATH, pi), exact, atol=1e-10)
    np.testing.assert_allclose(slowest_timescales(exact_counts(), 2.0, 2), -2 / np.log(exact[1:]), rtol=1e-4)


def test_first_passage_times_of_two_states_are_geometric() -> None:
    matrix = np.array([[0.9, 0.1], [0.25, 0.75]])
    counts = 1e8 * stationary_distribution(matrix)[:, None] * matrix
    np.testing.assert_allclose(10 ** log10_passage_times(counts[None], 3.0)[0], [[1, 30], [12, 1]], rtol=1e-6)


def test_first_passage_times_agree_with_a_long_chain() -> None:
    rng, state, started, waits = np.random.default_rng(0), 0, 0, []
    for step, draw in enumerate(rng.random(60_000)):
        if state == 2:
            waits.append(step - started)
            state, started = 0, step
        state = int(np.searchsorted(BIRTH_DEATH[state].cumsum(), draw))
    error = np.std(waits) / np.sqrt(len(waits))
    exact = 10 ** log10_passage_times(exact_counts(1e8)[None], 1.0)[0, 0, 2]
    assert exact == pytest.approx(np.mean(waits), abs=4 * error)


def test_pairs_never_cross_a_trajectory() -> None:
    states, trajectory = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    counts = count_matrices(states, trajectory, trajectory, 1, 2)
    np.testing.assert_array_equal(counts, [[[0, 1], [1, 0]], [[0, 0], [1, 1]]])
    assert count_matrices(states, trajectory, trajectory, 2, 2).sum() == 2


def test_the_largest_connected_set_is_kept() -> None:
    counts = np.zeros((5, 5))
    counts[:3, :3] = 10
    counts[3:, 3:] = 1
    counts[2, 3] = 1  # one way only
    assert connected_set(counts).tolist() == [0, 1, 2]
    assert np.isnan(slowest_timescales(counts, 1.0, 4)[-1])


def test_a_process_without_memory_has_no_timescale() -> None:
    assert timescales(np.array([-0.2, 0.0]), 1.0).tolist() == [0, 0]
    assert slowest_timescales(np.outer([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]) * 1e4, 1.0, 1)[0] < 0.2


def test_the_quick_estimator_agrees_in_equilibrium() -> None:
    matrix, pi = symmetrised(exact_counts())
    np.testing.assert_allclose(matrix, BIRTH_DEATH, atol=1e-9)
    np.testing.assert_allclose(pi, stationary_distribution(BIRTH_DEATH), atol=1e-9)


def test_chapman_kolmogorov_holds_for_the_chain_itself_and_fails_for_a_lumped_one() -> None:
    pi, sets = stationary_distribution(BIRTH_DEATH), np.array([0, 1, 1])
    predicted = chapman_kolmogorov(BIRTH_DEATH, pi, sets, 2, 3)
    for power in (1, 2, 3):
        joint = pi[:, None] * np.linalg.matrix_power(BIRTH_DEATH, power)
        stays = [joint[np.ix_(sets == i, sets == i)].sum() / pi[sets == i].sum() for i in range(2)]
        np.testing.assert_allclose(predicted[power - 1], stays)
    members = np.eye(2)[sets]
    lumped = (members.T * pi) @ BIRTH_DEATH @ members / (members.T @ pi)[:, None]
    assert abs(np.linalg.matrix_power(lumped, 3)[1, 1] - predicted[2, 1]) > 5e-4
