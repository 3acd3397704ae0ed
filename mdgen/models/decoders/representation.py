"""What a structure is to a decoder: the seam between the network and the atoms."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.molecule.topology import Molecule


class Representation(Protocol):
    """Positions to values and back; values are of order one, so that a network can make them."""

    molecule: Molecule

    @property
    def n_values(self) -> int:
        """Numbers a structure."""
        ...

    @property
    def n_critic_values(self) -> int:
        """Numbers a structure, as the critic sees it."""
        ...

    def represent(self, positions: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch value"]:
        """Positions in nm to values."""
        ...

    def build(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch atom 3"]:
        """Values to positions in nm, differentiable."""
        ...

    def first_guess(self, count: int, generator: torch.Generator) -> Float[Tensor, "count value"]:
        """Values drawn each from its own distribution over the data, independent of one another."""
        ...

    def project(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch value"]:
        """What a network puts out, made to values that a structure can have."""
        ...

    def critic_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch critic_value"]:
        """What the critic sees of a structure."""
        ...

    @property
    def n_ratio_values(self) -> int:
        """Numbers a structure, as the density ratio sees it."""
        ...

    def ratio_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch ratio_value"]:
        """What the density ratio sees: what must be distributed right, and nothing by which a draw is always told."""
        ...
