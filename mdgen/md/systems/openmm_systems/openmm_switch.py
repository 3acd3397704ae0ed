"""A reaction field that is switched off at the cutoff, as OpenMM computes it."""

import openmm

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.systems.openmm_systems.openmm_nonbonded import number
from mdgen.units import COULOMB_OPENMM

CHARGE = "charge"
"""Name of the charge of a particle in the force that `with_switched_coulomb` adds."""


def with_switched_coulomb(system: openmm.System, cutoff: Cutoff) -> openmm.System:
    """A copy of a system whose reaction field is switched off by `smooth_switch`.

    A `NonbondedForce` switches Lennard-Jones alone. Its charges move to a `CustomNonbondedForce` with the reaction
    field; Lennard-Jones, its dispersion correction and all exceptions stay where they are.

    Args:
        system: a `NonbondedForce` with a cutoff, periodic or not.
        cutoff: the cutoff of that force, with `switch_coulomb`.

    Raises:
        MdgenError: if the system has no charges, or `cutoff` does not switch Coulomb.
    """
    copy = openmm.XmlSerializer.clone(system)
    plain = next((force for force in copy.getForces() if isinstance(force, openmm.NonbondedForce)), None)
    if plain is None or not cutoff.switch_coulomb or cutoff.switch_nm is None:
        raise MdgenError("only a reaction field with a switch can be switched off; give a cutoff with switch_coulomb")
    distance, (k, c) = cutoff.distance_nm, cutoff.reaction_field
    field = openmm.CustomNonbondedForce(
        f"{COULOMB_OPENMM!r}*{CHARGE}1*{CHARGE}2*(1/r + {k!r}*r^2 - {c!r})*(1 - x^4*(35 - x*(84 - x*(70 - 20*x))));"
        f"x=max(0, (r - {cutoff.switch_nm!r})/{distance - cutoff.switch_nm!r})"
    )
    field.setName("SwitchedReactionField")
    field.addPerParticleParameter(CHARGE)
    field.setNonbondedMethod(field.CutoffPeriodic if cutoff.periodic else field.CutoffNonPeriodic)
    field.setCutoffDistance(distance)
    for index in range(plain.getNumParticles()):
        charge, sigma, epsilon = plain.getParticleParameters(index)
        field.addParticle([number(charge)])
        plain.setParticleParameters(index, 0.0, sigma, epsilon)
    for index in range(plain.getNumExceptions()):
        field.addExclusion(*plain.getExceptionParameters(index)[:2])
    copy.addForce(field)
    return copy
