"""Checksums of a run folder: listed in its `DONE` when it ends well, compared when it is used again or asked about.

`DONE` lists the size and the CRC-32 of every file. Trajectory stores and the runs within a run hold their own checksums
and are named only. Logs may grow and are left out.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mdgen.data.manifest import crc32_of
from mdgen.data.store import TrajectoryStore, is_store
from mdgen.documents import content_of, is_sealed, parsed_file, seal, unsealed_field
from mdgen.errors import MdgenError
from mdgen.files import MARK, write_aside

_ADVICE = "copy the run again, or delete the folder and run its command again"
_LOGS = ("run.log", "lock", "wandb")


@dataclass(frozen=True)
class Mark:
    """What `DONE` says.

    Args:
        files: size in bytes and CRC-32 of each file, by its path in the folder.
        folders: stores and runs within the folder.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verified:
    """What was compared with its checksum: files, their bytes, and a sentence for each that is damaged."""

    files: int
    bytes: int
    damage: tuple[str, ...]


def write_mark(folder: Path) -> None:
    """Mark a run as done, with the checksums of all that it wrote."""
    files, folders = _contents(folder)
    listed = {str(path.relative_to(folder)): (path.stat().st_size, crc32_of(path)) for path in files}
    named = [str(path.relative_to(folder)) for path in folders]
    document = {**unsealed_field(), "files": listed, "folders": named}
    write_aside(folder / MARK, seal((json.dumps(document, indent=1) + "\n").encode()))


def require_whole(folder: Path) -> None:
    """Raise unless all that a finished run wrote is there, in its size; this reads no frames.

    Raises:
        MdgenError: naming the first file that is missing or of another size.
    """
    for _, damage in _checked(folder, deep=False):
        if damage:
            raise MdgenError(f"the run in {folder} is marked as done, but {damage}; {_ADVICE}")


def verify(folder: Path) -> Verified:
    """Compare everything in a run folder, or in a store, with its checksums.

    Raises:
        MdgenError: if the folder holds nothing that has any.
    """
    if not folder.is_dir():
        raise MdgenError(f"{folder} is no folder; name a run's")
    files, size, damage = 0, 0, []
    for path, wrong in _checked(folder, deep=True):
        files += 1
        size += path.stat().st_size if path.is_file() else 0
        damage += [wrong] if wrong else []
    if not files:
        raise MdgenError(f"{folder} holds nothing that mdgen wrote; name the folder of a run")
    return Verified(files, size, tuple(damage))


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of a run, and the stores and runs in it, whose own files are not among them."""
    files, folders = [], []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in (*_LOGS, MARK) or entry.is_symlink():
            continue
        if not entry.is_dir():
            files.append(entry)
        elif is_store(entry) or (entry / MARK).is_file():
            folders.append(entry)
        else:
            below = _contents(entry)
            files += below[0]
            folders += below[1]
    return files, folders


def _checked(folder: Path, deep: bool) -> Iterator[tuple[Path, str | None]]:
    """Each file that has a checksum, and what is wrong with it; `deep` reads it, or else its size is looked at."""
    if is_store(folder):
        yield from _checked_store(folder, deep)
        return
    mark = folder / MARK
    if not mark.is_file():  # a run that was stopped, or a folder of runs
        files, folders = _contents(folder)
        yield from ((path, _damage_of_tensors(path)) for path in files if path.suffix == ".safetensors" and deep)
        for each in folders:
            yield from _checked(each, deep)
        return
    try:
        content = content_of(mark, _ADVICE)
        if not is_sealed(content):
            raise MdgenError(f"{mark} is damaged: it is not as it was written; {_ADVICE}")
        listed = parsed_file(mark, Mark, content, _ADVICE)
        for name in (*listed.files, *listed.folders):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise MdgenError(f"{mark} names {name!r:.80}, which is not in its folder; {_ADVICE}")
    except MdgenError as error:
        yield mark, str(error)
        return
    yield mark, None
    for name, (size, crc32) in listed.files.items():
        yield folder / name, _damage(folder / name, size, crc32 if deep else None)
    for name in listed.folders:
        inner = folder / name
        if is_store(inner) or (inner / MARK).is_file():
            yield from _checked(inner, deep)
        else:
            yield inner, f"{inner}, or its manifest.json or {MARK}, is missing"


def _checked_store(folder: Path, deep: bool) -> Iterator[tuple[Path, str | None]]:
    try:
        store = TrajectoryStore.open(folder)
    except MdgenError as error:
        yield folder / "manifest.json", str(error)
        return
    yield folder / "manifest.json", None
    yield folder / "molecule.json", None
    if not deep:
        return
    for path, damage in store.damage():
        yield path, damage
    for path in sorted(folder.glob("*.safetensors")):
        yield path, _damage_of_tensors(path)


def _damage(path: Path, size: int, crc32: int | None) -> str | None:
    try:
        found = os.stat(path).st_size
    except OSError:
        return f"{path} is missing"
    if found != size:
        return f"{path} has {found} bytes where {size} were written"
    if crc32 is not None and crc32_of(path) != crc32:
        return f"{path} is not as it was written (its checksum is wrong)"
    return None


def _damage_of_tensors(path: Path) -> str | None:
    return None if is_sealed(path.read_bytes()) else f"{path} is not as it was written (its checksum is wrong)"
