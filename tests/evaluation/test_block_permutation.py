import numpy as np
import pytest

from mdgen.evaluation.statistics.block_permutation import DRAWS, permute_blocks
from mdgen.evaluation.statistics.distributions import jensen_shannon, sampling_floor
from mdgen.evaluation.statistics.observables import Observables

BINS = 10


def slow_states(frames: int, stay: float, rng: np.random.Generator) -> np.ndarray:
    """A chain over ten states that keeps its state with a chance of `stay` and else draws a new one."""
    moves = rng.random(frames) >= stay
    moves[0] = True
    drawn = rng.integers(BINS, size=frames)
    return drawn[np.maximum.accumulate(np.where(moves, np.arange(frames), 0))]


def data(lengths: tuple[int, ...], stay: float, seed: int) -> Observables:
    rng = np.random.default_rng(seed)
    return Observables(lengths, 1.0, {"x": np.concatenate([slow_states(n, stay, rng) for n in lengths])})


def counts(data: Observables) -> np.ndarray:
    return data.histogram(data["x"], BINS)


def distances(target: Observables, replicate: Observables, frames: int) -> np.ndarray:
    blocks = permute_blocks(target, replicate, frames, np.random.default_rng(0))
    assert blocks is not None
    return blocks.distances(jensen_shannon, counts(blocks.pool))


@pytest.mark.parametrize(
    ("lengths", "frames"), [((30_000,), 20_000), ((100,) * 600, 20_000), ((100,) * 600, 50), ((20_000, 700), 500)]
)
def test_samples_share_no_block_and_hold_the_frames_asked_for(lengths: tuple[int, ...], frames: int) -> None:
    target, replicate = data(lengths, 0.5, 1), data(lengths, 0.5, 2)
    blocks = permute_blocks(target, replicate, frames, np.random.default_rng(0))
    assert blocks is not None
    assert blocks.row.shape == blocks.target.shape == (DRAWS, int(blocks.pool.units.max()) + 1)
    assert not ((blocks.row > 0) & (blocks.target > 0)).any()
    sizes = np.bincount(blocks.pool.units)
    np.testing.assert_allclose(blocks.row @ sizes, frames)
    assert (blocks.target @ sizes <= target.n_frames + 1e-6).all()


def test_independent_frames_lie_where_theory_says() -> None:
    """Of both samples: E d^2 = (K - 1) / 8 (1 / n + 1 / N)."""
    found = distances(data((2000,) * 20, 0.0, 1), data((2000,) * 20, 0.0, 2), 5000)
    expected = (BINS - 1) / 8 * (1 / 5000 + 1 / 40_000)
    assert np.mean(found**2) == pytest.approx(expected, rel=0.15)


def test_the_floor_is_what_replicates_of_correlated_dynamics_score() -> None:
    """Fresh replicates of the same law lie about the floor of blocks, and well above that of independent frames."""
    lengths, frames = (4000,) * 10, 10_000
    target, replicate = data(lengths, 0.95, 1), data(lengths, 0.95, 2)
    floor = distances(target, replicate, frames)
    fresh = np.array(
        [
            jensen_shannon(counts(data(lengths, 0.95, 100 + i)).sum(0), counts(data((2500,) * 4, 0.95, 500 + i)).sum(0))
            for i in range(60)
        ]
    )
    assert floor.mean() == pytest.approx(fresh.mean(), rel=0.12)
    low, high = np.quantile(floor, [0.025, 0.975])
    assert np.mean((fresh > low) & (fresh < high)) > 0.85
    naive = sampling_floor(counts(target).sum(0), frames, np.random.default_rng(0))
    assert naive.max() < low


def test_too_few_blocks_give_none() -> None:
    assert permute_blocks(data((2,), 0.5, 1), data((1,), 0.5, 2), 1, np.random.default_rng(0)) is None
    assert permute_blocks(data((10,), 0.5, 1), data((10,), 0.5, 2), 40, np.random.default_rng(0)) is None
