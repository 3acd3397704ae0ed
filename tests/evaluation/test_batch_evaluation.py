from dataclasses import replace
from pathlib import Path

import pytest

from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation, evaluate_batch
from mdgen.evaluation.result import save_metrics
from mdgen.results import Estimate


def broken(folder: Path) -> None:
    raise MdgenError("its file is missing")


def test_each_molecule_is_judged_once_and_all_have_one_table(three_seeds: Evaluation, tmp_path: Path) -> None:
    judged = []
    name = "torsion_jsd/all"
    row = three_seeds.rows["generated"]
    worse = replace(row, metrics={**row.metrics, name: Estimate(0.5)})
    found_of = {"one": three_seeds, "two": replace(three_seeds, rows={**three_seeds.rows, "generated": worse})}

    def evaluation(folder: Path) -> None:
        judged.append(folder.name)
        save_metrics(found_of[folder.name], folder / "metrics.json")

    for _ in range(2):
        found = evaluate_batch({"one": evaluation, "two": evaluation, "bad": broken}, tmp_path)
        assert found.failures == {"bad": "its file is missing"}
        assert found.gathered.molecules == ("one", "two")
        assert found.gathered.counts["generated"][name] == 2
        median = found.gathered.rows["generated"][name].value
        assert median == pytest.approx((row.metrics[name].value + 0.5) / 2)
    assert judged == ["one", "two"]  # the second time nothing is evaluated again
    assert "generated" in (tmp_path / "aggregate.md").read_text()


def test_nothing_judged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="its file is missing"):
        evaluate_batch({"bad": broken}, tmp_path)
