"""Evaluate generated trajectories against a reference, beside replicates, baselines and noise floors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.baselines.floors import floors
from mdgen.evaluation.baselines.rows import equal_frames, split, table_rows
from mdgen.evaluation.criteria import CRITERIA, Criterion
from mdgen.evaluation.metrics.catalogue import metrics_for, possible, within_bounds
from mdgen.evaluation.metrics.kinetics import KineticMetrics
from mdgen.evaluation.metrics.observer import Projection
from mdgen.evaluation.metrics.target import MetricFamily, Target
from mdgen.evaluation.preparation import Preparation, prepare
from mdgen.evaluation.report.animation import animations
from mdgen.evaluation.report.caveats import (
    NEVER,
    RARELY,
    copies,
    disagreeing_timescales,
    few_frames,
    few_transitions,
    left_out,
    longer_than_data,
    rounded_lags,
    short_blocks,
    standing_still,
    too_good,
    unresolved,
    unseen_faults,
)
from mdgen.evaluation.report.curves import DRAWN, curves
from mdgen.evaluation.result import Evaluation, RowResult
from mdgen.evaluation.seeds import few_seeds, with_seeds
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Assignment, assign_blocks
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import SlowCoordinates, add_slow_coordinates, torsion_features
from mdgen.evaluation.upsampling import add_upsampling
from mdgen.evaluation.verdict import Judgements, judge
from mdgen.interfaces import Potential
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.results import Estimate


def evaluate(
    reference: TrajectorySet,
    generated: TrajectorySet,
    replicate: TrajectorySet | None = None,
    projection: Projection | None = None,
    potential: Potential | None = None,
    settings: Settings | None = None,
    tolerances: Mapping[str, float] | None = None,
    seeds: Sequence[TrajectorySet] = (),
    training: TrajectorySet | None = None,
) -> Evaluation:
    """Measure all metrics of all rows; draws and writes nothing.

    Args:
        reference: molecular dynamics that the generated trajectories are judged against, best unseen in training.
        generated: trajectories that are judged, from any model.
        replicate: further reference trajectories, the oracle; split off the reference where None, every other
            trajectory, or the second half of a single one.
        projection: positions and their context to slow coordinates, such as an encoder's `encode`; TICA of the torsions
            where None.
        potential: potential whose energies are compared, or None.
        settings: settings of the evaluation.
        tolerances: tolerances of criteria by metric, where others than those of `criteria.CRITERIA` are wanted.
        seeds: generated trajectories of the same model from further training seeds; the row `seeds` is then the mean
            over them and `generated`, with the interval over seeds.
        training: trajectories that the model was trained on; it is flagged if generated frames are copies of them.

    Raises:
        MdgenError: if a tolerance is of no criterion, or the two cannot be compared: other molecules or temperatures,
            spacings without a common multiple, frames that are not finite. What is merely lacking, such as frames for
            a Markov model, becomes a note in the result.
    """
    settings, criteria = settings or Settings(), with_tolerances(tolerances or {})
    others = {"generated": generated, **({} if replicate is None else {"replicate": replicate})}
    others |= {f"generated (seed {number})": each for number, each in enumerate(seeds, start=2)}
    with one_thread():
        return _evaluated(reference, others, training, projection, potential, settings, criteria)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread: for the many small matrices here sharing costs more than it saves, fifteen
    times more where another program has the other core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


def _evaluated(
    reference: TrajectorySet,
    others: dict[str, TrajectorySet],
    training: TrajectorySet | None,
    projection: Projection | None,
    potential: Potential | None,
    settings: Settings,
    criteria: Sequence[Criterion],
) -> Evaluation:
    sets = {f"the {name} set": trajectories for name, trajectories in others.items()}
    preparation = prepare(reference, sets, projection, potential, settings)
    named = zip({"reference": reference, **others}.items(), preparation.strides, strict=True)
    observed = {
        name: preparation.observer.observe(trajectories, stride, f"read {name}")
        for (name, trajectories), stride in named
    }
    first = observed.pop("reference")
    target, oracle = (first, observed.pop("replicate")) if "replicate" in observed else split(first)
    asked, settings = settings, _resolved(settings, target, preparation.frame_spacing_ps)
    learned = _observed_training(training, reference, preparation)
    flags = copies(target, oracle, observed["generated"], "replicate" in others, learned)
    flags += standing_still((target, oracle), observed["generated"])
    caveats = [*few_frames(target, oracle, observed["generated"]), *rounded_lags(asked, settings)]
    # Methyl rotors are slow in places, but of no interest as slow coordinates.
    torsions = [i for i, torsion in enumerate(preparation.observer.torsions) if torsion.kind != "methyl"]
    whole = _all_frames({"reference": reference, **others}, preparation)
    slow = add_slow_coordinates([target, oracle, *observed.values()], torsions, settings, whole or (target, oracle))
    result = _judged(slow, preparation, reference.molecule, settings, criteria)
    dynamics = {"reference": reference, **{name: each for name, each in others.items() if name == "replicate"}}
    result = add_upsampling(result, others["generated"], dynamics, preparation.observer, settings)
    drawn = dict(result.curves)
    if not settings.verdict_only:
        drawn |= animations(reference, others["generated"], preparation.strides, settings.player_frames)
    notes = (*result.notes, *caveats, *preparation.notes, *slow.notes)
    return replace(result, flags=(*flags, *result.flags), notes=notes, curves=drawn)


def with_tolerances(tolerances: Mapping[str, float]) -> tuple[Criterion, ...]:
    """The criteria with some tolerances replaced.

    Raises:
        MdgenError: if there is no such criterion, or a tolerance is below zero.
    """
    known = {criterion.metric for criterion in CRITERIA}
    for metric, tolerance in tolerances.items():
        if metric not in known:
            raise MdgenError(
                f"tolerances: there is no criterion {metric!r}; expected one of {', '.join(sorted(known))}"
            )
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance >= 0:
            raise MdgenError(f"tolerances: {metric}={tolerance} cannot be; give a number of at least zero")
    return tuple(each._replace(tolerance=float(tolerances.get(each.metric, each.tolerance))) for each in CRITERIA)


def _observed_training(
    training: TrajectorySet | None, reference: TrajectorySet, preparation: Preparation
) -> Observables | None:
    """All frames of the training data, whatever their spacing."""
    if training is None:
        return None
    reference.molecule.require_same(training.molecule, "the training set")
    return preparation.lean_observer.observe(training, 1, "read training")


def _all_frames(sets: dict[str, TrajectorySet], preparation: Preparation) -> tuple[Observables, ...]:
    """Reference and replicate with frames that the comparison thins away; empty where it uses all of the reference's.

    Timescales and states are fitted to them: what is seen a few times only at the common spacing is seen often here.
    """
    strides = dict(zip(sets, preparation.strides, strict=True))
    if strides["reference"] == 1:
        return ()
    observer = preparation.lean_observer
    reference = observer.observe(sets["reference"], 1, "read reference, all frames")
    replicate = sets.get("replicate")
    if replicate is None:
        return split(reference)
    if replicate.frame_spacing_ps != reference.frame_spacing_ps:
        return (reference,)
    return reference, observer.observe(replicate, 1, "read replicate, all frames")


def _resolved(settings: Settings, target: Observables, spacing_ps: float) -> Settings:
    """Fill in what depends on the data, and make the lags multiples of the frame spacing."""
    lag = settings.lag_ps if settings.lag_ps is not None else 10 * spacing_ps
    states = settings.n_states or (50 if target.length_ns < 50 else 100)
    return replace(
        settings,
        lag_ps=max(1, round(lag / spacing_ps)) * spacing_ps,
        tica_lag_ps=max(1, round(settings.tica_lag_ps / spacing_ps)) * spacing_ps,
        n_states=states,
        n_macrostates=settings.n_macrostates or (5 if states < 100 else 10),
    )


def _judged(
    slow: SlowCoordinates,
    preparation: Preparation,
    molecule: Molecule,
    settings: Settings,
    criteria: Sequence[Criterion],
) -> Evaluation:
    observer = preparation.observer
    whole = None if slow.reference is None or slow.reference.n_frames == slow.data[0].n_frames else slow.reference
    target = Target(slow.data[0], settings, observer.torsions, observer.energy_terms, slow.states, whole)
    metrics = metrics_for(target)
    kinetics: Any = metrics.get(KineticMetrics)
    rng = np.random.default_rng(settings.seed)
    rows = table_rows(slow, kinetics, settings, rng)
    progress, results, drawn = Progress("judge", len(rows)), {}, {}
    shown = [each for each in metrics.values() if not settings.verdict_only or each.describes_rows()]
    for number, row in enumerate(rows):
        data = row.make()
        found = dict(chain.from_iterable(metric(data).items() for metric in shown))
        results[row.name] = RowResult(row.label, row.meaning, data.n_frames, data.length_ns, found)
        if row.name in DRAWN:
            drawn[row.name] = data
        progress.update(number + 1, row=row.label)
    results, n_seeds = with_seeds(results)
    if not settings.verdict_only:
        results |= floors(metrics.values(), target.data, slow.data[1], results["generated"].frames, rng)
    results = {name: replace(row, metrics=within_bounds(row.metrics)) for name, row in results.items()}
    lag_frames = round(target.lag_ps / preparation.frame_spacing_ps)
    judgements, assignment, slowest_ps = _verdict(slow, target, metrics, criteria)
    blocks_ps = None if assignment is None else assignment.blocks.block_ps
    tolerances = {criterion.metric: criterion.tolerance for criterion in criteria}
    caveats = [
        *too_good(judgements.too_good),
        *unseen_faults(results, tolerances, RARELY),
        *short_blocks(slowest_ps, blocks_ps),
        *longer_than_data(results),
        *disagreeing_timescales(results, settings.n_timescales),
        *few_transitions(results, lag_frames),
        *few_seeds(n_seeds),
        *unresolved(judgements.unresolved),
        *left_out(judgements.left_out),
    ]
    residues = "-".join(residue.name for residue in molecule.topology.residues)
    return Evaluation(
        molecule={"residues": residues, "atoms": molecule.n_atoms, "fingerprint": molecule.fingerprint},
        settings={**asdict(settings), "frame_spacing_ps": preparation.frame_spacing_ps, "tolerances": tolerances},
        rows=results,
        criteria=judgements.rows,
        blocks=None if assignment is None else assignment.summary,
        flags=tuple(unseen_faults(results, tolerances, NEVER)),
        notes=tuple(caveats),
        curves={} if settings.verdict_only else curves(drawn, target, metrics),
    )


def _verdict(
    slow: SlowCoordinates, target: Target, metrics: Mapping[type, MetricFamily], criteria: Sequence[Criterion]
) -> tuple[Judgements, Assignment | None, Estimate | None]:
    """The judgements, from all dynamics and as many generated frames, the blocks, and the slowest timescale in ps."""
    dynamics, generated, settings = slow.data[0].joined(slow.data[1]), slow.data[2], target.settings
    frames = min(dynamics.n_frames, generated.n_frames)
    generated = equal_frames(generated, frames, max(dynamics.lengths))
    kinetics: Any = metrics.get(KineticMetrics)
    slowest_ps = None if kinetics is None else kinetics.slowest_ps(dynamics)
    features = None
    if target.torsions:
        features = torsion_features(dynamics.joined(generated)["torsions"][:, target.moving])
    rng = np.random.default_rng([settings.seed, 1])  # of its own: rows of the tables change no verdict
    slowest = None if slowest_ps is None else slowest_ps.value
    assignment = assign_blocks(dynamics, generated, slowest, settings.permutations, settings.resamples, rng, features)
    judgements = judge(criteria, metrics, assignment, possible(target))
    return judgements, assignment, slowest_ps
