"""Checks of what was loaded: finite numbers for every atom, indices of atoms that exist, and no two on one spot."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.force_field.neighbour_list import pairs_within
from mdgen.md.force_field.parameters import ForceFieldParameters

_OF_ATOMS = ("charges", "sigma", "epsilon", "radius", "scale")
_NEAREST_NM = 0.02


def require_every_atom(columns: Mapping[str, Sized], n_atoms: int, names: list[str] | None = None) -> None:
    """Raise unless charges, sigmas and epsilons are there for every atom, or for none.

    Raises:
        MdgenError: naming the first atom without.
    """
    for name in _OF_ATOMS:
        found = len(columns[name]) if name in columns else n_atoms
        if found != n_atoms:
            lacking = f"atom {found}" + (f" ({names[found]})" if names and found < len(names) else "")
            raise MdgenError(
                f"the force field has {name} for {found} of {n_atoms} atoms; {lacking} is without parameters: "
                "give every atom its own"
            )


def require_valid(parameters: ForceFieldParameters, names: list[str] | None = None) -> None:
    """Raise unless there are atoms, every number is finite and every table names atoms that exist.

    Args:
        parameters: parameters to check.
        names: names of the atoms, for the message.

    Raises:
        MdgenError: naming the first atom or table that fails.
    """
    if parameters.n_atoms == 0:
        raise MdgenError("the system has no atoms; give a molecule")
    _require_tables(parameters, parameters.n_atoms, names)
    born = parameters.born
    if born is not None and not bool((born.radius > born.offset_nm).all()):
        atom = int((born.radius <= born.offset_nm).nonzero()[0])
        label = f" ({names[atom]})" if names else ""
        raise MdgenError(
            f"the radius of atom {atom}{label} in generalised Born is {float(born.radius[atom]):g} nm, but must be "
            f"above the model's offset of {born.offset_nm:g} nm; mend the force field"
        )


def _require_tables(part: Any, n_atoms: int, names: list[str] | None) -> None:
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            _require_tables(value, n_atoms, names)
        if not isinstance(value, Tensor) or value.numel() == 0:
            continue
        if field.name == "atoms" or field.name.endswith("_atoms"):
            outside = value[(value < 0) | (value >= n_atoms)]
            if outside.numel():
                raise MdgenError(
                    f"{field.name} name atom {int(outside[0])}, but the system has {n_atoms} atoms, counted from 0; "
                    "make the two agree"
                )
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            row = int((~torch.isfinite(value)).nonzero()[0][0])
            named = names is not None and field.name in _OF_ATOMS
            where = f"atom {row}" if field.name in _OF_ATOMS else f"row {row}"
            label = f" ({names[row]})" if named and names else ""
            raise MdgenError(f"{field.name} of {where}{label} is not a finite number; mend the force field")


def require_apart(
    positions: Float[Tensor, "atom 3"],
    cell: Float[Tensor, "3"] | None = None,
    topology: Any = None,
    sites: Sequence[int] = (),
) -> None:
    """Raise if two atoms lie closer than 0.02 nm: no bond is that short, and forces would be without measure.

    Args:
        positions: nm.
        cell: edges of the box in nm.
        topology: an `openmm.app.Topology`, to name atoms.
        sites: virtual sites, which may lie where they like.

    Raises:
        MdgenError: naming the first such pair.
    """
    x = positions.detach().cpu().double().numpy()
    if not np.isfinite(x).all():
        atom = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise MdgenError(f"atom {atom} has coordinates that are not finite; check the start")
    box = None if cell is None else cell.detach().cpu().double().numpy()
    pairs = pairs_within(x, box, _NEAREST_NM)
    pairs = pairs[~np.isin(pairs, sites).any(1)]
    if len(pairs) == 0:
        return
    i, j = (int(atom) for atom in pairs[0])
    names = [f"{atom.name} of {atom.residue.name}{atom.residue.id}" for atom in topology.atoms()] if topology else None
    shown = [f"atom {atom}" + (f" ({names[atom]})" if names else "") for atom in (i, j)]
    between = x[i] - x[j]
    apart = float(np.linalg.norm(between if box is None else between - box * np.round(between / box)))
    raise MdgenError(
        f"{shown[0]} and {shown[1]} overlap: they are {apart:.4f} nm apart, as near as {len(pairs) - 1} other pairs; "
        "move them apart"
    )
