"""Evaluation of many molecules: one report each, and the median of each metric over them with its interval."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdgen.errors import MdgenError
from mdgen.evaluation.equivalent_length import SCORES, equivalent_length_ns
from mdgen.evaluation.metrics.catalogue import METRICS, label
from mdgen.evaluation.protocols.over_molecules import gather_protocols, read_protocol
from mdgen.evaluation.protocols.protocol import ProtocolResult
from mdgen.evaluation.report.protocol_tables import protocol_markdown
from mdgen.evaluation.report.tables import HEADLINES, markdown_table, shown, with_interval
from mdgen.evaluation.result import SavedMetrics, read_metrics
from mdgen.evaluation.statistics.intervals import bootstrap_weights, percentile_interval
from mdgen.files import write_aside
from mdgen.results import Estimate, write_result

logger = logging.getLogger("mdgen")

RESAMPLES = 1000


@dataclass(frozen=True)
class Aggregate:
    """Medians over molecules.

    Args:
        molecules: names of the evaluations.
        rows: medians by row and metric; the interval is of the bootstrap over molecules.
        counts: number of molecules behind each median.
        labels: labels of the rows.
        equivalent_length_ns: medians of the length of dynamics with the same score (`equivalent_length`), by metric.
    """

    molecules: tuple[str, ...]
    rows: dict[str, dict[str, Estimate]]
    counts: dict[str, dict[str, int]]
    labels: dict[str, str]
    equivalent_length_ns: dict[str, Estimate] = field(default_factory=dict)


def aggregate(results: Sequence[SavedMetrics], seed: int = 0) -> Aggregate:
    """Medians of the metrics that are not of one residue or torsion alone.

    Raises:
        MdgenError: if there are no results.
    """
    if not results:
        raise MdgenError("there is no evaluation to gather; evaluate at least one pair of trajectories first")
    values: dict[str, dict[str, list[float]]] = {}
    labels = {row: text for result in results for row, text in result.labels.items()}
    for result in results:
        for row, metrics in result.rows.items():
            for name, estimate in metrics.items():
                if _general(name) and np.isfinite(estimate.value):
                    values.setdefault(row, {}).setdefault(name, []).append(estimate.value)
    rows = {
        row: {name: _median(np.array(found), np.random.default_rng(seed)) for name, found in metrics.items()}
        for row, metrics in values.items()
    }
    counts = {row: {name: len(found) for name, found in metrics.items()} for row, metrics in values.items()}
    lengths_ns = {
        name: [length for each in results if (length := equivalent_length_ns(each.rows, each.lengths_ns, name))]
        for name in SCORES
    }
    medians = {
        name: _median(np.array(found), np.random.default_rng(seed)) for name, found in lengths_ns.items() if found
    }
    return Aggregate(tuple(result.name for result in results), rows, counts, labels, medians)


def aggregate_table(gathered: Aggregate, metrics: Sequence[str] = HEADLINES) -> str:
    """The medians as a Markdown table, rows down and metrics across."""
    known = [metric for metric in metrics if any(metric in row for row in gathered.rows.values())]
    lines = [
        [gathered.labels[row], *map(with_interval, shown(row, found, known))] for row, found in gathered.rows.items()
    ]
    table = markdown_table(["", *(label(metric) for metric in known)], lines)
    worth = [f"{label(name)} {with_interval(found)} ns" for name, found in gathered.equivalent_length_ns.items()]
    if not worth:
        return table
    limits = "medians over molecules, from the length of the shortest stretch to that of the replicate"
    return f"{table}\nMolecular dynamics with the same score ({limits}): {'; '.join(worth)}.\n"


def save_aggregate(gathered: Aggregate, folder: Path | str, protocol: ProtocolResult | None = None) -> None:
    """Write `aggregate.json`: medians, intervals and counts by row and metric, and a protocol's numbers."""
    rows = {
        row: {name: {"median": estimate, "molecules": gathered.counts[row][name]} for name, estimate in metrics.items()}
        for row, metrics in gathered.rows.items()
    }
    document: dict[str, object] = {"schema": "mdgen.aggregate/1", "molecules": list(gathered.molecules), "rows": rows}
    if gathered.equivalent_length_ns:
        document["equivalent_length_ns"] = gathered.equivalent_length_ns
    if protocol is not None:
        document["protocol"] = protocol
    write_result(Path(folder) / "aggregate.json", document, ())


@dataclass(frozen=True)
class BatchEvaluation:
    """Medians over the molecules that could be judged, and the reason by name for those that could not."""

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
    protocols = [read_protocol(folder / name / "metrics.json") for name in evaluations if name not in failures]
    protocol = gather_protocols([each for each in protocols if each is not None], seed)
    save_aggregate(gathered, folder, protocol)
    text = aggregate_table(gathered) + ("" if protocol is None else "\n" + protocol_markdown(protocol))
    write_aside(folder / "aggregate.md", text.encode())
    return BatchEvaluation(gathered, failures)


def _general(name: str) -> bool:
    """Whether a metric means the same for every molecule: not of a torsion or residue by its name."""
    kind, _, what = name.partition("/")
    return kind in METRICS and " " not in what and not (kind == "torsion_pair_jsd" and what != "all")


def _median(values: np.ndarray, rng: np.random.Generator) -> Estimate:
    if len(values) < 2:
        return Estimate(float(values[0]))
    order, n = np.argsort(values), len(values)
    # how many of each resample's values are no larger than each
    counts = bootstrap_weights(n, RESAMPLES, rng)[:, order].cumsum(1)
    middle = [values[order][(counts > place).argmax(1)] for place in ((n - 1) // 2, n // 2)]
    return percentile_interval(float(np.median(values)), (middle[0] + middle[1]) / 2)
