"""Observables of trajectories as compact arrays with one row a frame: what every metric and statistic reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from mdgen.evaluation.statistics.distributions import histograms
from mdgen.evaluation.statistics.intervals import unit_ids

CHUNK = 5_000
"""Lines of a table that are summed at a time."""


@dataclass(frozen=True)
class Observables:
    """Per-frame arrays of some trajectories, one after the other.

    Args:
        lengths: frames of each trajectory.
        frame_spacing_ps: time between frames.
        columns: arrays whose first axis is the frame: `torsions`, `structure`, `mark` (a hash of the coordinates),
            `psi`, later `tica` and `states`.
        grouping: bootstrap unit of each frame where it is not what `unit_ids` makes of the lengths.
        tables: measurements with too many columns to be copied with the frames; the column `sampled` holds the line of
            each frame in them, -1 for a frame that was not measured.
    """

    lengths: tuple[int, ...]
    frame_spacing_ps: float
    columns: dict[str, np.ndarray]
    grouping: Int[np.ndarray, "frame"] | None = None
    tables: dict[str, np.ndarray] = field(default_factory=dict)

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

    def table_sums(
        self, name: str, measure: Callable[[Float[np.ndarray, "line column"]], Float[np.ndarray, "line term"]]
    ) -> Float[np.ndarray, "unit term"]:
        """Sums over the measured frames of each unit of the terms that `measure` makes of the lines of a table."""
        frames = np.flatnonzero(self["sampled"] >= 0)
        total: np.ndarray | float = 0.0
        for start in range(0, max(1, len(frames)), CHUNK):
            part = frames[start : start + CHUNK]
            terms = measure(self.tables[name][self["sampled"][part]].astype(np.float64))
            placed = csr_matrix(
                (np.ones(len(part)), (self.units[part], np.arange(len(part)))), shape=(self.n_units, len(part))
            )
            total = total + placed @ terms
        return np.asarray(total)

    def sampled_counts(self) -> Float[np.ndarray, "unit"]:
        """Number of measured frames of each bootstrap unit."""
        return np.bincount(self.units[self["sampled"] >= 0], minlength=self.n_units).astype(np.float64)

    def take(self, frames: Int[np.ndarray, "frame"], lengths: tuple[int, ...]) -> "Observables":
        """Trajectories of these `lengths`, made of the given frames in the given order."""
        columns = {name: column[frames] for name, column in self.columns.items()}
        return replace(self, lengths=lengths, columns=columns, grouping=None)

    def joined(self, other: "Observables") -> "Observables":
        """These trajectories and then the other's, in the columns that both have."""
        columns = {n: np.concatenate([column, other[n]]) for n, column in self.columns.items() if n in other}
        tables = self.tables
        if tables is not other.tables and "sampled" in columns:  # halves of one set share their tables
            offset = max((len(table) for table in tables.values()), default=0)
            lines = np.where(other["sampled"] >= 0, other["sampled"] + offset, -1)
            columns["sampled"] = np.concatenate([self["sampled"], lines.astype(np.int32)])
            tables = {n: np.concatenate([table, other.tables[n]]) for n, table in tables.items()}
        return Observables(self.lengths + other.lengths, self.frame_spacing_ps, columns, tables=tables)

    def with_columns(self, **columns: np.ndarray) -> "Observables":
        """The same frames with further columns."""
        return replace(self, columns={**self.columns, **columns})
