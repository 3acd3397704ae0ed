"""Judge generated trajectories against a reference, beside every baseline that could fool a lesser judge."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.baselines import rows as rows_of
from mdgen.evaluation.baselines.floors import floors
from mdgen.evaluation.baselines.table_rows import table_rows
from mdgen.evaluation.metrics.autocorrelation_metrics import CorrelationMetrics
from mdgen.evaluation.metrics.energy_metrics import EnergyMetrics
from mdgen.evaluation.metrics.finer_frames import finer
from mdgen.evaluation.metrics.kinetic_metrics import KineticMetrics
from mdgen.evaluation.metrics.observables import Observables, Projection
from mdgen.evaluation.metrics.path_metrics import PathMetrics
from mdgen.evaluation.metrics.slow_mode_metrics import CoordinateMetrics
from mdgen.evaluation.metrics.step_metrics import StepMetrics
from mdgen.evaluation.metrics.structure_metrics import StructureMetrics
from mdgen.evaluation.metrics.subframe_metrics import LEAST_LAGS, SubframeMetrics
from mdgen.evaluation.metrics.torsion_metrics import TorsionMetrics
from mdgen.evaluation.preparation import Preparation, prepare
from mdgen.evaluation.report.animation import film
from mdgen.evaluation.report.caveats import copies, few_frames, few_transitions, rounded_lags, short_blocks
from mdgen.evaluation.report.curves import DRAWN, curves
from mdgen.evaluation.result import Evaluation, RowResult, judge
from mdgen.evaluation.seeds import few_seeds, with_seeds
from mdgen.evaluation.settings import Bounds, Settings
from mdgen.evaluation.statistics.slow_coordinates import SlowCoordinates, add_slow_coordinates
from mdgen.interfaces import Potential
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import Torsion
from mdgen.progress import Progress
from mdgen.results import Estimate


def evaluate(
    reference: TrajectorySet,
    generated: TrajectorySet,
    replicate: TrajectorySet | None = None,
    projection: Projection | None = None,
    potential: Potential | None = None,
    settings: Settings | None = None,
    bounds: Bounds | None = None,
    seeds: Sequence[TrajectorySet] = (),
) -> Evaluation:
    """Measure everything; draw and write nothing.

    Args:
        reference: molecular dynamics that the generated trajectories are judged against, best unseen in training.
        generated: what is judged, whoever made it.
        replicate: a further set of reference trajectories, the oracle; split off the reference where None, every other
            trajectory, or the second half of a single one.
        projection: positions to slow coordinates, such as an encoder's `encode`; TICA of the torsions where None.
        potential: a force field whose energies are compared, or None.
        settings: how to measure.
        bounds: what the acceptance holds the generated trajectories to.
        seeds: generated trajectories of the same model from further training seeds; the row `seeds` is then the mean
            over them and `generated`, with the interval over seeds.

    Raises:
        MdgenError: if the two cannot be compared: other molecules, spacings without a common multiple, frames that are
            not finite. What is merely lacking, such as frames for a Markov model, becomes a note in the result.
    """
    settings, bounds = settings or Settings(), bounds or Bounds()
    others = {"generated": generated, **({} if replicate is None else {"replicate": replicate})}
    others |= {f"generated (seed {number})": each for number, each in enumerate(seeds, start=2)}
    with one_thread():
        return _evaluated(reference, others, projection, potential, settings, bounds)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread: its many small pieces cost more to share out than to do, fifteen times more
    where another program has the other core.
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
    projection: Projection | None,
    potential: Potential | None,
    settings: Settings,
    bounds: Bounds,
) -> Evaluation:
    sets = {f"the {name} set": trajectories for name, trajectories in others.items()}
    preparation = prepare(reference, sets, projection, potential, settings)
    observed = {
        name: preparation.observer.observe(trajectories, stride, f"read {name}")
        for (name, trajectories), stride in zip(
            {"reference": reference, **others}.items(), preparation.strides, strict=True
        )
    }
    first = observed.pop("reference")
    target, oracle = (first, observed.pop("replicate")) if "replicate" in observed else rows_of.split(first)
    asked, settings = settings, _resolved(settings, target, preparation.frame_spacing_ps)
    doubts = rounded_lags(asked, settings)
    doubts += few_frames(target, oracle, observed["generated"])
    doubts += copies({"the reference": target, "the replicate": oracle}, observed["generated"])
    # Methyl rotors are slow here and there, but no motion that anyone asks after; they stay out of slow coordinates.
    torsions = [i for i, torsion in enumerate(preparation.observer.torsions) if torsion.kind != "methyl"]
    slow = add_slow_coordinates([target, oracle, *observed.values()], torsions, settings)
    result = _judged(slow, preparation, reference.molecule, settings, bounds)
    dynamics = {"reference": reference, **{name: each for name, each in others.items() if name == "replicate"}}
    below = finer(others["generated"], dynamics, preparation.observer, preparation.frame_spacing_ps, settings)
    generated = replace(result.rows["generated"], metrics={**result.rows["generated"].metrics, **below.metrics})
    return replace(
        result,
        rows={**result.rows, "generated": generated},
        notes=(*result.notes, *below.notes, *doubts),
        curves={
            **result.curves,
            **below.curves,
            **_films(reference, others["generated"], preparation.strides, settings),
        },
    )


def _films(
    reference: TrajectorySet, generated: TrajectorySet, strides: tuple[int, ...], settings: Settings
) -> dict[str, np.ndarray]:
    """What the report's player shows: the reference and the generated trajectories, side by side."""
    first = film(reference, strides[0], settings.player_frames)
    second = film(generated, strides[1], settings.player_frames, onto=first[0])
    return {
        "film/reference": first,
        "film/generated": second,
        "film_elements": np.array(reference.molecule.elements),
        "film_bonds": reference.molecule.bonds,
    }


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
    slow: SlowCoordinates, preparation: Preparation, molecule: Molecule, settings: Settings, bounds: Bounds
) -> Evaluation:
    target, observer, torsions = slow.data[0], preparation.observer, preparation.observer.torsions
    correlation = CorrelationMetrics(target, torsions, settings)
    metrics: list[Callable[[Observables], dict[str, Estimate]]] = [
        TorsionMetrics(target, torsions, settings),
        CoordinateMetrics(target, settings),
        correlation,
        StepMetrics(target, torsions, settings),
        StructureMetrics(target, torsions, settings),
        EnergyMetrics(target, observer.energy_terms, settings),
    ]
    subframe = _subframe(target, torsions, settings)
    metrics += [] if subframe is None else [subframe]
    kinetics = None
    if slow.states is not None:
        kinetics = KineticMetrics(target, slow.states, settings.lag_ps or 0.0, settings)
        metrics += [kinetics, PathMetrics(target, kinetics, settings)]
    rng = np.random.default_rng(settings.seed)
    rows = table_rows(slow, kinetics, settings, rng)
    progress, results, drawn = Progress("judge", len(rows)), {}, {}
    for number, row in enumerate(rows):
        data = row.make()
        found = {name: estimate for metric in metrics for name, estimate in metric(data).items()}
        results[row.name] = RowResult(row.label, row.meaning, data.n_frames, data.length_ns, found)
        if row.name in DRAWN:
            drawn[row.name] = data
        progress.update(number + 1, row=row.label)
    results, n_seeds = with_seeds(results)
    under, blocks_ps = floors(metrics, target, slow.data[1], results["generated"].frames, rng)
    results |= under
    lag_frames = round((settings.lag_ps or 0.0) / preparation.frame_spacing_ps)
    doubts = [*few_transitions(results, lag_frames), *short_blocks(results, blocks_ps), *few_seeds(n_seeds)]
    return Evaluation(
        molecule=_described(molecule),
        settings={**asdict(settings), "frame_spacing_ps": preparation.frame_spacing_ps, "bounds": asdict(bounds)},
        rows=results,
        notes=(*preparation.notes, *slow.notes, *doubts),
        acceptance=judge(results, bounds),
        curves=curves(drawn, torsions, kinetics, correlation, subframe, observer.energy_terms, settings),
    )


def _subframe(target: Observables, torsions: Sequence[Torsion], settings: Settings) -> SubframeMetrics | None:
    """Metrics below the spacing of the key frames, where one was given.

    Raises:
        MdgenError: if the frames are too coarse for it.
    """
    if settings.key_frame_ps is None or not torsions:
        return None
    if settings.key_frame_ps < (LEAST_LAGS + 1) * target.frame_spacing_ps:
        raise MdgenError(
            f"key_frame_ps={settings.key_frame_ps:g} leaves fewer than {LEAST_LAGS} lags below it with a frame every "
            f"{target.frame_spacing_ps:g} ps; give the spacing of the key frames, or finer trajectories"
        )
    return SubframeMetrics(target, torsions, settings.key_frame_ps, settings)


def _described(molecule: Molecule) -> dict[str, str | int]:
    residues = "-".join(residue.name for residue in molecule.topology.residues)
    return {"residues": residues, "atoms": molecule.n_atoms, "fingerprint": molecule.fingerprint}
