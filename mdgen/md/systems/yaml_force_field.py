"""Force fields in TorchMD's YAML format: tables of atom types, in kcal/mol, angstrom, degrees, amu and e.

The sections are `atomtypes`, `bonds` (k0, req), `angles` (k0, theta0), `dihedrals` (terms of phi_k, phase, per; scnb
and scee for 1-4 pairs), `impropers` (phi_k, phase, per), `lj` (sigma, epsilon; sigma14, epsilon14), `electrostatics`
(charge) and `masses`. Keys are types in parentheses; `X` stands for any. Units are converted here only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import radians
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from mdgen.documents import Count, Finite, Positive, as_type, read_yaml
from mdgen.errors import MdgenError
from mdgen.interfaces import Potential
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.repulsion import PowerRepulsion
from mdgen.md.systems.bond_graph import BondGraph
from mdgen.molecule.topology import Molecule
from mdgen.units import ANGSTROM, KCAL

TERMS = ("bonds", "angles", "dihedrals", "impropers", "1-4", "lj", "electrostatics", "repulsion", "repulsioncg")
"""Terms known by name, as TorchMD lists them in `forceterms`."""

_POWERS = {"repulsion": 12, "repulsioncg": 6}

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class _Bond:
    k0: Finite
    req: Finite


@dataclass(frozen=True)
class _Angle:
    k0: Finite
    theta0: Finite


@dataclass(frozen=True)
class _Torsion:
    phi_k: Finite
    phase: Finite
    per: Count


@dataclass(frozen=True)
class _Dihedral:
    terms: list[_Torsion]
    scnb: Positive | None = None
    scee: Positive | None = None


@dataclass(frozen=True)
class _Charge:
    charge: Finite


@dataclass(frozen=True)
class _LennardJones:
    sigma: Finite
    epsilon: Finite


@dataclass(frozen=True)
class _LennardJones14:
    sigma14: Finite
    epsilon14: Finite


@dataclass(frozen=True)
class YamlForceField:
    """What a YAML file makes of a molecule.

    Args:
        parameters: its numbers, for every engine.
        potentials: repulsion, to add in the torch engine.
    """

    parameters: ForceFieldParameters
    potentials: tuple[Potential, ...] = ()


def load_yaml_force_field(
    path: Path | str,
    molecule: Molecule,
    atom_types: Sequence[str],
    terms: Sequence[str] = ("bonds", "angles", "dihedrals", "impropers", "1-4", "lj", "electrostatics"),
    cutoff: Cutoff | None = None,
) -> YamlForceField:
    """The force field of a molecule from a YAML file.

    Angles, dihedrals and impropers follow from the bonds. Pairs across up to three bonds take no part in the normal
    interaction; those across three are scaled by the file's scnb and scee, where there are any and `1-4` is asked for.

    Args:
        path: the file.
        molecule: gives the bonds.
        atom_types: type of each atom, as the file names them.
        terms: which to take, of `TERMS`.
        cutoff: distance beyond which pairs do not interact; None for no cutoff.

    Raises:
        MdgenError: naming the file, term, type or number that is missing or out of range.
    """
    unknown = [term for term in terms if term.lower() not in TERMS]
    if unknown:
        raise MdgenError(f"term {unknown[0]!r} is unknown; known are {', '.join(TERMS)}")
    wanted = {term.lower() for term in terms}
    file = _File(Path(path))
    if len(atom_types) != molecule.n_atoms:
        raise MdgenError(f"{len(atom_types)} atom types were given for {molecule.n_atoms} atoms; give one an atom")
    graph = BondGraph(molecule.n_atoms, molecule.bonds.tolist())
    tables = {"masses": file.masses(atom_types), **_atoms(file, atom_types, wanted)}
    for terms_of in (_bonds, _angles, _torsions, _exceptions):
        tables |= terms_of(file, graph, atom_types, wanted)
    parameters = ForceFieldParameters.from_tables(tables, cutoff=cutoff)
    powers = [_POWERS[term] for term in _POWERS if term in wanted]
    sigma, epsilon = file.lennard_jones(atom_types) if powers else (parameters.sigma, parameters.epsilon)
    repulsions = (PowerRepulsion(sigma, epsilon, parameters.exception_atoms, power, cutoff) for power in powers)  # type: ignore[arg-type]
    return YamlForceField(parameters, tuple(repulsions))


class _File:
    """The sections, and how types are looked up in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MdgenError(f"the force field {path} does not exist; check the path")
        content = read_yaml(path, "give a whole force field in TorchMD's format")
        if not isinstance(content, dict) or "masses" not in content:
            raise MdgenError(f"{path} is no force field: it has no section `masses`; give one in TorchMD's format")
        self.sections: dict[str, Any] = content

    def section(self, name: str) -> dict[Any, Any]:
        """A section by its name; empty where there is none."""
        entries = self.sections.get(name) or {}
        if not isinstance(entries, dict):
            raise MdgenError(f"{self.path}: the section `{name}` is no table; give one in TorchMD's format")
        return entries

    def found(self, section: str, types: Sequence[str], kind: type[Entry], center: int | None = None) -> Entry | None:
        """The entry of these types, the one with the fewest wildcards; None where there is none.

        Raises:
            MdgenError: if it lacks a number.
        """
        entries = self.section(section)
        variants = _variants(tuple(types), center)
        keys = (variant[0] if len(variant) == 1 else f"({', '.join(variant)})" for variant in variants)
        key = next((key for key in keys if key in entries), None)
        return None if key is None else as_type(kind, entries[key], f"{self.path}, {section} of {key}")

    def numbers(self, section: str, types: Sequence[str], kind: type[Entry]) -> Entry:
        """The entry of these types.

        Raises:
            MdgenError: naming the types that have none, or the number that it lacks.
        """
        entry = self.found(section, types, kind)
        if entry is None:
            raise MdgenError(f"{self.path} has no {section} for {', '.join(types)}; add them, or leave that term out")
        return entry

    def masses(self, types: Sequence[str]) -> Tensor:
        """amu."""
        known = self.section("masses")
        for index, name in enumerate(types):
            if name not in known:
                raise MdgenError(f"{self.path} has no mass for type {name} of atom {index}; add it to `masses`")
        return _real([as_type(Positive, known[name], f"{self.path}, mass of type {name}") for name in types])  # type: ignore[arg-type]

    def lennard_jones(self, types: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Sigma in nm and epsilon in kJ/mol; CHARMM's negative epsilons lose their sign."""
        rows = [self.numbers("lj", [name], _LennardJones) for name in types]
        return _lennard_jones([row.sigma for row in rows], [row.epsilon for row in rows])

    def lennard_jones_14(self, types: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The same for pairs across three bonds."""
        rows = [self.numbers("lj", [name], _LennardJones14) for name in types]
        return _lennard_jones([row.sigma14 for row in rows], [row.epsilon14 for row in rows])


def _lennard_jones(sigma: Sequence[float], epsilon: Sequence[float]) -> tuple[Tensor, Tensor]:
    return _real(sigma) * ANGSTROM, _real(epsilon).abs() * KCAL


def _variants(types: tuple[str, ...], center: int | None) -> Iterator[tuple[str, ...]]:
    """The types in every order that means the same, then with more and more wildcards."""
    if center is None:
        orders = [types, types[::-1]]
    else:
        orders = [tuple(types[i] for i in order) for order in permutations(range(4)) if order[center] == center]
    masks = sorted(product((False, True), repeat=len(types)), key=sum)
    for mask in masks:
        for order in orders:
            yield tuple("X" if masked else name for masked, name in zip(mask, order, strict=True))


def _bonds(file: _File, graph: BondGraph, types: Sequence[str], wanted: set[str]) -> dict[str, Any]:
    bonds = graph.bonds if "bonds" in wanted else []
    rows = [file.numbers("bonds", [types[i] for i in bond], _Bond) for bond in bonds]
    return {
        "bond_atoms": bonds,
        "bond_length": ANGSTROM * _real([row.req for row in rows]),
        "bond_k": KCAL / ANGSTROM**2 * _real([row.k0 for row in rows]),
    }


def _angles(file: _File, graph: BondGraph, types: Sequence[str], wanted: set[str]) -> dict[str, Any]:
    angles = graph.angles if "angles" in wanted else []
    rows = [file.numbers("angles", [types[i] for i in angle], _Angle) for angle in angles]
    return {
        "angle_atoms": angles,
        "angle_theta0": [radians(row.theta0) for row in rows],
        "angle_k": KCAL * _real([row.k0 for row in rows]),
    }


def _torsions(file: _File, graph: BondGraph, types: Sequence[str], wanted: set[str]) -> dict[str, Any]:
    """Dihedrals of all their terms, and impropers where the file knows them."""
    terms = []
    for quad in graph.dihedrals if "dihedrals" in wanted else []:
        terms += [(quad, term) for term in file.numbers("dihedrals", [types[i] for i in quad], _Dihedral).terms]
    for quad in graph.impropers if "impropers" in wanted else []:
        improper = file.found("impropers", [types[i] for i in quad], _Torsion, center=2)
        terms += [] if improper is None else [(quad, improper)]
    return {
        "torsion_atoms": [quad for quad, _ in terms],
        "torsion_periodicity": [term.per for _, term in terms],
        "torsion_phase": [radians(term.phase) for _, term in terms],
        "torsion_k": KCAL * _real([term.phi_k for _, term in terms]),
    }


def _atoms(file: _File, types: Sequence[str], wanted: set[str]) -> dict[str, Any]:
    zero = torch.zeros(len(types), dtype=torch.float64)
    sigma, epsilon = file.lennard_jones(types) if "lj" in wanted else (zero + 1, zero)
    charged = "electrostatics" in wanted
    charges = _real([file.numbers("electrostatics", [name], _Charge).charge for name in types]) if charged else zero
    return {"sigma": sigma, "epsilon": epsilon, "charges": charges}


def _exceptions(file: _File, graph: BondGraph, types: Sequence[str], wanted: set[str]) -> dict[str, Any]:
    """Pairs across one or two bonds interact no more, those across three by what the file says of them."""
    near = graph.pairs_within_two_bonds
    scaled: dict[tuple[int, int], tuple[float, float, float]] = {}
    for quad in graph.dihedrals if {"1-4", "dihedrals"} & wanted else []:
        pair = (min(quad[0], quad[3]), max(quad[0], quad[3]))
        if pair in near or pair in scaled:
            continue
        scaled[pair] = (0.0, 1.0, 0.0)
        if "1-4" in wanted:
            row = file.numbers("dihedrals", [types[i] for i in quad], _Dihedral)
            if row.scnb is None or row.scee is None:
                continue
            sigma, epsilon = file.lennard_jones_14([types[i] for i in pair]) if "lj" in wanted else _NOTHING
            product_ = _atoms(file, [types[i] for i in pair], wanted & {"electrostatics"})["charges"].prod()
            scaled[pair] = (
                float(product_) / row.scee,
                float(sigma.mean()),
                float(epsilon.prod().sqrt()) / row.scnb,
            )
    rows = [(0.0, 1.0, 0.0)] * len(near) + list(scaled.values())
    return {
        "exception_atoms": [*sorted(near), *scaled],
        "exception_charge_product": [product for product, _, _ in rows],
        "exception_sigma": [sigma for _, sigma, _ in rows],
        "exception_epsilon": [epsilon for _, _, epsilon in rows],
    }


_NOTHING = (torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))


def _real(values: Sequence[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
