"""Assigning a force field: hydrogens, water around, parameters from OpenMM's XML files."""

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import openmm
import openmm.app
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.md.systems.pdb_repair import advice
from mdgen.md.systems.peptides import ONE_LETTER
from mdgen.md.systems.topology_files import Source, first_line, fixed_python_random, in_nm

FORCE_FIELDS = {
    "amber14": ("amber14-all.xml",),
    "amber19": ("amber19-all.xml",),
    "amber99sbildn": ("amber99sbildn.xml",),
    "charmm36": ("charmm36.xml", str(Path(__file__).with_name("charmm36_caps.xml"))),
}
"""OpenMM's files of each force field known by name, and the residues that they lack."""

IMPLICIT_SOLVENTS = {name: f"implicit/{name}.xml" for name in ("hct", "obc1", "obc2", "gbn", "gbn2")}
"""OpenMM's file of each implicit solvent; each brings its own radii."""

_SITES = {"tip3p": 3, "tip3pfb": 3, "spce": 3, "opc3": 3, "opc": 4, "tip4pew": 4, "tip4pfb": 4}
"""Sites of each explicit water; the fourth is a virtual one, which OpenMM alone computes."""
_AMBER_WATERS = {"amber14": "amber14/{}.xml", "amber19": "amber19/{}.xml", "amber99sbildn": "{}.xml"}
WATERS = {name: {field: file.format(name) for field, file in _AMBER_WATERS.items()} for name in _SITES}
WATERS["tip3p"]["charmm36"] = "charmm36/water.xml"
"""OpenMM's file of each explicit water, by force field."""


_PEPTIDES = {*ONE_LETTER.values(), "ACE", "NME"}
_WATER_NAMES = ("HOH", "WAT", "TIP3", "SOL", "H2O")


def assigned(
    source: Source, force_field: str, solvent: str, settings: dict[str, Any], padding_nm: float, ion_molar: float
) -> tuple[Source, openmm.System]:
    """Add hydrogens if there are none and water if asked for, then assign parameters.

    Args:
        source: a molecule without force field.
        settings: arguments of `createSystem`; all others are those of `build_system`.

    Raises:
        MdgenError: for a residue, an atom or a pair of force field and water that is not known, or a cutoff without a
            box.
    """
    water = WATERS.get(solvent, {})
    if solvent in WATERS and force_field not in water:
        raise MdgenError(f"force field {force_field} has no {solvent}; {solvent} goes with {', '.join(water)}")
    files = [*FORCE_FIELDS[force_field], IMPLICIT_SOLVENTS.get(solvent), water.get(force_field)]
    numbers = _read(*[name for name in files if name])
    topology = source.topology
    periodic = settings["nonbondedMethod"] not in (openmm.app.NoCutoff, openmm.app.CutoffNonPeriodic)
    if periodic and solvent not in WATERS and topology.getPeriodicBoxVectors() is None:
        raise MdgenError(
            "cutoff_nm needs a periodic box, but this molecule has none; leave cutoff_nm null, or take solvent=tip3p"
        )
    try:
        modeller = openmm.app.Modeller(topology, source.positions * unit.nanometer)
        with fixed_python_random():
            if not any(atom.element is openmm.app.element.hydrogen for atom in topology.atoms()):
                known = numbers
                if _SITES.get(solvent) == 4:  # templates of the file's waters must not want a fourth site yet
                    known = openmm.app.ForceField(*FORCE_FIELDS[force_field], WATERS["tip3p"][force_field])
                modeller.addHydrogens(known, pH=7.0, platform=openmm.Platform.getPlatformByName("Reference"))
            if solvent in WATERS:
                shape, salt = "tip3p", ion_molar * unit.molar
                if _SITES[solvent] == 4:  # of waters that the file has, too
                    shape = "tip4pew"
                    modeller.addExtraParticles(numbers)
                modeller.addSolvent(numbers, model=shape, padding=padding_nm * unit.nanometer, ionicStrength=salt)
        made = replace(source, topology=modeller.topology, positions=in_nm(modeller.positions))
        return made, numbers.createSystem(made.topology, **settings)
    except MdgenError:
        raise
    except Exception as error:  # OpenMM raises several kinds for templates that do not match
        raise _no_template(error, topology, numbers, force_field) from error


@functools.lru_cache(maxsize=8)
def _read(*files: str) -> openmm.app.ForceField:
    """OpenMM's XML files, kept for the next molecule: reading them takes longer than assigning a peptide."""
    return openmm.app.ForceField(*files)


def _no_template(
    error: Exception, topology: openmm.app.Topology, force_field: openmm.app.ForceField, name: str
) -> MdgenError:
    """OpenMM's complaint in one sentence: an unknown residue, or a known one whose atoms are not all there."""
    known = [*sorted(residue for residue in force_field._templates if len(residue) == 3), "HIS"]
    found = re.match(r"No template found for residue (\d+) \(\w+\)\.\s*", str(error))
    residues = list(topology.residues())
    residue = residues[int(found[1])] if found and int(found[1]) < len(residues) else None
    if residue is not None and residue.name in _WATER_NAMES and "HOH" not in known:
        return MdgenError(
            f"residue {residue.name} {residue.id} is water, which {name} has no parameters for; take all water out of "
            "the file, or take solvent=tip3p"
        )
    if residue is not None and residue.name not in known:
        peptides = ", ".join(sorted(_PEPTIDES & {*known}))
        return MdgenError(
            f"residue {residue.name} {residue.id} is unknown to {name}; known are {peptides}, and nucleic acids and "
            "ions; take it out of the file, or give a prmtop that holds its parameters"
        )
    reason = first_line(error).split("  For more information")[0].split("  You may be able")[0].rstrip(".")
    if residue is not None and found is not None:
        reason = f"residue {residue.name} {residue.id} does not match: {reason[found.end() :] or 'other atoms'}"
    return MdgenError(
        f"{name} cannot be assigned ({' '.join(reason.split())}); {advice()}; a file without any hydrogens gets them"
    )
