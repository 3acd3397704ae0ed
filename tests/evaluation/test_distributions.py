import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from mdgen.evaluation.statistics.distributions import (
    angle_bins,
    histograms,
    jensen_shannon,
    sampling_floor,
)


def test_the_distance_is_scipys_and_a_distance() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 5, 40)) * (rng.random((2, 5, 40)) > 0.3)
    distance = jensen_shannon(p, q)
    np.testing.assert_allclose(distance, jensenshannon(p, q, axis=-1), atol=1e-12)
    np.testing.assert_allclose(distance, jensen_shannon(q, p), atol=1e-12)
    np.testing.assert_allclose(jensen_shannon(p, 7 * p), 0, atol=1e-8)
    assert np.all(distance < np.sqrt(np.log(2)))


@pytest.mark.parametrize(("frames", "expected"), [(1_000, 0.108), (10_000, 0.036)])
def test_the_floor_is_that_of_the_literature(frames: int, expected: float) -> None:
    floor = sampling_floor(np.ones(100), frames, np.random.default_rng(1))
    assert floor.mean() == pytest.approx(expected, rel=0.05)


def test_every_angle_falls_into_a_bin_and_the_ends_too() -> None:
    angles = np.array([-np.pi, -1e-9, 1e-9, np.pi])
    assert angle_bins(angles, 100).tolist() == [0, 49, 50, 99]


def test_histograms_by_unit_add_up() -> None:
    rng = np.random.default_rng(2)
    bins, units = rng.integers(-1, 7, 500), rng.integers(0, 3, 500)
    counts = histograms(bins, units, 7, 3)
    np.testing.assert_array_equal(counts.sum(0), np.bincount(bins[bins >= 0], minlength=7))
    np.testing.assert_array_equal(counts[1], np.bincount(bins[(bins >= 0) & (units == 1)], minlength=7))
