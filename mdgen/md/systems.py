"""A molecule with its force field, ready to run: from a sequence, a PDB file or an AMBER prmtop.

OpenMM reads the files, places hydrogens and assigns parameters; nothing of it is needed afterwards.
"""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mdtraj
import numpy as np
import openmm
import openmm.app
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential
from mdgen.md.constraints import distance_constraints
from mdgen.md.force_field import ForceField
from mdgen.md.forces import SumOfPotentials
from mdgen.md.minimize import minimize
from mdgen.md.openmm_loader import load_openmm_system
from mdgen.md.parameters import ForceFieldParameters
from mdgen.md.peptides import extended_peptide
from mdgen.md.restraints import DistanceRestraints
from mdgen.molecule.topology import Molecule
from mdgen.units import COULOMB_OPENMM

FORCE_FIELDS = {"amber14": "amber14-all.xml", "amber99sbildn": "amber99sbildn.xml"}
"""OpenMM's file of each force field known by name."""

SOLVENTS = {
    "vacuum": None,
    "obc1": "implicit/obc1.xml",
    "obc2": "implicit/obc2.xml",
    "gbn": "implicit/gbn.xml",
    "gbn2": "implicit/gbn2.xml",
}
"""OpenMM's file of each solvent known by name; each brings its own radii."""

_PRMTOP_SOLVENTS = {
    "vacuum": None,
    "obc1": openmm.app.OBC1,
    "obc2": openmm.app.OBC2,
    "gbn": openmm.app.GBn,
    "gbn2": openmm.app.GBn2,
}
_CONSTRAINTS = {"none": None, "hbonds": openmm.app.HBonds}

_Quantities = Any


@dataclass(frozen=True)
class MolecularSystem:
    """A molecule, its force field and where it starts.

    Args:
        parameters: the force field as tensors.
        molecule: the topology.
        positions: a relaxed start in nm, constraints met.
        openmm_system: the same force field as OpenMM holds it, for comparison or for running there.
        openmm_topology: the topology as OpenMM holds it.
    """

    parameters: ForceFieldParameters
    molecule: Molecule
    positions: Float[Tensor, "atom 3"]
    openmm_system: openmm.System
    openmm_topology: openmm.app.Topology


def build_system(
    sequence: str | None = None,
    capped: bool = True,
    pdb: str | None = None,
    prmtop: str | None = None,
    coordinates: str | None = None,
    force_field: Literal["amber14", "amber99sbildn"] = "amber14",
    solvent: Literal["obc2", "obc1", "gbn2", "gbn", "vacuum"] = "obc2",
    constraints: Literal["hbonds", "none"] = "hbonds",
    hydrogen_mass_amu: float | None = None,
    coulomb_constant: float = COULOMB_OPENMM,
    relax: bool = True,
    salt_kappa_per_nm: float = 0.0,
) -> MolecularSystem:
    """Build a molecule from exactly one of `sequence`, `pdb` and `prmtop`.

    Args:
        sequence: one-letter codes of a peptide, built in extended form with hydrogens at pH 7; `A` is alanine
            dipeptide when capped.
        capped: whether a sequence ends in ACE and NME rather than in charged termini.
        pdb: a file with hydrogens, or without any, which are added then.
        prmtop: an AMBER topology, which holds its own force field; `force_field` plays no part.
        coordinates: where a prmtop starts: an inpcrd, rst7 or pdb file.
        force_field: `amber14` (ff14SB) or `amber99sbildn`.
        solvent: `obc2`, `obc1`, `gbn2` or `gbn`, generalised Born with the surface term, or `vacuum`.
        constraints: `hbonds` fixes the bonds to hydrogen, `none` leaves every bond to vibrate.
        hydrogen_mass_amu: mass to give hydrogens at the expense of what they are bonded to; None leaves masses alone.
        coulomb_constant: 1/(4 pi eps0) in kJ nm/mol/e^2.
        relax: minimise the start; otherwise only the constraints are met.
        salt_kappa_per_nm: inverse Debye length of salt in an implicit solvent, 1/nm; 1.04 for 0.1 M at 298 K.

    Raises:
        MdgenError: for an unknown residue, force field or solvent, a file that is missing or cannot be read, or when
            not exactly one source is named.
    """
    _require_known("force_field", force_field, FORCE_FIELDS)
    _require_known("solvent", solvent, SOLVENTS)
    _require_known("constraints", constraints, _CONSTRAINTS)
    if sum(source is not None for source in (sequence, pdb, prmtop)) != 1:
        raise MdgenError(
            f"a system needs exactly one of sequence, pdb and prmtop, but got sequence={sequence!r}, pdb={pdb!r}, "
            f"prmtop={prmtop!r}; name one"
        )
    if hydrogen_mass_amu is not None and not 1.0 <= hydrogen_mass_amu <= 4.0:
        raise MdgenError(
            f"hydrogen_mass_amu is {hydrogen_mass_amu}, but must lie between 1 and 4, or be null to leave masses alone"
        )
    if not 0 <= salt_kappa_per_nm < float("inf") or (salt_kappa_per_nm and solvent == "vacuum"):
        raise MdgenError(
            f"salt_kappa_per_nm is {salt_kappa_per_nm} with solvent {solvent!r}, but must be positive with an "
            "implicit solvent, or 0 for no salt"
        )
    settings: dict[str, Any] = {
        "nonbondedMethod": openmm.app.NoCutoff,
        "constraints": _CONSTRAINTS[constraints],
        "removeCMMotion": False,
        "hydrogenMass": None if hydrogen_mass_amu is None else hydrogen_mass_amu * unit.amu,
    }
    if solvent != "vacuum":
        settings["implicitSolventKappa"] = salt_kappa_per_nm / unit.nanometer
    if prmtop is not None:
        topology, positions, system = _from_prmtop(prmtop, coordinates, solvent, settings)
    else:
        files = [name for name in (FORCE_FIELDS[force_field], SOLVENTS[solvent]) if name]
        source = _from_pdb(pdb) if pdb is not None else _from_sequence(sequence or "", capped)
        topology, positions, system = _parametrised(*source, openmm.app.ForceField(*files), settings, force_field)
    parameters = load_openmm_system(system, topology, coulomb_constant)
    molecule = Molecule.from_mdtraj(mdtraj.Topology.from_openmm(topology))
    start = _settled(parameters, torch.tensor(_in_nm(positions), dtype=torch.float64), relax)
    return MolecularSystem(parameters, molecule, start, system, topology)


def _from_sequence(sequence: str, capped: bool) -> tuple[openmm.app.Topology, _Quantities]:
    topology, positions = extended_peptide(sequence, capped)
    return topology, positions * unit.nanometer


def _from_pdb(path: str) -> tuple[openmm.app.Topology, _Quantities]:
    _require_file(path, "pdb")
    try:
        file = openmm.app.PDBFile(path)
    except Exception as error:  # OpenMM's parser raises whatever the broken line happens to cause
        raise MdgenError(f"cannot read {path} as a PDB file ({_first_line(error)}); give a whole one") from error
    if file.topology.getNumAtoms() == 0:
        raise MdgenError(f"the PDB file {path} holds no atoms; give a whole one")
    if not np.isfinite(_in_nm(file.positions)).all():
        raise MdgenError(f"the PDB file {path} holds coordinates that are not finite; give a whole one")
    return file.topology, file.positions


def _from_prmtop(
    path: str, coordinates: str | None, solvent: str, settings: dict[str, Any]
) -> tuple[openmm.app.Topology, _Quantities, openmm.System]:
    _require_file(path, "prmtop")
    if coordinates is None:
        raise MdgenError(f"the prmtop {path} holds no coordinates; name an inpcrd, rst7 or pdb file as `coordinates`")
    _require_file(coordinates, "coordinates")
    try:
        file = openmm.app.AmberPrmtopFile(path)
    except Exception as error:  # as above
        raise MdgenError(f"cannot read {path} as a prmtop ({_first_line(error)}); give a whole one") from error
    reader = openmm.app.PDBFile if Path(coordinates).suffix == ".pdb" else openmm.app.AmberInpcrdFile
    try:
        positions = reader(coordinates).positions
    except Exception as error:  # as above
        raise MdgenError(f"cannot read coordinates from {coordinates} ({_first_line(error)})") from error
    if len(positions) != file.topology.getNumAtoms():
        raise MdgenError(
            f"{coordinates} holds {len(positions)} atoms, but {path} has {file.topology.getNumAtoms()}; "
            "give the coordinates of that molecule"
        )
    surface = {} if solvent == "vacuum" else {"implicitSolvent": _PRMTOP_SOLVENTS[solvent], "gbsaModel": "ACE"}
    return file.topology, positions, file.createSystem(**settings, **surface)


def _parametrised(
    topology: openmm.app.Topology,
    positions: _Quantities,
    force_field: openmm.app.ForceField,
    settings: dict[str, Any],
    name: str,
) -> tuple[openmm.app.Topology, _Quantities, openmm.System]:
    """Add hydrogens if there are none, then assign parameters."""
    try:
        if not any(atom.element is openmm.app.element.hydrogen for atom in topology.atoms()):
            modeller = openmm.app.Modeller(topology, positions)
            with _fixed_python_random():
                modeller.addHydrogens(force_field, pH=7.0, platform=openmm.Platform.getPlatformByName("Reference"))
            topology, positions = modeller.topology, modeller.positions
        return topology, positions, force_field.createSystem(topology, **settings)
    except ValueError as error:
        raise _no_template(error, topology, force_field, name) from error


def _no_template(
    error: ValueError, topology: openmm.app.Topology, force_field: openmm.app.ForceField, name: str
) -> MdgenError:
    """OpenMM's complaint in one sentence: an unknown residue, or a known one whose atoms are not all there."""
    known = [*sorted(residue for residue in force_field._templates if len(residue) == 3), "HIS"]
    found = re.match(r"No template found for residue (\d+)", str(error))
    residue = list(topology.residues())[int(found[1])] if found else None
    if residue is not None and residue.name not in known:
        return MdgenError(f"residue {residue.name} {residue.id} is unknown to {name}; known are {', '.join(known)}")
    reason = _first_line(error).split("  For more information")[0].split("  You may be able")[0].rstrip(".")
    return MdgenError(f"{name} cannot be assigned ({reason}); complete the residue or name its atoms as in the PDB")


@contextmanager
def _fixed_python_random() -> Iterator[None]:
    """OpenMM drops hydrogens at random before relaxing them; the same molecule shall come out the same every time."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def _settled(parameters: ForceFieldParameters, positions: Tensor, relax: bool) -> Tensor:
    """The start, relaxed, with its constraints met; while relaxing, stiff springs stand in for the constraints."""
    x = positions[None]
    if relax:
        potential: Potential = ForceField(parameters)
        if len(parameters.constraint_atoms):
            springs = DistanceRestraints(parameters.constraint_atoms, parameters.constraint_length)
            potential = SumOfPotentials([potential, springs])
        x = minimize(potential, x).positions
    constraints = distance_constraints(
        parameters.masses, parameters.constraint_atoms, parameters.constraint_length, tolerance=1e-12
    )
    return constraints.positions(x, x)[0]


def _require_known(what: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        raise MdgenError(f"{what} {name!r} is unknown; known are {', '.join(known)}")


def _require_file(path: str, what: str) -> None:
    if not Path(path).is_file():
        raise MdgenError(f"the {what} file {path} does not exist; check the path")


def _in_nm(positions: _Quantities) -> np.ndarray:
    return np.array(positions.value_in_unit(unit.nanometer), dtype=np.float64)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
