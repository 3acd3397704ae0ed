"""Particles in any potential: beads with a network, or a point in a model potential."""

from collections.abc import Sequence

import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, System
from mdgen.md.dynamics.minimize import minimize
from mdgen.molecule.topology import Molecule
from mdgen.registry import register


@register
def build_particles(
    potential: Potential,
    positions_nm: Sequence[Sequence[float]],
    masses_amu: Sequence[float] = (12.0,),
    names: Sequence[str] = ("P",),
    bonds: Sequence[Sequence[int]] = (),
    box_nm: Sequence[float] | None = None,
    constraints: str = "none",
    relax: bool = False,
) -> System:
    """A system of particles without chemistry.

    Args:
        potential: energy of their positions.
        positions_nm: start of each particle, (particle, 3).
        masses_amu: mass of each particle, or one for all.
        names: name of each particle, or one for all.
        bonds: pairs of particles that belong together; they do not enter the energy.
        box_nm: edges of a periodic box; None for none.
        constraints: `none`; particles have no bonds to constrain.
        relax: whether to minimise the start.

    Raises:
        MdgenError: for a wrong number of coordinates, masses or names, or a mass that is not positive.
    """
    if constraints != "none":
        raise MdgenError(f"constraints is {constraints!r}, but particles have none; use constraints=none")
    positions = torch.tensor(positions_nm, dtype=torch.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0 or not bool(positions.isfinite().all()):
        raise MdgenError(f"positions_nm is {positions_nm}, but must list x, y and z of each particle, as in [[0,0,0]]")
    n = len(positions)
    for name, given in (("masses_amu", masses_amu), ("names", names)):
        if len(given) not in (1, n):
            raise MdgenError(f"{name} lists {len(given)} values for {n} particles; give one, or one a particle")
    masses = torch.tensor(list(masses_amu), dtype=torch.float64).expand(n).clone()
    if not bool((masses > 0).all()):
        raise MdgenError(f"masses_amu is {list(masses_amu)}, but every mass must be positive")
    molecule = Molecule.particles(list(names) * n if len(names) == 1 else names, bonds)
    cell = None if box_nm is None else torch.tensor(list(box_nm), dtype=torch.float64)
    if relax:
        positions = minimize(potential, positions[None], cell=None if cell is None else cell[None]).positions[0]
    return System(molecule, masses, potential, positions, None, cell)
