"""Sentences for the reader on what a result rests, where that is less than it seems."""

from collections.abc import Mapping

from mdgen.evaluation.result import RowResult

ENOUGH = 3.0
"""The blocks of the floor of dynamics should be so many times as long as the slowest process."""


def few_transitions(rows: Mapping[str, RowResult]) -> list[str]:
    """Sentences on rows whose kinetics rest on less than all of their frames, or on none."""
    doubts = []
    for name in ("reference", "replicate", "generated"):
        metrics, label = rows[name].metrics, rows[name].label
        share = metrics.get("connected_share")
        if share is not None and share.value < 0.99:
            doubts.append(
                f"{label}: the states fall apart; the largest set that frames both enter and leave holds "
                f"{share.value:.1%} of the transitions, and the kinetics are of that set alone. Longer trajectories "
                "would connect more."
            )
        elif share is None and "connected_share" in rows["reference"].metrics:
            doubts.append(f"{label}: no kinetics, since no trajectory is longer than the lag; give longer ones.")
    return doubts


def short_blocks(rows: Mapping[str, RowResult], blocks_ps: float | None) -> list[str]:
    """A sentence where the blocks of the floor of dynamics are too short for the slowest process."""
    slowest = rows["reference"].metrics.get("timescale_ps/1")
    if blocks_ps is None or slowest is None or blocks_ps >= ENOUGH * slowest.value:
        return []
    return [
        f"MD floor: its blocks of {blocks_ps:.4g} ps are shorter than {ENOUGH:g} times the slowest timescale, "
        f"{slowest.value:.4g} ps, so dynamics may score above it; a longer reference would tell."
    ]
