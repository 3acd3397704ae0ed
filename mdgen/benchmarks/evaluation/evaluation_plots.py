"""The drawings of the evaluation suite: power against each fault, coverage and false alarms against the data."""

from typing import Any

from matplotlib.figure import Figure

from mdgen.benchmarks.evaluation.tallies import COVERAGE, FALSE_ALARMS, POWER

_INK, _MISS, _GREY = "#3f7cac", "#e2572b", "#8b909a"


def draw_power(result: dict[str, Any]) -> Figure:
    """A bar for each fault: the share of runs in which it fails or is flagged, lowest on top."""
    faults = sorted(result["faults"].items(), key=lambda item: (item[1]["visible"], -item[1]["caught"].value))
    figure = Figure(figsize=(8.4, 1.0 + 0.2 * len(faults)), layout="constrained")
    axes = figure.subplots()
    for place, (_, each) in enumerate(faults):
        caught = each["caught"]
        colour = _GREY if not each["visible"] else _INK if caught.value >= POWER else _MISS
        axes.barh(place, caught.value, color=colour, height=0.7)
        axes.plot([caught.low, caught.high], [place, place], color="#16181d", lw=0.8)
    axes.set_yticks(range(len(faults)), [name.replace("_", " ") for name, _ in faults])
    axes.axvline(POWER, color=_GREY, lw=0.9, ls="--")
    axes.set_ylim(-0.6, len(faults) - 0.4)
    axes.set_xlim(0, 1.01)
    axes.set_title("Faults that fail or are flagged: share of runs")
    axes.set_xlabel(f"dashed: bound, {POWER:.0%}; grey: cannot be seen at equilibrium")
    return figure


def draw_coverage(result: dict[str, Any]) -> Figure:
    """Coverage of the 95 % intervals by group, and false alarms, both against the amount of data."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    of_coverage, of_alarms = figure.subplots(1, 2)
    sizes = list(result["coverage"])
    groups = list(dict.fromkeys(group for each in result["coverage"].values() for group in each["groups"]))
    for offset, group in enumerate(groups):
        each = [result["coverage"][size]["groups"].get(group) for size in sizes]
        places = [i + 0.08 * (offset - (len(groups) - 1) / 2) for i, found in enumerate(each) if found is not None]
        _with_errors(of_coverage, places, [found for found in each if found is not None], label=group)
    of_coverage.axhspan(*COVERAGE, color=_GREY, alpha=0.25, lw=0, label="bound")
    of_coverage.set_title("95 % intervals that hold the true value")
    alarms = [result["honest"][size]["any_row_fails"] for size in sizes]
    _with_errors(of_alarms, list(range(len(sizes))), alarms, color=_INK)
    of_alarms.axhline(FALSE_ALARMS, color=_GREY, lw=0.9, ls="--", label="bound")
    of_alarms.set_title("Dynamics against dynamics: share that fails")
    of_alarms.set_ylim(-0.02, 1.02)
    for axes in (of_coverage, of_alarms):
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set_xlabel("trajectories x frames a side")
        axes.legend(loc="best", fontsize="small")
    return figure


def _with_errors(axes: Any, places: list[float], estimates: list[Any], **style: Any) -> None:
    values = [each.value for each in estimates]
    below = [each.value - each.low for each in estimates]
    above = [each.high - each.value for each in estimates]
    axes.errorbar(places, values, yerr=[below, above], fmt="o", ms=4, lw=1.0, capsize=2, **style)
