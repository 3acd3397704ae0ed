"""Numbers of generalised Born that belong to single atoms, and its cutoff, as the kernels read them."""

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.engines.lanes.born_laws import DISTANT
from mdgen.md.engines.lanes.pair_laws import CutoffTables, cutoff_tables
from mdgen.md.force_field.parameters import ForceFieldParameters

_PROBE_NM = 0.14
BORN_COLUMNS = 11


def born_factor(parameters: ForceFieldParameters) -> float:
    """Generalised Born's constant: Coulomb's times the difference of the inverse permittivities; 0 without a model."""
    born = parameters.born
    if born is None:
        return 0.0
    return parameters.coulomb_constant * (1 / born.solute_dielectric - 1 / born.solvent_dielectric)


def born_table(parameters: ForceFieldParameters, dtype: type) -> np.ndarray:
    """Numbers (atom, `BORN_COLUMNS`); no rows without generalised Born.

    Radius less offset, its inverse, scaled radius, radius, self energy times Born radius, distance beyond which its
    descreening is a polynomial, alpha, beta, gamma, the surface energy of an atom whose Born radius is its radius, and
    `straight`, which is 0 but in HCT; see `effective_radii`.
    """
    born = parameters.born
    if born is None:
        return np.zeros((0, BORN_COLUMNS))
    radius = as_numpy(born.radius)
    reduced = radius - born.offset_nm
    descreening = as_numpy(born.scale) * reduced
    self_energy = -0.5 * born_factor(parameters) * as_numpy(parameters.charges) ** 2
    # The polynomial has single precision; in double every distance takes the closed form.
    distant = np.abs(descreening) / np.sqrt(DISTANT) if dtype == np.float32 else np.full_like(radius, np.inf)
    hct = born.kind == "HCT"
    bend = (0.0, 0.0, 0.0) if hct else (born.alpha, born.beta, born.gamma)
    model = [np.broadcast_to(np.asarray(factor), radius.shape) for factor in bend]
    surface = born.surface_energy * (radius + _PROBE_NM) ** 2
    straight = radius / reduced if hct else np.zeros_like(radius)
    return np.stack([reduced, 1 / reduced, descreening, radius, self_energy, distant, *model, surface, straight], -1)


def salt_table(parameters: ForceFieldParameters, dtype: type) -> np.ndarray:
    """The two numbers of salt, see `still`."""
    born = parameters.born
    if born is None or not born.kappa_per_nm:
        return np.zeros(2, dtype)
    transfer = 1 / born.solute_dielectric - 1 / born.solvent_dielectric
    numbers: np.ndarray = np.array([born.kappa_per_nm, 1 / born.solvent_dielectric / transfer], dtype)
    return numbers


def cutoff_of_born(parameters: ForceFieldParameters, dtype: type) -> CutoffTables | None:
    """The cutoff of a force field with generalised Born; None without either."""
    if parameters.born is None or parameters.cutoff is None:
        return None
    return cutoff_tables(parameters.cutoff, dtype)
