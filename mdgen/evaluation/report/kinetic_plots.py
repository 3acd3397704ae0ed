"""Plots of kinetics: timescales, states, autocorrelations, motion between key frames, and transition paths."""

import numpy as np
from matplotlib.ticker import MultipleLocator

from mdgen.evaluation.report.canvas import (
    COLOURS,
    GUIDE,
    Plot,
    compared,
    draw_line,
    drawn_torsions,
    file_name,
    legend_above,
    new_figure,
    tica_map,
    to_svg,
)
from mdgen.evaluation.result import Evaluation
from mdgen.evaluation.statistics.autocorrelation import dynamical_content


def timescale_plots(result: Evaluation) -> list[Plot]:
    """Implied timescales against the lag."""
    if "timescales_axis" not in result.curves:
        return []
    figure, axes = new_figure(6.0, 3.8)
    lags, marker = result.curves["timescales_axis"], ("o", "s", "^", "v", "D")
    for row in [*compared(result), "shuffled"]:
        for mode, values in enumerate(result.curves[f"timescales_ps/{row}"].T):
            shown = np.where(values > 0, values, np.nan)
            axes.plot(
                lags, shown, marker=marker[mode % 5], ms=4, lw=1.4, color=COLOURS[row],
                ls="--" if row == "shuffled" else "-", label=result.rows[row].label if mode == 0 else None,
            )  # fmt: skip
    axes.fill_between(lags, lags, axes.get_ylim()[0], color="#eceef1", lw=0, zorder=0)
    axes.axvline(float(result.settings["lag_ps"]), **GUIDE)
    axes.set(xscale="log", yscale="log", xlabel="lag (ps)", ylabel="implied timescale (ps)")
    axes.set_xlim(lags[0], lags[-1])
    legend_above(figure, axes)
    caption = (
        "Slowest implied timescales against the lag (slowest first: circle, square, triangle). In the grey region a "
        "process is faster than the lag and cannot be seen; the dotted line is the lag of the tables."
    )
    return [Plot("implied_timescales", "Kinetics", caption, to_svg(figure), wide=True)]


def state_plots(result: Evaluation) -> list[Plot]:
    """Populations, fluxes and the Markov test of the lumped states."""
    rows = [row for row in [*compared(result), "shuffled"] if f"populations/{row}" in result.curves]
    if "reference" not in rows or len(result.curves["populations/reference"]) < 2:
        return []
    lag = float(result.settings["lag_ps"])
    figure, axes = new_figure()
    for offset, row in enumerate(rows[:3]):
        shares = result.curves[f"populations/{row}"]
        x = np.arange(len(shares)) + (offset - 1) * 0.26
        axes.bar(x, shares, width=0.24, color=COLOURS[row], label=result.rows[row].label)
    axes.set(yscale="log", xlabel="lumped state", ylabel="population")
    axes.xaxis.set_major_locator(MultipleLocator(1))
    legend_above(figure, axes)
    drawn = [Plot("populations", "Kinetics", "Populations of the lumped (PCCA) states.", to_svg(figure))]
    figure, axes = new_figure()
    pairs = np.triu_indices(len(result.curves["populations/reference"]), 1)
    reference = result.curves["flux_per_ns/reference"][pairs]
    for row in rows[1:]:
        axes.plot(
            reference, result.curves[f"flux_per_ns/{row}"][pairs], "o", ms=5, color=COLOURS[row], alpha=0.85,
            label=result.rows[row].label,
        )  # fmt: skip
    low, high = reference[reference > 0].min(initial=1e9) / 3, reference.max(initial=0) * 3
    axes.plot([low, high], [low, high], **GUIDE)
    axes.set(xscale="log", yscale="log", xlabel="flux in MD (1/ns)", ylabel="flux (1/ns)")
    legend_above(figure, axes)
    drawn.append(
        Plot(
            "flux",
            "Kinetics",
            "Stationary flux between each pair of lumped states; equal on the dotted line.",
            to_svg(figure),
        )
    )
    figure, axes = new_figure()
    for row in [row for row in rows if row != "replicate" and row != "shuffled"]:
        predicted, counted = result.curves[f"markov_test/{row}"]
        steps = lag * (1 + np.arange(len(predicted)))
        for state in range(min(4, predicted.shape[1])):
            axes.plot(steps, predicted[:, state], "-", lw=1.3, color=COLOURS[row])
            axes.plot(steps, counted[:, state], "o", ms=4, color=COLOURS[row], mfc="white")
        axes.plot([], [], "-o", ms=4, mfc="white", color=COLOURS[row], label=result.rows[row].label)
    axes.set(xlabel="time (ps)", ylabel="probability of the same state", ylim=(0, 1.02))
    legend_above(figure, axes)
    caption = "Chapman-Kolmogorov test of the most populated states: lines are predicted, circles counted."
    drawn.append(Plot("markov_test", "Kinetics", caption, to_svg(figure)))
    return drawn


def correlation_plots(result: Evaluation) -> list[Plot]:
    """The autocorrelation of each torsion but methyl rotors."""
    if "autocorrelation_axis" not in result.curves:
        return []
    drawn, lags = [], result.curves["autocorrelation_axis"]
    for index in drawn_torsions(result):
        name = result.curves["torsion_names"][index]
        if str(name).startswith("methyl"):
            continue
        figure, axes = new_figure()
        for row in [*compared(result), "shuffled"]:
            draw_line(axes, result, row, lags, result.curves[f"autocorrelation/{row}"][index])
        axes.axhline(np.exp(-1), **GUIDE)
        axes.set(xscale="log", xlabel="lag (ps)", ylabel=f"autocorrelation, {name}", ylim=(-0.15, 1.02))
        legend_above(figure, axes)
        caption = f"Autocorrelation of {name} above its baseline; the dotted line is 1/e."
        drawn.append(Plot(f"autocorrelation_{file_name(str(name))}", "Kinetics", caption, to_svg(figure)))
    return drawn


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


def path_plots(result: Evaluation) -> list[Plot]:
    """A transition of each row, drawn over the free energy of the reference."""
    drawn = []
    for row in compared(result):
        if f"path/{row}" not in result.curves:
            continue
        figure, axes = tica_map(result, row, energy_of="reference")
        path = result.curves[f"path/{row}"]
        axes.plot(path[:, 0], path[:, 1], "-", lw=1.0, color=COLOURS[row], alpha=0.9)
        axes.plot(*path[0], "o", ms=7, color=COLOURS[row], mec="white")
        axes.plot(*path[-1], "s", ms=7, color=COLOURS[row], mec="white")
        caption = (
            "The first transition between the two lumped states of lowest flux, from circle to square, over the free "
            f"energy of MD: {result.rows[row].label}, {len(path) - 1} frames."
        )
        drawn.append(Plot(f"path_{row}", "Transition paths", caption, to_svg(figure)))
    return drawn
