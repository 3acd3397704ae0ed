import numpy as np
import pytest

from mdgen.evaluation.statistics.intervals import (
    MAXIMUM_UNITS,
    bootstrap_weights,
    centred_interval,
    estimates,
    frame_mean,
    percentile_interval,
    unit_ids,
)


@pytest.mark.parametrize(
    ("lengths", "units"), [([100], 5), ([50, 50], 4), ([50] * 4, 8), ([7] * 12, 12), ([3] * 500, MAXIMUM_UNITS)]
)
def test_units_are_trajectories_or_blocks_and_bounded(lengths: list[int], units: int) -> None:
    ids = unit_ids(lengths)
    assert len(ids) == sum(lengths)
    assert np.all(np.diff(ids) >= 0)
    assert ids.max() + 1 == units
    assert np.bincount(ids).min() > 0


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        values = rng.normal(1.0, 0.5, size=40)
        samples = bootstrap_weights(40, 200, rng) @ values / 40
        held += percentile_interval(values.mean(), samples).contains(1.0)
    assert 0.89 < held / 300 <= 0.99


def two_states(runs: int, frames: int, share: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Chains over two states, in equilibrium from their first frame, `(run, frame)`; True in the one of that share."""
    inside, draws = np.empty((runs, frames), dtype=bool), rng.random((runs, frames))
    inside[:, 0] = draws[:, 0] < share
    for i in range(1, frames):
        inside[:, i] = np.where(inside[:, i - 1], draws[:, i] > rate * (1 - share), draws[:, i] < rate * share)
    return inside


@pytest.mark.parametrize("trajectories", [2, 4, 8])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_shares_of_few_correlated_trajectories_are_held(trajectories: int, share: float) -> None:
    rng, frames = np.random.default_rng(0), 240
    drawn = two_states(400 * trajectories, frames, share, 1 / 12, rng).reshape(400, -1)
    units = unit_ids([frames] * trajectories)
    held = np.mean([frame_mean(values, units).contains(share) for values in drawn])
    assert 0.91 < held < 0.985  # 92 to 98 % within the error of 400 runs


@pytest.mark.parametrize("trajectories", [2, 4, 20])
def test_means_and_times_of_few_trajectories_are_held(trajectories: int) -> None:
    rng, frames, decay = np.random.default_rng(1), 200, 0.9
    values = np.empty((300 * trajectories, frames))
    values[:, 0] = rng.normal(size=len(values))
    for i in range(1, frames):
        values[:, i] = decay * values[:, i - 1] + np.sqrt(1 - decay**2) * rng.normal(size=len(values))
    held, units = {"mean": 0, "time": 0}, unit_ids([frames] * trajectories)
    products = (values[:, :-1] * values[:, 1:]).reshape(300, trajectories, -1)
    squares = ((values[:, :-1] ** 2 + values[:, 1:] ** 2) / 2).reshape(300, trajectories, -1)
    for mean, product, square in zip(values.reshape(300, -1), products, squares, strict=True):
        held["mean"] += frame_mean(mean, units).contains(0.0)
        number = int(units[-1]) + 1
        weights = np.concatenate([np.ones((1, number)), bootstrap_weights(number, 200, rng)])
        sums, norm = (
            np.stack([part.sum(1) for part in np.array_split(each, number // trajectories, axis=1)], axis=1).ravel()
            for each in (product, square)
        )
        times = -1 / np.log(np.clip(weights @ sums / (weights @ norm), 1e-3, 0.9999))
        exact = -1 / np.log(decay)
        logarithms = estimates({"t": np.log(times)}, percentile_interval, number)["t"]
        held["time"] += logarithms.contains(np.log(exact))
    assert all(0.9 < count / 300 < 0.99 for count in held.values()), held


def test_a_distance_lies_in_its_interval_and_none_passes_zero() -> None:
    samples = np.random.default_rng(1).normal(0.3, 0.1, 1000)
    estimate = centred_interval(0.1, samples)
    assert estimate.low == 0
    assert estimate.high == pytest.approx(0.1 + 1.96 * 0.1, abs=0.02)


def test_what_is_never_seen_may_have_a_share_of_three_frames() -> None:
    never = frame_mean(np.zeros(50, dtype=bool), unit_ids([25, 25]))
    assert (never.value, never.low, never.high) == (0.0, 0.0, 3 / 50)


def test_without_resamples_there_is_no_interval() -> None:
    assert percentile_interval(1.0, np.full(5, np.nan)).low is None
