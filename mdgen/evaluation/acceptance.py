"""Acceptance of generated trajectories: their metrics compared with bounds."""

import numpy as np

from mdgen.evaluation.result import RowResult
from mdgen.evaluation.settings import Bounds
from mdgen.results import Acceptance, Estimate


def judge(rows: dict[str, RowResult], bounds: Bounds) -> tuple[Acceptance, ...]:
    """Compare the generated rows with the bounds; always six lines, since what could not be measured has not passed.

    Free energy, timescales and structure are judged on all generated frames, torsions on as many as the replicate has.
    """
    reference, replicate, equal = rows["reference"].metrics, rows["replicate"].metrics, rows["generated"].metrics
    everything = rows["generated_all"].metrics if "generated_all" in rows else equal
    torsions = _scaled(_of(equal, "torsion_jsd/all"), _of(replicate, "torsion_jsd/all").value)
    usual = max(_of(reference, "clash_share").value, bounds.least_clash_share)
    clashes = _scaled(_of(everything, "clash_share"), usual)
    psi = _of(everything, "free_energy_rmse_kT/psi_1")
    return (
        _judge_below("free_energy_psi1_rmse_kT", psi, bounds.free_energy_psi1_rmse_kT),
        _judge_below("torsion_jsd_over_replicate", torsions, bounds.torsion_jsd_over_replicate),
        _judge_timescale(1, everything, reference, bounds),
        _judge_timescale(2, everything, reference, bounds),
        _judge_below("broken_bonds", _of(everything, "broken_bond_share"), bounds.broken_bonds),
        _judge_below("clash_share_over_md", clashes, bounds.clash_share_over_md),
    )


def _of(metrics: dict[str, Estimate], name: str) -> Estimate:
    return metrics.get(name, Estimate(float("nan")))


def _judge_below(name: str, estimate: Estimate, bound: float) -> Acceptance:
    if np.isfinite(estimate.value):
        return Acceptance.below(name, estimate, bound)
    return Acceptance.judged(name, Estimate(float("nan")), f"<= {bound:g}; could not be measured", False)


def _judge_timescale(
    number: int, generated: dict[str, Estimate], reference: dict[str, Estimate], bounds: Bounds
) -> Acceptance:
    name, key = f"timescale_{number}", f"timescale_ps/{number}"
    mine, theirs = _of(generated, key), _of(reference, key)
    bound = f"within {bounds.timescale_relative:.0%} of "
    if not np.isfinite(theirs.value):
        return Acceptance.judged(name, Estimate(float("nan")), f"{bound}the reference's, which has none", False)
    bound += f"{theirs.value:.4g} ps"
    if theirs.low is not None and theirs.high is not None:
        bound += f" or in {theirs.low:.4g} .. {theirs.high:.4g}"
    if not np.isfinite(mine.value):
        return Acceptance.judged(name, Estimate(float("nan")), f"{bound}; could not be measured", False)
    close = abs(mine.value - theirs.value) <= bounds.timescale_relative * theirs.value
    return Acceptance.judged(name, mine, bound, close or theirs.contains(mine.value))


def _scaled(estimate: Estimate, by: float) -> Estimate:
    by = by if by > 0 else float("nan")
    low, high = (None if end is None else end / by for end in (estimate.low, estimate.high))
    return Estimate(estimate.value / by, low, high)
