"""The force field of one molecule as tensors: what loaders make and what every engine path reads."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.force_field.fingerprint import fingerprint
from mdgen.units import COULOMB_OPENMM

_ATOMS_OF = {"bond_atoms": 2, "angle_atoms": 3, "torsion_atoms": 4, "exception_atoms": 2, "constraint_atoms": 2}


@dataclass(frozen=True)
class NeckParameters:
    """The neck integral of GBn (Mongan et al., J. Chem. Theory Comput. 2007, 3, 156), looked up for every pair.

    What lies between atoms i and j, too narrow for water, adds to the descreening of i, at distances up to
    `r_i + r_j + cut_nm`: `scale m0 / (1 + 100 (r - d0)^2 + 0.3e6 (r - d0)^6)`.

    Args:
        distance: `d0[i, j]` in nm, of the descreening of i by j.
        height: `m0[i, j]` in 1/nm.
        scale: factor of the integral, fitted with the model.
        cut_nm: width of a water molecule with its surroundings.
    """

    distance: Float[Tensor, "atom atom"]
    height: Float[Tensor, "atom atom"]
    scale: float
    cut_nm: float = 0.68


@dataclass(frozen=True)
class BornParameters:
    """Generalised Born: HCT, OBC (Onufriev, Bashford and Case, Proteins 2004, 55, 383), GBn, GBn2, with a surface term.

    Args:
        kind: `HCT`, `OBC1`, `OBC2`, `GBn` or `GBn2` (Nguyen, Roe, Simmerling, J. Chem. Theory Comput. 2013, 9, 2020).
        radius: intrinsic radii in nm, without the offset.
        scale: factors of the pairwise descreening; GBn2's is negative for sulfur.
        offset_nm: length subtracted from every radius inside the descreening integral.
        alpha: first coefficient of tanh(alpha psi - beta psi^2 + gamma psi^3); one for all, or in GBn2 one an atom;
            HCT has no such bend.
        beta: second coefficient.
        gamma: third coefficient.
        solute_dielectric: relative permittivity inside the molecule.
        solvent_dielectric: relative permittivity outside.
        surface_energy: s in `s sum_i (r_i + 0.14)^2 (r_i / B_i)^6`, kJ/mol/nm^2, with 4 pi included; 0 for none.
        kappa_per_nm: inverse Debye length of the salt in the solvent, 1/nm; 0 for none.
        neck: the neck integral of GBn and GBn2.
    """

    kind: str
    radius: Float[Tensor, "atom"]
    scale: Float[Tensor, "atom"]
    offset_nm: float = 0.009
    alpha: float | Float[Tensor, "atom"] = 1.0
    beta: float | Float[Tensor, "atom"] = 0.8
    gamma: float | Float[Tensor, "atom"] = 4.85
    solute_dielectric: float = 1.0
    solvent_dielectric: float = 78.5
    surface_energy: float = 0.0
    kappa_per_nm: float = 0.0
    neck: NeckParameters | None = None


@dataclass(frozen=True)
class Cutoff:
    """Lennard-Jones and Coulomb up to a distance, by reaction field beyond it; exceptions have no cutoff.

    Generalised Born ends there too: pairs beyond neither descreen each other nor have a polar energy, and that of pairs
    within is shifted, see `polar_energy`.

    Args:
        distance_nm: distance beyond which all end.
        switch_nm: distance from which Lennard-Jones is switched off; None cuts it.
        switch_coulomb: whether the reaction field is switched off as well, over the same distances and with three
            continuous derivatives, see `smooth_switch`; otherwise its force jumps at the cutoff, or at the least the
            slope of its force does.
        reaction_field_dielectric: relative permittivity beyond the cutoff.
        periodic: whether atoms see the nearest images in an orthorhombic cell.
        dispersion_kJ_nm3: mean energy of Lennard-Jones beyond the cutoff times the cell's volume.
        ewald: whether Coulomb is summed beyond by Ewald's method, which only `engine=openmm` computes.
    """

    distance_nm: float
    switch_nm: float | None = None
    reaction_field_dielectric: float = 78.5
    periodic: bool = True
    dispersion_kJ_nm3: float = 0.0
    ewald: bool = False
    switch_coulomb: bool = False

    def __post_init__(self) -> None:
        if self.switch_coulomb and self.ewald:
            raise MdgenError("switch_coulomb is set, but Ewald sums have no end to smooth; take one of the two")
        if self.switch_coulomb and not (self.switch_nm is not None and self.switch_nm < self.distance_nm):
            raise MdgenError(
                f"switch_coulomb is set, but switch_nm is {self.switch_nm} with a cutoff of {self.distance_nm:g} nm; "
                "give a switch_nm below the cutoff"
            )

    @property
    def reaction_field(self) -> tuple[float, float]:
        """k in nm^-3 and c in nm^-1 of the reaction field's energy `q_i q_j (1/r + k r^2 - c)`.

        `k = (eps - 1) / (2 eps + 1) / r_c^3` and `c = 3 eps / (2 eps + 1) / r_c`, so that it is 0 at the cutoff r_c.
        """
        epsilon, furthest = self.reaction_field_dielectric, self.distance_nm
        return (epsilon - 1) / (2 * epsilon + 1) / furthest**3, 3 * epsilon / (2 * epsilon + 1) / furthest


@dataclass(frozen=True)
class CorrectionMaps:
    """Energies (kJ/mol) of pairs of torsions on periodic grids: CHARMM's CMAP.

    Args:
        atoms: four of the first torsion, four of the second.
        which: map of each correction.
        energy: at `(i, j) 2 pi / size` of the two torsions.
    """

    atoms: Int[Tensor, "correction 8"]
    which: Int[Tensor, "correction"]
    energy: Float[Tensor, "map size size"]


@dataclass(frozen=True)
class HarmonicImpropers:
    """Impropers of energy `k d^2`, d the difference to `theta0` the short way round: CHARMM's."""

    atoms: Int[Tensor, "improper 4"]
    theta0: Float[Tensor, "improper"]
    k: Float[Tensor, "improper"]


@dataclass(frozen=True)
class PairTable:
    """Lennard-Jones of normal pairs by the kinds of the two atoms instead of a combining rule: CHARMM with NBFIX."""

    kind: Int[Tensor, "atom"]
    sigma: Float[Tensor, "kind kind"]
    epsilon: Float[Tensor, "kind kind"]


@dataclass(frozen=True)
class ForceFieldParameters:
    """Every number of a force field, in nm, ps, amu, kJ/mol, e; float64 and int64 on the CPU as loaded.

    The energies that they enter are

    - bonds `k (r - r0)^2` and angles `k (theta - theta0)^2`, without the half of OpenMM's `k`;
    - torsions `k (1 + cos(n phi - phase))`, proper and improper alike;
    - pairs `4 epsilon ((sigma/r)^12 - (sigma/r)^6) + coulomb_constant q_i q_j / r`, sigma by arithmetic and epsilon by
      geometric mean, except for the pairs in `exception_atoms`, which take their own numbers instead
      (zeros for excluded pairs, scaled ones for 1-4 pairs);
    - `cutoff`, if not None, ends those pairs at a distance, in a periodic cell or without one;
    - `born`, if not None, ends at the same cutoff, which must not be periodic then;
    - `cmap`, `impropers`, if not None; `pair_table`, if not None, replaces `sigma`, `epsilon` and their rule.
    """

    masses: Float[Tensor, "atom"]
    bond_atoms: Int[Tensor, "bond 2"]
    bond_length: Float[Tensor, "bond"]
    bond_k: Float[Tensor, "bond"]
    angle_atoms: Int[Tensor, "angle 3"]
    angle_theta0: Float[Tensor, "angle"]
    angle_k: Float[Tensor, "angle"]
    torsion_atoms: Int[Tensor, "torsion 4"]
    torsion_periodicity: Int[Tensor, "torsion"]
    torsion_phase: Float[Tensor, "torsion"]
    torsion_k: Float[Tensor, "torsion"]
    charges: Float[Tensor, "atom"]
    sigma: Float[Tensor, "atom"]
    epsilon: Float[Tensor, "atom"]
    exception_atoms: Int[Tensor, "exception 2"]
    exception_charge_product: Float[Tensor, "exception"]
    exception_sigma: Float[Tensor, "exception"]
    exception_epsilon: Float[Tensor, "exception"]
    constraint_atoms: Int[Tensor, "constraint 2"]
    constraint_length: Float[Tensor, "constraint"]
    coulomb_constant: float = COULOMB_OPENMM
    born: BornParameters | None = None
    cutoff: Cutoff | None = None
    cmap: CorrectionMaps | None = None
    impropers: HarmonicImpropers | None = None
    pair_table: PairTable | None = None

    def __post_init__(self) -> None:
        if self.born is not None and self.cutoff is not None and self.cutoff.periodic:
            raise MdgenError(
                "generalised Born was given with a periodic cutoff, but it knows no images; give it a cutoff without a "
                "box (CutoffNonPeriodic) or none"
            )

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], **parts: Any) -> "ForceFieldParameters":
        """Parameters from lists of rows.

        Args:
            tables: `masses`, and the other tensors by name; those that are missing are empty, or zero for each atom.
            parts: constant, Born model, cutoff and CHARMM's terms, if there are any.
        """
        zeros = dict.fromkeys(("charges", "sigma", "epsilon"), [0.0] * len(tables["masses"]))
        made: dict[str, Any] = {}
        for name in (field.name for field in fields(cls) if field.default is MISSING):
            whole = name in _ATOMS_OF or name == "torsion_periodicity"
            values = tables.get(name, zeros.get(name, []))
            column = torch.as_tensor(values, dtype=torch.int64 if whole else torch.float64)
            made[name] = column.reshape(-1, _ATOMS_OF[name]) if name in _ATOMS_OF else column
        return cls(**made, **parts)

    @property
    def n_atoms(self) -> int:
        """Atoms of the molecule."""
        return len(self.masses)

    def of_system(self, system: System) -> "ForceFieldParameters":
        """The same energies with the masses and the constraints of a system, which may be others than at loading."""
        held = system.constraints
        atoms = self.constraint_atoms[:0] if held is None else held.atoms.to(self.constraint_atoms)
        lengths = self.constraint_length[:0] if held is None else held.lengths.to(self.constraint_length)
        return replace(self, masses=system.masses.to(self.masses), constraint_atoms=atoms, constraint_length=lengths)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "ForceFieldParameters":
        """The same numbers elsewhere or in another precision; index tables keep their type."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            if is_dataclass(value) and not isinstance(value, type):
                return replace(value, **{f.name: moved(getattr(value, f.name)) for f in fields(value)})
            return value

        return moved(self)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every number, so that a resumed run can tell that its force field is still the same."""
        return fingerprint(type(self).__name__, {field.name: getattr(self, field.name) for field in fields(self)})
