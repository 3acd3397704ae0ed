"""Which pairs of atoms interact how: every pair once, apart from the exceptions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FAR_NM = 1e3


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
    positions: Float[Tensor, "replica atom 3"],
    pairs: Int[Tensor, "*replica pair 2"],
    cell: Float[Tensor, "replica 3"] | None = None,
) -> Float[Tensor, "replica pair"]:
    """Distance in nm of each pair; with a cell, that of the nearest images.

    Args:
        positions: nm; atoms may lie outside the cell.
        pairs: one list for all replicas, or one a replica, padded there with pairs of an atom with itself, which count
            as far apart.
        cell: edges of the orthorhombic box in nm.
    """
    # A gather's gradient is several times cheaper on processors than that of an index_select.
    index = pairs.expand(len(positions), -1, 2)[..., None]
    first, second = (positions.gather(1, index[:, :, side].expand(-1, -1, 3)) for side in (0, 1))
    between = second - first
    if cell is not None:
        edges = cell[:, None]
        between = between - edges * (between / edges).detach().round()
    square = between.square().sum(-1)
    if pairs.ndim == 3:
        square = square + (pairs[..., 0] == pairs[..., 1]) * _FAR_NM**2
    return square.sqrt()
