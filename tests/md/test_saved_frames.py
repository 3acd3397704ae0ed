"""What a simulation stores beside positions: the box of every frame, chosen atoms only; and what it says meanwhile."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen import progress
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.md.dynamics import simulation
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.engines.engine import ENGINES, make_engine, passed_over
from mdgen.md.force_field.double_well import DoubleWell
from mdgen.md.systems.particles import build_particles

BOX_NM = [2.0, 3.0, 4.0]
SYSTEM = build_particles(DoubleWell(), [[0.1, 0.0, 0.0], [0.2, 0.0, 0.0], [-0.1, 0.0, 0.0]], box_nm=BOX_NM)
RUN = {"length_ns": 1e-4, "equilibration_ns": 2e-5, "save_ps": 0.01}
"""Ten frames of ten steps after two of equilibration."""


def run(path: Path, engine: object = None, **changes: object) -> TrajectoryStore:
    engine = engine or make_engine(SYSTEM, Langevin(1.0, 300.0), 2, torch.Generator().manual_seed(1), "torch")
    return simulate(SYSTEM, engine, path, **{**RUN, "generator": torch.Generator().manual_seed(2), **changes})


def test_the_box_is_stored(tmp_path: Path) -> None:
    store = run(tmp_path / "store")
    for replica in range(2):
        np.testing.assert_array_equal(store.cells(replica), np.broadcast_to(np.diag(BOX_NM), (10, 3, 3)))


def test_chosen_atoms_are_those_of_the_whole(tmp_path: Path) -> None:
    whole, some = run(tmp_path / "whole"), np.array([0, 2])
    part = run(tmp_path / "part", save_atoms=some, length_ns=5e-5)
    part = run(tmp_path / "part", save_atoms=some)
    assert part.molecule.n_atoms == 2
    for replica in range(2):
        np.testing.assert_array_equal(part.positions(replica), whole.positions(replica)[:, some])
    with pytest.raises(MdgenError, match="save_atoms"):
        run(tmp_path / "part", save_atoms=np.array([0, 1]))


def test_the_compiler_is_no_part_of_speed_and_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(SYSTEM, Langevin(1.0, 300.0), 2, torch.Generator().manual_seed(1), "torch")
    now, moves, advance = [0.0], [], engine.advance

    def slow_at_first(n_steps: int) -> object:
        now[0] += 0.1 * n_steps if moves else 3600.0
        moves.append(n_steps)
        return advance(n_steps)

    engine.compiles, engine.advance = True, slow_at_first
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(simulation, "_REPORT_S", 0.0)  # a frame at a time, of a second each
    with caplog.at_level(logging.INFO, logger="mdgen"):
        run(tmp_path / "store", engine, length_ns=1e-3)
    said = [record.getMessage() for record in caplog.records]
    assert "compiling" in said[0]
    assert "compiled in 1 h 00 min" in said[1]
    assert " ".join(said[2].split()) == "simulate 5.9 % part production speed 1.73 ns/day left 1 min 36 s"


def test_engines_passed_over_say_what_they_lack() -> None:
    assert next(iter(ENGINES)) == "kernel"
    assert passed_over(SYSTEM, Langevin(1.0, 300.0)) == {
        "kernel": "the potential DoubleWell (only a force field, without added potentials)"
    }
