"""What every potential promises, run over all of them: additive energies, forces, fingerprints, independence."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import AdaptivePotential, Potential
from mdgen.md.force_field.double_well import DoubleWell
from mdgen.md.force_field.forces import SumOfPotentials, energy_and_forces, is_translation_invariant, parts_of
from mdgen.md.force_field.module_potential import ModulePotential
from mdgen.md.force_field.repulsion import PowerRepulsion
from mdgen.md.force_field.restraints import DistanceRestraints, PositionRestraints, TorsionRestraints
from tests.md.any_potential import Flood, Network
from tests.md.reference import alanine_dipeptide, shaken, strained


def repulsion(sigma: float = 0.3) -> PowerRepulsion:
    real = torch.full((22,), sigma, dtype=torch.float64)
    return PowerRepulsion(real, real, torch.from_numpy(alanine_dipeptide().molecule.bonds), 6)


def flood(x: float = 0.0) -> Flood:
    bias = Flood()
    bias.centres = torch.tensor([x, 0.1], dtype=torch.float64)
    return bias


MADE: dict[str, tuple[Callable[[], Potential], Callable[[], Potential]]] = {
    "force field": (lambda: alanine_dipeptide("none").potential, lambda: strained("A", "amber99sbildn").potential),
    "network": (lambda: ModulePotential(Network(0)), lambda: ModulePotential(Network(1))),
    "network in other units": (
        lambda: ModulePotential(Network(0), length_nm=0.1),
        lambda: ModulePotential(Network(0), length_nm=0.1, energy_kJ_per_mol=4.184),
    ),
    "double well": (DoubleWell, lambda: DoubleWell(barrier=8.0)),
    "distances": (lambda: DistanceRestraints([[0, 21]], [0.5]), lambda: DistanceRestraints([[0, 21]], [0.6])),
    "positions": (
        lambda: PositionRestraints([3], [[0.0, 0.1, 0.0]], 50.0),
        lambda: PositionRestraints([4], [[0.0, 0.1, 0.0]], 50.0),
    ),
    "torsions": (lambda: TorsionRestraints([[4, 6, 8, 14]], [1.0]), lambda: TorsionRestraints([[4, 6, 8, 14]], [1.1])),
    "repulsion": (repulsion, lambda: repulsion(0.31)),
    "sum": (
        lambda: SumOfPotentials([alanine_dipeptide("none").potential, repulsion()]),
        lambda: SumOfPotentials([repulsion(), alanine_dipeptide("none").potential]),
    ),
}
every_potential = pytest.mark.parametrize("name", MADE)


@cache
def positions() -> torch.Tensor:
    return shaken(alanine_dipeptide("none"), 3)


@every_potential
def test_it_is_a_potential_of_replicas_that_are_independent(name: str) -> None:
    potential = MADE[name][0]()
    assert isinstance(potential, Potential)
    energy = potential.energy(positions())
    assert energy.shape == (3,)
    torch.testing.assert_close(potential.energy(positions()[1:2]), energy[1:2], rtol=1e-12, atol=1e-9)
    moved = positions().clone()
    moved[1, 3] = float("nan")
    assert torch.equal(potential.energy(moved)[[0, 2]], energy[[0, 2]])


@every_potential
def test_forces_are_minus_the_gradient(name: str) -> None:
    potential, x, step = MADE[name][0](), positions(), 1e-6
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    energy, forces = energy_and_forces(potential, x)
    torch.testing.assert_close(energy, potential.energy(x), rtol=1e-12, atol=1e-9)
    slope = (potential.energy(x - step * direction) - potential.energy(x + step * direction)) / (2 * step)
    torch.testing.assert_close((forces * direction).sum((1, 2)), slope, rtol=1e-5, atol=1e-3)


@every_potential
def test_its_fingerprint_is_stable_and_tells_it_from_others(name: str) -> None:
    make, other = MADE[name]
    assert make().fingerprint == make().fingerprint
    assert make().fingerprint != other().fingerprint


def test_no_two_potentials_share_a_fingerprint() -> None:
    assert len({make().fingerprint for pair in MADE.values() for make in pair}) == 2 * len(MADE)


@every_potential
def test_it_moves_to_another_precision(name: str) -> None:
    potential = MADE[name][0]()
    moved = potential.to("cpu", torch.float32) if hasattr(potential, "to") else potential
    found = moved.energy(positions().float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), potential.energy(positions()), rtol=1e-3, atol=1e-2)
    back = potential.to("cpu", torch.float64) if hasattr(potential, "to") else potential
    assert back.fingerprint == potential.fingerprint


@every_potential
def test_it_says_rightly_whether_the_centre_matters(name: str) -> None:
    potential = MADE[name][0]()
    shifted = potential.energy(positions() + torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))
    same = torch.allclose(shifted, potential.energy(positions()), rtol=1e-9, atol=1e-6)
    assert is_translation_invariant(potential) == same


def test_energies_add_and_a_sum_knows_its_parts() -> None:
    parts = [make() for make, _ in MADE.values() if not isinstance(make(), SumOfPotentials)]
    whole = SumOfPotentials([parts[0], SumOfPotentials(parts[1:])])
    expected = torch.stack([part.energy(positions()) for part in parts]).sum(0)
    torch.testing.assert_close(whole.energy(positions()), expected, rtol=1e-12, atol=1e-9)
    assert parts_of(whole) == parts
    assert not is_translation_invariant(whole)


def test_what_an_adaptive_potential_learns_is_no_part_of_its_fingerprint() -> None:
    one, other = flood(), flood(0.2)
    assert isinstance(one, AdaptivePotential)
    assert not isinstance(DoubleWell(), AdaptivePotential)
    assert one.fingerprint == other.fingerprint
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.energy(positions()), other.energy(positions()))


def test_senseless_numbers_are_named() -> None:
    with pytest.raises(MdgenError, match="2 sets of atoms has 1 targets"):
        DistanceRestraints([[0, 1], [1, 2]], [0.5])
    with pytest.raises(MdgenError, match="stiffness of a restraint is -1"):
        PositionRestraints([0], [[0.0, 0.0, 0.0]], -1.0)
    with pytest.raises(MdgenError, match="x0_nm is 0"):
        DoubleWell(x0_nm=0.0)
