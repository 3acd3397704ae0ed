"""The tables of compiled steps against the differentiable force field; unrolled constraints against iterated ones."""

from dataclasses import replace

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.constraints import distance_constraints
from mdgen.md.engines.compiled.atom_sums import AtomSums
from mdgen.md.engines.compiled.constraints import UnrolledConstraints
from mdgen.md.engines.compiled.forces import DenseForces
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.systems.openmm_loader import box_edges, load_openmm_system
from tests.md.reference import shaken, strained
from tests.md.test_charmm import peptide as charmm_peptide
from tests.md.water import water_box


def assert_same(p: ForceFieldParameters, x: torch.Tensor, cell: torch.Tensor | None = None) -> None:
    """To the round-off of double precision, since both take the same formulas."""
    expected = ForceField(p).energy_and_forces(x, cell)[1]
    difference = DenseForces(p)(x, cell) - expected
    assert float(difference.norm()) < 1e-11 * float(expected.norm())


@pytest.mark.parametrize("solvent", ["vacuum", "obc1", "obc2", "gbn", "gbn2"])
def test_a_peptide_feels_the_same_forces(solvent: str) -> None:
    system = strained("AM", solvent=solvent)  # methionine: GBn2 gives its sulphur a negative scale
    assert_same(system.parameters, shaken(system))


def test_salt_and_a_surface_term_are_felt() -> None:
    system = strained("A")
    assert system.parameters.born is not None
    born = replace(system.parameters.born, kappa_per_nm=1.3, surface_energy=28.4)
    assert_same(replace(system.parameters, born=born), shaken(system))


def test_maps_impropers_and_pair_tables_are_felt() -> None:
    system, x = charmm_peptide()
    p = load_openmm_system(system)
    assert p.cmap is not None
    assert p.impropers is not None
    assert p.pair_table is not None
    assert_same(p, x)


@pytest.mark.parametrize("switch", [None, 0.4])
def test_a_cutoff_without_a_box_is_felt(switch: float | None) -> None:
    system = strained("AM", solvent="vacuum")
    p = replace(system.parameters, cutoff=Cutoff(0.5, switch, periodic=False))
    assert_same(p, shaken(system))


@pytest.mark.parametrize("switch", [None, 0.5])
def test_water_in_a_box_feels_the_same_forces(switch: float | None) -> None:
    system, _, x = water_box(1.3, 0.6, switch, rigid=False)
    edges = box_edges(system)
    assert edges is not None
    x = x + 0.004 * torch.randn(2, *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    assert_same(load_openmm_system(system), x + 5.0, edges.expand(2, 3))


def test_a_sphere_that_holds_another_is_felt() -> None:
    """No real molecule has it, but the formula of the slope has a term for it."""
    system = strained("A")
    assert system.parameters.born is not None
    born = replace(system.parameters.born, scale=3.0 * system.parameters.born.scale, alpha=0.1, beta=0.0, gamma=0.0)
    assert_same(replace(system.parameters, born=born), shaken(system))


def test_ewald_sums_are_refused() -> None:
    p = replace(strained("A").parameters, cutoff=Cutoff(0.9, ewald=True))
    with pytest.raises(MdgenError, match="compile=true has no Ewald sums"):
        DenseForces(p)


def test_rows_are_summed_by_atom() -> None:
    rows = torch.arange(12.0).reshape(1, 4, 3)
    like = torch.zeros(0)
    found = AtomSums(torch.tensor([2, 0, 2, 0]), 3, like, torch.tensor([1.0, 2.0, -1.0, 0.0]))(rows)
    assert torch.equal(found[0], torch.stack([2 * rows[0, 1], torch.zeros(3), rows[0, 0] - rows[0, 2]]))
    assert torch.equal(AtomSums(torch.zeros(0, dtype=torch.int64), 3, like)(rows[:, :0]), torch.zeros(1, 3, 3))


def held(tolerance: float = 1e-13):
    p = strained("AM").parameters
    return distance_constraints(p.masses, p.constraint_atoms, p.constraint_length, tolerance)


def test_unrolled_constraints_come_to_the_same_place() -> None:
    system, constraints = strained("AM"), held()
    x = constraints.positions(system.positions[None], system.positions[None]).repeat(8, 1, 1)
    trial = shaken(system, 8, 0.0005)
    trial = x + (trial - system.positions)
    assert float(constraints.largest_error(trial).max()) > 0.02
    unrolled = UnrolledConstraints(constraints)
    torch.testing.assert_close(unrolled.positions(x, trial), constraints.positions(x, trial), rtol=0, atol=1e-9)
    velocities = shaken(system, 8, 1.0) - system.positions
    torch.testing.assert_close(
        unrolled.velocities(x, velocities), constraints.velocities(x, velocities), rtol=0, atol=1e-12
    )


def test_rigid_water_comes_to_the_same_place() -> None:
    system, _, x = water_box(1.3, 0.6)
    p = load_openmm_system(system)
    constraints = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length, 1e-13)
    x = constraints.positions(x, x)
    trial = x + 0.0005 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    found = UnrolledConstraints(constraints).positions(x, trial)
    torch.testing.assert_close(found, constraints.positions(x, trial), rtol=0, atol=1e-9)


def test_constraints_that_cannot_be_met_are_flagged_and_harm_no_other_replica() -> None:
    system, unrolled = strained("AM"), UnrolledConstraints(held())
    x = held().positions(system.positions[None], system.positions[None]).repeat(3, 1, 1)
    trial = x + 0.0005
    wild = trial.clone()
    wild[1] += 0.1 * torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    found = unrolled.positions(x, wild)
    assert bool(found[1].isnan().any())
    assert torch.equal(found[[0, 2]], unrolled.positions(x, trial)[[0, 2]])


def test_large_clusters_are_refused() -> None:
    chain = torch.stack([torch.arange(8), torch.arange(1, 9)], 1)
    constraints = distance_constraints(torch.ones(9), chain, torch.full((8,), 0.1))
    with pytest.raises(MdgenError, match="8 constraints of this molecule hang together"):
        UnrolledConstraints(constraints)
