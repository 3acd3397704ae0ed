"""Whether compressed frames of an XTC file can be decompressed without leaving their bounds.

The library that decompresses them (xdrfile) trusts what a frame says of itself: a flipped bit makes it divide by zero
or write beyond its buffers, which ends the process. Here every frame is walked first: its header is held to the limits
of the algorithm, and the lengths of all its atoms are added up without decoding their positions.

The bits of a payload: an atom in `sizeint` steps along each axis, a flag whether the number of small atoms that follow
changes, then if so that number (5 bits), then these small atoms of `smallidx` bits each. The number, modulo 3, also
says whether `smallidx` is smaller by one, the same, or larger by one for what follows.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Int, UInt8

_FIRST, _LAST = 9, 72
"""Indices of the table of sizes that are in use."""

FEW_ATOMS = 9
"""Up to here GROMACS writes plain floats."""


def first_bad_frame(data: UInt8[np.ndarray, "byte"], starts: Int[np.ndarray, "frame"], n_atoms: int) -> int:
    """Index of the first frame that must not be decompressed; the number of frames where all can be.

    Args:
        data: bytes of the file.
        starts: where each frame begins; it lies in the file as a whole.
        n_atoms: atoms of each frame.
    """
    if n_atoms <= FEW_ATOMS:
        return len(starts)
    return int(_first_bad(data, starts.astype(np.int64), n_atoms))


@numba.njit(cache=True, nogil=True)
@no_type_check
def _first_bad(data: np.ndarray, starts: np.ndarray, n_atoms: int) -> int:
    for frame in range(len(starts)):
        if not _is_sound(data, starts[frame], n_atoms):
            return frame
    return len(starts)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _word(data: np.ndarray, at: int) -> int:
    """A signed big-endian number of 32 bits."""
    value = 0
    for byte in range(4):
        value = (value << 8) | np.int64(data[at + byte])
    return value - (1 << 32) if value >= (1 << 31) else value


@numba.njit(cache=True, nogil=True)
@no_type_check
def _bits(value: int) -> int:
    """Bits that a number takes."""
    n = 0
    while value > 0:
        n += 1
        value >>= 1
    return n


@numba.njit(cache=True, nogil=True)
@no_type_check
def _atom_bits(data: np.ndarray, at: int) -> int:
    """Bits of an atom's position, from the bounds at `at`; 0 where they are no bounds."""
    sizes = np.zeros(3, np.int64)
    for axis in range(3):
        sizes[axis] = _word(data, at + 12 + 4 * axis) - _word(data, at + 4 * axis) + 1
        if sizes[axis] < 1 or sizes[axis] >= 1 << 32:
            return 0
    if (sizes[0] | sizes[1] | sizes[2]) > 0xFFFFFF:
        return _bits(sizes[0]) + _bits(sizes[1]) + _bits(sizes[2])
    two = sizes[0] * sizes[1]
    low = (two & 0xFFFFFFFF) * sizes[2]
    high = (two >> 32) * sizes[2] + (low >> 32)
    return 32 + _bits(high) if high > 0 else _bits(low)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _few_bits(data: np.ndarray, first: int, cursor: int, count: int) -> int:
    """The number in `count` bits, at the bit `cursor` from the byte `first`."""
    value = 0
    for bit in range(cursor, cursor + count):
        value = (value << 1) | ((np.int64(data[first + (bit >> 3)]) >> (7 - (bit & 7))) & 1)
    return value


@numba.njit(cache=True, nogil=True)
@no_type_check
def _is_sound(data: np.ndarray, start: int, n_atoms: int) -> bool:
    if _word(data, start + 52) != n_atoms:
        return False
    atom_bits, small, n_bytes = _atom_bits(data, start + 60), _word(data, start + 84), _word(data, start + 88)
    # the library's buffer holds 1.2 words a coordinate, three of them its own
    if atom_bits == 0 or not _FIRST <= small <= _LAST or not 0 < n_bytes <= 4 * int(3 * n_atoms * 1.2) - 12:
        return False
    first, end = start + 92, 8 * n_bytes
    atom, run, cursor = 0, 0, 0
    while atom < n_atoms:
        cursor += atom_bits + 1
        if cursor > end:
            return False
        atom += 1
        change = 0
        if _few_bits(data, first, cursor - 1, 1):
            if cursor + 5 > end:
                return False
            run = _few_bits(data, first, cursor, 5)
            cursor += 5
            change = run % 3 - 1
            run -= run % 3
        atom += run // 3
        cursor += run // 3 * small
        if atom > n_atoms or cursor > end:
            return False
        small += change
        if not _FIRST <= small <= _LAST:
            return False
    return True
