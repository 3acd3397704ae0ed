import numpy as np

from mdgen.evaluation.baselines import rows
from mdgen.evaluation.statistics.observables import Observables


def numbered(*lengths: int) -> Observables:
    return Observables(lengths, 1.0, {"number": np.arange(sum(lengths))})


def test_halves_share_no_trajectory() -> None:
    target, replicate = rows.split(numbered(3, 4, 5))
    assert target.lengths == (3, 5)
    assert replicate["number"].tolist() == [3, 4, 5, 6]
    first, second = rows.split(numbered(11))
    assert not set(first["number"]) & set(second["number"])


def test_equal_frames_is_exact_and_keeps_time() -> None:
    cut = rows.equal_frames(numbered(1000, 1000, 1000), 450, 100)
    assert cut.n_frames == 450
    for piece in cut.slices():
        assert np.all(np.diff(cut["number"][piece]) == 1)
    assert len(set(cut["number"] // 1000)) == 3  # spread over all trajectories
    assert rows.equal_frames(numbered(10), 20, 5).n_frames == 10


def test_random_rows_hold_the_frames_they_should() -> None:
    data, rng = numbered(40, 60), np.random.default_rng(0)
    shuffled = rows.shuffled(data, rng)
    assert sorted(shuffled["number"]) == list(range(100))
    assert np.any(shuffled["number"] != data["number"])
    assert set(rows.frozen(data, (5,))["number"]) == {0}
    assert rows.first_part(data, 50).lengths == (40, 10)
    assert rows.independent(data, (30, 30), rng).lengths == (30, 30)
