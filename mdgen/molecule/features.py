"""One-way features of a molecule that no rigid motion changes: sines and cosines of torsions, and distances.

Distances alone cannot tell mirror images apart; torsions can.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths, dihedral_angles
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsion_atoms, torsions
from mdgen.registry import register

DISTANCES = ("heavy", "alpha_carbon", "none")


@register
class TorsionDistanceFeatures(nn.Module):
    """Sine and cosine of each torsion, then distances in nm between atoms at least three bonds apart.

    Nearer pairs are held by bonds and angles and say little. The module has no parameters: the molecule and the
    arguments are all there is to save.

    Args:
        molecule: molecule of the positions.
        distances: atoms whose distances are taken: all `heavy` atoms, `alpha_carbon` atoms, or `none`.
        torsion_kinds: kinds of `molecule.torsions`; methyl rotors are left out by default, since they add noise.

    Raises:
        MdgenError: if an argument is unknown, or the molecule has no such feature.
    """

    def __init__(
        self,
        molecule: Molecule,
        distances: str = "heavy",
        torsion_kinds: Sequence[str] = ("backbone", "side_chain"),
    ) -> None:
        super().__init__()
        if distances not in DISTANCES:
            raise MdgenError(f"there are no distances {distances!r}; choose from {', '.join(DISTANCES)}")
        self.molecule = molecule
        self.distances = distances
        self.torsion_kinds = tuple(torsion_kinds)
        chosen = torsions(molecule, self.torsion_kinds)
        pairs = distance_pairs(molecule, distances)
        if not chosen and not len(pairs):
            raise MdgenError(
                f"{molecule!r} has no {' or '.join(self.torsion_kinds)} torsion and no distances {distances!r}; use "
                "heavy distances"
            )
        self.names = (
            *(f"sin {torsion.name}" for torsion in chosen),
            *(f"cos {torsion.name}" for torsion in chosen),
            *(f"{molecule.atom_label(i)} - {molecule.atom_label(j)}" for i, j in pairs.tolist()),
        )
        self._torsions: Tensor
        self._pairs: Tensor
        self.register_buffer("_torsions", torch.from_numpy(torsion_atoms(chosen)), persistent=False)
        self.register_buffer("_pairs", torch.from_numpy(pairs), persistent=False)

    @property
    def n_features(self) -> int:
        """Length of the feature axis."""
        return len(self.names)

    def forward(self, positions: Float[Tensor, "*batch atom 3"]) -> Float[Tensor, "*batch feature"]:
        """The features of each frame, differentiable."""
        angles = dihedral_angles(positions, self._torsions)
        return torch.cat([angles.sin(), angles.cos(), bond_lengths(positions, self._pairs)], dim=-1)


@register
class ParticlePositions(nn.Module):
    """Coordinates in nm of every particle, for a potential that fixes the frame: a point in a model potential.

    Nothing is done about rigid motions, so these are no features of a molecule that tumbles.

    Args:
        molecule: particles of the positions.
        axes: coordinates that are taken, some of `xyz`.

    Raises:
        MdgenError: if an axis is unknown.
    """

    def __init__(self, molecule: Molecule, axes: str = "xyz") -> None:
        super().__init__()
        if not axes or not set(axes) <= set("xyz"):
            raise MdgenError(f"there are no axes {axes!r}; choose some of xyz")
        self.molecule, self.axes = molecule, axes
        self.names = tuple(f"{axis} {molecule.atom_label(i)}" for i in range(molecule.n_atoms) for axis in axes)

    @property
    def n_features(self) -> int:
        """Length of the feature axis."""
        return len(self.names)

    def forward(self, positions: Float[Tensor, "*batch atom 3"]) -> Float[Tensor, "*batch feature"]:
        """The coordinates of each frame, particle by particle."""
        return positions[..., ["xyz".index(axis) for axis in self.axes]].flatten(-2)


def distance_pairs(molecule: Molecule, distances: str) -> Int[np.ndarray, "pair 2"]:
    """The atom pairs of a kind of `DISTANCES`, at least three bonds apart."""
    if distances == "none":
        return np.empty((0, 2), dtype=np.int64)
    atoms = [
        atom.index
        for atom in molecule.topology.atoms
        if (molecule.elements[atom.index] not in ("H", "VS") if distances == "heavy" else atom.name == "CA")
    ]
    graph = molecule.bond_graph
    near = set(zip(*(each.tolist() for each in (graph + graph @ graph).nonzero()), strict=True))
    pairs = [pair for pair in combinations(atoms, 2) if pair not in near]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
