"""Laws of the verdict on a chain whose every law is known."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mdgen.evaluation.criteria import CRITERIA, Criterion
from mdgen.evaluation.metrics.catalogue import METRICS
from mdgen.evaluation.metrics.target import MetricFamily, Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import BlockPermutation, assign_blocks, slow_spread
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.verdict import Judgements, excess_over, floor_of, judge, standardised, step_down, tail_first

WELLS = 4

SLOWEST = 20.0

CHAIN = (Criterion("jsd/a", 0.1, "a"), Criterion("mean/a", 0.1, "a"), Criterion("jsd/b", 0.1, "b"))


class ChainMetrics(MetricFamily):
    """Distances of two independent columns of states: of their distributions, and of the mean of the first."""

    def permuted(self, blocks: BlockPermutation) -> dict[str, np.ndarray]:
        counts = {name: blocks.pool.histogram(blocks.pool[name], WELLS) for name in ("a", "b")}
        found = {f"jsd/{name}": blocks.distances(jensen_shannon, each) for name, each in counts.items()}
        means = [
            weights @ counts["a"] @ np.arange(WELLS) / (weights @ counts["a"]).sum(1)
            for weights in (blocks.row, blocks.target)
        ]
        return {**found, "mean/a": np.abs(means[0] - means[1])}


def states(lengths: tuple[int, ...], rng: np.random.Generator, weights: ArrayLike = (1, 1, 1, 1)) -> np.ndarray:
    """A chain that forgets its state with a chance of 1 / SLOWEST a frame, and then draws one by the weights."""
    parts, share = [], np.asarray(weights) / np.sum(weights)
    for n in lengths:
        moves = rng.random(n) < 1 / SLOWEST
        moves[0] = True
        drawn = rng.choice(WELLS, size=n, p=share)
        parts.append(drawn[np.maximum.accumulate(np.where(moves, np.arange(n), 0))])
    return np.concatenate(parts)


def chain(lengths: tuple[int, ...], rng: np.random.Generator, weights: ArrayLike = (1, 1, 1, 1)) -> Observables:
    return Observables(lengths, 1.0, {"a": states(lengths, rng, weights), "b": states(lengths, rng)})


def judged(dynamics: Observables, generated: Observables, rng: np.random.Generator) -> Judgements:
    assignment = assign_blocks(dynamics, generated, SLOWEST, 199, 100, rng)
    family = ChainMetrics(Target(dynamics, Settings()))
    return judge(CHAIN, {ChainMetrics: family}, assignment, ())


def verdicts(found: Judgements) -> dict[str, str]:
    return {line.metric: line.verdict for line in found.rows}


@pytest.mark.parametrize("lengths", [(300,) * 4, (100,) * 2])
def test_dynamics_fails_any_criterion_no_more_often_than_it_says(lengths: tuple[int, ...]) -> None:
    """Tolerances are below what chance alone makes here, so that the p alone keeps false alarms away."""
    rng, alarms, good = np.random.default_rng(0), 0, 0
    for _ in range(120):
        dynamics, generated = (chain(lengths, rng) for _ in range(2))
        found = judged(dynamics, generated, rng)
        alarms += any(line.p is not None and line.p <= 0.05 for line in found.rows)
        good += bool(found.too_good)
    assert alarms <= 12  # 5 % of 120 and two standard deviations and a half
    assert good <= 12


def test_the_interval_holds_the_distance_of_the_two_laws() -> None:
    rng, held = np.random.default_rng(1), {"same": 0, "apart": 0}
    shifted = (1, 1, 1, 5)
    truth = {"same": 0.0, "apart": abs(np.arange(WELLS) @ np.array(shifted) / 8 - 1.5)}
    for _ in range(100):
        for name, weights in (("same", (1, 1, 1, 1)), ("apart", shifted)):
            found = judged(chain((600,) * 2, rng), chain((600,) * 2, rng, weights), rng)
            line = next(line for line in found.rows if line.metric == "mean/a")
            assert line.low is not None
            assert line.high is not None
            held[name] += line.low <= truth[name] <= line.high
    assert held["same"] >= 90
    assert held["apart"] >= 88  # 93 % expected, less two errors of 100 runs


def test_a_fault_fails_and_more_data_decide_what_is_undecided() -> None:
    rng = np.random.default_rng(2)
    dynamics = chain((3000,) * 4, rng)
    wrong = judged(dynamics, chain((3000,) * 4, rng, (1, 1, 1, 5)), rng)
    assert verdicts(wrong) == {"jsd/a": "fails", "mean/a": "fails", "jsd/b": "holds"}
    short = judged(chain((300,) * 4, rng), chain((300,) * 4, rng), rng)
    undecided = [line for line in short.rows if line.verdict == "undecided"]
    assert undecided
    assert all(line.needs is None or line.needs > 1 for line in undecided)
    times = int(np.ceil(max(line.needs or 1.0 for line in undecided)))
    many = judged(chain((300 * times,) * 4, rng), chain((300 * times,) * 4, rng), rng)
    assert list(verdicts(many).values()).count("holds") > list(verdicts(short).values()).count("holds")


def test_copies_are_too_good_and_too_little_is_undecided() -> None:
    rng = np.random.default_rng(3)
    dynamics = chain((1000,) * 4, rng)
    assert set(judged(dynamics, dynamics, rng).too_good) == {"jsd/a", "mean/a", "jsd/b"}
    few = judge(CHAIN, {}, None, ("jsd",))
    assert verdicts(few) == {"jsd/a": "undecided", "jsd/b": "undecided"}
    assert few.left_out == ("mean/a",)
    assert assign_blocks(chain((2,), rng), chain((2,), rng), None, 9, 9, rng) is None


def test_step_down_is_single_step_for_the_largest_and_never_below_plain_p() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(6, 200))
    scores[2, 0] = 3.0
    p, plain = step_down(scores), (1 + (scores[:, 1:] >= scores[:, :1]).sum(1)) / 200
    assert p[2] == (1 + (scores[:, 1:].max(0) >= 3.0).sum()) / 200
    assert (p >= plain).all()
    alone = step_down(scores[2:3])
    assert alone[0] == plain[2] <= p[2]


def test_rare_events_in_other_rows_do_not_hide_a_fault() -> None:
    """Each of six rows has one rare frame, in one block of 164, of which four are generated."""
    rng, draws = np.random.default_rng(0), np.zeros((7, 500))
    draws[0] = np.r_[12.0, np.abs(rng.normal(size=499))]
    draws[1:] = np.where(rng.random((6, 500)) < 4 / 164, 1 / 500, 1 / 20_000)
    draws[1:, 0] = 1 / 20_000
    scores = standardised(draws, floor_of(draws, 1 / 163))
    assert step_down(tail_first(scores))[0] <= 0.02


def test_unequal_and_unknown_slow_trajectories_widen() -> None:
    rng = np.random.default_rng(10)
    mixed = assign_blocks(chain((4000,), rng), chain((100,) * 40, rng), 400.0, 9, 9, rng)
    unknown = assign_blocks(chain((400,) * 2, rng), chain((400,) * 2, rng), None, 9, 9, rng)
    assert mixed is not None
    assert unknown is not None
    assert mixed.slow_spread > 1.2
    assert unknown.slow_spread == slow_spread(100.0, 400.0, 400.0)
    stuck = np.repeat([0.0, 1.0, 0.0, 1.0], 400)[:, None] + 0.1 * rng.normal(size=(1600, 1))
    data = chain((400,) * 2, rng)
    seen = assign_blocks(data, data, 1.0, 9, 9, rng, stuck)
    assert seen is not None
    assert seen.slow_spread == pytest.approx(np.sqrt(400 / np.bincount(seen.blocks.pool.units).mean()))


def test_scores_do_not_depend_on_units_and_constants_score_nothing() -> None:
    draws = np.random.default_rng(5).exponential(size=(1, 100))

    def scores(values: np.ndarray) -> np.ndarray:
        return standardised(values, floor_of(values, 1 / 15))

    np.testing.assert_allclose(scores(1e-6 * draws), scores(draws))
    np.testing.assert_array_equal(scores(np.zeros((1, 100))), 0)
    assert np.isfinite(scores(np.where(draws > 2, np.nan, draws))).all()


def test_the_floor_is_of_chance_alone_though_permutations_mix_a_difference_in() -> None:
    rng = np.random.default_rng(9)
    assignment = assign_blocks(chain((2000,) * 4, rng), chain((2000,) * 4, rng), SLOWEST, 999, 9, rng)
    assert assignment is not None
    assert assignment.mixing == pytest.approx(1 / (sum(assignment.sides) - 1), rel=0.15)
    share = rng.choice([1, -1], size=999) * np.sqrt(assignment.mixing)
    chance = 0.1 * rng.normal(size=999)
    permuted = np.abs(np.r_[2.0, 2.0 * share + chance])[None]
    assert floor_of(permuted, assignment.mixing)[0, 0] == pytest.approx(0.1, rel=0.3)


def test_an_excess_may_be_nothing_and_adds_in_squares() -> None:
    assert excess_over(0.1, 0.2, np.full(10, 0.1), 1.0) == (0, 0, 0)
    assert excess_over(0.5, 0.3, np.full(10, 0.5), 1.0)[0] == pytest.approx(0.4)
    value, low, high = excess_over(0.3, 0.25, np.abs(np.random.default_rng(6).normal(0.3, 0.2, 200)), 1.0)
    assert low == 0 < value < high


def test_blocks_are_long_or_the_spread_says_how_much_is_missed() -> None:
    rng = np.random.default_rng(7)
    whole = assign_blocks(chain((100,) * 40, rng), chain((100,) * 40, rng), SLOWEST, 9, 9, rng)
    assert whole is not None
    assert whole.slow_spread == 1.0
    assert whole.sides == (40, 40)
    few = assign_blocks(chain((400,) * 2, rng), chain((400,) * 2, rng), SLOWEST, 9, 9, rng)
    assert few is not None
    assert few.blocks.block_ps == 100
    assert few.slow_spread == slow_spread(100.0, 400.0, SLOWEST) > 1
    sizes = np.bincount(few.blocks.pool.units)
    np.testing.assert_allclose(few.blocks.row[:10] @ sizes, 800)
    np.testing.assert_allclose(few.blocks.target[:10] @ sizes, 800)
    assert not ((few.blocks.row > 0) & (few.blocks.target > 0))[:10].any()
    assert (few.blocks.row[10:, :8] == 0).all()


def test_variance_of_correlated_means_is_what_the_spread_says() -> None:
    rng, n, block = np.random.default_rng(8), 400, 50
    found = np.stack([states((n,), rng) == 0 for _ in range(3000)]).astype(float)
    independent = found.reshape(3000, -1, block).mean(2).var() / (n / block)
    assert np.sqrt(found.mean(1).var() / independent) == pytest.approx(
        slow_spread(float(block), float(n), SLOWEST), rel=0.06
    )


def test_every_criterion_is_a_distance_that_is_documented() -> None:
    names = [criterion.metric for criterion in CRITERIA]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} <= set(METRICS)
    assert all(criterion.tolerance > 0 and criterion.meaning for criterion in CRITERIA)
