from dataclasses import replace

import numpy as np
import pytest

from mdgen.evaluation.baselines.rows import frozen, shuffled
from mdgen.evaluation.baselines.surrogates import markov_paths, walk
from mdgen.evaluation.metrics.kinetics import KineticMetrics, flux_correlation, lumped_counts, passage_error
from mdgen.evaluation.metrics.paths import STEPS, PathMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.markov import mean_first_passage, stationary_distribution, symmetrised
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.states import States
from mdgen.evaluation.statistics.transition_paths import bridge_occupancy, path_log_probability, sample_bridges

# Two metastable pairs of states: 0, 1 and 2, 3
CHAIN = np.array([[0.70, 0.28, 0.02, 0.0], [0.28, 0.70, 0.0, 0.02], [0.04, 0.0, 0.66, 0.3], [0.0, 0.04, 0.3, 0.66]])
PI = stationary_distribution(CHAIN)
SETTINGS = Settings(resamples=100, n_timescales=2, lag_ps=1.0)


def observed(seed: int, number: int = 8, steps: int = 2500) -> Observables:
    states = walk(CHAIN, PI, number, steps, np.random.default_rng(seed)).reshape(-1)
    return Observables((steps,) * number, 1.0, {"states": states.astype(np.int32)})


@pytest.fixture(scope="module")
def states() -> States:
    found = States(np.arange(4.0)[:, None], 4, seed=1)
    found.centres = np.arange(4.0)[:, None]
    counts = 1e6 * PI[:, None] * CHAIN
    found.lump(counts, 2)
    return found


@pytest.fixture(scope="module")
def target() -> Observables:
    return observed(0)


@pytest.fixture(scope="module")
def kinetics(states: States, target: Observables) -> KineticMetrics:
    return KineticMetrics(Target(target, SETTINGS, states=states))


def test_pcca_finds_the_metastable_sets(states: States) -> None:
    assert states.macrostate.tolist() == [0, 0, 1, 1]


def test_timescales_of_the_chain_lie_in_their_intervals(kinetics: KineticMetrics) -> None:
    found = kinetics(observed(1))
    exact = -1 / np.log(np.sort(np.linalg.eigvals(CHAIN).real)[::-1][1:3])
    for mode in range(2):
        estimate = found[f"timescale_ps/{mode + 1}"]
        assert 0.97 * estimate.low < exact[mode] < 1.03 * estimate.high
    assert found["connected_share"].value == 1


def test_a_markov_chain_passes_its_own_test_and_a_replicate_every_other(kinetics: KineticMetrics) -> None:
    found = kinetics(observed(2))
    assert found["chapman_kolmogorov_rms"].value < 0.01
    assert found["occupancy_jsd"].value < 0.05
    assert found["first_passage_log10_error"].value < 0.1
    leaving = PI[:2].sum() * 0.02 + PI[2:].sum() * 0.04
    assert found["transitions_per_ns"].low < 1000 * leaving < found["transitions_per_ns"].high


def test_shuffling_wrecks_kinetics_and_leaves_populations(kinetics: KineticMetrics) -> None:
    row = observed(3)
    mixed = kinetics(shuffled(row, np.random.default_rng(0)))
    assert mixed["occupancy_jsd"].value == pytest.approx(kinetics(row)["occupancy_jsd"].value)
    assert mixed["timescale_ps/1"].value < 0.1 * kinetics(row)["timescale_ps/1"].value
    assert mixed["first_passage_log10_error"].value > 0.5


def test_a_chain_with_a_memory_fails_the_markov_test(kinetics: KineticMetrics) -> None:
    """Each state is held for three frames more than the chain says, so one lag does not foretell five."""
    states = walk(CHAIN, PI, 8, 700, np.random.default_rng(5)).repeat(4, axis=1).reshape(-1)
    slow = Observables((2800,) * 8, 1.0, {"states": states.astype(np.int32)})
    cured = KineticMetrics(Target(slow, replace(SETTINGS, lag_ps=4.0), states=kinetics.states))
    alternating = np.tile([0, 0, 1, 1, 2, 2, 3, 3], 2500).astype(np.int32)
    clockwork = Observables((2500,) * 8, 1.0, {"states": alternating})
    assert kinetics(clockwork)["chapman_kolmogorov_rms"].value > 0.1
    assert cured(slow)["chapman_kolmogorov_rms"].value < 0.05


def test_a_frozen_row_says_so(kinetics: KineticMetrics, target: Observables) -> None:
    found = kinetics(frozen(target, (500,) * 6))
    assert "timescale_ps/1" not in found
    assert found["transitions_per_ns"].value == 0
    assert kinetics(frozen(target, (1, 1))) == {}


def test_flux_is_ranked_and_passage_times_compared() -> None:
    counts = np.array([[50, 9, 1], [9, 60, 4], [1, 4, 70.0]])
    assert flux_correlation(counts, counts) == pytest.approx(1)
    assert flux_correlation(counts, 10 - counts) == pytest.approx(-1)
    assert np.isnan(flux_correlation(counts[:2, :2], counts[:2, :2]))
    slower = np.diag([450.0, 540, 630]) + counts - np.diag(np.diag(counts)) + np.diag(np.diag(counts))
    assert passage_error(counts, counts, 1.0) == pytest.approx(0)
    assert passage_error(slower, counts, 1.0) > 0.5
    assert np.isnan(passage_error(np.diag([1.0, 1, 1]), counts, 1.0))


def test_paths_of_a_replicate_are_valid_and_those_of_a_frozen_row_are_none(
    kinetics: KineticMetrics, target: Observables
) -> None:
    paths = PathMetrics(kinetics.target)
    good = paths(observed(4))
    assert good["path_valid_share"].value == 1
    assert good["path_occupancy_jsd"].value < 0.05
    assert paths(frozen(target, (500,) * 6))["path_valid_share"].value == 0


def test_markov_paths_have_the_law_of_the_chain(kinetics: KineticMetrics, target: Observables) -> None:
    counts = kinetics.counts(target)
    assert counts is not None
    paths = markov_paths(target, counts.sum(0), 1.0, 20_000, np.random.default_rng(6))
    assert paths.n_frames == 20_000
    found = kinetics(paths)
    assert found["timescale_ps/1"].value == pytest.approx(kinetics(target)["timescale_ps/1"].value, rel=0.15)
    assert found["occupancy_jsd"].value < 0.06


def test_passage_times_and_paths_of_the_chain_lie_at_their_exact_values(
    kinetics: KineticMetrics, target: Observables
) -> None:
    """Its two sets are left with the same probability from each of their states, so the lumped chain is exact."""
    lumped = np.array([[0.98, 0.02], [0.04, 0.96]])
    times = []
    for seed in range(10, 22):
        counts = lumped_counts(kinetics.target, observed(seed))
        assert counts is not None
        times.append(mean_first_passage(*symmetrised(counts.sum(0)), 1.0))
    mean, error = np.mean(times, axis=0), np.std(times, axis=0) / np.sqrt(len(times))
    for start, end, exact in ((0, 1, 50.0), (1, 0, 25.0)):
        assert abs(mean[start, end] - exact) < 4 * error[start, end]
        assert error[start, end] < 0.05 * exact
    paths = PathMetrics(kinetics.target)
    assert paths.ends == (0, 1)
    drawn = sample_bridges(lumped, 0, 1, STEPS, 50_000, np.random.default_rng(0))
    assert drawn is not None
    exact = path_log_probability(lumped, drawn).mean()
    found = paths(observed(7))["path_log_probability"]
    assert found.low < exact < found.high
    inner = bridge_occupancy(lumped, 0, 1, STEPS)
    np.testing.assert_allclose(paths.occupancy, inner, atol=0.02)
