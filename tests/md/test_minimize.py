"""L-BFGS finds minima, replica by replica."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.minimize import minimize
from tests.md.reference import alanine_dipeptide, shaken, strained


class Quadratic:
    """Ill-conditioned springs to a point: condition number 1e4."""

    fingerprint = "quadratic"

    def __init__(self) -> None:
        self.k = torch.logspace(0, 4, 12, dtype=torch.float64).reshape(4, 3)
        self.centre = torch.linspace(-0.3, 0.3, 12, dtype=torch.float64).reshape(4, 3)

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return 0.5 * (self.k * (positions - self.centre).square()).sum((1, 2))


def test_it_finds_the_minimum_of_a_quadratic() -> None:
    x = 0.1 * torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = minimize(Quadratic(), x, force_tolerance=1e-8, max_iterations=500)
    assert bool(found.converged.all())
    assert float((found.positions - Quadratic().centre).abs().max()) < 1e-7


def test_it_relaxes_a_peptide_and_never_goes_uphill() -> None:
    system = strained("W", solvent="obc2", constraints="none")
    field = system.potential
    x = shaken(system, replicas=3, amount_nm=0.003)
    energies = [field.energy(x)]
    for iterations in (1, 5, 25):
        energies.append(minimize(field, x, force_tolerance=1.0, max_iterations=iterations).energy)
    found = minimize(field, x, force_tolerance=1.0, max_iterations=3000)
    assert bool((torch.stack([*energies, found.energy]).diff(dim=0) <= 0).all())
    assert bool(found.converged.all())
    _, forces = field.energy_and_forces(found.positions)
    assert float(forces.norm(dim=-1).max()) <= 1.0


def test_replicas_do_not_talk_to_each_other() -> None:
    system = alanine_dipeptide("none")
    field, x = system.potential, shaken(system, replicas=4)
    together = minimize(field, x, force_tolerance=5.0).positions
    for replica in range(4):
        alone = minimize(field, x[replica : replica + 1], force_tolerance=5.0).positions
        torch.testing.assert_close(together[replica : replica + 1], alone, rtol=0, atol=1e-9)


def test_a_start_without_finite_energy_is_named() -> None:
    system = alanine_dipeptide("none")
    x = shaken(system, replicas=3)
    x[1, 5] = x[1, 6]
    with pytest.raises(MdgenError, match="replica 1"):
        minimize(system.potential, x)
