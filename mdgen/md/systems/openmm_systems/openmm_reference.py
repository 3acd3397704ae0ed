"""OpenMM's Reference platform in double precision, which every energy and force is compared with."""

from dataclasses import replace

import numpy as np
import openmm
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.force_field.force_field import ForceField, force_field_of
from mdgen.md.systems.openmm_systems.openmm_switch import CHARGE
from mdgen.units import COULOMB_OPENMM, KCAL

_TERM_OF = {
    "HarmonicBondForce": "bonds",
    "HarmonicAngleForce": "angles",
    "PeriodicTorsionForce": "torsions",
    "CustomTorsionForce": "impropers",
    "CMAPTorsionForce": "cmap",
    "NonbondedForce": "pairs",
    "CustomNonbondedForce": "pairs",
    "CustomBondForce": "pairs",
    "CustomGBForce": "solvation",
    "GBSAOBCForce": "solvation",
}
_BORN_CONSTANT = 138.935485
_PARTS_OF = {"lennard_jones": ("lennard_jones", "dispersion_correction"), "solvation": ("born", "surface")}


def reference_errors(
    system: System, positions: Float[Tensor, "1 atom 3"]
) -> tuple[dict[str, float], Float[np.ndarray, "atom 3"], Float[np.ndarray, "atom 3"]]:
    """Error of each term's energy in kcal/mol, the forces of this engine and those of the Reference platform.

    OpenMM's Coulomb constant cannot be changed, so the comparison is made with that one; Coulomb and generalised Born
    are proportional to it. Where OpenMM writes generalised Born as a formula, it rounds the constant to 138.935485,
    which is 2e-7 more: the comparison does the same.

    Raises:
        MdgenError: if the potential is not a force field alone, or did not come from OpenMM.
    """
    own = force_field_of(system.potential)
    if own.openmm_system is None:
        raise MdgenError("this force field did not come from OpenMM, so there is nothing to compare it with")
    field = ForceField(replace(own.parameters, coulomb_constant=COULOMB_OPENMM))
    cell = None if system.cell is None else system.cell[None]
    mine = {name: float(energy) for name, energy in field.energy_terms(positions, cell).items()}
    if "CustomGBForce" in _names(own.openmm_system) and "born" in mine:
        mine["born"] *= _BORN_CONSTANT / COULOMB_OPENMM
    theirs, forces = reference_energies_and_forces(own.openmm_system, positions[0].numpy())
    errors = {}
    for term, energy in theirs.items():
        energy_here = sum(mine.get(part, 0.0) for part in _PARTS_OF.get(term, (term,)))
        errors[term] = abs(energy_here - energy) / KCAL
    return errors, field.energy_and_forces(positions, cell)[1][0].numpy(), forces


def reference_energies_and_forces(
    system: openmm.System, positions: Float[np.ndarray, "atom 3"]
) -> tuple[dict[str, float], Float[np.ndarray, "atom 3"]]:
    """Energy of each term in kJ/mol by its name, and forces in kJ/mol/nm, from OpenMM's Reference platform.

    Lennard-Jones is what is left of the pairs without charges, Coulomb the rest of them.
    """
    copy = openmm.XmlSerializer.clone(system)
    terms = sorted({_TERM_OF[name] for name in _names(copy)} - {"pairs"})
    for force in copy.getForces():
        name = _TERM_OF.get(type(force).__name__)
        force.setForceGroup(31 if name is None else 30 if name == "pairs" else terms.index(name))
    context = _context(copy, positions)
    energies = {term: _energy(context, group) for group, term in enumerate(terms)}
    if "pairs" in (_TERM_OF[name] for name in _names(copy)):
        _discharge(copy)
        energies["lennard_jones"] = _energy(_context(copy, positions), 30)
        energies["coulomb"] = _energy(context, 30) - energies["lennard_jones"]
    return energies, context.getState(getForces=True).getForces(asNumpy=True)._value


def _names(system: openmm.System) -> list[str]:
    return [type(force).__name__ for force in system.getForces() if type(force).__name__ in _TERM_OF]


def _context(system: openmm.System, positions: np.ndarray) -> openmm.Context:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context


def _energy(context: openmm.Context, group: int) -> float:
    found = context.getState(getEnergy=True, groups={group}).getPotentialEnergy()
    return float(found.value_in_unit(unit.kilojoule_per_mole))


def _discharge(system: openmm.System) -> None:
    for force in system.getForces():
        if _is_reaction_field(force):
            for i in range(force.getNumParticles()):
                force.setParticleParameters(i, [0.0])
        if not isinstance(force, openmm.NonbondedForce):
            continue
        for i in range(force.getNumParticles()):
            _, sigma, epsilon = force.getParticleParameters(i)
            force.setParticleParameters(i, 0.0, sigma, epsilon)
        for i in range(force.getNumExceptions()):
            first, second, _, sigma, epsilon = force.getExceptionParameters(i)
            force.setExceptionParameters(i, first, second, 0.0, sigma, epsilon)


def _is_reaction_field(force: openmm.Force) -> bool:
    """Whether a force has Coulomb alone, as `with_switched_coulomb` writes it."""
    return (
        isinstance(force, openmm.CustomNonbondedForce)
        and force.getNumPerParticleParameters() == 1
        and force.getPerParticleParameterName(0) == CHARGE
    )


def relative_error(forces: Float[np.ndarray, "atom 3"], expected: Float[np.ndarray, "atom 3"]) -> float:
    """Norm of the difference over the norm of what is expected; the difference itself where nothing is expected."""
    scale = float(np.linalg.norm(expected))
    return float(np.linalg.norm(forces - expected)) / (scale if scale > 0 else 1.0)
