"""The verdict: for every criterion holds, fails or undecided, from one pool of blocks of dynamics and generated frames.

Every number of a criterion comes from the same sums over blocks (`statistics.block_permutation.Assignment`): its value
from the true assignment, its floor from permutations (what dynamics scores against itself with as many frames), its
interval from a bootstrap of the blocks of each side. The squares of distances add: a value `v` over a floor of root
mean square `m` exceeds it by `sqrt(v^2 - m^2)`, an estimate of the distance of the two laws that can be 0.

- *fails*: its adjusted p is at most 5 %, and the interval of its excess lies above the tolerance. The p is adjusted by
  the step-down procedure of Westfall and Young (Resampling-Based Multiple Testing, 1993) over all criteria from the
  joint permutations, so that dynamics fails any criterion in at most 5 % of evaluations.
- *holds*: the interval of its excess ends below the tolerance. For a share that is at least what could have gone unseen
  in as many frames, `RULE_OF_THREE / n`.
- *undecided*: neither, or it could not be measured.

Intervals are of one criterion each. Too good to be true is another test, of the lower tail, with 5 % of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, t

from mdgen.evaluation.criteria import Criterion
from mdgen.evaluation.metrics.target import MetricFamily
from mdgen.evaluation.statistics.block_permutation import Assignment
from mdgen.evaluation.statistics.intervals import RULE_OF_THREE

FALSE_ALARMS = 0.05
"""Probability with which dynamics fails any of the criteria, or is called too good in any."""

LEAST_KNOWN = 0.8
"""Least share of the permutations in which a metric must be known to be judged."""

LEAST_FLOOR = 0.1
"""Least floor of an assignment, as a share of the root mean square over all of them."""

MOST_MIXING = 0.5
"""Largest mixing that is taken off a floor."""

ENDS = (0.025, 0.99)
"""Quantiles at the ends of the interval of an excess.

Resampling adds noise to the square of a distance and skews it: at two to three errors the 97.5 % quantile misses the
excess in 6 % of cases, this one in 3 %.
"""

SHARES = "share_difference"
"""Kind of the criteria that are differences of shares of frames."""

OF_PROCESSES = ("timescale_log_error",)
"""Kinds of one metric for each process that stands out from noise."""

MOST_TIMES = 1000.0
"""Multiples of the data above which none is named."""


@dataclass(frozen=True)
class Judgement:
    """A criterion and what was found.

    Args:
        metric: name of the metric.
        meaning: what it would mean if it failed.
        value: distance of the generated frames from all dynamics; None where it could not be measured.
        floor: root mean square of what dynamics scores against itself with as many frames, by permutations, less what
            those mix in of a difference.
        excess: distance over the floor, `sqrt(value^2 - floor^2)`, 0 where it lies below.
        low: lower end of the interval of the excess, its 2.5 % quantile.
        high: its upper end, the 99 % quantile.
        tolerance: excess that the criterion allows.
        p: probability of such a value, or of one as extreme in any criterion, from dynamics.
        verdict: `holds`, `fails` or `undecided`.
        needs: multiple of the data that would decide it, were the law as it appears; None where it is decided, where it
            could not be measured, or where it takes more than `MOST_TIMES`.
    """

    metric: str
    meaning: str
    value: float | None
    floor: float | None
    excess: float | None
    low: float | None
    high: float | None
    tolerance: float
    p: float | None
    verdict: str
    needs: float | None = None


@dataclass(frozen=True)
class Judgements:
    """Judgements of all criteria.

    Args:
        rows: judgements.
        left_out: criteria that do not exist for the molecule, or were not asked for.
        unresolved: criteria of processes that the dynamics does not have, such as a slow mode that is noise.
        too_good: criteria in which the generated frames are too close to the dynamics.
    """

    rows: tuple[Judgement, ...]
    left_out: tuple[str, ...]
    unresolved: tuple[str, ...]
    too_good: tuple[str, ...]


def judge(
    criteria: Sequence[Criterion],
    families: Mapping[type, MetricFamily],
    assignment: Assignment | None,
    expected: Iterable[str],
) -> Judgements:
    """Judge every criterion that exists for the molecule.

    Args:
        criteria: criteria.
        families: families of metrics that apply.
        assignment: pool of blocks; None where there were too few.
        expected: kinds of metric that the molecule has though they may not be measurable with these data.
    """
    found: dict[str, np.ndarray] = {}
    given: set[str] = set()  # names, and kinds of the families that gave any
    if assignment is not None:
        lines = 1 + assignment.permutations
        measured = [(family, family.permuted(assignment.blocks)) for family in families.values()]
        for family, metrics in measured:
            given |= metrics.keys() | (family.descriptions.keys() if metrics else set())
        for name, draws in chain.from_iterable(metrics.items() for _, metrics in measured):
            known = np.isfinite(draws)
            if len(draws) == len(assignment.blocks.row) and known[0] and known[1:lines].mean() >= LEAST_KNOWN:
                found[name] = draws
    judged = [criterion for criterion in criteria if criterion.metric in found]
    rows: dict[str, Judgement] = {}
    too_good: list[str] = []
    if judged and assignment is not None:
        draws = np.stack([found[criterion.metric] for criterion in judged])
        rows, too_good = _judged(judged, draws, assignment)
    kinds, expected = {name.partition("/")[0] for name in found}, set(expected)
    result, left_out, unresolved = [], [], []
    for criterion in criteria:
        kind = criterion.metric.partition("/")[0]
        if criterion.metric in rows:
            result.append(rows[criterion.metric])
        elif kind in OF_PROCESSES and kind in given and criterion.metric not in given:
            unresolved.append(criterion.metric)
        elif criterion.metric in given or (kind in expected and kind not in kinds):
            result.append(_unmeasured(criterion))
        else:
            left_out.append(criterion.metric)
    return Judgements(tuple(result), tuple(left_out), tuple(unresolved), tuple(too_good))


def _unmeasured(criterion: Criterion) -> Judgement:
    return Judgement(
        criterion.metric, criterion.meaning, None, None, None, None, None, criterion.tolerance, None, "undecided"
    )


def _judged(
    criteria: Sequence[Criterion], draws: Float[np.ndarray, "criterion draw"], assignment: Assignment
) -> tuple[dict[str, Judgement], list[str]]:
    """Judgements by metric, and the metrics that are too good."""
    known, slow = 1 + assignment.permutations, assignment.slow_spread
    permuted, resampled = draws[:, :known], draws[:, known:]  # the true assignment is one of those possible
    scale = np.r_[slow, np.ones(known - 1)]  # chance spreads the true one more
    floors = floor_of(permuted / scale, assignment.mixing * slow**2)
    upper = standardised(permuted / scale, floors)
    lower = standardised(-permuted * scale, np.ones_like(permuted))
    p, low_p = (step_down(tail_first(scores)) for scores in (upper, lower))
    critical = np.quantile(upper[:, 1:].max(0), 1 - FALSE_ALARMS)
    widening, here_there = _widening(assignment), np.bincount(assignment.blocks.pool.units >= assignment.sides[0])
    rows = {}
    for i, criterion in enumerate(criteria):
        value, floor, tolerance = float(permuted[i, 0]), float(slow * floors[i, 0]), criterion.tolerance
        excess, low, high = excess_over(value, floor, resampled[i], widening)
        unseen = RULE_OF_THREE / here_there.min() if criterion.metric.startswith(SHARES) else 0.0
        fails = p[i] <= FALSE_ALARMS and low > tolerance
        verdict = "fails" if fails else "holds" if max(high, unseen) <= tolerance else "undecided"
        needs = None
        if verdict == "undecided":
            needs = _times(excess, low, high, tolerance, unseen, critical, float(upper[i, 0]))
        rows[criterion.metric] = Judgement(
            criterion.metric, criterion.meaning, value, floor, excess, low, max(high, unseen), tolerance, float(p[i]),
            verdict, needs,
        )  # fmt: skip
    return rows, [criterion.metric for criterion, tail in zip(criteria, low_p, strict=True) if tail <= FALSE_ALARMS]


def floor_of(permuted: Float[np.ndarray, "criterion draw"], mixing: float) -> Float[np.ndarray, "criterion draw"]:
    """Root mean square of the distance by chance alone, would each assignment be the true one.

    Permutations mix what differs between the two: with a difference d and a floor m, `v^2 = d^2 + m^2` where the true
    assignment scores v, and permutations have a mean square of `mixing d^2 + m^2`. Where the true one is divided by a
    factor s, so is d, and the mixing is larger by `s^2`. Least `LEAST_FLOOR` of the root mean square.
    """
    mixing, mean = min(mixing, MOST_MIXING), np.nanmean(permuted[:, 1:] ** 2, axis=1, keepdims=True)
    own = (mean - mixing * permuted**2) / (1 - mixing)
    return np.asarray(np.sqrt(np.where(permuted**2 > mean, np.maximum(own, LEAST_FLOOR**2 * mean), mean)))


def standardised(
    permuted: Float[np.ndarray, "criterion draw"], floors: Float[np.ndarray, "criterion draw"]
) -> Float[np.ndarray, "criterion draw"]:
    """Distances above their median over the assignments, in units of their spread.

    That is the median's distance to the 95 % quantile, or the root mean square where that is larger: of what lies in
    one block alone nearly all assignments score alike. Scores are studentised: larger where their own floor is lower
    than the others'. Unknown values count as medians.
    """
    middle, top = np.nanquantile(permuted, [0.5, 0.95], axis=1, keepdims=True)
    above = np.where(np.isfinite(permuted), permuted - middle, 0.0)
    scale = np.maximum(top - middle, np.sqrt((above**2).mean(1, keepdims=True)))
    score = np.divide(above, scale, out=np.zeros_like(above), where=scale > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.nanmax(floors, axis=1, keepdims=True) / floors
    return np.asarray(score * np.where(np.isfinite(relative), relative, 1.0))


def tail_first(scores: Float[np.ndarray, "criterion draw"]) -> Float[np.ndarray, "criterion draw"]:
    """One over the share of the criterion's draws that score as much, and of equal shares the larger score first.

    Rows with tails of any shape become alike (Westfall and Young's min-P), while scores tell extreme draws apart, which
    have the same least share in every row.
    """
    ordered = np.sort(scores, axis=1)
    below = np.stack([np.searchsorted(line, each) for line, each in zip(ordered, scores, strict=True)])
    return np.asarray(scores.shape[1] / (scores.shape[1] - below) + np.arctan(scores) / np.pi)


def step_down(scores: Float[np.ndarray, "criterion draw"]) -> Float[np.ndarray, "criterion"]:
    """Adjusted p of the first draw of each criterion, step by step from the largest.

    In the order of their scores, each criterion is compared with the largest score of those that are not larger.
    """
    order = np.argsort(-scores[:, 0], kind="stable")
    largest = np.maximum.accumulate(scores[order][::-1], axis=0)[::-1]
    exceeded = (largest[:, 1:] >= scores[order, :1]).sum(1)
    adjusted = np.maximum.accumulate((1 + exceeded) / scores.shape[1])
    result = np.empty(len(scores))
    result[order] = adjusted
    return result


def excess_over(
    value: float, floor: float, resampled: Float[np.ndarray, "resample"], widening: float
) -> tuple[float, float, float]:
    """The excess of a distance over its floor, with the ends of its interval.

    Resampling adds noise to the square of a distance, so the squares are centred before they are laid about the excess.
    The lower end is widened as a distance: an error that is wider by a factor takes the end as much further away.
    """
    square, squares = value**2 - floor**2, resampled[np.isfinite(resampled)] ** 2
    spread = np.quantile(squares - squares.mean(), ENDS) if len(squares) > 1 else np.zeros(2)
    excess, low = np.sqrt(np.maximum(np.r_[square, square + spread[0]], 0.0))
    high = np.sqrt(max(square + spread[1] * widening, 0.0))
    return float(excess), float(min(excess, max(0.0, excess - widening * (excess - low)))), float(max(excess, high))


def _widening(assignment: Assignment) -> float:
    """Factor by which the spread of resamples falls short of the error.

    `t / z sqrt(n / (n - 1)) s`: Student's quantile over the normal one with as many degrees of freedom as in a
    comparison of two means, `(n - 1) / n`, the variance of a resampled mean of n blocks over that of the mean (Efron
    and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 5), n the blocks of the smaller side, and the
    `slow_spread` s.
    """
    fewer, number = min(assignment.sides), sum(assignment.sides)
    student = t.ppf(0.975, number - 2) / norm.ppf(0.975)
    return float(student * np.sqrt(fewer / (fewer - 1)) * assignment.slow_spread)


def _times(
    excess: float, low: float, high: float, tolerance: float, unseen: float, critical: float, score: float
) -> float | None:
    """Multiple of the data that would decide; None beyond `MOST_TIMES`.

    Errors fall with the root of the data, and the share of what is never seen with the data.
    """
    if excess <= tolerance:
        pairs = [(high - excess, tolerance - excess)]
    else:
        pairs = [(critical, score), (excess - low, excess - tolerance)]
    times = max((short / reach) ** 2 if reach > 0 else np.inf for short, reach in pairs)
    if excess <= tolerance and unseen > 0:
        times = max(times, unseen / tolerance if tolerance > 0 else np.inf)
    return max(1.1, float(times)) if times <= MOST_TIMES else None
