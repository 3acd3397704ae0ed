import numpy as np
import pytest
from scipy.signal import lfilter

from mdgen.errors import MdgenError
from mdgen.evaluation import Settings, evaluate
from mdgen.evaluation.metrics.subframe import SubframeMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.statistics.autocorrelation import dynamical_content
from mdgen.evaluation.statistics.observables import Observables
from mdgen.molecule.torsions import Torsion
from tests.evaluation.alanine import toy_set
from tests.evaluation.faults import with_fault

TORSION = (Torsion("phi ALA2", 1, (0, 1, 2, 3), "backbone"),)
TIME, KEY, KEY_PS = 8.0, 20, 20.0


def process(seed: int, frames: int = 20_000, number: int = 8) -> np.ndarray:
    """An Ornstein-Uhlenbeck process of known time, an angle narrow enough to be linear, a frame every ps."""
    rng, decay = np.random.default_rng(seed), np.exp(-1 / TIME)
    noise = np.sqrt(1 - decay**2) * rng.normal(size=(number, frames))
    noise[:, 0] = rng.normal(size=number)
    return 0.1 * lfilter([1.0], [1.0, -decay], noise, axis=1)


def observed(angles: np.ndarray) -> Observables:
    return Observables((angles.shape[1],) * len(angles), 1.0, {"torsions": angles.reshape(-1, 1).astype(np.float32)})


@pytest.fixture(scope="module")
def metrics() -> SubframeMetrics:
    return SubframeMetrics(Target(observed(process(0)), Settings(resamples=50, key_frame_ps=KEY_PS), TORSION))


def test_between_key_frames_the_curves_are_those_of_the_process(metrics: SubframeMetrics) -> None:
    assert metrics.lags_ps.max() == KEY_PS - 1
    curve, exact = metrics.curve(observed(process(1))), np.exp(-metrics.lags_ps / TIME)
    np.testing.assert_allclose(curve, exact, atol=5 * np.sqrt(2 * TIME / 160_000))
    content = dynamical_content(curve, metrics.lags_ps)
    # -dC / d ln t = (t / T) exp(-t / T); the ends are one-sided differences
    expected = metrics.lags_ps / TIME * exact
    np.testing.assert_allclose(content[1:-1], expected[1:-1], atol=0.06)


def test_a_replicate_passes_and_interpolated_or_shuffled_frames_do_not(metrics: SubframeMetrics) -> None:
    angles = process(2)
    keys = np.arange(0, angles.shape[1] - KEY, KEY)
    straight = np.array([np.interp(np.arange(keys[-1]), keys, line[keys]) for line in angles])
    good, lines = metrics(observed(angles)), metrics(observed(straight))
    mixed = metrics(observed(np.random.default_rng(0).permuted(angles, axis=1)))
    for name in ("subframe_autocorrelation_rmse/all", "subframe_dynamical_content_rmse/all"):
        assert good[name].high < 0.05
        assert lines[name].low > good[name].high
        assert mixed[name].low > good[name].high


def test_a_key_makes_the_metrics_of_every_row() -> None:
    settings = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=10, resamples=10, key_frame_ps=6.0)
    result = evaluate(toy_set(4, 300, seed=1), toy_set(4, 300, seed=2), settings=settings)
    name = "subframe_autocorrelation_rmse/all"
    values = {row: result.rows[row].metrics[name].value for row in ("generated", "replicate", "shuffled", "md_floor")}
    assert values["shuffled"] > 2 * max(values["generated"], values["replicate"])
    assert {"subframe/reference", "subframe/generated", "subframe_axis"} <= result.curves.keys()
    with pytest.raises(MdgenError, match="key_frame_ps=2"):
        evaluate(toy_set(4, 300, seed=1), toy_set(4, 300, seed=2), settings=Settings(key_frame_ps=2.0))


def test_frames_finer_than_the_reference_are_judged_by_a_fine_replicate_or_drawn() -> None:
    settings = Settings(lag_ps=10.0, n_states=10, resamples=10)
    fine, generated = toy_set(4, 500, seed=1), toy_set(4, 500, seed=2)
    coarse = with_fault(fine, lambda frames: frames[::5])
    coarse = type(coarse).from_arrays(coarse.molecule, 5.0, [np.array(coarse.positions(i)) for i in range(4)])
    judged = evaluate(coarse, generated, replicate=toy_set(4, 500, seed=3), settings=settings)
    assert judged.rows["generated"].metrics["subframe_autocorrelation_rmse/all"].value < 0.15
    assert "subframe/replicate" in judged.curves
    drawn = evaluate(coarse, generated, settings=settings)
    assert "subframe_autocorrelation_rmse/all" not in drawn.rows["generated"].metrics
    assert "subframe/generated" in drawn.curves
    assert any("every 1 ps" in note for note in drawn.notes)
