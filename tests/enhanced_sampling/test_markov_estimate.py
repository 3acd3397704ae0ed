"""A chain with a known matrix, sampled in short runs from wrong starts: kinetics and equilibrium are found anyway."""

import numpy as np
import pytest

from mdgen.enhanced_sampling.markov_estimate import MarkovEstimate, resampled_timescales, transition_counts
from mdgen.enhanced_sampling.start_choice import (
    equilibrium_weights,
    farthest_point_cells,
    frames_in,
    least_counts,
    timescale_uncertainty,
)

CHAIN = np.array([[0.9, 0.1, 0.0], [0.04, 0.95, 0.01], [0.0, 0.1, 0.9]])
LAW = np.array([0.4, 1.0, 0.1]) / 1.5


def runs(n_runs: int, length: int, start: int | None, seed: int = 0) -> list[np.ndarray]:
    """Short runs of the chain that all begin in one state, or in any of them alike."""
    rng = np.random.default_rng(seed)
    now = rng.integers(0, 3, n_runs) if start is None else np.full(n_runs, start)
    frames = [now]
    for _ in range(length - 1):
        now = (rng.random((n_runs, 1)) > CHAIN[now].cumsum(1)[:, :-1]).sum(1)
        frames.append(now)
    return list(np.array(frames).T)


def test_short_runs_from_wrong_starts_give_the_chain() -> None:
    made = runs(4000, 20, start=None)
    assert abs(np.bincount(np.concatenate(made))[2] / 80_000 - LAW[2]) > 0.05  # plain averages are wrong
    counts = transition_counts(made, 1, 3)
    assert counts.sum() == 4000 * 19
    estimate = MarkovEstimate.from_counts(counts.sum(0), lag_ps=2.0)
    np.testing.assert_allclose(estimate.matrix, CHAIN, atol=0.01)
    np.testing.assert_allclose(estimate.stationary, LAW, atol=0.01)
    exact = -2.0 / np.log(np.sort(np.linalg.eigvals(CHAIN).real)[::-1][1:])
    np.testing.assert_allclose(estimate.timescales_ps(3)[:2], exact, rtol=0.05)
    assert np.isnan(estimate.timescales_ps(3)[2])
    drawn = resampled_timescales(counts, 2.0, 2, 50, np.random.default_rng(0))
    assert (np.quantile(drawn, 0.005, axis=0) < exact).all()
    assert (exact < np.quantile(drawn, 0.995, axis=0)).all()
    weights = equilibrium_weights(estimate, np.concatenate(made), 3)
    np.testing.assert_allclose(np.bincount(np.concatenate(made), weights=weights), LAW, atol=0.01)


def test_transitions_are_counted_at_the_lag_and_within_runs() -> None:
    counts = transition_counts([np.array([0, 1, 0, 1, 1]), np.array([2, 2])], 2, 3)
    np.testing.assert_array_equal(counts[0], [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert counts[1].sum() == 0


def test_states_that_are_entered_and_never_left_are_no_part_of_the_chain() -> None:
    estimate = MarkovEstimate.from_counts(np.array([[5, 2, 1], [2, 5, 0], [0, 0, 9]]), 1.0)
    np.testing.assert_array_equal(estimate.active, [0, 1])
    weights = equilibrium_weights(estimate, np.array([0, 1, 2]), 3)
    assert weights[2] == 0
    assert np.isnan(MarkovEstimate.from_counts(np.diag([3, 1]), 1.0).timescales_ps(1)[0])


def test_least_counts_prefers_what_was_seen_least_and_draws_none_twice_before_all() -> None:
    visits, rng = np.array([100, 10, 0, 1]), np.random.default_rng(0)
    drawn = np.concatenate([least_counts(visits, 1, rng) for _ in range(4000)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, np.array([0.01, 0.1, 0, 1]) / 1.11, atol=0.02)
    assert sorted(least_counts(visits, 6, rng).tolist()) == [0, 0, 1, 1, 3, 3]
    assert len(set(least_counts(np.arange(1, 101), 16, rng).tolist())) == 16


def test_uncertainty_is_where_further_transitions_lower_the_variance_most() -> None:
    """The variance of the eigenvalue over many repeats, with further transitions out of each state in turn."""
    base = np.array([400, 400, 400])

    def variance(more: int) -> float:
        rng, values = np.random.default_rng(1), []
        sizes = base + 400 * (np.arange(3) == more)
        for _ in range(1500):
            counts = np.array([rng.multinomial(n, row) for n, row in zip(sizes, CHAIN, strict=True)])
            matrix = counts / counts.sum(1, keepdims=True)
            values.append(np.sort(np.linalg.eigvals(matrix).real)[1])
        return float(np.var(values))

    best = int(np.argmin([variance(more) for more in range(3)]))
    estimate = MarkovEstimate(np.arange(3), base[:, None] * CHAIN, CHAIN, 1.0)
    chosen = timescale_uncertainty(estimate, 1, 30)
    assert chosen[0] == best
    later = timescale_uncertainty(estimate, 1, 3000)
    assert len(set(later.tolist())) > 1  # not all go to one state once that is known well


def test_farthest_point_cells_give_few_frames_far_away_a_cell_of_their_own() -> None:
    crowd = np.random.default_rng(0).standard_normal((10_000, 2))
    latents = np.concatenate([crowd, [[9.0, 9.0], [9.1, 9.0], [-9.0, 9.0]]])
    cells = farthest_point_cells(latents, 5, first=0)
    assert cells[-3] == cells[-2]
    assert (cells[:-3] != cells[-3]).all()
    assert (cells == cells[-1]).sum() == 1
    assert len(set(farthest_point_cells(np.zeros((4, 1)), 3, first=2).tolist())) == 1
    radius = [np.linalg.norm(latents[cells == c] - latents[cells == c].mean(0), axis=1).max() for c in set(cells)]
    assert max(radius) < 4.5


def test_a_frame_of_each_chosen_state() -> None:
    states, rng = np.array([2, 0, 1, 0, 2, 2]), np.random.default_rng(0)
    chosen = np.array([0, 2, 1, 2] * 50)
    frames = frames_in(states, chosen, rng)
    np.testing.assert_array_equal(states[frames], chosen)
    assert set(frames.tolist()) == set(range(6))


@pytest.mark.parametrize("start", [0, 2])
def test_the_equilibrium_does_not_depend_on_the_start(start: int) -> None:
    estimate = MarkovEstimate.from_counts(transition_counts(runs(3000, 40, start), 1, 3).sum(0), 1.0)
    np.testing.assert_allclose(estimate.stationary, LAW, atol=0.03)
