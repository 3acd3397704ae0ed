"""Random numbers: one xoshiro128++ stream a lane, and normal deviates by Box and Muller.

A stream is seeded from one number and its own index alone, so it gives the same numbers whatever the number of streams,
and its four words of state are all that a restart needs.

References: Blackman and Vigna, ACM Trans. Math. Softw. 2021, 47, 36 (xoshiro); Box and Muller, Ann. Math. Stat. 1958,
29, 610; Steele, Lea, Flood, OOPSLA 2014 (SplitMix64, which seeds).
"""

from typing import Any

import numpy as np
from jaxtyping import UInt32

from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.lane_instructions import bits, converted, select_less, square_root
from mdgen.md.engines.lanes.lane_math import log, sine_cosine
from mdgen.md.engines.lanes.lanes import load, store

WORDS = 4
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _split_mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def seeded_streams(seed: int, replicas: int) -> UInt32[np.ndarray, "replica 4"]:
    """The initial state of the stream of each replica, from a seed of up to 64 bits."""
    words = np.empty((replicas, WORDS), np.uint32)
    for replica in range(replicas):
        start = _split_mix((_split_mix(seed & _MASK) + (replica + 1) * _GOLDEN) & _MASK)
        low, high = (_split_mix((start + k * _GOLDEN) & _MASK) for k in (1, 2))
        words[replica] = low & 0xFFFFFFFF, low >> 32, high & 0xFFFFFFFF, high >> 32
    return words


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
def fill_normal(state: Any, deviates: Any) -> None:
    """Fill `deviates` (row, lane) with independent standard normal numbers; the number of rows must be even.

    Args:
        state: uint32 (4, lane), advanced.
        deviates: float32 or float64 (row, lane).
    """
    words = load(state, (0,)), load(state, (1,)), load(state, (2,)), load(state, (3,))
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
    for word in range(WORDS):
        store(state, (word,), words[word])
