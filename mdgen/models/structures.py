"""Structures as users hold them, for `encode`: tensors, numpy arrays and mdtraj trajectories."""

from typing import TypeAlias

import mdtraj
import numpy as np
import torch
from torch import Tensor

from mdgen.molecule.topology import Molecule

Structures: TypeAlias = Tensor | np.ndarray | mdtraj.Trajectory
"""Positions in nm (..., atom, 3), or the frames of an mdtraj trajectory."""


def positions_of(structures: Structures, molecule: Molecule | None = None) -> Tensor:
    """Positions in nm; tensors as they are, all else in single precision.

    Args:
        structures: positions (..., atom, 3), or a trajectory (frame, atom, 3).
        molecule: molecule that a trajectory must be of; None for any.

    Raises:
        MdgenError: if a trajectory is of another molecule.
    """
    if isinstance(structures, Tensor):
        return structures
    if isinstance(structures, mdtraj.Trajectory):
        if molecule is not None:
            molecule.require_same(Molecule.from_mdtraj(structures.topology), "the trajectory")
        structures = structures.xyz
    return torch.tensor(np.asarray(structures), dtype=torch.float32)
