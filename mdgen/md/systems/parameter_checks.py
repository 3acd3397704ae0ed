"""Checks of force-field parameters: numbers for every atom, finite, and indices of atoms that exist."""

from collections.abc import Mapping, Sized
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import ForceFieldParameters

_OF_ATOMS = ("charges", "sigma", "epsilon", "radius", "scale")


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


def _require_tables(part: Any, n_atoms: int, names: list[str] | None) -> None:
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            _require_tables(value, n_atoms, names)
        if not isinstance(value, Tensor) or value.numel() == 0:
            continue
        if field.name == "atoms" or field.name.endswith("_atoms"):
            _require_existing(field.name, value, n_atoms)
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            row = int((~torch.isfinite(value)).nonzero()[0][0])
            named = names is not None and field.name in _OF_ATOMS
            where = f"atom {row}" if field.name in _OF_ATOMS else f"row {row}"
            label = f" ({names[row]})" if named and names else ""
            raise MdgenError(f"{field.name} of {where}{label} is not a finite number; mend the force field")


def _require_existing(name: str, atoms: Tensor, n_atoms: int) -> None:
    outside = atoms[(atoms < 0) | (atoms >= n_atoms)]
    if outside.numel():
        raise MdgenError(
            f"{name} name atom {int(outside[0])}, but the system has {n_atoms} atoms, counted from 0; "
            "make the two agree"
        )
