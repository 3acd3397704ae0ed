"""Block permutation: what molecular dynamics scores against itself, and against generated trajectories.

Frames of dynamics are correlated, so two replicates of the same law lie further apart than independent samples of as
many frames do. Here trajectories are cut into blocks, and blocks are assigned at random to two samples of the sizes
that are compared. Blocks keep the correlation within them, and both samples follow the same law: a permutation test
(Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.statistics.observables import Observables

LEAST_BLOCKS, MOST_BLOCKS = 32, 256
"""Blocks are as long as possible with at least so many; above the most, neighbours share a block."""

FEWEST_BLOCKS, FEWEST_A_SIDE = 16, 4
"""Where blocks would be short beside the slowest process there may be fewer of them, down to these."""

INDEPENDENT = 5.0
"""Length of a block, as a multiple of the slowest timescale, from which blocks count as independent."""

DRAWS = 100
"""Assignments of the floor of dynamics."""

EXCHANGES = 199
"""Exchanges of blocks between trajectories that show how far the spread of trajectories strays by chance."""


@dataclass(frozen=True)
class BlockPermutation:
    """Blocks of trajectories and samples drawn from them; metrics of sums over blocks compare the two samples.

    Args:
        pool: all frames, their block as the bootstrap unit.
        target: weight of each block in the sample that is compared with.
        row: weight of each block in the sample that is compared.
        block_ps: mean length of a block.
    """

    pool: Observables
    target: Float[np.ndarray, "draw block"]
    row: Float[np.ndarray, "draw block"]
    block_ps: float

    def distances(
        self, metric: Callable[[np.ndarray, np.ndarray], np.ndarray], sums: Float[np.ndarray, "block *shape"]
    ) -> np.ndarray:
        """A metric of the two samples' sums, draws on the first axis."""
        return metric(np.tensordot(self.target, sums, axes=1), np.tensordot(self.row, sums, axes=1))


def permute_blocks(
    target: Observables, replicate: Observables, frames: int, rng: np.random.Generator
) -> BlockPermutation | None:
    """Cut both into blocks and assign them at random to samples of as many frames as `target` and as `frames`.

    None where the trajectories do not give enough blocks for two samples.
    """
    pool = target.joined(replicate)
    block, pieces = _cut(pool.lengths, max(1, min(pool.n_frames // LEAST_BLOCKS, frames)))
    length = pool.n_frames / pieces
    if pieces > MOST_BLOCKS:
        together = -(-pieces // MOST_BLOCKS)
        if frames >= together * length:
            block = block // together
        else:  # a sample of less than a block: whole short blocks instead, from all along the trajectories
            kept = np.linspace(0, pieces - 1, MOST_BLOCKS).round().astype(np.int64)
            pool, block = _only(pool, block, kept)
    sizes = np.bincount(block).astype(np.float64)
    if len(sizes) < 4 or frames > sizes.sum() - sizes.max():
        return None
    samples = [_samples(rng.permutation(len(sizes)), sizes, frames, target.n_frames) for _ in range(DRAWS)]
    rows, targets = (np.array([sample[side] for sample in samples]) for side in range(2))
    return BlockPermutation(replace(pool, grouping=block), targets, rows, length * pool.frame_spacing_ps)


@dataclass(frozen=True)
class BlockSummary:
    """Blocks of a verdict.

    Args:
        dynamics: number of blocks of the dynamics.
        generated: number of blocks of the generated frames.
        length_ps: mean length of a block.
        slow_spread: factor by which intervals and p are widened for what is slower than a block; see `Assignment`.
        permutations: random assignments of the blocks.
    """

    dynamics: int
    generated: int
    length_ps: float
    slow_spread: float
    permutations: int


@dataclass(frozen=True)
class Assignment:
    """Dynamics and generated trajectories in one pool of blocks: as they are, permuted, and resampled.

    The first line of the weights of `blocks` is the true assignment, dynamics as the target and the generated
    trajectories as the row; then come `permutations` lines in which blocks of both are assigned at random, and then
    lines in which the blocks of each are drawn with replacement.

    Args:
        blocks: blocks and weights.
        permutations: number of random assignments.
        sides: number of blocks of the dynamics and of the generated trajectories.
        slow_spread: factor by which chance spreads the samples' difference more than permutations do: blocks shorter
            than the slowest process are not independent, and permutations part neighbours.
    """

    blocks: BlockPermutation
    permutations: int
    sides: tuple[int, int]
    slow_spread: float

    @property
    def summary(self) -> BlockSummary:
        """What the verdict rests on."""
        here, there = self.sides
        return BlockSummary(here, there, self.blocks.block_ps, self.slow_spread, self.permutations)

    @property
    def mixing(self) -> float:
        """Mean square of the share of a difference between the two that is left once blocks are permuted.

        With a share `f` of generated frames in the row and `g` in the target it is the mean of `(f - g)^2`:
        `1 / (blocks - 1)` for blocks of one size, the variance of a mean drawn without replacement (Cochran, Sampling
        Techniques, 1977, theorem 2.2).
        """
        weights = self.blocks.row[: 1 + self.permutations], self.blocks.target[: 1 + self.permutations]
        sizes = np.bincount(self.blocks.pool.units, minlength=weights[0].shape[1])
        generated = sizes * (np.arange(len(sizes)) >= self.sides[0])
        row, target = (each[1:] @ generated / (each[1:] @ sizes) for each in weights)
        return float(((row - target) ** 2).mean())


def assign_blocks(
    dynamics: Observables,
    generated: Observables,
    slowest_ps: float | None,
    permutations: int,
    resamples: int,
    rng: np.random.Generator,
    features: Float[np.ndarray, "frame feature"] | None = None,
) -> Assignment | None:
    """Pool of blocks of both, none of which crosses from one to the other; None where there are too few blocks.

    Args:
        dynamics: trajectories of dynamics, the target.
        generated: generated trajectories, the row; best as many frames.
        slowest_ps: slowest timescale of the dynamics, as it is estimated: its upper end would ask for a few long blocks
            that decide little; None where it is not known, then taken to be as long as a trajectory.
        permutations: number of random assignments.
        resamples: number of bootstrap resamples.
        rng: generator of both.
        features: coordinates of the frames of both whose means tell how alike trajectories are; None for none.
    """
    pool, fewer = dynamics.joined(generated), min(dynamics.n_frames, generated.n_frames)
    slowest = float(max(dynamics.lengths)) if slowest_ps is None else slowest_ps / pool.frame_spacing_ps
    length = max(pool.n_frames / LEAST_BLOCKS, min(INDEPENDENT * slowest, pool.n_frames / FEWEST_BLOCKS))
    longest = max(pool.lengths)
    if longest <= length:  # whole trajectories are independent: no need of longer blocks
        length = max(float(longest), pool.n_frames / MOST_BLOCKS)
    length = min(length, fewer / FEWEST_A_SIDE)
    if length < 1:
        return None
    here, n_here = _grouped(dynamics.lengths, length)
    there, n_there = _grouped(generated.lengths, length)
    if min(n_here, n_there) < FEWEST_A_SIDE or n_here + n_there < FEWEST_BLOCKS // 2:
        return None
    block = np.concatenate([here, n_here + there])
    sizes, mine = np.bincount(block).astype(np.float64), np.arange(n_here + n_there) < n_here
    samples = [
        _samples(rng.permutation(len(sizes)), sizes, generated.n_frames, dynamics.n_frames) for _ in range(permutations)
    ]
    rows, targets = (np.array([sample[side] for sample in samples]) for side in range(2))
    drawn = [rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64) for n in (n_here, n_there)]
    blocks = BlockPermutation(
        replace(pool, grouping=block),
        np.concatenate([mine[None], targets, np.pad(drawn[0], ((0, 0), (0, n_there)))]).astype(np.float64),
        np.concatenate([~mine[None], rows, np.pad(drawn[1], ((0, 0), (n_here, 0)))]).astype(np.float64),
        float(sizes.mean() * pool.frame_spacing_ps),
    )
    sides = ((dynamics, float(sizes[:n_here].mean())), (generated, float(sizes[n_here:].mean())))
    slow = max(slow_spread(size, _typical_length(data), slowest) for data, size in sides)
    if features is not None:  # never more than of trajectories that hold one independent frame each
        most = max(1.0, *(_typical_length(data) / size for data, size in sides))
        slow = max(slow, min(trajectory_spread(features, blocks.pool, n_here, rng), np.sqrt(most)))
    return Assignment(blocks, permutations, (n_here, n_there), float(slow))


def _typical_length(data: Observables) -> float:
    """Mean length of the trajectory of a frame."""
    return float(np.square(data.lengths, dtype=np.float64).sum() / data.n_frames)


def trajectory_spread(
    features: Float[np.ndarray, "frame feature"], pool: Observables, n_here: int, rng: np.random.Generator
) -> float:
    """Standard deviation of the means of trajectories over that of independent blocks, as the data show beyond chance.

    The root of F of a one-way analysis of variance, trajectories the groups and means of blocks the observations, sums
    of squares taken over all features, and between trajectories of one side alone; over the 95 % quantile of F of
    blocks exchanged between the trajectories of a side (Anderson, Austral Ecology 26, 32, 2001). F is that of R-hat
    (Gelman and Rubin, Statist. Sci. 7, 457, 1992). Of a handful of trajectories it strays by a third by chance, which
    the quantile takes off: what is known of the slowest timescale is `slow_spread`'s. 1 where trajectories are single
    blocks.

    Args:
        features: coordinates of each frame.
        pool: frames, their block as the bootstrap unit.
        n_here: number of blocks of the first side.
        rng: generator of the exchanges.
    """
    sizes, first = np.bincount(pool.units).astype(np.float64), np.unique(pool.units, return_index=True)[1]
    trajectory = np.unique(pool.trajectory[first], return_inverse=True)[1]
    side, groups = np.arange(len(sizes)) >= n_here, int(trajectory.max()) + 1
    if groups <= 2 or len(sizes) <= groups:
        return 1.0
    sums = np.stack([np.bincount(pool.units, weights=column) for column in features.T], axis=1)
    here, there = np.arange(n_here), np.arange(n_here, len(sizes))
    orders = [np.r_[here, there], *(np.r_[rng.permutation(here), rng.permutation(there)] for _ in range(EXCHANGES))]
    ratios = []
    for order in orders:
        weights, totals = sizes[order], sums[order]
        of_trajectory, of_side = (
            np.square(_totals(totals, label)).sum(1) @ (1 / _totals(weights[:, None], label)[:, 0])
            for label in (trajectory, side.astype(np.int64))
        )
        within = float((np.square(totals).sum(1) / weights).sum() - of_trajectory)
        between = float(of_trajectory - of_side)
        ratios.append(between / (groups - 2) * (len(sizes) - groups) / within if within > 0 else 1.0)
    return float(np.sqrt(ratios[0] / max(1.0, np.quantile(ratios[1:], 0.95))))


def _totals(values: Float[np.ndarray, "block column"], label: Int[np.ndarray, "block"]) -> np.ndarray:
    """Sums over the blocks of each label."""
    total = np.zeros((int(label.max()) + 1, values.shape[1]))
    np.add.at(total, label, values)
    return total


def slow_spread(block: float, trajectory: float, slowest: float) -> float:
    """Standard deviation of a slow process's mean over whole trajectories, over that of independent blocks.

    The mean over a time t of a process that decays as `exp(-t / slowest)` has a variance proportional to
    `g(t) / t`, `g(t) = 1 - (1 - exp(-x)) / x`, `x = t / slowest` (Frenkel and Smit, Understanding Molecular
    Simulation, 2002, appendix D); were its t / b blocks independent it would be `g(b) / t`. The ratio is the root of
    `g(t) / g(b)`.

    >>> slow_spread(10.0, 100.0, 0.01) < 1.001, round(slow_spread(2.0, 7.0, 1.0), 2), slow_spread(5.0, 5.0, 1.0)
    (True, 1.23, 1.0)
    """
    if slowest <= 0 or block >= trajectory:
        return 1.0

    def share(time: float) -> float:
        x = time / slowest
        return float(x / 2 if x < 1e-6 else 1 + np.expm1(-x) / x)

    return float(np.sqrt(share(trajectory) / share(block)))


def _grouped(lengths: tuple[int, ...], length: float) -> tuple[Int[np.ndarray, "frame"], int]:
    """The block of each frame, and their number: parts of long trajectories, or several short ones, neighbours."""
    blocks, number, filled = [], 0, 0.0
    for frames in lengths:
        pieces = max(1, int(frames / length + 0.5))
        if pieces == 1 and 2 * frames < length:  # a short one shares a block with its neighbours
            if filled + frames / 2 > length:
                number, filled = number + 1, 0.0
            blocks.append(np.full(frames, number))
            filled += frames
        else:
            if filled:
                number, filled = number + 1, 0.0
            blocks.append(number + np.arange(frames) * pieces // frames)
            number += pieces
    return np.concatenate(blocks).astype(np.int64), number + (filled > 0)


def _cut(lengths: tuple[int, ...], length: int) -> tuple[Int[np.ndarray, "frame"], int]:
    """The block of each frame, blocks of about `length` frames that never cross trajectories, and their number."""
    numbers = [max(1, round(frames / length)) for frames in lengths]
    starts = np.cumsum([0, *numbers[:-1]])
    parts = [
        start + np.arange(frames) * number // frames
        for start, number, frames in zip(starts, numbers, lengths, strict=True)
    ]
    return np.concatenate(parts).astype(np.int64), sum(numbers)


def _only(pool: Observables, block: np.ndarray, kept: np.ndarray) -> tuple[Observables, np.ndarray]:
    """The frames of some blocks, which become trajectories of their own."""
    frames = np.flatnonzero(np.isin(block, kept))
    renumbered = np.unique(block[frames], return_inverse=True)[1]
    return pool.take(frames, tuple(np.bincount(renumbered).tolist())), renumbered


def _samples(
    order: np.ndarray, sizes: Float[np.ndarray, "block"], frames: int, others: int
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """Shares of each block in the row sample and in the reference sample; the last block of each is taken in part."""
    row, target = np.zeros(len(sizes)), np.zeros(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    row[order] = np.clip((frames - before) / sizes[order], 0.0, 1.0)
    rest = order[row[order] == 0]
    before = np.cumsum(sizes[rest]) - sizes[rest]
    target[rest] = np.clip((others - before) / sizes[rest], 0.0, 1.0)
    return row, target
