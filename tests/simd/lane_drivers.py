"""Compiled loops that put arrays through a function of lane values."""

import numpy as np
from numba import njit

from mdgen.simd.lanes import LANES, load, store


def over_lanes(function, results: int = 1):
    """`function` of one lane value as a function of a numpy array of any length."""
    if results == 1:

        @njit(error_model="numpy")
        def run(x, out):
            for row in range(x.shape[0]):
                store(out, (0, row), function(load(x, (row,))))

    else:

        @njit(error_model="numpy")
        def run(x, out):
            for row in range(x.shape[0]):
                first, second = function(load(x, (row,)))
                store(out, (0, row), first)
                store(out, (1, row), second)

    def apply(x: np.ndarray) -> np.ndarray:
        rows = -(-len(x) // LANES)
        padded = np.resize(x, rows * LANES).reshape(rows, LANES)
        out = np.empty((results, rows, LANES), x.dtype)
        run(padded, out)
        values = out.reshape(results, -1)[:, : len(x)]
        return values[0] if results == 1 else values

    return apply
