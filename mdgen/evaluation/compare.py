"""Two evaluations side by side: which of their differences exceed their intervals."""

import math
from dataclasses import dataclass

from mdgen.errors import MdgenError
from mdgen.evaluation.metrics.catalogue import label
from mdgen.evaluation.report.tables import with_interval
from mdgen.evaluation.result import SavedMetrics
from mdgen.results import Estimate, aligned


@dataclass(frozen=True)
class Difference:
    """One metric of the generated trajectories in two evaluations.

    `exceeds`: whether the difference is larger than both intervals together explain; None where there are none.
    """

    metric: str
    first: Estimate
    second: Estimate
    exceeds: bool | None


def compare(first: SavedMetrics, second: SavedMetrics, row: str | None = None) -> list[Difference]:
    """Every metric that both have, those that differ first.

    Two estimates differ where the distance of their values exceeds the two half-intervals that face each other, added
    in quadrature: what the 95 % interval of the difference would be for independent runs. Where no row is named, it is
    `seeds` if both have it, so that the intervals are over training seeds, and else `generated`.

    Raises:
        MdgenError: if the two judge different molecules or one lacks the row.
    """
    if first.molecule.get("fingerprint") != second.molecule.get("fingerprint"):
        raise MdgenError(
            f"{first.name} is of {first.molecule.get('residues')} and {second.name} of "
            f"{second.molecule.get('residues')}; compare two evaluations of one molecule"
        )
    row = row or row_compared(first, second)
    for run in (first, second):
        if row not in run.rows:
            raise MdgenError(f"{run.name} has no row {row!r}; it has {', '.join(run.rows)}")
    mine, theirs = first.rows[row], second.rows[row]
    found = [
        Difference(name, mine[name], theirs[name], _exceeds(mine[name], theirs[name]))
        for name in mine
        if name in theirs
    ]
    return sorted(found, key=lambda difference: (difference.exceeds is not True, difference.exceeds is None))


def row_compared(first: SavedMetrics, second: SavedMetrics) -> str:
    """The row that is compared where none is named."""
    return "seeds" if "seeds" in first.rows and "seeds" in second.rows else "generated"


IRRELEVANT = ("seed", "resamples", "permutations", "player_frames", "tolerances")
"""Settings that change metrics by chance alone."""


def unlike(first: SavedMetrics, second: SavedMetrics, row: str | None = None) -> list[str]:
    """Sentences on other reasons why two evaluations may differ than the trajectories of the row."""
    row, sentences = row or row_compared(first, second), []
    mine, theirs = first.settings, second.settings
    names = [name for name in mine if name in theirs and name not in IRRELEVANT and mine[name] != theirs[name]]
    if names:
        shown = ", ".join(f"{name} {mine[name]} and {theirs[name]}" for name in names)
        sentences.append(f"{first.name} and {second.name} were made with other settings: {shown}.")
    elif _dynamics(first) != _dynamics(second):
        sentences.append(
            f"{first.name} and {second.name} judge against other dynamics; name one reference and replicate."
        )
    counts = [run.frames.get(row) for run in (first, second)]
    if None not in counts and counts[0] != counts[1]:
        sentences.append(
            f"the row {row!r} has {counts[0]:,} and {counts[1]:,} frames; distances fall with the number of frames."
        )
    for run, other in ((first, second), (second, first)):
        missing = [label(name) for name in run.rows.get(row, {}) if name not in other.rows.get(row, {})]
        if missing:
            sentences.append(f"only {run.name} has {', '.join(missing)}.")
    return sentences


def comparison_table(differences: list[Difference], first: str, second: str) -> str:
    """The differences as an aligned plain-text table."""
    cells = [("", "metric", first, second)]
    for line in differences:
        mark = {True: "differs", False: "", None: "no interval"}[line.exceeds]
        cells.append((mark, label(line.metric), with_interval(line.first), with_interval(line.second)))
    return aligned(cells)


def _dynamics(run: SavedMetrics) -> tuple[int | None, float | None]:
    """Identity of a reference: its number of frames, and a mean over all of them."""
    size = run.rows.get("reference", {}).get("radius_of_gyration_nm")
    return run.frames.get("reference"), None if size is None else size.value


def _exceeds(first: Estimate, second: Estimate) -> bool | None:
    low, high = (first, second) if first.value <= second.value else (second, first)
    if low.high is None or high.low is None or not math.isfinite(low.value + high.value):
        return None
    reach = math.hypot(max(0.0, low.high - low.value), max(0.0, high.value - high.low))
    return bool(high.value - low.value > reach)
