"""Observables of trajectories as compact arrays with one row a frame: what every metric and statistic reads."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.statistics.distributions import histograms
from mdgen.evaluation.statistics.intervals import unit_ids


@dataclass(frozen=True)
class Observables:
    """Per-frame arrays of some trajectories, one after the other.

    Args:
        lengths: frames of each trajectory.
        frame_spacing_ps: time between frames.
        columns: arrays whose first axis is the frame: `torsions`, `structure`, `mark` (a hash of the coordinates),
            `psi`, later `tica` and `states`.
        grouping: bootstrap unit of each frame where it is not what `unit_ids` makes of the lengths.
    """

    lengths: tuple[int, ...]
    frame_spacing_ps: float
    columns: dict[str, np.ndarray]
    grouping: Int[np.ndarray, "frame"] | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def n_frames(self) -> int:
        """Frames of all trajectories together."""
        return sum(self.lengths)

    @property
    def length_ns(self) -> float:
        """Simulated time of all trajectories together."""
        return self.n_frames * self.frame_spacing_ps / 1000

    @cached_property
    def units(self) -> Int[np.ndarray, "frame"]:
        """Bootstrap unit of each frame."""
        return unit_ids(self.lengths) if self.grouping is None else self.grouping

    @cached_property
    def n_units(self) -> int:
        """Number of bootstrap units."""
        return int(self.units.max()) + 1

    @cached_property
    def trajectory(self) -> Int[np.ndarray, "frame"]:
        """Trajectory of each frame."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def slices(self) -> Iterator[slice]:
        """Frames of each trajectory."""
        start = 0
        for length in self.lengths:
            yield slice(start, start + length)
            start += length

    def histogram(self, bins: Int[np.ndarray, "frame"], n_bins: int) -> Float[np.ndarray, "unit bin"]:
        """Counts of each bin in each bootstrap unit, given the bin of each frame; bins below 0 are left out."""
        return histograms(bins, self.units, n_bins, self.n_units)

    def take(self, frames: Int[np.ndarray, "frame"], lengths: tuple[int, ...]) -> "Observables":
        """Trajectories of these `lengths`, made of the given frames in the given order."""
        columns = {name: column[frames] for name, column in self.columns.items()}
        return replace(self, lengths=lengths, columns=columns, grouping=None)

    def joined(self, other: "Observables") -> "Observables":
        """These trajectories and then the other's, in the columns that both have."""
        columns = {n: np.concatenate([column, other[n]]) for n, column in self.columns.items() if n in other}
        return Observables(self.lengths + other.lengths, self.frame_spacing_ps, columns)

    def with_columns(self, **columns: np.ndarray) -> "Observables":
        """The same frames with further columns."""
        return replace(self, columns={**self.columns, **columns})
