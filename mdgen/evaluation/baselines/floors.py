"""Two floors under every distance: of independent frames, and of frames as correlated as those of dynamics."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.result import RowResult
from mdgen.evaluation.statistics.block_permutation import DRAWS, Deals, deal
from mdgen.results import Estimate


@runtime_checkable
class Floored(Protocol):
    """Metrics that know what independent frames score."""

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """Distances of a perfect sampler of so many independent frames."""
        ...


@runtime_checkable
class Dealt(Protocol):
    """Metrics that can be taken of dynamics dealt against itself."""

    def dealt(self, deals: Deals) -> dict[str, Estimate]:
        """Distances between the two hands."""
        ...


def floors(
    metrics: Iterable[object], target: Observables, replicate: Observables, frames: int, rng: np.random.Generator
) -> tuple[dict[str, RowResult], float | None]:
    """The rows `floor` and `md_floor` for rows of so many frames, and the length of the second's blocks in ps.

    Without blocks enough the second is left out.
    """
    metrics = list(metrics)
    perfect = {n: e for metric in metrics if isinstance(metric, Floored) for n, e in metric.floor(frames, rng).items()}
    meaning = (
        "what a perfect sampler of as many independent frames would score by luck alone, the reference taken as exact"
    )
    rows = {"floor": RowResult("i.i.d. floor", meaning, frames, 0.0, perfect)}
    deals = deal(target, replicate, frames, rng)
    if deals is not None:
        found = {n: e for metric in metrics if isinstance(metric, Dealt) for n, e in metric.dealt(deals).items()}
        meaning = (
            f"what MD scores against MD: the reference and its replicate in {deals.row.shape[1]} blocks of "
            f"{deals.block_ps / 1000:.3g} ns, dealt {DRAWS} times into a reference and a row of this size"
        )
        length = frames * target.frame_spacing_ps / 1000
        rows["md_floor"] = RowResult("MD floor", meaning, frames, length, found)
    return rows, None if deals is None else deals.block_ps
