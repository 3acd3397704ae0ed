"""Frames, stages and temperatures of a run."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.schedule import plan

USUAL = {
    "length_ns": 1.0,
    "equilibration_ns": 0.1,
    "save_ps": 1.0,
    "timestep_ps": 0.002,
    "temperature_K": torch.tensor([300.0]),
}


def test_lengths_are_counted_in_frames_and_rounded_up() -> None:
    schedule = plan(**{**USUAL, "length_ns": 1.5625})
    assert (schedule.steps_per_frame, schedule.equilibration_frames, schedule.production_frames) == (500, 100, 1563)
    assert plan(**{**USUAL, "save_ps": 0.1, "timestep_ps": 0.004}).production_frames == 10_000


@pytest.mark.parametrize("equilibration_ns", [0.001, 0.007, 0.02, 0.1])
def test_stages_cover_the_run_without_gap(equilibration_ns: float) -> None:
    schedule = plan(**{**USUAL, "equilibration_ns": equilibration_ns}, anneal_temperature_K=600.0)
    frame, temperatures = 0, []
    while frame < schedule.total_frames:
        end = schedule.stage_end(frame)
        assert all(schedule.temperature(f) == schedule.temperature(frame) for f in range(frame, end))
        temperatures.append(float(schedule.temperature(frame)))
        assert frame < end
        assert (frame < schedule.equilibration_frames) == (end <= schedule.equilibration_frames)
        frame = end
    assert frame == schedule.total_frames
    assert temperatures[0] == 600.0
    assert temperatures[-1] == 300.0
    assert temperatures == sorted(temperatures, reverse=True)


def test_each_replica_cools_to_its_own_temperature() -> None:
    schedule = plan(**{**USUAL, "temperature_K": torch.tensor([300.0, 400.0])}, anneal_temperature_K=600.0)
    assert schedule.temperature(0).tolist() == [600.0, 600.0]
    assert schedule.temperature(60).tolist() == pytest.approx([390.0, 460.0])
    assert schedule.temperature(80).tolist() == [300.0, 400.0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"save_ps": 0.005}, "save_ps is 0.005.*2 fs.*0.004"),
        ({"save_ps": 0.0}, "save_ps is 0"),
        ({"length_ns": 0.0}, "length_ns is 0"),
        ({"equilibration_ns": -1.0}, "equilibration_ns -1"),
        ({"anneal_temperature_K": -5.0}, "anneal_temperature_K is -5"),
        ({"anneal_temperature_K": 600.0, "equilibration_ns": 0.0}, "needs an equilibration"),
    ],
)
def test_senseless_plans_are_named(change: dict, complaint: str) -> None:
    with pytest.raises(MdgenError, match=complaint):
        plan(**{**USUAL, **change})
