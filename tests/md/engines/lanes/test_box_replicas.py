"""Replicas of a box: apart, resumable, and the same however steps, threads and replicas are counted."""

import numpy as np
import pytest
import torch

from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.torch_engine import TorchEngine
from mdgen.md.systems.openmm_systems.openmm_loader import system_from_openmm
from tests.md.engines.lanes.boxes import kernel_at, water


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("first", [1, 23, 50])
def test_stopping_and_restarting_changes_nothing(precision: str, first: int) -> None:
    """Between two lists and right at a new one alike."""
    whole, begun = kernel_at(2, precision=precision), kernel_at(2, precision=precision)
    whole.advance(100)
    begun.advance(first)
    resumed = kernel_at(2, precision=precision, start_K=100.0)
    resumed.load_state_dict({name: tensor.clone() for name, tensor in begun.state_dict().items()})
    resumed.advance(100 - first)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_state_saved_before_the_first_step_resumes_too() -> None:
    whole, resumed = kernel_at(1), kernel_at(1, start_K=100.0)
    resumed.load_state_dict(whole.state_dict())
    whole.advance(30)
    resumed.advance(30)
    np.testing.assert_array_equal(whole.positions(), resumed.positions())


def test_cuts_and_looks_on_the_way_change_nothing() -> None:
    whole, parts = kernel_at(2), kernel_at(2)
    whole.advance(60)
    for steps in (1, 20, 0, 9, 30):
        parts.advance(steps)
        parts.potential_energy()
        parts.state_dict()
    np.testing.assert_array_equal(whole.positions(), parts.positions())
    np.testing.assert_array_equal(whole.velocities(), parts.velocities())


def test_recorded_frames_are_the_positions_on_the_way() -> None:
    recording, stepping = kernel_at(2), kernel_at(2)
    frames = recording.record(3, 25)
    assert frames.dtype == np.float32
    for frame in range(3):
        stepping.advance(25)
        np.testing.assert_array_equal(frames[:, frame], stepping.positions().astype(np.float32))


def test_neither_threads_nor_the_number_of_replicas_change_anything() -> None:
    one, many = kernel_at(5, threads=1), kernel_at(7, threads=3)
    one.advance(80)
    many.advance(80)
    np.testing.assert_array_equal(one.positions(), many.positions()[:5])


@pytest.mark.parametrize("shift_nm", [1e-4, 1e3, 1e12, float("nan")])
def test_replicas_do_not_talk_to_each_other(shift_nm: float) -> None:
    """All shifts but the first blow their replica up."""
    calm, disturbed = kernel_at(3), kernel_at(3)
    state = disturbed.state_dict()
    state["positions"][1, 7] += shift_nm
    disturbed.load_state_dict(state)
    calm.advance(60)
    disturbed.advance(60)
    np.testing.assert_array_equal(calm.positions()[[0, 2]], disturbed.positions()[[0, 2]])
    assert not np.array_equal(calm.positions()[1], disturbed.positions()[1])
    assert np.isnan(disturbed.potential_energy()[1]) == (shift_nm != 1e-4)


def test_a_replica_with_two_atoms_in_one_place_becomes_nan_alone() -> None:
    kernel = kernel_at(3)
    state = kernel.state_dict()
    state["positions"][1, 3] = state["positions"][1, 15]
    kernel.load_state_dict(state)
    kernel.advance(20)
    assert (~np.isfinite(kernel.positions())).any(axis=(1, 2)).tolist() == [False, True, False]
    assert np.isnan(kernel.potential_energy()).tolist() == [False, True, False]


def engine_of(**settings) -> Engine:
    system, _, _, x = water()
    return make_engine(
        system_from_openmm(system, x[0]), Langevin(2.0, 300.0, 1.0), 2, torch.Generator().manual_seed(3), **settings
    )


def test_the_engine_for_a_box_is_this_one() -> None:
    _, _, cell, x = water()
    for kind in ("auto", "kernel"):
        engine = engine_of(kind=kind, threads=1)
        assert isinstance(engine, KernelEngine)
        assert isinstance(engine, Engine)
    assert isinstance(engine_of(kind="torch"), TorchEngine)
    start = State(x.expand(2, -1, -1), torch.zeros(2, *x.shape[1:], dtype=x.dtype), 5, cell.expand(2, 3))
    engine.prepare(start)
    state = engine.advance(10)
    assert state.step == 15
    assert state.cell is not None
    torch.testing.assert_close(state.cell, start.cell)
    other = engine_of(threads=1)
    other.load_state_dict(engine.state_dict())
    assert torch.equal(other.advance(7).positions, engine.advance(7).positions)
    engine.set_temperature(torch.tensor([250.0, 350.0]))
    frames, cells = engine.record(2, 3)
    assert frames.shape == (2, 2, x.shape[1], 3)
    assert cells is not None
    assert np.array_equal(cells[:, 1], torch.diag_embed(start.cell).float().numpy())
