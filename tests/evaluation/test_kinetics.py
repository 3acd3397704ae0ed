from dataclasses import replace

import numpy as np
import pytest

from mdgen.evaluation import evaluate
from mdgen.evaluation.baselines.rows import frozen, shuffled
from mdgen.evaluation.baselines.surrogates import markov_paths, walk
from mdgen.evaluation.metrics.kinetics import KineticMetrics, flux_correlation, lumped_counts, passage_error
from mdgen.evaluation.metrics.paths import PathMetrics
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import permute_blocks
from mdgen.evaluation.statistics.markov import log10_passage_times, stationary_distribution
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.states import States
from tests.evaluation.alanine import TRANSITIONS, toy_set

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
    slower = np.diag([450.0, 540, 630]) + counts
    assert passage_error(counts[None], counts[None], 1.0) == pytest.approx(0)
    assert passage_error(slower[None], counts[None], 1.0) > 0.5
    still = np.diag([1000.0, 0, 0])
    assert 1 < passage_error(still[None], counts[None], 1.0) < np.inf


def test_paths_of_a_replicate_pass_and_those_of_shuffled_or_frozen_rows_do_not(
    kinetics: KineticMetrics, target: Observables
) -> None:
    paths, row = PathMetrics(kinetics.target), observed(4)
    good, mixed = paths(row), paths(shuffled(row, np.random.default_rng(0)))
    assert good["path_valid_share"].value == 1
    for name in ("path_jsd", "path_log_probability_error"):
        assert good[name].high < 0.1
        assert mixed[name].low > 2 * good[name].high
    assert paths(frozen(target, (500,) * 6))["path_jsd"].value == pytest.approx(np.sqrt(np.log(2)))


def test_markov_paths_have_the_law_of_the_chain(kinetics: KineticMetrics, target: Observables) -> None:
    counts = kinetics.counts(target)
    assert counts is not None
    paths = markov_paths(target, counts.sum(0), 1.0, 20_000, np.random.default_rng(6))
    assert paths.n_frames == 20_000
    found = kinetics(paths)
    assert found["timescale_ps/1"].value == pytest.approx(kinetics(target)["timescale_ps/1"].value, rel=0.15)
    assert found["occupancy_jsd"].value < 0.06


def test_passage_times_of_the_chain_lie_at_their_exact_values(kinetics: KineticMetrics) -> None:
    """Its two sets are left with the same probability from each of their states, so the lumped chain is exact."""
    counts = [lumped_counts(kinetics.target, observed(seed)) for seed in range(10, 22)]
    totals = np.array([each.sum(0) for each in counts if each is not None])
    times = 10 ** log10_passage_times(totals, 1.0)
    mean, error = times.mean(0), times.std(0) / np.sqrt(len(times))
    for start, end, exact in ((0, 1, 50.0), (1, 0, 25.0)):
        assert abs(mean[start, end] - exact) < 4 * error[start, end]
        assert error[start, end] < 0.05 * exact


def test_timescale_errors_of_dynamics_against_itself_are_small_and_those_of_slower_or_frozen_rows_are_not(
    kinetics: KineticMetrics, target: Observables
) -> None:
    assert kinetics.judged == [0, 1]
    slow = observed(5).with_columns(states=observed(5)["states"].repeat(2)[:20_000])
    errors = {
        name: kinetics(row)["timescale_log_error/1"]
        for name, row in (("same", observed(6)), ("slow", slow), ("still", frozen(target, (2500,) * 8)))
    }
    assert errors["same"].value < 0.3
    assert errors["slow"].value == pytest.approx(np.log(2), abs=0.3)
    assert errors["still"].value > 2
    blocks = permute_blocks(target, observed(7), 10_000, np.random.default_rng(0))
    assert blocks is not None
    drawn = kinetics.permuted(blocks)["timescale_log_error/1"]
    assert np.isfinite(drawn).all()
    assert errors["same"].value < np.quantile(drawn, 0.99) < errors["slow"].value


def test_timescales_below_the_lag_and_of_noise_are_not_judged(states: States, target: Observables) -> None:
    coarse = KineticMetrics(Target(target, replace(SETTINGS, lag_ps=5.0), states=states))
    assert coarse.judged == [0]  # the second timescale of the chain is 1.1
    mixed = shuffled(target, np.random.default_rng(0))
    assert KineticMetrics(Target(mixed, SETTINGS, states=states)).judged == []


@pytest.mark.parametrize(("number", "steps"), [(2, 1000), (4, 1000), (30, 400)])
def test_intervals_of_timescales_cover(kinetics: KineticMetrics, number: int, steps: int) -> None:
    """Of 200 rows 95 % hold the exact time; three standard errors of that share are 0.046."""
    exact, runs = -1 / np.log(np.sort(np.linalg.eigvals(CHAIN).real)[-2]), 200
    paths = walk(CHAIN, PI, number * runs, steps, np.random.default_rng(8)).reshape(runs, -1).astype(np.int32)
    found = [kinetics.timescales(Observables((steps,) * number, 1.0, {"states": each})) for each in paths]
    assert np.mean([each["timescale_ps/1"].contains(exact) for each in found]) == pytest.approx(0.95, abs=0.046)


@pytest.mark.parametrize("hops", [(0.01, 0.03, 0.1), (0.02, 0.02, 0.02)])
@pytest.mark.parametrize(("number", "steps"), [(2, 1000), (8, 2500)])
def test_intervals_of_every_timescale_cover(hops: tuple[float, ...], number: int, steps: int) -> None:
    """Four wells in a line: times of 91, 20 and 4 frames, then 85, 25 and 14, the slowest of them seen a few times."""
    matrix = np.diag(hops, 1) + np.diag(hops, -1)
    matrix += np.diag(1 - matrix.sum(1))
    pi, runs = stationary_distribution(matrix), 200
    wells = States(np.arange(4.0)[:, None], 4, seed=1)
    wells.centres = np.arange(4.0)[:, None]
    wells.lump(1e6 * pi[:, None] * matrix, 2)
    rows = [
        Observables((steps,) * number, 1.0, {"states": path.astype(np.int32)})
        for path in walk(matrix, pi, number * runs, steps, np.random.default_rng(8)).reshape(runs, -1)
    ]
    kinetics = KineticMetrics(Target(rows[0], replace(SETTINGS, n_timescales=3), states=wells))
    found = [kinetics.timescales(row) for row in rows]
    exact = -1 / np.log(np.sort(np.linalg.eigvalsh(matrix))[::-1][1:4])
    for mode, time in enumerate(exact, start=1):
        # A row that never reached one of the wells has a timescale less.
        held = [each[f"timescale_ps/{mode}"].contains(time) for each in found if f"timescale_ps/{mode}" in each]
        assert len(held) >= runs - 2
        assert np.mean(held) == pytest.approx(0.95, abs=0.046)


def test_a_coarse_comparison_leaves_the_reference_its_frames() -> None:
    """Generated frames every 5 ps thin the comparison; the reference's timescales come from all of its frames."""
    settings = Settings(lag_ps=5.0, tica_lag_ps=5.0, n_states=10, n_macrostates=3, resamples=10)
    generated = toy_set(4, 300, seed=2)
    coarse = type(generated).from_arrays(
        generated.molecule, 5.0, [np.array(generated.positions(i))[::5] for i in range(4)]
    )
    result = evaluate(toy_set(4, 1500, seed=1), coarse, settings=settings)
    exact = -1 / np.log(np.sort(np.linalg.eigvals(TRANSITIONS).real)[-2])
    found, replicate = (result.rows[row].metrics["timescale_ps/1"] for row in ("reference", "replicate"))
    assert found.contains(exact)
    assert found.high / found.low < replicate.high / replicate.low
