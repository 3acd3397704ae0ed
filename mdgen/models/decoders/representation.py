"""What a structure is to a decoder: the seam between the network and the atoms."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.molecule.topology import Molecule

Values = Float[Tensor, "batch value"]
Conditions = Float[Tensor, "batch condition"]


class Representation(nn.Module, ABC):
    """Positions to values and back; values are of order one, so that a network can make them.

    The critic and the density ratio see the values themselves unless a subclass says otherwise.
    """

    molecule: Molecule

    @classmethod
    @abstractmethod
    def fitted(cls, molecule: Molecule, positions: Float[Tensor, "frame atom 3"]) -> "Representation":
        """The representation that suits some frames."""

    @property
    @abstractmethod
    def n_values(self) -> int:
        """Numbers a structure."""

    @property
    def n_critic_values(self) -> int:
        """Numbers a structure, as the critic sees it."""
        return self.critic_values(torch.zeros(1, self.n_values)).shape[1]

    @property
    def n_ratio_values(self) -> int:
        """Numbers a structure, as the density ratio sees it."""
        return self.ratio_values(torch.zeros(1, self.n_values)).shape[1]

    @abstractmethod
    def represent(self, positions: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch value"]:
        """Positions in nm to values."""

    @abstractmethod
    def build(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch atom 3"]:
        """Values to positions in nm, differentiable."""

    def first_guess(self, count: int, generator: torch.Generator) -> Float[Tensor, "count value"]:
        """Values drawn each from its own distribution over the data, independent of one another."""
        return torch.randn(count, self.n_values, generator=generator, device=generator.device)

    def project(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch value"]:
        """What a network puts out, made to values that a structure can have."""
        return values

    def critic_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch critic_value"]:
        """What the critic sees of a structure."""
        return values

    def ratio_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch ratio_value"]:
        """What the density ratio sees: what must be distributed right, and nothing by which a draw is always told."""
        return self.critic_values(values)
