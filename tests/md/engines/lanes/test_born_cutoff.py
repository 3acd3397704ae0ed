"""Generalised Born with a cutoff in both kernels: against torch, and what no replica or block sees is passed over."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine, passed_over
from mdgen.md.engines.kernel_engine import KernelEngine, kernel_class
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.engines.lanes.molecule import molecule_kernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.simd.lanes import LANES
from tests.md.born_cutoff import cutoff_between_pairs, positions, system_at
from tests.md.engines.lanes.systems import both_kernels, kernel_at

REPLICAS = 3


def evaluated(kind, parameters, x: torch.Tensor, precision: str):
    kernel = kind(parameters, len(x), 0.002, 300.0, 1.0, torch.Generator(), precision, threads=1)
    kernel.set_state(x, torch.zeros_like(x))
    return kernel.energies_and_forces()


def conformations() -> torch.Tensor:
    """Replicas of which some are stretched, so that lanes differ in what is within the cutoff."""
    x = positions(REPLICAS)
    return x * torch.tensor([0.97, 1.0, 1.05], dtype=x.dtype)[:, None, None]


def assert_agrees(kind, parameters, x: torch.Tensor, precision: str, tolerance: float) -> None:
    field = ForceField(parameters)
    expected, forces = field.energy_terms(x), field.energy_and_forces(x)[1].numpy()
    mine, kernel_forces = evaluated(kind, parameters, x, precision)
    solvation = (expected.pop("born") + expected.pop("surface")).numpy()
    scale = tolerance * max(float(energy.abs().max()) for energy in expected.values())
    np.testing.assert_allclose(mine.pop("generalized_born"), solvation, rtol=0, atol=scale)
    np.testing.assert_allclose(sum(mine.values()), sum(expected.values()).numpy(), rtol=0, atol=scale)
    assert np.linalg.norm(kernel_forces - forces) < tolerance * np.linalg.norm(forces)


@both_kernels
@pytest.mark.parametrize("near_nm", [0.6, 0.9])
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("hct", {}),
        ("obc1", {}),
        ("obc2", {"dielectric": 78.3}),
        ("gbn", {}),
        ("gbn2", {}),
        ("gbsa", {}),
        ("obc2", {"kappa_per_nm": 3.0}),
        ("gbn2", {"kappa_per_nm": 3.0}),
    ],
)
def test_every_model_agrees_with_torch(kind, model: str, settings: dict, near_nm: float) -> None:
    x = conformations()
    cutoff = cutoff_between_pairs(x, near_nm)
    parameters = system_at(x, model, cutoff, **settings).potential.parameters
    assert_agrees(kind, parameters, x, "double", 1e-10)
    assert_agrees(kind, parameters, x, "single", 5e-6)


@both_kernels
def test_a_switch_agrees_with_torch(kind) -> None:
    x = conformations()
    system = system_at(x, "obc2", cutoff_between_pairs(x, 0.9), switch_nm=0.5, dielectric=78.3)
    assert_agrees(kind, system.potential.parameters, x, "double", 1e-10)


@both_kernels
def test_exceptions_are_not_cut(kind) -> None:
    """A cutoff so short that most pairs of the 1-4 kind, and some that are bonded, lie beyond."""
    x = conformations()
    cutoff = cutoff_between_pairs(x, 0.2)
    parameters = system_at(x, "obc2", cutoff, dielectric=78.3).potential.parameters
    first, second = parameters.exception_atoms.T
    apart = (x[:, first] - x[:, second]).norm(dim=-1)
    assert int(((apart > cutoff) & (parameters.exception_charge_product != 0)).sum()) > 10
    assert_agrees(kind, parameters, x, "double", 1e-10)


@pytest.mark.parametrize("model", ["obc2", "gbn2"])
def test_blocks_beyond_the_cutoff_leave_nothing_of_an_earlier_place(model: str) -> None:
    """What a block out of reach left behind while it was in reach must not come back."""
    x = conformations()
    folded, spread = 0.9 * x, 1.3 * x
    parameters = system_at(x, model, cutoff_between_pairs(torch.cat([folded, spread]), 0.6)).potential.parameters
    far = torch.cdist(spread[0], spread[0]) > 0.6
    blocks = [far[:LANES, start : start + LANES].all(1) for start in range(0, far.shape[1], LANES)]
    assert any(bool(block.any()) for block in blocks)
    for kind in (MoleculeKernel, ReplicaKernel):
        kernel = kind(parameters, REPLICAS, 0.002, 300.0, 1.0, torch.Generator(), "double", 1)
        work = kernel._work_space()
        kernel._work_space = lambda work=work: work  # the same arrays for both places
        for place in (folded, spread):
            kernel.set_state(place, torch.zeros_like(place))
            _, forces = kernel.energies_and_forces()
            expected = ForceField(parameters).energy_and_forces(place)[1].numpy()
            assert np.linalg.norm(forces - expected) < 1e-10 * np.linalg.norm(expected)


def test_a_replica_moves_alike_whoever_shares_its_lanes() -> None:
    x = conformations()
    parameters = system_at(x, "obc2").potential.parameters
    (_, alone), (_, together) = (evaluated(ReplicaKernel, parameters, some, "single") for some in (x[:1], x))
    np.testing.assert_array_equal(together[0], alone[0])


def test_threads_that_share_a_molecule_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = positions()
    system = system_at(x, "obc2", 0.7)
    whole = kernel_at(system, 1, timestep_ps=0.0005, kind=MoleculeKernel).record(2, 10)
    monkeypatch.setattr(molecule_kernel, "_ATOMS_OF_PARTS", 1)
    frames = [
        kernel_at(system, 1, timestep_ps=0.0005, threads=threads, kind=MoleculeKernel).record(2, 10)
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(*frames)
    np.testing.assert_allclose(frames[0], whole, rtol=0, atol=1e-5)


def test_the_engine_takes_it_and_chooses_as_without_a_cutoff() -> None:
    x = positions()
    system = system_at(x, "obc2")
    parameters = system.potential.parameters
    whole = replace(parameters, cutoff=None)
    assert [kernel_class(parameters, n) for n in (1, 64)] == [MoleculeKernel, ReplicaKernel]
    assert [kernel_class(whole, n) for n in (1, 64)] == [MoleculeKernel, ReplicaKernel]
    assert kernel_class(replace(parameters, born=None), 1) is BoxKernel
    integrator = Langevin(0.5, 300.0)
    assert passed_over(system, integrator) == {}
    engine = make_engine(system, integrator, 1, torch.Generator(), "auto")
    assert isinstance(engine, KernelEngine)
