"""Force fields that a config names, for the molecule of trajectories that are there already."""

from typing import Any

from mdgen.apps.config.instantiation import instantiate
from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, System
from mdgen.molecule.topology import Molecule


def potential_for(config: dict[str, Any], molecule: Molecule, key: str = "system") -> Potential:
    """The force field of a `system` config: `system_for` without all that is not energy."""
    return system_for(config, molecule, key).potential


def system_for(config: dict[str, Any], molecule: Molecule, key: str = "system") -> System:
    """The system of a config, for trajectories that are there already or will be.

    Args:
        config: config of the system.
        molecule: molecule of the trajectories.
        key: name of the config, for messages.

    Raises:
        MdgenError: if its atoms are not those of the trajectories, in their order, or if it needs a periodic box.
    """
    system: System = instantiate({**config, "relax": False})
    alone = getattr(system.potential, "openmm_system", None)
    if system.cell is not None or (alone is not None and alone.usesPeriodicBoundaryConditions()):
        raise MdgenError(
            f"{key}: this force field needs a periodic box, and the trajectories have none; choose an implicit "
            f"solvent or vacuum, such as {key}.solvent=obc2"
        )
    _require_same_atoms(system.molecule, molecule)
    return system


def _require_same_atoms(of_system: Molecule, of_trajectories: Molecule) -> None:
    """Raise unless elements and bonds agree atom by atom; names may differ, as between AMBER and PDB."""
    if of_system.n_atoms != of_trajectories.n_atoms:
        of_trajectories.require_same(of_system, "the system of the force field")
    for index, (mine, other) in enumerate(zip(of_system.elements, of_trajectories.elements, strict=True)):
        if mine != other:
            raise MdgenError(
                f"the system of the force field has {of_system.atom_label(index)} where the trajectories have "
                f"{of_trajectories.atom_label(index)}; build it from their own topology, such as system=pdb "
                "system.pdb=FILE"
            )
    bonds, others = ({tuple(sorted(pair)) for pair in m.bonds.tolist()} for m in (of_system, of_trajectories))
    if bonds != others:
        first, second = min(bonds ^ others)
        raise MdgenError(
            f"only one of the force field's system and the trajectories has the bond of "
            f"{of_trajectories.atom_label(first)} and {of_trajectories.atom_label(second)}; build the system from "
            "their own topology, such as system=pdb system.pdb=FILE"
        )
