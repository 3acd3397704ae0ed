"""Sentences for the reader on what a result rests, where that is less than it seems."""

from collections.abc import Mapping

import numpy as np

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.result import RowResult
from mdgen.evaluation.settings import Settings

ENOUGH = 3.0
"""The blocks of the floor of dynamics should be so many times as long as the slowest process."""


def few_transitions(rows: Mapping[str, RowResult], lag_frames: int) -> list[str]:
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
            doubts.append(
                f"{label}: no kinetics, since no trajectory is longer than the lag; give trajectories of at least "
                f"{lag_frames + 2} frames, or a shorter lag."
            )
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


LEAST_PORTION = 0.1
"""Rows of less than this share of the reference's frames are spoken of."""


def few_frames(target: Observables, oracle: Observables, generated: Observables) -> list[str]:
    """A sentence where the rows, which hold as many frames as the shorter of the last two, hold few."""
    frames = min(oracle.n_frames, generated.n_frames)
    if frames >= LEAST_PORTION * target.n_frames:
        return []
    if generated.n_frames == frames:
        whose, cure = "the generated trajectories", "give more of them"
    else:
        whose, cure = "the replicate", "name a replicate, or reference trajectories of like lengths"
    return [
        f"Rows hold {frames:,} frames for {target.n_frames:,} of the reference, as many as {whose}; distances are as "
        f"noisy as the floors say: {cure}."
    ]


COPIED = 0.01
"""From this share of copied frames on the reader is told."""

COPY_SAMPLE = 20_000


def copies(dynamics: Mapping[str, Observables], generated: Observables) -> list[str]:
    """A sentence where generated frames are frames of the dynamics, bit for bit: what was judged was then seen.

    Args:
        dynamics: the reference and its replicate, by what to call them.
        generated: what is judged.
    """
    marks = generated["mark"][:: max(1, generated.n_frames // COPY_SAMPLE)]
    doubts = []
    for name, data in dynamics.items():
        share = float(np.isin(marks, data["mark"]).mean())
        if share >= COPIED:
            doubts.append(
                f"generated: {share:.0%} of its frames are frames of {name}, bit for bit; a comparison with what was "
                "copied from it says nothing, so give dynamics that the model has not seen."
            )
    return doubts


def rounded_lags(asked: Settings, used: Settings) -> list[str]:
    """A sentence for each lag that is no multiple of the frame spacing."""
    return [
        f"{name}={wanted:g} is no multiple of the frame spacing; {taken:g} ps is used."
        for name in ("lag_ps", "tica_lag_ps")
        if (wanted := getattr(asked, name)) is not None and abs((taken := getattr(used, name)) - wanted) > 1e-6 * wanted
    ]
