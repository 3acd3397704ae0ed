"""Generalised Born after HCT, AMBER's igb=1: against OpenMM."""

import dataclasses

import numpy as np
import pytest
import torch

from mdgen.md.systems.build import build_system
from mdgen.units import COULOMB_AMBER, COULOMB_OPENMM
from tests.md.reference import openmm_energies_and_forces, shaken


@pytest.mark.parametrize("surface", ["ace", "none"])
def test_hct_agrees_with_openmm(surface: str) -> None:
    system = build_system("WMK", force_field="amber14", solvent="hct", surface=surface, constraints="none", relax=False)
    assert system.potential.parameters.born is not None
    assert system.potential.parameters.born.kind == "HCT"
    assert (system.potential.parameters.born.surface_energy > 0) == (surface == "ace")
    x = shaken(system, 1)
    energies, forces = openmm_energies_and_forces(system.potential.openmm_system, x[0].numpy())
    field = system.potential
    terms = field.energy_terms(x)
    assert float(terms["born"] + terms["surface"]) == pytest.approx(energies["CustomGBForce"], abs=4e-3)
    mine = field.energy_and_forces(x)[1][0].numpy()
    assert np.linalg.norm(mine - forces) < 1e-5 * np.linalg.norm(forces)


def test_ambers_coulomb_constant_scales_what_is_electric() -> None:
    openmm, amber = (
        build_system("A", force_field="amber14", solvent="obc2", coulomb=who, relax=False)
        for who in ("openmm", "amber")
    )
    assert dataclasses.replace(amber.potential.parameters, coulomb_constant=COULOMB_OPENMM).fingerprint == (
        openmm.potential.parameters.fingerprint
    )
    terms, others = (system.potential.energy_terms(openmm.positions[None]) for system in (openmm, amber))
    for term in terms:
        factor = COULOMB_AMBER / COULOMB_OPENMM if term in ("coulomb", "born") else 1.0
        torch.testing.assert_close(others[term], factor * terms[term], rtol=1e-12, atol=1e-12)
