"""Charge recovery as a suite of `mdgen benchmark`: what goes into its result, and its drawing."""

import io
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mdgen.benchmarks.charge_recovery import ChargeRecoverySettings, run_charge_recovery
from mdgen.evaluation.report.canvas import STYLE
from mdgen.files import write_aside
from mdgen.results import Acceptance

_KEPT_POINTS = 200
"""About how many iterations of the course go into the result."""

_COLOURS = {"O": "#e2572b", "Cl": "#3f7cac"}


def run(settings: ChargeRecoverySettings, side_file: Path) -> tuple[dict[str, Any], list[Acceptance]]:
    """Figures, with the course of the fit thinned out, and the rows that must hold.

    Args:
        settings: size of the experiment.
        side_file: names a folder to resume from, which is removed in the end.
    """
    folder = side_file.with_suffix("")
    metrics, rows, history = run_charge_recovery(settings, folder)
    shutil.rmtree(folder, ignore_errors=True)
    step = max(1, settings.n_iterations // _KEPT_POINTS)
    course = {
        "iteration": list(range(0, settings.n_iterations, step)),
        "loss_nm2": history.loss_nm2[::step],
        "charge_O": history.charges[:-1:step, 0],
        "charge_Cl": history.charges[:-1:step, 1],
    }
    return {**metrics, "course": course}, rows


def write_charge_recovery_plot(result: dict[str, Any], output: Path) -> list[Path]:
    """Draw a result beside its JSON file; returns the drawing's path."""
    path, content = output.with_suffix(".png"), io.BytesIO()
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        draw(result).savefig(content, dpi=160, facecolor="white", format="png")
    write_aside(path, content.getvalue())
    return [path]


def draw(result: dict[str, Any]) -> Figure:
    """Loss, charges and their relative errors against the iteration."""
    course, figure = result["course"], Figure(figsize=(9.6, 3.4), layout="constrained")
    of_loss, of_charges, of_errors = figure.subplots(1, 3)
    of_loss.semilogy(course["iteration"], course["loss_nm2"], color="#16181d", lw=1.2)
    of_loss.set_title("Loss (nm²)")
    for name, colour in _COLOURS.items():
        charge, true = np.asarray(course[f"charge_{name}"]), result["true_charges"][name]
        of_charges.plot(course["iteration"], charge, color=colour, lw=1.6, label=name)
        of_charges.axhline(true, color=colour, lw=0.9, ls=":")
        error = np.abs(charge / true - 1)
        of_errors.semilogy(course["iteration"], np.maximum(error, 1e-16), color=colour, lw=1.4, label=name)
    of_charges.set_title("Charge (e); dotted: true")
    of_charges.legend()
    of_errors.axhline(result["largest_error"], color="#8b909a", lw=0.9, ls="--", label="bound")
    of_errors.set_title("Relative error of the charge")
    of_errors.legend()
    for axes in (of_loss, of_charges, of_errors):
        axes.set_xlabel("iteration")
    return figure
