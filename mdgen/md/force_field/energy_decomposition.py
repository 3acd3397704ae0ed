"""A potential energy split into the terms that force fields are published with."""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.bonded import bond_energy, torsion_energy
from mdgen.molecule.topology import Molecule


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
        exceptions = self._field.exceptions(positions, cell)
        lennard_jones_14, coulomb_14 = exceptions["lennard_jones"], exceptions["coulomb"]
        bent = out_of_chain + whole.get("impropers", torch.zeros_like(out_of_chain))
        terms = {
            "bond": whole["bonds"] - springs,
            "angle": whole["angles"],
            "urey_bradley": springs if bool(spring.any()) else None,
            "torsion": whole["torsions"] - out_of_chain,
            "improper": bent if bool(improper.any()) or "impropers" in whole else None,
            "cmap": whole.get("cmap"),
            "lennard_jones": whole["lennard_jones"] - lennard_jones_14,
            "lennard_jones_14": lennard_jones_14,
            "dispersion_correction": whole.get("dispersion_correction"),
            "coulomb": whole["coulomb"] - coulomb_14,
            "coulomb_14": coulomb_14,
            "generalized_born": whole.get("born"),
            "surface": whole.get("surface"),
        }
        return {name: energy for name, energy in terms.items() if energy is not None}


def _joined(atoms: Tensor, bonded: set[tuple[int, int]]) -> Bool[Tensor, "term"]:
    """Whether neighbours in each row are bonded to each other."""
    chains = [all((min(pair), max(pair)) in bonded for pair in pairwise(row)) for row in atoms.tolist()]
    return torch.tensor(chains, dtype=torch.bool)
