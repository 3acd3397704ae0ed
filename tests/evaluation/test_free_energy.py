import numpy as np
import pytest

from mdgen.evaluation.statistics.distributions import free_energy, free_energy_rmse


def test_a_constant_does_not_count() -> None:
    counts = np.exp(-np.linspace(0, 4, 20)) * 1e5
    assert free_energy_rmse(counts, 3 * counts) == pytest.approx(0, abs=1e-12)


def test_a_known_difference_is_found() -> None:
    energy = np.full(20, 1.0)
    shifted = energy + np.where(np.arange(20) % 2, 0.3, -0.3)
    assert free_energy_rmse(1e6 * np.exp(-energy), 1e6 * np.exp(-shifted)) == pytest.approx(0.3, abs=1e-9)


def test_high_free_energies_are_left_out_and_missing_bins_are_not() -> None:
    reference = 1e6 * np.exp(-np.array([0.0, 1.0, 2.0, 9.0]))
    assert free_energy_rmse(reference, reference * [1, 1, 1, 50]) == pytest.approx(0, abs=1e-9)
    missing = free_energy_rmse(reference, reference * [1, 1, 0, 1])
    assert np.isfinite(missing)
    assert missing > 3


def test_the_free_energy_of_a_histogram() -> None:
    assert free_energy(np.exp(-np.array([2.0, 0.5, 3.0]))) == pytest.approx([1.5, 0, 2.5])
