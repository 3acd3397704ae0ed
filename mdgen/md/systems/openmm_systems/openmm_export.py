"""Tensors back to an `openmm.System`: the way to OpenMM for force fields that did not come from there."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import openmm
import torch
from openmm.app.internal import customgbforces

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import BornParameters, Cutoff, ForceFieldParameters
from mdgen.md.systems.openmm_systems.openmm_born import born_from_custom, born_from_gbsa
from mdgen.md.systems.openmm_systems.openmm_switch import with_switched_coulomb

_BORN = {
    "HCT": customgbforces.GBSAHCTForce,
    "OBC1": customgbforces.GBSAOBC1Force,
    "OBC2": customgbforces.GBSAOBC2Force,
    "GBn": customgbforces.GBSAGBnForce,
    "GBn2": customgbforces.GBSAGBn2Force,
}
"""OpenMM's own formulas of each model, so that none is written twice."""


def to_openmm_system(parameters: ForceFieldParameters) -> openmm.System:
    """Bonds, angles, torsions, pairs and generalised Born with their cutoff, and constraints as an `openmm.System`.

    Raises:
        MdgenError: for generalised Born with other numbers than OpenMM's models have, and for CHARMM's own terms, whose
            systems OpenMM makes from their files.
    """
    p = parameters
    for part in ("cmap", "impropers", "pair_table"):
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
    if p.born is not None:
        system.addForce(_generalised_born(p.born, p.charges.tolist(), p.cutoff))
    return with_switched_coulomb(system, p.cutoff) if p.cutoff is not None and p.cutoff.switch_coulomb else system


def _generalised_born(born: BornParameters, charges: list[float], cutoff: Cutoff | None) -> openmm.Force:
    """OBC2 without salt as a `GBSAOBCForce`, which knows any surface energy, and all else as a `CustomGBForce`."""
    simple = born.kind == "OBC2" and not born.kappa_per_nm
    try:
        force = _gbsa_obc(born, charges) if simple else _custom_born(born, charges, cutoff)
    except ValueError as error:  # a radius that the table of necks does not have
        raise MdgenError(
            f"generalised Born {born.kind} cannot be handed to OpenMM ({error}); keep the system it was loaded from"
        ) from error
    if cutoff is not None:
        force.setNonbondedMethod(force.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff.distance_nm)
    again = (born_from_gbsa if simple else born_from_custom)(force, np.array(charges))
    different = _first_difference(born, again)
    if different is not None:
        raise MdgenError(
            f"OpenMM's generalised Born {born.kind} has another {different} than this force field, so it cannot be "
            "handed to OpenMM; keep the system it was loaded from"
        )
    return force


def _gbsa_obc(born: BornParameters, charges: list[float]) -> openmm.GBSAOBCForce:
    force = openmm.GBSAOBCForce()
    force.setSoluteDielectric(born.solute_dielectric)
    force.setSolventDielectric(born.solvent_dielectric)
    force.setSurfaceAreaEnergy(born.surface_energy / (4 * np.pi))
    for charge, radius, scale in zip(charges, born.radius.tolist(), born.scale.tolist(), strict=True):
        force.addParticle(charge, radius, scale)
    return force


def _custom_born(born: BornParameters, charges: list[float], cutoff: Cutoff | None) -> openmm.CustomGBForce:
    force = _BORN[born.kind](
        solventDielectric=born.solvent_dielectric,
        soluteDielectric=born.solute_dielectric,
        SA="ACE" if born.surface_energy else None,
        cutoff=None if cutoff is None else cutoff.distance_nm,
        kappa=born.kappa_per_nm,
    )
    columns = [born.radius, born.scale]
    if born.kind == "GBn2":
        columns += [torch.as_tensor(factor).expand(len(charges)) for factor in (born.alpha, born.beta, born.gamma)]
    for row in zip(charges, *(column.tolist() for column in columns), strict=True):
        force.addParticle(list(row))
    force.finalize()
    return force


def _first_difference(one: Any, other: Any) -> str | None:
    """Name of the first number in which two models differ by more than rounding; None if they agree."""
    for name in (field.name for field in fields(one)):
        a, b = getattr(one, name), getattr(other, name)
        if is_dataclass(a) and is_dataclass(b):
            inner = _first_difference(a, b)
            if inner is not None:
                return f"{name} {inner}"
        elif isinstance(a, str) or a is None or b is None:
            if a is not b and a != b:
                return name
        elif not np.allclose(np.asarray(a), np.asarray(b), rtol=1e-9, atol=1e-12):
            return name
    return None


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
