"""Frames of a protein as AlphaFlow's analysis sees them: heavy atoms on the static structure, and C-alpha apart."""

from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
import torch
from jaxtyping import Float, Int

from mdgen.data.formats.reading import file_sources
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.statistics.intervals import unit_ids
from mdgen.geometry.superposition import superpose
from mdgen.molecule.topology import Molecule

LEAST_RESIDUES = 4


@dataclass(frozen=True)
class Selection:
    """Atoms of the analysis.

    Args:
        heavy: indices of the atoms that are no hydrogen.
        alpha: positions of the C-alpha atoms among the heavy ones.
        topology: topology of the heavy atoms.
    """

    heavy: Int[np.ndarray, "heavy"]
    alpha: Int[np.ndarray, "alpha"]
    topology: mdtraj.Topology

    @classmethod
    def of(cls, molecule: Molecule) -> "Selection":
        """Heavy and C-alpha atoms of a molecule.

        Raises:
            MdgenError: if it has fewer than four C-alpha atoms.
        """
        heavy = np.array([index for index, element in enumerate(molecule.elements) if element != "H"])
        topology = molecule.topology.subset(heavy)
        alpha = np.array([atom.index for atom in topology.atoms if atom.name == "CA" and atom.element.symbol == "C"])
        if len(alpha) < LEAST_RESIDUES:
            raise MdgenError(
                f"protocol=proteins needs at least {LEAST_RESIDUES} C-alpha atoms, and this molecule has {len(alpha)}; "
                "use protocol=mdgen for peptides or leave protocol out"
            )
        return cls(heavy, alpha, topology)


@dataclass(frozen=True)
class Ensemble:
    """Superposed frames of one set.

    Args:
        heavy: heavy atoms, superposed on those of the static structure, nm.
        alpha: C-alpha atoms, superposed on those of the static structure, nm.
        units: bootstrap unit of each frame.
        n_frames: frames of the whole set, of which these are evenly spread.
    """

    heavy: Float[np.ndarray, "frame heavy 3"]
    alpha: Float[np.ndarray, "frame alpha 3"]
    units: Int[np.ndarray, "frame"]
    n_frames: int

    def __len__(self) -> int:
        return len(self.alpha)


def static_structure(path: str | None, reference: TrajectorySet, selection: Selection) -> Float[np.ndarray, "heavy 3"]:
    """Heavy atoms of the structure that started the dynamics; of the reference's first frame where none is named.

    Raises:
        MdgenError: if the file is not there, or holds another molecule.
    """
    if path is None:
        return np.array(reference.positions(0, 0, 1)[0][selection.heavy], dtype=np.float64)
    if not Path(path).is_file():
        raise MdgenError(f"protocol.structure={path} does not exist; name the structure that started the dynamics")
    molecule = Molecule.from_file(path)
    other = Selection.of(molecule)
    names = [[str(atom) for atom in each.topology.atoms] for each in (selection, other)]
    if names[0] != names[1]:
        raise MdgenError(
            f"the heavy atoms of protocol.structure={path} are not those of the trajectories; name the structure that "
            "started the dynamics"
        )
    (frame,) = file_sources(Path(path))[0].read(0, 1, 1)
    return np.array(frame[other.heavy], dtype=np.float64)


def read_ensemble(
    trajectories: TrajectorySet, selection: Selection, structure: Float[np.ndarray, "heavy 3"], most: int
) -> Ensemble:
    """Read at most about `most` frames, evenly spread, and superpose them on the static structure."""
    stride = -(-trajectories.n_frames // most)
    parts = [
        np.array(trajectories.positions(index, 0, None, stride)[:, selection.heavy], dtype=np.float32)
        for index in range(len(trajectories))
    ]
    frames = np.concatenate(parts)
    if len(frames) < 2:
        raise MdgenError("protocol=proteins compares ensembles, and a set holds a single frame; give at least two")
    heavy = _superposed(frames, structure)
    alpha = _superposed(frames[:, selection.alpha], structure[selection.alpha])
    return Ensemble(heavy, alpha, unit_ids([len(part) for part in parts]), trajectories.n_frames)


def spread_evenly(available: int, wanted: int) -> Int[np.ndarray, "frame"]:
    """Indices of at most `wanted` frames spread evenly over those available.

    >>> spread_evenly(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.round(np.linspace(0, available - 1, min(available, wanted))).astype(np.int64))


def _superposed(frames: np.ndarray, structure: np.ndarray) -> Float[np.ndarray, "frame atom 3"]:
    return superpose(torch.from_numpy(np.ascontiguousarray(frames)), torch.from_numpy(structure).float()).numpy()
