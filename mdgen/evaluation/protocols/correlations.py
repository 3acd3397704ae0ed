"""Correlations that are not defined where something does not vary."""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


def pearson(first: Float[np.ndarray, "entry"], second: Float[np.ndarray, "entry"]) -> float:
    """Linear correlation; NaN where either does not vary or there are fewer than two entries."""
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def spearman(first: Float[np.ndarray, "entry"], second: Float[np.ndarray, "entry"]) -> float:
    """Rank correlation, ties by their mean rank; NaN as for `pearson`."""
    return pearson(rankdata(first), rankdata(second))
