"""The report: one HTML file that needs no network, from a result and its plots; nothing is measured or drawn here."""

from html import escape
from importlib.resources import files
from pathlib import Path

from mdgen.evaluation.names import METRICS, label, says_something
from mdgen.evaluation.report.canvas import Plot
from mdgen.evaluation.report.player import player
from mdgen.evaluation.report.plots import plots
from mdgen.evaluation.report.tables import latex, markdown, number
from mdgen.evaluation.result import Evaluation, save_metrics
from mdgen.files import write_aside
from mdgen.results import Acceptance, Estimate

SECTIONS = {
    "Distributions": ("torsion_jsd/all", "torsion_jsd/backbone", "torsion_jsd/omega", "torsion_jsd/side_chain",
                      "torsion_jsd/methyl", "torsion_pair_jsd/all", "tica_jsd/0", "tica_jsd/0,1"),
    "Free energies": ("free_energy_rmse_kT/psi_1", "free_energy_rmse_kT/phi_psi", "outside_share/psi_1",
                      "occupancy_jsd", "ramachandran_outlier_share"),
    "Kinetics": ("timescale_ps/1", "timescale_ps/2", "timescale_ps/3", "decorrelation_log10_error/all",
                 "autocorrelation_rmse/all", "dynamical_content_rmse/all", "step_log10_error/all",
                 "first_passage_log10_error", "flux_spearman", "transitions_per_ns", "chapman_kolmogorov_rms",
                 "connected_share"),
    "Upsampling": ("subframe_autocorrelation_rmse/all", "subframe_dynamical_content_rmse/all"),
    "Transition paths": ("path_valid_share", "path_occupancy_jsd", "path_log_probability"),
    "Structure": ("broken_bond_share", "bond_rms_nm", "broken_angle_share", "angle_rms_deg", "chirality_error_share",
                  "clash_share", "closest_nm", "cis_share", "radius_of_gyration_nm", "radius_of_gyration_sd_nm"),
    "Energies": ("energy_kJ_mol/", "energy_jsd/"),
    "Training": (),
}  # fmt: skip
"""Metrics in the table of each section; one that ends in `/` stands for all that begin so."""


def write_report(result: Evaluation, folder: Path | str) -> Path:
    """Write `report.html`, `metrics.json`, `table.md`, `table.tex` and `plots/*.svg`; gives the path of the report."""
    folder = Path(folder)
    drawn = plots(result)
    for plot in drawn:
        write_aside(folder / "plots" / f"{plot.name}.svg", plot.svg.encode())
    write_aside(folder / "table.md", markdown(result).encode())
    write_aside(folder / "table.tex", latex(result).encode())
    write_aside(folder / "report.html", report(result, drawn).encode())
    save_metrics(result, folder / "metrics.json")  # last: where it is, the rest is whole
    return folder / "report.html"


def report(result: Evaluation, drawn: list[Plot]) -> str:
    """The whole page."""
    style = files("mdgen.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    title = f"{result.molecule['residues']}: generated against molecular dynamics"
    body = [_header(result, title), _acceptance(result.acceptance), player(result)]
    body += [_section(name, metrics, result, drawn) for name, metrics in SECTIONS.items()]
    body += [_rows(result), _details(result)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _header(result: Evaluation, title: str) -> str:
    rows = result.rows
    main = rows.get("generated_all", rows["generated"])
    failed = [line for line in result.acceptance if not line.holds]
    verdict = (
        f'<span class="verdict fails">{len(failed)} of {len(result.acceptance)} bounds missed</span>'
        if failed
        else f'<span class="verdict">all {len(result.acceptance)} bounds hold</span>'
    )
    return (
        f'<h1>{escape(title)}</h1><p class="soft">{result.molecule["atoms"]} atoms; '
        f"{main.frames:,} generated frames ({_time(main.length_ns)}) against {rows['reference'].frames:,} frames of MD "
        f"({_time(rows['reference'].length_ns)}), one every {result.settings['frame_spacing_ps']:g} ps.</p>{verdict}"
    )


def _acceptance(lines: tuple[Acceptance, ...]) -> str:
    cells = []
    for line in lines:
        mark = '<span class="holds">holds</span>' if line.holds else '<span class="fails-text">missed</span>'
        value = _value(Estimate(float("nan") if line.value is None else line.value, line.low, line.high))
        cells.append(f"<tr><td>{escape(line.name.replace('_', ' '))}</td><td>{value}</td>"
                     f'<td>{mark}</td><td class="words">{escape(line.bound)}</td></tr>')  # fmt: skip
    head = "<tr><th>bound</th><th>value</th><th></th><th class=words>must be</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(cells)}</tbody></table>"
    return f'<h2>Bounds</h2><div class="card scroll">{table}</div>'


def _section(name: str, metrics: tuple[str, ...], result: Evaluation, drawn: list[Plot]) -> str:
    every = dict.fromkeys(m for row in result.rows.values() for m in row.metrics)
    named = [m for metric in metrics for m in every if m == metric or (metric.endswith("/") and m.startswith(metric))]
    table = _table(result, named)
    figures = "".join(
        f'<figure class="card{" wide" if plot.wide else ""}">{plot.svg}<figcaption>{escape(plot.caption)}</figcaption>'
        "</figure>"
        for plot in drawn
        if plot.section == name
    )
    if not table and not figures:
        return ""
    return f'<h2>{name}</h2>{table}<div class="grid" style="margin-top:14px">{figures}</div>'


def _table(result: Evaluation, metrics: list[str]) -> str:
    """Rows down, metrics across."""
    lines = []
    for key, row in result.rows.items():
        told = [says_something(key, metric) and metric in row.metrics for metric in metrics]
        if any(told):
            cells = "".join(
                f"<td>{_value(row.metrics[metric]) if tell else ''}</td>"
                for metric, tell in zip(metrics, told, strict=True)
            )
            mark = ' class="generated"' if key.startswith("generated") else ""
            lines.append(f"<tr><td{mark}>{escape(row.label)}</td>{cells}</tr>")
    if not lines:
        return ""
    head = "".join(f"<th>{escape(label(metric))}</th>" for metric in metrics)
    return (
        f'<div class="card scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _transposed(result: Evaluation, metrics: list[str]) -> str:
    """Metrics down, rows across: for more metrics than a screen is wide."""
    head = "".join(f"<th>{escape(row.label)}</th>" for row in result.rows.values())
    lines = "".join(
        f"<tr><td>{escape(label(metric))}</td>"
        + "".join(f"<td>{_value(row.metrics.get(metric))}</td>" for row in result.rows.values())
        + "</tr>"
        for metric in metrics
    )
    return (
        f'<div class="card scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _rows(result: Evaluation) -> str:
    lines = "".join(
        f"<dt>{escape(row.label)}</dt><dd>{escape(row.meaning)}: {row.frames:,} frames"
        f"{f', {_time(row.length_ns)}' if row.length_ns else ''}</dd>"
        for row in result.rows.values()
    )
    return f'<h2>Rows</h2><div class="card"><dl>{lines}</dl></div>'


def _details(result: Evaluation) -> str:
    kinds = {name.partition("/")[0] for row in result.rows.values() for name in row.metrics}
    meanings = "".join(
        f"<dt>{escape(short)}</dt><dd>{escape(meaning.replace('`', ''))}</dd>"
        for key, (short, meaning) in METRICS.items()
        if key in kinds
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in result.notes)
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items() if key != "bounds")
    every = list(dict.fromkeys(m for row in result.rows.values() for m in row.metrics))
    return (
        f'<h2>How it was measured</h2><div class="card">{notes}'
        "<p>Intervals hold 95 %, from a bootstrap over trajectories, or over five blocks of a single one.</p>"
        f'<dl>{meanings}</dl><p class="soft" style="margin-top:12px">{escape(settings)}</p></div>'
        f"<details><summary>Every metric</summary>{_transposed(result, every)}</details>"
    )


def _value(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.value != estimate.value:
        return "not known"
    interval = (
        "" if estimate.low is None or estimate.high is None else f"{number(estimate.low)} to {number(estimate.high)}"
    )
    return f"{number(estimate.value)}<small>{interval}</small>"


def _time(length_ns: float) -> str:
    return f"{length_ns / 1000:.3g} us" if length_ns >= 1000 else f"{length_ns:.3g} ns"
