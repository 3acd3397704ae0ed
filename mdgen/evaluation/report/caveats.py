"""Caveats of an evaluation: sentences on few frames, few transitions, copied frames and rounded lags."""

from collections.abc import Mapping, Sequence

import numpy as np

from mdgen.evaluation.metrics.catalogue import label
from mdgen.evaluation.metrics.conformation.nearest import memorisation
from mdgen.evaluation.metrics.conformation.standstill import STILL, standstill
from mdgen.evaluation.result import RowResult
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import INDEPENDENT
from mdgen.evaluation.statistics.observables import Observables
from mdgen.results import Estimate


def few_transitions(rows: Mapping[str, RowResult], lag_frames: int) -> list[str]:
    """Sentences on rows whose kinetics rest on less than all of their frames, or on none."""
    caveats = []
    for name in ("reference", "replicate", "generated"):
        metrics, label = rows[name].metrics, rows[name].label
        share = metrics.get("connected_share")
        if share is not None and share.value < 0.99:
            caveats.append(
                f"{label}: the states fall apart; the largest set that frames both enter and leave holds "
                f"{share.value:.1%} of the transitions, and the kinetics are of that set alone. Longer trajectories "
                "would connect more."
            )
        elif share is None and "connected_share" in rows["reference"].metrics:
            caveats.append(
                f"{label}: no kinetics, since no trajectory is longer than the lag; give trajectories of at least "
                f"{lag_frames + 2} frames, or a shorter lag."
            )
    return caveats


DISAGREEMENT = 2.0
"""Ratio of two estimates of a timescale above which they disagree, if their intervals do not overlap either."""


def disagreeing_timescales(rows: Mapping[str, RowResult], number: int) -> list[str]:
    """A sentence on each timescale of the reference that its Markov model and its slow coordinate put far apart."""
    caveats, metrics = [], rows["reference"].metrics
    for mode in range(1, number + 1):
        model, mode_alone = (metrics.get(f"{name}/{mode}") for name in ("timescale_ps", "mode_timescale_ps"))
        if model is None or mode_alone is None or None in (model.low, model.high, mode_alone.low, mode_alone.high):
            continue
        apart = max(model.value, mode_alone.value) > DISAGREEMENT * min(model.value, mode_alone.value)
        if apart and (model.low > mode_alone.high or mode_alone.low > model.high):  # type: ignore[operator]
            caveats.append(
                f"MD: timescale {mode} is {model.value:.4g} ps ({model.low:.4g} to {model.high:.4g}) by the Markov "
                f"model and {mode_alone.value:.4g} ps ({mode_alone.low:.4g} to {mode_alone.high:.4g}) by the "
                "autocorrelation of the slow coordinate; take neither as known to better than that."
            )
    return caveats


def short_blocks(slowest_ps: Estimate | None, blocks_ps: float | None) -> list[str]:
    """A sentence where there are no blocks for a verdict, or they are short beside the slowest process.

    Args:
        slowest_ps: slowest timescale; None where it is not known.
        blocks_ps: length of the blocks; None where there are none.
    """
    if blocks_ps is None:
        return ["No criterion is judged: there are too few frames to cut into blocks; give longer trajectories."]
    if slowest_ps is None:
        return [
            "The slowest timescale is not known from these data; the verdict takes it to be as long as a "
            "trajectory: intervals and p are widened for it, and longer trajectories would decide more."
        ]
    most = slowest_ps.value if slowest_ps.high is None else slowest_ps.high
    if blocks_ps >= INDEPENDENT * most:
        return []
    return [
        f"The verdict's blocks of {blocks_ps:.3g} ps are shorter than {INDEPENDENT * most:.3g} ps, "
        f"{INDEPENDENT:g} times the slowest timescale, which may be {most:.3g} ps; intervals and p are "
        f"widened for its estimate of {slowest_ps.value:.3g} ps, and longer trajectories would decide more."
    ]


LONGER = 2.0
"""How many times longer than the dynamics generated trajectories are where their intervals need a word."""


def longer_than_data(rows: Mapping[str, RowResult]) -> list[str]:
    """A sentence where much more was generated than there is dynamics: intervals shrink, a model's error does not."""
    made = rows.get("generated_all", rows["generated"]).length_ns
    data = sum(rows[name].length_ns for name in ("reference", "replicate"))
    if made < LONGER * data:
        return []
    return [
        f"{made:.4g} ns were generated for {data:.4g} ns of dynamics. The intervals of all of them say how far chance "
        "moves trajectories so long, not how right the model is: what it learnt is as uncertain as the dynamics it "
        "learnt from."
    ]


def too_good(metrics: Sequence[str]) -> list[str]:
    """A sentence where the generated frames lie closer to the dynamics than dynamics itself does."""
    if not metrics:
        return []
    return [
        f"Too good to be true: the generated frames are closer to the dynamics than as many frames of dynamics are, in "
        f"{'; '.join(map(label, metrics))}. They may be copies of it, or drawn more evenly than dynamics can be."
    ]


NEVER = {
    "chirality_error_share": ("chirality", "a mirrored stereocentre"),
    "prochirality_error_share": ("prochirality", "exchanged neighbours of an atom"),
    "cis_share": ("cis", "a peptide bond in cis"),
}
RARELY = {
    "broken_bond_share": ("broken_bonds", "a broken bond"),
    "broken_angle_share": ("broken_angles", "a broken angle"),
}
"""Shares of frames with what dynamics shows never, and what it shows rarely: name of the criterion, and words."""


def unseen_faults(
    rows: Mapping[str, RowResult], tolerances: Mapping[str, float], faults: Mapping[str, tuple[str, str]]
) -> list[str]:
    """A sentence on each of some faults of the generated frames, all of them, that no frame of the dynamics has.

    In one stretch of frames it is a single event, which no permutation of blocks can tell from a rare one of dynamics:
    it voids a result only where dynamics never has it (`NEVER`), and else may be chance (`RARELY`).
    """
    caveats = []
    generated = rows.get("generated_all", rows["generated"])
    for name, (criterion, words) in faults.items():
        found = [row.metrics.get(name) for row in (rows["reference"], rows["replicate"], generated)]
        known = [estimate.value for estimate in found if estimate is not None]
        if len(known) < 3 or max(known[:2]) > 0 or known[2] <= tolerances.get(f"share_difference/{criterion}", 0.0):
            continue
        chance = "" if name in NEVER else "; one stretch of frames can be chance, so look at them"
        caveats.append(
            f"generated: {known[2]:.2%} of its frames have {words}, which no frame of the dynamics has{chance}."
        )
    return caveats


def unresolved(metrics: Sequence[str]) -> list[str]:
    """A sentence on criteria of processes that the dynamics does not show."""
    if not metrics:
        return []
    return [
        "Not judged, since the dynamics shows no such process beyond the lag and beyond noise: "
        f"{'; '.join(map(label, metrics))}."
    ]


def left_out(metrics: Sequence[str]) -> list[str]:
    """A sentence on criteria that do not exist for the molecule or were not asked for."""
    if not metrics:
        return []
    return [f"Not judged, since this molecule or this evaluation has no such thing: {'; '.join(map(label, metrics))}."]


LEAST_FRACTION = 0.1
"""Fraction of the reference's frames below which a row counts as small."""


def few_frames(target: Observables, oracle: Observables, generated: Observables) -> list[str]:
    """A sentence where the rows are small; they hold as many frames as the shorter of the last two."""
    frames = min(oracle.n_frames, generated.n_frames)
    if frames >= LEAST_FRACTION * target.n_frames:
        return []
    if generated.n_frames == frames:
        source, remedy = "the generated trajectories", "give more of them"
    else:
        source, remedy = "the replicate", "name a replicate, or reference trajectories of like lengths"
    return [
        f"Rows hold {frames:,} frames for {target.n_frames:,} of the reference, as many as {source}; distances are as "
        f"noisy as the floors show: {remedy}."
    ]


COPIED = 0.01
"""Least share of copied frames that is reported."""

COPY_SAMPLE = 20_000


def copies(
    reference: Observables,
    replicate: Observables,
    generated: Observables,
    replicate_was_given: bool,
    training: Observables | None = None,
) -> list[str]:
    """A sentence for each source of which generated frames are copies: the dynamics, or the training data.

    Reference and replicate are two sources only where the replicate was given; else they are halves of one.
    """
    if replicate_was_given:
        sources = {"the reference": reference, "the replicate": replicate}
    else:
        sources = {"the dynamics": reference.joined(replicate)}
    remedies = dict.fromkeys(
        sources,
        "a comparison with the data that it was copied from is void, so give dynamics that the model has not seen",
    )
    if training is not None:
        sources["the training data"] = training
        remedies["the training data"] = "the model repeats what it has seen, and only its other frames are new"
    marks = generated["mark"][:: max(1, generated.n_frames // COPY_SAMPLE)]
    near = {each.source: each for each in memorisation(reference, replicate, generated, sources)}
    caveats = []
    for name, data in sources.items():
        share, how = float(np.isin(marks, data["mark"]).mean()), ", bit for bit"
        if name in near and near[name].share > share:
            share, found = near[name].share, near[name]
            how = (
                f", moved, turned or jittered: nearer than {found.copy_nm:.2g} nm, where the nearest frame of held-out "
                f"dynamics is at {found.replicate_nm:.2g} nm"
            )
        if share >= COPIED:
            caveats.append(f"generated: {share:.0%} of its frames are frames of {name}{how}; {remedies[name]}.")
    return caveats


def standing_still(dynamics: Sequence[Observables], generated: Observables) -> list[str]:
    """A sentence where generated trajectories stand still, which those of dynamics never do."""
    found = standstill(dynamics, generated)
    if found is None:
        return []
    many = f"{found.trajectories} of {len(generated.lengths)} trajectories stand still"
    return [
        f"generated: {many}, in {found.share:.2%} of their length: a typical step is below {STILL:.0%} of the least "
        f"that any stretch of the dynamics takes, and {found.repeated:.0%} of the frames there repeat the frame before "
        "bit for bit; a model that is stuck voids what is averaged over time."
    ]


def rounded_lags(asked: Settings, used: Settings) -> list[str]:
    """A sentence for each lag that is no multiple of the frame spacing."""
    return [
        f"{name}={wanted:g} is no multiple of the frame spacing; {taken:g} ps is used."
        for name in ("lag_ps", "tica_lag_ps")
        if (wanted := getattr(asked, name)) is not None and abs((taken := getattr(used, name)) - wanted) > 1e-6 * wanted
    ]
