"""Plots of the motion between key frames, for upsampled trajectories."""

import numpy as np

from mdgen.evaluation.report.canvas import Plot, draw_line, legend_above, new_figure, to_svg
from mdgen.evaluation.result import Evaluation
from mdgen.evaluation.statistics.autocorrelation import dynamical_content


def subframe_plots(result: Evaluation) -> list[Plot]:
    """Autocorrelation and dynamical content at lags below the spacing of the key frames, means over torsions."""
    if "subframe_axis" not in result.curves:
        return []
    lags = result.curves["subframe_axis"]
    rows = [row for row in ("reference", "replicate", "shuffled", "generated") if f"subframe/{row}" in result.curves]
    drawn = []
    for name, what, of in (
        ("subframe_autocorrelation", "autocorrelation", lambda curve: curve),
        ("subframe_dynamical_content", "dynamical content", lambda curve: dynamical_content(curve, lags)),
    ):
        figure, axes = new_figure()
        for row in rows:
            draw_line(axes, result, row, lags, np.asarray(of(result.curves[f"subframe/{row}"])))
        axes.set(xscale="log", xlabel="lag (ps)", ylabel=f"mean {what}")
        legend_above(figure, axes)
        caption = f"{what.capitalize()} at lags below the spacing of the key frames, the mean over torsions."
        drawn.append(Plot(name, "Upsampling", caption, to_svg(figure)))
    return drawn
