"""Drawing of the suite of trajectory tokens."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"small": "#5a9367", "base": "#e2572b", "large": "#3f7cac"}
"""Colour of each network."""

MIXERS = {"attention": ("attention", "#16181d"), "oscillators": ("linear-cost mixer", "#8e6bb0")}
"""Label and colour of each mixer along time."""

AGAINST = {"residues": "tokens", "frames": "frames", "batch": "batch"}
"""Names in a result of what costs are taken against."""


def costs(result: dict[str, Any]) -> Figure:
    """Seconds of an evaluation against its sizes and mixers, and seconds of 10 ns beside the engine's."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    sweep, mixers, blocks = figure.subplots(1, 3)
    rows = result["rows"]
    _draw_sweep(sweep, rows)
    _draw_mixers(mixers, rows)
    _draw_blocks(blocks, rows)
    cores = "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"
    figure.suptitle(f"Trajectory tokens, {cores} of {result['processor']}, networks on {result['device']}")
    return figure


def _draw_sweep(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for (against, column), mark in zip(AGAINST.items(), "osv", strict=True):
        mine = [row for row in rows if row.get("cost_against") == against and row["number_format"] == "float32"]
        tokens = [row["batch"] * row["frames"] * row["tokens"] for row in mine]
        label = f"{column}: " + ", ".join(str(row[column]) for row in mine)
        axes.plot(tokens, [row["seconds"] for row in mine], marker=mark, ms=5, lw=1.2, label=label)
    names = sorted({row["network"] for row in rows if "cost_against" in row})
    _finish(axes, f"One evaluation of network {', '.join(names)}", "tokens in all frames and rows", "seconds")


def _draw_mixers(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for mixer, (label, colour) in MIXERS.items():
        mine = [row for row in rows if row["kind"] == "mixer" and row["mixer"] == mixer]
        seconds = [row["seconds"] for row in mine]
        axes.plot([row["frames"] for row in mine], seconds, color=colour, marker="o", ms=5, lw=1.2, label=label)
    _finish(axes, "One block along time, one token", "frames", "seconds")


def _draw_blocks(axes: Axes, rows: list[dict[str, Any]]) -> None:
    engines = {row["molecule"]: row for row in rows if row["kind"] == "engine"}
    names = list(engines)
    for place, engine in enumerate(engines.values()):
        label = "" if place else f"engine, {engine['replicas']} replicas"
        axes.hlines(engine["seconds_of_10_ns"], place - 0.4, place + 0.4, color="#16181d", lw=2, label=label)
    networks = list(dict.fromkeys(row["network"] for row in rows if row["kind"] == "block"))
    for number, network in enumerate(networks):
        shift = 0.22 * (number - 0.5 * (len(networks) - 1))
        mine = [row for row in rows if row["kind"] == "block" and row["network"] == network]
        places = [names.index(row["molecule"]) + shift for row in mine]
        axes.scatter(places, [row["seconds_of_10_ns"] for row in mine], s=24, color=COLOURS[network], label=network)
        for x, row in zip(places, mine, strict=True):
            words = f"{row['spacing_ps']:g} ps, {row['engine_over_generated']:.3g}×"
            axes.annotate(words, (x, row["seconds_of_10_ns"]), (4, 3), textcoords="offset points", fontsize=7)
    _finish(axes, "10 ns, generated and decoded", "", "seconds")
    axes.set_xscale("linear")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title)
    axes.legend(fontsize=8)
