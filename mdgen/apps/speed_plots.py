"""Drawings of the benchmark of speed: what a step costs against atoms, and against replicas."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from mdgen.evaluation.canvas import STYLE

LOOKS = {
    "mdgen_kernel": ("mdgen, compiled kernel", "#e2572b", "o"),
    "mdgen_torch_compiled": ("mdgen, torch.compile", "#d9a441", "D"),
    "mdgen_torch": ("mdgen, torch", "#8e6bb0", "s"),
    "openmm_reference": ("OpenMM Reference", "#16181d", "^"),
    "openmm_cpu": ("OpenMM CPU", "#3f7cac", "v"),
    "torchmd": ("TorchMD", "#5a9367", "P"),
}
"""Name, colour and mark of every engine."""

SHORT = {
    "alanine_dipeptide_obc2": "alanine dipeptide\nOBC2",
    "ipgd_obc2": "IPGD\nOBC2",
    "ipgd_gbn2": "IPGD\nGBn2",
    "chignolin_obc2": "chignolin\nOBC2",
    "water_688_reaction_field": "water box\nreaction field",
}
"""Names of the systems in a drawing."""


def write_speed_plots(result: dict[str, Any], output: Path) -> list[Path]:
    """Draw a result beside its JSON file; returns the drawings' paths, none if nothing was measured."""
    paths: list[Path] = []
    if not result["rows"]:
        return paths
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        for name, draw in (("atoms", cost_against_atoms), ("replicas", cost_against_replicas)):
            path = output.with_name(f"{output.stem}_{name}.png")
            draw(result).savefig(path, dpi=160, facecolor="white")
            paths.append(path)
    return paths


def cost_against_atoms(result: dict[str, Any]) -> Figure:
    """Every engine's best on every system."""
    figure = Figure(figsize=(8.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    systems = list(dict.fromkeys((row["system"], row["atoms"]) for row in result["rows"]))
    systems.sort(key=lambda each: each[1])
    places = {system: place for place, (system, _) in enumerate(systems)}
    for engine, (label, colour, mark) in LOOKS.items():
        best = [_best(result["rows"], system, engine) for system, _ in systems]
        drawn = [row for row in best if row is not None]
        if not drawn:
            continue
        x = [places[row["system"]] for row in drawn]
        _points(axes, x, drawn, label, colour, mark, line=False)
        if engine in ("mdgen_kernel", "openmm_reference", "openmm_cpu"):
            for place, row in zip(x, drawn, strict=True):
                _say(axes, place, row["us_per_step_per_replica"], colour)
    axes.set_xticks(range(len(systems)), [f"{SHORT.get(name, name)}\n{atoms} atoms" for name, atoms in systems])
    axes.set_xlim(-0.5, len(systems) - 0.3)
    _finish(figure, axes, f"Best of each engine, {result['cores']} cores of {result['processor']}")
    return figure


def cost_against_replicas(result: dict[str, Any]) -> Figure:
    """A panel a system: mdgen at every number of replicas, the others at what they ran."""
    names = list(dict.fromkeys(row["system"] for row in result["rows"]))
    figure = Figure(figsize=(2.6 * max(len(names), 2), 3.9), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for engine, (label, colour, mark) in LOOKS.items():
            mine = [row for row in result["rows"] if (row["system"], row["engine"]) == (name, engine)]
            for threads in sorted({row["threads"] for row in mine}):
                rows = sorted((r for r in mine if r["threads"] == threads), key=lambda r: r["replicas"])
                many = threads > 1
                _points(axes, [r["replicas"] for r in rows], rows, None if many else label, colour, mark, True, many)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("replicas")
        _finish(figure, axes, SHORT.get(name, name).replace("\n", ", "), legend=False)
    for axes in panels[1:]:
        axes.set_ylabel("")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper left",
        ncols=len(handles),
        title=f"open: one thread; filled: {result['cores']} cores",
        title_fontsize=9,
        alignment="left",
    )
    return figure


def _best(rows: list[dict[str, Any]], system: str, engine: str) -> dict[str, Any] | None:
    mine = [row for row in rows if (row["system"], row["engine"]) == (system, engine)]
    return min(mine, key=lambda row: row["us_per_step_per_replica"], default=None)


def _points(
    axes: Axes,
    x: Sequence[float],
    rows: list[dict[str, Any]],
    label: str | None,
    colour: str,
    mark: str,
    line: bool,
    filled: bool = True,
) -> None:
    """Medians, with bars from the fastest to the slowest repeat."""
    y = [row["us_per_step_per_replica"] for row in rows]
    bars = [[row["us_per_step_per_replica"] - row["us_low"] for row in rows]]
    bars.append([row["us_high"] - row["us_per_step_per_replica"] for row in rows])
    axes.errorbar(
        x,
        y,
        yerr=bars,
        color=colour,
        marker=mark,
        ms=6,
        mfc=colour if filled else "white",
        lw=1.2,
        ls="-" if line else "none",
        elinewidth=1,
        label=label,
    )


def _say(axes: Axes, x: float, y: float, colour: str) -> None:
    text = f"{y:.2g}" if y < 10 else f"{y:.0f}"
    axes.annotate(text, (x, y), (7, 0), textcoords="offset points", va="center", color=colour, fontsize=9)


def _finish(figure: Figure, axes: Axes, title: str, legend: bool = True) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("µs a step a replica")
    axes.grid(axis="y", color="#e4e6ea", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title)
    if legend:
        figure.legend(loc="outside upper left", ncols=6, handletextpad=0.3, columnspacing=1.0)
