"""Minimisation by OpenMM, which is quicker for boxes and knows every force."""

import numpy as np
import openmm
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError

_STEPS = 200
_REPEATABLE = {"Threads": "1", "DeterministicForces": "true"}
"""Threads share the sums of forces differently each time, and small differences grow in a rough landscape."""


def minimized_by_openmm(system: openmm.System, positions: Float[Tensor, "atom 3"]) -> Float[Tensor, "atom 3"]:
    """Positions in nm some way downhill, constraints met and virtual sites in their places, each time the same.

    Raises:
        MdgenError: if OpenMM cannot compute the energy, or it is not finite.
    """
    try:
        platform = openmm.Platform.getPlatformByName("CPU")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, _REPEATABLE)
        context.setPositions(positions.numpy())
        context.computeVirtualSites()
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_STEPS)
    except openmm.OpenMMException as error:
        raise MdgenError(
            f"OpenMM cannot minimise the start ({' '.join(str(error).split())}); mend the system, or take relax=false"
        ) from error
    found = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return torch.from_numpy(np.array(found, dtype=np.float64))
