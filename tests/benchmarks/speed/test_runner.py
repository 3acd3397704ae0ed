"""Processes that time engines count their steps, report failures and end when they are told to."""

import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mdgen.benchmarks.speed import runner, speed_suite
from mdgen.benchmarks.speed.engines import EngineSetup
from mdgen.benchmarks.speed.runner import Worker, time_engines
from mdgen.benchmarks.speed.speed_suite import SpeedSettings
from mdgen.benchmarks.speed.timed_systems import prepare_system
from mdgen.benchmarks.speed.worker import CALL_S, serve
from mdgen.errors import MdgenError


class Sleeper:
    """An engine whose step takes a known time."""

    def __init__(self, step_s: float = 0.001) -> None:
        self.step_s, self.steps, self.calls = step_s, 0, 0

    def advance(self, steps: int) -> None:
        time.sleep(self.step_s * steps)
        self.steps += steps
        self.calls += 1


def told(prepare: Callable[..., Any], *requests: dict[str, Any]) -> list[dict[str, Any]]:
    replies = io.StringIO()
    serve(prepare, Path(), io.StringIO("".join(json.dumps(each) + "\n" for each in requests)), replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


START = {"name": "a", "variant": {}, "warm_up_s": 0.01}


def test_a_turn_counts_the_steps_of_the_turn_alone() -> None:
    sleeper = Sleeper()
    ready, turn = told(
        lambda folder, variant: (sleeper.advance, lambda: True, "1.0"), START, {"name": "a", "seconds": 0.2}
    )
    assert ready == {"ready": "a", "version": "1.0"}
    assert turn["finite"] is True
    assert turn["seconds"] >= 0.2
    assert 0 < turn["steps"] < sleeper.steps
    # A step cannot take less than it sleeps, nor a call be longer than the last doubling made it.
    assert turn["seconds"] / turn["steps"] >= sleeper.step_s
    assert sleeper.steps / sleeper.calls * sleeper.step_s < 4 * CALL_S


def test_what_fails_is_said_and_the_next_is_served() -> None:
    def prepare(folder: Path, variant: dict[str, Any]) -> Any:
        if variant == {"bad": 1}:
            raise MdgenError("one clear sentence")
        if variant == {"bad": 2}:
            raise ValueError("first line\nsecond line")
        return Sleeper().advance, lambda: False, "1.0"

    replies = told(
        prepare,
        START | {"variant": {"bad": 1}},
        START | {"variant": {"bad": 2}},
        START,
        {"name": "a", "seconds": 0.01},
        {"name": "nobody", "seconds": 0.01},
    )
    assert replies[0] == {"failed": "one clear sentence"}
    assert replies[1] == {"failed": "ValueError: first line"}
    assert replies[2] == {"ready": "a", "version": "1.0"}
    assert replies[3]["finite"] is False
    assert "KeyError" in replies[4]["failed"]


def test_a_process_that_ends_leaves_a_reason(tmp_path: Path) -> None:
    worker = Worker(EngineSetup("openmm_reference"), 0, tmp_path, "/bin/false")
    worker.ask({"name": "a", "seconds": 1.0})
    assert worker.answer()["failed"].startswith("its process ended with status 1")
    worker.close()


def test_turns_are_taken_round_by_round_and_processes_go_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_system("alanine_dipeptide_obc2", tmp_path, None)
    kernel = EngineSetup("mdgen_kernel", 16)
    two = EngineSetup("openmm_reference", processes=2, precision="double")
    cannot = EngineSetup("mdgen_kernel", 16, precision="quadruple")
    made: list[Worker] = []

    class Watched(Worker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(runner, "Worker", Watched)
    order: list[str] = []
    found = time_engines(tmp_path, [kernel, two, cannot], 2, 0.1, 0.05, 0, on_turn=order.append)
    assert order == [kernel.name, two.name, cannot.name] * 2
    assert {who: len(turns) for who, turns in found.turns.items()} == {kernel: 2, two: 2}
    assert found.versions["openmm_reference"].startswith("OpenMM ")
    assert "quadruple" in found.skipped[cannot]
    assert len(found.load_average) == 2
    for turn in found.turns[kernel]:
        assert 0 < turn.cpu_us < 3 * turn.us  # one thread: no more than the wall, give or take a clock's tick
    assert len(made) == 3
    assert all(each._process.poll() is not None for each in made)


def test_an_interrupted_run_resumes_with_the_next_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def one_system(name: str, settings: SpeedSettings, cores: int) -> dict[str, Any]:
        if len(done) == 1 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        done.append(name)
        turns = [[{"engine": engine, "replicas": 1}, [[us, us]]] for engine, us in SPEEDS.items()]
        return {
            "facts": {"atoms": 22},
            "counted": {"pairs": 1, "operations": 1},
            "turns": turns,
            "skipped": [],
            "versions": {},
            "load_average": [0.0],
        }

    monkeypatch.setattr(speed_suite, "_one_system", one_system)
    settings = SpeedSettings(systems=["alanine_dipeptide_obc2", "ipgd_obc2"])
    with pytest.raises(KeyboardInterrupt):
        settings.run(tmp_path)
    (tmp_path / "again").touch()
    figures, rows = settings.run(tmp_path)
    assert done == ["alanine_dipeptide_obc2", "ipgd_obc2"]
    assert figures["ratios"] == {"alanine_dipeptide_obc2": 20.0, "ipgd_obc2": 20.0}
    assert [row.holds for row in rows] == [True, True]
    replace(settings, repeats=3).run(tmp_path)  # the timings of other settings are not used
    assert len(done) == 4


SPEEDS = {"mdgen_kernel": 1.0, "openmm_reference": 20.0, "openmm_cpu": 30.0}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"systems": ["ipgd"]}, "system 'ipgd' is unknown; known are alanine_dipeptide_obc2"),
        ({"engines": ["gromacs"]}, "engine 'gromacs' is unknown; known are mdgen_kernel"),
        ({"engines": []}, "engines is empty"),
        ({"replicas": [0]}, r"replicas is \[0\], but must list numbers of 1 or more"),
        ({"replicas": []}, r"replicas is \[\]"),
        ({"repeats": 0}, "repeats is 0, but must be 1 or more"),
        ({"turn_s": 0.0}, "turn_s is 0.0, but must be a positive number"),
        ({"device": "gpu"}, "device is 'gpu', but must be cpu or cuda"),
        ({"torchmd_python": os.devnull}, "torchmd_python is /dev/null, but must be a Python interpreter"),
    ],
)
def test_bad_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MdgenError, match=sentence):
        SpeedSettings(**settings)
