"""Van der Waals radii, and how near to one another atoms may come that no bond holds together."""

import numpy as np
from jaxtyping import Float, Int

from mdgen.molecule.topology import Molecule

VAN_DER_WAALS_NM = {"H": 0.100, "C": 0.170, "N": 0.155, "O": 0.152, "F": 0.147, "P": 0.180, "S": 0.180, "Cl": 0.175,
                    "Br": 0.185, "I": 0.198, "Se": 0.190}  # fmt: skip
"""Radii of Bondi, J. Phys. Chem. 68, 441 (1964); other elements count as carbon. Hydrogen's is such that in 64 ns
of GTLM (amber14 with GBn2, 350 K) one comes nearer to a heavy atom than `ALLOWED_OVERLAP_NM` lets it in less than one
frame of a hundred."""

POLAR_HYDROGEN_NM = 0.050
"""Radius of a hydrogen at N, O or S, with which a hydrogen bond of 0.165 nm passes."""

ALLOWED_OVERLAP_NM = 0.04
"""Two atoms clash where their spheres overlap by more; MolProbity's 0.4 angstrom (Word et al., 1999), which lets a
hydrogen bond of 0.27 nm between heavy atoms pass."""


def nonbonded_pairs(molecule: Molecule, hydrogens: bool = False) -> Int[np.ndarray, "pair 2"]:
    """Pairs of atoms that are neither bonded nor second or third neighbours; of heavy atoms alone unless told."""
    left_out = ("VS",) if hydrogens else ("H", "VS")
    atoms = [i for i, symbol in enumerate(molecule.elements) if symbol not in left_out]
    pairs = []
    for atom in atoms:
        near = {atom}
        for _ in range(3):
            near |= {further for reached in near for further in molecule.neighbours[reached]}
        pairs += [(atom, other) for other in atoms if other > atom and other not in near]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def clash_distances(molecule: Molecule, pairs: Int[np.ndarray, "pair 2"]) -> Float[np.ndarray, "pair"]:
    """Distance in nm below which each pair clashes."""
    radii = np.array([VAN_DER_WAALS_NM.get(symbol, VAN_DER_WAALS_NM["C"]) for symbol in molecule.elements])
    for atom, symbol in enumerate(molecule.elements):
        if symbol == "H" and any(molecule.elements[near] in ("N", "O", "S") for near in molecule.neighbours[atom]):
            radii[atom] = POLAR_HYDROGEN_NM
    return radii[pairs].sum(-1) - ALLOWED_OVERLAP_NM
