"""Trajectory files to sources, by their extension."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import mdtraj

from mdgen.data.formats.arrays import array_sources
from mdgen.data.formats.cells import boxes
from mdgen.data.formats.dcd import DcdSource
from mdgen.data.formats.h5 import H5Source
from mdgen.data.formats.mapped_array import mapped_array
from mdgen.data.formats.xtc import XtcSource
from mdgen.data.formats.zarr_array import is_zarr, open_zarr
from mdgen.data.sources import ArraySource, Source
from mdgen.errors import MdgenError

_FORMATS: dict[str, Callable[[Path], Source]] = {
    ".xtc": XtcSource,
    ".dcd": DcdSource,
    ".h5": H5Source,
    ".hdf5": H5Source,
}


def file_sources(path: Path) -> list[Source]:
    """The trajectories of a file: one, but for an array of several.

    Raises:
        MdgenError: if the file is damaged or of a kind that is not read.
    """
    kind = path.suffix.lower()
    if kind in _FORMATS:
        return [_FORMATS[kind](path)]
    if kind == ".pdb":
        read = _pdb(path)
        return [ArraySource(str(path), read.xyz, cells=boxes(read.unitcell_vectors))]
    if kind == ".npy":
        return list(array_sources(path, partial(mapped_array, advice="write it again")))
    if is_zarr(path):
        return list(array_sources(path, open_zarr))
    raise MdgenError(
        f"{path} is of a kind that is not read; convert it to xtc, dcd, h5, pdb or npy (mdconvert does so)"
    )


def _pdb(path: Path) -> mdtraj.Trajectory:
    try:
        return mdtraj.load_pdb(str(path))
    except Exception as error:  # mdtraj's parser raises whatever the broken line happens to cause
        reason = " ".join(str(error).split())[:200]
        raise MdgenError(f"cannot read frames from {path} ({reason}); give a whole pdb file") from error
