"""Judge generated trajectories against a reference, beside every baseline that could fool a lesser judge."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation import rows as rows_of
from mdgen.evaluation import surrogates
from mdgen.evaluation.coordinate_metrics import CoordinateMetrics
from mdgen.evaluation.correlation_metrics import CorrelationMetrics
from mdgen.evaluation.curves import curves
from mdgen.evaluation.energy_metrics import EnergyMetrics
from mdgen.evaluation.film import film
from mdgen.evaluation.floors import floors, short_blocks
from mdgen.evaluation.kinetic_metrics import KineticMetrics
from mdgen.evaluation.observables import Observables, Projection
from mdgen.evaluation.path_metrics import PathMetrics
from mdgen.evaluation.preparation import Preparation, prepare
from mdgen.evaluation.result import Evaluation, RowResult, judge
from mdgen.evaluation.rows import Row
from mdgen.evaluation.settings import Bounds, Settings
from mdgen.evaluation.slow_coordinates import SlowCoordinates, add_slow_coordinates
from mdgen.evaluation.step_metrics import StepMetrics
from mdgen.evaluation.structure_metrics import StructureMetrics
from mdgen.evaluation.torsion_metrics import TorsionMetrics
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
    bounds: Bounds | None = None,
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

    Raises:
        MdgenError: if the two cannot be compared: other molecules, spacings without a common multiple, frames that are
            not finite. What is merely lacking, such as frames for a Markov model, becomes a note in the result.
    """
    settings, bounds = settings or Settings(), bounds or Bounds()
    others = {"generated": generated, **({} if replicate is None else {"replicate": replicate})}
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
    observed = [
        preparation.observer.observe(trajectories, stride, f"read {name}")
        for (name, trajectories), stride in zip(
            {"reference": reference, **others}.items(), preparation.strides, strict=True
        )
    ]
    target, oracle = rows_of.split(observed[0]) if "replicate" not in others else (observed[0], observed[2])
    settings = _resolved(settings, target, preparation.frame_spacing_ps)
    # Methyl rotors are slow here and there, but no motion that anyone asks after; they stay out of slow coordinates.
    torsions = [i for i, torsion in enumerate(preparation.observer.torsions) if torsion.kind != "methyl"]
    slow = add_slow_coordinates([target, oracle, observed[1]], torsions, settings)
    result = _judged(slow, preparation, reference.molecule, settings, bounds)
    return replace(
        result, curves={**result.curves, **_films(reference, others["generated"], preparation.strides, settings)}
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
    target, torsions = slow.data[0], preparation.observer.torsions
    correlation = CorrelationMetrics(target, torsions, settings)
    metrics: list[Callable[[Observables], dict[str, Estimate]]] = [
        TorsionMetrics(target, torsions, settings),
        CoordinateMetrics(target, settings),
        correlation,
        StepMetrics(target, torsions, settings),
        StructureMetrics(target, torsions, settings),
        EnergyMetrics(target, preparation.observer.energy_terms, settings),
    ]
    kinetics = None
    if slow.states is not None:
        kinetics = KineticMetrics(target, slow.states, settings.lag_ps or 0.0, settings)
        metrics += [kinetics, PathMetrics(target, kinetics, settings)]
    rng = np.random.default_rng(settings.seed)
    rows = _rows(slow, kinetics, settings, rng)
    progress, results = Progress("judge", len(rows)), {}
    for number, row in enumerate(rows):
        found = {name: estimate for metric in metrics for name, estimate in metric(row.data).items()}
        results[row.name] = RowResult(row.label, row.meaning, row.data.n_frames, row.data.length_ns, found)
        progress.update(number + 1, row=row.label)
    under, blocks_ps = floors(metrics, target, slow.data[1], results["generated"].frames, rng)
    results |= under
    return Evaluation(
        molecule=_described(molecule),
        settings={**asdict(settings), "frame_spacing_ps": preparation.frame_spacing_ps, "bounds": asdict(bounds)},
        rows=results,
        notes=(*preparation.notes, *slow.notes, *_doubts(results), *short_blocks(results, blocks_ps)),
        acceptance=judge(results, bounds),
        curves=curves({row.name: row.data for row in rows}, torsions, kinetics, correlation, settings),
    )


def _doubts(rows: dict[str, RowResult]) -> list[str]:
    """Sentences on rows whose kinetics rest on less than all of their frames, or on none."""
    doubts = []
    for name in ("reference", "replicate", "generated"):
        metrics, label = rows[name].metrics, rows[name].label
        share = metrics.get("connected_share")
        if share is not None and share.value < 0.99:
            doubts.append(
                f"{label}: the states fall apart; the largest set that frames both enter and leave holds "
                f"{share.value:.1%} of the transitions, and the kinetics are of that set alone. Longer trajectories "
                "would connect more."
            )
        elif share is None and "connected_share" in rows["reference"].metrics:
            doubts.append(f"{label}: no kinetics, since no trajectory is longer than the lag; give longer ones.")
    return doubts


def _described(molecule: Molecule) -> dict[str, str | int]:
    residues = "-".join(residue.name for residue in molecule.topology.residues)
    return {"residues": residues, "atoms": molecule.n_atoms, "fingerprint": molecule.fingerprint}


def _rows(
    slow: SlowCoordinates, kinetics: KineticMetrics | None, settings: Settings, rng: np.random.Generator
) -> list[Row]:
    target, oracle, generated = slow.data
    frames, window = min(oracle.n_frames, generated.n_frames), max(oracle.lengths)
    equal, cut = (rows_of.equal_frames(data, frames, window) for data in (oracle, generated))
    rows = [
        Row("reference", "MD", "the reference itself", target),
        Row("replicate", "MD replicate", "held-out MD of the same force field", equal),
        Row("generated", "generated", "the generated trajectories, as many frames as the replicate", cut),
    ]
    if cut.n_frames < generated.n_frames:
        rows.append(Row("generated_all", "generated, all", "all the generated trajectories", generated))
    for name, part in (("tenth", 10), ("hundredth", 100), ("thousandth", 1000)):
        if frames // part >= 2:
            data = rows_of.first_part(equal, frames // part)
            rows.append(Row(name, f"MD 1/{part:,}", f"the first 1/{part:,} of the replicate", data))
    lengths = equal.lengths
    rows += [
        Row("shuffled", "MD shuffled", "the replicate, frames in random order", rows_of.shuffled(equal, rng)),
        Row("independent", "i.i.d.", "frames drawn from the reference", rows_of.independent(target, lengths, rng)),
    ]
    counts = None if kinetics is None else kinetics.counts(target)
    if counts is not None:
        lag = settings.lag_ps or 0.0
        paths = surrogates.markov_paths(target, counts.sum(0), lag, frames, rng)
        rows.append(Row("markov_paths", "MSM paths", "paths of the reference's Markov state model", paths))
        if slow.modes is not None and slow.eigenvalues is not None:
            process = surrogates.ornstein_uhlenbeck(target, slow.modes, slow.eigenvalues, lag, frames, rng)
            rows.append(Row("tica_ou", "TICA-OU", "an Ornstein-Uhlenbeck process in the TICA modes", process))
    rows.append(Row("frozen", "frozen", "the replicate's first frame, again and again", rows_of.frozen(equal, lengths)))
    return rows
