"""Numpy files mapped into memory, whatever a damaged one says of itself."""

import tokenize
from pathlib import Path

import numpy as np

from mdgen.errors import MdgenError

_BAD_HEADER = (OSError, ValueError, EOFError, SyntaxError, TypeError, LookupError, tokenize.TokenError)
_TOO_LARGE = (OverflowError, MemoryError, RecursionError)


def mapped_array(path: Path, advice: str) -> np.ndarray:
    """The array of a npy file, read-only and mapped.

    Raises:
        MdgenError: if it is truncated, or no npy file of numbers.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_BAD_HEADER, *_TOO_LARGE) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{path} is truncated, damaged or no npy file of numbers ({reason}); {advice}") from error
