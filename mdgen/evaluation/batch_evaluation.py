"""Batch evaluation: one report a molecule, and one table of medians over the molecules."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdgen.errors import MdgenError
from mdgen.evaluation.aggregate import Aggregate, aggregate, aggregate_table, save_aggregate
from mdgen.evaluation.saved import read_metrics
from mdgen.files import write_aside

logger = logging.getLogger("mdgen")


@dataclass(frozen=True)
class BatchEvaluation:
    """Result of a batch.

    Args:
        gathered: medians over the molecules that could be judged.
        failures: reason by molecule, for those that could not.
    """

    gathered: Aggregate
    failures: dict[str, str]


def evaluate_batch(
    evaluations: Mapping[str, Callable[[Path], object]], folder: Path | str, seed: int = 0
) -> BatchEvaluation:
    """Evaluate every molecule into `folder/NAME`, then write `aggregate.json` and `aggregate.md`.

    A molecule whose `metrics.json` exists is not evaluated again, so an interrupted batch can be continued; a molecule
    that cannot be judged does not stop the others.

    Args:
        evaluations: function by molecule that writes its report into the folder it is given, such as
            `lambda folder: write_report(evaluate(reference, generated), folder)`.
        folder: folder of the batch.
        seed: seed of the bootstrap over molecules.

    Raises:
        MdgenError: if none of them could be judged.
    """
    folder, failures = Path(folder), {}
    for number, (name, evaluation) in enumerate(evaluations.items(), start=1):
        logger.info("molecule %d of %d: %s", number, len(evaluations), name)
        if (folder / name / "metrics.json").is_file():
            continue
        try:
            evaluation(folder / name)
        except MdgenError as error:
            failures[name] = str(error)
            logger.warning("%s: %s", name, error)
    judged = [read_metrics(folder / name) for name in evaluations if name not in failures]
    if not judged:
        reason = next(iter(failures.values()), "no pair was given")
        raise MdgenError(f"none of the {len(evaluations)} molecules could be judged; the first failure: {reason}")
    gathered = aggregate(judged, seed)
    save_aggregate(gathered, folder)
    write_aside(folder / "aggregate.md", aggregate_table(gathered).encode())
    return BatchEvaluation(gathered, failures)
