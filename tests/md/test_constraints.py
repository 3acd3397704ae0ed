"""Constrained distances stay, and meeting them moves nothing that they do not forbid."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.velocities import maxwell_boltzmann
from tests.md.reference import alanine_dipeptide, kinetic_temperature


def water() -> tuple[torch.Tensor, DistanceConstraints, torch.Tensor]:
    """A rigid triangle: three constraints that share all atoms."""
    masses = torch.tensor([16.0, 1.0, 1.0], dtype=torch.float64)
    atoms = torch.tensor([[0, 1], [0, 2], [1, 2]])
    positions = torch.tensor([[0.0, 0, 0], [0.09572, 0, 0], [-0.024, 0.09266, 0]], dtype=torch.float64)
    length = (positions[atoms[:, 0]] - positions[atoms[:, 1]]).norm(dim=-1)
    return masses, DistanceConstraints(masses, atoms, length, 1e-10), positions


def of_peptide(tolerance: float = 1e-6) -> tuple[torch.Tensor, DistanceConstraints, torch.Tensor]:
    system = alanine_dipeptide()
    p = system.potential.parameters
    return (
        p.masses,
        DistanceConstraints(p.masses, p.constraint_atoms, p.constraint_length, tolerance),
        system.positions,
    )


@pytest.mark.parametrize("made", [water, of_peptide])
def test_distances_are_met_and_centre_and_momentum_stay(made) -> None:
    masses, constraints, positions = made()
    generator = torch.Generator().manual_seed(0)
    reference = positions.repeat(7, 1, 1)
    trial = reference + 0.006 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    met = constraints.positions(reference, trial)
    assert float(constraints.largest_error(met).max()) < constraints.tolerance
    assert float(constraints.largest_error(trial).min()) > 1e-3
    moved = (masses[:, None] * (met - trial)).sum(1)
    assert float(moved.abs().max()) < 1e-12  # pair forces keep the centre of mass


@pytest.mark.parametrize("made", [water, of_peptide])
def test_velocity_projection_is_orthogonal(made) -> None:
    masses, constraints, positions = made()
    generator = torch.Generator().manual_seed(1)
    x = positions.repeat(5, 1, 1)
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    projected = constraints.velocities(x, v)
    torch.testing.assert_close(constraints.velocities(x, projected), projected, rtol=0, atol=1e-12)
    removed = (masses[:, None] * projected * (v - projected)).sum((1, 2))
    assert float(removed.abs().max()) < 1e-10
    # What is left lengthens a bond in second order only: a hundredth of the time, a ten-thousandth of the error.
    errors = [constraints.largest_error(x + dt * projected) for dt in (1e-3, 1e-5)]
    assert float((errors[1] / errors[0]).max()) < 1.1e-4


def test_replicas_stay_apart_while_one_needs_more_iterations() -> None:
    _, constraints, positions = of_peptide()
    generator = torch.Generator().manual_seed(2)
    reference = positions.repeat(6, 1, 1)
    trial = reference + 0.001 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    calm = constraints.positions(reference, trial)
    trial[4] += 0.02 * torch.randn(trial[4].shape, generator=generator, dtype=torch.float64)
    other = constraints.positions(reference, trial)
    rest = [0, 1, 2, 3, 5]
    assert torch.equal(calm[rest], other[rest])
    assert not torch.equal(calm[4], other[4])


def test_constrained_velocities_have_the_temperature() -> None:
    masses, constraints, positions = of_peptide()
    generator = torch.Generator().manual_seed(3)
    x = positions.repeat(4000, 1, 1)
    temperature = torch.linspace(200, 400, 4000, dtype=torch.float64)
    v = maxwell_boltzmann(x, masses, temperature, generator, constraints)
    degrees = 3 * len(masses) - constraints.count
    ratio = kinetic_temperature(v, masses, constraints.count) / temperature
    assert abs(float(ratio.mean()) - 1) < 3 * (2 / degrees / 4000) ** 0.5
    assert float(ratio.var()) == pytest.approx(2 / degrees, rel=0.1)


def test_without_constraints_nothing_moves() -> None:
    masses, _, positions = water()
    none = DistanceConstraints(masses, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, dtype=torch.float64))
    x = positions[None]
    assert none.positions(x, x) is x
    assert none.velocities(x, x) is x
    assert float(none.largest_error(x)) == 0


def test_a_senseless_constraint_is_named() -> None:
    masses = torch.ones(3, dtype=torch.float64)
    with pytest.raises(MdgenError, match="atoms 1 and 1"):
        DistanceConstraints(masses, torch.tensor([[1, 1]]), torch.tensor([0.1], dtype=torch.float64))
