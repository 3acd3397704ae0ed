"""The suite of trajectory tokens: its rows add up, and its bounds can fail."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mdgen.benchmarks.tokens import tokens_suite
from mdgen.benchmarks.tokens.matrix_peak import MatrixPeak, Timing, operations_of
from mdgen.benchmarks.tokens.network_costs import SIZES, evaluation_row, mixer_rows, training_row
from mdgen.benchmarks.tokens.tokens_suite import TokenSettings, acceptance_rows
from mdgen.errors import MdgenError

TINY = {"width": 16, "heads": 2, "blocks": 1, "key_frame_blocks": 1}


def test_operations_are_those_of_products_and_of_fused_attention() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert operations_of(lambda: a @ b) == 2 * 3 * 5 * 7
    query = torch.ones(2, 4, 64, 8)
    attention = functools.partial(torch.nn.functional.scaled_dot_product_attention, query, query, query)
    assert operations_of(attention) == 2 * 2 * 2 * 4 * 64 * 64 * 8


def test_a_share_of_the_peak_is_that_of_the_bursts_beside_each_repeat() -> None:
    row = Timing([1.0, 2.0, 4.0], [8.0, 4.0, 2.0]).row(4.0)
    assert row["share_of_peak"] == 0.5
    assert (row["seconds_low"], row["seconds"], row["seconds_high"]) == (1.0, 2.0, 4.0)
    peak = MatrixPeak(torch.device("cpu"))
    assert max(peak.time(lambda: peak.burst(), 1e-9).peaks) <= peak.best


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "base", TINY)  # type: ignore[misc]
    monkeypatch.setattr(tokens_suite, "PAPER_SHAPE", (1, 6, 2))
    monkeypatch.setattr(tokens_suite, "MANY_SHORT", (2, 5, 2))
    monkeypatch.setattr(tokens_suite, "_sweeps", lambda window: {"residues": [(1, window, 2)]})

    def engine_row(name: str, replicas: int, *_: Any) -> dict[str, Any]:
        """Without the engine, which takes a minute to compile."""
        return {"kind": "engine", "molecule": name, "replicas": replicas, "seconds_of_10_ns": 5.0}

    monkeypatch.setattr(tokens_suite, "engine_row", engine_row)


@pytest.mark.parametrize("fastest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_it_runs_judges_and_draws(
    small: None, fastest: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(tokens_suite, "fastest_format", lambda _: fastest)  # whatever this machine's is
    suite = TokenSettings(
        ["alanine_dipeptide_obc2"], ["base"], [5.0, 50.0], 2, 4, mixer_frames=[8, 16], turn_s=0.001, threads=1
    )
    figures, accepted = suite.run(tmp_path)
    rows = figures["rows"]
    kinds = [row["kind"] for row in rows]
    formats = 1 if fastest == torch.float32 else 2
    counts = [3 * formats, formats, 4, 1, 2]
    assert [kinds.count(kind) for kind in ("evaluation", "training", "mixer", "engine", "block")] == counts
    fine, coarse = (row for row in rows if row["kind"] == "block")
    # Frames 40, 20, 10 and 5 ps apart are made in turn, two new ones a window, and decoded once.
    fine_windows, coarse_windows = 2000 / 2 * 1.875, 200 / 3
    ratio = fine_windows / coarse_windows
    assert fine["sampling_s_of_10_ns"] == pytest.approx(ratio * coarse["sampling_s_of_10_ns"])
    assert fine["decoding_s_of_10_ns"] == pytest.approx(10 * coarse["decoding_s_of_10_ns"])
    assert fine["evaluations_of_a_window"] == 10
    assert fine["evaluations"] == pytest.approx(10 * fine_windows)
    assert coarse["engine_over_generated"] == pytest.approx(5.0 / coarse["seconds_of_10_ns"])
    assert len(accepted) == 3
    (drawing,) = suite.draw(figures, tmp_path / "tokens.json")
    assert drawing.stat().st_size > 10_000


def test_bounds_can_fail() -> None:
    paper = dict(zip(("batch", "frames", "tokens"), tokens_suite.PAPER_SHAPE, strict=True))
    evaluation = {"kind": "evaluation", "network": "large", "number_format": "float32", **paper}
    block = {"kind": "block", "molecule": "a", "network": "base", "spacing_ps": 10.0}
    mixers = [
        {"kind": "mixer", "mixer": name, "frames": frames, "seconds": seconds}
        for name, frames, seconds in (("attention", 9, 9.0), ("oscillators", 9, 1.0), ("oscillators", 3, 0.1))
    ]
    slow = [evaluation | {"share_of_peak": 0.4}, block | {"engine_over_generated": 20.0}, *mixers]
    assert [row.holds for row in acceptance_rows(slow)] == [False, False, False]
    fast = [evaluation | {"share_of_peak": 0.6}, block | {"engine_over_generated": 200.0}]
    assert [row.holds for row in acceptance_rows(fast)] == [True, True]


@pytest.mark.parametrize(("size", "config"), [("small", "_small"), ("base", ""), ("large", "_large")])
def test_the_timed_networks_are_those_of_the_configs(size: str, config: str) -> None:
    path = Path(__file__).parents[2] / "conf" / "propagator" / f"interpolant{config}.yaml"
    model = yaml.safe_load(path.read_text())["model"]
    assert SIZES[size] == {name: model[name] for name in SIZES[size]}


def test_settings_that_time_nothing_are_refused() -> None:
    settings = TokenSettings()
    for change, words in (
        ({"molecules": ["water"]}, "molecule 'water' is unknown"),
        ({"networks": []}, "network '' is unknown"),
        ({"device": "abacus"}, "must be cpu or cuda"),
        ({"spacings_ps": [0.0]}, "positive numbers"),
        ({"window": 1}, "window=1"),
    ):
        with pytest.raises(MdgenError, match=words):
            replace(settings, **change)  # type: ignore[arg-type]


def test_tokens_a_second_are_tokens_over_seconds(small: None) -> None:
    peak = MatrixPeak(torch.device("cpu"))
    for measure in (evaluation_row, training_row):
        row = measure("base", (2, 5, 3), torch.float32, peak, 0.001, 0)
        assert row["tokens_per_s"] == pytest.approx(30 / row["seconds"])
        assert row["gflop"] > 0
    rows = mixer_rows([8], peak, 0.001, 0)
    assert [row["mixer"] for row in rows] == ["attention", "oscillators"]
