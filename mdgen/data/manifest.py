"""The manifest of a trajectory store: what it may say, and whether the files beside it can be what it says."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Int

from mdgen.documents import Count, Positive, content_of, is_sealed, parsed_file, seal, unsealed_field
from mdgen.errors import MdgenError
from mdgen.files import write_aside

FILE = "manifest.json"
FORMAT = "mdgen trajectory store"
VERSION = 3
UNITS = {"positions": "nm", "frame_spacing": "ps"}

MOST_TRAJECTORIES = 1_000_000
"""Trajectories of a store, or of an array, at most."""

_ADVICE = "write the trajectories again"
_BLOCK = 2**22

PREFIXES = {"positions": "chunk", "cells": "cells"}
"""How the files of a chunk begin, by what they hold."""


@dataclass(frozen=True)
class Chunk:
    """A file of frames, and one of their box vectors in a periodic box.

    Args:
        file: its name, `chunk-N.npy`.
        frames: frames of each trajectory that count; the file may hold more that were cut off.
        crc32: CRC-32 of the file.
        trajectories: numbers of the trajectories that it holds, rising; None for all.
        cells: name of the file of box vectors, `cells-N.npy`; None without a box.
        cells_crc32: CRC-32 of that file.
    """

    file: str
    frames: Annotated[int, Ge(1), Le(2**40)]
    crc32: Count
    trajectories: list[int] | None = None
    cells: str | None = None
    cells_crc32: Count | None = None

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """Name and CRC-32 of each file, by what it holds."""
        boxes = {} if self.cells is None else {"cells": (self.cells, self.cells_crc32 or 0)}
        return {"positions": (self.file, self.crc32), **boxes}


@dataclass(frozen=True)
class Manifest:
    """What a store says of itself.

    Args:
        frame_spacing_ps: time between two frames.
        n_trajectories: trajectories side by side.
        n_atoms: atoms of a frame.
        molecule_crc32: CRC-32 of `molecule.json`.
        metadata: anything else, as plain JSON.
        next_chunk: number of the next chunk; none is ever used again.
        chunks: files of frames, in the order of time.
    """

    frame_spacing_ps: Positive
    n_trajectories: Annotated[int, Ge(1), Le(MOST_TRAJECTORIES)]
    n_atoms: Annotated[int, Ge(1), Le(2**31)]
    molecule_crc32: Count
    metadata: dict[str, Any] = field(default_factory=dict)
    next_chunk: Count = 0
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def ends(self) -> Int[np.ndarray, "chunk"]:
        """The frame, of the longest trajectory, at which each chunk ends."""
        return np.cumsum([chunk.frames for chunk in self.chunks], dtype=np.int64)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of each trajectory."""
        lengths = np.zeros(self.n_trajectories, dtype=np.int64)
        for chunk in self.chunks:
            lengths[slice(None) if chunk.trajectories is None else chunk.trajectories] += chunk.frames
        return tuple(lengths.tolist())

    def rows(self, chunk: Chunk) -> int:
        """Trajectories in a chunk."""
        return self.n_trajectories if chunk.trajectories is None else len(chunk.trajectories)


@dataclass(frozen=True)
class _Kind:
    format: str
    version: int


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` with its checksum, aside and renamed."""
    chunks = [{key: value for key, value in vars(chunk).items() if value is not None} for chunk in manifest.chunks]
    kind = {**unsealed_field(), **asdict(_Kind(FORMAT, VERSION)), "units": UNITS}
    document: Mapping[str, Any] = {**kind, **vars(manifest), "chunks": chunks}
    write_aside(folder / FILE, seal(json.dumps(document).encode()))


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder, if the files that it names can be what it says.

    Raises:
        MdgenError: if it is damaged or of another format, or a chunk is missing or too small.
    """
    path = folder / FILE
    content = content_of(path, _ADVICE)
    if parsed_file(path, _Kind, content, _ADVICE) != _Kind(FORMAT, VERSION):
        raise MdgenError(f"{folder} was written in another format; it needs the mdgen version that wrote it")
    if not is_sealed(content):
        raise MdgenError(f"{path} is damaged: its checksum is wrong, so it is not as it was written; {_ADVICE}")
    manifest = parsed_file(path, Manifest, content, _ADVICE)
    _require_consistent(path, manifest)
    for chunk in manifest.chunks:
        for kind, (name, _) in chunk.files.items():
            least = 12 * manifest.rows(chunk) * chunk.frames * (manifest.n_atoms if kind == "positions" else 3)
            try:
                size = (folder / name).stat().st_size
            except OSError:
                raise MdgenError(f"the trajectory store {folder} lacks its file {name}; {_ADVICE}") from None
            if size < least:
                raise MdgenError(
                    f"{folder / name} is damaged: it has {size} bytes where its frames take {least}; {_ADVICE}"
                )
    return manifest


def _require_consistent(path: Path, manifest: Manifest) -> None:
    """Raise unless the chunks have names of ours, all or none have boxes, and no trajectory goes on after its end."""
    last, growing = -1, None
    for chunk in manifest.chunks:
        digits = chunk.file.removeprefix("chunk-").removesuffix(".npy")
        ours = digits.isascii() and digits.isdigit() and chunk.file == f"chunk-{int(digits):08d}.npy"
        ours = ours and chunk.cells in (None, f"cells-{int(digits):08d}.npy")
        if not ours or not last < int(digits) < manifest.next_chunk:
            raise MdgenError(f"{path} is damaged: it names the chunk {chunk.file!r:.60}; {_ADVICE}")
        last = int(digits)
        if chunk.trajectories is None and growing is None:
            continue
        rows = np.array(chunk.trajectories or (), dtype=object)
        known = all(0 <= row < manifest.n_trajectories for row in rows)
        rising = known and len(rows) > 0 and bool((np.diff(rows) > 0).all())
        if not rising or (growing is not None and not growing.issuperset(rows)):
            raise MdgenError(f"{path} is damaged: {chunk.file} holds no trajectories that can go on; {_ADVICE}")
        growing = set(rows)
    if len({chunk.cells is None for chunk in manifest.chunks}) > 1:
        raise MdgenError(f"{path} is damaged: it names box vectors of some chunks only; {_ADVICE}")


def crc32_of(path: Path) -> int:
    """The CRC-32 of a file; it is read once, in blocks.

    Raises:
        MdgenError: if it cannot be read.
    """
    found = 0
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                found = zlib.crc32(block, found)
    except OSError as error:
        raise MdgenError(f"{path} cannot be read ({error.strerror}); copy or write it again") from error
    return found
