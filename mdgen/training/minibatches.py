"""Batches from data in memory: no workers, no item-by-item Python; each process takes its own part of every batch."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed

from mdgen.models.batches import Items, RandomRows


def processes() -> tuple[int, int]:
    """The rank of this process and the number of processes that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class Passes:
    """One pass over all items in random order, in batches of equal size (an epoch).

    Where one batch would hold them all, the items are given as they are. Weighted items are always given whole, since
    their weights differ by orders of magnitude. With several processes each has its share of every batch, of `size`
    items; `generator` is in the same state on all of them, and its state is part of a checkpoint.
    """

    def __init__(self, items: Items, size: int, generator: torch.Generator) -> None:
        self.items, self.size, self.generator = items, size, generator

    def __len__(self) -> int:
        return 1 if self._whole() else math.ceil(len(self.items) / self._together())

    def __iter__(self) -> Iterator[Any]:
        if self._whole():
            yield whole_batch(self.items)
            return
        rank, world = processes()
        for chosen in torch.randperm(len(self.items), generator=self.generator).split(self._together()):
            yield self.items.rows(chosen[rank::world] if len(chosen) >= world else chosen)

    def _whole(self) -> bool:
        weighted = getattr(self.items, "weights", None) is not None
        return weighted or (processes()[1] == 1 and self.size >= len(self.items))

    def _together(self) -> int:
        """Items of one batch of all processes together."""
        n = len(self.items)
        return math.ceil(n / max(1, n // (self.size * processes()[1])))


class RandomDraws:
    """Batches drawn at random with repetition, as often as `items.weights` say; `n_batches` of them are an epoch.

    Each process draws `size` items a batch; `generator` is in the same state on all of them.
    """

    def __init__(self, items: Items, size: int, n_batches: int, generator: torch.Generator) -> None:
        self.items, self.size, self.n_batches, self.generator = items, size, n_batches, generator
        weights = getattr(items, "weights", None)
        self._rows = RandomRows(torch.ones(len(items)) if weights is None else weights)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Any]:
        rank, world = processes()
        for _ in range(self.n_batches):
            yield self.items.rows(self._rows.draw(self.size * world, self.generator)[rank::world])


class Whole:
    """All items in one batch, for validation."""

    def __init__(self, items: Items) -> None:
        self.items = items

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield whole_batch(self.items)


def whole_batch(items: Any) -> Any:
    """All items as one batch; those that are a batch already are left as they are."""
    return items if hasattr(items, "to") else items.rows(torch.arange(len(items)))
