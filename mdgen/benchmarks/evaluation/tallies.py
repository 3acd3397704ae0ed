"""From single runs to shares with intervals: false alarms, coverage, power, and the acceptance rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mdgen.benchmarks.evaluation.faults import FAULTS
from mdgen.benchmarks.evaluation.judged_runs import TIMESCALES, Outcome
from mdgen.results import Acceptance, Estimate

FALSE_ALARMS, FALSE_ALARMS_ON_FILES, POWER = 0.05, 0.10, 0.90
COVERAGE = (0.92, 0.98)
COPIES = ("exact_copies", "rotated_copies", "jittered_copies")
"""Faults that must be flagged every time, whatever else fails."""

GROUPS = {
    "timescale_ps": "timescales",
    "decorrelation_ps": "times",
    "step_rms_deg": "means",
    "radius_of_gyration_nm": "means",
    "radius_of_gyration_sd_nm": "means",
    "closest_nm": "means",
    "clash_share": "shares",
}
"""Group in which the coverage of a metric is pooled."""

KNOWN_DISTANCES = {
    name: {f"timescale_log_error/{mode}": float(np.log(factor)) for mode in (1, 2)}
    for name, factor in (("twice_as_fast", 2.0), ("half_as_fast", 2.0), ("slower_by_half", 1.5))
}
"""Distances, by fault, that follow from the chain's law: a factor of every rate is one of every timescale.

At a distance of 0 the interval of an excess, which begins at 0, could not miss; so honest runs do not count."""


def wilson(successes: int, trials: int) -> Estimate:
    """A share with Wilson's 95 % interval (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)).

    >>> wilson(0, 60)
    Estimate(value=0.0, low=0.0, high=0.060...)
    """
    if trials == 0:
        return Estimate(float("nan"))
    z, share = 1.959964, successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Estimate(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def figures(
    outcomes: Sequence[Outcome], truth: Mapping[str, float], ideal: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Everything that the suite reports, as plain values.

    Args:
        outcomes: outcomes of all runs.
        truth: true values by metric.
        ideal: figures of the ideal test, by fault, of those that are faults of populations alone.
    """
    honest = [each for each in outcomes if each["kind"] == "chain"]
    sizes = list(dict.fromkeys((each["n_trajectories"], each["n_frames"]) for each in honest))
    of_size = {size: [e for e in honest if (e["n_trajectories"], e["n_frames"]) == size] for size in sizes}
    labels = {size: f"{size[0]} x {size[1]}" for size in sizes}
    splits = [each for each in outcomes if each["kind"] == "split"]
    names = dict.fromkeys(each["name"] for each in outcomes if each["kind"] == "fault")
    return {
        "honest": {"all": _alarms(honest)} | {labels[s]: _alarms(e) for s, e in of_size.items()} if honest else {},
        "files": _alarms(splits) if splits else {},
        "coverage": {labels[size]: _coverage(each, truth) for size, each in of_size.items()},
        "distances": _distances([each for each in outcomes if each["name"] in KNOWN_DISTANCES]),
        **{
            f"timescale_{mode}": {labels[size]: _timescale(mode, each, truth) for size, each in of_size.items()}
            for mode in range(1, TIMESCALES + 1)
        },
        "faults": {name: _power(name, [e for e in outcomes if e["name"] == name], ideal.get(name)) for name in names},
        "seconds_a_run": float(np.mean([each.get("seconds", 0.0) for each in outcomes])),
    }


def acceptance(found: Mapping[str, Any]) -> list[Acceptance]:
    """The rows of the result."""
    rows = []
    for size, each in found["honest"].items():
        label = "false_alarms_on_the_chain" if size == "all" else f"false_alarms/{size}"
        rows.append(Acceptance.below(label, each["any_row_fails"], FALSE_ALARMS))
    if found["honest"]:
        rows.append(Acceptance.below("honest_flagged", found["honest"]["all"]["flagged"], 0.0))
    if found["files"]:
        rows.append(Acceptance.below("false_alarms_on_files", found["files"]["any_row_fails"], FALSE_ALARMS_ON_FILES))
        rows.append(Acceptance.below("files_flagged", found["files"]["flagged"], 0.0))
    for size, groups in found["coverage"].items():
        for group, each in groups["groups"].items():
            rows.append(_covered(f"coverage/{group}/{size}", each))
    if "all" in found["distances"]:
        rows.append(_covered("coverage/distances", found["distances"]["all"]))
    visible = {name: each for name, each in found["faults"].items() if each["visible"]}
    if visible:
        caught = sum(each["caught"].value >= POWER for each in visible.values())
        share, bound = Estimate(caught / len(visible)), f"each of {len(visible)} faults in {POWER:.0%} of the runs"
        rows.append(Acceptance.judged("faults_caught", share, bound, caught == len(visible)))
    for name, each in found["faults"].items():
        if each["visible"]:
            holds, bound = each["caught"].value >= POWER, f">= {POWER:g}"
            rows.append(Acceptance.judged(f"fault/{name}", each["caught"], bound + _with_what(each), holds))
        else:
            rows.append(Acceptance.below(f"invisible/{name}", each["caught"], 1 - POWER))
        if name in COPIES:
            rows.append(Acceptance.above(f"flagged/{name}", each["flagged"], 1.0))
    return rows


def _covered(name: str, share: Estimate) -> Acceptance:
    """Row of a coverage; where it misses, whether its own interval leaves the bound open."""
    low, high = COVERAGE
    inside, bound = low <= share.value <= high, f"{low:g} .. {high:g}"
    if not inside and share.low is not None and share.high is not None and share.low <= high and share.high >= low:
        bound += " (not decided: the interval reaches into it)"
    return Acceptance.judged(name, share, bound, inside)


def _with_what(fault: Mapping[str, Any]) -> str:
    """With how many trajectories a fault that has an ideal test is judged, and what is known with fewer."""
    ideal = fault.get("ideal")
    if ideal is None or ideal["trajectories_needed"] <= ideal["trajectories"]:
        return ""
    caught, asked = fault["caught_with_fewer"], ideal["trajectories"]
    return (
        f" with {ideal['trajectories_needed']} trajectories, as the ideal test needs; with {asked} "
        f"that test has a power of {ideal['power']:.2f}, and the fault is caught in {caught.value:.2f}"
    )


def _alarms(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares of runs in which a row fails, in which each row does, that are flagged, and of the verdicts."""
    n = len(outcomes)
    rows = Counter(row for each in outcomes for row in each["failing"])
    verdicts = Counter(each["overall"] for each in outcomes)
    return {
        "runs": n,
        "any_row_fails": wilson(sum(bool(each["failing"]) for each in outcomes), n),
        "flagged": wilson(sum(each["flagged"] for each in outcomes), n),
        "verdicts": {verdict: verdicts[verdict] / n for verdict in ("holds", "undecided", "flagged", "fails")},
        "rows": {row: wilson(count, n) for row, count in rows.most_common()},
    }


def _coverage(outcomes: Sequence[Outcome], truth: Mapping[str, float]) -> dict[str, Any]:
    """Share of intervals that hold the true value, by metric and pooled by group.

    A run's own true values come first: those of timescales are of the chain in the states of that run.
    """
    held: dict[str, list[bool]] = {}
    for each in outcomes:
        for name, (_, low, high) in each["intervals"].items():
            true_value = each.get("true_values", {}).get(name, truth.get(name))
            if true_value is not None:
                held.setdefault(name, []).append(low <= true_value <= high)
    groups: dict[str, list[bool]] = {}
    for name, values in held.items():
        groups.setdefault(GROUPS[name.partition("/")[0]], []).extend(values)
    return {
        "groups": {group: wilson(sum(values), len(values)) for group, values in groups.items()},
        "metrics": {name: wilson(sum(values), len(values)) for name, values in held.items()},
    }


def _distances(outcomes: Sequence[Outcome]) -> dict[str, Estimate]:
    """Share of the intervals of excesses that hold a known distance above 0, by fault and metric, and of `all`."""
    held: dict[str, list[bool]] = {}
    for each in outcomes:
        for metric, truth in KNOWN_DISTANCES[each["name"]].items():
            if metric in each.get("excesses", {}):
                _, low, high = each["excesses"][metric]
                for key in ("all", f"{each['name']}: {metric}"):
                    held.setdefault(key, []).append(low <= truth <= high)
    return {key: wilson(sum(values), len(values)) for key, values in held.items()}


def _timescale(mode: int, outcomes: Sequence[Outcome], truth: Mapping[str, float]) -> dict[str, Any]:
    """A timescale against the chain's exact one: bias and spread of its logarithm, width, and coverage.

    `coverage` counts intervals that hold the timescale of the chain in the states of the run, which is what they are
    of, `coverage_of_the_chain` those that hold the chain's own, though its process may have no state.
    """
    name = f"timescale_ps/{mode}"
    found = [each["intervals"][name] for each in outcomes if name in each["intervals"]]
    exact = truth.get(name, float("nan"))
    if not found:
        return {"exact_ps": exact, "runs": 0}
    value, low, high = np.array(found).T
    in_states = np.array([e.get("true_values", {}).get(name, exact) for e in outcomes if name in e["intervals"]])
    errors = np.log(value / exact)
    return {
        "exact_ps": exact,
        "runs": len(found),
        "median_ps": float(np.median(value)),
        "median_in_states_ps": float(np.median(in_states)),
        "bias_factor": float(np.exp(errors.mean())),
        "spread_factor": float(np.exp(errors.std())),
        "median_interval_ps": [float(np.median(low)), float(np.median(high))],
        "coverage": wilson(int(((low <= in_states) & (in_states <= high)).sum()), len(found)),
        "coverage_of_the_chain": wilson(int(((low <= exact) & (exact <= high)).sum()), len(found)),
    }


def _power(name: str, outcomes: Iterable[Outcome], ideal: Mapping[str, float] | None) -> dict[str, Any]:
    """How often a fault fails or is flagged, and by which rows, with the most trajectories it was judged with."""
    every = [each for each in outcomes if each["kind"] == "fault"]
    most = max(each["n_trajectories"] for each in every)
    runs, fewer = ([e for e in every if (e["n_trajectories"] == most) == whole] for whole in (True, False))
    rows = Counter(row for each in runs for row in each["failing"])
    of_populations = {} if ideal is None else {"ideal": dict(ideal), "caught_with_fewer": _caught(fewer)}
    return {
        "meaning": FAULTS[name].meaning,
        "visible": FAULTS[name].visible,
        "runs": len(runs),
        "trajectories": most,
        **of_populations,
        "caught": _caught(runs),
        "flagged": wilson(sum(each["flagged"] for each in runs), len(runs)),
        "rows": dict(rows.most_common()),
    }


def _caught(runs: Sequence[Outcome]) -> Estimate:
    """Share of runs in which a criterion fails or that are flagged."""
    return wilson(sum(bool(each["failing"]) or each["flagged"] for each in runs), len(runs))
