"""Slow coordinates, by deeptime's TICA, and Markov states, all fitted to the target alone.

TICA, the slowest linear coordinates: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013). Covariances are
symmetrised, as for reversible dynamics: `C1 v = lambda C0 v` with `C0 = (C00 + C11) / 2` and `C1 = (C01 + C10) / 2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from deeptime.decomposition import TICA as TICAEstimator
from deeptime.numeric import ZeroRankError
from jaxtyping import Float

from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.markov import count_matrices
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.states import States

MODES = 4
"""TICA modes in which the states are placed."""

LEAST_VARIANCE = 1e-8
"""Directions whose variance is below this share of the largest are left out: whitening would magnify rounding."""


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


def torsion_features(torsions: Float[np.ndarray, "frame torsion"]) -> Float[np.ndarray, "frame feature"]:
    """Sine and cosine of each torsion: TICA is linear and torsions are periodic."""
    return np.concatenate([np.sin(torsions), np.cos(torsions)], axis=-1)


@dataclass(frozen=True)
class SlowCoordinates:
    """Observables with the columns `tica`, `psi` and `states` added where they can be computed.

    Args:
        data: observables, the target first.
        states: Markov states of the target, or None.
        modes: TICA modes of the target's frames at the lag of the Markov model; None without torsions.
        eigenvalues: eigenvalues of the modes.
        notes: sentences on what could not be computed, and why.
    """

    data: tuple[Observables, ...]
    states: States | None
    modes: Float[np.ndarray, "frame mode"] | None
    eigenvalues: Float[np.ndarray, "mode"] | None
    notes: tuple[str, ...]


def add_slow_coordinates(data: list[Observables], torsions: list[int], settings: Settings) -> SlowCoordinates:
    """Fit TICA of some torsions to the target, `data[0]`, twice: at the lag of the protocol, and of the states."""
    if not torsions:
        return _from_projection(data, settings)
    lag_ps = settings.lag_ps or data[0].frame_spacing_ps
    slow, short = _fit(data[0], torsions, settings.tica_lag_ps), _fit(data[0], torsions, lag_ps)
    notes = tuple(
        f"No {what}: no reference trajectory is longer than the lag of {lag:g} ps; give trajectories of at least "
        f"{int(lag / data[0].frame_spacing_ps) + 2} frames or a shorter lag."
        for fit, lag, what in ((slow, settings.tica_lag_ps, "TICA distances"), (short, lag_ps, "kinetics"))
        if fit is None
    )
    if slow is not None:
        data = [d.with_columns(tica=_project(slow, torsions, d)[:, :2]) for d in data]
    if short is None:
        return SlowCoordinates(tuple(data), None, None, None, notes)
    # Scaled by their eigenvalues, distances between frames become kinetic distances (Noe and Clementi, 2015).
    modes, weights = [_project(short, torsions, d) for d in data], np.clip(short.eigenvalues, 0.0, 1.0)
    states = States(modes[0] * weights, settings.n_states or 100, settings.seed)
    data = [d.with_columns(states=states.assign(m * weights)) for d, m in zip(data, modes, strict=True)]
    if "psi" not in data[0]:
        data = [d.with_columns(psi=m) for d, m in zip(data, modes, strict=True)]
    return SlowCoordinates(tuple(data), _lumped(states, data[0], settings), modes[0], short.eigenvalues, notes)


def _from_projection(data: list[Observables], settings: Settings) -> SlowCoordinates:
    """Without torsions the projection, if there is one, places the states."""
    if "psi" not in data[0]:
        return SlowCoordinates(tuple(data), None, None, None, ())
    states = States(data[0]["psi"], settings.n_states or 100, settings.seed)
    data = [d.with_columns(states=states.assign(d["psi"])) for d in data]
    return SlowCoordinates(tuple(data), _lumped(states, data[0], settings), None, None, ())


def _lumped(states: States, target: Observables, settings: Settings) -> States:
    lag = max(1, round((settings.lag_ps or 0.0) / target.frame_spacing_ps))
    if max(target.lengths) > lag:
        counts = count_matrices(target["states"], target.trajectory, target.units, lag, states.number).sum(0)
        states.lump(counts, settings.n_macrostates or 10)
    return states


def _fit(data: Observables, torsions: list[int], lag_ps: float) -> TICA | None:
    features = (torsion_features(data["torsions"][piece][:, torsions]) for piece in data.slices())
    return fit_tica(features, round(lag_ps / data.frame_spacing_ps), MODES)


def _project(fit: TICA, torsions: list[int], data: Observables) -> Float[np.ndarray, "frame mode"]:
    pieces = (torsion_features(data["torsions"][piece][:, torsions]) for piece in data.slices())
    return np.concatenate([fit.project(features).astype(np.float32) for features in pieces])
