"""A suite is one class and one config: the verb runs it, keeps what an interrupted run resumes from, and draws."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure

from mdgen import registry
from mdgen.apps import benchmark
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.results import Acceptance, Estimate

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "suite").glob("*.yaml"))


@dataclass(frozen=True)
class Counting(Suite):
    """Counts its attempts; the first one is interrupted."""

    def run(self, partial: Path) -> Figures:
        attempts = len(list(partial.glob("*"))) + 1
        partial.mkdir(exist_ok=True)
        (partial / str(attempts)).touch()
        if attempts == 1:
            raise KeyboardInterrupt
        return {"attempts": attempts}, [Acceptance.above("attempts", Estimate(attempts), 2.0)]

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        assert result["attempts"] == 2
        return [write_png(output.with_suffix(".png"), Figure)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_names_a_registered_suite(path: Path) -> None:
    assert issubclass(registry.resolve(yaml.safe_load(path.read_text())["_target_"]), Suite)


def test_the_verb_resumes_writes_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "instantiate", lambda config: Counting())
    config = {"output": str(tmp_path / "count.json"), "threads": 1, "seed": 0, "suite": {}}
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(config)
    assert [path.name for path in tmp_path.iterdir()] == [".count.partial"]
    benchmark.run(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["count.json", "count.png"]
    result = json.loads((tmp_path / "count.json").read_text())
    assert result["attempts"] == 2
    assert "provenance" in result
    assert [row["holds"] for row in result["acceptance"]] == [True]


def test_what_is_not_a_suite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "instantiate", lambda config: object())
    config = {"output": str(tmp_path / "a.json"), "threads": 1, "seed": 0, "suite": {"_target_": "my.Encoder"}}
    with pytest.raises(MdgenError, match=r"suite=my\.Encoder is not a suite"):
        benchmark.run(config)
    assert not list(tmp_path.iterdir())
