"""Batches of windows for training: a seeded order that resumes, sharded over ranks, read by worker processes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

from mdgen.data.collation import TrajectoryBatch, add_context, pad_windows
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError
from mdgen.registry import register


@register
class WindowLoader:
    """Iterates over the batches of a data set, epoch after epoch; its state resumes in the middle of one.

    Lightning and plain loops both take it. The order depends on the seed and the epoch alone, not on the number of
    workers. Molecules of similar size form a bucket, and a batch holds windows of one bucket, so that little is padded.
    Batches are dealt to the ranks by torch's `DistributedSampler`: where their number is no multiple of the ranks, the
    first are repeated.

    Args:
        dataset: windows to load.
        batch_size: largest number of windows in a batch; None for no limit.
        atoms_per_batch: largest number of atoms in a padded batch, each counted in every frame; None for no limit.
        tokens_per_batch: largest number of tokens likewise, instead of atoms.
        padding: fraction by which the largest molecule of a batch may exceed the smallest; None for any.
        shuffle: whether the order is random.
        seed: seed of the order.
        drop_last: whether to leave out incomplete batches, and those that do not fill all ranks.
        num_workers: number of processes that read; 0 to read in this one.
        pin_memory: whether batches lie in page-locked memory, for a GPU.
        rank: number of this process among `ranks`; None to ask torch.distributed.
        ranks: number of processes that share an epoch; None to ask torch.distributed.

    Raises:
        MdgenError: if no limit or more than one budget is given, a window does not fit, or no batch is left.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        batch_size: int | None = None,
        atoms_per_batch: int | None = None,
        tokens_per_batch: int | None = None,
        padding: float | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        if atoms_per_batch is not None and tokens_per_batch is not None:
            raise MdgenError("a batch has one budget; give atoms_per_batch or tokens_per_batch")
        by_tokens = tokens_per_batch is not None
        budget = tokens_per_batch if by_tokens else atoms_per_batch
        if batch_size is None and budget is None:
            raise MdgenError("a batch needs a limit; give a batch size, or a budget of atoms or tokens")
        if batch_size is not None and batch_size < 1:
            raise MdgenError(f"a batch size of {batch_size} makes no batch; it must be at least 1")
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        self.epoch, self._consumed, self._resumed = 0, 0, False
        self._rank, self._ranks = rank, ranks
        sizes = [len(types) for types in dataset.residue_types] if by_tokens else dataset.n_atoms
        self._buckets = _buckets(dataset.counts, [size * dataset.frames for size in sizes], padding)
        self._lengths = [_fitting(largest, batch_size, budget) for _, largest in self._buckets]
        self._n_batches = sum(
            len(indices) // length if drop_last else -(-len(indices) // length)
            for (indices, _), length in zip(self._buckets, self._lengths, strict=True)
        )
        if len(self) == 0:
            raise MdgenError(
                f"{len(dataset)} windows fill no batch for each rank; allow incomplete ones (drop_last=False)"
            )
        self._left: list[np.ndarray] = []
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._left,  # type: ignore[arg-type]  # torch wants lists; `__getitems__` takes arrays
            collate_fn=pad_windows,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # or it would draw from the one of the whole process
        )

    @property
    def ranks(self) -> int:
        """Processes that share an epoch."""
        return self._ranks or (distributed.get_world_size() if _is_distributed() else 1)

    @property
    def rank(self) -> int:
        """This process among them."""
        return self._rank if self._rank is not None else (distributed.get_rank() if _is_distributed() else 0)

    def __len__(self) -> int:
        """Batches of an epoch on each rank."""
        return self._n_batches // self.ranks if self.drop_last else -(-self._n_batches // self.ranks)

    def __iter__(self) -> Iterator[TrajectoryBatch]:
        """An epoch, or what is left of one after `load_state_dict`; the epoch after a whole one is the next."""
        if self._consumed >= len(self):
            self.set_epoch(self.epoch + 1)
        elif not self._resumed:
            self._consumed = 0
        self._resumed = False
        self._left[:] = self.batches()[self._consumed :]
        for positions, places in self._loader:
            self._consumed += 1  # before the batch is used: a checkpoint is taken after its step
            yield add_context(positions, places, self.dataset)

    def batches(self) -> list[Int[np.ndarray, "_window"]]:
        """The windows of each batch of this rank and epoch, by their indices in the data set."""
        generator = torch.Generator().manual_seed(_seed_of(self.seed, self.epoch))
        batches: list[np.ndarray] = []
        for (indices, _), length in zip(self._buckets, self._lengths, strict=True):
            drawn = indices[torch.randperm(len(indices), generator=generator).numpy()] if self.shuffle else indices
            kept = len(drawn) // length * length if self.drop_last else len(drawn)
            batches += [drawn[start : start + length] for start in range(0, kept, length)]
        dealt: DistributedSampler[int] = DistributedSampler(
            batches,  # type: ignore[arg-type]
            self.ranks,
            self.rank,
            self.shuffle,
            int(torch.randint(2**62, (), generator=generator)),
            self.drop_last,
        )
        return [batches[number] for number in dealt]

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; nothing changes if it has begun already."""
        if epoch != self.epoch:
            self.epoch, self._consumed = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch it is, as plain JSON; equal on all ranks."""
        return {**self._identity(), "epoch": self.epoch, "consumed": self._consumed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            MdgenError: if other data, another seed or another number of ranks would give another order.
        """
        for key, mine in self._identity().items():
            if state.get(key) != mine:
                raise MdgenError(
                    f"the order of the data cannot be resumed: its {key} was {state.get(key)} and is {mine} now; "
                    "resume with the same data and settings"
                )
        self.epoch, self._consumed, self._resumed = int(state["epoch"]), int(state["consumed"]), True

    def _identity(self) -> dict[str, Any]:
        pairs = zip(self._buckets, self._lengths, strict=True)
        named = {name: getattr(self, name) for name in ("seed", "shuffle", "drop_last", "ranks")}
        return {**named, "buckets": [[len(indices), size, length] for (indices, size), length in pairs]}


class WindowLoaders(NamedTuple):
    """Loaders of data that were split; None for a part that was not asked for."""

    training: WindowLoader
    validation: WindowLoader | None = None
    test: WindowLoader | None = None


def _buckets(counts: Sequence[int], sizes: Sequence[int], padding: float | None) -> list[tuple[np.ndarray, int]]:
    """Indices of each bucket, rising, and the largest size among them."""
    first = np.concatenate([[0], np.cumsum(counts)]).tolist()
    groups = sorted((size, number) for number, size in enumerate(sizes) if counts[number])
    buckets: list[list[tuple[int, int]]] = []
    for size, number in groups:
        if buckets and (padding is None or size <= buckets[-1][0][0] * (1 + padding)):
            buckets[-1].append((size, number))
        else:
            buckets.append([(size, number)])
    return [
        (np.concatenate([np.arange(first[n], first[n + 1]) for n in sorted(n for _, n in bucket)]), bucket[-1][0])
        for bucket in buckets
    ]


def _fitting(size: int, batch_size: int | None, budget: int | None) -> int:
    """Indices of `size` that make a batch."""
    if budget is not None and size > budget:
        raise MdgenError(
            f"a window of size {size} does not fit a batch of {budget}; raise the budget or shorten windows"
        )
    limits = [batch_size, None if budget is None else budget // size]
    return min(limit for limit in limits if limit is not None)


def _seed_of(seed: int, epoch: int) -> int:
    """Unlike `seed + epoch`, different for every pair."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=7).digest())


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
