"""Judge generated trajectories against a reference, beside every baseline that could fool a lesser judge."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation import rows as rows_of
from mdgen.evaluation.coordinate_metrics import CoordinateMetrics
from mdgen.evaluation.curves import curves
from mdgen.evaluation.kinetic_metrics import KineticMetrics, States
from mdgen.evaluation.observables import Observables, Projection
from mdgen.evaluation.preparation import Preparation, prepare
from mdgen.evaluation.result import Evaluation, RowResult, judge
from mdgen.evaluation.rows import Row
from mdgen.evaluation.settings import Bounds, Settings
from mdgen.evaluation.structure_metrics import StructureMetrics
from mdgen.evaluation.tica import TICA, fit_tica, torsion_features
from mdgen.evaluation.torsion_metrics import TorsionMetrics
from mdgen.progress import Progress
from mdgen.results import Estimate

STATE_MODES = 4
"""Slow coordinates in which the states of the Markov model are placed."""


def evaluate(
    reference: TrajectorySet,
    generated: TrajectorySet,
    replicate: TrajectorySet | None = None,
    projection: Projection | None = None,
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
        settings: how to measure.
        bounds: what the acceptance holds the generated trajectories to.

    Raises:
        MdgenError: if the two cannot be compared: other molecules, spacings without a common multiple, frames that are
            not finite. What is merely lacking, such as frames for a Markov model, becomes a note in the result.
    """
    settings, bounds = settings or Settings(), bounds or Bounds()
    others = {"generated": generated, **({} if replicate is None else {"replicate": replicate})}
    preparation = prepare(reference, {f"the {name} set": t for name, t in others.items()}, projection, settings)
    observed = [
        preparation.observer.observe(trajectories, stride, f"read {name}")
        for (name, trajectories), stride in zip(
            {"reference": reference, **others}.items(), preparation.strides, strict=True
        )
    ]
    if replicate is None:
        target, oracle = rows_of.split(observed[0])
    else:
        target, oracle = observed[0], observed[2]
    return _judged(target, oracle, observed[1], reference, preparation, settings, bounds)


def _judged(
    target: Observables,
    oracle: Observables,
    generated: Observables,
    reference: TrajectorySet,
    preparation: Preparation,
    settings: Settings,
    bounds: Bounds,
) -> Evaluation:
    notes = list(preparation.notes)
    settings = _resolved(settings, target, preparation.frame_spacing_ps)
    torsions = preparation.observer.torsions
    # Methyl rotors are slow here and there, but no motion that anyone asks after; they stay out of slow coordinates.
    slow = [i for i, torsion in enumerate(torsions) if torsion.kind != "methyl"]
    data, states = _with_slow_coordinates([target, oracle, generated], slow, settings, notes)
    target, oracle, generated = data
    rows = _rows(target, oracle, generated, settings)
    metrics: list[Callable[[Observables], dict[str, Estimate]]] = [
        TorsionMetrics(target, torsions, settings),
        CoordinateMetrics(target, settings),
        StructureMetrics(target, torsions, settings),
    ]
    if states is not None:
        metrics.append(KineticMetrics(states.number, settings.lag_ps or 0.0, settings))
    progress = Progress("judge", len(rows))
    results = {}
    for number, row in enumerate(rows):
        found = {name: estimate for metric in metrics for name, estimate in metric(row.data).items()}
        results[row.name] = RowResult(row.label, row.meaning, row.data.n_frames, row.data.length_ns, found)
        progress.update(number + 1, row=row.label)
    molecule = reference.molecule
    return Evaluation(
        molecule={
            "residues": "-".join(residue.name for residue in molecule.topology.residues),
            "atoms": molecule.n_atoms,
            "fingerprint": molecule.fingerprint,
        },
        settings={**asdict(settings), "frame_spacing_ps": preparation.frame_spacing_ps, "bounds": asdict(bounds)},
        rows=results,
        notes=tuple(notes),
        acceptance=judge(results, bounds),
        curves=curves({row.name: row.data for row in rows}, torsions, states, settings),
    )


def _resolved(settings: Settings, target: Observables, spacing_ps: float) -> Settings:
    """Fill in what depends on the data, and make the lags multiples of the frame spacing."""
    lag = settings.lag_ps if settings.lag_ps is not None else 10 * spacing_ps
    states = settings.n_states or (50 if 2 * target.length_ns < 50 else 100)
    return replace(
        settings,
        lag_ps=max(1, round(lag / spacing_ps)) * spacing_ps,
        tica_lag_ps=max(1, round(settings.tica_lag_ps / spacing_ps)) * spacing_ps,
        n_states=states,
    )


def _with_slow_coordinates(
    data: list[Observables], torsions: list[int], settings: Settings, notes: list[str]
) -> tuple[list[Observables], States | None]:
    """Add `tica`, `states`, and `psi` where no projection gave it; all are fitted to the first of `data` alone."""
    assert settings.lag_ps is not None
    assert settings.n_states is not None
    if not torsions:
        if "psi" not in data[0]:
            return data, None
        states = States(data[0]["psi"], settings.n_states, settings.seed)
        return [d.with_columns(states=states.assign(d["psi"])) for d in data], states
    fits = {lag: _fit(data[0], torsions, lag) for lag in (settings.tica_lag_ps, settings.lag_ps)}
    notes += [
        f"No TICA at a lag of {lag:g} ps: no reference trajectory is longer; give longer ones or a shorter lag."
        for lag, fit in fits.items()
        if fit is None
    ]
    slow, short = fits[settings.tica_lag_ps], fits[settings.lag_ps]
    if slow is not None:
        data = [d.with_columns(tica=_project(slow, torsions, d)[:, :2]) for d in data]
    if short is None:
        return data, None
    # Scaled by their eigenvalues, distances between frames become kinetic distances (Noe and Clementi, 2015).
    modes = [_project(short, torsions, d) for d in data]
    weights = np.clip(short.eigenvalues, 0.0, 1.0)
    states = States(modes[0] * weights, settings.n_states, settings.seed)
    data = [d.with_columns(states=states.assign(m * weights)) for d, m in zip(data, modes, strict=True)]
    if "psi" not in data[0]:
        data = [d.with_columns(psi=m) for d, m in zip(data, modes, strict=True)]
    return data, states


def _fit(data: Observables, torsions: list[int], lag_ps: float) -> TICA | None:
    lag = round(lag_ps / data.frame_spacing_ps)
    return fit_tica(
        lambda: (torsion_features(data["torsions"][piece][:, torsions]) for piece in data.slices()), lag, STATE_MODES
    )


def _project(fit: TICA, torsions: list[int], data: Observables) -> np.ndarray:
    return np.concatenate(
        [
            fit.project(torsion_features(data["torsions"][piece][:, torsions])).astype(np.float32)
            for piece in data.slices()
        ]
    )


def _rows(target: Observables, oracle: Observables, generated: Observables, settings: Settings) -> list[Row]:
    rng = np.random.default_rng(settings.seed)
    frames = min(oracle.n_frames, generated.n_frames)
    window = max(oracle.lengths)
    equal = rows_of.equal_frames(oracle, frames, window)
    cut = rows_of.equal_frames(generated, frames, window)
    rows = [
        Row("reference", "MD", "the reference itself", target),
        Row("replicate", "MD replicate", "held-out MD of the same force field", equal),
        Row("generated", "generated", "the generated trajectories, as many frames as the replicate", cut),
    ]
    if cut.n_frames < generated.n_frames:
        rows.append(Row("generated_all", "generated, all", "all the generated trajectories", generated))
    rows.append(
        Row("shuffled", "MD shuffled", "the replicate with its frames in random order", rows_of.shuffled(equal, rng))
    )
    rows.append(
        Row(
            "floor",
            "floor",
            "frames drawn independently from the reference: what a perfect sampler of so many frames would score",
            rows_of.independent(target, equal.lengths, rng),
        )
    )
    return rows
