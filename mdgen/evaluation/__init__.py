"""Evaluation of trajectories: distributions, free energies, kinetics and structure, beside baselines and noise floors.

`metrics.md` beside this file explains `metrics.json`: its keys, its rows and every metric.
"""

from mdgen.evaluation.batch_evaluation import (
    Aggregate,
    BatchEvaluation,
    aggregate,
    aggregate_table,
    evaluate_batch,
    save_aggregate,
)
from mdgen.evaluation.compare import Difference, compare, comparison_table, unlike
from mdgen.evaluation.evaluate import evaluate
from mdgen.evaluation.report.html_report import write_report
from mdgen.evaluation.report.tables import verdict_table
from mdgen.evaluation.result import Evaluation, RowResult, SavedMetrics, read_metrics
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.verdict import Judgement

__all__ = [
    "Aggregate",
    "BatchEvaluation",
    "Difference",
    "Evaluation",
    "Judgement",
    "RowResult",
    "SavedMetrics",
    "Settings",
    "aggregate",
    "aggregate_table",
    "compare",
    "comparison_table",
    "evaluate",
    "evaluate_batch",
    "read_metrics",
    "save_aggregate",
    "unlike",
    "verdict_table",
    "write_report",
]
