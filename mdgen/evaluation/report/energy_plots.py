"""Plots of the energies of a force field, term by term."""

from mdgen.evaluation.report.canvas import Plot, compared, draw_line, file_name, legend_above, new_figure, to_svg
from mdgen.evaluation.result import Evaluation


def energy_plots(result: Evaluation) -> list[Plot]:
    """A histogram of each term that a potential gave."""
    drawn = []
    for key, axis in result.curves.items():
        if not key.startswith("energy_axis/"):
            continue
        term = key.removeprefix("energy_axis/")
        figure, axes = new_figure()
        for row in compared(result):
            draw_line(axes, result, row, axis, result.curves[f"energy_density/{row}/{term}"])
        name = term.replace("_", " ")
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set(xlabel=f"energy, {name} (kJ/mol)", ylabel="density")
        legend_above(figure, axes)
        drawn.append(
            Plot(f"energy_{file_name(term)}", "Energies", f"Energy by the force field: {name}.", to_svg(figure))
        )
    return drawn
