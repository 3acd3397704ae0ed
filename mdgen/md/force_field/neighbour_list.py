"""Verlet lists: the pairs within a cutoff and a skin, found seldom and used often.

Pairs are sorted, and those beyond the cutoff add exact zeros, so on a processor forces do not depend on when a list was
built: a resumed run stays the same bit for bit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mdgen.interfaces import Cells, Positions

_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class VerletList:
    """Pairs of every replica, and where they were found; make one with `verlet_list`.

    Args:
        pairs: sorted, `i < j`, padded with pairs of atom 0 with itself.
        positions: positions for which the list was made, nm.
        cell: edges of the box then, nm; None without one.
        skin_nm: distance beyond the cutoff that was searched.
    """

    pairs: Int[Tensor, "replica pair 2"]
    positions: Float[Tensor, "replica atom 3"]
    cell: Float[Tensor, "replica 3"] | None
    skin_nm: float

    def holds(self, positions: Positions, cell: Cells | None) -> Bool[Tensor, ""]:
        """Whether no pair can have come within the cutoff unseen: no atom went further than half the skin.

        A replica whose positions are not finite asks for nothing: no list would help it.
        """
        if positions.shape != self.positions.shape or (cell is None) != (self.cell is None):
            return torch.tensor(False, device=positions.device)
        moved = (positions - self.positions).square().sum(-1).amax(-1)
        near = ~(moved > (0.5 * self.skin_nm) ** 2)
        if cell is not None and self.cell is not None:
            near = near & torch.eq(cell, self.cell).all(-1)
        return near.all()


def verlet_list(
    positions: Float[Tensor, "replica atom 3"],
    cell: Float[Tensor, "replica 3"] | None,
    cutoff_nm: float,
    skin_nm: float,
    exception_atoms: Int[Tensor, "exception 2"],
) -> VerletList:
    """Find every pair within `cutoff_nm + skin_nm`, exceptions left out, by a k-d tree in O(atoms log atoms).

    Args:
        positions: nm; atoms may lie outside the cell.
        cell: edges of the orthorhombic box in nm; None without one.
        cutoff_nm: cutoff of the interaction.
        skin_nm: distance beyond the cutoff to search.
        exception_atoms: pairs to leave out.
    """
    n_atoms = positions.shape[1]
    excluded = np.sort(_keys(np.sort(exception_atoms.cpu().numpy(), 1), n_atoms))
    found = []
    for replica, x in enumerate(positions.detach().cpu().double().numpy()):
        box = None if cell is None else cell[replica].detach().cpu().double().numpy()
        found.append(pairs_within(x, box, cutoff_nm + skin_nm, excluded))
    table = pad_sequence([torch.from_numpy(pairs) for pairs in found], batch_first=True)
    return VerletList(table.to(positions.device), positions.detach(), cell, skin_nm)


def pairs_within(
    x: Float[np.ndarray, "atom 3"],
    box: Float[np.ndarray, "3"] | None,
    reach_nm: float,
    excluded: Int[np.ndarray, "exception"] = _NONE,
) -> Int[np.ndarray, "pair 2"]:
    """Sorted pairs of one replica; none where a position is not finite."""
    if not np.isfinite(x).all():
        return np.zeros((0, 2), dtype=np.int64)
    if box is not None:
        x = np.mod(x, box)
        x = np.where(x >= box, 0.0, x)  # the remainder of a tiny negative number rounds up to the edge itself
    keys = _keys(cKDTree(x, boxsize=box).query_pairs(reach_nm, output_type="ndarray"), len(x))
    keys = np.sort(keys)
    if len(excluded):
        place = np.minimum(np.searchsorted(excluded, keys), len(excluded) - 1)
        keys = keys[excluded[place] != keys]
    return np.stack(np.divmod(keys, len(x)), -1).astype(np.int64)


def _keys(pairs: Int[np.ndarray, "pair 2"], n_atoms: int) -> Int[np.ndarray, "pair"]:
    """One number for each pair `i < j`, in the order of the pairs."""
    return pairs[:, 0].astype(np.int64) * n_atoms + pairs[:, 1]
