"""The chain is the published one, its spectrum is exact, and its sampler follows its law."""

import numpy as np
import pytest
import torch

from mdgen.benchmarks.four_wells.four_wells_chain import FourWells

wells = FourWells()


def test_published_numbers() -> None:
    np.testing.assert_allclose(wells.timescales, [6038.9, 922.4, 475.1], atol=0.05)
    np.testing.assert_allclose(wells.eigenvalues(100), [0.98358, 0.89726, 0.81019], atol=5e-6)


def test_stationary_law_and_detailed_balance() -> None:
    matrix, law = wells.transition_matrix, wells.stationary
    np.testing.assert_allclose(matrix.sum(1), 1)
    np.testing.assert_allclose(law @ matrix, law, atol=1e-15)
    flux = law[:, None] * matrix
    np.testing.assert_allclose(flux, flux.T, atol=1e-16)


def test_eigenfunctions() -> None:
    functions, law = wells.eigenfunctions(5), wells.stationary
    np.testing.assert_allclose(functions.T @ (law[:, None] * functions), np.eye(5), atol=1e-10)
    np.testing.assert_allclose(law @ functions, 0, atol=1e-10)
    np.testing.assert_allclose(wells.lagged_matrix(7) @ functions, functions * wells.eigenvalues(7, 5), atol=1e-10)
    assert (functions[-1] > 0).all()
    # the slowest mode parts the line in two
    assert (np.diff(np.sign(functions[:, 0])) != 0).sum() == 1


def test_bins() -> None:
    np.testing.assert_array_equal(wells.bin_of(wells.centres), np.arange(100))
    np.testing.assert_array_equal(wells.bin_of(np.array([-9.0, 9.0])), [0, 99])


def test_sampler_follows_the_transition_matrix() -> None:
    steps = wells.sample(200_000, torch.Generator().manual_seed(0), n_trajectories=5)
    assert steps.shape == (5, 200_000)
    assert np.abs(np.diff(steps)).max() == 1
    counts = np.zeros((100, 100))
    np.add.at(counts, (steps[:, :-1].ravel(), steps[:, 1:].ravel()), 1)
    from_state, matrix = counts.sum(1, keepdims=True), wells.transition_matrix
    deviation = (counts - from_state * matrix) / np.sqrt(from_state * matrix * (1 - matrix) + 1e-9)
    assert np.abs(deviation[matrix > 0]).max() < 4.5  # 298 normal deviates
    assert counts[matrix == 0].sum() == 0


def test_sampler_starts_in_the_stationary_law_and_obeys_its_generator() -> None:
    starts = wells.sample(1, torch.Generator().manual_seed(1), n_trajectories=20_000)[:, 0]
    observed = np.bincount(starts, minlength=100) / 20_000
    assert np.abs(observed - wells.stationary).sum() / 2 < 0.04
    same, other = (wells.sample(1000, torch.Generator().manual_seed(seed), 2) for seed in (3, 4))
    np.testing.assert_array_equal(same, wells.sample(1000, torch.Generator().manual_seed(3), 2))
    assert (same != other).any()
    assert (same[0] != same[1]).any()


@pytest.mark.slow
def test_five_million_steps_give_the_timescales() -> None:
    (steps,) = wells.sample(5_000_000, torch.Generator().manual_seed(0))
    counts = np.zeros((100, 100))
    np.add.at(counts, (steps[:-100], steps[100:]), 1)
    counts += counts.T
    values = np.sort(np.linalg.eigvals(counts / counts.sum(1, keepdims=True)).real)[::-1][1:4]
    # some 800 relaxations of the slowest mode: three standard errors
    np.testing.assert_allclose(-100 / np.log(values), wells.timescales, rtol=0.15)
