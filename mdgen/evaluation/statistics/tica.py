"""Time-lagged independent components of trajectories: the slowest linear coordinates, estimated by deeptime.

Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013). Covariances are symmetrised, as for reversible dynamics:
`C1 v = lambda C0 v` with `C0 = (C00 + C11) / 2` and `C1 = (C01 + C10) / 2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from deeptime.decomposition import TICA as TICAEstimator
from deeptime.numeric import ZeroRankError
from jaxtyping import Float

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
