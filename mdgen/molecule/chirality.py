"""Stereocentres, found in the bond graph alone, and the sign that tells a centre from its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.molecule.topology import Molecule


@dataclass(frozen=True)
class StereoCentre:
    """A carbon with four different neighbours, such as CA of most amino acids and CB of threonine and isoleucine.

    Args:
        name: name for reading, such as `CA ALA2`.
        centre: index of the carbon.
        neighbours: indices of its neighbours, in an order fixed by the elements and branches behind them.
    """

    name: str
    centre: int
    neighbours: tuple[int, int, int, int]


def stereocentres(molecule: Molecule) -> tuple[StereoCentre, ...]:
    """All carbons whose four neighbours differ in what hangs on them.

    Neighbours are told apart by refining a label of each atom with those of its neighbours until nothing changes
    (Morgan's algorithm, without stereochemistry itself).

    Raises:
        MdgenError: if the bonds of a residue are not known.
    """
    molecule.require_bonded()
    labels = _labels(molecule)
    found = []
    for atom in molecule.topology.atoms:
        near = molecule.neighbours[atom.index]
        if molecule.elements[atom.index] == "C" and len({labels[i] for i in near}) == len(near) == 4:
            masses = molecule.masses
            first, second, third, fourth = sorted(near, key=lambda i: (-masses[i], labels[i]))
            found.append(StereoCentre(f"{atom.name} {atom.residue}", atom.index, (first, second, third, fourth)))
    return tuple(found)


def handedness(
    positions: Float[Tensor, "*batch atom 3"], centres: Sequence[StereoCentre]
) -> Float[Tensor, "*batch centre"]:
    """Signed volume in nm^3 spanned by the first three neighbours of each centre, seen from the fourth.

    Its sign is the chirality: a mirror image has the other one, and a centre that is flattened has nearly none.
    """
    return signed_volumes(positions, np.array([centre.neighbours for centre in centres], np.int64).reshape(-1, 4))


def signed_volumes(
    positions: Float[Tensor, "*batch atom 3"], centres: Int[np.ndarray, "centre 4"]
) -> Float[Tensor, "*batch centre"]:
    """Six times the signed volume of each tetrahedron, in nm^3; a mirror image has the other sign."""
    table = torch.as_tensor(centres, device=positions.device)
    first, second, third, fourth = (positions.index_select(-2, column) for column in table.unbind(-1))
    return (torch.linalg.cross(first - fourth, second - fourth) * (third - fourth)).sum(-1)


def _labels(molecule: Molecule) -> list[int]:
    labels = [0] * molecule.n_atoms
    keys: list[tuple] = [(element,) for element in molecule.elements]
    while True:
        rank = {key: number for number, key in enumerate(sorted(set(keys)))}
        new = [rank[key] for key in keys]
        if len(rank) == len(set(labels)) and new == labels:
            return labels
        labels = new
        keys = [(labels[i], *sorted(labels[j] for j in molecule.neighbours[i])) for i in range(molecule.n_atoms)]
