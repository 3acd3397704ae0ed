"""All pairs of a molecule as numbers of atoms in blocks of sixteen, one row for each kind of partner."""

from typing import NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.engines.lanes.born_tables import born_factor, born_table, cutoff_of_born, salt_table
from mdgen.md.engines.lanes.pair_laws import CutoffTables
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import pair_kinds
from mdgen.simd.lanes import LANES


class MoleculeTables(NamedTuple):
    """Numbers of atoms and of pairs; `number` is float32 or float64. Lanes beyond the last atom have no strength.

    Args:
        charges: number (block, lane): charges times the root of the Coulomb constant.
        kinds: int64 (2, atom): row of `strengths` and of `necks` for each atom.
        strengths: number (kind, block, 2, lane): 48 epsilon sigma^12 and 24 epsilon sigma^6 of an atom with each other.
        masks: uint16 (atom, block): the later atoms that are no exceptions of an atom.
        born_atoms: number (block, 11, lane): see `born_table`; no rows without generalised Born. The distance beyond
            which descreening is a polynomial holds for the pair if it is the larger of the two.
        salt: number (2,): see `salt_table`.
        necks: number (kind, block, 4, lane): distance and height of the neck for an atom by each other, and for each
            other by it; no rows without necks.
        factors: number (2,): generalised Born's constant over Coulomb's; width of water in necks, nm.
        cutoff: where pairs in generalised Born end; None without a cutoff.
    """

    charges: np.ndarray
    kinds: np.ndarray
    strengths: np.ndarray
    masks: np.ndarray
    born_atoms: np.ndarray
    salt: np.ndarray
    necks: np.ndarray
    factors: np.ndarray
    cutoff: CutoffTables | None


def molecule_tables(parameters: ForceFieldParameters, dtype: type) -> MoleculeTables:
    """Lay out `parameters` in `dtype`, numpy's float32 or float64."""
    table = parameters.pair_table or pair_kinds(parameters.sigma, parameters.epsilon)
    kind, sigma, epsilon = (as_numpy(column) for column in (table.kind, table.sigma, table.epsilon))
    strengths = np.stack([48 * epsilon * sigma**12, 24 * epsilon * sigma**6], -1)[:, kind]
    rows, necks = _necks(parameters)
    born = parameters.born
    cut = 0.0 if born is None or born.neck is None else born.neck.cut_nm
    factors: np.ndarray = np.array([born_factor(parameters) / parameters.coulomb_constant, cut], dtype)
    return MoleculeTables(
        charges=_in_blocks(as_numpy(parameters.charges)[None, :, None] * parameters.coulomb_constant**0.5, dtype)[
            0, :, 0
        ],
        kinds=np.ascontiguousarray(np.stack([kind, rows]), np.int64),
        strengths=_in_blocks(strengths, dtype),
        masks=_masks(parameters),
        born_atoms=_born_blocks(parameters, dtype),
        salt=salt_table(parameters, dtype),
        necks=_in_blocks(necks, dtype),
        factors=factors,
        cutoff=cutoff_of_born(parameters, dtype),
    )


def _in_blocks(numbers: np.ndarray, dtype: type, beyond: float = 0.0) -> np.ndarray:
    """(row, atom, column) as (row, block, column, lane), filled up with a number."""
    blocks = -(-numbers.shape[1] // LANES)
    padded = np.full((len(numbers), blocks * LANES, numbers.shape[2]), beyond)
    padded[:, : numbers.shape[1]] = numbers
    return np.ascontiguousarray(padded.reshape(len(numbers), blocks, LANES, numbers.shape[2]).swapaxes(2, 3), dtype)


def _masks(parameters: ForceFieldParameters) -> np.ndarray:
    n = parameters.n_atoms
    first, second = as_numpy(parameters.exception_atoms).reshape(-1, 2).T
    acts = np.zeros((n, -(-n // LANES) * LANES), bool)
    acts[:, :n] = np.triu(np.ones((n, n), bool), 1)
    acts[np.minimum(first, second), np.maximum(first, second)] = False
    return np.packbits(acts, axis=1, bitorder="little").view("<u2").astype(np.uint16)


def _born_blocks(parameters: ForceFieldParameters, dtype: type) -> np.ndarray:
    atoms = born_table(parameters, dtype)
    if not len(atoms):
        return np.zeros((0, atoms.shape[1], LANES), dtype)
    # The closed form of descreening needs `r` below scaled radius plus radius; the polynomial needs it above.
    atoms[:, 5] = np.maximum(atoms[:, 5], np.abs(atoms[:, 2]) + atoms[:, 0].max())
    blocks = _in_blocks(atoms[None], dtype)[0]
    beyond = np.arange(blocks.shape[0] * LANES).reshape(-1, LANES) >= len(atoms)
    for column in (0, 1, 3):  # radii of no atom still divide
        blocks[:, column][beyond] = 1.0
    return blocks


def _necks(parameters: ForceFieldParameters) -> tuple[np.ndarray, np.ndarray]:
    """Row of each atom, and the different rows (kind, atom, 4)."""
    born, n = parameters.born, parameters.n_atoms
    if born is None or born.neck is None:
        return np.zeros(n, np.int64), np.zeros((0, n, 4))
    distance, height = as_numpy(born.neck.distance), born.neck.scale * as_numpy(born.neck.height)
    pairs = np.stack([distance, height, distance.T, height.T], -1)
    # Rows depend on the radius alone in every model; comparing them takes no such thing for granted.
    rows: dict[bytes, int] = {}
    kinds = np.array([rows.setdefault(row.tobytes(), len(rows)) for row in pairs], np.int64)
    return kinds, pairs[np.unique(kinds, return_index=True)[1]]
