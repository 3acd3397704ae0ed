"""Many molecules: one pair of trajectories each, a report for every one, and one table of medians."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.aggregate import Aggregate, aggregate, aggregate_table, save_aggregate
from mdgen.evaluation.evaluate import evaluate
from mdgen.evaluation.report.html_report import write_report
from mdgen.evaluation.saved import read_metrics
from mdgen.evaluation.settings import Bounds, Settings
from mdgen.files import write_aside

logger = logging.getLogger("mdgen")

Pair = Callable[[], tuple[TrajectorySet, TrajectorySet]]
"""Opens the reference and the generated trajectories of one molecule, when its turn comes."""


@dataclass(frozen=True)
class ManyEvaluations:
    """What came of many molecules.

    Args:
        gathered: medians over those that could be judged.
        failures: the sentence that says why, by molecule, for those that could not.
    """

    gathered: Aggregate
    failures: dict[str, str]


def evaluate_many(
    pairs: Mapping[str, Pair], folder: Path | str, settings: Settings | None = None, bounds: Bounds | None = None
) -> ManyEvaluations:
    """Evaluate every pair into `folder/NAME`, then write `aggregate.json` and `aggregate.md`.

    A molecule whose `metrics.json` is there already is not evaluated again, so an interrupted run goes on; one that
    cannot be judged does not keep the others from it.

    Raises:
        MdgenError: if none of them could be judged.
    """
    folder, failures = Path(folder), {}
    for number, (name, pair) in enumerate(pairs.items(), start=1):
        logger.info("molecule %d of %d: %s", number, len(pairs), name)
        if (folder / name / "metrics.json").is_file():
            continue
        try:
            write_report(evaluate(*pair(), settings=settings, bounds=bounds), folder / name)
        except MdgenError as error:
            failures[name] = str(error)
            logger.warning("%s: %s", name, error)
    judged = [read_metrics(folder / name) for name in pairs if name not in failures]
    if not judged:
        reason = next(iter(failures.values()), "no pair was given")
        raise MdgenError(f"none of the {len(pairs)} molecules could be judged; the first failure: {reason}")
    gathered = aggregate(judged)
    save_aggregate(gathered, folder)
    write_aside(folder / "aggregate.md", aggregate_table(gathered).encode())
    return ManyEvaluations(gathered, failures)
