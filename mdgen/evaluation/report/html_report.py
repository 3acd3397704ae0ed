"""The report: one HTML file that needs no network, rendered from a result and its plots by `report.html.j2`."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mdgen import __version__
from mdgen.evaluation.metrics.catalogue import METRICS, label
from mdgen.evaluation.metrics.target import Description
from mdgen.evaluation.report import distribution_plots, kinetic_plots
from mdgen.evaluation.report.animation import player_data
from mdgen.evaluation.report.canvas import STYLE, Plot, cut_note, main_row
from mdgen.evaluation.report.losses import loss_plots
from mdgen.evaluation.report.protocol_tables import protocol_section
from mdgen.evaluation.report.tables import beyond_floor, criterion_cells, latex, markdown, number, ordered, row_cells
from mdgen.evaluation.result import Evaluation, save_metrics
from mdgen.files import write_aside
from mdgen.results import Estimate

SECTIONS = {
    "Distributions": ("torsion_jsd/all", "torsion_jsd/backbone", "torsion_jsd/omega", "torsion_jsd/side_chain",
                      "torsion_jsd/methyl", "torsion_variation/worst", "torsion_pair_jsd/all", "torsion_pair_jsd/worst",
                      "population_error/backbone", "population_error/left_handed", "population_error/side_chain",
                      "tica_jsd/0", "tica_jsd/0,1"),
    "Free energies": ("free_energy_rmse_kT/psi_1", "free_energy_rmse_kT/psi_2", "free_energy_rmse_kT/psi_3",
                      "free_energy_rmse_kT/phi_psi", "outside_share/psi_1",
                      "occupancy_jsd", "ramachandran_outlier_share"),
    "Kinetics": ("timescale_ps/1", "timescale_ps/2", "timescale_ps/3", "mode_timescale_ps/1", "mode_timescale_ps/2",
                 "timescale_log_error/1", "timescale_log_error/2", "decorrelation_log10_error/all",
                 "relaxation_log10_error/all", "autocorrelation_rmse/all", "dynamical_content_rmse/all",
                 "step_log10_error/all", "first_passage_log10_error", "flux_spearman", "transitions_per_ns",
                 "chapman_kolmogorov_rms", "connected_share"),
    "Upsampling": ("subframe_autocorrelation_rmse/all", "subframe_dynamical_content_rmse/all"),
    "Transition paths": ("path_valid_share", "path_jsd", "path_log_probability", "path_log_probability_error"),
    "Structure": ("broken_bond_share", "bond_rms_nm", "bond_w2_nm/all", "bond_w2_nm/worst", "broken_angle_share",
                  "angle_rms_deg", "angle_w2_deg/all", "angle_w2_deg/worst", "planarity_w2_deg/worst",
                  "chirality_error_share", "prochirality_error_share", "clash_share", "closest_nm", "cis_share"),
    "Shape": ("radius_of_gyration_nm", "radius_of_gyration_sd_nm", "radius_of_gyration_w1", "pair_distance_w1_nm/all",
              "contact_error/all", "pca_w2_nm", "coupling_error/all", "concert_error/worst",
              "pair_step_log10_error", "nearest_frame_nm"),
    "Energies": ("energy_kJ_mol/", "energy_jsd/"),
    "Training": (),
}  # fmt: skip
"""Metrics in the table of each section; one that ends in `/` stands for all that begin so."""

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
    loss_plots,
)
"""Each gives the plots that the curves of a result allow."""


class Line(NamedTuple):
    """A line of a table: its first cell, the others with their class (None where empty), whether it is accentuated."""

    label: str
    cells: list[tuple[Estimate | str | None, str]]
    accent: bool = False


class Table(NamedTuple):
    """A table of estimates: its headings but the first, which is empty, and its lines."""

    head: list[str]
    lines: list[Line]


class Section(NamedTuple):
    """A section of the report.

    Args:
        name: heading.
        table: table, or None where no row has any of its metrics.
        described: metrics that stand here first.
        note: sentence on what is not drawn.
        plots: drawings.
    """

    name: str
    table: Table | None
    described: list[Description]
    note: str
    plots: list[Plot]


class CriterionLine(NamedTuple):
    """A line of the table of criteria."""

    name: str
    question: str
    verdict: str
    cells: tuple[str, ...]


def write_report(result: Evaluation, folder: Path | str, origin: Mapping[str, str] | None = None) -> Path:
    """Write `report.html`, `metrics.json`, `table.md`, `table.tex` and `plots/*.svg`; gives the path of the report.

    Args:
        result: evaluation to show.
        folder: folder to write into, made if need be.
        origin: what the page names on top, such as the files behind "reference" and "generated" and the "command".
    """
    folder = Path(folder)
    drawn = plots(result)
    for plot in drawn:
        write_aside(folder / "plots" / f"{plot.name}.svg", plot.svg.encode())
    write_aside(folder / "table.md", markdown(result).encode())
    write_aside(folder / "table.tex", latex(result).encode())
    write_aside(folder / "report.html", report(result, drawn, origin).encode())
    save_metrics(result, folder / "metrics.json")  # last: where it exists, the rest is complete
    return folder / "report.html"


def plots(result: Evaluation) -> list[Plot]:
    """Every plot that the curves of the result allow, in the order of the report."""
    with matplotlib.rc_context(STYLE):
        return [plot for drawer in DRAWERS for plot in drawer(result)]


def report(result: Evaluation, drawn: list[Plot], origin: Mapping[str, str] | None = None) -> str:
    """The whole page; see `write_report`."""
    room = files("mdgen.evaluation.report")
    environment = Environment(
        loader=FileSystemLoader(str(room)), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"number": number, "time": _time, "grouped": "{:,}".format}
    every = list(dict.fromkeys(metric for row in result.rows.values() for metric in row.metrics))
    across = zip(*(row_cells(result, row, every) for row in result.rows), strict=True)
    everything = [Line(label(m), [(cell, "") for cell in cells]) for m, cells in zip(every, across, strict=True)]
    criteria = [
        CriterionLine(
            label(line.metric), line.meaning if line.verdict == "fails" else "", line.verdict, criterion_cells(line)
        )
        for line in ordered(result.criteria)
    ]
    unexplained = dict(METRICS)
    first = _explained([line.metric for line in result.criteria], unexplained)
    sections = _sections(result, drawn, every, unexplained)
    return environment.get_template("report.html.j2").render(
        title=f"{result.molecule['residues']}: generated against molecular dynamics",
        style=room.joinpath("report.css").read_text(encoding="utf-8"),
        script=room.joinpath("player.js").read_text(encoding="utf-8"),
        origin={**(origin or {}), "version": f"mdgen {__version__}"},
        result=result,
        main=result.rows[main_row(result)],
        dynamics=[result.rows[row] for row in ("reference", "replicate") if row in result.rows],
        animation=player_data(result),
        criteria=criteria,
        protocol=protocol_section(result.protocol),
        described_first=first,
        sections=sections,
        described_last=_explained(every, unexplained),
        every_metric=Table([row.label for row in result.rows.values()], everything),
    )


def _explained(metrics: list[str], unexplained: dict[str, Description]) -> list[Description]:
    """Descriptions of the metrics that are not explained yet; they are from now on."""
    kinds = dict.fromkeys(metric.partition("/")[0] for metric in metrics)
    return [unexplained.pop(kind) for kind in kinds if kind in unexplained]


def _sections(
    result: Evaluation, drawn: list[Plot], every: list[str], unexplained: dict[str, Description]
) -> list[Section]:
    """The sections that have a table or a plot."""
    sections = []
    for name, metrics in SECTIONS.items():
        named = [m for metric in metrics for m in every if m == metric or (metric[-1] == "/" and m.startswith(metric))]
        table, plots = _table(result, named), [plot for plot in drawn if plot.section == name]
        if table or plots:
            sections.append(Section(name, table, _explained(named, unexplained), cut_note(result, name), plots))
    return sections


def _table(result: Evaluation, metrics: list[str]) -> Table | None:
    """Rows down, metrics across."""
    lines = []
    for key, row in result.rows.items():
        cells = row_cells(result, key, metrics)
        if any(cell is not None for cell in cells):
            marks = [beyond_floor(result, key, metric) for metric in metrics]
            lines.append(Line(row.label, list(zip(cells, marks, strict=True)), accent=key.startswith("generated")))
    return Table([label(metric) for metric in metrics], lines) if lines else None


def _time(length_ns: float) -> str:
    return f"{length_ns / 1000:.3g} us" if length_ns >= 1000 else f"{length_ns:.3g} ns"
