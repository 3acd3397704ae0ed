"""HDF5 files of mdtraj: `coordinates`, `time` and a JSON `topology` at the root of the file.

Read and written with h5py, never with PyTables, which runs the code in a malicious file (`mdgen.molecule.hdf5`).
Datasets compressed by PyTables' own filters (blosc, lzo, bzip2) cannot be read; mdtraj writes zlib.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float
from mdtraj.formats import HDF5TrajectoryFile

from mdgen.data.formats.cells import lengths_and_angles, vectors_of
from mdgen.data.sources import Source
from mdgen.data.spacing import spacing_of
from mdgen.errors import MdgenError
from mdgen.molecule.hdf5 import open_hdf5, plain_dataset, unit_of
from mdgen.molecule.topology import Molecule

_LENGTHS = {"nanometers": 1.0, "nanometer": 1.0, "nm": 1.0, "angstroms": 0.1, "angstrom": 0.1}
_TIMES = {"picoseconds": 1.0, "picosecond": 1.0, "ps": 1.0, "femtoseconds": 1e-3, "nanoseconds": 1e3}


class H5Source(Source):
    """The frames of an mdtraj HDF5 file.

    Raises:
        MdgenError: if the file is damaged, holds no coordinates, or anything but plain numbers as such.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        with open_hdf5(path) as file:
            coordinates = self._coordinates(file)
            self.n_frames, self.n_atoms = coordinates.shape[:2]
            self._scale = self._factor(coordinates, "nanometers", _LENGTHS)
            times = self._times(file)
        self.frame_spacing_ps = spacing_of(times, path)

    def read(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame atom 3"]:
        """See `Source`; the file is opened for each call, which takes no time, unlike with an xtc file."""
        with open_hdf5(self.path) as file:
            read = np.asarray(self._coordinates(file)[start:stop:stride], dtype=np.float32)
        return read if self._scale == 1.0 else read * np.float32(self._scale)

    def cells(self, start: int, stop: int, stride: int) -> Float[np.ndarray, "frame 3 3"] | None:
        """See `Source`."""
        with open_hdf5(self.path) as file:
            lengths, angles = (plain_dataset(file, name, "f") for name in ("cell_lengths", "cell_angles"))
            if lengths is None or angles is None or not lengths.shape == angles.shape == (self.n_frames, 3):
                return None
            edges = np.asarray(lengths[start:stop:stride]) * self._factor(lengths, "nanometers", _LENGTHS)
            return vectors_of(edges, np.asarray(angles[start:stop:stride]))

    def _coordinates(self, file: h5py.File) -> h5py.Dataset:
        dataset = plain_dataset(file, "coordinates", "f")
        if dataset is None or dataset.ndim != 3 or dataset.shape[2] != 3:
            shape = "no coordinates" if dataset is None else f"coordinates of shape {dataset.shape}"
            raise MdgenError(f"{self.path} holds {shape}; (frame, atom, 3) is needed")
        return dataset

    def _times(self, file: h5py.File) -> np.ndarray:
        dataset = plain_dataset(file, "time", "fiu")
        if dataset is None:
            return np.zeros(0)
        if dataset.shape not in ((0,), (self.n_frames,)):
            raise MdgenError(
                f"{self.path} holds {self.n_frames} frames and times of shape {dataset.shape}; copy it again"
            )
        return np.asarray(dataset[:], dtype=np.float64) * self._factor(dataset, "picoseconds", _TIMES)

    def _factor(self, dataset: h5py.Dataset, default: str, factors: dict[str, float]) -> float:
        unit = unit_of(dataset, default)
        if unit not in factors:
            raise MdgenError(f"{self.path} holds {dataset.name[1:]} in {unit!r}; expected one of {', '.join(factors)}")
        return factors[unit]


@contextmanager
def write_h5(
    path: Path, molecule: Molecule
) -> Iterator[Callable[[np.ndarray, np.ndarray, int, np.ndarray | None], None]]:
    """Write an mdtraj HDF5 file block by block, in mdtraj's convention (Pande 1.1).

    Args:
        path: file to write, replaced if it exists.
        molecule: molecule of every frame.
    """
    document = json.dumps(HDF5TrajectoryFile.convert_topology_to_dict(molecule.topology)).encode()
    with h5py.File(path, "w") as file:
        about = {"conventions": "Pande", "conventionVersion": "1.1", "program": "mdgen", "application": "mdgen"}
        for key, value in {**about, "programVersion": version("mdgen")}.items():
            file.attrs[key] = np.bytes_(value)
        file["topology"] = np.array([document])
        atoms = molecule.n_atoms
        chunk = max(1, 2**18 // (12 * atoms))
        kept = {"dtype": np.float32, "compression": 1, "shuffle": True}
        coordinates = file.create_dataset(
            "coordinates", (0, atoms, 3), maxshape=(None, atoms, 3), chunks=(chunk, atoms, 3), **kept
        )
        times = file.create_dataset("time", (0,), maxshape=(None,), chunks=(16384,), **kept)

        def table(name: str, unit: bytes) -> h5py.Dataset:
            if name not in file:
                made = file.create_dataset(name, (0, 3), maxshape=(None, 3), chunks=(16384, 3), **kept)
                made.attrs["units"] = np.bytes_(unit)
            return file[name]

        coordinates.attrs["units"], times.attrs["units"] = np.bytes_(b"nanometers"), np.bytes_(b"picoseconds")

        def write(block: np.ndarray, time: np.ndarray, first: int, cells: np.ndarray | None) -> None:
            tables = [(coordinates, block), (times, time)]
            if cells is not None:
                of_cells = [table(*each) for each in (("cell_lengths", b"nanometers"), ("cell_angles", b"degrees"))]
                tables += zip(of_cells, lengths_and_angles(cells), strict=True)
            for dataset, values in tables:
                dataset.resize(first + len(block), axis=0)
                dataset[first:] = values

        yield write
