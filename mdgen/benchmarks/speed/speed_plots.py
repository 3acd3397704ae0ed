"""Drawings of the speed suite: cost of a step against atoms, and against replicas."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from mdgen.evaluation.report.canvas import write_png

LOOKS = {
    "mdgen_kernel": ("mdgen, compiled kernel", "#e2572b", "o"),
    "mdgen_torch": ("mdgen, torch", "#8e6bb0", "s"),
    "openmm_reference": ("OpenMM Reference", "#16181d", "^"),
    "openmm_cpu": ("OpenMM CPU", "#3f7cac", "v"),
    "torchmd": ("TorchMD", "#5a9367", "P"),
}
"""Label, colour and marker of every engine."""

SHORT = {
    "alanine_dipeptide_obc2": "alanine dipeptide\nOBC2",
    "alanine_dipeptide_ff19sb": "alanine dipeptide\nff19SB",
    "alanine_dipeptide_charmm36": "alanine dipeptide\nCHARMM36",
    "ipgd_obc2": "IPGD\nOBC2",
    "ipgd_gbn2": "IPGD\nGBn2",
    "chignolin_obc2": "chignolin\nOBC2",
    "alpha_synuclein_obc2": "alpha-synuclein\nOBC2",
    "water_688_reaction_field": "water box\nreaction field",
}
"""Labels of the systems."""

_BESIDE = 1.5
"""Factor between the abscissae of two systems of the same number of atoms."""


def write_speed_plots(result: dict[str, Any], output: Path) -> list[Path]:
    """Draw a result beside its JSON file; returns the drawings' paths, none if nothing was measured."""
    drawings = {"atoms": cost_against_atoms, "replicas": cost_against_replicas} if result["rows"] else {}
    return [
        write_png(output.with_name(f"{output.stem}_{name}.png"), functools.partial(draw, result))
        for name, draw in drawings.items()
    ]


def cost_against_atoms(result: dict[str, Any]) -> Figure:
    """Best row of every engine on every system; a line joins the systems with OBC2."""
    figure = Figure(figsize=(9.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    places = _places(result["rows"])
    for engine, (label, colour, mark) in LOOKS.items():
        found = [_best(result["rows"], system, [engine]) for system in places]
        drawn = [row for row in found if row is not None]
        _points(axes, [places[row["system"]] for row in drawn], drawn, colour, mark, label=label, line=None)
        joined = [row for row in drawn if row["system"].endswith("_obc2")]
        costs = [row["us_per_step_per_replica"] for row in joined]
        axes.plot([places[row["system"]] for row in joined], costs, color=colour, lw=1.0, alpha=0.5)
    for system, place in places.items():
        _say_ratio(axes, result, system, place)
    names = {
        row["system"]: f"{SHORT.get(row['system'], row['system'])}\n{row['atoms']} atoms" for row in result["rows"]
    }
    axes.set_xscale("log")
    axes.set_xticks(list(places.values()), [names[system] for system in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.8 * min(places.values()), 1.4 * max(places.values()))
    _finish(axes, f"Best of each engine, {_cores(result)} of {result['processor']}")
    figure.legend(loc="outside upper left", ncols=6, handletextpad=0.2, columnspacing=0.8)
    return figure


def cost_against_replicas(result: dict[str, Any]) -> Figure:
    """One panel per system: mdgen at every number of replicas, the other engines at theirs."""
    names = list(dict.fromkeys(row["system"] for row in result["rows"]))
    figure = Figure(figsize=(max(2.7 * len(names), 9.0), 4.1), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for engine, (label, colour, mark) in LOOKS.items():
            mine = [row for row in result["rows"] if (row["system"], row["engine"]) == (name, engine)]
            for threads in sorted({row["threads"] for row in mine}):
                rows = sorted((r for r in mine if r["threads"] == threads), key=lambda r: r["replicas"])
                many, line = threads > 1, "-" if engine.startswith("mdgen") else None
                replicas = [row["replicas"] for row in rows]
                _points(axes, replicas, rows, colour, mark, None if many else label, line, many)
        theirs = _best(result["rows"], name, ["openmm_reference", "openmm_cpu"])
        if theirs is not None:
            cost, colour = theirs["us_per_step_per_replica"], LOOKS[theirs["engine"]][1]
            axes.axhline(cost, color=colour, lw=1, ls=":", zorder=0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("replicas")
        _finish(axes, SHORT.get(name, name).replace("\n", ", "))
    for axes in panels[1:]:
        axes.set_ylabel("")
    shown = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside upper left",
        ncols=len(shown),
        title=f"open: one thread; filled: {_cores(result)}; dotted: OpenMM's best, for any number of replicas",
        title_fontsize=9,
        alignment="left",
    )
    return figure


def _places(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Abscissa of each system: its number of atoms, shifted where two systems have the same number."""
    atoms = dict(sorted({row["system"]: row["atoms"] for row in rows}.items(), key=lambda each: each[1]))
    places = {}
    for system, count in atoms.items():
        same = [other for other, its in atoms.items() if its == count]
        places[system] = count * _BESIDE ** (same.index(system) - 0.5 * (len(same) - 1))
    return places


def _say_ratio(axes: Axes, result: dict[str, Any], system: str, place: float) -> None:
    """A bar between mdgen's best and OpenMM's best, with their ratio."""
    ours = _best(result["rows"], system, [engine for engine in LOOKS if engine.startswith("mdgen")])
    theirs = _best(result["rows"], system, [engine for engine in LOOKS if engine.startswith("openmm")])
    if ours is None or theirs is None or system not in result["ratios"]:
        return
    low, high = ours["us_per_step_per_replica"], theirs["us_per_step_per_replica"]
    axes.plot([place, place], [low, high], color="#b9bec7", lw=1, zorder=0)
    ratio = result["ratios"][system]
    _say(axes, place, (low * high) ** 0.5, f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×", bold=True)
    for cost in (low, high):
        _say(axes, place, cost, f"{cost:.2g} µs" if cost < 10 else f"{cost:.0f} µs")


def _say(axes: Axes, x: float, y: float, text: str, bold: bool = False) -> None:
    """Text to the right of a point, on a background that covers lines."""
    axes.annotate(
        text,
        (x, y),
        (8, 0),
        textcoords="offset points",
        va="center",
        fontsize=10.5 if bold else 9,
        weight="bold" if bold else "normal",
        bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.4},
    )


def _best(rows: list[dict[str, Any]], system: str, engines: list[str]) -> dict[str, Any] | None:
    mine = [row for row in rows if row["system"] == system and row["engine"] in engines]
    return min(mine, key=lambda row: row["us_per_step_per_replica"], default=None)


def _points(
    axes: Axes,
    x: Sequence[float],
    rows: list[dict[str, Any]],
    colour: str,
    mark: str,
    label: str | None,
    line: str | None,
    filled: bool = True,
) -> None:
    """Medians, with bars from the fastest to the slowest repeat."""
    if not rows:
        return
    low, y, high = ([row[key] for row in rows] for key in ("us_low", "us_per_step_per_replica", "us_high"))
    axes.errorbar(
        x,
        y,
        yerr=[np.subtract(y, low), np.subtract(high, y)],
        color=colour,
        marker=mark,
        ms=6,
        mfc=colour if filled else "white",
        lw=1.2,
        ls=line or "none",
        elinewidth=1,
        label=label,
    )


def _cores(result: dict[str, Any]) -> str:
    return "1 core" if result["cores"] == 1 else f"{result['cores']} cores"


def _finish(axes: Axes, title: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("µs a step a replica")
    axes.grid(axis="y", color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title)
