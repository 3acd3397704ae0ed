"""Structures as superposed coordinates, as in the paper on latent space simulators."""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.geometry.superposition import superpose
from mdgen.models.decoders.representation import Representation
from mdgen.molecule.topology import Molecule
from mdgen.registry import register

LEAST_SPREAD = 1e-4
"""Spread in nm below which a coordinate counts as constant."""


@register
class CartesianRepresentation(Representation):
    """All atoms superposed on a reference frame by a proper rotation, each coordinate standardised.

    Nothing holds bonds or chirality but what the decoder learns.

    Args:
        molecule: molecule whose structures are represented.
    """

    reference: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, molecule: Molecule) -> None:
        super().__init__()
        self.molecule = molecule
        self.register_buffer("reference", torch.zeros(molecule.n_atoms, 3))
        self.register_buffer("mean", torch.zeros(3 * molecule.n_atoms))
        self.register_buffer("scale", torch.ones(3 * molecule.n_atoms))

    @property
    def n_values(self) -> int:
        """Numbers a structure."""
        return 3 * self.molecule.n_atoms

    @classmethod
    @torch.no_grad()
    def fitted(cls, molecule: Molecule, positions: Float[Tensor, "frame atom 3"]) -> "CartesianRepresentation":
        """The representation that suits some frames: the first as the reference, mean and spread of each coordinate."""
        representation = cls(molecule)
        representation.reference.copy_(positions[0] - positions[0].mean(0))
        aligned = superpose(positions, representation.reference).flatten(1).double()
        representation.mean.copy_(aligned.mean(0))
        representation.scale.copy_(aligned.std(0).clamp(min=LEAST_SPREAD))
        return representation

    def represent(self, positions: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch value"]:
        """Positions in nm to values."""
        return (superpose(positions, self.reference).flatten(1) - self.mean) / self.scale

    def build(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch atom 3"]:
        """Values to positions in nm, differentiable."""
        return (values * self.scale + self.mean).unflatten(1, (-1, 3))
