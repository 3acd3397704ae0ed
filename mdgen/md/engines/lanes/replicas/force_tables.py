"""A force field laid out as the kernels read it: flat tables in the precision of the run."""

from typing import NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import BondedTerms, as_numpy, bonded_terms
from mdgen.md.engines.lanes.born_tables import born_factor, born_table, cutoff_of_born, salt_table
from mdgen.md.engines.lanes.pair_laws import CutoffTables
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import pair_kinds


class ForceTables(NamedTuple):
    """Everything that the forces need; `number` is float32 or float64.

    Args:
        pairs: number (pair, 4) over i < j: coulomb constant times charges; 48 epsilon sigma^12; 24 epsilon sigma^6;
            generalised Born's constant times charges.
        born_atoms: number (atom, 11): see `born_table`.
        salt: number (2,): see `salt_table`.
        necks: number (pair, 5): reach; distance and height of the neck for i by j; the same for j by i; no rows without
            necks.
        bonded: terms one by one; exceptions stand in `pairs`.
        normal: bool (pair,): whether a pair is no exception, so that the cutoff ends it; empty without a cutoff.
        cutoff: where pairs in generalised Born end; None without a cutoff.
    """

    pairs: np.ndarray
    born_atoms: np.ndarray
    salt: np.ndarray
    necks: np.ndarray
    bonded: BondedTerms
    normal: np.ndarray
    cutoff: CutoffTables | None


def force_tables(parameters: ForceFieldParameters, dtype: type) -> ForceTables:
    """Lay out `parameters` in `dtype`, numpy's float32 or float64.

    Raises:
        MdgenError: for a torsion of a periodicity that force fields do not use.
    """
    cutoff = cutoff_of_born(parameters, dtype)
    return ForceTables(
        pairs=np.ascontiguousarray(_pair_table(parameters), dtype),
        born_atoms=np.ascontiguousarray(born_table(parameters, dtype), dtype),
        salt=salt_table(parameters, dtype),
        necks=np.ascontiguousarray(_neck_table(parameters), dtype),
        bonded=bonded_terms(parameters, dtype, grouped=False),
        normal=np.zeros(0, bool) if cutoff is None else _normal(parameters),
        cutoff=cutoff,
    )


def _pair_table(parameters: ForceFieldParameters) -> np.ndarray:
    charges = as_numpy(parameters.charges)
    product = charges[:, None] * charges
    solvated = born_factor(parameters) * product
    table = parameters.pair_table or pair_kinds(parameters.sigma, parameters.epsilon)
    kind = as_numpy(table.kind)
    sigma, epsilon = (as_numpy(of_kinds)[kind[:, None], kind] for of_kinds in (table.sigma, table.epsilon))
    product = product.copy()
    first, second = as_numpy(parameters.exception_atoms).reshape(-1, 2).T
    for table, own in (
        (product, parameters.exception_charge_product),
        (sigma, parameters.exception_sigma),
        (epsilon, parameters.exception_epsilon),
    ):
        table[first, second] = table[second, first] = as_numpy(own)
    columns = [parameters.coulomb_constant * product, 48 * epsilon * sigma**12, 24 * epsilon * sigma**6, solvated]
    upper = np.triu_indices(len(charges), k=1)
    return np.stack([column[upper] for column in columns], -1)


def _normal(parameters: ForceFieldParameters) -> np.ndarray:
    n = parameters.n_atoms
    normal = np.ones((n, n), bool)
    first, second = as_numpy(parameters.exception_atoms).reshape(-1, 2).T
    normal[first, second] = normal[second, first] = False
    return normal[np.triu_indices(n, k=1)]


def _neck_table(parameters: ForceFieldParameters) -> np.ndarray:
    born = parameters.born
    if born is None or born.neck is None:
        return np.zeros((0, 5))
    radius, distance, height = (as_numpy(table) for table in (born.radius, born.neck.distance, born.neck.height))
    reach = radius[:, None] + radius + born.neck.cut_nm
    upper = np.triu_indices(len(radius), k=1)
    columns = [reach, distance, born.neck.scale * height, distance.T, born.neck.scale * height.T]
    return np.stack([column[upper] for column in columns], -1)
