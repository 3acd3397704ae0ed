"""Random numbers: one xoshiro128++ stream a lane, and normal deviates by Box and Muller.

A stream is seeded from one number and its own index alone, so it gives the same numbers whatever the number of streams,
and its four words of state are all that a restart needs.

References: Blackman and Vigna, ACM Trans. Math. Softw. 2021, 47, 36 (xoshiro); Box and Muller, Ann. Math. Stat. 1958,
29, 610; Steele, Lea, Flood, OOPSLA 2014 (SplitMix64, which seeds).
"""

from typing import Any

import numpy as np
from jaxtyping import UInt32, UInt64

from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import bits, converted, select_less, square_root
from mdgen.simd.lane_math import log, sine_cosine
from mdgen.simd.lanes import load, store

WORDS = 4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _split_mix(value: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def streams_of(seeds: UInt64[np.ndarray, "stream"]) -> UInt32[np.ndarray, "stream 4"]:
    """The initial state of one stream for each seed."""
    start = _split_mix(seeds)
    both = _split_mix(start[:, None] + np.arange(1, 3, dtype=np.uint64) * _GOLDEN)
    words = np.stack([both & np.uint64(0xFFFFFFFF), both >> np.uint64(32)], -1)
    return words.reshape(-1, WORDS).astype(np.uint32)


def seeded_streams(seed: int, replicas: int) -> UInt32[np.ndarray, "replica 4"]:
    """The initial state of the stream of each replica, from a seed of up to 64 bits."""
    root = _split_mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return streams_of(root + np.arange(1, replicas + 1, dtype=np.uint64) * _GOLDEN)


@lane_function
def _rotated(a: Any, count: Any) -> Any:
    return (a << count) | (a >> (32 - count))


@lane_function
def _next(words: Any) -> Any:
    """32 random bits a lane, and the next words of state."""
    s0, s1, s2, s3 = words
    drawn = _rotated(s0 + s3, 7) + s0
    shifted = s1 << 9
    s2 = s2 ^ s0
    s3 = s3 ^ s1
    s1 = s1 ^ s2
    s0 = s0 ^ s3
    return drawn, (s0, s1, s2 ^ shifted, _rotated(s3, 11))


@lane_function
def _words_of(state: Any) -> Any:
    return load(state, (0,)), load(state, (1,)), load(state, (2,)), load(state, (3,))


@lane_function
def _keep(state: Any, words: Any) -> None:
    for word in range(WORDS):
        store(state, (word,), words[word])


@lane_function
def fill_normal(state: Any, deviates: Any) -> None:
    """Fill `deviates` (row, lane) with independent standard normal numbers; the number of rows must be even.

    Args:
        state: uint32 (4, lane), advanced.
        deviates: float32 or float64 (row, lane).
    """
    words = _words_of(state)
    like = load(deviates, (0,))

    for row in range(0, deviates.shape[0], 2):
        first, words = _next(words)
        second, words = _next(words)
        # Uniform in (0, 1): the half keeps the logarithm finite, the full 32 bits reach 6.7 standard deviations.
        uniform = converted(first, like) * 2.0**-32 + 2.0**-33
        radius = square_root(-2.0 * log(uniform))
        # Thirty bits choose an angle in a quarter of the circle, the other two which quarter.
        sine, cosine = sine_cosine(converted(bits(second << 2), like) * 2.0**-32)
        swap = converted(second >> 31, like)
        sign = 1.0 - 2.0 * converted((second >> 30) & 1, like)
        store(deviates, (row,), radius * sign * select_less(swap, 0.5, cosine, sine))
        store(deviates, (row + 1,), radius * sign * select_less(swap, 0.5, sine, cosine))
    _keep(state, words)


@lane_function
def fill_uniform(state: Any, deviates: Any) -> None:
    """Fill `deviates` (row, lane) with independent numbers between 0 and 1, both exclusive but for rounding.

    Args:
        state: uint32 (4, lane), advanced.
        deviates: float32 or float64 (row, lane).
    """
    words = _words_of(state)
    like = load(deviates, (0,))
    for row in range(deviates.shape[0]):
        drawn, words = _next(words)
        store(deviates, (row,), converted(drawn, like) * 2.0**-32 + 2.0**-33)
    _keep(state, words)
