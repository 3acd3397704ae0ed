"""Correction maps of the replica kernel on every cell of a map, and where an angle passes from one turn to the next."""

from math import pi

import numpy as np
import pytest
import torch

from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import CorrectionMaps, ForceFieldParameters

PRECISIONS = pytest.mark.parametrize(("precision", "tolerance"), [("double", 1e-12), ("single", 2e-6)])


def chain() -> ForceFieldParameters:
    """Five atoms with the second of two rough maps on their two torsions, and nothing else."""
    energy = 10 * torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = CorrectionMaps(torch.tensor([[0, 1, 2, 3, 1, 2, 3, 4]]), torch.tensor([1]), energy)
    return ForceFieldParameters.from_tables({"masses": [12.0] * 5}, cmap=maps)


def bent(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Positions (replica, atom, 3) of that chain with right angles between bonds, its torsions given."""
    zero, one = 0 * phi, np.ones_like(phi)
    third = np.stack([np.cos(phi), np.sin(phi), zero], -1)
    fourth = np.stack([-np.sin(phi) * np.sin(psi), np.cos(phi) * np.sin(psi), -np.cos(psi)], -1)
    b, c = np.stack([zero, zero, zero], -1), np.stack([zero, zero, one], -1)
    return 0.15 * np.stack([np.stack([one, zero, zero], -1), b, c, c + third, c + third + 0.6 * fourth], 1)


def evaluated(positions: np.ndarray, precision: str = "double") -> tuple[np.ndarray, np.ndarray]:
    kernel = ReplicaKernel(chain(), len(positions), 0.001, 300.0, 1.0, torch.Generator(), precision, 1)
    kernel.set_state(positions, np.zeros_like(positions))
    energies, forces = kernel.energies_and_forces()
    return energies["cmap"], forces


def assert_agrees_with_torch(positions: np.ndarray, precision: str, tolerance: float) -> None:
    energy, forces = evaluated(positions, precision)
    expected, expected_forces = (
        each.numpy() for each in ForceField(chain()).energy_and_forces(torch.tensor(positions))
    )
    np.testing.assert_allclose(energy, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    assert np.linalg.norm(forces - expected_forces) < tolerance * np.linalg.norm(expected_forces)


@PRECISIONS
def test_every_cell_agrees_with_torch(precision: str, tolerance: float) -> None:
    assert_agrees_with_torch(bent(*np.random.default_rng(1).uniform(-pi, pi, (2, 800))), precision, tolerance)


SEAMS = np.array([(pi, pi), (-pi, 1.0), (0.0, 0.0), (0.0, pi), (2.0, 0.0), (pi / 6, -pi / 3)])
"""Angles where a torsion passes from one turn to the next or from one cell to the next."""


@PRECISIONS
@pytest.mark.parametrize("beside", [-1e-5, 0.0, 1e-5])
def test_seams_agree_with_torch(precision: str, tolerance: float, beside: float) -> None:
    assert_agrees_with_torch(bent(*(SEAMS + beside).T), precision, tolerance)


def test_forces_are_the_slope_of_the_energy_across_seams() -> None:
    positions, step = bent(*SEAMS.T), 1e-6
    direction = np.random.default_rng(2).normal(size=positions.shape)
    direction -= direction.mean(1, keepdims=True)  # the kernel moves the centre to the origin
    above, below = (evaluated(positions + sign * step * direction)[0] for sign in (1, -1))
    slope = (evaluated(positions)[1] * direction).sum((1, 2))
    np.testing.assert_allclose((below - above) / (2 * step), slope, rtol=1e-6, atol=1e-4)
