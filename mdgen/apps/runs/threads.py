"""How many processor threads a run uses."""

import os

import torch

from mdgen.errors import MdgenError

MOST_THREADS = 1024
"""A folder may be resumed on another machine, so the cores of this one are no bound."""


def use_threads(threads: int | None) -> int:
    """Set torch's threads; returns their number.

    Args:
        threads: number of threads; None for `OMP_NUM_THREADS`, which launchers of several jobs and clusters set for
            each job, or all available cores where that is not set.

    Raises:
        MdgenError: for fewer than one, or more than any machine has.
    """
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
        raise MdgenError(f"threads={threads}: expected 1 to {MOST_THREADS}, or null for all cores")
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    number = threads or (int(allowed) if allowed.isdigit() and int(allowed) else len(os.sched_getaffinity(0)))
    torch.set_num_threads(number)
    return number
