"""The context of trajectories of one molecule."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Context
from mdgen.molecule.residues import residue_types
from mdgen.molecule.topology import Molecule


def context_of(
    molecule: Molecule,
    n: int,
    temperature_K: float | None = None,
    frame_spacing_ps: float | None = None,
    key_frames: Float[Tensor, "{n} key atom 3"] | None = None,
) -> Context:
    """The context of `n` trajectories, or frames, of one molecule under the same conditions.

    Every token and atom of one molecule is real, so there are no masks.

    Args:
        molecule: molecule of every row.
        n: rows of the batch.
        temperature_K: temperature of every row; None where it is not known.
        frame_spacing_ps: time between two frames; None where it means nothing, as for single frames.
        key_frames: structures that tokens are measured against, nm; None where they are not known.
    """

    def rows(value: float | None) -> Tensor | None:
        return None if value is None else torch.full((n,), float(value))

    types = residue_types(molecule)[None].expand(n, -1)
    return Context((molecule,), rows(temperature_K), rows(frame_spacing_ps), types, key_frames=key_frames)
