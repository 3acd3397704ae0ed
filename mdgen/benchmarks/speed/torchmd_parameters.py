"""A force field as arrays in TorchMD's units (A, kcal/mol, e) and layout, for `engine_torchmd`."""

import numpy as np
from jaxtyping import Float

from mdgen.benchmarks.speed.start import FRICTION_PER_PS, TEMPERATURE_K, UNCONSTRAINED_FS
from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.units import ANGSTROM, KCAL

_TIME = 48.88821
"""TorchMD's unit of time in fs."""


def torchmd_numbers(
    parameters: ForceFieldParameters,
    positions: Float[np.ndarray, "atom 3"],
    velocities: Float[np.ndarray, "atom 3"],
    cell: Float[np.ndarray, "3"],
) -> dict[str, np.ndarray]:
    """Arrays of a periodic system with a cutoff; AMBER's impropers count as torsions, as in TorchMD.

    Args:
        parameters: force field without constraints, which TorchMD does not have.
        positions: positions in nm.
        velocities: velocities in nm/ps.
        cell: edges of the box in nm.

    Raises:
        MdgenError: if the force field has terms that TorchMD does not have.
    """
    p = parameters
    for part in ("born", "cmap", "impropers", "pair_table"):
        if getattr(p, part) is not None:
            raise MdgenError(f"TorchMD does not have this system's {part}; time it on a system without")
    if p.cutoff is None or not p.cutoff.periodic:
        raise MdgenError("TorchMD is timed on periodic systems with a cutoff, but this one has none; take the box")
    first, second = p.exception_atoms.numpy().T
    kinds, index = np.unique(np.stack([p.sigma.numpy(), p.epsilon.numpy()], -1), axis=0, return_inverse=True)
    bonds = np.stack([p.bond_k.numpy() * ANGSTROM**2 / KCAL, p.bond_length.numpy() / ANGSTROM], -1)
    angles = np.stack([p.angle_k.numpy() / KCAL, p.angle_theta0.numpy()], -1)
    torsions = np.stack([p.torsion_k.numpy() / KCAL, p.torsion_phase.numpy(), p.torsion_periodicity.numpy()], -1)
    return {
        "positions": positions / ANGSTROM,
        "velocities": velocities / ANGSTROM * (1e-3 * _TIME),
        "cell": cell / ANGSTROM,
        "masses": p.masses.numpy(),
        "charges": p.charges.numpy(),
        "kinds": index.reshape(-1),
        "kind_numbers": kinds / np.array([ANGSTROM, KCAL]),
        "excluded": np.stack([first, second], -1),
        "cutoff": np.array([p.cutoff.distance_nm / ANGSTROM, p.cutoff.reaction_field_dielectric]),
        "dynamics": np.array([UNCONSTRAINED_FS, TEMPERATURE_K, FRICTION_PER_PS]),
        **_table("bond", p.bond_atoms.numpy(), bonds),
        **_table("angle", p.angle_atoms.numpy(), angles),
        **_table("torsion", p.torsion_atoms.numpy(), torsions),
        **_pairs14(p),
    }


def _pairs14(p: ForceFieldParameters) -> dict[str, np.ndarray]:
    """Exceptions other than plain exclusions, with the divisor of the product of their charges."""
    product, epsilon = p.exception_charge_product.numpy(), p.exception_epsilon.numpy()
    kept = (product != 0) | (epsilon != 0)
    atoms = p.exception_atoms.numpy()[kept]
    six = (p.exception_sigma.numpy()[kept] / ANGSTROM) ** 6
    depth = 4 * epsilon[kept] / KCAL
    whole = p.charges.numpy()[atoms].prod(-1)
    scale = np.divide(whole, product[kept], out=np.full(len(atoms), np.inf), where=product[kept] != 0)
    return _table("pair14", atoms, np.stack([depth * six * six, depth * six, np.ones(len(atoms)), scale], -1))


def _table(kind: str, atoms: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.repeat(np.arange(len(atoms))[:, None], 2, axis=1)
    return {f"{kind}_atoms": atoms, f"{kind}_rows": rows, f"{kind}_numbers": numbers}
