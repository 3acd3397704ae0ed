"""What the loader does not know it refuses by name."""

from collections.abc import Callable

import openmm
import openmm.app
import pytest

from mdgen.errors import MdgenError
from mdgen.md.systems.openmm_loader import load_openmm_system
from tests.md.reference import strained


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
    return openmm.app.ForceField("amber14-all.xml", f"implicit/{solvent}.xml").createSystem(topology, **settings)


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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
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
