"""The suite of latent simulators: its rows add up, and its bounds can fail."""

import inspect
import multiprocessing
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdgen.benchmarks.latent import latent_suite, timed_parts
from mdgen.benchmarks.latent.latent_suite import LatentSettings, acceptance_rows, busy
from mdgen.benchmarks.latent.timed_parts import DECODERS
from mdgen.errors import MdgenError
from tests.models.parts import MOLECULE, trained_encoder, trajectories

CONF = Path(__file__).parents[2] / "conf" / "decoder"

TINY = LatentSettings(
    propagators=["markov_state_model"],
    decoders=["nearest_frame"],
    n_trajectories=5,
    n_frames=4,
    n_decoded=40,
    neighbours=[1],
    n_steps=2,
    repeats=2,
    threads=1,
)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the engine, which takes a minute to compile."""
    steps = [
        {"kind": "simulation", "part": "mdgen_kernel", "replicas": 256, "step_s": 2e-6},
        {"kind": "simulation", "part": "openmm_cpu", "replicas": 1, "step_s": 2e-4},
    ]
    monkeypatch.setattr(timed_parts, "_dynamics", lambda *_: trajectories())
    monkeypatch.setattr(LatentSettings, "_simulated", lambda self: steps)


def test_it_runs_judges_and_draws(no_engine: None, tmp_path: Path) -> None:
    figures, accepted = TINY.run(tmp_path)
    kinds = [row["kind"] for row in figures["rows"]]
    assert [kinds.count(kind) for kind in ("sampling", "decoding", "shared", "simulation", "microsecond")] == [
        *(1, 1, 6, 2, 4)
    ]
    costs = {row["part"]: row["seconds"] for row in figures["rows"] if row["kind"] == "microsecond"}
    assert costs["mdgen_kernel"] == pytest.approx(500)  # 2.5e8 steps of 4 fs
    both, alone = costs["markov_state_model and nearest_frame"], costs["latent alone, markov_state_model"]
    decoding = next(row for row in figures["rows"] if row["kind"] == "decoding")
    assert both - alone == pytest.approx(1e6 / timed_parts.LAG_PS / decoding["frames_per_s"])
    assert len(accepted) == 7
    (drawn,) = TINY.draw(figures, tmp_path / "latent.json")
    assert drawn.stat().st_size > 10_000


def test_its_bounds_can_fail() -> None:
    def row(rate: float, slow_down: float) -> list[dict[str, Any]]:
        rates = {"frames_per_s": rate, "frames_per_s_low": rate, "frames_per_s_high": rate}
        shared = {"work": "sampling", "neighbours": 1, "slow_down": slow_down, "slow_down_of_fair_share": 1.5}
        return [{"kind": "sampling", "part": "mdn", **rates}, {"kind": "shared", **shared}]

    assert [each.holds for each in acceptance_rows(row(3e6, 1.9))] == [True, True]
    assert [each.holds for each in acceptance_rows(row(1e6, 2.0))] == [False, False]


def test_neighbours_are_busy_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen] = []

    def start(command: list[str]) -> subprocess.Popen:
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(latent_suite, "_start", start)
    with busy(2):
        assert [each.poll() for each in started] == [None, None]
    assert all(each.returncode for each in started)


def test_neighbours_end_with_a_parent_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    told, tells = context.Pipe(duplex=False)

    def start(command: list[str]) -> subprocess.Popen:
        made = subprocess.Popen(command)
        tells.send(made.pid)
        return made

    def parent() -> None:
        with busy(1):
            time.sleep(600)

    monkeypatch.setattr(latent_suite, "_start", start)
    process = context.Process(target=parent)
    process.start()
    status = Path(f"/proc/{told.recv()}/status")
    assert "State:\tZ" not in status.read_text()
    process.kill()
    process.join()
    deadline = time.monotonic() + 30
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_are_those_of_the_configs(name: str) -> None:
    """Every setting that a config names is what the timed decoder has."""
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    inherited = [each for each in config.get("defaults", []) if isinstance(each, str) and each != "_self_"]
    model: dict[str, Any] = {}
    for each in (*inherited, name):
        model |= yaml.safe_load((CONF / f"{each}.yaml").read_text()).get("model", {})
    encoder = trained_encoder("TICA")
    made = DECODERS[name](encoder, encoder.features.molecule if hasattr(encoder, "features") else MOLECULE)
    assert type(made).__name__ == model.pop("_target_").rpartition(".")[2]
    defaults = {key: each.default for key, each in inspect.signature(type(made)).parameters.items()}
    for key, value in model.items():
        found = made.arguments.get(key, defaults[key])
        assert (list(found) if isinstance(found, tuple) else found) == value, key


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"propagators": ["mdm"]}, "propagator 'mdm' is unknown; known are mdn"),
        ({"decoders": []}, "decoder '' is unknown"),
        ({"molecule": "water"}, "molecule 'water' is unknown"),
        ({"n_frames": 1}, "n_frames of at least 2"),
        ({"neighbours": [-1]}, "no negative number of neighbours"),
        ({"threads": -1}, "threads of at least 1"),
        ({"molecule": "water_688_reaction_field"}, "lies in a box"),
        ({"length_ns": -1.0}, "length_ns=-1.0: expected a number above 0"),
    ],
)
def test_what_cannot_be_timed_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(MdgenError, match=said):
        LatentSettings(**wrong)
