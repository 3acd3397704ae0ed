"""Sums of contributions by looking them up: each atom reads its own rows, in a fixed order."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class AtomSums:
    """Which rows of a table of contributions belong to which atom.

    Adding rows into atoms would need atomic operations, whose order and so whose last bit a GPU leaves open.

    Args:
        atoms: the atom that each row adds to.
        n_atoms: how many atoms there are.
        like: a tensor of the rows' precision and device.
        weight: factor of each row, None for one; rows of weight zero are left out.
    """

    def __init__(
        self, atoms: Int[Tensor, "row"], n_atoms: int, like: Tensor, weight: Float[Tensor, "row"] | None = None
    ) -> None:
        factors = [1.0] * len(atoms) if weight is None else weight.tolist()
        rows: list[list[int]] = [[] for _ in range(n_atoms)]
        for row, (atom, factor) in enumerate(zip(atoms.tolist(), factors, strict=True)):
            if factor:
                rows[atom].append(row)
        width = max((len(of_atom) for of_atom in rows), default=0)
        filled = [of_atom + [-1] * (width - len(of_atom)) for of_atom in rows]
        self._rows = torch.tensor(filled, dtype=torch.int64, device=like.device).clamp(min=0)
        kept = [[factors[row] if row >= 0 else 0.0 for row in of_atom] for of_atom in filled]
        self._weight = torch.tensor(kept, dtype=like.dtype, device=like.device)[..., None]

    def __call__(self, rows: Float[Tensor, "component row replica"]) -> Float[Tensor, "component atom replica"]:
        """The weighted sum of each atom's rows."""
        if self._rows.numel() == 0:
            return rows.new_zeros(len(rows), len(self._rows), rows.shape[-1])
        return (rows[:, self._rows] * self._weight).sum(2)
