"""All forces on a molecule in a compiled step: dense tables for the force field, differentiation for what is added."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential
from mdgen.md.engines.compiled.bonded import BondedForces
from mdgen.md.engines.compiled.born import DenseBorn
from mdgen.md.engines.compiled.pairs import DensePairs
from mdgen.md.force_field.parameters import ForceFieldParameters


class DenseForces:
    """Forces of a force field and of added potentials, every pair computed: nothing in it depends on a value.

    Args:
        parameters: the force field, without Ewald sums.
        extra: potentials to add; they must be written in torch operations that do not look at values.

    Raises:
        MdgenError: for Ewald sums.
    """

    def __init__(self, parameters: ForceFieldParameters, extra: Sequence[Potential] = ()) -> None:
        p = parameters
        if p.cutoff is not None and p.cutoff.ewald:
            raise MdgenError("compile=true has no Ewald sums (PME); run this system with engine=openmm")
        self._bonded, self._pairs = BondedForces(p), DensePairs(p)
        self._born = None if p.born is None else DenseBorn(p, p.born)
        self._extra = tuple(extra)
        self._periodic = p.cutoff is not None and p.cutoff.periodic

    def __call__(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> Float[Tensor, "replica atom 3"]:
        """Forces in kJ/mol/nm."""
        inside = positions.permute(2, 1, 0)
        forces = self._bonded.forces(inside)
        forces = forces + self._pairs.forces(inside, None if cell is None else cell.T)
        if self._born is not None:
            forces = forces + self._born.forces(inside)
        forces = forces.permute(2, 1, 0)
        for potential in self._extra:
            with torch.enable_grad():
                attached = positions.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(potential.energy(attached, cell).sum(), attached)
            forces = forces - gradient
        return forces
