"""Drawing: one small figure a plot, from the curves of a result; nothing is measured or saved here."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from mdgen.evaluation.result import Evaluation

COLOURS = {
    "reference": "#16181d",
    "replicate": "#8b909a",
    "generated": "#e2572b",
    "generated_all": "#e2572b",
    "shuffled": "#3f7cac",
    "floor": "#b9bec7",
}
"""MD is black, its replicate grey, what is judged the one accent; shuffled MD is blue and dashed."""

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b606b",
    "axes.labelcolor": "#16181d",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#5b606b",
    "ytick.color": "#5b606b",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "mdgen",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

LANDSCAPE_KT = 8.0
"""Top of the colour scale of free-energy maps."""

MOST_RESIDUES, MOST_TORSIONS = 8, 24
"""Most Ramachandran maps and torsion histograms drawn; the tables hold the rest."""


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Args:
        name: its file's name.
        section: of the report.
        caption: one line below it.
        svg: the drawing.
        wide: whether it takes the whole width.
    """

    name: str
    section: str
    caption: str
    svg: str
    wide: bool = False


def plots(result: Evaluation) -> list[Plot]:
    """Every plot that the curves of the result allow, in the order of the report."""
    with matplotlib.rc_context(STYLE):
        found = [*_distance_plots(result), *_torsion_plots(result), *_landscapes(result)]
        found += [*_free_energy_plots(result), *_timescale_plots(result), *_state_plots(result)]
        found += [*_correlation_plots(result), *_path_plots(result), *_structure_plots(result)]
    return found


def _main(result: Evaluation) -> str:
    return "generated_all" if "generated_all" in result.rows else "generated"


def _compared(result: Evaluation) -> list[str]:
    return ["reference", "replicate", _main(result)]


def _figure(width: float = 4.2, height: float = 3.1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=150)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _angle_axis(axis: matplotlib.axis.Axis) -> None:
    axis.set_major_locator(MultipleLocator(np.pi / 2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{np.degrees(value):.0f}°"))


def _distance_plots(result: Evaluation) -> list[Plot]:
    names = [str(name) for name in result.curves["torsion_names"]][:MOST_TORSIONS]
    if not names:
        return []
    names = ["all", *names]
    figure, axes = _figure(6.0, 1.3 + 0.3 * len(names))
    rows = [name for name in ("floor", "shuffled", "replicate", "generated") if name in result.rows]
    for offset, row in enumerate(rows):
        found = [result.rows[row].metrics[f"torsion_jsd/{name}"] for name in names]
        y = np.arange(len(names)) + (offset - (len(rows) - 1) / 2) * 0.16
        values = np.array([estimate.value for estimate in found])
        low = np.array([e.value if e.low is None else e.low for e in found])
        high = np.array([e.value if e.high is None else e.high for e in found])
        axes.errorbar(
            values, y, xerr=[values - low, high - values], fmt="o", ms=4.5, lw=1.2, color=COLOURS[row],
            label=result.rows[row].label,
        )  # fmt: skip
    axes.set_yticks(np.arange(len(names)), ["mean of all", *names[1:]])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Jensen-Shannon distance from MD (0 to 0.83)")
    axes.grid(axis="y", color="#eceef1", lw=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=4, handletextpad=0.2, columnspacing=1.2)
    caption = "How far each torsion's distribution lies from that of MD, at equal frames; bars are 95 % intervals."
    return [Plot("torsion_distances", "Distributions", caption, _svg(figure), wide=True)]


def _torsion_plots(result: Evaluation) -> list[Plot]:
    drawn = []
    for index, name in enumerate(result.curves["torsion_names"][:MOST_TORSIONS]):
        figure, axes = _figure()
        for row in _compared(result):
            density = result.curves[f"torsion_density/{row}"][index]
            centres = (np.arange(len(density)) + 0.5) * 2 * np.pi / len(density) - np.pi
            _line(axes, result, row, centres, density)
        axes.set_xlim(-np.pi, np.pi)
        axes.set_ylim(bottom=0)
        _angle_axis(axes.xaxis)
        axes.set_xlabel(str(name))
        axes.set_ylabel("density (1/rad)")
        _legend(figure, axes)
        drawn.append(Plot(f"torsion_{_slug(str(name))}", "Distributions", f"Torsion {name}.", _svg(figure)))
    return drawn


def _landscapes(result: Evaluation) -> list[Plot]:
    drawn = []
    residues = [key.split("/", 2)[2] for key in result.curves if key.startswith("ramachandran_kT/reference/")]
    for residue in residues[:MOST_RESIDUES]:
        for row in _compared(result):
            figure, axes = _figure(3.9, 3.3)
            energy = result.curves[f"ramachandran_kT/{row}/{residue}"]
            _map(figure, axes, energy, (-np.pi, np.pi, -np.pi, np.pi))
            for axis in (axes.xaxis, axes.yaxis):
                _angle_axis(axis)
            axes.set(xlabel=f"phi {residue}", ylabel=f"psi {residue}", title=result.rows[row].label)
            caption = f"Free energy of {residue}: {result.rows[row].label}."
            drawn.append(Plot(f"ramachandran_{_slug(residue)}_{row}", "Free energies", caption, _svg(figure)))
    for row in _compared(result):
        if f"tica_kT/{row}" in result.curves:
            figure, axes = _figure(3.9, 3.3)
            (x0, y0), (x1, y1) = result.curves["tica_axis"].tolist()
            _map(figure, axes, result.curves[f"tica_kT/{row}"], (x0, x1, y0, y1))
            axes.set(xlabel="TICA 0", ylabel="TICA 1", title=result.rows[row].label)
            caption = f"Free energy over the two slowest linear coordinates: {result.rows[row].label}."
            drawn.append(Plot(f"tica_{row}", "Free energies", caption, _svg(figure)))
    return drawn


def _map(figure: Figure, axes: Axes, energy: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    shown = np.ma.masked_invalid(np.where(energy > LANDSCAPE_KT, LANDSCAPE_KT, energy))
    shown.mask = ~np.isfinite(energy)
    image = axes.imshow(
        shown.T, origin="lower", extent=extent, cmap="viridis_r", vmin=0, vmax=LANDSCAPE_KT, interpolation="nearest",
        aspect="auto",
    )  # fmt: skip
    figure.colorbar(image, ax=axes, label="F (kT)", shrink=0.92)


def _free_energy_plots(result: Evaluation) -> list[Plot]:
    if "psi_1_axis" not in result.curves:
        return []
    figure, axes = _figure(6.0, 3.4)
    x, top = result.curves["psi_1_axis"], 0.0
    for row in _compared(result):
        energy, (low, high) = result.curves[f"psi_1_kT/{row}"], result.curves[f"psi_1_interval_kT/{row}"]
        axes.fill_between(x, low, np.where(np.isfinite(high), high, 99), color=COLOURS[row], alpha=0.15, lw=0)
        _line(axes, result, row, x, energy)
        top = max(top, float(energy[np.isfinite(energy)].max(initial=0)))
    depth = float(result.settings["free_energy_below_kT"])
    axes.axhline(depth, color="#5b606b", lw=0.8, ls=":")
    axes.set_ylim(-0.5, top + 1.2)
    axes.set(xlabel="slowest coordinate psi_1", ylabel="F (kT)")
    _legend(figure, axes)
    caption = (
        f"Free energy over the slowest coordinate with 95 % bands; compared below the dotted line at {depth:g} kT."
    )
    return [Plot("free_energy_psi_1", "Free energies", caption, _svg(figure), wide=True)]


def _timescale_plots(result: Evaluation) -> list[Plot]:
    if "timescales_axis" not in result.curves:
        return []
    figure, axes = _figure(6.0, 3.8)
    lags, marker = result.curves["timescales_axis"], ("o", "s", "^", "v", "D")
    for row in [*_compared(result), "shuffled"]:
        for mode, values in enumerate(result.curves[f"timescales_ps/{row}"].T):
            shown = np.where(values > 0, values, np.nan)
            axes.plot(
                lags, shown, marker=marker[mode % 5], ms=4, lw=1.4, color=COLOURS[row],
                ls="--" if row == "shuffled" else "-", label=result.rows[row].label if mode == 0 else None,
            )  # fmt: skip
    axes.fill_between(lags, lags, axes.get_ylim()[0], color="#eceef1", lw=0, zorder=0)
    axes.axvline(float(result.settings["lag_ps"]), color="#5b606b", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="lag (ps)", ylabel="implied timescale (ps)")
    axes.set_xlim(lags[0], lags[-1])
    _legend(figure, axes)
    caption = (
        "Slowest implied timescales against the lag (slowest first: circle, square, triangle). In the grey region a "
        "process is faster than the lag and cannot be seen; the dotted line is the lag of the tables."
    )
    return [Plot("implied_timescales", "Kinetics", caption, _svg(figure), wide=True)]


def _correlation_plots(result: Evaluation) -> list[Plot]:
    if "autocorrelation_axis" not in result.curves:
        return []
    drawn, lags = [], result.curves["autocorrelation_axis"]
    for index, name in enumerate(result.curves["torsion_names"][:MOST_TORSIONS]):
        if str(name).startswith("methyl"):
            continue
        figure, axes = _figure()
        for row in [*_compared(result), "shuffled"]:
            _line(axes, result, row, lags, result.curves[f"autocorrelation/{row}"][index])
        axes.axhline(np.exp(-1), color="#5b606b", lw=0.8, ls=":")
        axes.set(xscale="log", xlabel="lag (ps)", ylabel=f"autocorrelation, {name}", ylim=(-0.15, 1.02))
        _legend(figure, axes)
        caption = f"Autocorrelation of {name} above its baseline; the dotted line is 1/e."
        drawn.append(Plot(f"autocorrelation_{_slug(str(name))}", "Kinetics", caption, _svg(figure)))
    return drawn


def _state_plots(result: Evaluation) -> list[Plot]:
    rows = [row for row in [*_compared(result), "shuffled"] if f"populations/{row}" in result.curves]
    if "reference" not in rows or len(result.curves["populations/reference"]) < 2:
        return []
    lag = float(result.settings["lag_ps"])
    figure, axes = _figure()
    for offset, row in enumerate(rows[:3]):
        shares = result.curves[f"populations/{row}"]
        x = np.arange(len(shares)) + (offset - 1) * 0.26
        axes.bar(x, shares, width=0.24, color=COLOURS[row], label=result.rows[row].label)
    axes.set(yscale="log", xlabel="lumped state", ylabel="population")
    axes.xaxis.set_major_locator(MultipleLocator(1))
    _legend(figure, axes)
    drawn = [Plot("populations", "Kinetics", "Populations of the lumped (PCCA) states.", _svg(figure))]
    figure, axes = _figure()
    pairs = np.triu_indices(len(result.curves["populations/reference"]), 1)
    reference = result.curves["flux_per_ns/reference"][pairs]
    for row in rows[1:]:
        axes.plot(
            reference, result.curves[f"flux_per_ns/{row}"][pairs], "o", ms=5, color=COLOURS[row], alpha=0.85,
            label=result.rows[row].label,
        )  # fmt: skip
    low, high = reference[reference > 0].min(initial=1e9) / 3, reference.max(initial=0) * 3
    axes.plot([low, high], [low, high], color="#5b606b", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="flux in MD (1/ns)", ylabel="flux (1/ns)")
    _legend(figure, axes)
    drawn.append(Plot("flux", "Kinetics", "Stationary flux between each pair of lumped states.", _svg(figure)))
    figure, axes = _figure()
    for row in [row for row in rows if row != "replicate" and row != "shuffled"]:
        predicted, counted = result.curves[f"markov_test/{row}"]
        steps = lag * (1 + np.arange(len(predicted)))
        for state in range(min(4, predicted.shape[1])):
            axes.plot(steps, predicted[:, state], "-", lw=1.3, color=COLOURS[row])
            axes.plot(steps, counted[:, state], "o", ms=4, color=COLOURS[row], mfc="white")
        axes.plot([], [], "-o", ms=4, mfc="white", color=COLOURS[row], label=result.rows[row].label)
    axes.set(xlabel="time (ps)", ylabel="probability of the same state", ylim=(0, 1.02))
    _legend(figure, axes)
    caption = "Chapman-Kolmogorov test of the most populated states: lines are predicted, circles counted."
    drawn.append(Plot("markov_test", "Kinetics", caption, _svg(figure)))
    return drawn


def _path_plots(result: Evaluation) -> list[Plot]:
    drawn = []
    for row in _compared(result):
        if f"path/{row}" not in result.curves:
            continue
        figure, axes = _figure(3.9, 3.3)
        (x0, y0), (x1, y1) = result.curves["tica_axis"].tolist()
        _map(figure, axes, result.curves["tica_kT/reference"], (x0, x1, y0, y1))
        path = result.curves[f"path/{row}"]
        axes.plot(path[:, 0], path[:, 1], "-", lw=1.0, color=COLOURS[row], alpha=0.9)
        axes.plot(*path[0], "o", ms=7, color=COLOURS[row], mec="white")
        axes.plot(*path[-1], "s", ms=7, color=COLOURS[row], mec="white")
        axes.set(xlabel="TICA 0", ylabel="TICA 1", title=result.rows[row].label)
        caption = (
            "The first transition between the two lumped states of lowest flux, from circle to square, over the free "
            f"energy of MD: {result.rows[row].label}, {len(path) - 1} frames."
        )
        drawn.append(Plot(f"path_{row}", "Transition paths", caption, _svg(figure)))
    return drawn


def _structure_plots(result: Evaluation) -> list[Plot]:
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
        figure, axes = _figure()
        for row in _compared(result):
            _line(axes, result, row, result.curves[f"{check}_axis"], result.curves[f"{check}_density/{row}"])
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set(xlabel=label, ylabel="density")
        _legend(figure, axes)
        drawn.append(Plot(check.rsplit("_", 1)[0], "Structure", f"{label[0].upper()}{label[1:]}.", _svg(figure)))
    return drawn


def _line(axes: Axes, result: Evaluation, row: str, x: np.ndarray, y: np.ndarray) -> None:
    wide, dashes = 1.9 if row.startswith("generated") else 1.4, "--" if row == "shuffled" else "-"
    axes.plot(x, y, color=COLOURS[row], lw=wide, ls=dashes, label=result.rows[row].label)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(labels), handlelength=1.1, columnspacing=0.9,
        handletextpad=0.4, borderaxespad=0.2, fontsize=8.5 if len(labels) > 3 else 9,
    )  # fmt: skip


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)
