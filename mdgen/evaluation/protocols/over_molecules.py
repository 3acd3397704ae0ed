"""A protocol over many molecules: averages as the papers take them, and numbers of all molecules together."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.protocols.correlations import pearson
from mdgen.evaluation.protocols.protocol import ProtocolResult, ProtocolRow
from mdgen.evaluation.protocols.protocol_metrics import is_general
from mdgen.evaluation.statistics.intervals import percentile_interval
from mdgen.results import Estimate

RESAMPLES = 1000
ENOUGH = 3
"""Least number of molecules for a correlation over molecules."""

Pooled = Callable[[Sequence[ProtocolRow]], float]


def read_protocol(path: Path) -> ProtocolResult | None:
    """The protocol in a `metrics.json`; None where it has none."""
    found = json.loads(path.read_text(encoding="utf-8")).get("protocol")
    if found is None:
        return None
    rows = {
        name: ProtocolRow(
            row["frames"], {key: Estimate(**value) for key, value in row["metrics"].items()}, row["arrays"]
        )
        for name, row in found["rows"].items()
    }
    return ProtocolResult(found["name"], rows, tuple(found["notes"]))


def gather_protocols(results: Sequence[ProtocolResult], seed: int = 0) -> ProtocolResult | None:
    """One result of several molecules: means for `mdgen`, medians for `proteins`, intervals over molecules."""
    if not results:
        return None
    name = results[0].name
    average = np.median if name == "proteins" else np.mean
    rows = {}
    for row in results[0].rows:
        of_row = [result.rows[row] for result in results if row in result.rows]
        pooled: dict[str, Pooled] = {
            metric: _averaged(metric, average)
            for metric in dict.fromkeys(m for each in of_row for m in each.metrics)
            if is_general(metric)
        }
        if name == "proteins":
            pooled |= POOLED
        rng = np.random.default_rng(seed)
        draws = rng.integers(len(of_row), size=(RESAMPLES, len(of_row)))
        metrics = {metric: _estimate(of_row, function, draws) for metric, function in pooled.items()}
        finite = {metric: found for metric, found in metrics.items() if np.isfinite(found.value)}
        rows[row] = ProtocolRow(sum(each.frames for each in of_row), finite)
    notes = (
        f"{'Medians' if name == 'proteins' else 'Means'} over {len(results)} molecules, intervals over molecules.",
    )
    return ProtocolResult(name, rows, notes)


def _averaged(metric: str, average: Callable[[np.ndarray], np.floating]) -> Pooled:
    def function(rows: Sequence[ProtocolRow]) -> float:
        values = [row.metrics[metric].value for row in rows if metric in row.metrics]
        return float(average(np.array(values))) if values else float("nan")

    return function


def _estimate(rows: Sequence[ProtocolRow], function: Pooled, draws: np.ndarray) -> Estimate:
    value = function(rows)
    if len(rows) < 2:
        return Estimate(value)
    return percentile_interval(value, np.array([function([rows[index] for index in draw]) for draw in draws]))


def _values(rows: Sequence[ProtocolRow], metric: str) -> Float[np.ndarray, "molecule"]:
    return np.array([row.metrics[metric].value for row in rows])


def _pairwise_rmsd_pearson(rows: Sequence[ProtocolRow]) -> float:
    if len(rows) < ENOUGH:
        return float("nan")
    return pearson(_values(rows, "pairwise_rmsd_A"), _values(rows, "reference_pairwise_rmsd_A"))


def _global_rmsf_pearson(rows: Sequence[ProtocolRow]) -> float:
    return pearson(*(np.concatenate([row.arrays[name] for row in rows]) for name in ("rmsf_A", "reference_rmsf_A")))


def _pc_success(rows: Sequence[ProtocolRow]) -> float:
    return float(100 * (_values(rows, "pc_cosine") > 0.5).mean())


def _median_of_atoms(name: str) -> Pooled:
    return lambda rows: float(np.median(np.concatenate([row.arrays[name] for row in rows])))


POOLED: Mapping[str, Pooled] = {
    "pairwise_rmsd_pearson": _pairwise_rmsd_pearson,
    "rmsf_A": _median_of_atoms("rmsf_A"),
    "reference_rmsf_A": _median_of_atoms("reference_rmsf_A"),
    "rmsf_pearson/global": _global_rmsf_pearson,
    "pc_success_percent": _pc_success,
}
"""Numbers of AlphaFlow's table that are of all proteins together."""
