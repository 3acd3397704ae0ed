"""Atoms on the same spot: found and named before anything is divided by their distance."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.force_field.neighbour_list import pairs_within

_NEAREST_NM = 0.02


def require_apart(
    positions: Float[Tensor, "atom 3"],
    cell: Float[Tensor, "3"] | None = None,
    topology: Any = None,
) -> None:
    """Raise if two atoms lie closer than 0.02 nm: no bond is that short, and forces would be without measure.

    Args:
        positions: nm.
        cell: edges of the box in nm.
        topology: an `openmm.app.Topology`, to name atoms.

    Raises:
        MdgenError: naming the first such pair.
    """
    x = positions.detach().cpu().double().numpy()
    if not np.isfinite(x).all():
        atom = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise MdgenError(f"atom {atom} has coordinates that are not finite; check the start")
    box = None if cell is None else cell.detach().cpu().double().numpy()
    pairs = pairs_within(x, box, _NEAREST_NM)
    if len(pairs) == 0:
        return
    i, j = (int(atom) for atom in pairs[0])
    names = [f"{atom.name} of {atom.residue.name}{atom.residue.id}" for atom in topology.atoms()] if topology else None
    shown = [f"atom {atom}" + (f" ({names[atom]})" if names else "") for atom in (i, j)]
    between = x[i] - x[j]
    apart = float(np.linalg.norm(between if box is None else between - box * np.round(between / box)))
    raise MdgenError(
        f"{shown[0]} and {shown[1]} overlap: they are {apart:.4f} nm apart, as near as {len(pairs) - 1} other pairs; "
        "move them apart"
    )
