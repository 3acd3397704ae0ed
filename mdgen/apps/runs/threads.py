"""How many processor threads a run uses."""

import os

import torch

from mdgen.errors import MdgenError


def use_threads(threads: int | None) -> int:
    """Set torch's threads, to all available cores where `threads` is None; returns their number.

    Raises:
        MdgenError: for fewer than one.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise MdgenError(f"threads={threads}: expected at least 1, or null for all cores")
    number = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(number)
    return number
