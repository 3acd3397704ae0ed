"""An `openmm.System` as a user made it, for `engine=openmm` alone: virtual sites, custom forces, LJPME, any box.

Nothing of it is read but masses, constraints and box. The file is one that `openmm.XmlSerializer` wrote; it can come
from a stranger, so what would run code is refused before OpenMM reads it.
"""

import re
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import mdtraj
import numpy as np
import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.dynamics.openmm_minimize import minimized_by_openmm
from mdgen.md.force_field.openmm_potential import OpenMMPotential
from mdgen.md.systems.openmm_systems.openmm_loader import box_vectors, is_orthorhombic
from mdgen.md.systems.openmm_systems.openmm_nonbonded import number
from mdgen.md.systems.topology_files import first_line, from_pdb, require_file
from mdgen.molecule.topology import Molecule
from mdgen.registry import register

_LARGEST_BYTES = 2**30
_DEEPEST = 64
_MOST_OPERATORS = 1000
_LARGEST_EXPRESSION = 10_000
"""Names in an expression after its definitions are put in, as OpenMM does; each may name another twice."""
_OF_THE_RUN = ("AndersenThermostat", "Barostat")


@register
def build_openmm_xml(xml: str, pdb: str, relax: bool = True) -> System:
    """A system from a file of `openmm.XmlSerializer`, with whatever forces it has, for `engine=openmm`.

    Args:
        xml: the system; its default box vectors are the box.
        pdb: its atoms in the same order, virtual sites among them; bonds and start.
        relax: whether to minimise the start.

    Raises:
        MdgenError: for a file that is missing, broken, or no system, a `PythonForce`, a thermostat or barostat, or
            files of different numbers of atoms.
    """
    openmm_system, source = read_openmm_system(xml), from_pdb(pdb, any_bonds=True)
    n_particles = openmm_system.getNumParticles()
    if n_particles != len(source.positions):
        raise MdgenError(
            f"{xml} holds {n_particles} particles, but {pdb} has {len(source.positions)} atoms; give the coordinates "
            "of that system, virtual sites among them"
        )
    return system_for_openmm(openmm_system, torch.from_numpy(source.positions), source.topology, relax)


def system_for_openmm(
    openmm_system: openmm.System,
    positions: Float[Tensor, "atom 3"],
    topology: Any = None,
    relax: bool = False,
    because: str | None = None,
) -> System:
    """Any `openmm.System` as a system of this package, which `engine=openmm` alone runs.

    Masses of particles that OpenMM does not move, virtual sites among them, are infinite. The edges of a triclinic box
    are no cell of this package: it stays with OpenMM, and recorded frames have its vectors.

    Args:
        openmm_system: any forces but thermostats and barostats.
        positions: start in nm.
        topology: an `openmm.app.Topology`; None for particles without names and bonds.
        relax: whether to minimise the start.
        because: what of it only OpenMM computes, where that is known.

    Raises:
        MdgenError: for a thermostat or a barostat.
    """
    for force in openmm_system.getForces():
        if type(force).__name__.endswith(_OF_THE_RUN):
            raise MdgenError(
                f"the system has a {type(force).__name__}, but temperature and pressure are settings of the run; take "
                "it out of the system and give integrator.temperature_K and pressure_bar"
            )
    n_atoms = openmm_system.getNumParticles()
    if topology is None:
        molecule = Molecule.particles([f"P{index}" for index in range(n_atoms)])
    else:
        molecule = Molecule.from_mdtraj(mdtraj.Topology.from_openmm(topology))
    if relax:
        positions = minimized_by_openmm(openmm_system, positions)
    masses = torch.tensor([number(openmm_system.getParticleMass(i)) for i in range(n_atoms)], dtype=torch.float64)
    masses[masses == 0] = torch.inf
    rows = [openmm_system.getConstraintParameters(i) for i in range(openmm_system.getNumConstraints())]
    held = None
    if rows:
        lengths = torch.tensor([number(row[2]) for row in rows], dtype=torch.float64)
        held = DistanceConstraints(masses, torch.tensor([row[:2] for row in rows]), lengths, tolerance=1e-12)
        positions = held.positions(positions[None], positions[None])[0]
    vectors = box_vectors(openmm_system)
    cell = None if vectors is None or not is_orthorhombic(vectors) else torch.from_numpy(np.diag(vectors).copy())
    potential = OpenMMPotential(openmm_system, because)
    return System(molecule, masses, potential, potential.with_virtual_sites(positions), held, cell)


def read_openmm_system(path: str) -> openmm.System:
    """The system that `openmm.XmlSerializer` wrote to a file.

    A `PythonForce` is refused: OpenMM unpickles its function.

    Raises:
        MdgenError: for a file that is missing, larger than 1 GiB, broken, no system, or that would run code.
    """
    require_file(path, "xml")
    size = Path(path).stat().st_size
    if size > _LARGEST_BYTES:
        raise MdgenError(f"{path} has {size} bytes, but at most {_LARGEST_BYTES} are read; give a smaller system")
    try:
        system = openmm.XmlSerializer.deserialize(_harmless(path, Path(path).read_bytes()))
    except (openmm.OpenMMException, ValueError) as error:
        raise MdgenError(
            f"cannot read {path} as an openmm.System ({first_line(error)}); write it with openmm.XmlSerializer"
        ) from error
    if not isinstance(system, openmm.System):
        raise MdgenError(f"{path} holds an openmm {type(system).__name__}, but a System is expected; write that one")
    return system


def _exhausts_a_parser(value: str) -> bool:
    """Whether an attribute, taken as an expression `main; a = ...; b = ...`, is too deep or grows too large."""
    if sum(map(value.count, "+-*/^(")) > _MOST_OPERATORS or value.count(";") > _DEEPEST:
        return True
    main, *rest = value.split(";")
    definitions = {name.strip(): text for name, equals, text in (each.partition("=") for each in rest) if equals}
    sizes: dict[str, float] = {}

    def size(text: str, within: tuple[str, ...]) -> float:
        total = 0.0
        for name in re.findall(r"[A-Za-z_]\w*", text):
            if name in definitions and name not in sizes:
                sizes[name] = float("inf") if name in within else size(definitions[name], (*within, name))
            total += sizes.get(name, 1.0)
        return total

    return size(main, ()) > _LARGEST_EXPRESSION


def _harmless(path: str, content: bytes) -> str:
    """The elements and attributes of a file, written anew without anything that runs code or exhausts a parser's stack.

    OpenMM shall see what was checked and nothing else: its parser and this one could read the same bytes differently.
    """
    written: list[str] = []
    depth = 0

    def refuse(*_: Any) -> None:
        raise MdgenError(
            f"{path} has a document type, elements {_DEEPEST} deep or an expression of {_MOST_OPERATORS} operators or "
            f"{_LARGEST_EXPRESSION} names, which no openmm.System needs; write it with openmm.XmlSerializer"
        )

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST or any(map(_exhausts_a_parser, attributes.values())):
            refuse()
        if any("PythonForce" in value for value in attributes.values()):
            raise MdgenError(
                f"{path} holds a PythonForce, whose pickled function would run code of whoever wrote the file; give a "
                "system without one"
            )
        written.append(f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in attributes.items())}>")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        written.append(f"</{name}>")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise MdgenError(f"{path} is no XML ({error}); write it with openmm.XmlSerializer") from error
    return "".join(written)
