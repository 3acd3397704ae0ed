"""What a benchmark reads off an evaluation: the one place that knows how verdicts, flags and excesses are stored."""

from dataclasses import dataclass

from mdgen.evaluation import Evaluation
from mdgen.results import Estimate


@dataclass(frozen=True)
class Verdict:
    """The verdict of an evaluation.

    Args:
        overall: `holds`, `fails`, `undecided` or `flagged`.
        failing: names of the criteria that fail.
        flagged: whether the comparison is said to be void, such as of copied frames.
    """

    overall: str
    failing: tuple[str, ...]
    flagged: bool


def verdict_of(evaluation: Evaluation) -> Verdict:
    """The verdict, the criteria that fail, and whether the generated trajectories are flagged."""
    failing = tuple(line.metric for line in evaluation.criteria if line.verdict == "fails")
    return Verdict(evaluation.verdict, failing, bool(evaluation.flags))


def excesses_of(evaluation: Evaluation) -> dict[str, Estimate]:
    """The excess of each judged distance over what dynamics scores against itself, with its 95 % interval."""
    return {
        line.metric: Estimate(line.excess, line.low, line.high)
        for line in evaluation.criteria
        if line.excess is not None
    }
