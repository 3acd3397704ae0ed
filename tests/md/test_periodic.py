"""Periodic boxes with a cutoff: parity with OpenMM, neighbour lists that change nothing, rigid water."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.minimize import minimize
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.torch_engine import TorchEngine
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.neighbour_list import verlet_list
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.openmm_systems.openmm_loader import box_edges, load_openmm_system, system_from_openmm
from tests.md.reference import openmm_energies_and_forces
from tests.md.water import water_box

NO_EXCEPTIONS = torch.zeros(0, 2, dtype=torch.int64)


def loaded(system: openmm.System) -> tuple[ForceFieldParameters, torch.Tensor]:
    edges = box_edges(system)
    assert edges is not None
    return load_openmm_system(system), edges[None]


def shaken(x: torch.Tensor, amount_nm: float, seed: int = 0) -> torch.Tensor:
    return x + amount_nm * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


@pytest.mark.parametrize(("edge", "cutoff", "switch"), [(1.3, 0.6, None), (1.3, 0.6, 0.5), (1.9, 0.8, 0.65)])
@pytest.mark.parametrize("dielectric", [78.3, 1.0])
def test_water_agrees_with_openmm(edge: float, cutoff: float, switch: float | None, dielectric: float) -> None:
    system, _, x = water_box(edge, cutoff, switch, rigid=False)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(dielectric)
    parameters, cell = loaded(system)
    x = shaken(x, 0.004)
    energies, forces = openmm_energies_and_forces(system, x[0].numpy())
    total, mine = ForceField(parameters).energy_and_forces(x, cell)
    assert float(total) == pytest.approx(sum(energies.values()), abs=1e-4)
    assert np.linalg.norm(mine[0].numpy() - forces) < 1e-8 * np.linalg.norm(forces)


def test_a_cutoff_without_a_box_agrees_with_openmm() -> None:
    system, _, x = water_box(1.3, 0.6, 0.5, rigid=False, method="CutoffNonPeriodic")
    parameters = load_openmm_system(system)
    assert box_edges(system) is None
    energies, forces = openmm_energies_and_forces(system, x[0].numpy())
    total, mine = ForceField(parameters).energy_and_forces(x)
    assert float(total) == pytest.approx(sum(energies.values()), rel=1e-9)
    assert np.linalg.norm(mine[0].numpy() - forces) < 1e-8 * np.linalg.norm(forces)


def test_any_image_of_a_molecule_will_do() -> None:
    system, _, x = water_box(1.9, 0.8)
    parameters, cell = loaded(system)
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(-2, 3, (x.shape[1] // 3, 3), generator=generator).repeat_interleave(3, 0)
    field = ForceField(parameters)
    energy, forces = field.energy_and_forces(x, cell)
    other, other_forces = field.energy_and_forces(x + images * cell, cell)
    torch.testing.assert_close(other, energy, rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(other_forces, forces, rtol=1e-6, atol=1e-6)


def test_forces_are_the_slope_of_the_energy() -> None:
    system, _, x = water_box(1.3, 0.6, 0.5, rigid=False)
    parameters, cell = loaded(system)
    field = ForceField(parameters)
    some = torch.arange(0, 216, 40)

    def energy(moved: torch.Tensor) -> torch.Tensor:
        return field.energy(x.index_copy(1, some, moved), cell)

    start = x[:, some].clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, start, eps=1e-6, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_list_holds_every_pair_within_reach(periodic: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    cell = torch.tensor([[2.0, 2.5, 3.0]] * 2, dtype=torch.float64)
    x = 9 * torch.rand(2, 150, 3, generator=generator, dtype=torch.float64) - 4.5  # well outside the cell
    exceptions = torch.tensor([[5, 3], [7, 9]])
    found = verlet_list(x, cell if periodic else None, 0.7, 0.2, exceptions)
    for replica in range(2):
        between = x[replica][:, None] - x[replica]
        if periodic:
            between = between - cell[replica] * (between / cell[replica]).round()
        near = (between.norm(dim=-1) < 0.9).triu(1)
        near[3, 5] = near[7, 9] = False
        listed, expected = found.pairs[replica], near.nonzero()
        assert torch.equal(listed[: len(expected)], expected)
        assert not listed[len(expected) :].any()  # padding


def test_a_list_is_found_anew_before_a_pair_can_be_missed() -> None:
    """Atoms walk; forces from the kept list are those from a fresh one, bit for bit."""
    system, _, x = water_box(1.9, 0.8)
    parameters, cell = loaded(system)
    walking = ForceField(parameters)
    lists = set()
    for step in range(12):
        x = shaken(x, 0.006, seed=step)
        kept = walking.energy_and_forces(x, cell)[1]
        lists.add(id(walking._list))
        assert torch.equal(kept, ForceField(parameters).energy_and_forces(x, cell)[1])
    assert 1 < len(lists) < 12


def test_replicas_have_lists_of_their_own() -> None:
    system, _, x = water_box(1.9, 0.8)
    parameters, cell = loaded(system)
    three = torch.cat([x, shaken(x, 0.01), shaken(x, 0.02, 1)])
    field = ForceField(parameters)
    together = field.energy_and_forces(three, cell.expand(3, 3))[1]
    alone = ForceField(parameters).energy_and_forces(three[1:2], cell)[1]
    torch.testing.assert_close(together[1:2], alone, rtol=1e-12, atol=1e-9)
    three[0] = float("nan")
    assert torch.equal(field.energy_and_forces(three, cell.expand(3, 3))[1][1:], together[1:])


def engine(system: System, seed: int) -> TorchEngine:
    return TorchEngine(system, Langevin(2.0, 300.0, 5.0), 1, torch.Generator().manual_seed(seed), "double")


def test_rigid_water_stays_rigid_and_resumes_bit_for_bit() -> None:
    system, _, x = water_box(1.9, 0.8)
    box = system_from_openmm(system, x[0])
    held, cell = box.constraints, box.cell[None]
    x = minimize(box.potential, x, force_tolerance=500.0, max_iterations=30, cell=cell).positions
    assert held._first.shape == (x.shape[1] // 3, 3)  # triangles
    one, two, three = engine(box, 1), engine(box, 1), engine(box, 99)
    start = initial_state(box, 1, one.temperature_K, torch.Generator().manual_seed(5), held.positions(x, x))
    one.prepare(start)
    two.prepare(start)
    whole = one.advance(12)
    two.advance(5)
    three.load_state_dict(two.state_dict())
    assert torch.equal(three.advance(7).positions, whole.positions)
    assert float(held.largest_error(whole.positions)) < 1e-6
    assert bool(whole.positions.isfinite().all())


def test_mistakes_are_named() -> None:
    system, _, x = water_box(1.3, 0.6)
    parameters, cell = loaded(system)
    with pytest.raises(MdgenError, match="no cell was given"):
        ForceField(parameters).energy(x)
    with pytest.raises(MdgenError, match="more than half of the box's shortest edge"):
        ForceField(parameters).energy(x, cell * 1.1 / 1.3)
    with pytest.raises(MdgenError, match="not periodic"):
        ForceField(replace(parameters, cutoff=None)).energy(x, cell)
    with pytest.raises(MdgenError, match=r"uses PME.*engine=openmm"):
        load_openmm_system(water_box(1.3, 0.6, method="PME")[0])
    system.setDefaultPeriodicBoxVectors((2, 0, 0), (0.5, 2, 0), (0, 0, 2))
    with pytest.raises(MdgenError, match="triclinic"):
        box_edges(system)
