import numpy as np
import pytest

from mdgen.evaluation.metrics.steps import StepMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.observables import Observables
from mdgen.molecule.torsions import Torsion

TORSION = (Torsion("phi ALA2", 1, (0, 1, 2, 3), "backbone"),)


def walk(step_deg: float, seed: int, jitter_deg: float = 0.0) -> Observables:
    rng = np.random.default_rng(seed)
    angles = np.cumsum(np.radians(step_deg) * rng.normal(size=(8, 2000)), axis=1).reshape(-1, 1)
    angles += np.radians(jitter_deg) * rng.normal(size=angles.shape)
    wrapped = (angles + np.pi) % (2 * np.pi) - np.pi
    return Observables((2000,) * 8, 1.0, {"torsions": wrapped.astype(np.float32)})


def test_steps_of_a_random_walk_and_the_jitter_on_it() -> None:
    metrics = StepMetrics(Target(walk(10.0, 0), Settings(resamples=100), TORSION))
    same, jittered = metrics(walk(10.0, 1)), metrics(walk(10.0, 2, jitter_deg=5.0))
    assert same["step_rms_deg/phi ALA2"].value == pytest.approx(10, rel=0.03)
    assert jittered["step_rms_deg/phi ALA2"].value == pytest.approx(np.sqrt(100 + 2 * 25), rel=0.03)
    assert same["step_log10_error/all"].high < jittered["step_log10_error/all"].low
