"""How functions of the kernels are compiled, and when their cache on disk is out of date."""

import hashlib
from pathlib import Path

from numba import njit

lane_function = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compiles a function that is inlined into the kernel that calls it.

It needs no cache of its own, and no wrappers for callers from Python and C: they cost a third of the time of compiling.
"""

part_of_caller = njit(error_model="numpy", inline="always")
"""Makes a function a part of its caller before that is compiled: for functions that mostly call others.

Those of `lane_function` are optimised by themselves and again in each caller, so levels of calls cost time to compile.
"""

entry_point = njit(error_model="numpy", nogil=True, cache=True, no_cfunc_wrapper=True)
"""Compiles a function that Python calls, with a cache on disk; see `source_digest`."""


def source_digest(*folders: Path) -> str:
    """Digest of every source file of this room and of other folders, for each entry point to close over.

    Numba's cache looks at the file of the entry point itself, not at those of the functions inlined into it. A value
    closed over is part of the cache's key, so an entry point that closes over this digest is compiled again whenever
    one of the sources has changed.
    """
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, *folders):
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()
