"""What the loader does not know it refuses by name."""

from collections.abc import Callable

import openmm
import openmm.app
import pytest

from mdgen.errors import MdgenError
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from tests.md.reference import openmm_force_field, strained


def two_atoms() -> openmm.System:
    system = openmm.System()
    force = openmm.NonbondedForce()
    for charge in (1.0, -1.0):
        system.addParticle(12.0)
        force.addParticle(charge, 0.3, 0.5)
    system.addForce(force)
    return system


def custom_born(solvent: str, **settings: object) -> openmm.System:
    topology = strained("A", solvent="vacuum").molecule.topology.to_openmm()
    return openmm_force_field("amber14-all.xml", f"implicit/{solvent}.xml").createSystem(topology, **settings)


def with_force(force: openmm.Force) -> Callable[[openmm.System], None]:
    return lambda system: system.addForce(force) and None


def with_zero_mass(system: openmm.System) -> None:
    system.setParticleMass(1, 0.0)


def with_virtual_site(system: openmm.System) -> None:
    system.addParticle(0.0)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def with_other_born_charges(system: openmm.System) -> None:
    force = openmm.GBSAOBCForce()
    for _ in range(2):
        force.addParticle(0.5, 0.15, 0.8)
    system.addForce(force)


def with_one_more_atom(system: openmm.System) -> None:
    system.addParticle(12.0)


def with_a_bond_to_nowhere(system: openmm.System) -> None:
    force = openmm.HarmonicBondForce()
    force.addBond(0, 7, 0.1, 1000.0)
    system.addForce(force)


def with_no_number(system: openmm.System) -> None:
    system.getForce(0).setParticleParameters(1, float("nan"), 0.3, 0.5)


def with_exceptions_in_the_nearest_image(system: openmm.System) -> None:
    force = system.getForce(0)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setExceptionsUsePeriodicBoundaryConditions(True)


def without_direct_space(system: openmm.System) -> None:
    system.getForce(0).setIncludeDirectSpace(False)


def with_periodic_scaled_pairs(system: openmm.System) -> None:
    force = openmm.CustomBondForce("0.5*epsilon*((sigma/r)^12-(sigma/r)^6)")
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)


def with_a_born_radius_of_the_offset(system: openmm.System) -> None:
    force = openmm.GBSAOBCForce()
    for charge in (1.0, -1.0):
        force.addParticle(charge, 0.009, 0.8)
    system.addForce(force)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (with_exceptions_in_the_nearest_image, "takes nearest images of exceptions"),
        (without_direct_space, "leaves out its direct space"),
        (with_periodic_scaled_pairs, "CustomBondForce takes nearest images"),
        (with_a_born_radius_of_the_offset, "radius of atom 0 in generalised Born is 0.009 nm"),
        (with_force(openmm.RBTorsionForce()), "RBTorsionForce"),
        (with_force(openmm.CustomExternalForce("x")), "CustomExternalForce"),
        (with_force(openmm.MonteCarloBarostat(1.0, 300.0)), "MonteCarloBarostat.*constant volume"),
        (with_force(openmm.AndersenThermostat(300.0, 1.0)), "AndersenThermostat.*temperature_K"),
        (with_force(openmm.NonbondedForce()), "more than one NonbondedForce"),
        (with_zero_mass, "atom 1 has mass 0 amu"),
        (with_virtual_site, "atom 2 is a virtual site"),
        (with_other_born_charges, "other charges"),
        (with_one_more_atom, "charges for 2 of 3 atoms; atom 2 is without parameters"),
        (with_a_bond_to_nowhere, "bond_atoms name atom 7"),
        (with_no_number, "charges of atom 1 is not a finite number"),
    ],
)
def test_what_is_unknown_is_named(change: Callable[[openmm.System], None], complaint: str) -> None:
    system = two_atoms()
    change(system)
    with pytest.raises(MdgenError, match=complaint):
        load_openmm_system(system)


def test_an_empty_system_is_refused() -> None:
    with pytest.raises(MdgenError, match="no atoms"):
        load_openmm_system(openmm.System())


def test_a_motion_remover_is_passed_over() -> None:
    system = two_atoms()
    system.addForce(openmm.CMMotionRemover(10))
    assert load_openmm_system(system).n_atoms == 2


def test_other_born_models_are_refused() -> None:
    system = custom_born("obc1")
    force = next(force for force in system.getForces() if isinstance(force, openmm.CustomGBForce))
    name, written, kind = force.getComputedValueParameters(1)
    force.setComputedValueParameters(1, name, written.replace("0.8", "0.7"), kind)
    with pytest.raises(MdgenError, match="none of HCT, OBC1, OBC2, GBn and GBn2"):
        load_openmm_system(system)


def test_dielectrics_and_surface_are_read() -> None:
    born = load_openmm_system(custom_born("obc1", soluteDielectric=2.0, solventDielectric=40.0, sasaMethod=None)).born
    assert born is not None
    assert (born.kind, born.solute_dielectric, born.solvent_dielectric, born.surface_energy) == ("OBC1", 2.0, 40.0, 0.0)


_OF_OPENMM_ALONE = {"setForceGroup", "setReciprocalSpaceForceGroup", "setName"}
"""How OpenMM's integrators and printouts see a force; no energy depends on it."""

_OF_EWALD_SUMS = {"setEwaldErrorTolerance", "setPMEParameters", "setLJPMEParameters"}
"""Ewald sums are computed by OpenMM, from the user's own force."""

_READ = {
    "NonbondedForce": {
        "setCutoffDistance",
        "setExceptionParameters",
        "setExceptionsUsePeriodicBoundaryConditions",
        "setIncludeDirectSpace",
        "setNonbondedMethod",
        "setParticleParameters",
        "setReactionFieldDielectric",
        "setSwitchingDistance",
        "setUseDispersionCorrection",
        "setUseSwitchingFunction",
        # offsets are refused, and without them global parameters scale nothing
        "setExceptionParameterOffset",
        "setGlobalParameterDefaultValue",
        "setGlobalParameterName",
        "setParticleParameterOffset",
    },
    "HarmonicBondForce": {"setBondParameters", "setUsesPeriodicBoundaryConditions"},
    "HarmonicAngleForce": {"setAngleParameters", "setUsesPeriodicBoundaryConditions"},
    "PeriodicTorsionForce": {"setTorsionParameters", "setUsesPeriodicBoundaryConditions"},
    "CMAPTorsionForce": {"setMapParameters", "setTorsionParameters", "setUsesPeriodicBoundaryConditions"},
    "GBSAOBCForce": {
        "setCutoffDistance",
        "setNonbondedMethod",
        "setParticleParameters",
        "setSoluteDielectric",
        "setSolventDielectric",
        "setSurfaceAreaEnergy",
    },
}


@pytest.mark.parametrize("force", _READ)
def test_openmm_has_no_setting_that_was_not_looked_at(force: str) -> None:
    """One that a later OpenMM adds must be read or refused before its systems are loaded, and listed here."""
    setters = {name for name in dir(getattr(openmm, force)) if name.startswith("set")}
    assert setters <= _READ[force] | _OF_OPENMM_ALONE | _OF_EWALD_SUMS


def test_pairs_excluded_from_generalised_born_are_refused() -> None:
    system = custom_born("obc2")
    force = next(force for force in system.getForces() if isinstance(force, openmm.CustomGBForce))
    name, written, _ = force.getComputedValueParameters(0)
    force.setComputedValueParameters(0, name, written, openmm.CustomGBForce.ParticlePair)
    force.addExclusion(0, 1)
    with pytest.raises(MdgenError, match="CustomGBForce excludes pairs"):
        load_openmm_system(system)
