"""From an `openmm.System` to tensors; what cannot be represented is refused by name, never dropped.

OpenMM reads AMBER, CHARMM, GROMACS and its own force-field XML, so its `System` is the one door for all of them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mdtraj
import numpy as np
import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError, OnlyOpenMMError
from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.openmm_systems.openmm_born import born_from_custom, born_from_gbsa
from mdgen.md.systems.openmm_systems.openmm_charmm import (
    correction_maps_from,
    exceptions_from_bonds,
    impropers_from,
    pair_table_from,
)
from mdgen.md.systems.openmm_systems.openmm_nonbonded import cutoff_from, nonbonded_tables, number, require_same_reach
from mdgen.md.systems.openmm_systems.openmm_switch import with_switched_coulomb
from mdgen.md.systems.parameter_checks import require_every_atom, require_valid
from mdgen.molecule.topology import Molecule
from mdgen.units import COULOMB_OPENMM

_WITHOUT_EFFECT = (openmm.CMMotionRemover,)
_OF_THE_INTEGRATOR = {
    "AndersenThermostat": "temperature is the integrator's (temperature_K)",
    "MonteCarloBarostat": "this engine runs at constant volume",
    "MonteCarloAnisotropicBarostat": "this engine runs at constant volume",
    "MonteCarloFlexibleBarostat": "this engine runs at constant volume",
    "MonteCarloMembraneBarostat": "this engine runs at constant volume",
}


def load_openmm_system(
    system: openmm.System,
    topology: Any = None,
    coulomb_constant: float = COULOMB_OPENMM,
    ewald: bool = False,
) -> ForceFieldParameters:
    """The force field of an `openmm.System`, in float64 and internal units.

    Args:
        system: forces among harmonic bonds and angles, periodic torsions, one `NonbondedForce` with or without a cutoff
            and at most one generalised Born force that ends where it does (`GBSAOBCForce`, or the `CustomGBForce` of
            OpenMM's `implicit/hct.xml`, `obc1.xml`, `obc2.xml`, `gbn.xml`, `gbn2.xml` or an AMBER prmtop); of CHARMM
            also correction maps, Urey and Bradley's bonds, harmonic impropers and Lennard-Jones by a table of types.
        topology: an `openmm.app.Topology`, only to name atoms in errors.
        coulomb_constant: 1/(4 pi eps0); `units.COULOMB_OPENMM` or `units.COULOMB_AMBER`.
        ewald: whether to accept Ewald sums, which only engine=openmm computes, rather than to refuse them.

    Raises:
        OnlyOpenMMError: for a force, a setting or a particle that this engine does not have; a centre-of-mass motion
            remover is passed over, since it adds no energy.
        MdgenError: for a thermostat or barostat, an atom without mass, or numbers that are missing or not finite.
    """
    _require_plain_particles(system, topology)
    tables: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for force in _known_forces(system):
        name = type(force).__name__
        if name in _READERS:
            for key, rows in _READERS[name](force).items():
                tables.setdefault(key, []).extend(rows)
        elif name in _PARTS:
            part, reader = _PARTS[name]
            parts[part] = reader(force)
    by_name = {type(force).__name__: force for force in _known_forces(system)}
    charges = np.array(tables["charges"]) if "charges" in tables else None
    if "GBSAOBCForce" in by_name:
        parts["born"] = born_from_gbsa(by_name["GBSAOBCForce"], charges)
    if "CustomGBForce" in by_name:
        parts["born"] = born_from_custom(by_name["CustomGBForce"], charges)
    if "CustomBondForce" in by_name:
        exceptions_from_bonds(by_name["CustomBondForce"], tables)
    constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    tables["constraint_atoms"] = [(i, j) for i, j, _ in constraints]
    tables["constraint_length"] = [number(length) for *_, length in constraints]
    tables["masses"] = [number(system.getParticleMass(i)) for i in range(system.getNumParticles())]
    require_every_atom(tables, system.getNumParticles(), _names(topology))
    parameters = ForceFieldParameters.from_tables(tables, coulomb_constant=coulomb_constant, **parts)
    custom = by_name.get("CustomNonbondedForce")
    if custom is not None:
        parameters = replace(parameters, pair_table=pair_table_from(custom, parameters.exception_atoms))
    if "NonbondedForce" in by_name:
        for name in by_name.keys() & {"GBSAOBCForce", "CustomGBForce"}:
            require_same_reach(by_name[name], by_name["NonbondedForce"])
        parameters = replace(parameters, cutoff=cutoff_from(by_name["NonbondedForce"], custom, parameters, ewald))
    require_valid(parameters, _names(topology))
    return parameters


def system_from_openmm(
    system: openmm.System,
    positions: Float[Tensor, "atom 3"],
    topology: Any = None,
    coulomb_constant: float = COULOMB_OPENMM,
    switch_coulomb: bool = False,
) -> System:
    """An `openmm.System` as a system of this package, which engine=openmm and the built-in engines run.

    Args:
        system: forces as `load_openmm_system` takes them; Ewald sums are left to engine=openmm.
        positions: start in nm.
        topology: an `openmm.app.Topology`; None for particles without names and bonds.
        coulomb_constant: 1/(4 pi eps0); `units.COULOMB_OPENMM` or `units.COULOMB_AMBER`.
        switch_coulomb: whether to switch the reaction field off as Lennard-Jones is, here and in OpenMM alike.

    Raises:
        OnlyOpenMMError: for a force, a setting or a particle that this engine does not have, or a triclinic box.
        MdgenError: for whatever else `load_openmm_system` refuses, or a reaction field to switch off where
            Lennard-Jones is not.
    """
    p = load_openmm_system(system, topology, coulomb_constant, ewald=True)
    if switch_coulomb:
        if p.cutoff is None:
            raise MdgenError("switch_coulomb is set, but the system has no cutoff; give it one, with a switch")
        cutoff = replace(p.cutoff, switch_coulomb=True)
        p, system = replace(p, cutoff=cutoff), with_switched_coulomb(system, cutoff)
    if topology is None:
        molecule = Molecule.particles([f"P{index}" for index in range(p.n_atoms)])
    else:
        molecule = Molecule.from_mdtraj(mdtraj.Topology.from_openmm(topology))
    held = DistanceConstraints(p.masses, p.constraint_atoms, p.constraint_length) if len(p.constraint_atoms) else None
    return System(molecule, p.masses, ForceField(p, system), positions, held, box_edges(system))


def _known_forces(system: openmm.System) -> list[openmm.Force]:
    """Every force that adds energy.

    Raises:
        OnlyOpenMMError: for one that this engine does not have, or has once only.
        MdgenError: for a thermostat or barostat.
    """
    forces, seen = [], set()
    for force in system.getForces():
        name = type(force).__name__
        if isinstance(force, _WITHOUT_EFFECT):
            continue
        if name in _OF_THE_INTEGRATOR:
            raise MdgenError(f"the system has a {name}, but {_OF_THE_INTEGRATOR[name]}; build the system without it")
        if name not in _ONCE and name not in _READERS:
            known = [*_READERS, *_PARTS, "GBSAOBCForce and the Custom forces of CHARMM and generalised Born"]
            raise OnlyOpenMMError(
                f"the system has a {name} ({force.getName()}), which this engine does not have; "
                f"known are {', '.join(known)}"
            )
        kind = "generalised Born force" if name in ("GBSAOBCForce", "CustomGBForce") else name
        if kind in seen and (name in _ONCE or name == "NonbondedForce"):
            raise OnlyOpenMMError(f"the system has more than one {kind}; this engine expects one at most")
        if name not in _PAIRWISE and force.usesPeriodicBoundaryConditions():
            raise OnlyOpenMMError(
                f"the system's {name} takes nearest images, but this engine keeps molecules whole; "
                "switch that off (setUsesPeriodicBoundaryConditions(False))"
            )
        seen.add(kind)
        forces.append(force)
    return forces


def box_edges(system: openmm.System) -> Float[Tensor, "3"] | None:
    """Edges in nm of the box of a periodic system; None for one without.

    Raises:
        OnlyOpenMMError: for a box that is not orthorhombic.
    """
    vectors = box_vectors(system)
    if vectors is None:
        return None
    if not is_orthorhombic(vectors):
        raise OnlyOpenMMError(
            "the system's box is triclinic, but force fields here need an orthorhombic one; build a rectangular box, "
            "or write the system with openmm.XmlSerializer and take system=openmm_xml"
        )
    return torch.from_numpy(np.diag(vectors).copy())


def box_vectors(system: openmm.System) -> Float[np.ndarray, "3 3"] | None:
    """Vectors in nm of the box of a periodic system, one a row; None for one without."""
    if not system.usesPeriodicBoundaryConditions():
        return None
    return np.array([vector.value_in_unit(openmm.unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()])


def is_orthorhombic(vectors: Float[np.ndarray, "3 3"]) -> bool:
    """Whether box vectors lie along the axes."""
    return bool(np.abs(vectors - np.diag(np.diag(vectors))).max() < 1e-9)


def _names(topology: Any) -> list[str] | None:
    return [f"{atom.residue.name}{atom.residue.id} {atom.name}" for atom in topology.atoms()] if topology else None


def _require_plain_particles(system: openmm.System, topology: Any) -> None:
    names = _names(topology)
    for index in range(system.getNumParticles()):
        shown = f"atom {index}" + (f" ({names[index]})" if names else "")
        if system.isVirtualSite(index):
            raise OnlyOpenMMError(
                f"{shown} is a virtual site, which this engine does not have; choose a model without one"
            )
        mass = number(system.getParticleMass(index))
        if not mass > 0:
            raise MdgenError(
                f"{shown} has mass {mass:g} amu, but every atom must have a positive mass to move; system=openmm_xml "
                "holds atoms without one in place"
            )


def _bonded(force: openmm.Force) -> dict[str, list]:
    """Atoms and numbers of bonds, angles or torsions; torsions without height are left out."""
    kind, n_atoms, columns = _BONDED[type(force).__name__]
    rows = [getattr(force, f"get{kind}Parameters")(i) for i in range(getattr(force, f"getNum{kind}s")())]
    rows = [row for row in rows if kind != "Torsion" or number(row[-1]) != 0.0]
    tables: dict[str, list] = {f"{kind.lower()}_atoms": [tuple(row[:n_atoms]) for row in rows]}
    for column, (name, factor) in enumerate(columns.items(), n_atoms):
        values = [row[column] for row in rows]
        tables[name] = [factor * (number(value) if openmm.unit.is_quantity(value) else value) for value in values]
    return tables


_BONDED: dict[str, tuple[str, int, dict[str, float]]] = {
    "HarmonicBondForce": ("Bond", 2, {"bond_length": 1, "bond_k": 0.5}),
    "HarmonicAngleForce": ("Angle", 3, {"angle_theta0": 1, "angle_k": 0.5}),
    "PeriodicTorsionForce": ("Torsion", 4, {"torsion_periodicity": 1, "torsion_phase": 1, "torsion_k": 1}),
}
"""The force's word for its terms, atoms of each, and its columns with the factor to our convention."""

_READERS: dict[str, Callable[[Any], dict[str, list]]] = {
    **dict.fromkeys(_BONDED, _bonded),
    "NonbondedForce": nonbonded_tables,
}
_PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "CMAPTorsionForce": ("cmap", correction_maps_from),
    "CustomTorsionForce": ("impropers", impropers_from),
}
_PAIRWISE = {"NonbondedForce", "CustomNonbondedForce", "GBSAOBCForce", "CustomGBForce"}
"""Forces whose own readers look at what is periodic."""

_ONCE = {"GBSAOBCForce", "CustomGBForce", "CustomNonbondedForce", "CustomBondForce", *_PARTS}
