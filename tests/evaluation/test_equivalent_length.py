"""A score is worth the dynamics that have the same."""

import json
from pathlib import Path

import pytest

from mdgen.evaluation import SavedMetrics, aggregate, aggregate_table, save_aggregate
from mdgen.evaluation.equivalent_length import LENGTHS, SCORES, equivalent_length_ns
from mdgen.results import Estimate

METRIC = SCORES[0]
LENGTHS_NS = dict(zip(LENGTHS, (0.016, 0.16, 1.6, 16.0), strict=True))


def rows(generated, of_length=lambda ns: 0.08 * ns**-0.5):
    made = {name: {METRIC: Estimate(of_length(ns))} for name, ns in LENGTHS_NS.items()}
    return {**made, "generated": {METRIC: Estimate(generated)}}


@pytest.mark.parametrize("length_ns", [0.016, 0.05, 1.6, 7.0, 16.0])
def test_scores_of_a_power_law_give_their_lengths_back(length_ns: float) -> None:
    found = equivalent_length_ns(rows(0.08 * length_ns**-0.5), LENGTHS_NS, METRIC)
    assert found == pytest.approx(length_ns)


def test_nothing_is_worth_more_or_less_than_what_was_measured() -> None:
    for score in (1e-6, 0.0):
        assert equivalent_length_ns(rows(score), LENGTHS_NS, METRIC) == pytest.approx(16.0)
    assert equivalent_length_ns(rows(2.0), LENGTHS_NS, METRIC) == pytest.approx(0.016)


def test_a_longer_stretch_that_chance_made_worse_does_not_count() -> None:
    bumpy = {0.016: 0.4, 0.16: 0.1, 1.6: 0.2, 16.0: 0.05}
    assert equivalent_length_ns(rows(0.1, bumpy.__getitem__), LENGTHS_NS, METRIC) in (
        pytest.approx(0.16),
        pytest.approx(1.6),
    )
    assert equivalent_length_ns(rows(0.2, bumpy.__getitem__), LENGTHS_NS, METRIC) == pytest.approx(0.0506, rel=0.01)


def test_what_was_not_measured_has_no_worth() -> None:
    assert equivalent_length_ns({"generated": {METRIC: Estimate(0.1)}}, LENGTHS_NS, METRIC) is None
    assert equivalent_length_ns(rows(0.1), {}, METRIC) is None
    assert equivalent_length_ns(rows(float("nan")), LENGTHS_NS, METRIC) is None


def test_the_median_over_molecules_is_told(tmp_path: Path) -> None:
    lengths = (0.1, 1.0, 3.0)
    runs = [
        SavedMetrics(f"m{ns}", {}, rows(0.08 * ns**-0.5), dict.fromkeys(rows(1.0), ""), lengths_ns=LENGTHS_NS)
        for ns in lengths
    ]
    gathered = aggregate(runs)
    assert gathered.equivalent_length_ns[METRIC].value == pytest.approx(1.0)
    assert gathered.equivalent_length_ns[METRIC].low >= 0.1
    assert "Molecular dynamics with the same score (medians over molecules" in aggregate_table(gathered)
    save_aggregate(gathered, tmp_path)
    saved = json.loads((tmp_path / "aggregate.json").read_text())["equivalent_length_ns"]
    assert saved[METRIC]["value"] == pytest.approx(1.0)
