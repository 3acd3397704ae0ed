"""Distances that are functions of sums over bootstrap units: one code for the value, its interval and its null."""

from abc import abstractmethod
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.metrics.target import MetricFamily, Target
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.intervals import estimates
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate

Sums = dict[str, np.ndarray]
"""Arrays by name, the unit or the draw on the first axis."""

DRAWS_AT_A_TIME = 100
"""Draws of a permutation that are computed at a time, which bounds the memory of their sums."""


class UnitSumMetrics(MetricFamily):
    """Distances of two samples, each given by sums over its units; a subclass says `sums` and `distances`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.prepare()

    @cached_property
    def _expected(self) -> Sums:
        return self._resampled(self.target.data)

    def prepare(self) -> None:
        """Choose what depends on the target alone, such as the ranges of histograms."""

    @abstractmethod
    def sums(self, data: Observables) -> Sums:
        """Sums over each bootstrap unit of the data."""

    @abstractmethod
    def distances(self, row: Sums, target: Sums) -> dict[str, Float[np.ndarray, "draw"]]:
        """Distances of weighted sums, draws on the first axis."""

    def __call__(self, row: Observables) -> dict[str, Estimate]:
        """Distances of the row from the target."""
        return estimates(self.distances(self._resampled(row), self._expected), units=row.n_units)

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Distances of the samples drawn from blocks, draw by draw."""
        sums, parts = self.sums(blocks.pool), []
        for start in range(0, len(blocks.row), DRAWS_AT_A_TIME):
            part = slice(start, start + DRAWS_AT_A_TIME)
            parts.append(self.distances(weighted(sums, blocks.row[part]), weighted(sums, blocks.target[part])))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _resampled(self, data: Observables) -> Sums:
        return weighted(self.sums(data), self.target.data_and_resamples(data.n_units))


def weighted(sums: Sums, weights: Float[np.ndarray, "draw unit"]) -> Sums:
    """Sums over the units of each draw, units counted with their weights."""
    return {name: np.tensordot(weights, each, axes=1) for name, each in sums.items()}


def mean_and_worst(metric: str, distances: Float[np.ndarray, "draw column"]) -> dict[str, Float[np.ndarray, "draw"]]:
    """`METRIC/all`, the mean over columns, and `METRIC/worst`, the largest."""
    return {f"{metric}/all": distances.mean(1), f"{metric}/worst": distances.max(1)}


def mean_and_spread(
    count: Float[np.ndarray, "draw"], first: Float[np.ndarray, "draw column"], second: Float[np.ndarray, "draw column"]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation from the number of values, their sum and the sum of their squares."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / count[:, None]
        return mean, np.sqrt(np.maximum(second / count[:, None] - mean**2, 0.0))


def wasserstein_1(
    counts: Float[np.ndarray, "*batch bin"], others: Float[np.ndarray, "*batch bin"], width: float
) -> Float[np.ndarray, "*batch"]:
    """W1 distance of two histograms with bins of one width: the area between their distribution functions.

    >>> print(wasserstein_1(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 5.0]), 0.5))
    1.0
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        here, there = (x.cumsum(-1) / x.sum(-1, keepdims=True) for x in (counts, others))
    return np.asarray(np.abs(here - there).sum(-1) * width)
