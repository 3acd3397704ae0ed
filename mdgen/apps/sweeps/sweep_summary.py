"""What a sweep has found: `summary.csv`, a line for each run, and `summary.svg`, each metric against each swept key."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdgen.apps.sweeps.sweep import PLOTS, SUMMARY
from mdgen.apps.sweeps.sweep_job import Job
from mdgen.documents import read_json
from mdgen.errors import MdgenError
from mdgen.files import MARK, write_aside

_LEFT_OUT = ("verb", "crc32", "provenance", "engine")
"""Entries of `metrics.json` that say how a run was made."""

_PANEL_IN, _MARGIN_IN = (3.4, 2.1), (0.75, 0.5)
_INK = "#3f7cac"


def write_summary(folder: Path, jobs: Sequence[Job]) -> None:
    """Write the table and the plots of all runs, those that failed with empty cells.

    Args:
        folder: folder of the sweep.
        jobs: its runs.

    Raises:
        MdgenError: if they cannot be written.
    """
    found = [metrics_of(job.folder) for job in jobs]
    keys = list(jobs[0].values)
    names = list(dict.fromkeys(name for metrics in found for name in metrics if name not in keys))
    lines: list[list[Any]] = [["run", *keys, "state", *names]]
    for job, metrics in zip(jobs, found, strict=True):
        state = "done" if (job.folder / MARK).is_file() else "failed"
        lines.append([job.folder.name, *job.values.values(), state, *(metrics.get(name, "") for name in names)])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_aside(folder / SUMMARY, text.getvalue().encode())
    drawn = [name for name in names if len({metrics.get(name) for metrics in found}) > 1 and _is_drawn(name)]
    if drawn:
        content = io.BytesIO()
        _draw(jobs, found, keys, drawn).savefig(content, format="svg", metadata={"Date": None})
        write_aside(folder / PLOTS, content.getvalue())


def metrics_of(run: Path) -> dict[str, float]:
    """The numbers in the `metrics.json` of a run by their names, parts of a name separated by `/`; empty without one.

    Of a list of rows, such as criteria, the value of each is taken, by the name of the row.
    """
    file = run / "metrics.json"
    if not file.is_file() or not (run / MARK).is_file():
        return {}
    try:
        document = read_json(file, dict[str, Any], "run it again")
    except MdgenError:
        return {}
    kept = {key: value for key, value in document.items() if key not in _LEFT_OUT}
    return {name: value for name, value in _numbers(kept, "") if math.isfinite(value)}


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Every number of a document with its name."""
    if isinstance(value, bool | int | float):
        yield name, float(value) if isinstance(value, float) else int(value)
    elif isinstance(value, dict):
        named = value.get("metric", value.get("name"))
        if isinstance(named, str) and "value" in value:  # a row of a table
            yield from _numbers(value["value"], f"{name}/{named}")
            return
        for key, each in value.items():
            if key == "value" and {"low", "high"} <= set(value):
                yield from _numbers(each, name)
            else:
                yield from _numbers(each, f"{name}/{key}".lstrip("/"))
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from _numbers(each, name if isinstance(each, dict) else f"{name}/{number}")


def _is_drawn(name: str) -> bool:
    """Ends of intervals are drawn with their values."""
    return not name.endswith(("/low", "/high"))


def _draw(jobs: Sequence[Job], found: list[dict[str, float]], keys: list[str], names: list[str]) -> Figure:
    """A row of panels for each metric, a column for each key; columns share what is along x."""
    width, height = _PANEL_IN
    figure = Figure(figsize=(width * len(keys) + 0.3, height * len(names) + 0.2))
    size = figure.get_size_inches()
    for row, name in enumerate(names):
        for column, key in enumerate(keys):
            left, bottom = column * width + _MARGIN_IN[0], size[1] - (row + 1) * height + _MARGIN_IN[1]
            inner = (width - _MARGIN_IN[0], height - _MARGIN_IN[1] - 0.3)
            axes = figure.add_axes((left / size[0], bottom / size[1], inner[0] / size[0], inner[1] / size[1]))
            _draw_panel(axes, [job.values[key] for job in jobs], found, name)
            axes.set_xlabel(key, fontsize=8)
            axes.tick_params(labelsize=7)
            if column == 0:
                axes.set_title(name, fontsize=8, loc="left")
    return figure


def _draw_panel(axes: Axes, values: list[str], found: list[dict[str, float]], name: str) -> None:
    """A point for each run with its interval, and a line through the means of runs of one value."""
    places, ticks = _places(values)
    known = [index for index, metrics in enumerate(found) if name in metrics]
    at, height = np.array([places[i] for i in known]), np.array([found[i][name] for i in known])
    for x, index in zip(at, known, strict=True):
        low, high = (found[index].get(f"{name}/{end}") for end in ("low", "high"))
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=_INK, lw=0.9, alpha=0.6)
    axes.plot(at, height, "o", ms=3.5, color=_INK)
    means = [(x, height[at == x].mean()) for x in np.unique(at)]
    axes.plot(*zip(*means, strict=True), color=_INK, lw=1.0, alpha=0.7)
    if ticks is None:
        if min(places) > 0 and max(places) > 50 * min(places):
            axes.set_xscale("log")
    else:
        axes.set_xticks(range(len(ticks)), [tick[:14] for tick in ticks], rotation=30 if len(ticks) > 4 else 0)
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _places(values: list[str]) -> tuple[list[float], list[str] | None]:
    """Where values lie along x: numbers at themselves, others side by side, with the texts of their ticks."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if numbers and all(map(math.isfinite, numbers)):
        return numbers, None
    ticks = list(dict.fromkeys(values))
    return [float(ticks.index(value)) for value in values], ticks
