"""Forces of boxes: the compiled kernel against the torch path and OpenMM, in both precisions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import CorrectionMaps, Cutoff, ForceFieldParameters, HarmonicImpropers, PairTable
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from tests.md.engines.lanes.systems import peptide
from tests.md.reference import openmm_energies_and_forces
from tests.md.water import water_box

SHARED = Path(__file__).parents[4] / "shared" / "data" / "force_field_systems"
TOLERANCE = {"double": 1e-11, "single": 3e-6}


def kernel_of(parameters: ForceFieldParameters, replicas: int = 1, precision: str = "double") -> BoxKernel:
    return BoxKernel(parameters, replicas, 0.001, 300.0, 1.0, torch.Generator(), precision, 1)


def shaken(x: torch.Tensor, amount_nm: float = 0.004, seed: int = 0) -> torch.Tensor:
    return x + amount_nm * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


def assert_agree(
    parameters: ForceFieldParameters, x: torch.Tensor, cell: torch.Tensor | None, precision: str = "double"
) -> None:
    """Every term and every force as the torch path has them in double precision."""
    kernel, field = kernel_of(parameters, len(x), precision), ForceField(parameters)
    kernel.set_state(x, torch.zeros_like(x), cell)
    terms, forces = kernel.energies_and_forces()
    expected = field.energy_terms(x, cell)
    whole = max(float(energy.abs().max()) for energy in expected.values())
    for name, energy in expected.items():
        np.testing.assert_allclose(terms[name], energy.numpy(), rtol=0, atol=TOLERANCE[precision] * whole, err_msg=name)
    theirs = field.energy_and_forces(x, cell)[1].numpy()
    assert np.linalg.norm(forces - theirs) < TOLERANCE[precision] * np.linalg.norm(theirs)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("switch", [None, 0.65])
def test_flexible_water_agrees_with_torch(precision: str, switch: float | None) -> None:
    system, _, x = water_box(1.9, 0.8, switch, rigid=False)
    cell = torch.tensor([[1.9, 1.9, 2.09]], dtype=torch.float64)
    x = torch.cat([shaken(x), shaken(x, seed=1)])
    assert_agree(load_openmm_system(system), x, cell.expand(2, 3), precision)


@pytest.mark.parametrize("dielectric", [78.3, 1.0])
def test_water_agrees_with_openmm(dielectric: float) -> None:
    system, _, x = water_box(1.3, 0.6, 0.5, rigid=False)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(dielectric)
    x = shaken(x)
    energies, expected = openmm_energies_and_forces(system, x[0].numpy())
    kernel = kernel_of(load_openmm_system(system))
    kernel.set_state(x, torch.zeros_like(x), torch.tensor([[1.3, 1.3, 1.43]], dtype=torch.float64))
    forces = kernel.energies_and_forces()[1]
    assert np.linalg.norm(forces[0] - expected) < 1e-9 * np.linalg.norm(expected)
    assert float(kernel.potential_energy()[0]) == pytest.approx(sum(energies.values()), abs=1e-5)


def test_a_cutoff_without_a_box_agrees_with_openmm() -> None:
    system, _, x = water_box(1.3, 0.6, 0.5, rigid=False, method="CutoffNonPeriodic")
    energies, expected = openmm_energies_and_forces(system, x[0].numpy())
    kernel = kernel_of(load_openmm_system(system))
    kernel.set_state(x, torch.zeros_like(x), None)
    assert np.linalg.norm(kernel.energies_and_forces()[1][0] - expected) < 1e-9 * np.linalg.norm(expected)
    assert float(kernel.potential_energy()[0]) == pytest.approx(sum(energies.values()), rel=1e-9)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_peptide_with_a_cutoff_agrees_with_torch(precision: str) -> None:
    """Angles, torsions, scaled 1-4 pairs and exclusions; a drop of its own, far from the origin."""
    system = peptide("WDHK", "vacuum", "none")
    parameters = replace(system.potential.parameters, cutoff=Cutoff(0.6, 0.5, periodic=False))
    assert_agree(parameters, 100.0 + shaken(system.positions)[None], None, precision)


def test_charmms_terms_agree_with_torch() -> None:
    """Impropers, tables of pairs, and more correction maps than fill up a group of sixteen."""
    system = peptide("A", "vacuum", "none")
    p, draw = system.potential.parameters, torch.Generator().manual_seed(3)
    kind = torch.arange(p.n_atoms) % 3
    sigma, epsilon = (torch.rand(3, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    impropers = HarmonicImpropers(
        p.torsion_atoms[::3],
        3 * torch.rand(len(p.torsion_atoms[::3]), generator=draw, dtype=torch.float64),
        p.torsion_k[::3],
    )
    quads = p.torsion_atoms[:17]
    maps = CorrectionMaps(
        torch.cat([quads, quads.flip(0)], 1),
        torch.arange(17) % 2,
        10 * torch.randn(2, 12, 12, generator=draw, dtype=torch.float64),
    )
    parameters = replace(
        p,
        cutoff=Cutoff(0.7, periodic=False),
        pair_table=PairTable(kind, 0.1 + 0.1 * (sigma + sigma.T), epsilon + epsilon.T),
        impropers=impropers,
        cmap=maps,
    )
    assert_agree(parameters, shaken(system.positions)[None], None, "double")
    assert_agree(parameters, shaken(system.positions)[None], None, "single")


def test_any_image_of_a_molecule_will_do() -> None:
    system, _, x = water_box(1.3, 0.6, 0.5, rigid=False)
    cell = torch.tensor([[1.3, 1.3, 1.43]], dtype=torch.float64)
    images = torch.randint(-9, 10, (x.shape[1] // 3, 3), generator=torch.Generator().manual_seed(2))
    assert_agree(load_openmm_system(system), shaken(x) + images.repeat_interleave(3, 0) * cell, cell)


def test_one_atom_and_two_have_their_forces_too() -> None:
    cell = torch.tensor([[2.6, 2.6, 2.8]], dtype=torch.float64)
    x = torch.tensor([[[0.1, 0.1, 0.1], [2.4, 2.5, 2.7]]], dtype=torch.float64)
    for n_atoms in (1, 2):
        system, force = openmm.System(), openmm.NonbondedForce()
        for _ in range(n_atoms):
            system.addParticle(40.0)
            force.addParticle(0.5, 0.34, 1.0)
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(0.9)
        system.addForce(force)
        system.setDefaultPeriodicBoxVectors(*np.diag(cell[0].numpy()))
        kernel = kernel_of(load_openmm_system(system))
        kernel.set_state(x[:, :n_atoms], x[:, :n_atoms], cell)
        energies, expected = openmm_energies_and_forces(system, x[0, :n_atoms].numpy())
        np.testing.assert_allclose(kernel.energies_and_forces()[1][0], expected, rtol=1e-9)
        assert float(kernel.potential_energy()[0]) == pytest.approx(sum(energies.values()), rel=1e-9, abs=1e-12)


def test_mistakes_are_named() -> None:
    system, _, x = water_box(1.3, 0.6)
    parameters, cell = load_openmm_system(system), torch.tensor([[1.3, 1.3, 1.43]], dtype=torch.float64)
    kernel = kernel_of(parameters)
    with pytest.raises(MdgenError, match="no cell was given"):
        kernel.set_state(x, x, None)
    with pytest.raises(MdgenError, match="more than half of the box's shortest edge"):
        kernel.set_state(x, x, 0.9 * cell)
    with pytest.raises(MdgenError, match="have shape"):
        kernel.set_state(x[:, 1:], x[:, 1:], cell)


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not here")
@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_solvated_alanine_dipeptide_agrees_with_openmm(precision: str) -> None:
    folder = SHARED / "prod_alanine_dipeptide_amber"
    numbers = [float(word) for word in (folder / "input.xsc").read_text().splitlines()[-1].split()]
    edges = np.array([numbers[1], numbers[5], numbers[9]]) / 10
    x = torch.tensor(np.frombuffer((folder / "input.coor").read_bytes()[4:], "<f8").reshape(1, -1, 3) / 10)
    vectors = np.diag(edges) * unit.nanometer
    prmtop = openmm.app.AmberPrmtopFile(str(folder / "structure.prmtop"), periodicBoxVectors=vectors)
    system = prmtop.createSystem(
        nonbondedMethod=openmm.app.CutoffPeriodic, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=False
    )
    energies, expected = openmm_energies_and_forces(system, x[0].numpy())
    kernel = kernel_of(load_openmm_system(system), precision=precision)
    kernel.set_state(x, torch.zeros_like(x), torch.tensor(edges)[None])
    forces = kernel.energies_and_forces()[1]
    assert np.linalg.norm(forces[0] - expected) < 10 * TOLERANCE[precision] * np.linalg.norm(expected)
    assert float(kernel.potential_energy()[0]) == pytest.approx(sum(energies.values()), rel=TOLERANCE[precision])
