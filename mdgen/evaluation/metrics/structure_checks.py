"""Structure of each frame: bonds, angles, chirality, clashes and size.

Ideal bond lengths, angles and handedness are the reference's means, so no tabulated values are needed. Bonds between
residues are treated like any other.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.geometry.dihedrals import bond_angles, bond_lengths
from mdgen.molecule.chirality import signed_volumes
from mdgen.molecule.topology import Molecule
from mdgen.molecule.van_der_waals import clash_distances, nonbonded_pairs

CHECKS = ("bond_max_nm", "bond_rms_nm", "angle_max_deg", "angle_rms_deg", "chirality_errors", "clashes", "closest_nm",
          "radius_of_gyration_nm", "prochirality_errors")  # fmt: skip
"""Columns of `StructureChecks.measure`: largest and root-mean-square deviation of bonds and of angles from the
reference's means, wrong stereocentres, clashing pairs, the closest non-bonded heavy pair, the size, and other centres
of four neighbours whose neighbours are exchanged."""


@dataclass(frozen=True)
class StructureChecks:
    """Bonds, angles, centres and pairs to check with their ideal values, in the units of `mdgen`; see `fit_checks`.

    Args:
        masses: masses in amu; ones where all are zero, as for beads without an element.
        bonds: bonded pairs, with their ideal `lengths` in nm.
        lengths: ideal lengths of the bonds.
        angle_atoms: bonded triples, with their ideal `angles` in radians.
        angles: ideal angles of the triples.
        centres: stereocentres, each as its four neighbours.
        handedness: sign of the signed volume of each centre.
        prochiral: other centres of four neighbours, such as CH2, CH3 and the carbon that bears the methyls of valine;
            their neighbours are told apart by their indices, and dynamics never exchanges them.
        prochiral_handedness: sign of the signed volume of each of them.
        pairs: heavy pairs more than three bonds apart, with the distance in nm below which they `clash`.
        clash: clash distances of the pairs.
    """

    masses: Float[np.ndarray, "atom"]
    bonds: Int[np.ndarray, "bond 2"]
    lengths: Float[np.ndarray, "bond"]
    angle_atoms: Int[np.ndarray, "angle 3"]
    angles: Float[np.ndarray, "angle"]
    centres: Int[np.ndarray, "centre 4"]
    handedness: Float[np.ndarray, "centre"]
    prochiral: Int[np.ndarray, "prochiral 4"]
    prochiral_handedness: Float[np.ndarray, "prochiral"]
    pairs: Int[np.ndarray, "pair 2"]
    clash: Float[np.ndarray, "pair"]

    def measure(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame check"]:
        """The columns named in `CHECKS` for each frame; what does not apply is 0 (`closest_nm` infinite)."""
        n = len(positions)
        bond = _deviation(bond_lengths(positions, self.bonds), self.lengths)
        angle = _deviation(bond_angles(positions, self.angle_atoms), self.angles) * (180 / np.pi)
        wrong = _inverted(positions, self.centres, self.handedness)
        exchanged = _inverted(positions, self.prochiral, self.prochiral_handedness)
        clashes, closest = torch.zeros(n, dtype=positions.dtype), torch.full((n,), torch.inf, dtype=positions.dtype)
        for start in range(0, len(self.pairs), 256):
            part = slice(start, start + 256)
            distances = bond_lengths(positions, self.pairs[part])
            clashes += (distances < torch.as_tensor(self.clash[part], dtype=positions.dtype)).sum(-1)
            closest = torch.minimum(closest, distances.amin(-1))
        masses = torch.as_tensor(self.masses / self.masses.sum(), dtype=positions.dtype)
        centred = positions - torch.einsum("fax,a->fx", positions, masses)[:, None]
        size = torch.einsum("fax,a->f", centred**2, masses).sqrt()
        columns = [*_summary(bond, n), *_summary(angle, n), wrong, clashes, closest, size, exchanged]
        return torch.stack([column.to(positions.dtype) for column in columns], dim=-1)


def fit_checks(molecule: Molecule, reference: Float[Tensor, "frame atom 3"]) -> StructureChecks:
    """Take the ideal values from some frames of the reference.

    A centre whose handedness is not the same in 99 % of those frames is not checked.
    """
    angle_atoms = _angles(molecule)
    stereo = stereocentres(molecule)
    known = {tuple(centre) for centre in stereo.tolist()}
    others = [near for near in molecule.neighbours if len(near) == 4 and tuple(near) not in known]
    centres, handedness = _steady(reference, stereo)
    prochiral, prochiral_handedness = _steady(reference, np.array(others, dtype=np.int64).reshape(-1, 4))
    pairs = nonbonded_pairs(molecule)
    return StructureChecks(
        masses=molecule.masses if molecule.masses.sum() > 0 else np.ones(molecule.n_atoms),
        bonds=molecule.bonds,
        lengths=bond_lengths(reference, molecule.bonds).double().mean(0).numpy(),
        angle_atoms=angle_atoms,
        angles=bond_angles(reference, angle_atoms).double().mean(0).numpy(),
        centres=centres,
        handedness=handedness,
        prochiral=prochiral,
        prochiral_handedness=prochiral_handedness,
        pairs=pairs,
        clash=clash_distances(molecule, pairs),
    )


def _steady(reference: Tensor, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres whose handedness the reference keeps, and their signs."""
    signs = torch.sign(signed_volumes(reference, centres)).mean(0).numpy()
    steady = np.abs(signs) > 0.98
    return centres[steady], np.sign(signs[steady]).astype(np.float64)


def _inverted(positions: Tensor, centres: np.ndarray, handedness: np.ndarray) -> Int[Tensor, "frame"]:
    """Number of centres whose signed volume has the wrong sign."""
    volumes = signed_volumes(positions, centres)
    return (volumes * torch.as_tensor(handedness, dtype=positions.dtype) <= 0).sum(-1)


def stereocentres(molecule: Molecule) -> Int[np.ndarray, "centre 4"]:
    """The four neighbours of every atom that has four different ones.

    Two neighbours are the same where the bond graph, refined by the classes of neighbours until it settles
    (Weisfeiler-Lehman), cannot tell them apart: the methyls of valine are alike, its alpha carbon is a centre.
    """
    classes = _ranks(list(molecule.elements))
    for _ in range(molecule.n_atoms):
        refined = _ranks(
            [(own, tuple(sorted(classes[near] for near in molecule.neighbours[i]))) for i, own in enumerate(classes)]
        )
        if len(set(refined)) == len(set(classes)):
            break
        classes = refined
    found = [
        near for near in molecule.neighbours if len(near) == 4 and len({classes[neighbour] for neighbour in near}) == 4
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def _angles(molecule: Molecule) -> Int[np.ndarray, "angle 3"]:
    triples = [
        (first, middle, last)
        for middle, near in enumerate(molecule.neighbours)
        for first, last in combinations(near, 2)
        # In a three-membered ring, such as a rigid water, the "angle" is fixed by its bonds.
        if last not in molecule.neighbours[first]
    ]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


def _ranks(keys: list) -> list[int]:
    order = {key: rank for rank, key in enumerate(sorted(Counter(keys), key=repr))}
    return [order[key] for key in keys]


def _deviation(values: Tensor, ideal: np.ndarray) -> Tensor:
    return (values - torch.as_tensor(ideal, dtype=values.dtype)).abs()


def _summary(deviations: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    if deviations.shape[-1] == 0:
        return torch.zeros(frames), torch.zeros(frames)
    return deviations.amax(-1), (deviations**2).mean(-1).sqrt()
