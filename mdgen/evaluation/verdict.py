"""The verdict: for every criterion holds, fails or undecided, from one pool of blocks of dynamics and generated frames.

Every number of a criterion comes from the same sums over blocks (`statistics.block_permutation.Assignment`): its value
from the true assignment, its floor from permutations (what dynamics scores against itself with as many frames), its
interval from a bootstrap of the blocks of each side. The squares of distances add: a value `v` over a floor of root
mean square `m` exceeds it by `sqrt(v^2 - m^2)`, an estimate of the distance of the two laws that can be 0.

- *fails*: its adjusted p is at most 5 %, and its excess above the tolerance. The p is adjusted by the step-down max-T
  procedure (Westfall and Young, Resampling-Based Multiple Testing, 1993) over all criteria from the joint permutations,
  so that dynamics fails any criterion in 5 % of evaluations.
- *holds*: the 95 % interval of its excess ends below the tolerance.
- *undecided*: neither, or it could not be measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student

from mdgen.evaluation.criteria import Criterion
from mdgen.evaluation.metrics.target import MetricFamily
from mdgen.evaluation.statistics.block_permutation import Assignment

FALSE_ALARMS = 0.05
"""Probability with which dynamics fails any of the criteria, or is called too good in any."""

LEAST_KNOWN = 0.8
"""Least share of the permutations in which a metric must be known to be judged."""

LEAST_FLOOR = 0.1
"""Least floor of an assignment, as a share of the root mean square over all of them."""

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
        low: lower end of the 95 % interval of the excess.
        high: its upper end.
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
    """Judgements of all criteria; those that do not apply to the molecule; the metrics too close to the dynamics."""

    rows: tuple[Judgement, ...]
    left_out: tuple[str, ...]
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
    if assignment is not None:
        lines = 1 + assignment.permutations
        measured = (family.permuted(assignment.blocks).items() for family in families.values())
        for name, draws in chain.from_iterable(measured):
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
    result, left_out = [], []
    for criterion in criteria:
        kind = criterion.metric.partition("/")[0]
        if criterion.metric in rows:
            result.append(rows[criterion.metric])
        elif kind in expected and kind not in kinds:
            result.append(_unmeasured(criterion))
        else:
            left_out.append(criterion.metric)
    return Judgements(tuple(result), tuple(left_out), tuple(too_good))


def _unmeasured(criterion: Criterion) -> Judgement:
    return Judgement(
        criterion.metric, criterion.meaning, None, None, None, None, None, criterion.tolerance, None, "undecided"
    )


def _judged(
    criteria: Sequence[Criterion], draws: Float[np.ndarray, "criterion draw"], assignment: Assignment
) -> tuple[dict[str, Judgement], list[str]]:
    """Judgements by metric, and the metrics that are too good."""
    known = 1 + assignment.permutations
    permuted, resampled = draws[:, :known], draws[:, known:]  # the true assignment is one of those possible
    floors = floor_of(permuted, assignment.mixing)
    upper = standardised(permuted, floors, assignment.slow_spread)
    lower = standardised(-permuted, np.ones_like(permuted), assignment.slow_spread)
    p, low_p = step_down(upper), step_down(lower)
    critical = np.quantile(upper[:, 1:].max(0), 1 - FALSE_ALARMS)
    widening = _widening(assignment)
    rows = {}
    for i, criterion in enumerate(criteria):
        value, floor = float(permuted[i, 0]), float(floors[i, 0])
        excess, low, high = excess_over(value, floor, resampled[i], widening)
        fails = p[i] <= FALSE_ALARMS and excess > criterion.tolerance
        holds = high <= criterion.tolerance
        verdict = "fails" if fails else "holds" if holds else "undecided"
        needs = None
        if verdict == "undecided":
            needs = _times(excess, high, criterion.tolerance, critical, float(upper[i, 0]))
        rows[criterion.metric] = Judgement(
            criterion.metric, criterion.meaning, value, floor, excess, low, high, criterion.tolerance, float(p[i]),
            verdict, needs,
        )  # fmt: skip
    return rows, [criterion.metric for criterion, tail in zip(criteria, low_p, strict=True) if tail <= FALSE_ALARMS]


def floor_of(permuted: Float[np.ndarray, "criterion draw"], mixing: float) -> Float[np.ndarray, "criterion draw"]:
    """Root mean square of the distance by chance alone, would each assignment be the true one.

    Permutations mix what differs between the two: with a difference d and a floor m, `v^2 = d^2 + m^2` where the true
    assignment scores v, and permutations have a mean square of `mixing d^2 + m^2`. Least `LEAST_FLOOR` of the latter.
    """
    mean = np.nanmean(permuted[:, 1:] ** 2, axis=1, keepdims=True)
    own = (mean - mixing * permuted**2) / (1 - mixing)
    return np.asarray(np.sqrt(np.where(permuted**2 > mean, np.maximum(own, LEAST_FLOOR**2 * mean), mean)))


def standardised(
    permuted: Float[np.ndarray, "criterion draw"], floors: Float[np.ndarray, "criterion draw"], slow_spread: float
) -> Float[np.ndarray, "criterion draw"]:
    """Distances above their median over the assignments, in units of that median's distance to the 95 % quantile.

    They are studentised: larger where their own floor is lower than the others'. The first, true assignment is divided
    by `slow_spread` besides. Unknown values count as medians.
    """
    middle, top = np.nanquantile(permuted, [0.5, 0.95], axis=1, keepdims=True)
    above = np.where(np.isfinite(permuted), permuted - middle, 0.0)
    scale = np.maximum(top - middle, 1e-9 * np.abs(permuted).max(1, initial=0.0, where=np.isfinite(permuted))[:, None])
    score = np.divide(above, scale, out=np.zeros_like(above), where=scale > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        student = np.nanmax(floors, axis=1, keepdims=True) / floors
    score *= np.where(np.isfinite(student), student, 1.0)
    score[:, 0] /= slow_spread
    return score


def step_down(scores: Float[np.ndarray, "criterion draw"]) -> Float[np.ndarray, "criterion"]:
    """Adjusted p of the first draw of each criterion: step-down max-T over criteria.

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
    """
    square, squares = value**2 - floor**2, resampled[np.isfinite(resampled)] ** 2
    spread = np.quantile(squares - squares.mean(), [0.025, 0.975]) * widening if len(squares) > 1 else np.zeros(2)
    ends = np.sqrt(np.maximum(np.r_[square, square + spread], 0.0))
    return float(ends[0]), float(min(ends[0], ends[1])), float(max(ends[0], ends[2]))


def _widening(assignment: Assignment) -> float:
    """Student's quantile over the normal one for this number of blocks, and the spread of the slowest process."""
    here, there = assignment.sides
    fewer = min(here, there)
    return float(
        student.ppf(0.975, here + there - 2) / norm.ppf(0.975) * np.sqrt(fewer / (fewer - 1)) * assignment.slow_spread
    )


def _times(excess: float, high: float, tolerance: float, critical: float, score: float) -> float | None:
    """Multiple of the data at which the errors, which fall with its root, would decide; None beyond `MOST_TIMES`."""
    short, reach = (high - excess, tolerance - excess) if excess <= tolerance else (critical, score)
    times = (short / reach) ** 2 if reach > 0 else float("inf")
    return max(1.1, float(times)) if times <= MOST_TIMES else None
