"""Reweighting against cases that are solved exactly: averages, and Kish's effective sample size."""

import numpy as np
import pytest

from mdgen.enhanced_sampling.reweighting import (
    effective_sample_size,
    log_weights,
    normalised_weights,
    reachable_share,
)
from mdgen.units import thermal_energy

N = 400_000
STIFFNESS = 1000.0


def oscillators(dimensions: int, kelvin: float) -> np.ndarray:
    """Exact samples of harmonic oscillators."""
    spread = np.sqrt(thermal_energy(kelvin) / STIFFNESS)
    return spread * np.random.default_rng(0).standard_normal((N, dimensions))


@pytest.mark.parametrize(("dimensions", "target_K"), [(1, 200.0), (1, 400.0), (6, 270.0)])
def test_oscillators_at_another_temperature(dimensions: int, target_K: float) -> None:
    """With r = T_A / T_B the effective share is `(sqrt(2 r - 1) / r)^d`, and `<x^2>` is kT_B / k."""
    x = oscillators(dimensions, 300.0)
    energy = STIFFNESS * (x**2).sum(1) / 2
    weights = normalised_weights(log_weights(energy, 300.0, energy, target_K))
    r = 300.0 / target_K
    assert effective_sample_size(weights) / N == pytest.approx((np.sqrt(2 * r - 1) / r) ** dimensions, rel=0.03)
    np.testing.assert_allclose(weights @ x**2, thermal_energy(target_K) / STIFFNESS, rtol=0.03)


def test_oscillators_of_another_stiffness_and_place() -> None:
    x = oscillators(1, 300.0)[:, 0]
    target = 1.5 * STIFFNESS * (x - 0.02) ** 2 / 2
    weights = normalised_weights(log_weights(STIFFNESS * x**2 / 2, 300.0, target, 300.0))
    assert weights @ x == pytest.approx(0.02, rel=0.02)
    assert weights @ (x - 0.02) ** 2 == pytest.approx(thermal_energy(300.0) / (1.5 * STIFFNESS), rel=0.02)


def test_the_weights_do_not_depend_on_the_zero_of_energy_and_equal_ones_keep_all() -> None:
    energy = oscillators(1, 300.0)[:50, 0] ** 2 * 500
    first, shifted = (normalised_weights(log_weights(energy, 300.0, energy + shift, 250.0)) for shift in (0.0, 1e5))
    np.testing.assert_allclose(first, shifted, rtol=1e-9)
    assert effective_sample_size(normalised_weights(np.zeros(50))) == pytest.approx(50)


def test_a_frame_without_an_energy_has_no_weight() -> None:
    weights = normalised_weights(np.array([0.0, np.nan, -np.inf, np.inf, 0.0]))
    np.testing.assert_array_equal(weights, [0.5, 0, 0, 0, 0.5])
    assert effective_sample_size(normalised_weights(np.full(3, np.nan))) == 0


def test_the_reachable_share_is_where_the_effective_number_meets_the_bound() -> None:
    energy = STIFFNESS * oscillators(1, 300.0)[:20_000, 0] ** 2 / 2
    logarithms = log_weights(energy, 300.0, energy, 1.0)
    share = reachable_share(logarithms, 2000.0)
    assert 0 < share < 1
    assert effective_sample_size(normalised_weights(share * logarithms)) == pytest.approx(2000.0, rel=1e-3)
    assert reachable_share(logarithms, 1.0) == pytest.approx(1.0)
