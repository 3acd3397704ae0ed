"""Block permutation: what molecular dynamics scores against itself.

Frames of dynamics are correlated, so two replicates of the same law lie further apart than independent samples of as
many frames do. Here the reference and its replicate are cut into blocks, and the blocks are assigned at random to a
reference sample and a row sample of the sizes that the table has. Blocks keep the correlation within them, and both
samples follow the same law: a permutation test, whose distances are what a replicate is expected to score (Good,
Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mdgen.evaluation.statistics.observables import Observables

LEAST_BLOCKS, MOST_BLOCKS = 32, 256
"""Blocks are as long as possible with at least so many; above the most, neighbours share a block."""

DRAWS = 100


@dataclass(frozen=True)
class BlockPermutation:
    """Blocks of dynamics and the random samples drawn from them; metrics of sums over blocks compare the two samples.

    Args:
        pool: all frames, their block as the bootstrap unit.
        target: share of each block in the reference sample.
        row: share of each block in the row sample; the two have no block in common.
        block_ps: mean length of a block that is a piece of one trajectory.
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
