"""Assigning a force field: hydrogens, water around, parameters from OpenMM's XML files."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import openmm
import openmm.app
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.md.sources import Source, first_line, in_nm

FORCE_FIELDS = {
    "amber14": "amber14-all.xml",
    "amber19": "amber19-all.xml",
    "amber99sbildn": "amber99sbildn.xml",
    "charmm36": "charmm36.xml",
}
"""OpenMM's file of each force field known by name."""

IMPLICIT_SOLVENTS = {name: f"implicit/{name}.xml" for name in ("hct", "obc1", "obc2", "gbn", "gbn2")}
"""OpenMM's file of each implicit solvent; each brings its own radii."""

WATERS = {
    "tip3p": {
        "amber14": "amber14/tip3p.xml",
        "amber19": "amber19/tip3p.xml",
        "amber99sbildn": "tip3p.xml",
        "charmm36": "charmm36/water.xml",
    },
    "tip3pfb": {"amber14": "amber14/tip3pfb.xml", "amber19": "amber19/tip3pfb.xml", "amber99sbildn": "tip3pfb.xml"},
}
"""OpenMM's file of each explicit water, by force field; waters of three sites, which need no virtual ones."""


def assigned(
    source: Source, force_field: str, solvent: str, settings: dict[str, Any], padding_nm: float, ion_molar: float
) -> tuple[Source, openmm.System]:
    """Add hydrogens if there are none and water if asked for, then assign parameters.

    Args:
        source: a molecule without force field.
        force_field: a key of `FORCE_FIELDS`.
        solvent: a key of `IMPLICIT_SOLVENTS` or `WATERS`, or `vacuum`.
        settings: of `createSystem`.
        padding_nm: water between the molecule and the faces of a cubic box.
        ion_molar: Na+ and Cl- beyond those that neutralise.

    Raises:
        MdgenError: for a residue, an atom or a pair of force field and water that is not known.
    """
    water = WATERS.get(solvent, {})
    if solvent in WATERS and force_field not in water:
        raise MdgenError(f"force field {force_field} has no {solvent}; {solvent} goes with {', '.join(water)}")
    files = [FORCE_FIELDS[force_field], IMPLICIT_SOLVENTS.get(solvent), water.get(force_field)]
    numbers = openmm.app.ForceField(*[name for name in files if name])
    topology = source.topology
    try:
        modeller = openmm.app.Modeller(topology, source.positions * unit.nanometer)
        with _fixed_python_random():
            if not any(atom.element is openmm.app.element.hydrogen for atom in topology.atoms()):
                modeller.addHydrogens(numbers, pH=7.0, platform=openmm.Platform.getPlatformByName("Reference"))
            if solvent in WATERS:
                salt = ion_molar * unit.molar
                modeller.addSolvent(numbers, model="tip3p", padding=padding_nm * unit.nanometer, ionicStrength=salt)
        made = replace(source, topology=modeller.topology, positions=in_nm(modeller.positions))
        return made, numbers.createSystem(made.topology, **settings)
    except MdgenError:
        raise
    except Exception as error:  # OpenMM raises several kinds for templates that do not match
        raise _no_template(error, topology, numbers, force_field) from error


def _no_template(
    error: Exception, topology: openmm.app.Topology, force_field: openmm.app.ForceField, name: str
) -> MdgenError:
    """OpenMM's complaint in one sentence: an unknown residue, or a known one whose atoms are not all there."""
    known = [*sorted(residue for residue in force_field._templates if len(residue) == 3), "HIS"]
    found = re.match(r"No template found for residue (\d+)", str(error))
    residues = list(topology.residues())
    residue = residues[int(found[1])] if found and int(found[1]) < len(residues) else None
    if residue is not None and residue.name not in known:
        return MdgenError(f"residue {residue.name} {residue.id} is unknown to {name}; known are {', '.join(known)}")
    reason = first_line(error).split("  For more information")[0].split("  You may be able")[0].rstrip(".")
    return MdgenError(
        f"{name} cannot be assigned ({reason}); complete the residue (repair=true adds missing heavy atoms) or name "
        "its atoms as in the PDB"
    )


@contextmanager
def _fixed_python_random() -> Iterator[None]:
    """OpenMM drops hydrogens and ions at random before placing them; the same molecule shall come out every time."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
