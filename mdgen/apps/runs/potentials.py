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
    molecule.require_same_atoms(system.molecule)
    return system
