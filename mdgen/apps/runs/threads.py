"""How many processor threads a run uses."""

import os

import torch

from mdgen.errors import MdgenError


def use_threads(threads: int | None) -> int:
    """Set torch's threads; returns their number.

    Args:
        threads: number of threads; None for `OMP_NUM_THREADS`, which launchers of several jobs and clusters set for
            each job, or all available cores where that is not set.

    Raises:
        MdgenError: for fewer than one.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise MdgenError(f"threads={threads}: expected at least 1, or null for all cores")
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    number = threads or (int(allowed) if allowed.isdigit() and int(allowed) else len(os.sched_getaffinity(0)))
    torch.set_num_threads(number)
    return number
