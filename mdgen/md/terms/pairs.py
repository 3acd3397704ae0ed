"""Which pairs of atoms interact how: every pair once, apart from the exceptions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def all_pairs(n_atoms: int, device: torch.device | None = None) -> Int[Tensor, "pair 2"]:
    """Every pair `i < j` once.

    >>> all_pairs(3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    return torch.triu_indices(n_atoms, n_atoms, offset=1, device=device).T.contiguous()


def normal_pairs(n_atoms: int, exception_atoms: Int[Tensor, "exception 2"]) -> Int[Tensor, "pair 2"]:
    """Every pair `i < j` that is no exception.

    >>> normal_pairs(3, torch.tensor([[1, 0]])).tolist()
    [[0, 2], [1, 2]]
    """
    normal = torch.ones(n_atoms, n_atoms, dtype=torch.bool, device=exception_atoms.device).triu(1)
    low, high = exception_atoms.amin(1), exception_atoms.amax(1)
    normal[low, high] = False
    return normal.nonzero()


def separations(
    positions: Float[Tensor, "replica atom 3"], pairs: Int[Tensor, "pair 2"]
) -> Float[Tensor, "replica pair"]:
    """Distance in nm of each pair."""
    between = positions.index_select(1, pairs[:, 1]) - positions.index_select(1, pairs[:, 0])
    return between.square().sum(-1).sqrt()
