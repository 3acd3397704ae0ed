"""Forces of a Verlet list's pairs in closed form, compiled for processors: where nobody asks for a graph.

The same energies as `terms.nonbonded`, which stays the differentiable way; pairs are taken in the list's order, so that
results do not depend on what else is in the list.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from mdgen.md.force_field.neighbour_list import VerletList
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters, PairTable
from mdgen.md.force_field.terms.nonbonded import lorentz_berthelot


@dataclass(frozen=True)
class PairForces:
    """Lennard-Jones and Coulomb below a cutoff; make one with `pair_forces`.

    Args:
        charges: in e, times the root of the Coulomb constant.
        kind: of each atom.
        twelfth: `4 epsilon sigma^12` of each pair of kinds.
        sixth: `4 epsilon sigma^6`.
        numbers: cutoff, switch, its inverse width, and reaction field's k and c.
        periodic: whether the nearest image counts.
    """

    charges: np.ndarray
    kind: np.ndarray
    twelfth: np.ndarray
    sixth: np.ndarray
    numbers: np.ndarray
    periodic: bool

    def __call__(
        self,
        positions: Float[Tensor, "replica atom 3"],
        cell: Float[Tensor, "replica 3"] | None,
        pairs: VerletList,
    ) -> tuple[Float[Tensor, "replica"], Float[Tensor, "replica atom 3"]]:
        """Energies in kJ/mol and forces in kJ/mol/nm; a replica that is not finite stays so."""
        x = positions.detach().numpy()
        edges = np.ones((len(x), 3), x.dtype) if cell is None else cell.numpy().astype(x.dtype)
        energy, forces = np.zeros(len(x)), np.zeros(x.shape, x.dtype)
        table, count = pairs.pairs.numpy(), pairs.count.numpy()
        for replica in range(len(x)):
            energy[replica] = _sweep(
                x[replica],
                edges[replica],
                self.periodic,
                table[replica, : count[replica]],
                self.charges.astype(x.dtype),
                self.kind,
                self.twelfth.astype(x.dtype),
                self.sixth.astype(x.dtype),
                self.numbers.astype(x.dtype),
                forces[replica],
            )
            if not np.isfinite(x[replica]).all():
                energy[replica], forces[replica] = np.nan, np.nan
        return torch.from_numpy(energy).to(positions.dtype), torch.from_numpy(forces)


def pair_forces(parameters: ForceFieldParameters, cutoff: Cutoff) -> PairForces:
    """The tables of a force field, laid out for the sweep."""
    p = parameters
    table = p.pair_table if p.pair_table is not None else pair_kinds(p.sigma, p.epsilon)
    sixth = table.sigma.detach().double().pow(6)
    strength = 4 * table.epsilon.detach().double() * sixth
    switch = cutoff.distance_nm if cutoff.switch_nm is None else cutoff.switch_nm
    width = cutoff.distance_nm - switch
    dielectric = cutoff.reaction_field_dielectric
    k = (dielectric - 1) / (2 * dielectric + 1) / cutoff.distance_nm**3
    c = 3 * dielectric / (2 * dielectric + 1) / cutoff.distance_nm
    return PairForces(
        charges=p.charges.detach().double().numpy() * p.coulomb_constant**0.5,
        kind=table.kind.numpy(),
        twelfth=(strength * sixth).numpy(),
        sixth=strength.numpy(),
        numbers=np.array([cutoff.distance_nm, switch, 1 / width if width else 0.0, k, c]),
        periodic=cutoff.periodic,
    )


def pair_kinds(sigma: Float[Tensor, "atom"], epsilon: Float[Tensor, "atom"]) -> PairTable:
    """Atoms sorted into kinds of equal sigma and epsilon, so that pairs of kinds are few."""
    kinds, kind = torch.unique(torch.stack([sigma, epsilon], -1).detach(), dim=0, return_inverse=True)
    both = torch.stack(torch.broadcast_tensors(kinds[:, None], kinds[None]), -1)
    return PairTable(kind, *lorentz_berthelot(both[..., 0, :], both[..., 1, :]))


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _sweep(
    x: Any,
    edges: Any,
    periodic: Any,
    pairs: Any,
    charges: Any,
    kind: Any,
    twelfth: Any,
    sixth: Any,
    numbers: Any,
    out: Any,
) -> Any:
    """Add the forces of one replica to `out` and return the energy."""
    cutoff, switch, slope, k, c = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    furthest, one, energy = cutoff * cutoff, numbers[0] / numbers[0], 0.0
    inverse_x, inverse_y, inverse_z = one / edges[0], one / edges[1], one / edges[2]
    half = one / 2
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        if periodic:
            dx -= edges[0] * np.floor(dx * inverse_x + half)
            dy -= edges[1] * np.floor(dy * inverse_y + half)
            dz -= edges[2] * np.floor(dz * inverse_z + half)
        square = dx * dx + dy * dy + dz * dz
        if not square < furthest:
            continue
        inverse_square = one / square
        inverse = np.sqrt(inverse_square)
        power = inverse_square * inverse_square * inverse_square
        a, b = twelfth[kind[i], kind[j]], sixth[kind[i], kind[j]]
        dispersed = (a * power - b) * power
        force = (12 * a * power - 6 * b) * power * inverse_square
        r = square * inverse
        if r > switch:
            t = (r - switch) * slope
            s = one - t * t * t * (10 - t * (15 - 6 * t))
            ds = -30 * t * t * (one - t) * (one - t) * slope
            force = force * s - dispersed * ds * inverse
            dispersed = dispersed * s
        product = charges[i] * charges[j]
        force += product * (inverse * inverse_square - 2 * k)
        energy += dispersed + product * (inverse + k * square - c)
        out[i, 0] += force * dx
        out[i, 1] += force * dy
        out[i, 2] += force * dz
        out[j, 0] -= force * dx
        out[j, 1] -= force * dy
        out[j, 2] -= force * dz
    return energy
