"""Two floors under every distance: of independent frames, and of frames as correlated as those of dynamics."""

from collections.abc import Iterable

import numpy as np

from mdgen.evaluation.metrics.target import MetricFamily
from mdgen.evaluation.result import RowResult
from mdgen.evaluation.statistics.block_permutation import DRAWS, permute_blocks
from mdgen.evaluation.statistics.intervals import spreads
from mdgen.evaluation.statistics.observables import Observables


def floors(
    metrics: Iterable[MetricFamily], target: Observables, replicate: Observables, frames: int, rng: np.random.Generator
) -> dict[str, RowResult]:
    """The rows `floor` and `md_floor` for rows of so many frames; the second only where there are enough blocks."""
    metrics = list(metrics)
    perfect = {n: e for metric in metrics for n, e in metric.floor(frames, rng).items()}
    meaning = "score of a perfect sampler of as many independent frames by chance alone, the reference taken as exact"
    rows = {"floor": RowResult("i.i.d. floor", meaning, frames, 0.0, perfect)}
    blocks = permute_blocks(target, replicate, frames, rng)
    if blocks is not None:
        found = spreads({name: draws for metric in metrics for name, draws in metric.permuted(blocks).items()})
        meaning = (
            f"block permutation of MD against MD: the reference and its replicate in {blocks.row.shape[1]} blocks of "
            f"{blocks.block_ps / 1000:.3g} ns, assigned at random {DRAWS} times to a reference and a row of this size"
        )
        length = frames * target.frame_spacing_ps / 1000
        rows["md_floor"] = RowResult("MD floor", meaning, frames, length, found)
    return rows
