"""The rounds of `mdgen adapt`: whether their timescales have settled, and a drawing of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

AGREEING = 3
"""Rounds whose timescales have to agree."""


def has_settled(rounds: Sequence[dict[str, Any]], config: dict[str, Any]) -> bool:
    """Whether the slowest timescales are known to within the tolerance.

    Those of the last three rounds differ by no more, and each one's interval reaches no further. Nothing is said of
    states that no run has visited.
    """
    if len(rounds) < AGREEING:
        return False
    last = [[each[key] for each in rounds[-AGREEING:]] for key in ("timescales_ps", "low_ps", "high_ps")]
    values, low, high = (np.array(each, dtype=float) for each in last)  # None becomes NaN
    reach = np.log1p(config["tolerance"])
    with np.errstate(invalid="ignore", divide="ignore"):
        changes = np.log(values.max(0) / values.min(0))
        widths = np.maximum(np.log(high[-1] / values[-1]), np.log(values[-1] / low[-1]))
    return bool((changes <= reach).all() and (widths <= reach).all())


def draw_timescales(rounds: Sequence[dict[str, Any]], config: dict[str, Any]) -> Figure:
    """Timescales with their intervals against the simulated time."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    total = np.array([each["total_ns"] for each in rounds])
    values, low, high = (
        np.array([each[key] for each in rounds], dtype=float) for key in ("timescales_ps", "low_ps", "high_ps")
    )
    for mode in range(values.shape[1]):
        axes.fill_between(total, low[:, mode], high[:, mode], color=f"C{mode}", alpha=0.2, lw=0)
        axes.plot(total, values[:, mode], color=f"C{mode}", marker="o", ms=4, lw=1.3, label=f"process {mode + 1}")
    axes.axhline(config["lag_ps"], color="0.6", lw=1, ls="--", label="lag")
    axes.set(yscale="log", xlabel="simulated time in all (ns)", ylabel="implied timescale (ps)")
    axes.legend(fontsize=8, frameon=False)
    return figure
