"""Measurements of a frame's conformation: bonds, angles, planes, pair distances, contacts, principal components.

One number a degree of freedom and frame is kept in half precision, the first three as deviations from the reference's
means: 174 bytes a frame of alanine dipeptide, about 900 of a pentapeptide of 94 atoms.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.evaluation.metrics.structure_checks import StructureChecks
from mdgen.geometry.dihedrals import bond_angles, bond_lengths
from mdgen.geometry.superposition import superpose
from mdgen.molecule.topology import Molecule

PAIRS = 100
"""Heavy pairs whose distances are kept, spread evenly over all that are more than three bonds apart."""

COMPONENTS = 10
"""Principal components kept."""

HEAVY_ATOMS = 200
"""Above so many heavy atoms the alpha carbons are superposed in their place."""

FINGERPRINT = 24
"""Pair distances of the fingerprint."""

HEAVY_DISTANCES = 8
"""Of these, distances between heavy atoms, which come first, as far as there are so many."""

LARGEST = 60_000.0
"""Bound for numbers in half precision."""


@dataclass(frozen=True)
class Conformation:
    """Degrees of freedom to measure, with the reference's means; see `fit_conformation`.

    Args:
        bonds: bonded pairs, with their mean `lengths` in nm.
        lengths: mean lengths of the bonds.
        angle_atoms: bonded triples, with their mean `angles` in radians.
        angles: mean angles of the triples.
        planar: atoms with three neighbours, each with these.
        pairs: heavy pairs more than three bonds apart.
        contact_atoms: heavy pairs of residues that are not neighbours.
        contacts: number of the residue pair that each of these belongs to.
        atoms: superposed atoms.
        mean: mean structure of these in nm.
        components: orthonormal directions of their largest variance.
        fingerprint: pairs of atoms that are not bonded, whose distances tell frames apart.
    """

    bonds: Int[np.ndarray, "bond 2"]
    lengths: Float[np.ndarray, "bond"]
    angle_atoms: Int[np.ndarray, "angle 3"]
    angles: Float[np.ndarray, "angle"]
    planar: Int[np.ndarray, "plane 4"]
    pairs: Int[np.ndarray, "pair 2"]
    contact_atoms: Int[np.ndarray, "contact 2"]
    contacts: Int[np.ndarray, "contact"]
    atoms: Int[np.ndarray, "superposed"]
    mean: Float[Tensor, "superposed 3"]
    components: Float[Tensor, "coordinate component"]
    fingerprint: Int[np.ndarray, "distance 2"]

    @property
    def work(self) -> int:
        """Number of distances and angles that take as long as one frame."""
        return len(self.bonds) + len(self.angle_atoms) + len(self.planar) + len(self.contacts) + 100

    def measure(self, positions: Float[Tensor, "frame atom 3"]) -> dict[str, Float[np.ndarray, "frame column"]]:
        """Tables by name: deviations of `bonds` in nm and `angles` in degrees, pyramidality of `planes` in degrees,
        `pairs` and `contacts` in nm, and principal `components` in nm, each over the root of the number of atoms.
        """
        angles = bond_angles(positions, self.angle_atoms) - _like(self.angles, positions)
        moved = superpose(positions[:, self.atoms], self.mean.to(positions)) - self.mean.to(positions)
        found = {
            "bonds": bond_lengths(positions, self.bonds) - _like(self.lengths, positions),
            "angles": torch.rad2deg(angles),
            "planes": torch.rad2deg(pyramidality(positions, self.planar)),
            "pairs": bond_lengths(positions, self.pairs),
            "contacts": self._contacts(positions),
            "components": moved.flatten(1) @ self.components.to(positions) / len(self.atoms) ** 0.5,
        }
        return {name: table.clamp(-LARGEST, LARGEST).half().numpy() for name, table in found.items()}

    def distances(self, positions: Float[Tensor, "frame atom 3"]) -> Float[np.ndarray, "frame distance"]:
        """Distances in nm that tell frames apart whatever their orientation."""
        return bond_lengths(positions, self.fingerprint).float().numpy()

    def _contacts(self, positions: Tensor) -> Float[Tensor, "frame contact"]:
        """Smallest distance between the heavy atoms of each pair of residues."""
        number = int(self.contacts.max()) + 1 if len(self.contacts) else 0
        closest = torch.full((len(positions), number), torch.inf, dtype=positions.dtype)
        for start in range(0, len(self.contacts), 256):
            part = slice(start, start + 256)
            which = torch.from_numpy(self.contacts[part]).expand(len(positions), -1)
            closest.scatter_reduce_(1, which, bond_lengths(positions, self.contact_atoms[part]), "amin")
        return closest


def fit_conformation(
    molecule: Molecule, checks: StructureChecks, reference: Float[Tensor, "frame atom 3"]
) -> Conformation:
    """Choose what is measured, and take the means and principal components from some frames of the reference."""
    planar = [(atom, *near) for atom, near in enumerate(molecule.neighbours) if len(near) == 3]
    chosen = np.unique(np.linspace(0, len(checks.pairs) - 1, min(PAIRS, len(checks.pairs))).round().astype(np.int64))
    contact_atoms, contacts = _contact_atoms(molecule, checks.pairs)
    atoms = _superposed(molecule)
    mean, components = _principal_components(reference[:, atoms])
    return Conformation(
        bonds=checks.bonds,
        lengths=checks.lengths,
        angle_atoms=checks.angle_atoms,
        angles=checks.angles,
        planar=np.array(planar, dtype=np.int64).reshape(-1, 4),
        pairs=checks.pairs[chosen],
        contact_atoms=contact_atoms,
        contacts=contacts,
        atoms=atoms,
        mean=mean,
        components=components,
        fingerprint=_fingerprint(molecule),
    )


def pyramidality(
    positions: Float[Tensor, "frame atom 3"], planar: Int[np.ndarray, "plane 4"]
) -> Float[Tensor, "frame plane"]:
    """`asin(u1 . (u2 x u3))` in radians of the unit vectors from each first atom to the other three: 0 in a plane.

    An atom bent out of the plane by t changes it by about 0.87 t where the bonds are 120 degrees apart.
    """
    arms = positions[:, planar[:, 1:]] - positions[:, planar[:, :1]]
    arms = arms / torch.linalg.vector_norm(arms, dim=-1, keepdim=True).clamp(min=1e-9)
    first, second, third = arms.unbind(-2)
    return torch.asin((first * torch.linalg.cross(second, third)).sum(-1).clamp(-1, 1))


def _like(values: np.ndarray, positions: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=positions.dtype)


def _heavy(molecule: Molecule) -> list[int]:
    heavy = [atom for atom, symbol in enumerate(molecule.elements) if symbol not in ("H", "VS")]
    return heavy or list(range(molecule.n_atoms))


def _superposed(molecule: Molecule) -> Int[np.ndarray, "superposed"]:
    heavy = _heavy(molecule)
    alpha = [atom for atom in heavy if molecule.topology.atom(atom).name == "CA"]
    return np.array(alpha if len(heavy) > HEAVY_ATOMS and len(alpha) > 2 else heavy, dtype=np.int64)


def _principal_components(frames: Float[Tensor, "frame atom 3"]) -> tuple[Tensor, Tensor]:
    mean = frames[0]
    for _ in range(3):
        mean = superpose(frames, mean).mean(0)
    moved = (superpose(frames, mean) - mean).flatten(1).double()
    number = min(COMPONENTS, max(1, moved.shape[1] - 6), len(moved))
    return mean, torch.linalg.svd(moved, full_matrices=False).Vh[:number].T.to(frames.dtype)


def _contact_atoms(molecule: Molecule, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heavy pairs of residues at least two apart in the chain, and the number of the residue pair of each."""
    residue = np.array([atom.residue.index for atom in molecule.topology.atoms])
    of_pair = residue[pairs]
    apart = np.abs(of_pair[:, 0] - of_pair[:, 1]) >= 2
    ordered = np.sort(of_pair[apart], axis=1)
    numbers = np.unique(ordered, axis=0, return_inverse=True)[1].reshape(-1)
    return pairs[apart], numbers.astype(np.int64)


def _fingerprint(molecule: Molecule) -> Int[np.ndarray, "distance 2"]:
    """Random pairs of atoms that are not bonded, heavy ones first, then any, such that few atoms come twice."""
    rng, found = np.random.default_rng(0), dict[tuple[int, int], None]()
    bonded = {tuple(sorted(bond)) for bond in molecule.bonds.tolist()}
    for atoms, number in ((_heavy(molecule), HEAVY_DISTANCES), (range(molecule.n_atoms), FINGERPRINT)):
        for _ in range(20):
            order = rng.permutation(np.array(atoms))
            for first, second in zip(order[::2], order[1::2], strict=False):
                pair = (int(min(first, second)), int(max(first, second)))
                if pair not in bonded and len(found) < number:
                    found[pair] = None
    return np.array(list(found), dtype=np.int64).reshape(-1, 2)
