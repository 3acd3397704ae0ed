"""Checkpoints of a simulation: the engine's state and how far it is, in safetensors, with a checksum.

A checkpoint is written aside and renamed, and the one before it is kept: at any moment one of the two is complete.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mdgen.documents import Count
from mdgen.errors import MdgenError
from mdgen.files import writable
from mdgen.tensor_files import load_tensors, read_header, save_tensors

_CURRENT, _PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


@dataclass(frozen=True)
class Stop:
    """The stop of a replica that became unstable.

    Args:
        replica: its number.
        after_step: last step at which it was stable.
        before_step: step at which it no longer was.
        how: what was wrong, with the first atom concerned.
    """

    replica: int
    after_step: int
    before_step: int
    how: str

    def __str__(self) -> str:
        return f"replica {self.replica} blew up between steps {self.after_step} and {self.before_step} ({self.how})"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Args:
        engine: `Engine.state_dict`.
        frames_done: frames of equilibration and production done.
        frames_stored: frames in the store at that time.
        identity: settings that a continuation must share.
        stops: replicas that became unstable before.
    """

    engine: dict[str, Tensor]
    frames_done: int
    frames_stored: int
    identity: dict[str, Any]
    stops: tuple[Stop, ...] = ()


@dataclass(frozen=True)
class _About:
    """The header of a checkpoint: all of it but the engine's tensors."""

    frames_done: Count
    frames_stored: Count
    identity: dict[str, Any]
    stops: list[Stop]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into `folder` and keep the previous one beside it."""
    about = {**vars(checkpoint), "stops": [asdict(stop) for stop in checkpoint.stops]}
    engine = about.pop("engine")
    if (folder / _CURRENT).is_file():
        with writable(folder):
            os.replace(folder / _CURRENT, folder / _PREVIOUS)
    save_tensors(folder / _CURRENT, engine, about)


def checkpoints(folder: Path) -> Iterator[Checkpoint]:
    """The checkpoints in `folder` that are as they were written, newest first."""
    for name in (_CURRENT, _PREVIOUS):
        try:
            content = (folder / name).read_bytes()
            about = read_header(content, _About)
            yield Checkpoint(load_tensors(content), **{**vars(about), "stops": tuple(about.stops)})
        except (OSError, ValueError):
            continue


def stops_of(folder: Path) -> tuple[Stop, ...]:
    """The replicas of the run in `folder` that became unstable, from its newest checkpoint."""
    return next((checkpoint.stops for checkpoint in checkpoints(folder)), ())


def require_same_run(folder: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise unless a run with settings `asked` continues the one with settings `found`.

    Raises:
        MdgenError: naming the first setting that differs.
    """
    for key in asked:
        if found.get(key) != asked[key]:
            raise MdgenError(
                f"{folder} holds a simulation with {key} {found.get(key)!r}, but {asked[key]!r} is asked for; "
                "name another folder, or restore that setting to continue it"
            )
