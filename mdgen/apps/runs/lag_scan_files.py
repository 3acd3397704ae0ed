"""A lag scan in a run's folder: `lag_scan.json` and a drawing of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mdgen.files import write_aside


def write_lag_scan(folder: Path, scan: dict[str, Any]) -> None:
    """Write both files.

    Args:
        folder: run folder.
        scan: `LagScan.to_json`.

    Raises:
        MdgenError: if they cannot be written.
    """
    from mdgen.evaluation.report.canvas import write_png  # with all metrics, for which no other training need wait

    write_aside(folder / "lag_scan.json", json.dumps(scan, indent=1).encode())
    write_png(folder / "lag_scan.png", lambda: draw_lag_scan(scan))


def draw_lag_scan(scan: dict[str, Any]) -> Figure:
    """Implied timescales against the lag with their intervals, and the recommended lag."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    lags = np.array(scan["lags_ps"])
    values, low, high = (np.array(scan[key], dtype=float) for key in ("timescales_ps", "low_ps", "high_ps"))
    for mode in range(values.shape[1]):
        within = mode < scan["n_modes"]
        colour = f"C{mode}" if within else "0.7"
        axes.fill_between(lags, low[:, mode], high[:, mode], color=colour, alpha=0.2, lw=0)
        axes.plot(lags, values[:, mode], color=colour, marker="o", ms=4, lw=1.3, label=f"mode {mode + 1}")
    axes.fill_between(lags, 0, lags, color="0.9", lw=0, zorder=0, label="shorter than the lag")
    axes.axvline(scan["lag_ps"], color="0.2", lw=1, ls="--", label=f"recommended: {scan['lag_ps']:g} ps")
    axes.set(xscale="log", yscale="log", xlabel="lag (ps)", ylabel="implied timescale (ps)", xlim=(lags[0], lags[-1]))
    finite = low[np.isfinite(low) & (low > 0)]
    if len(finite):
        axes.set_ylim(bottom=0.5 * finite.min())
    axes.legend(fontsize=8, frameon=False)
    return figure
