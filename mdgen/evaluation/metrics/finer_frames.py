"""Generated frames finer than the reference's, as of upsampling: a second look at the lags that the first pass skipped.

The tables are made at the spacing that all trajectories share. What lies below it is judged here, against a replicate
that is as fine where there is one; without, it can only be drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.metrics.observables import Observables, Observer
from mdgen.evaluation.metrics.subframe_metrics import LEAST_LAGS, SubframeMetrics
from mdgen.evaluation.preparation import common_strides
from mdgen.evaluation.settings import Settings
from mdgen.results import Estimate


@dataclass(frozen=True)
class Finer:
    """What was found below the common spacing.

    Args:
        metrics: of the generated row.
        curves: for the report.
        notes: for the reader.
    """

    metrics: dict[str, Estimate] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def finer(
    generated: TrajectorySet,
    dynamics: Mapping[str, TrajectorySet],
    observer: Observer,
    spacing_ps: float,
    settings: Settings,
) -> Finer:
    """Judge the generated trajectories at lags below `spacing_ps`, where their frames are finer than that.

    Args:
        generated: what is judged.
        dynamics: the reference and perhaps a replicate, by name; the finest of them is the target.
        observer: of the molecule.
        spacing_ps: common to all sets.
        settings: resolved.
    """
    if not observer.torsions or generated.frame_spacing_ps * (LEAST_LAGS + 1) > spacing_ps:
        return Finer()
    name = min(dynamics, key=lambda each: dynamics[each].frame_spacing_ps)
    strides, shared_ps = common_strides([generated.frame_spacing_ps, dynamics[name].frame_spacing_ps])
    as_fine = shared_ps * (LEAST_LAGS + 1) <= spacing_ps
    torsions_only = replace(observer, projection=None, potential=None, energy_terms=(), structure_work=1.0)

    def observed(trajectories: TrajectorySet, stride: int, label: str) -> Observables:
        return torsions_only.observe(trajectories, stride, f"read {label}, finer")

    mine = observed(generated, strides[0] if as_fine else 1, "generated")
    target = observed(dynamics[name], strides[1], name) if as_fine else mine
    metrics = SubframeMetrics(target, observer.torsions, spacing_ps, settings)
    curves = {"subframe_axis": metrics.lags_ps, "subframe/generated": metrics.curve(mine)}
    if not as_fine:
        note = (
            f"Below {spacing_ps:g} ps the generated trajectories are drawn but not judged, since no dynamics is as "
            f"fine as they are; give a replicate with frames every {generated.frame_spacing_ps:g} ps."
        )
        return Finer({}, curves, (note,))
    return Finer(metrics(mine), {**curves, "subframe/replicate": metrics.curve(target)})
