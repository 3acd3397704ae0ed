import pytest

from mdgen.evaluation import Evaluation, Settings, evaluate
from tests.evaluation.alanine import toy_set


@pytest.fixture(scope="session")
def three_seeds() -> Evaluation:
    """Toy dynamics judged beside two further training seeds, for tests of reports and of seeds."""
    settings = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=10, resamples=10, permutations=99)
    runs = [toy_set(4, 300, seed=seed) for seed in (2, 3, 4)]
    return evaluate(toy_set(4, 300, seed=1), runs[0], settings=settings, seeds=runs[1:])
