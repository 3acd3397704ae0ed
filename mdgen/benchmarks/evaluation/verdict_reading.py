"""What a benchmark reads off an evaluation: the one place that knows how verdicts, flags and excesses are stored."""

from dataclasses import dataclass

from mdgen.evaluation import Evaluation
from mdgen.evaluation.metrics.catalogue import METRICS
from mdgen.results import Estimate


@dataclass(frozen=True)
class Verdict:
    """The verdict of an evaluation.

    Args:
        overall: `holds`, `fails` or `undecided`.
        failing: names of the rows that fail.
        flagged: whether a caveat says that the comparison is void, such as of copied frames.
    """

    overall: str
    failing: tuple[str, ...]
    flagged: bool


def verdict_of(evaluation: Evaluation) -> Verdict:
    """The verdict, the rows that fail, and whether the generated trajectories are flagged."""
    failing = tuple(row.name for row in evaluation.acceptance if not row.holds)
    flagged = any(note.startswith("generated:") and "bit for bit" in note for note in evaluation.notes)
    return Verdict("fails" if failing else "holds", failing, flagged)


def excesses_of(evaluation: Evaluation) -> dict[str, Estimate]:
    """The excess of each distance over what dynamics scores against itself, with its 95 % interval."""
    floor, found = evaluation.rows.get("md_floor"), {}
    for name, estimate in evaluation.rows["generated"].metrics.items():
        kind = name.partition("/")[0]
        if floor is None or name not in floor.metrics or not METRICS[kind].distance or estimate.low is None:
            continue
        usual = floor.metrics[name].value
        assert estimate.high is not None
        found[name] = Estimate(estimate.value - usual, estimate.low - usual, estimate.high - usual)
    return found
