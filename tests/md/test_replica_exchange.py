"""Replica exchange keeps the canonical distribution where plain dynamics would be stuck."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.replica_exchange import TemperedEnsemble, Tempering, parallel_tempering, swapped
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.units import BOLTZMANN
from tests.md.reference import alanine_dipeptide


class TiltedWells:
    """Metropolis moves of one particle along x in two wells 12 kT apart by a barrier, the left one deeper by 1 kT."""

    timestep_ps = 0.01
    settings: ClassVar[dict] = {}

    def __init__(self, n_replicas: int, kT: float) -> None:
        self.n_replicas, self.kT = n_replicas, kT
        self.random = np.random.default_rng(0)
        self.x = np.full(n_replicas, -1.0)
        self.temperatures = np.full(n_replicas, 300.0)

    def energy(self, x: np.ndarray) -> np.ndarray:
        return self.kT * (12 * (x**2 - 1) ** 2 + 0.5 * x)

    def prepare(self, state: State) -> None:
        self.x = state.positions[:, 0, 0].numpy().copy()

    def set_temperature(self, temperature_K: torch.Tensor) -> None:
        self.temperatures = temperature_K.expand(self.n_replicas).numpy()

    def advance(self, n_steps: int) -> State:
        for _ in range(n_steps):
            new = self.x + 0.15 * self.random.standard_normal(self.n_replicas)
            gain = (self.energy(self.x) - self.energy(new)) / (BOLTZMANN * self.temperatures)
            self.x = np.where(np.log(self.random.random(self.n_replicas)) < gain, new, self.x)
        positions = torch.zeros(self.n_replicas, 1, 3, dtype=torch.float64)
        positions[:, 0, 0] = torch.from_numpy(self.x)
        return State(positions, torch.zeros_like(positions))

    def potential_energy(self) -> np.ndarray:
        return self.energy(self.x)


def share_on_the_right(engine: TiltedWells) -> float:
    x = np.linspace(-2, 2, 4001)
    weight = np.exp(-engine.energy(x) / engine.kT)
    return float(weight[x > 0].sum() / weight.sum())


def test_the_cold_rung_is_canonical_though_its_barrier_is_not_crossed_at_that_temperature() -> None:
    engine = TiltedWells(600, 300 * BOLTZMANN)
    stuck = engine.advance(2000).positions[:, 0, 0]
    assert (stuck > 0).float().mean() < 0.05
    engine.x[:] = -1.0
    settings = Tempering(rungs=6, highest_temperature_K=2400, length_ns=0.1, exchange_ps=0.2, discard_share=0.4)
    ensemble = parallel_tempering(engine, engine.advance(1), 300.0, settings, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    right = (ensemble.positions[..., 0, 0] > 0).double().mean()
    # 100 ladders of some ten independent frames: a standard error of about 0.015.
    assert abs(right - share_on_the_right(engine)) < 0.05
    assert len(ensemble.swap_rates) == 5
    assert all(0.2 < rate < 1 for rate in ensemble.swap_rates)


def test_starts_of_two_halves_share_no_ladder() -> None:
    positions = torch.arange(8.0)[None, :, None, None].expand(5, 8, 2, 3)
    starts = TemperedEnsemble(positions, ()).starts(32, torch.Generator().manual_seed(0))[:, 0, 0]
    assert set(starts[:16].tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert set(starts[16:].tolist()) == {4.0, 5.0, 6.0, 7.0}


def test_a_round_of_swaps_is_a_permutation_with_metropolis_odds() -> None:
    rng = np.random.default_rng(0)
    inverse = np.array([1.0, 0.5])
    rung = np.tile([0, 1], (200_000, 1))
    energies = np.tile([1.0, 2.0], (200_000, 1))  # (1 - 0.5) * (1 - 2) = -0.5
    new, rates = swapped(rung, energies, inverse, 0, rng.random(rung.shape))
    assert (np.sort(new, 1) == [0, 1]).all()
    assert rates[0] == pytest.approx(np.exp(-0.5), abs=0.005)
    always, _ = swapped(rung, energies[:, ::-1].copy(), inverse, 0, rng.random(rung.shape))
    assert (always == [1, 0]).all()


def test_odd_rounds_leave_the_first_rung_alone() -> None:
    rung = np.array([[0, 1, 2]])
    new, _ = swapped(rung, np.array([[9.0, 5.0, 0.0]]), np.array([1.0, 0.8, 0.6]), 1, np.zeros((1, 3)))
    assert new.tolist() == [[0, 2, 1]]


def test_settings_that_make_no_sense_are_one_sentence() -> None:
    engine = TiltedWells(2, 1.0)
    state = engine.advance(1)
    with pytest.raises(MdgenError, match="2 replicas do not fill a ladder of 3"):
        parallel_tempering(engine, state, 300.0, Tempering(), torch.Generator())  # type: ignore[arg-type]
    with pytest.raises(MdgenError, match="ladder of 3 temperatures from 700"):
        parallel_tempering(engine, state, 700.0, Tempering(), torch.Generator())  # type: ignore[arg-type]
    with pytest.raises(MdgenError, match="no two rounds"):
        Tempering(length_ns=0.002)
    with pytest.raises(MdgenError, match="above 0"):
        Tempering(exchange_ps=0.0)


class Stop(BaseException):
    """Stands for whatever ends a process."""


def tempered(folder: Path, kind: str, stop_after: int | None = None, **changes: Any) -> TemperedEnsemble:
    """Twelve rounds of two ladders of alanine dipeptide, and a replica more."""
    system = alanine_dipeptide()
    precision = "single" if kind == "kernel" else "double"
    generator = torch.Generator().manual_seed(2)
    integrator = Langevin(2.0, 300.0, 1.0)
    engine = make_engine(system, integrator, 7, generator, kind=kind, precision=precision)
    state = initial_state(system, 7, engine.temperature_K, generator)
    advance, made = engine.advance, 0

    def moved(n_steps: int) -> State:
        nonlocal made
        made += 1
        after = advance(n_steps)
        if made == stop_after:
            raise Stop
        return after

    engine.advance = moved
    settings = Tempering(**{"rungs": 3, "length_ns": 2.4e-4, "exchange_ps": 0.02, **changes})
    return parallel_tempering(engine, state, 300.0, settings, generator, folder)


@pytest.mark.parametrize("kind", ["torch", "kernel"])
@pytest.mark.parametrize("stops", [(1,), (2, 3), (8, 1, 2)])
def test_a_stop_anywhere_is_resumed_bit_for_bit(tmp_path: Path, kind: str, stops: tuple[int, ...]) -> None:
    whole = tempered(tmp_path / "whole", kind)
    assert whole.positions.shape == (9, 2, 22, 3)
    for stop in stops:
        with pytest.raises(Stop):
            tempered(tmp_path / "stopped", kind, stop)
    resumed = tempered(tmp_path / "stopped", kind)
    assert torch.equal(resumed.positions, whole.positions)
    assert resumed.swap_rates == whole.swap_rates
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert torch.equal(whole.starts(7, generators[0]), resumed.starts(7, generators[1]))


def test_other_settings_in_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        tempered(tmp_path, "torch", 3)
    with pytest.raises(MdgenError, match=r"highest_temperature_K 600.0, but 700.0 is asked for"):
        tempered(tmp_path, "torch", highest_temperature_K=700.0)
