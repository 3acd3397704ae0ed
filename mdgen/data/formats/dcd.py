"""DCD files, memory-mapped: every frame has the same size, so any frame is one seek away.

Layout (CHARMM, NAMD, OpenMM): Fortran records, each between two copies of its length. A header of 84 bytes, titles, the
number of atoms; then for each frame an optional unit cell and the x, y and z of all atoms as float32 in angstrom.
"""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mdgen.data.formats.cells import vectors_of
from mdgen.data.sources import Source
from mdgen.errors import MdgenError
from mdgen.units import ANGSTROM

_AKMA_PS = 0.04888821  # CHARMM's unit of time in ps


class DcdSource(Source):
    """The frames of a DCD file.

    The header's time step is written in different units by different programs, so it only serves as a hint.

    Raises:
        MdgenError: if the file is no DCD file, ends inside a frame, or has fixed atoms.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        try:
            self._first, self._dtype, self.n_atoms, self.spacing_hint_ps = _layout(path)
        except (struct.error, ValueError) as error:
            if isinstance(error, MdgenError):
                raise
            raise MdgenError(f"{path} is no dcd file, or its header is damaged; give a whole file") from error
        self.n_frames, rest = divmod(path.stat().st_size - self._first, self._dtype.itemsize)
        if rest:
            raise MdgenError(
                f"{path} is truncated: it ends inside a frame, after {self.n_frames} whole frames; copy it again, or "
                "cut it to whole frames"
            )

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`; a frame is damaged if its records do not have the length that the header says."""
        if not self.n_frames:
            return np.empty((0, self.n_atoms, 3), np.float32)
        chosen = self._mapped()[start:stop:stride]
        read = np.empty((len(chosen), self.n_atoms, 3), np.float32)
        for number, axis in enumerate("xyz"):
            wrong = (chosen[f"{axis}_begin"] != 4 * self.n_atoms) | (chosen[f"{axis}_end"] != 4 * self.n_atoms)
            if wrong.any():
                frame = start + stride * int(np.argmax(wrong))
                raise MdgenError(f"{self.path} is damaged in frame {frame}; copy it again")
            np.multiply(chosen[axis], np.float32(ANGSTROM), out=read[:, :, number], casting="same_kind")
        return read

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """See `Source`; the cell is six numbers: a, gamma, b, beta, alpha, c, the angles in degrees or as cosines."""
        if not self.n_frames or "cell" not in (self._dtype.names or ()):
            return None
        a, gamma, b, beta, alpha, c = self._mapped()[start:stop:stride]["cell"].astype(float).T
        angles = np.stack([alpha, beta, gamma], 1)
        cosines = np.abs(angles) <= 1
        angles = np.where(cosines, np.degrees(np.arccos(np.where(cosines, angles, 0.0))), angles)
        return vectors_of(np.stack([a, b, c], 1) * ANGSTROM, angles)

    def _mapped(self) -> np.ndarray:
        if self._opened is None:
            self._opened = np.memmap(self.path, self._dtype, "r", self._first, (self.n_frames,))
        return self._opened


def _layout(path: Path) -> tuple[int, np.dtype, int, float | None]:
    """Offset of the first frame, dtype of a frame, number of atoms, and the spacing that the header suggests."""
    with open(path, "rb") as file:
        head = file.read(92)
        order = "<" if head[:4] == struct.pack("<i", 84) else ">"
        length, magic, *control = struct.unpack(order + "i4s20i", head[:88])
        if length != 84 or magic != b"CORD":
            raise ValueError(magic)
        (titles,) = struct.unpack(order + "i", file.read(4))
        file.seek(titles + 4, 1)
        four, n_atoms, _ = struct.unpack(order + "3i", file.read(12))
        if four != 4 or n_atoms < 1:
            raise ValueError(n_atoms)
        first = file.tell()
    if control[8]:
        raise MdgenError(f"{path} holds {control[8]} fixed atoms only once; rewrite it with all atoms in every frame")
    charmm = control[19] != 0
    record = 8 + 4 * n_atoms
    fields: list[tuple] = []
    if charmm and control[10]:
        fields += [("cell_begin", order + "i4"), ("cell", order + "f8", (6,)), ("cell_end", order + "i4")]
    for axis in "xyz":
        fields += [(f"{axis}_begin", order + "i4"), (axis, order + "f4", (n_atoms,)), (f"{axis}_end", order + "i4")]
    fields.append(("fourth", f"V{record if charmm and control[11] else 0}"))
    return first, np.dtype(fields), n_atoms, _hint(control, order)


def _hint(control: list[int], order: str) -> float | None:
    (step,) = struct.unpack(order + "f", struct.pack(order + "i", control[9]))
    spacing = control[2] * step * _AKMA_PS
    return float(f"{spacing:.4g}") if 0 < spacing < 1e9 and np.isfinite(spacing) else None
