"""The wells of a peptide's torsions: basins of (phi, psi), rotamers of leucine, and how neighbours couple.

Centres and spreads are near those of AMBER force fields, moved a little where independent fluctuations would clash.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BASINS = ("beta", "PII", "alphaR", "alphaL")
ROTAMERS = ("mt", "tp", "tt")


@dataclass(frozen=True)
class Wells:
    """Wells of a pair of torsions and the rates between them.

    Args:
        names: name of each well.
        torsions: names of the two torsions.
        centres: centre of each well in degrees.
        spreads: standard deviation of each torsion in each well, degrees.
        energies: energy of each well in kT.
        rates: symmetric rates between wells of equal energy, per ps.
    """

    names: tuple[str, ...]
    torsions: tuple[str, str]
    centres: Float[np.ndarray, "well 2"]
    spreads: Float[np.ndarray, "well 2"]
    energies: Float[np.ndarray, "well"]
    rates: Float[np.ndarray, "well well"]


def _symmetric(upper: list[list[float]]) -> np.ndarray:
    table = np.array(upper)
    return table + table.T


def basins(residue: str) -> Wells:
    """Basins of a residue's phi and psi."""
    return Wells(
        tuple(f"{name} {residue}" for name in BASINS),
        (f"phi {residue}", f"psi {residue}"),
        np.array([[-132.0, 158.0], [-80.0, 152.0], [-84.0, -45.0], [59.0, 45.0]]),
        np.array([[13.0, 11.0], [9.0, 10.0], [10.0, 10.0], [5.0, 9.0]]),
        np.array([0.4, 0.0, 0.3, 2.2]),
        _symmetric([[0, 0.1, 0.006, 0.0006], [0, 0, 0.02, 0.0], [0, 0, 0, 0.0012], [0, 0, 0, 0]]),
    )


def rotamers(residue: str) -> Wells:
    """Rotamers of leucine: three populated pairs of chi1 and chi2 (Lovell et al., Proteins 40, 389 (2000))."""
    return Wells(
        tuple(f"{name} {residue}" for name in ROTAMERS),
        (f"chi1 {residue}", f"chi2 {residue}"),
        np.array([[-68.0, 175.0], [-178.0, 63.0], [-172.0, 147.0]]),
        np.array([[9.0, 9.0], [8.0, 8.0], [8.0, 9.0]]),
        np.array([0.0, 0.6, 2.0]),
        _symmetric([[0, 0.008, 0.004], [0, 0, 0.005], [0, 0, 0]]),
    )


BASINS_OF_NEIGHBOURS = np.array(
    [[-0.4, 0.0, 0.5, 0.0], [0.0, -0.2, 0.2, 0.0], [0.5, 0.2, -0.9, -0.2], [0.0, 0.0, -0.2, 0.6]]
)
ROTAMER_OF_BASIN = np.array([[-0.3, 1.0, 0.6], [-0.2, 0.6, 0.3], [0.6, -0.9, -0.2], [-0.3, 2.5, 2.5]])
"""Coupling energies in kT of the basins of neighbouring residues, and of a basin and its residue's rotamer."""

CRANKSHAFT = -0.5
"""Correlation of the fluctuations of psi and of the next residue's phi, which turn the peptide plane between them."""
