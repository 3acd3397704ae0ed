"""A disk that fills up while a simulation writes: it says so, tears nothing, and goes on when there is room again."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from mdgen.benchmarks.validation.stops import run_victim
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.results import Acceptance, Estimate


def check_full_disk(moments: tuple[int, ...] = (5, 1, 2, 30, 77)) -> tuple[dict[str, Any], list[Acceptance]]:
    """Let writing fail at some moments, resume each time, and compare every bit with a simulation left in peace.

    Args:
        moments: how many writes each attempt gets through before the disk is full.
    """
    with tempfile.TemporaryDirectory() as folder:
        hindered, peace = Path(folder) / "hindered", Path(folder) / "peace"
        said = 0
        for writes in moments:
            try:
                with _room_for(writes):
                    run_victim(hindered)
            except MdgenError as error:
                said += "disk is full" in str(error)
        strays = sum(path.name.endswith(".part") for path in hindered.rglob("*"))
        run_victim(hindered)
        run_victim(peace)
        one, other = (TrajectoryStore.open(path) for path in (hindered, peace))
        same = one.lengths == other.lengths
        differ = sum(int((one.positions(i) != other.positions(i)).sum()) for i in range(len(one.lengths)) if same)
    holds = same and not differ and not strays and said == len(moments)
    row = Acceptance.judged(
        f"coordinates_changed_by_{len(moments)}_full_disks", Estimate(differ), "== 0, said in a sentence", holds
    )
    return {"full_disks_reported": said, "stray_files_after_full_disks": strays}, [row]


@contextmanager
def _room_for(writes: int) -> Iterator[None]:
    """The disk takes so many more files, then it is full."""
    left, flush = writes, os.fsync

    def limited(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        flush(descriptor)

    with mock.patch("os.fsync", limited):
        yield
