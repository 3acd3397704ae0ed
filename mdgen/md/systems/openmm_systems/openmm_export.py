"""Tensors back to an `openmm.System`: the way to OpenMM for force fields that did not come from there."""

import openmm

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.openmm_systems.openmm_switch import with_switched_coulomb


def to_openmm_system(parameters: ForceFieldParameters) -> openmm.System:
    """Bonds, angles, torsions, pairs with their cutoff, and constraints as an `openmm.System`.

    Raises:
        MdgenError: for generalised Born and CHARMM's own terms, whose systems OpenMM makes from their files.
    """
    p = parameters
    for part in ("born", "cmap", "impropers", "pair_table"):
        if getattr(p, part) is not None:
            raise MdgenError(
                f"a force field with {part} cannot be handed to OpenMM; keep the system it was loaded from"
            )
    system = openmm.System()
    for mass in p.masses.tolist():
        system.addParticle(mass)
    for (i, j), length in zip(p.constraint_atoms.tolist(), p.constraint_length.tolist(), strict=True):
        system.addConstraint(i, j, length)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for atoms, length, k in _rows(p.bond_atoms, p.bond_length, p.bond_k):
        bonds.addBond(*atoms, length, 2 * k)
    for atoms, theta0, k in _rows(p.angle_atoms, p.angle_theta0, p.angle_k):
        angles.addAngle(*atoms, theta0, 2 * k)
    for atoms, periodicity, phase, k in _rows(p.torsion_atoms, p.torsion_periodicity, p.torsion_phase, p.torsion_k):
        torsions.addTorsion(*atoms, periodicity, phase, k)
    for force in (bonds, angles, torsions, _nonbonded(p)):
        system.addForce(force)
    return with_switched_coulomb(system, p.cutoff) if p.cutoff is not None and p.cutoff.switch_coulomb else system


def _nonbonded(p: ForceFieldParameters) -> openmm.NonbondedForce:
    force = openmm.NonbondedForce()
    for row in _rows(p.charges, p.sigma, p.epsilon):
        force.addParticle(*row)
    for atoms, *numbers in _rows(p.exception_atoms, p.exception_charge_product, p.exception_sigma, p.exception_epsilon):
        force.addException(*atoms, *numbers)
    if p.cutoff is not None:
        periodic = force.CutoffPeriodic if p.cutoff.periodic else force.CutoffNonPeriodic
        force.setNonbondedMethod(force.PME if p.cutoff.ewald else periodic)
        force.setCutoffDistance(p.cutoff.distance_nm)
        force.setReactionFieldDielectric(p.cutoff.reaction_field_dielectric)
        force.setUseDispersionCorrection(p.cutoff.dispersion_kJ_nm3 != 0.0)
        if p.cutoff.switch_nm is not None:
            force.setUseSwitchingFunction(True)
            force.setSwitchingDistance(p.cutoff.switch_nm)
    return force


def _rows(*columns: object) -> zip:
    return zip(*(column.tolist() for column in columns), strict=True)  # type: ignore[attr-defined]
