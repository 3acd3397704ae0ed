"""How much molecular dynamics a score is worth: the length of a stretch of the replicate that has the same one."""

from collections.abc import Mapping

import numpy as np

from mdgen.results import Estimate

LENGTHS = ("thousandth", "hundredth", "tenth", "replicate")
"""Rows of dynamics of rising length."""

SCORES = ("torsion_jsd/all", "torsion_pair_jsd/all", "tica_jsd/0", "tica_jsd/0,1")
"""Distances from the reference that fall as dynamics get longer."""


def equivalent_length_ns(
    rows: Mapping[str, Mapping[str, Estimate]], lengths_ns: Mapping[str, float], metric: str
) -> float | None:
    """Length in ns of the dynamics whose score equals that of the generated trajectories.

    The score is interpolated as a power of the length between the rows of dynamics. The result is never above the
    replicate's length, nor below that of the shortest stretch. None where fewer than two rows have the metric.

    >>> rows = {"tenth": {"torsion_jsd/all": Estimate(0.2)}, "replicate": {"torsion_jsd/all": Estimate(0.05)}}
    >>> lengths_ns = {"tenth": 1.0, "replicate": 10.0}
    >>> round(equivalent_length_ns({**rows, "generated": {"torsion_jsd/all": Estimate(0.1)}}, lengths_ns, SCORES[0]), 2)
    3.16
    """
    generated = rows.get("generated", {}).get(metric)
    known = [name for name in LENGTHS if metric in rows.get(name, {}) and name in lengths_ns]
    if generated is None or len(known) < 2 or not generated.value >= 0:
        return None
    scores = np.array([rows[name][metric].value for name in known])
    if not (np.isfinite(scores) & (scores > 0)).all():
        return None
    # Chance may give a longer stretch the higher score; no longer one is then worth less.
    scores = np.log(np.minimum.accumulate(scores))
    logarithms = np.log([lengths_ns[name] for name in known])
    return float(np.exp(np.interp(-np.log(max(generated.value, 1e-300)), -scores, logarithms)))
