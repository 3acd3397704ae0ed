import numpy as np
import pytest
from scipy.linalg import eigh

from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import (
    add_slow_coordinates,
    fit_tica,
    noise_eigenvalue,
    torsion_features,
)


def ornstein_uhlenbeck(timescales: list[float], n: int, rng: np.random.Generator) -> np.ndarray:
    """Independent processes of unit variance, one a column."""
    decay = np.exp(-1 / np.array(timescales))
    noise = rng.normal(size=(n, len(timescales))) * np.sqrt(1 - decay**2)
    values = np.empty_like(noise)
    values[0] = rng.normal(size=len(timescales))
    for i in range(1, n):
        values[i] = decay * values[i - 1] + noise[i]
    return values


def test_mixed_ornstein_uhlenbeck_processes_are_unmixed() -> None:
    rng = np.random.default_rng(0)
    hidden = [ornstein_uhlenbeck([50.0, 10.0, 2.0], 20_000, rng) for _ in range(4)]
    mixing = rng.normal(size=(3, 3))
    seen = [x @ mixing + 5 for x in hidden]
    fit = fit_tica(seen, lag_frames=5, modes=2)
    assert fit is not None
    # standard error of an autocorrelation with 80,000 frames and t = 50: about 0.01
    assert fit.eigenvalues == pytest.approx([np.exp(-5 / 50), np.exp(-5 / 10)], abs=0.03)
    projected = np.concatenate([fit.project(x) for x in seen])
    truth = np.concatenate(hidden)
    for mode in range(2):
        assert abs(np.corrcoef(projected[:, mode], truth[:, mode])[0, 1]) > 0.99
    np.testing.assert_allclose(projected.var(0), 1, rtol=0.05)


def test_modes_are_those_of_the_closed_form() -> None:
    """Generalised eigenvalues of the symmetrised covariances, in the order of their values, negative ones last."""
    rng, lag = np.random.default_rng(4), 3
    flipping = [np.cos(np.pi * np.arange(n))[:, None] for n in (700, 1500, 2)]
    mixing = rng.normal(size=(4, 4))
    seen = [np.hstack([ornstein_uhlenbeck([20.0, 5.0, 2.0], len(x), rng), x]) @ mixing for x in flipping]
    now, then = (np.concatenate([x[piece] for x in seen[:2]]) for piece in (slice(None, -lag), slice(lag, None)))
    mean = (now.mean(0) + then.mean(0)) / 2
    now, then = now - mean, then - mean
    values, vectors = eigh(now.T @ then + then.T @ now, now.T @ now + then.T @ then)
    fit = fit_tica(iter(seen), lag, modes=4)
    assert fit is not None
    assert values[0] < 0
    np.testing.assert_allclose(fit.eigenvalues, values[::-1], atol=1e-8)
    np.testing.assert_allclose(fit.mean, mean, atol=1e-12)
    aligned = vectors[:, ::-1] * np.sqrt(2 * len(now))
    np.testing.assert_allclose(np.abs(fit.components), np.abs(aligned), rtol=1e-6)


def test_features_without_variance_are_no_coordinates() -> None:
    rng = np.random.default_rng(1)
    features = np.concatenate([ornstein_uhlenbeck([20.0], 5000, rng), np.ones((5000, 2))], axis=1)
    fit = fit_tica([features], 3, modes=3)
    assert fit is not None
    assert len(fit.eigenvalues) == 1


def test_nothing_longer_than_the_lag_gives_none() -> None:
    assert fit_tica([np.random.default_rng(2).normal(size=(5, 2))], 5, 2) is None


def test_torsion_features_are_periodic() -> None:
    angles = np.random.default_rng(3).normal(size=(4, 3))
    np.testing.assert_allclose(torsion_features(angles), torsion_features(angles + 2 * np.pi), atol=1e-12)


def test_eigenvalues_of_noise_are_below_the_threshold_and_those_of_processes_above() -> None:
    """Of 40 fits to independent frames, at most a few exceed the highest of 20 random shifts (1 in 21 on average)."""
    rng = np.random.default_rng(5)
    above = 0
    for _ in range(40):
        features = rng.normal(size=(800, 8))
        fit = fit_tica([features], 3, modes=1)
        assert fit is not None
        above += fit.eigenvalues[0] > noise_eigenvalue(features, rng)
    assert above <= 7
    slow = ornstein_uhlenbeck([40.0, 20.0, 1.0], 4000, rng)
    fit = fit_tica([slow], 10, modes=3)
    assert fit is not None
    assert (fit.eigenvalues > noise_eigenvalue(slow, rng)).tolist() == [True, True, False]


def test_modes_of_noise_are_left_out_and_named() -> None:
    rng = np.random.default_rng(6)
    settings = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=5, n_macrostates=2)
    noise = Observables((500,) * 4, 1.0, {"torsions": rng.uniform(-np.pi, np.pi, size=(2000, 2))})
    found = add_slow_coordinates([noise], [0, 1], settings)
    assert found.states is None
    assert "tica" not in found.data[0]
    assert len(found.notes) == 2
    assert "no mode is, so no kinetics" in found.notes[1]
