"""The time between frames: read from files, checked, and converted to lags and to pairs of frames."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

SAME = 1e-4
"""Relative difference below which two spacings or temperatures are one: files keep them in single precision."""


def spacing_of(times: Float[np.ndarray, "frame"], path: Path) -> float | None:
    """The spacing in ps of the frames of a file; None if it has one frame or no times.

    Raises:
        MdgenError: if the frames are not equally spaced.
    """
    if len(times) < 2 or not np.any(times):
        return None
    steps = np.diff(times)
    spacing = float(times[-1] - times[0]) / (len(times) - 1)
    # xtc holds times as float32, with an error of some units in its last place
    tolerance = max(1e-3 * abs(spacing), 4 * float(np.spacing(np.float32(np.abs(times).max()))))
    uneven = np.flatnonzero(np.abs(steps - spacing) > tolerance)
    if len(uneven) or spacing <= 0:
        usual = float(np.median(steps))
        odd = int(np.argmax(np.abs(steps - usual)))
        raise MdgenError(
            f"the frames of {path} are not equally spaced: frames {odd} and {odd + 1} are {steps[odd]:.6g} ps apart "
            f"and most others {usual:.6g} ps; rewrite it with one spacing"
        )
    return float(f"{spacing:.5g}")


def lag_in_frames(lag_ps: float, frame_spacing_ps: float, what: str = "lag") -> int:
    """A lag, called `what` in messages, as a whole number of frames.

    >>> lag_in_frames(20.0, 0.5)
    40

    Raises:
        MdgenError: if the lag is not positive, or no multiple of the frame spacing.
    """
    frames = round(lag_ps / frame_spacing_ps)
    if frames < 1 or abs(frames * frame_spacing_ps - lag_ps) > SAME * frame_spacing_ps:
        below = int(lag_ps // frame_spacing_ps)
        near = [f"{number * frame_spacing_ps:g}" for number in (below, below + 1) if number > 0]
        raise MdgenError(
            f"a {what} of {lag_ps:g} ps is no multiple of the frame spacing of {frame_spacing_ps:g} ps; choose "
            f"{' or '.join(near)} ps"
        )
    return frames


def doubling_spacings(least_ps: float, largest_ps: float) -> list[float]:
    """Spacings from the least, each twice the one before, and the largest.

    >>> doubling_spacings(5.0, 50.0)
    [5.0, 10.0, 20.0, 40.0, 50.0]
    """
    spacings = []
    while least_ps < largest_ps * (1 - SAME):
        spacings.append(least_ps)
        least_ps *= 2
    return [*spacings, largest_ps]


def common_spacing(known: dict[str, float], given_ps: float | None) -> float | None:
    """The one spacing of several trajectories.

    Args:
        known: spacing that each file gives, by its name.
        given_ps: spacing that the user gives; None for none.

    Raises:
        MdgenError: if two files differ, or a file contradicts the user.
    """
    if given_ps is not None and not given_ps > 0:
        raise MdgenError(f"frame_spacing_ps is {given_ps}; it must be positive")
    if not known:
        return given_ps
    first, spacing = next(iter(known.items()))
    for name, other in known.items():
        if abs(other - spacing) > 1e-3 * spacing:
            raise MdgenError(
                f"the frames of {first} are {spacing:g} ps apart and those of {name} {other:g} ps; give files of one "
                "spacing"
            )
    if given_ps is not None and abs(given_ps - spacing) > 1e-3 * spacing:
        raise MdgenError(
            f"frame_spacing_ps is {given_ps:g}, but {first} says that its frames are {spacing:g} ps apart; leave "
            "frame_spacing_ps out, or correct the file"
        )
    return given_ps if given_ps is not None else spacing


def pair_starts(lengths: Sequence[int], lag_frames: int) -> Int[Tensor, "pair"]:
    """The first frames of all pairs (frame t, frame t + lag) within trajectories, as rows of their joint table.

    Args:
        lengths: frames of each trajectory; they stand in the table one after the other.
        lag_frames: frames between the two of a pair.

    Raises:
        MdgenError: if the lag is not positive, or no trajectory is longer than it.
    """
    if lag_frames < 1:
        raise MdgenError(f"a lag of {lag_frames} frames makes no pairs; it must be at least 1")
    longest = max(lengths, default=0)
    if longest <= lag_frames:
        raise MdgenError(
            f"the longest trajectory has {longest} frames, and the lag is {lag_frames} of them; shorten the lag or "
            "give longer trajectories"
        )
    short = sum(length <= lag_frames for length in lengths)
    if short:
        logger.warning("%d of %d trajectories are too short for the lag: no pairs", short, len(lengths))
    ends = np.cumsum(lengths).tolist()
    starts = [(end - n, max(end - n, end - lag_frames)) for n, end in zip(lengths, ends, strict=True)]
    return torch.cat([torch.arange(start, stop) for start, stop in starts])
