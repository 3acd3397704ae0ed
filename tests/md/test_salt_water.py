"""A box of water and ions from a seed: neutral, relaxed, the same every time, and what OpenMM makes of it."""

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.force_field.terms.pairs import separations
from mdgen.md.systems.salt_water import salt_water_box
from tests.md.reference import openmm_energies_and_forces


def box(seed: int = 0, **changed: float):
    settings = {"n_waters": 40, "n_pairs": 2, "edge_nm": 1.1, "cutoff_nm": 0.55, "switch_nm": 0.45} | changed
    return salt_water_box(**settings, generator=torch.Generator().manual_seed(seed))


def test_a_seed_makes_one_box() -> None:
    first, again, other = box(), box(), box(seed=1)
    assert torch.equal(first.positions, again.positions)
    assert not torch.equal(first.positions, other.positions)


def test_the_box_holds_what_was_asked_for() -> None:
    found = box()
    charges = found.potential.parameters.charges
    assert charges[:3].tolist() == pytest.approx([-0.834, 0.417, 0.417])
    assert charges[120:].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert len(found.potential.parameters.bond_atoms) == 80  # both bonds of a water stretch,
    assert len(found.potential.parameters.angle_atoms) == 40  # and its angle bends
    assert len(found.potential.parameters.constraint_atoms) == 0
    assert found.molecule.n_atoms == 124
    assert found.cell is not None
    assert found.cell.tolist() == [1.1] * 3


def test_the_start_is_relaxed_and_agrees_with_openmm() -> None:
    found = box()
    assert found.cell is not None
    x, cell = found.positions[None], found.cell[None]
    oxygens = torch.arange(0, 120, 3)
    pairs = torch.combinations(oxygens)
    assert float(separations(x, pairs, cell).min()) > 0.22
    energy, forces = found.potential.energy_and_forces(x, cell)
    expected, known = openmm_energies_and_forces(found.potential.openmm_system, found.positions.numpy())
    assert float(energy) == pytest.approx(sum(expected.values()), abs=1e-4)
    assert np.linalg.norm(forces[0].numpy() - known) < 1e-8 * np.linalg.norm(known)
    assert float(forces.norm(dim=-1).max()) < 2000


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"cutoff_nm": 0.6}, "the cutoff of 0.6 nm is more than half of the box's shortest edge, 1.1 nm"),
        ({"switch_nm": 0.7}, "switch_nm is 0.7"),
        ({"n_waters": 0, "n_pairs": 0}, "a box of 0 waters and 0 pairs of ions is empty"),
    ],
)
def test_senseless_boxes_are_named(changed: dict, sentence: str) -> None:
    with pytest.raises(MdgenError, match=sentence):
        box(**changed)
