"""Several models that differ in their training seed alone: the mean of each metric, and an interval over seeds.

The interval is Student's for the mean of a few independent trainings, `mean +- t s / sqrt(n)`; it is wide for three.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

from mdgen.evaluation.result import RowResult
from mdgen.results import Estimate

LEAST_SEEDS = 3
"""With fewer there is a mean, but no interval."""


def with_seeds(rows: Mapping[str, RowResult]) -> tuple[dict[str, RowResult], int]:
    """The rows with `seeds` after `generated` and `seed_2`, `seed_3` ..., and how many seeds there are."""
    seeds = [name for name in rows if name == "generated" or name.startswith("seed_")]
    if len(seeds) < 2:
        return dict(rows), len(seeds)
    result: dict[str, RowResult] = {}
    for name, row in rows.items():
        result[name] = row
        if name == seeds[-1]:
            result["seeds"] = over_seeds([rows[seed] for seed in seeds])
    return result, len(seeds)


def over_seeds(rows: Sequence[RowResult]) -> RowResult:
    """The row of means over seeds, of the metrics that every seed has."""
    shared = [name for name in rows[0].metrics if all(name in row.metrics for row in rows)]
    metrics = {name: mean_interval(np.array([row.metrics[name].value for row in rows])) for name in shared}
    meaning = f"the mean over {len(rows)} training seeds, with the interval of the mean over seeds"
    return RowResult(f"generated, {len(rows)} seeds", meaning, rows[0].frames, rows[0].length_ns, metrics)


def mean_interval(values: np.ndarray) -> Estimate:
    """The mean of independent values with Student's interval; none for fewer than three, or where one is missing.

    Quantities that are never negative have intervals that are not either.

    >>> estimate = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> estimate.value, estimate.low, round(estimate.high, 3)
    (2.0, 0.0, 4.484)
    """
    value = float(values.mean())
    if len(values) < LEAST_SEEDS or not np.isfinite(values).all():
        return Estimate(value)
    reach = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    low = value - reach
    return Estimate(value, max(0.0, low) if values.min() >= 0 else low, value + reach)


def few_seeds(number: int) -> list[str]:
    """A sentence where there are too few seeds for an interval."""
    if not 1 < number < LEAST_SEEDS:
        return []
    return [f"{number} training seeds give no interval; give generated trajectories of at least {LEAST_SEEDS} seeds."]
