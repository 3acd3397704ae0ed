"""Plots of the structure of frames."""

from mdgen.evaluation.report.canvas import (
    Plot,
    compared,
    draw_line,
    legend_above,
    new_figure,
    to_svg,
)
from mdgen.evaluation.result import Evaluation


def structure_plots(result: Evaluation) -> list[Plot]:
    """Deviations of bonds and angles, the closest contact, and the size."""
    labels = {
        "bond_rms_nm": "bonds: RMS deviation from ideal (nm)",
        "angle_rms_deg": "angles: RMS deviation from ideal (degrees)",
        "closest_nm": "closest non-bonded heavy pair (nm)",
        "radius_of_gyration_nm": "radius of gyration (nm)",
    }
    drawn = []
    for check, label in labels.items():
        if f"{check}_axis" not in result.curves:
            continue
        figure, axes = new_figure()
        for row in compared(result):
            draw_line(axes, result, row, result.curves[f"{check}_axis"], result.curves[f"{check}_density/{row}"])
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set(xlabel=label, ylabel="density")
        legend_above(figure, axes)
        drawn.append(Plot(check.rsplit("_", 1)[0], "Structure", f"{label[0].upper()}{label[1:]}.", to_svg(figure)))
    return drawn
