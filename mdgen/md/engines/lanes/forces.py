"""All forces on one block of sixteen replicas."""

from typing import Any

from mdgen.md.engines.lanes.bonded import angle_forces, bond_forces, torsion_forces
from mdgen.md.engines.lanes.lane_math import lane_function
from mdgen.md.engines.lanes.lanes import filled, store
from mdgen.md.engines.lanes.pair_sweeps import born_forces, vacuum_forces

ENERGY_TERMS = ("bonds", "angles", "torsions", "nonbonded", "generalized_born")
"""The rows of an energy table, in order."""


@lane_function
def block_forces(positions: Any, forces: Any, tables: Any, work: Any, energies: Any) -> None:
    """Forces of one block.

    Args:
        positions: (atom, 3, lane) in nm.
        forces: (atom, 3, lane) in kJ/mol/nm, overwritten.
        tables: `ForceTables`.
        work: `WorkSpace`.
        energies: (term, lane) in kJ/mol, rows as in `ENERGY_TERMS`, which must hold zeros; None where no energy is
            wanted, which compiles it away.
    """
    for atom in range(positions.shape[0]):
        for axis in range(3):
            store(forces, (atom, axis), filled(positions, 0.0))
    bond_forces(positions, forces, tables, energies)
    angle_forces(positions, forces, tables, energies)
    torsion_forces(positions, forces, tables, energies)
    if tables.born_atoms.shape[0] > 0:
        born_forces(positions, forces, tables, work.pairs, work.born, energies)
    else:
        vacuum_forces(positions, forces, tables, energies)
