"""Elementary functions of lanes against numpy in double precision, in units of rounding."""

import numpy as np
import pytest
from numba import njit

from mdgen.simd import lane_math
from mdgen.simd.lane_instructions import (
    library_cos,
    library_sin,
    maximum,
    minimum,
    reciprocal_root,
    select_less,
)
from mdgen.simd.lanes import LANES
from tests.simd.lane_drivers import over_lanes

ROUNDING = {np.float32: 2.0**-24, np.float64: 2.0**-53}
PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@njit
def exp2(x):
    return lane_math.exp2(x)


@njit
def log(x):
    return lane_math.log(x)


@njit
def arccos(x):
    return lane_math.arccos(x)


@njit
def angle(x):
    return lane_math.angle_of(library_cos(x), library_sin(x))


@njit
def sine_cosine(x):
    return lane_math.sine_cosine(x)


@njit
def arithmetic(x):
    return (2 * x - 1.0) / (x * x + 0.5) - (-x)


@njit
def clamped(x):
    return minimum(maximum(x, -0.5), select_less(x, 0.0, 9.0, 0.25))


@njit
def root(x):
    return reciprocal_root(x)


def relative_error(function, reference, x) -> float:
    exact = reference(x.astype(np.longdouble))
    return float(np.abs((function(x) - exact) / exact).max() / ROUNDING[x.dtype.type])


@PRECISIONS
def test_exp2_is_good_to_a_few_units(dtype) -> None:
    x = np.random.default_rng(0).uniform(-125, 125, 100_003).astype(dtype)
    assert relative_error(over_lanes(exp2), np.exp2, x) < 4


def test_exp2_clamps_instead_of_overflowing() -> None:
    ends = over_lanes(exp2)(np.array([-1e9, -127.0, 0.0, 127.0, 1e9], np.float32))
    np.testing.assert_array_equal(ends, np.float32([2.0**-126, 2.0**-126, 1.0, 2.0**126, 2.0**126]))


@PRECISIONS
def test_logarithm_is_good_to_a_few_units(dtype) -> None:
    x = np.exp(np.random.default_rng(1).uniform(-80, 80, 100_003)).astype(dtype)
    assert relative_error(over_lanes(log), np.log, x) < 6


@PRECISIONS
def test_logarithm_near_one_keeps_its_relative_accuracy(dtype) -> None:
    x = (1 + np.random.default_rng(2).uniform(-0.2, 0.2, 20_000)).astype(dtype)
    assert relative_error(over_lanes(log), np.log, x[x != 1]) < 6


@PRECISIONS
def test_arccosine_is_good_to_a_few_units_of_pi(dtype) -> None:
    x = np.concatenate([np.random.default_rng(3).uniform(-1, 1, 50_000), [-1.0, 1.0, 0.0]]).astype(dtype)
    error = np.abs(over_lanes(arccos)(x) - np.arccos(x.astype(np.longdouble))).max()
    assert error < 8 * ROUNDING[dtype]


@PRECISIONS
def test_an_angle_from_cosine_and_sine_is_good_all_around(dtype) -> None:
    x = np.concatenate([np.random.default_rng(7).uniform(-np.pi, np.pi, 50_000), np.pi / 4 * np.arange(-3, 4)])
    x = x.astype(dtype)
    assert np.abs(over_lanes(angle)(x) - x).max() < 8 * ROUNDING[dtype]


@PRECISIONS
def test_sine_and_cosine_of_quarter_turns(dtype) -> None:
    x = np.random.default_rng(4).uniform(-0.5, 0.5, 50_000).astype(dtype)
    sine, cosine = over_lanes(sine_cosine, results=2)(x)
    angle = x.astype(np.float64) * np.pi / 2
    assert np.abs(sine - np.sin(angle)).max() < 4 * ROUNDING[dtype]
    assert np.abs(cosine - np.cos(angle)).max() < 4 * ROUNDING[dtype]


@PRECISIONS
def test_reciprocal_root_is_good_to_a_few_units(dtype) -> None:
    x = np.exp(np.random.default_rng(5).uniform(-20, 20, 100_003)).astype(dtype)
    assert relative_error(over_lanes(root), lambda y: 1 / np.sqrt(y), x) < 5


@PRECISIONS
def test_arithmetic_and_selection_agree_with_numpy(dtype) -> None:
    x = np.random.default_rng(6).uniform(-3, 3, 10 * LANES + 3).astype(dtype)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        over_lanes(arithmetic)(x), (2 * wide - 1) / (wide**2 + 0.5) + wide, rtol=0, atol=100 * ROUNDING[dtype]
    )
    expected = np.minimum(np.maximum(x, dtype(-0.5)), np.where(x < 0, dtype(9), dtype(0.25)))
    np.testing.assert_array_equal(over_lanes(clamped)(x), expected)
