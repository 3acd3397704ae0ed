"""Energies of frames through the `Potential` seam, whatever force field or network is behind it."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Potential


@torch.no_grad()
def energies(potential: Potential, positions: Float[Tensor, "frame atom 3"]) -> dict[str, Float[Tensor, "frame"]]:
    """`total` in kJ/mol, and the potential's own terms where it has `energy_terms`."""
    positions = positions.double()
    terms = getattr(potential, "energy_terms", None)
    if terms is None:
        return {"total": potential.energy(positions)}
    found = dict(terms(positions))
    return {"total": torch.stack(tuple(found.values())).sum(0), **found}
