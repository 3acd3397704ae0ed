"""A full disk during a simulation: the error is reported, no file is damaged, and the run can be resumed."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from mdgen.benchmarks.validation.interruptions import changed_coordinates, run_simulation
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.results import Acceptance, Estimate


def check_full_disk(moments: tuple[int, ...] = (5, 1, 2, 30, 77)) -> tuple[dict[str, Any], list[Acceptance]]:
    """Let writing fail several times, resume each time, and compare every bit with an undisturbed simulation.

    Args:
        moments: number of writes of each attempt before the disk is full.
    """
    with tempfile.TemporaryDirectory() as folder:
        disturbed, undisturbed = Path(folder) / "disturbed", Path(folder) / "undisturbed"
        reported = 0
        for writes in moments:
            try:
                with _room_for(writes):
                    run_simulation(disturbed)
            except MdgenError as error:
                reported += "disk is full" in str(error)
        strays = sum(path.name.endswith(".part") for path in disturbed.rglob("*"))
        run_simulation(disturbed)
        run_simulation(undisturbed)
        one, other = (TrajectoryStore.open(path) for path in (disturbed, undisturbed))
        differ = changed_coordinates(one, other, range(len(other.lengths)))
    holds = differ == 0 and not strays and reported == len(moments)
    row = Acceptance.judged(
        f"coordinates_changed_by_{len(moments)}_full_disks", Estimate(differ), "== 0, said in a sentence", holds
    )
    return {"full_disks_reported": reported, "stray_files_after_full_disks": strays}, [row]


@contextmanager
def _room_for(writes: int) -> Iterator[None]:
    """Let `os.fsync` succeed `writes` times, then fail as on a full disk."""
    left, flush = writes, os.fsync

    def limited(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        flush(descriptor)

    with mock.patch("os.fsync", limited):
        yield
