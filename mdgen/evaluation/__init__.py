"""Judging trajectories: distributions, free energies, kinetics and structure, with rows that show the judge's noise."""

from mdgen.evaluation.evaluate import evaluate
from mdgen.evaluation.report import write_report
from mdgen.evaluation.result import Evaluation, RowResult
from mdgen.evaluation.settings import Bounds, Settings

__all__ = ["Bounds", "Evaluation", "RowResult", "Settings", "evaluate", "write_report"]
