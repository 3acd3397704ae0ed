"""Time-lagged independent components of trajectories: the slowest linear coordinates.

Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013). Covariances are symmetrised, as for reversible dynamics:
`C1 v = lambda C0 v` with `C0 = (C00 + C11) / 2` and `C1 = (C01 + C10) / 2`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class TICA:
    """A fitted projection; components have unit variance, slowest first.

    Args:
        mean: of the features.
        components: one column a mode.
        eigenvalues: autocorrelation of each mode at the lag.
    """

    mean: Float[np.ndarray, "feature"]
    components: Float[np.ndarray, "feature mode"]
    eigenvalues: Float[np.ndarray, "mode"]

    def project(self, features: Float[np.ndarray, "frame feature"]) -> Float[np.ndarray, "frame mode"]:
        """The modes of each frame."""
        return (features - self.mean).astype(np.float64) @ self.components


def fit_tica(
    trajectories: Callable[[], Iterable[Float[np.ndarray, "frame feature"]]], lag_frames: int, modes: int
) -> TICA | None:
    """Fit to trajectories of features; None where none is longer than the lag or the features do not vary.

    Args:
        trajectories: gives the features of one trajectory after the other; called twice, so that they need not be in
            memory together.
        lag_frames: the lag.
        modes: modes to keep, or fewer where the features have not as many directions.
    """
    total, count = 0.0, 0
    for features in trajectories():
        if len(features) > lag_frames:
            now, then = features[:-lag_frames], features[lag_frames:]
            total = total + now.sum(0, dtype=np.float64) + then.sum(0, dtype=np.float64)
            count += 2 * len(now)
    if count == 0:
        return None
    mean = np.asarray(total) / count
    instantaneous, lagged = np.zeros((len(mean), len(mean))), np.zeros((len(mean), len(mean)))
    for features in trajectories():
        if len(features) > lag_frames:
            centred = features.astype(np.float64) - mean
            now, then = centred[:-lag_frames], centred[lag_frames:]
            instantaneous += now.T @ now + then.T @ then
            lagged += now.T @ then + then.T @ now
    return _solve(mean, instantaneous / count, lagged / count, modes)


def _solve(mean: np.ndarray, instantaneous: np.ndarray, lagged: np.ndarray, modes: int) -> TICA | None:
    variances, directions = np.linalg.eigh(instantaneous)
    # A direction without variance is no coordinate: whitening it would only magnify rounding.
    kept = variances > 1e-8 * max(variances.max(initial=0.0), 1e-300)
    if not kept.any() or variances.max() <= 0:
        return None
    whiten = directions[:, kept] / np.sqrt(variances[kept])
    values, vectors = np.linalg.eigh(whiten.T @ lagged @ whiten)
    order = np.argsort(values)[::-1][:modes]
    components = whiten @ vectors[:, order]
    # The sign of an eigenvector is arbitrary: fix it, so that two fits agree.
    signs = np.sign(components[np.abs(components).argmax(0), np.arange(len(order))])
    return TICA(mean, components * signs, values[order])


def torsion_features(torsions: Float[np.ndarray, "frame torsion"]) -> Float[np.ndarray, "frame feature"]:
    """Sine and cosine of each torsion: what TICA can take, since it is linear and torsions are periodic."""
    return np.concatenate([np.sin(torsions), np.cos(torsions)], axis=-1)
