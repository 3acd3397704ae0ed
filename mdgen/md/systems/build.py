"""A molecule with its force field as a `System`: from a sequence, a PDB file, or files of AMBER, CHARMM or GROMACS.

OpenMM reads the files, places hydrogens and water and assigns parameters; only `engine=openmm` needs it afterwards.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import openmm
import openmm.app
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError, OnlyOpenMMError
from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.minimize import minimize, with_springs
from mdgen.md.dynamics.openmm_minimize import minimized_by_openmm
from mdgen.md.force_field.force_field import force_field_of, require_room
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.systems.force_field_assignment import FORCE_FIELDS, IMPLICIT_SOLVENTS, WATERS, assigned
from mdgen.md.systems.openmm_systems.openmm_loader import box_vectors, is_orthorhombic, system_from_openmm
from mdgen.md.systems.openmm_systems.openmm_nonbonded import number
from mdgen.md.systems.openmm_systems.openmm_xml import system_for_openmm
from mdgen.md.systems.parameter_checks import require_apart
from mdgen.md.systems.peptides import extended_peptide
from mdgen.md.systems.topology_files import Source, first_line, from_pdb, from_prmtop, from_psf, from_top
from mdgen.registry import register
from mdgen.units import COULOMB_AMBER, COULOMB_OPENMM

SOLVENTS = ["vacuum", *IMPLICIT_SOLVENTS, *WATERS]
"""Solvents known by name."""

_CONSTRAINTS = {"none": None, "hbonds": openmm.app.HBonds}
_LONG_RANGE = {"reaction_field": openmm.app.CutoffPeriodic, "pme": openmm.app.PME, "ljpme": openmm.app.LJPME}
_COULOMB = {"openmm": COULOMB_OPENMM, "amber": COULOMB_AMBER}
_SURFACE = {"ace": "ACE", "none": None}
_KAPPA_SQUARED_NM, _ION_EXCLUSION = 10.806, 0.73
"""Square of the inverse Debye length of 1 mol/l in water at 298 K (1/nm^2), and AMBER's factor on its root."""


@register
def build_system(
    sequence: str | None = None,
    capped: bool = True,
    pdb: str | None = None,
    prmtop: str | None = None,
    coordinates: str | None = None,
    force_field: Literal["amber14", "amber19", "amber99sbildn", "charmm36"] = "amber99sbildn",
    solvent: Literal[
        "obc2", "obc1", "gbn2", "gbn", "hct", "vacuum", "tip3p", "tip3pfb", "spce", "opc3", "opc", "tip4pew", "tip4pfb"
    ] = "obc2",
    constraints: Literal["hbonds", "none"] = "hbonds",
    hydrogen_mass_amu: float | None = 3.0,
    coulomb: Literal["openmm", "amber"] = "openmm",
    surface: Literal["ace", "none"] = "ace",
    relax: bool = True,
    salt_kappa_per_nm: float = 0.0,
    psf: str | None = None,
    charmm_files: Sequence[str] = (),
    top: str | None = None,
    repair: bool = False,
    cutoff_nm: float | None = None,
    switch_nm: float | None = None,
    long_range: Literal["reaction_field", "pme", "ljpme"] = "reaction_field",
    box_nm: Sequence[float] | None = None,
    padding_nm: float = 1.0,
    ion_molar: float = 0.0,
    switch_coulomb: bool = False,
    salt_molar: float = 0.0,
) -> System:
    """Build a molecule from exactly one of `sequence`, `pdb`, `prmtop`, `psf` and `top`.

    What of it only OpenMM computes, such as virtual sites, is left to engine=openmm.

    Args:
        sequence: one-letter codes of a peptide, built in extended form with hydrogens at pH 7; `A` is alanine
            dipeptide when capped.
        capped: whether a sequence ends in ACE and NME rather than in charged termini.
        pdb: a file with hydrogens, or without any, which are added then.
        prmtop: an AMBER topology, which holds its own force field; `force_field` is ignored.
        coordinates: start of a prmtop, psf or top: an inpcrd, rst7, gro or pdb file.
        force_field: `amber14` (ff14SB), `amber19` (ff19SB), `amber99sbildn` or `charmm36`.
        solvent: `obc2`, `obc1`, `gbn2`, `gbn` or `hct`, generalised Born (AMBER's igb=5, 2, 8, 7, 1); `tip3p`,
            `tip3pfb`, `spce` or `opc3`, a box of water around a sequence or pdb; `opc`, `tip4pew` or `tip4pfb`, whose
            fourth site only OpenMM computes; or `vacuum`, which leaves a file with water as it is.
        constraints: `hbonds` fixes the bonds to hydrogen and makes water rigid, `none` leaves every bond to vibrate.
        hydrogen_mass_amu: mass to give hydrogens at the expense of what they are bonded to; None leaves them alone.
        coulomb: convention of 1/(4 pi eps0): `openmm` (332.0637 kcal A/mol/e^2) or `amber` (332.0522).
        surface: the non-polar term of an implicit solvent: `ace`, or `none`, as AMBER has it unless gbsa is set.
        relax: minimise the start; otherwise only the constraints are met.
        salt_kappa_per_nm: inverse Debye length of salt in an implicit solvent, 1/nm; 1.04 for 0.1 M at 298 K.
        salt_molar: instead of that, salt in mol/l, as AMBER's `saltcon` and OpenMM's `implicitSolventSaltConc` take it:
            the inverse Debye length in water at 298 K times 0.73, which stands for the room that solutes deny to ions
            (Srinivasan et al., Theor. Chem. Acc. 1999, 101, 426).
        psf: a CHARMM structure, which needs `charmm_files`.
        charmm_files: its prm, rtf and str files.
        top: a GROMACS topology.
        repair: let PDBFixer, where it is installed, mend a pdb: missing atoms, names of hydrogens, CONECT lines.
        cutoff_nm: distance at which pairs end, in a periodic box, or without one in an implicit solvent, whose Born
            radii and energy end there too; None for no cutoff, and 1 nm with water.
        switch_nm: distance from which Lennard-Jones is switched off; None cuts it.
        long_range: `reaction_field`, or what runs on engine=openmm only: `pme`, or `ljpme`, of Lennard-Jones as well.
        box_nm: edges of the box of a prmtop, psf or top; None for those in the files.
        padding_nm: water between a molecule and the faces of its box.
        ion_molar: Na+ and Cl- in that water, beyond those that neutralise.
        switch_coulomb: whether the reaction field is switched off as Lennard-Jones is, from `switch_nm` on. Energies
            then have continuous second derivatives, so that constant-energy dynamics conserve them.

    Raises:
        MdgenError: for an unknown residue, force field or solvent, a file that is missing or cannot be read, a cutoff
            without a box or beyond half of it, atoms on the same spot, or when not exactly one source is named.
    """
    for what, name, known in (
        ("force_field", force_field, FORCE_FIELDS),
        ("solvent", solvent, SOLVENTS),
        ("constraints", constraints, _CONSTRAINTS),
        ("long_range", long_range, _LONG_RANGE),
        ("coulomb", coulomb, _COULOMB),
        ("surface", surface, _SURFACE),
    ):
        if name not in known:
            raise MdgenError(f"{what} {name!r} is unknown; known are {', '.join(known)}")
    sources = {"sequence": sequence, "pdb": pdb, "prmtop": prmtop, "psf": psf, "top": top}
    _require_one(sources)
    if solvent in WATERS and cutoff_nm is None:
        cutoff_nm = 1.0
    kappa = _kappa_per_nm(solvent, salt_kappa_per_nm, salt_molar)
    settings = _settings(constraints, hydrogen_mass_amu, solvent, kappa, surface)
    settings |= _pairs_settings(solvent, cutoff_nm, switch_nm, long_range, switch_coulomb)
    if prmtop is not None:
        source = from_prmtop(prmtop, coordinates, solvent, box_nm)
    elif psf is not None:
        source = from_psf(psf, coordinates, charmm_files, solvent, box_nm)
    elif top is not None:
        source = from_top(top, coordinates, box_nm)
    elif pdb is not None:
        source = from_pdb(pdb, repair)
    else:
        source = Source(*extended_peptide(sequence or "", capped))
    if top is not None and solvent in IMPLICIT_SOLVENTS:
        raise MdgenError(f"solvent is {solvent!r}, but a GROMACS topology is taken as it is; take solvent=vacuum")
    if source.create is None and (force_field, long_range) == ("charmm36", "ljpme"):
        raise MdgenError("long_range is ljpme, which OpenMM does not have for charmm36's Lennard-Jones; take pme")
    name = next(str(path) for path in sources.values() if path is not None)
    if solvent in IMPLICIT_SOLVENTS:
        _require_no_bath(source, name, solvent)
    if source.create is not None:
        system = _created(source, name, solvent, settings)
    else:
        source, system = assigned(source, force_field, solvent, settings, padding_nm, ion_molar)
    return _settled(source, system, _COULOMB[coulomb], relax, switch_coulomb)


def _require_no_bath(source: Source, name: str, solvent: str) -> None:
    """Raise where generalised Born would be put around a periodic box that is water for the most part."""
    residues = [[a for a in r.atoms() if a.element is not None] for r in source.topology.residues()]
    waters = [len(atoms) for atoms in residues if sorted(a.name[:1] for a in atoms) == ["H", "H", "O"]]
    if source.topology.getPeriodicBoxVectors() is not None and 2 * sum(waters) > sum(map(len, residues)):
        raise MdgenError(
            f"solvent is {solvent!r}, but {name} is a box with {len(waters)} waters, which need no implicit solvent; "
            "take solvent=vacuum with cutoff_nm=0.9, or take the water out"
        )


def _kappa_per_nm(solvent: str, salt_kappa_per_nm: float, salt_molar: float) -> float:
    """The inverse Debye length that generalised Born takes, from either of the two ways to say it."""
    for key, value in (("salt_kappa_per_nm", salt_kappa_per_nm), ("salt_molar", salt_molar)):
        if not 0 <= value < float("inf") or (value and solvent not in IMPLICIT_SOLVENTS):
            raise MdgenError(
                f"{key} is {value} with solvent {solvent!r}, but must be positive with an implicit solvent, or 0 for "
                "no salt"
            )
    if salt_kappa_per_nm and salt_molar:
        raise MdgenError("salt_kappa_per_nm and salt_molar were both given; say once how much salt there is")
    return salt_kappa_per_nm or _ION_EXCLUSION * (_KAPPA_SQUARED_NM * salt_molar) ** 0.5


def _settings(
    constraints: str, hydrogen_mass_amu: float | None, solvent: str, kappa_per_nm: float, surface: str
) -> dict[str, Any]:
    """Those of `createSystem` that say what moves how, and what surrounds it."""
    if hydrogen_mass_amu is not None and not 1.0 <= hydrogen_mass_amu <= 4.0:
        raise MdgenError(
            f"hydrogen_mass_amu is {hydrogen_mass_amu}, but must lie between 1 and 4, or be null to leave masses alone"
        )
    return {
        "constraints": _CONSTRAINTS[constraints],
        "rigidWater": constraints != "none",
        "removeCMMotion": False,
        "hydrogenMass": None if hydrogen_mass_amu is None else hydrogen_mass_amu * unit.amu,
    } | (
        {"implicitSolventKappa": kappa_per_nm / unit.nanometer, "sasaMethod": _SURFACE[surface]}
        if solvent in IMPLICIT_SOLVENTS
        else {}
    )


def _pairs_settings(
    solvent: str, cutoff_nm: float | None, switch_nm: float | None, long_range: str, switch_coulomb: bool
) -> dict[str, Any]:
    """Those of `createSystem` that say where pairs end."""
    if switch_coulomb and (cutoff_nm is None or switch_nm is None or long_range != "reaction_field"):
        raise MdgenError(
            f"switch_coulomb is set, but cutoff_nm is {cutoff_nm}, switch_nm {switch_nm} and long_range {long_range}; "
            "give both in nm, and take long_range=reaction_field"
        )
    if cutoff_nm is None:
        if switch_nm is not None or long_range != "reaction_field":
            wanted = f"long_range={long_range}" if long_range != "reaction_field" else f"switch_nm={switch_nm}"
            raise MdgenError(f"{wanted} needs a cutoff, but cutoff_nm is null; give one in nm")
        return {"nonbondedMethod": openmm.app.NoCutoff}
    if solvent in IMPLICIT_SOLVENTS and long_range != "reaction_field":
        raise MdgenError(
            f"long_range is {long_range}, but solvent {solvent} has no periodic box to sum over; take "
            "long_range=reaction_field"
        )
    if switch_nm is not None and long_range == "ljpme":
        raise MdgenError(
            f"switch_nm is {switch_nm}, but long_range=ljpme sums Lennard-Jones to any distance; leave switch_nm out"
        )
    if not 0 < (cutoff_nm if switch_nm is None else switch_nm) <= cutoff_nm < float("inf"):
        raise MdgenError(
            f"cutoff_nm is {cutoff_nm} and switch_nm {switch_nm}, but both must be positive, the switch being shorter"
        )
    method = openmm.app.CutoffNonPeriodic if solvent in IMPLICIT_SOLVENTS else _LONG_RANGE[long_range]
    settings = {"nonbondedMethod": method, "nonbondedCutoff": cutoff_nm * unit.nanometer}
    return settings | ({} if switch_nm is None else {"switchDistance": switch_nm * unit.nanometer})


def _created(source: Source, name: str, solvent: str, settings: dict[str, Any]) -> openmm.System:
    """The system of files that hold their own force field."""
    if solvent in WATERS:
        raise MdgenError(
            f"solvent {solvent} is put around a sequence or pdb only, but {name} holds its own force field; "
            "put the water into that file and take solvent=vacuum"
        )
    periodic = settings["nonbondedMethod"] not in (openmm.app.NoCutoff, openmm.app.CutoffNonPeriodic)
    if periodic and source.topology.getPeriodicBoxVectors() is None:
        raise MdgenError(f"cutoff_nm needs a periodic box, but {name} and its coordinates hold none; give box_nm")
    assert source.create is not None
    try:
        return source.create(**settings)
    except Exception as error:  # each reader has its own kinds of complaints, such as an atom without parameters
        raise MdgenError(f"{name} makes no force field ({first_line(error)}); complete its parameters") from error


def _settled(
    source: Source, openmm_system: openmm.System, coulomb_constant: float, relax: bool, switch_coulomb: bool
) -> System:
    """The system with a start: relaxed if asked to, with its constraints met."""
    positions = torch.from_numpy(source.positions)
    try:
        system = system_from_openmm(openmm_system, positions, source.topology, coulomb_constant, switch_coulomb)
    except OnlyOpenMMError as error:
        because = str(error).split("; ")[0].removesuffix(", which this engine does not have")
        for key, given in (("switch_coulomb", switch_coulomb), ("coulomb", coulomb_constant != COULOMB_OPENMM)):
            if given:
                raise MdgenError(
                    f"{key} was given, but OpenMM alone computes this system ({because}), with Coulomb's law as it has "
                    f"it; leave {key} out"
                ) from error
        _require_sane(openmm_system, positions, source.topology)
        return system_for_openmm(openmm_system, positions, source.topology, relax, because)
    field = force_field_of(system.potential)
    require_apart(positions, system.cell, source.topology)
    if field.parameters.cutoff is not None and system.cell is not None:
        require_room(field.parameters.cutoff, system.cell)
    if relax and system.cell is not None:
        positions = minimized_by_openmm(openmm_system, positions)
    elif relax:
        positions = minimize(with_springs(field, system.constraints), positions[None]).positions[0]
    held = system.constraints
    if isinstance(held, DistanceConstraints):
        positions = replace(held, tolerance=1e-12).positions(positions[None], positions[None])[0]
    return replace(system, positions=positions)


def _require_sane(
    openmm_system: openmm.System, positions: Float[Tensor, "atom 3"], topology: openmm.app.Topology
) -> None:
    """What is asked of a system that is not read: finite numbers, atoms apart, and room for the cutoff."""
    if re.search(r'="[-+]?(nan|inf)', openmm.XmlSerializer.serialize(openmm_system), re.IGNORECASE):
        raise MdgenError("the force field holds a number that is not finite; mend it")
    vectors = box_vectors(openmm_system)
    cell = None if vectors is None or not is_orthorhombic(vectors) else torch.from_numpy(np.diag(vectors).copy())
    if vectors is None or cell is not None:
        sites = [atom for atom in range(openmm_system.getNumParticles()) if openmm_system.isVirtualSite(atom)]
        require_apart(positions, cell, topology, sites)
    for force in openmm_system.getForces():
        if isinstance(force, openmm.NonbondedForce) and cell is not None:
            require_room(Cutoff(number(force.getCutoffDistance())), cell)


def _require_one(sources: dict[str, str | None]) -> None:
    given = [f"{name}={source!r}" for name, source in sources.items() if source is not None]
    if len(given) != 1:
        raise MdgenError(
            f"a system needs exactly one of {', '.join(sources)}, but got {' and '.join(given) or 'none'}; name one "
            "(on the command line, system=pdb goes before system.pdb=FILE, and so on)"
        )
