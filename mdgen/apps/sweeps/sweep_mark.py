"""Which command finished a sweep: its digest in `sweep.json`, so that the same command is answered at once.

Composing and checking the configs of many runs imports every part that they name and takes seconds to minutes. The
digest is of what can change them: the command, the configs on the search path, the version, and the size and date of
files and models that the command names.
"""

import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mdgen
from mdgen.apps.config.search_path import search_folders
from mdgen.apps.sweeps.sweep_job import Job
from mdgen.documents import read_json
from mdgen.errors import MdgenError
from mdgen.files import MARK, write_aside

SWEEP = "sweep.json"
_RESULTS = (MARK, "manifest.json", "simulator.json", "*.safetensors")
"""Files of a run or a model that change where it is made again."""

_OPAQUE = ("experiment=", "plugins=")
"""Arguments that name inputs which do not stand in the command: each of their runs is looked at again."""

_LEVELS = ("*.yaml", "*/*.yaml")
"""Configs of verbs, and of groups; a user's folder of configs may hold runs further down."""


@dataclass(frozen=True)
class SweepMark:
    """What `sweep.json` says: the digest of the command that finished."""

    digest: str


def mark_finished(folder: Path, verb: str, jobs: tuple[Job, ...]) -> None:
    """Say in the folder of a sweep that all its runs are done, where all that they depend on is named and still there.

    Raises:
        MdgenError: if that cannot be written.
    """
    if any(each.startswith(_OPAQUE) for job in jobs for each in job.arguments):
        return
    try:
        content = json.dumps({"digest": _digest(verb, jobs)}) + "\n"
    except OSError:  # a file that has gone since, or may not be looked at: of that no mark can speak
        return
    write_aside(folder / SWEEP, content.encode())


def is_finished(folder: Path, verb: str, jobs: tuple[Job, ...]) -> bool:
    """Whether the same command has finished this sweep, every run of which is still marked as done."""
    try:
        if not (folder / SWEEP).is_file() or not all((job.folder / MARK).is_file() for job in jobs):
            return False
        return read_json(folder / SWEEP, SweepMark, "").digest == _digest(verb, jobs)
    except (MdgenError, OSError):  # damaged, or a file is gone: then the runs are looked at one by one
        return False


def _digest(verb: str, jobs: tuple[Job, ...]) -> str:
    found = hashlib.sha256(json.dumps([mdgen.__version__, verb]).encode())
    arguments = dict.fromkeys(each for job in jobs for each in job.arguments)
    found.update(json.dumps([[job.folder.name, sorted(job.arguments)] for job in jobs]).encode())
    for file in sorted(path for folder in search_folders() for level in _LEVELS for path in folder.glob(level)):
        found.update(file.read_bytes())
    for argument in arguments:
        for path in _named_files(argument.partition("=")[2]):
            found.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return found.hexdigest()


def _named_files(value: str) -> Iterator[Path]:
    """The files that a value, a list or a pattern names: in a run's folder those that a new run changes, else all."""
    for text in value.strip("[]").split(","):
        for name in sorted(glob.glob(text.strip(" '\""))):
            path = Path(name)
            if path.is_file():
                yield path
                continue
            levels = (level + pattern for pattern in _RESULTS for level in ("", "*/"))
            results = sorted(each for level in levels for each in path.glob(level) if each.is_file())
            yield from results or sorted(each for each in path.iterdir() if each.is_file())
