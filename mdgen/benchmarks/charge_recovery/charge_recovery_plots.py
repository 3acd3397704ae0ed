"""The drawing of a charge recovery: loss, charges and their errors against the iteration."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

_COLOURS = {"O": "#e2572b", "Cl": "#3f7cac"}


def draw_charge_recovery(result: dict[str, Any]) -> Figure:
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
