"""A potential energy split into the terms that force fields are published with."""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.bonded import bond_energy, torsion_energy
from mdgen.md.force_field.terms.nonbonded import coulomb_energy, lennard_jones_energy
from mdgen.md.force_field.terms.pairs import separations
from mdgen.molecule.topology import Molecule

_SAME = {
    "angle": "angles",
    "cmap": "cmap",
    "dispersion_correction": "dispersion_correction",
    "generalized_born": "born",
    "surface": "surface",
}
TERMS = (
    "bond",
    "angle",
    "urey_bradley",
    "torsion",
    "improper",
    "cmap",
    "lennard_jones",
    "lennard_jones_14",
    "dispersion_correction",
    "coulomb",
    "coulomb_14",
    "generalized_born",
    "surface",
)
"""Names of all terms, in order."""


class EnergyTerms:
    """Energies of one molecule by published names.

    `bond`, `urey_bradley` (springs between atoms without a bond), `angle`, `torsion`, `improper` (harmonic ones, and
    periodic ones over atoms that are no chain; AMBER's DIHED holds those as well), `cmap`, `lennard_jones` and
    `lennard_jones_14`, `coulomb` and `coulomb_14` (1-4 pairs apart, as VDWAALS and 1-4 VDW), `dispersion_correction`,
    `generalized_born` (EGB) and `surface`. Terms that the force field lacks are left out.

    Args:
        parameters: the force field.
        molecule: its bonds tell springs and torsions apart.
    """

    def __init__(self, parameters: ForceFieldParameters, molecule: Molecule) -> None:
        self.parameters = parameters
        self._field = ForceField(parameters)
        bonded = {(min(pair), max(pair)) for pair in molecule.bonds.tolist()}
        self._springs = ~_joined(parameters.bond_atoms, bonded)
        self._impropers = ~_joined(parameters.torsion_atoms, bonded)

    def __call__(
        self, positions: Float[Tensor, "frame atom 3"], cell: Float[Tensor, "frame 3"] | None = None
    ) -> dict[str, Float[Tensor, "frame"]]:
        """Energy in kJ/mol of every term at every frame; they add up to the potential energy."""
        p = self.parameters
        whole = self._field.energy_terms(positions, cell)
        spring, improper = self._springs, self._impropers
        springs = bond_energy(positions, p.bond_atoms[spring], p.bond_length[spring], p.bond_k[spring])
        out_of_chain = torsion_energy(
            positions,
            p.torsion_atoms[improper],
            p.torsion_periodicity[improper],
            p.torsion_phase[improper],
            p.torsion_k[improper],
        )
        distance = separations(positions, p.exception_atoms)
        lennard_jones_14 = lennard_jones_energy(distance, p.exception_sigma, p.exception_epsilon)
        coulomb_14 = coulomb_energy(distance, p.exception_charge_product, p.coulomb_constant)
        terms = {
            "bond": whole["bonds"] - springs,
            "torsion": whole["torsions"] - out_of_chain,
            "lennard_jones": whole["lennard_jones"] - lennard_jones_14,
            "lennard_jones_14": lennard_jones_14,
            "coulomb": whole["coulomb"] - coulomb_14,
            "coulomb_14": coulomb_14,
        }
        if bool(spring.any()):
            terms["urey_bradley"] = springs
        if bool(improper.any()) or "impropers" in whole:
            terms["improper"] = out_of_chain + whole.get("impropers", torch.zeros_like(out_of_chain))
        terms |= {name: whole[own] for name, own in _SAME.items() if own in whole}
        return {name: terms[name] for name in TERMS if name in terms}


def _joined(atoms: Tensor, bonded: set[tuple[int, int]]) -> Bool[Tensor, "term"]:
    """Whether neighbours in each row are bonded to each other."""
    chains = [all((min(pair), max(pair)) in bonded for pair in pairwise(row)) for row in atoms.tolist()]
    return torch.tensor(chains, dtype=torch.bool)
