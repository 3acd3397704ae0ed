"""Random streams: the published generator bit for bit, and normal deviates that are normal and independent."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from mdgen.simd import random
from mdgen.simd.lanes import LANES, load, store

PUBLISHED = [641, 1573767, 3222811527, 3517856514, 836907274, 4247214768, 3867114732, 1355841295, 495546011, 621204420]


@njit
def draw(state, out):
    words = load(state, (0,)), load(state, (1,)), load(state, (2,)), load(state, (3,))
    for row in range(out.shape[0]):
        bits, words = random._next(words)
        store(out, (row,), bits)


@njit
def normal(state, out):
    random.fill_normal(state, out)


@njit
def uniform(state, out):
    random.fill_uniform(state, out)


def deviates(rows: int, seed: int = 7, dtype=np.float32) -> np.ndarray:
    state = np.ascontiguousarray(random.seeded_streams(seed, LANES).T)
    out = np.empty((rows, LANES), dtype)
    normal(state, out)
    return out


def test_bits_are_those_of_the_published_generator() -> None:
    state = np.repeat(np.arange(1, 5, dtype=np.uint32)[:, None], LANES, axis=1)
    out = np.empty((len(PUBLISHED), LANES), np.uint32)
    draw(state, out)
    assert out[:, 0].tolist() == PUBLISHED
    assert (out == out[:, :1]).all()


def test_a_stream_depends_on_seed_and_replica_alone() -> None:
    np.testing.assert_array_equal(random.seeded_streams(5, 3), random.seeded_streams(5, 40)[:3])
    streams = np.concatenate([random.seeded_streams(seed, 500) for seed in (0, 1, 2**63 - 1)])
    assert len(np.unique(streams, axis=0)) == len(streams)
    assert streams.any(axis=1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deviates_are_normal(dtype) -> None:
    x = deviates(40_000, dtype=dtype).ravel().astype(np.float64)
    n = len(x)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 4 * np.sqrt(variance / n), power
    assert stats.kstest(x, "norm").pvalue > 1e-3
    for bound in (3.0, 4.0):
        expected = n * 2 * stats.norm.sf(bound)
        assert abs((np.abs(x) > bound).sum() - expected) < 4 * np.sqrt(expected)


def test_both_of_a_pair_are_normal_and_point_everywhere() -> None:
    x = deviates(40_000).astype(np.float64)
    first, second = x[::2].ravel(), x[1::2].ravel()
    assert stats.kstest(np.arctan2(second, first), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert stats.kstest(first**2 + second**2, stats.chi2(2).cdf).pvalue > 1e-3


def test_deviates_do_not_correlate() -> None:
    x = deviates(40_000).astype(np.float64)
    bound = 5 / np.sqrt(len(x))
    between_lanes = np.corrcoef(x.T) - np.eye(LANES)
    assert np.abs(between_lanes).max() < bound
    for lag in (1, 2, 3, 6):
        assert np.abs((x[lag:] * x[:-lag]).mean(0)).max() < bound
        assert np.abs(np.corrcoef(x[lag:, 0] ** 2, x[:-lag, 0] ** 2)[0, 1]) < bound


def test_drawing_in_two_portions_gives_the_same_numbers() -> None:
    whole = deviates(40)
    state = np.ascontiguousarray(random.seeded_streams(7, LANES).T)
    parts = [np.empty((20, LANES), np.float32) for _ in range(2)]
    for part in parts:
        normal(state, part)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_are_those_of_the_generator_and_uniform(dtype) -> None:
    state = np.ascontiguousarray(random.seeded_streams(3, LANES).T)
    out, bits = np.empty((20_000, LANES), dtype), np.empty((20_000, LANES), np.uint32)
    draw(state.copy(), bits)
    uniform(state, out)
    np.testing.assert_allclose(out, (bits + 0.5) / 2.0**32, rtol=2.0**-23 if dtype == np.float32 else 0)
    assert out.min() > 0
    assert out.max() <= 1
    assert stats.kstest(out.ravel(), "uniform").pvalue > 1e-3


def test_streams_of_seeds_that_differ_in_one_bit_have_nothing_in_common() -> None:
    seeds = np.uint64(1) << np.arange(64, dtype=np.uint64)
    streams = random.streams_of(np.concatenate([seeds, [np.uint64(0)]]))
    bits = np.unpackbits(streams.view(np.uint8), axis=1)
    differences = (bits[:-1] != bits[-1]).mean(1)
    assert differences.min() > 0.3
    np.testing.assert_array_equal(random.streams_of(seeds[3:5]), streams[3:5])
