"""Rigid bonds stay rigid, and nothing moves along them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numba import njit

from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import passed_over
from mdgen.md.engines.kernel_engine import kernel_class
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.constraint_tables import constraint_tables
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.engines.lanes.rigid.rigid_bonds import constrain_velocities
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.systems.openmm_systems.openmm_loader import system_from_openmm
from mdgen.simd.lanes import LANES
from tests.md.engines.lanes.systems import bond_errors, kernel_at, openmm_path, peptide
from tests.md.water import water_box


@njit(error_model="numpy")
def constrain(positions, velocities, constraints):
    constrain_velocities(positions, velocities, constraints)


@pytest.mark.parametrize(("hydrogen_mass_amu", "timestep_ps"), [(None, 0.002), (3.0, 0.004)])
def test_bonds_keep_their_length_over_ten_thousand_steps(hydrogen_mass_amu, timestep_ps) -> None:
    system = peptide("A", "obc2", hydrogen_mass_amu=hydrogen_mass_amu)
    kernel = kernel_at(system, 16, timestep_ps=timestep_ps)
    worst = []
    for _ in range(5):
        kernel.advance(2000)
        worst.append(bond_errors(system, kernel.positions()).max())
    assert max(worst) < 1e-5
    assert worst[-1] < 1e-6  # no drift: what is left is the rounding of coordinates


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-8)])
def test_velocities_along_rigid_bonds_vanish(dtype, tolerance) -> None:
    system = peptide("A", "obc2", hydrogen_mass_amu=3.0)
    parameters = system.potential.parameters
    x = np.repeat(system.positions.numpy()[:, :, None], LANES, axis=2).astype(dtype)
    v = np.random.default_rng(0).normal(size=x.shape).astype(dtype)
    momentum = np.einsum("a,axl->xl", parameters.masses.numpy(), v)
    constrain(x, v, constraint_tables(parameters, dtype))
    first, second = parameters.constraint_atoms.numpy().T
    along = ((x[first] - x[second]) * (v[first] - v[second])).sum(1) / parameters.constraint_length.numpy()[:, None]
    assert np.abs(along).max() < 10 * tolerance
    np.testing.assert_allclose(np.einsum("a,axl->xl", parameters.masses.numpy(), v), momentum, atol=1e2 * tolerance)


def test_strongly_coupled_constraints_are_solved_one_replica_at_a_time() -> None:
    system = peptide("A", "obc2")
    parameters = system.potential.parameters
    everything_rigid = replace(
        parameters,
        constraint_atoms=torch.cat([parameters.constraint_atoms, parameters.bond_atoms]),
        constraint_length=torch.cat([parameters.constraint_length, parameters.bond_length]),
    )
    assert kernel_class(parameters, 64) is ReplicaKernel
    assert kernel_class(everything_rigid, 64) is MoleculeKernel
    rigid = replace(system, potential=ForceField(everything_rigid))
    assert passed_over(rigid, Langevin(1.0, 300.0)) == {}
    kernel = kernel_at(rigid, 4, timestep_ps=0.001, kind=MoleculeKernel)
    kernel.advance(500)
    assert bond_errors(rigid, kernel.positions()).max() < 1e-9


def test_rigid_water_without_a_cutoff_moves_as_in_openmm() -> None:
    openmm_system, _, x = water_box(1.0, method="NoCutoff")
    system = system_from_openmm(openmm_system, x[0])
    assert kernel_class(system.potential.parameters, 16) is MoleculeKernel
    kernel = kernel_at(system, 2, 0.0, 1.0, 0.001, "double", kind=MoleculeKernel)
    expected, start = openmm_path(system, kernel, 1.0, 0.0, 30), kernel.positions()
    kernel.advance(30)
    assert np.abs(kernel.positions() - start).max() > 0.01
    np.testing.assert_allclose(kernel.positions(), expected, rtol=0, atol=1e-7)


def test_an_engine_that_has_them_takes_torsions_of_a_high_periodicity() -> None:
    system = peptide("A", "obc2")
    parameters = system.potential.parameters
    periodicity = parameters.torsion_periodicity.clone()
    periodicity[parameters.torsion_k.abs().argmax()] = 7
    steep = replace(system, potential=ForceField(replace(parameters, torsion_periodicity=periodicity)))
    assert passed_over(steep, Langevin(1.0, 300.0)) == {"kernel": "torsions of a periodicity outside 1 to 6"}
