"""Generated frames at a finer spacing than the reference's: the lags below the spacing that all trajectories share.

The tables are made at the common spacing. Shorter lags are judged here against the dynamics of the finest spacing;
where no dynamics is as fine as the generated trajectories they are only drawn.
"""

from collections.abc import Mapping
from dataclasses import replace

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.metrics.observer import Observer
from mdgen.evaluation.metrics.subframe import LEAST_LAGS, SubframeMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.preparation import common_strides
from mdgen.evaluation.result import Evaluation
from mdgen.evaluation.settings import Settings


def add_upsampling(
    result: Evaluation,
    generated: TrajectorySet,
    dynamics: Mapping[str, TrajectorySet],
    observer: Observer,
    settings: Settings,
) -> Evaluation:
    """Judge the generated trajectories at lags below the common spacing, where their frames are finer than that.

    Of the dynamics, the reference and perhaps a replicate, the one with the finest spacing is the target.
    """
    spacing_ps = result.settings["frame_spacing_ps"]
    if not observer.torsions or generated.frame_spacing_ps * (LEAST_LAGS + 1) > spacing_ps:
        return result
    name = min(dynamics, key=lambda each: dynamics[each].frame_spacing_ps)
    strides, shared_ps = common_strides([generated.frame_spacing_ps, dynamics[name].frame_spacing_ps])
    as_fine = shared_ps * (LEAST_LAGS + 1) <= spacing_ps
    torsions_only = replace(observer, projection=None, potential=None, energy_terms=(), structure_work=1.0)
    mine = torsions_only.observe(generated, strides[0] if as_fine else 1, "read generated, all frames")
    data = torsions_only.observe(dynamics[name], strides[1], f"read {name}, all frames") if as_fine else mine
    metrics = SubframeMetrics(Target(data, replace(settings, key_frame_ps=spacing_ps), observer.torsions))
    curves = {"subframe_axis": metrics.lags_ps, "subframe/generated": metrics.curve(mine)}
    if not as_fine:
        note = (
            f"Below {spacing_ps:g} ps the generated trajectories are drawn but not judged, since no dynamics is as "
            f"fine as they are; give a replicate with frames every {generated.frame_spacing_ps:g} ps."
        )
        return replace(result, notes=(*result.notes, note), curves={**result.curves, **curves})
    row = result.rows["generated"]
    row = replace(row, metrics={**row.metrics, **metrics(mine)})
    curves["subframe/replicate"] = metrics.curve(data)
    return replace(result, rows={**result.rows, "generated": row}, curves={**result.curves, **curves})
