"""Drawing: every plot of a report, from the curves of a result; nothing is measured or saved here."""

import matplotlib

from mdgen.evaluation.report import distribution_plots, kinetic_plots, loss_plots
from mdgen.evaluation.report.canvas import STYLE, Plot
from mdgen.evaluation.result import Evaluation

DRAWERS = (
    distribution_plots.distance_plots,
    distribution_plots.torsion_plots,
    distribution_plots.landscapes,
    distribution_plots.free_energy_plots,
    kinetic_plots.timescale_plots,
    kinetic_plots.state_plots,
    kinetic_plots.correlation_plots,
    kinetic_plots.subframe_plots,
    kinetic_plots.path_plots,
    distribution_plots.structure_plots,
    distribution_plots.energy_plots,
    loss_plots.loss_plots,
)
"""Each gives the plots that the curves of a result allow."""


def plots(result: Evaluation) -> list[Plot]:
    """Every plot that the curves of the result allow, in the order of the report."""
    with matplotlib.rc_context(STYLE):
        return [plot for drawer in DRAWERS for plot in drawer(result)]
