"""Energies and forces of the kernels against OpenMM's Reference platform."""

import numpy as np
import pytest
import torch
from numba import njit

from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import passed_over
from mdgen.md.engines.lanes.born_laws import RADIUS, effective_radii
from mdgen.md.engines.lanes.replicas.force_tables import force_tables
from mdgen.md.engines.lanes.replicas.pair_sweeps import SLOPE_I, SLOPE_J, descreening_sweep
from mdgen.simd.lanes import LANES
from tests.md.engines.lanes.systems import both_kernels, peptide
from tests.md.reference import openmm_energies_and_forces

REPLICAS = 3
KCAL = 4.184
TERMS = {
    "bonds": {"HarmonicBondForce"},
    "angles": {"HarmonicAngleForce"},
    "torsions": {"PeriodicTorsionForce"},
    "impropers": {"CustomTorsionForce"},
    "cmap": {"CMAPTorsionForce"},
    "nonbonded": {"NonbondedForce", "CustomNonbondedForce", "CustomBondForce"},
    "generalized_born": {"CustomGBForce", "GBSAOBCForce"},
}
MOLECULES = pytest.mark.parametrize(
    ("sequence", "solvent", "force_field"),
    [
        *(("A", solvent, "amber14") for solvent in ("vacuum", "hct", "obc1", "obc2", "gbn")),
        *(("WDMK", solvent, "amber14") for solvent in ("vacuum", "obc2", "gbn2")),
        *((sequence, "gbn2", "amber19") for sequence in ("A", "WDMK")),
        *(("A", solvent, "charmm36") for solvent in ("vacuum", "obc2")),
        ("DK", "vacuum", "charmm36"),
    ],
)


def evaluated(kind, system, positions: np.ndarray, precision: str):
    parameters = system.potential.parameters
    kernel = kind(parameters, len(positions), 0.002, 300.0, 1.0, torch.Generator(), precision, threads=1)
    kernel.set_state(positions, np.zeros_like(positions))
    return kernel.energies_and_forces()


def shaken(system, amount_nm: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(scale=amount_nm, size=(REPLICAS, system.potential.parameters.n_atoms, 3))
    return system.positions.numpy() + noise


def openmm_of(system, positions: np.ndarray):
    results = [openmm_energies_and_forces(system.potential.openmm_system, replica) for replica in positions]
    return [energies for energies, _ in results], np.stack([forces for _, forces in results])


def forces_differ_by(forces: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(forces - expected) / np.linalg.norm(expected))


@both_kernels
@MOLECULES
def test_every_term_agrees_with_openmm_in_double_precision(kind, sequence: str, solvent: str, force_field: str) -> None:
    system = peptide(sequence, solvent, force_field=force_field)
    positions = shaken(system, 0.01)
    energies, forces = evaluated(kind, system, positions, "double")
    by_force, expected = openmm_of(system, positions)
    for term, names in TERMS.items():
        theirs = [sum(value for name, value in replica.items() if name in names) for replica in by_force]
        np.testing.assert_allclose(energies[term], theirs, rtol=0, atol=1e-3 * KCAL, err_msg=term)
    assert forces_differ_by(forces, expected) < 1e-5


@both_kernels
@MOLECULES
def test_single_precision_stays_close(kind, sequence: str, solvent: str, force_field: str) -> None:
    # Coordinates of a nanometre are rounded by 6e-8 nm, which a bond of 3e5 kJ/mol/nm^2 turns into 0.02 kJ/mol/nm.
    system = peptide(sequence, solvent, force_field=force_field)
    positions = shaken(system, 0.01)
    energies, forces = evaluated(kind, system, positions, "single")
    by_force, expected = openmm_of(system, positions)
    total = sum(energies.values())
    np.testing.assert_allclose(total, [sum(replica.values()) for replica in by_force], rtol=0, atol=0.01 * KCAL)
    assert forces_differ_by(forces, expected) < 1e-5


@njit(error_model="numpy")
def sweep(positions, tables, pairs, born):
    descreening_sweep(positions, tables, pairs, born, tables.cutoff)
    effective_radii(tables.born_atoms, born, (tables.salt[0], tables.salt[1]), 1.0, None)


@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_born_radii_in_single_precision_agree_with_double(solvent: str) -> None:
    # Single precision has its own formula for distant atoms; sulphur has the largest scaled radius, or a negative one.
    system = peptide("WDMK", solvent)
    n = system.potential.parameters.n_atoms
    positions = np.moveaxis(shaken(system, 0.01)[np.zeros(LANES, int)], 0, -1)
    positions = np.ascontiguousarray(positions - positions.mean(0))
    results = []
    for dtype in (np.float32, np.float64):
        pairs, born = np.empty((n * (n - 1) // 2, 4, LANES), dtype), np.empty((4, n, LANES), dtype)
        sweep(positions.astype(dtype), force_tables(system.potential.parameters, dtype), pairs, born)
        results.append((pairs, born[RADIUS]))
    (single_pairs, single_radii), (double_pairs, double_radii) = results
    np.testing.assert_allclose(single_radii, double_radii, rtol=2e-6)  # some thirty roundings of a sum over all atoms
    for slope in (SLOPE_I, SLOPE_J):
        # Slopes are differences of terms as large as the largest slope: some ten roundings (6e-8) of it remain.
        bound = 1e-6 * np.abs(double_pairs[:, slope]).max()
        np.testing.assert_allclose(single_pairs[:, slope], double_pairs[:, slope], rtol=1e-5, atol=bound)


@both_kernels
@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_the_solvent_is_right_where_spheres_swallow_atoms(kind, solvent: str) -> None:
    # Shrunk to a third, atoms lie inside each other's scaled spheres: the rare branches of the descreening integral.
    system = peptide("WDMK", solvent)
    positions = shaken(system, 0.0) * 0.33
    energies, _ = evaluated(kind, system, positions, "double")
    (by_force, *_), _ = openmm_of(system, positions)
    born = next(value for name, value in by_force.items() if name in TERMS["generalized_born"])
    np.testing.assert_allclose(energies["generalized_born"], born, rtol=1e-6)


@both_kernels
def test_forces_are_minus_the_slope_of_the_energy(kind) -> None:
    system = peptide("A", "obc2")
    positions = shaken(system, 0.01)
    direction = np.random.default_rng(3).normal(size=positions.shape)
    # Towards and away from the centre alike: the kernel moves every molecule to the origin.
    direction -= direction.mean(1, keepdims=True)
    _, forces = evaluated(kind, system, positions, "double")
    step = 1e-6
    above, below = (
        sum(evaluated(kind, system, positions + s * direction, "double")[0].values()) for s in (step, -step)
    )
    np.testing.assert_allclose(-(above - below) / (2 * step), (forces * direction).sum((1, 2)), rtol=1e-6)


@both_kernels
def test_forces_do_not_push_or_turn_the_molecule(kind) -> None:
    system = peptide("WDMK", "obc2")
    positions = shaken(system, 0.01)
    _, forces = evaluated(kind, system, positions, "double")
    scale = np.abs(forces).max()
    assert np.abs(forces.sum(1)).max() < 1e-10 * scale
    assert np.abs(np.cross(positions, forces).sum(1)).max() < 1e-10 * scale


@both_kernels
@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("solvent", ["hct", "obc2", "gbn2"])
def test_salt_agrees_with_openmm(kind, solvent: str, precision: str) -> None:
    system = peptide("DK", solvent, salt_kappa_per_nm=3.0)
    assert passed_over(system, Langevin(2.0, 300.0)) == {}
    positions = shaken(system, 0.01)
    energies, forces = evaluated(kind, system, positions, precision)
    by_force, expected = openmm_of(system, positions)
    without, _ = openmm_of(peptide("DK", solvent), positions)
    theirs, plain = ([replica["CustomGBForce"] for replica in replicas] for replicas in (by_force, without))
    np.testing.assert_allclose(energies["generalized_born"], theirs, rtol=0, atol=1e-3 * KCAL)
    assert np.abs(np.subtract(theirs, plain)).min() > 1.0
    assert forces_differ_by(forces, expected) < 1e-5


def test_terms_of_the_same_four_atoms_are_merged() -> None:
    parameters = peptide("A", "vacuum").potential.parameters
    quads = {tuple(sorted((q, q[::-1]))[0]) for q in map(tuple, parameters.torsion_atoms.tolist())}
    assert len(force_tables(parameters, np.float64).bonded.torsions.atoms) <= len(quads) < len(parameters.torsion_k)
