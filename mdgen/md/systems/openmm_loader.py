"""From an `openmm.System` to tensors; what cannot be represented is refused by name, never dropped.

OpenMM reads AMBER, CHARMM, GROMACS and its own force-field XML, so its `System` is the one door for all of them.
"""

from collections.abc import Callable
from typing import Any

import mdtraj
import numpy as np
import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import distance_constraints
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.openmm_born import born_from_custom, born_from_gbsa
from mdgen.md.systems.openmm_charmm import correction_maps_from, exceptions_from_bonds, impropers_from, pair_table_from
from mdgen.md.systems.openmm_nonbonded import cutoff_from, nonbonded_tables
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
            and at most one generalised Born force (`GBSAOBCForce`, or the `CustomGBForce` of OpenMM's
            `implicit/obc1.xml`, `obc2.xml`, `gbn.xml`, `gbn2.xml` or an AMBER prmtop); of CHARMM also correction maps,
            Urey and Bradley's bonds, harmonic impropers and Lennard-Jones by a table of types.
        topology: an `openmm.app.Topology`, only to name atoms in errors.
        coulomb_constant: 1/(4 pi eps0); `units.COULOMB_OPENMM` or `units.COULOMB_AMBER`.
        ewald: whether to accept Ewald sums, which only engine=openmm computes, rather than to refuse them.

    Raises:
        MdgenError: for a force, a setting or a particle that this engine does not have; a centre-of-mass motion
            remover is passed over, since it adds no energy.
    """
    _require_plain_particles(system, topology)
    tables: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for force in _known_forces(system):
        name = type(force).__name__
        if isinstance(force, openmm.GBSAOBCForce):
            parts["born"] = born_from_gbsa(force, _charges(system))
        elif isinstance(force, openmm.CustomGBForce):
            parts["born"] = born_from_custom(force, _charges(system))
        elif name in _READERS:
            for key, rows in _READERS[name](force).items():
                tables.setdefault(key, []).extend(rows)
        elif name in _PARTS:
            part, reader = _PARTS[name]
            parts[part] = reader(force)
    by_name = {type(force).__name__: force for force in _known_forces(system)}
    if "CustomBondForce" in by_name:
        exceptions_from_bonds(by_name["CustomBondForce"], tables)
    constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    tables["constraint_atoms"] = [(i, j) for i, j, _ in constraints]
    tables["constraint_length"] = [_number(length) for *_, length in constraints]
    masses = [_number(system.getParticleMass(i)) for i in range(system.getNumParticles())]
    require_every_atom(tables, len(masses), _names(topology))
    tensors: dict[str, Any] = _tensors(tables, len(masses))
    custom = by_name.get("CustomNonbondedForce")
    if custom is not None:
        parts["pair_table"] = pair_table_from(custom, tensors["exception_atoms"])
    if "NonbondedForce" in by_name:
        parts["cutoff"] = cutoff_from(by_name["NonbondedForce"], custom, tensors, parts.get("pair_table"), ewald)
    parameters = ForceFieldParameters(masses=_real(masses), coulomb_constant=coulomb_constant, **parts, **tensors)
    require_valid(parameters, _names(topology))
    return parameters


def system_from_openmm(
    system: openmm.System,
    positions: Float[Tensor, "atom 3"],
    topology: Any = None,
    coulomb_constant: float = COULOMB_OPENMM,
) -> System:
    """An `openmm.System` as a system of this package, which engine=openmm and the built-in engines run.

    Args:
        system: forces as `load_openmm_system` takes them; Ewald sums are left to engine=openmm.
        positions: start in nm.
        topology: an `openmm.app.Topology`; None for particles without names and bonds.
        coulomb_constant: 1/(4 pi eps0); `units.COULOMB_OPENMM` or `units.COULOMB_AMBER`.

    Raises:
        MdgenError: for a force, a setting or a particle that this engine does not have, or a triclinic box.
    """
    p = load_openmm_system(system, topology, coulomb_constant, ewald=True)
    if topology is None:
        molecule = Molecule.particles([f"P{index}" for index in range(p.n_atoms)])
    else:
        molecule = Molecule.from_mdtraj(mdtraj.Topology.from_openmm(topology))
    held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length) if len(p.constraint_atoms) else None
    return System(molecule, p.masses, ForceField(p, system), positions, held, box_edges(system))


def _known_forces(system: openmm.System) -> list[openmm.Force]:
    """Every force that adds energy.

    Raises:
        MdgenError: for one that this engine does not have, or has once only.
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
            raise MdgenError(
                f"the system has a {name} ({force.getName()}), which this engine does not have; "
                f"known are {', '.join(known)}"
            )
        kind = "generalised Born force" if name in ("GBSAOBCForce", "CustomGBForce") else name
        if kind in seen and (name in _ONCE or name == "NonbondedForce"):
            raise MdgenError(f"the system has more than one {kind}; this engine expects one at most")
        if force.usesPeriodicBoundaryConditions() and (name in _PARTS or name in _BONDED):
            raise MdgenError(
                f"the system's {name} takes nearest images, but this engine keeps molecules whole; "
                "switch that off (setUsesPeriodicBoundaryConditions(False))"
            )
        seen.add(kind)
        forces.append(force)
    return forces


def box_edges(system: openmm.System) -> Float[Tensor, "3"] | None:
    """Edges in nm of the box of a periodic system; None for one without.

    Raises:
        MdgenError: for a box that is not orthorhombic.
    """
    if not system.usesPeriodicBoundaryConditions():
        return None
    vectors = np.array(
        [vector.value_in_unit(openmm.unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()]
    )
    if np.abs(vectors - np.diag(np.diag(vectors))).max() > 1e-9:
        raise MdgenError(
            "the system's box is triclinic, but all engines here need an orthorhombic one; build a rectangular box"
        )
    return _real(np.diag(vectors).tolist())


def _names(topology: Any) -> list[str] | None:
    return [f"{atom.residue.name}{atom.residue.id} {atom.name}" for atom in topology.atoms()] if topology else None


def _require_plain_particles(system: openmm.System, topology: Any) -> None:
    names = _names(topology)
    for index in range(system.getNumParticles()):
        shown = f"atom {index}" + (f" ({names[index]})" if names else "")
        if system.isVirtualSite(index):
            raise MdgenError(f"{shown} is a virtual site, which this engine does not have; choose a model without one")
        mass = _number(system.getParticleMass(index))
        if not mass > 0:
            raise MdgenError(f"{shown} has mass {mass:g} amu, but every atom must have a positive mass to move")


def _bonds(force: openmm.HarmonicBondForce) -> dict[str, list]:
    rows = [force.getBondParameters(i) for i in range(force.getNumBonds())]
    return {
        "bond_atoms": [(i, j) for i, j, *_ in rows],
        "bond_length": [_number(length) for _, _, length, _ in rows],
        "bond_k": [0.5 * _number(k) for *_, k in rows],
    }


def _angles(force: openmm.HarmonicAngleForce) -> dict[str, list]:
    rows = [force.getAngleParameters(i) for i in range(force.getNumAngles())]
    return {
        "angle_atoms": [(i, j, k) for i, j, k, *_ in rows],
        "angle_theta0": [_number(theta0) for *_, theta0, _ in rows],
        "angle_k": [0.5 * _number(k) for *_, k in rows],
    }


def _torsions(force: openmm.PeriodicTorsionForce) -> dict[str, list]:
    rows = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    rows = [row for row in rows if _number(row[6]) != 0.0]
    return {
        "torsion_atoms": [tuple(row[:4]) for row in rows],
        "torsion_periodicity": [row[4] for row in rows],
        "torsion_phase": [_number(row[5]) for row in rows],
        "torsion_k": [_number(row[6]) for row in rows],
    }


_READERS: dict[str, Callable[[Any], dict[str, list]]] = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "PeriodicTorsionForce": _torsions,
    "NonbondedForce": nonbonded_tables,
}

_BONDED = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce")
_PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "CMAPTorsionForce": ("cmap", correction_maps_from),
    "CustomTorsionForce": ("impropers", impropers_from),
}
_ONCE = {"GBSAOBCForce", "CustomGBForce", "CustomNonbondedForce", "CustomBondForce", *_PARTS}

_INDEX_WIDTHS = {"bond_atoms": 2, "angle_atoms": 3, "torsion_atoms": 4, "exception_atoms": 2, "constraint_atoms": 2}
_REALS = (
    "bond_length",
    "bond_k",
    "angle_theta0",
    "angle_k",
    "torsion_phase",
    "torsion_k",
    "exception_charge_product",
    "exception_sigma",
    "exception_epsilon",
    "constraint_length",
)


def _tensors(tables: dict[str, list], n_atoms: int) -> dict[str, Tensor]:
    """The tables as tensors; those of a force that is absent are empty, or zero for the atoms."""
    made = {name: _integers(tables.get(name, [])).reshape(-1, width) for name, width in _INDEX_WIDTHS.items()}
    made["torsion_periodicity"] = _integers(tables.get("torsion_periodicity", []))
    made |= {name: _real(tables.get(name, [])) for name in _REALS}
    return made | {name: _real(tables.get(name, [0.0] * n_atoms)) for name in ("charges", "sigma", "epsilon")}


def _charges(system: openmm.System) -> np.ndarray | None:
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            return np.array([_number(force.getParticleParameters(i)[0]) for i in range(force.getNumParticles())])
    return None


def _number(quantity: Any) -> float:
    """A quantity as a float in OpenMM's unit system, which is ours."""
    return float(quantity.value_in_unit_system(openmm.unit.md_unit_system))


def _real(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _integers(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
