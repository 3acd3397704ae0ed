import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.evaluation import SavedMetrics, aggregate, aggregate_table, compare, comparison_table, read_metrics, unlike
from mdgen.evaluation import save_aggregate as save
from mdgen.evaluation.report.tables import latex, markdown
from mdgen.evaluation.result import Evaluation, RowResult, save_metrics
from mdgen.results import Estimate


def saved(name: str, fingerprint: str = "a", **metrics: Estimate) -> SavedMetrics:
    named = {key.replace("__", "/"): estimate for key, estimate in metrics.items()}
    molecule = {"residues": "ALA", "fingerprint": fingerprint}
    return SavedMetrics(name, molecule, {"generated": named}, {"generated": "generated"})


@pytest.fixture
def result() -> Evaluation:
    metrics = {"torsion_jsd/all": Estimate(0.03, 0.02, 0.05), "clash_share": Estimate(0.1, 0.0, 0.2)}
    rows = {
        "reference": RowResult("MD", "the reference", 10, 1.0, metrics),
        "generated": RowResult("generated", "made", 10, 1.0, {**metrics, "timescale_ps/1": Estimate(float("nan"))}),
    }
    return Evaluation({"residues": "ALA", "fingerprint": "a"}, {}, rows)


def test_what_is_written_is_read_back(result: Evaluation, tmp_path: Path) -> None:
    save_metrics(result, tmp_path / "metrics.json")
    again = read_metrics(tmp_path)
    assert again.rows["generated"]["torsion_jsd/all"] == Estimate(0.03, 0.02, 0.05)
    assert np.isnan(again.rows["generated"]["timescale_ps/1"].value)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "other"}', '{"schema": "mdgen.evaluation/2"}', "\xff"])
def test_what_is_no_result_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="there is no"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(MdgenError):
        read_metrics(tmp_path)


def test_tables_have_a_line_a_row_and_leave_out_what_says_nothing(result: Evaluation) -> None:
    lines = markdown(result).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "0.03 (0.02 to 0.05)" in lines[3]
    assert "0.03" not in lines[2]  # the reference's distance from itself
    text = latex(result)
    assert text.count(r"\\") == 3
    assert r"\begin{tabular}{lrrrr}" in text


def test_differences_beyond_the_intervals_are_named_first() -> None:
    first = saved("a", near=Estimate(1.0, 0.8, 1.2), far=Estimate(1.0, 0.9, 1.1), bare=Estimate(1.0))
    second = saved("b", near=Estimate(1.2, 1.0, 1.4), far=Estimate(2.0, 1.8, 2.2), bare=Estimate(2.0))
    found = {line.metric: line.exceeds for line in compare(first, second)}
    assert found == {"far": True, "near": False, "bare": None}
    assert next(iter(found)) == "far"
    assert {line.metric: line.exceeds for line in compare(second, first)} == found
    assert "differs" in comparison_table(compare(first, second), "a", "b").splitlines()[1]


def test_independent_runs_of_the_same_law_seldom_differ() -> None:
    rng, differ = np.random.default_rng(0), 0
    for _ in range(1000):
        a, b = rng.normal(size=2)
        first, second = (saved("x", m=Estimate(v, v - 1.96, v + 1.96)) for v in (a, b))
        differ += bool(compare(first, second)[0].exceeds)
    assert 20 < differ < 90  # 5 % of 1000


def test_what_else_than_the_trajectories_may_make_runs_differ_is_told() -> None:
    size = {"generated": {"m": Estimate(1.0)}, "reference": {"radius_of_gyration_nm": Estimate(0.3)}}
    run = dataclasses.replace(
        saved("a"), rows=size, frames={"generated": 1000, "reference": 50}, settings={"lag_ps": 5.0, "seed": 0}
    )
    assert unlike(run, dataclasses.replace(run, name="b", settings={"lag_ps": 5.0, "seed": 1})) == []
    (other_lag,) = unlike(run, dataclasses.replace(run, name="b", settings={"lag_ps": 10.0, "seed": 0}))
    assert "lag_ps 5.0 and 10.0" in other_lag
    (fewer,) = unlike(run, dataclasses.replace(run, name="b", frames={"generated": 500, "reference": 50}))
    assert "1,000 and 500 frames" in fewer
    (dynamics,) = unlike(
        run, dataclasses.replace(run, name="b", rows={**size, "reference": {"radius_of_gyration_nm": Estimate(0.4)}})
    )
    assert "other dynamics" in dynamics
    (missing,) = unlike(run, dataclasses.replace(run, name="b", rows={**size, "generated": {}}))
    assert missing == "only a has m."


def test_other_molecules_and_rows_are_refused() -> None:
    with pytest.raises(MdgenError, match="one molecule"):
        compare(saved("a"), saved("b", fingerprint="b"))
    with pytest.raises(MdgenError, match="no row"):
        compare(saved("a"), saved("b"), row="floor")
    with pytest.raises(MdgenError, match="no evaluation"):
        aggregate([])


def test_the_aggregate_is_the_median_with_its_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.2, 0.05, size=41)
    runs = [saved(f"m{i}", fingerprint=str(i), clash_share=Estimate(v)) for i, v in enumerate(values)]
    runs[0] = dataclasses.replace(
        runs[0], rows={"generated": {**runs[0].rows["generated"], "torsion_jsd/phi ALA2": Estimate(0.1)}}
    )
    gathered = aggregate(runs)
    estimate = gathered.rows["generated"]["clash_share"]
    assert estimate.value == np.median(values)
    assert estimate.low < 0.2 < estimate.high
    assert "torsion_jsd/phi ALA2" not in gathered.rows["generated"]
    assert "Clashes" in aggregate_table(gathered)
    save(gathered, tmp_path)
    document = json.loads((tmp_path / "aggregate.json").read_text())
    assert document["rows"]["generated"]["clash_share"]["molecules"] == 41
