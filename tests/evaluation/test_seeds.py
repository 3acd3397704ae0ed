import numpy as np
import pytest

from mdgen.evaluation import Evaluation, SavedMetrics, Settings, compare, evaluate
from mdgen.evaluation.seeds import mean_interval
from mdgen.results import Estimate
from tests.evaluation.alanine import toy_set


def test_the_interval_over_three_seeds_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = sum(mean_interval(rng.normal(10.0, 1.0, size=3)).contains(10.0) for _ in range(1000))
    assert 930 < held < 970


def test_two_seeds_or_a_missing_value_give_a_mean_alone() -> None:
    assert mean_interval(np.array([1.0, 3.0])) == Estimate(2.0)
    assert mean_interval(np.array([1.0, 3.0, np.nan])).low is None


def test_seeds_have_their_rows_their_mean_and_its_interval(three_seeds: Evaluation) -> None:
    result = three_seeds
    names = list(result.rows)
    assert names[names.index("generated") : names.index("seeds") + 1] == ["generated", "seed_2", "seed_3", "seeds"]
    found = [result.rows[row].metrics["torsion_jsd/all"].value for row in ("generated", "seed_2", "seed_3")]
    mean = result.rows["seeds"].metrics["torsion_jsd/all"]
    assert mean.value == pytest.approx(np.mean(found))
    assert mean.low < min(found) < max(found) < mean.high
    assert {result.rows[row].frames for row in ("generated", "seed_2", "seed_3", "replicate")} == {600}
    tiny = toy_set(2, 60, seed=5)
    two = evaluate(tiny, tiny, settings=Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=5, resamples=2), seeds=[tiny])
    assert any("2 training seeds" in note for note in two.notes)
    assert two.rows["seeds"].metrics["torsion_jsd/all"].low is None


def test_comparisons_are_of_seeds_where_both_have_them() -> None:
    def run(name: str, generated: float, seeds: Estimate | None = None) -> SavedMetrics:
        rows = {"generated": {"clash_share": Estimate(generated, generated - 0.01, generated + 0.01)}}
        if seeds is not None:
            rows["seeds"] = {"clash_share": seeds}
        return SavedMetrics(name, {"residues": "ALA", "fingerprint": "a"}, rows, dict.fromkeys(rows, ""))

    wide = Estimate(0.3, 0.0, 0.6)
    assert compare(run("a", 0.1), run("b", 0.3))[0].exceeds
    assert compare(run("a", 0.1, Estimate(0.1, 0.0, 0.4)), run("b", 0.3))[0].exceeds
    assert not compare(run("a", 0.1, Estimate(0.1, 0.0, 0.4)), run("b", 0.3, wide))[0].exceeds
