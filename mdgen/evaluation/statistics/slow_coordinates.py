"""Slow coordinates, by deeptime's TICA, and Markov states, fitted to all frames of reference and replicate.

TICA, the slowest linear coordinates: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013). Covariances are
symmetrised, as for reversible dynamics: `C1 v = lambda C0 v` with `C0 = (C00 + C11) / 2` and `C1 = (C01 + C10) / 2`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from deeptime.decomposition import TICA as TICAEstimator
from deeptime.numeric import ZeroRankError
from jaxtyping import Float, Int

from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.markov import count_matrices, leading_eigenvalues
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.states import CROSSINGS, States, fit_states

MODES = 4
"""TICA modes in which the states are placed."""

LEAST_VARIANCE = 1e-8
"""Directions whose variance is below this share of the largest are left out: whitening would magnify rounding."""

SHIFTS, MOST_FRAMES = 20, 50_000
"""Random shifts in time from which the eigenvalues of noise are known, and frames, spread evenly, for each."""


@dataclass(frozen=True)
class TICA:
    """A fitted projection; components have unit variance, slowest first, and eigenvalues are their autocorrelations."""

    mean: Float[np.ndarray, "feature"]
    components: Float[np.ndarray, "feature mode"]
    eigenvalues: Float[np.ndarray, "mode"]

    def project(self, features: Float[np.ndarray, "frame feature"]) -> Float[np.ndarray, "frame mode"]:
        """The modes of each frame."""
        return (features - self.mean).astype(np.float64) @ self.components


def fit_tica(trajectories: Iterable[Float[np.ndarray, "frame feature"]], lag_frames: int, modes: int) -> TICA | None:
    """Fit to trajectories of features; None where none is longer than the lag or the features do not vary.

    The trajectories need not be in memory together. Fewer modes are kept where the features have fewer directions.
    """
    covariances = TICAEstimator.covariance_estimator(lagtime=lag_frames, ncov=5)
    for features in trajectories:
        if len(features) > lag_frames:
            features = features.astype(np.float64)
            covariances.partial_fit((features[:-lag_frames], features[lag_frames:]))
    fitted = covariances.fetch_model()
    largest = 0.0 if fitted is None else float(np.linalg.eigvalsh(fitted.cov_00)[-1])
    if largest <= 0:
        return None
    estimator = TICAEstimator(lagtime=lag_frames, epsilon=LEAST_VARIANCE * largest, scaling=None)
    try:
        model = estimator.fit_from_covariances(fitted).fetch_model()
    except ZeroRankError:
        return None
    order = np.argsort(-model.singular_values, kind="stable")[:modes]  # deeptime orders them by magnitude
    return TICA(model.mean_0, model.instantaneous_coefficients[:, order], model.singular_values[order])


def noise_eigenvalue(features: Float[np.ndarray, "frame feature"], rng: np.random.Generator) -> float:
    """Highest TICA eigenvalue of frames paired at random distances in time: what fitted modes reach without memory.

    Trajectories one after the other are shifted round against themselves, which keeps the correlation of neighbours:
    few independent frames give high eigenvalues. A tenth of the frames at least lies between the two of a pair.
    """
    features = features[:: -(-len(features) // MOST_FRAMES)]
    count = len(features)
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / count)
    kept = values > LEAST_VARIANCE * values[-1]
    white = centred @ (vectors[:, kept] / np.sqrt(values[kept]))
    highest = 0.0
    for shift in rng.integers(count // 10, count - count // 10, size=SHIFTS):
        shifted = white.T @ np.roll(white, int(shift), axis=0) / count
        highest = max(highest, float(np.linalg.eigvalsh((shifted + shifted.T) / 2)[-1]))
    return highest


def noise_of_states(
    states: Int[np.ndarray, "frame"], n_states: int, number: int, rng: np.random.Generator
) -> Float[np.ndarray, "mode"]:
    """The same for a Markov model: highest eigenvalues after the first, by mode, of frames shifted at random."""
    count = len(states)
    counts = []
    for shift in rng.integers(count // 10, count - count // 10, size=SHIFTS):
        flat = states * n_states + np.roll(states, int(shift))
        counts.append(np.bincount(flat, minlength=n_states**2).reshape(n_states, n_states))
    return leading_eigenvalues(np.array(counts, dtype=np.float64), number).max(0)


def torsion_features(torsions: Float[np.ndarray, "frame torsion"]) -> Float[np.ndarray, "frame feature"]:
    """Sine and cosine of each torsion: TICA is linear and torsions are periodic."""
    return np.concatenate([np.sin(torsions), np.cos(torsions)], axis=-1)


@dataclass(frozen=True)
class SlowCoordinates:
    """Observables with the columns `tica`, `psi` and `states` added where they can be computed.

    Args:
        data: observables, the target first.
        states: Markov states of the dynamics, or None.
        modes: TICA modes of the target's frames at the lag of the Markov model; None without torsions.
        eigenvalues: eigenvalues of the modes.
        notes: sentences on what could not be computed, and why.
        reference: all frames of the target, where `data` holds fewer.
    """

    data: tuple[Observables, ...]
    states: States | None
    modes: Float[np.ndarray, "frame mode"] | None
    eigenvalues: Float[np.ndarray, "mode"] | None
    notes: tuple[str, ...]
    reference: Observables | None = None


def add_slow_coordinates(
    data: list[Observables], torsions: list[int], settings: Settings, dynamics: Sequence[Observables] = ()
) -> SlowCoordinates:
    """Fit TICA of some torsions twice, at the lag of the protocol and of the states, and the states.

    Args:
        data: observables, the target first, thinned to one frame spacing.
        torsions: columns of the torsions that enter TICA.
        settings: resolved settings.
        dynamics: reference and replicate with all of their frames, to which everything is fitted, of one frame spacing;
            the target alone where empty.
    """
    thinned, dynamics = len(data), tuple(dynamics) or (data[0],)
    fitted = reduce(Observables.joined, dynamics)
    data = [*data, *dynamics[:1]]
    slow = _on_torsions(data, fitted, torsions, settings) if torsions else _from_projection(data, fitted, settings)
    return replace(slow, data=slow.data[:thinned], reference=slow.data[-1])


def _on_torsions(
    data: list[Observables], fitted: Observables, torsions: list[int], settings: Settings
) -> SlowCoordinates:
    lag_ps = settings.lag_ps or fitted.frame_spacing_ps
    rng = np.random.default_rng(settings.seed)
    noise = noise_eigenvalue(torsion_features(fitted["torsions"][:, torsions]), rng)
    lags = {"TICA distances": settings.tica_lag_ps, "kinetics": lag_ps}
    fits = {what: _fit(fitted, torsions, each) for what, each in lags.items()}
    notes = tuple(
        f"No {what}: no reference trajectory is longer than the lag of {lags[what]:g} ps; give trajectories of at "
        f"least {int(lags[what] / fitted.frame_spacing_ps) + 2} frames or a shorter lag."
        for what, fit in fits.items()
        if fit is None
    )
    for what, fit in fits.items():
        real = 0 if fit is None else int((fit.eigenvalues > noise).sum())
        if fit is not None and real < len(fit.eigenvalues):
            kept = f"only the first {real} of {len(fit.eigenvalues)} modes are" if real else f"no mode is, so no {what}"
            notes += (
                f"TICA at a lag of {lags[what]:g} ps: modes are taken as slow above an eigenvalue of {noise:.2g}, as "
                f"chance alone gives it; {kept}. Longer trajectories would show more.",
            )
            fits[what] = replace(fit, components=fit.components[:, :real], eigenvalues=fit.eigenvalues[:real])
    slow, short = (fit if fit is not None and len(fit.eigenvalues) else None for fit in fits.values())
    if slow is not None:
        data = [d.with_columns(tica=_project(slow, torsions, d)[:, :2]) for d in data]
    if short is None:
        return SlowCoordinates(tuple(data), None, None, None, notes)
    # Scaled by their eigenvalues, distances between frames become kinetic distances (Noe and Clementi, 2015).
    modes, weights = [_project(short, torsions, d) for d in data], short.eigenvalues
    states = _states(_project(short, torsions, fitted) * weights, fitted, settings)
    data = [d.with_columns(states=states.assign(m * weights)) for d, m in zip(data, modes, strict=True)]
    if "psi" not in data[0]:
        data = [d.with_columns(psi=m) for d, m in zip(data, modes, strict=True)]
    notes += _merged(states)
    return SlowCoordinates(tuple(data), states, modes[0], short.eigenvalues, notes)


def _from_projection(data: list[Observables], fitted: Observables, settings: Settings) -> SlowCoordinates:
    """Without torsions the projection, if there is one, places the states."""
    if "psi" not in fitted:
        return SlowCoordinates(tuple(data), None, None, None, ())
    states = _states(fitted["psi"], fitted, settings)
    data = [d.with_columns(states=states.assign(d["psi"])) for d in data]
    return SlowCoordinates(tuple(data), states, None, None, _merged(states))


def _merged(states: States) -> tuple[str, ...]:
    merged = len(states.centres) - states.number
    if not merged:
        return ()
    return (
        f"{merged} of {len(states.centres)} Markov states are joined to their neighbours: the dynamics crosses to and "
        f"from them fewer than {CROSSINGS} times, too few to know their times.",
    )


def _states(coordinates: Float[np.ndarray, "frame mode"], fitted: Observables, settings: Settings) -> States:
    """Markov states of the dynamics; not merged or lumped where no trajectory is longer than the lag."""
    lag = max(1, round((settings.lag_ps or 0.0) / fitted.frame_spacing_ps))
    n_states, n_macrostates = settings.n_states or 100, settings.n_macrostates or 10
    if max(fitted.lengths) <= lag:
        return States(coordinates, n_states, settings.seed)
    trajectory, one = fitted.trajectory, np.zeros(fitted.n_frames, dtype=np.int64)

    def count(states: np.ndarray, number: int) -> np.ndarray:
        return count_matrices(states, trajectory, one, lag, number)[0]

    return fit_states(coordinates, count, lag, n_states, n_macrostates, settings.n_timescales, settings.seed)


def _fit(data: Observables, torsions: list[int], lag_ps: float) -> TICA | None:
    features = (torsion_features(data["torsions"][piece][:, torsions]) for piece in data.slices())
    return fit_tica(features, round(lag_ps / data.frame_spacing_ps), MODES)


def _project(fit: TICA, torsions: list[int], data: Observables) -> Float[np.ndarray, "frame mode"]:
    pieces = (torsion_features(data["torsions"][piece][:, torsions]) for piece in data.slices())
    return np.concatenate([fit.project(features).astype(np.float32) for features in pieces])
