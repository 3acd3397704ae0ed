"""Where molecules come from: PDB files, and the topologies of AMBER, CHARMM and GROMACS with their own force fields.

OpenMM reads them all. Every reader raises an `MdgenError` of one sentence if a file is missing or broken, or if two
do not belong together.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmm.app
from jaxtyping import Float
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.md.systems.pdb_repair import repaired, require_no_stale_bonds
from mdgen.molecule.topology import misnamed_acids

logger = logging.getLogger("mdgen")

_GAP_NM = 0.3
"""No bond between residues is as long, disulphides included."""

GENERALISED_BORN = {name.lower(): getattr(openmm.app, name) for name in ("HCT", "OBC1", "OBC2", "GBn", "GBn2")}
"""OpenMM's object for each implicit solvent, as the readers of AMBER and CHARMM files take it."""


@dataclass(frozen=True)
class Source:
    """A molecule as a file has it.

    Args:
        topology: atoms and bonds, with the box if there is one.
        positions: nm.
        create: makes the system from the settings of `createSystem`; None where a force field is still to be assigned.
    """

    topology: openmm.app.Topology
    positions: Float[np.ndarray, "atom 3"]
    create: Callable[..., openmm.System] | None = None


def from_pdb(path: str, repair: bool = False, any_bonds: bool = False) -> Source:
    """A PDB file, repaired by PDBFixer (`pdb_repair.repaired`) where asked for.

    Of several models the first is taken, of alternate locations the first of each atom, with a word. `any_bonds` takes
    CONECT lines between distant atoms as they are, such as those of coarse-grained beads.

    Raises:
        MdgenError: if the file is missing or broken, holds a chain with a gap or CONECT lines between distant atoms, or
            PDBFixer is asked for and not installed.
    """
    require_file(path, "pdb")
    lines = Path(path).read_bytes().splitlines()
    atoms = [line for line in lines if line.startswith((b"ATOM  ", b"HETATM"))]
    if not atoms:
        raise MdgenError(f"{path} holds no atoms (no ATOM or HETATM lines); give a whole PDB file")
    if repair:
        with fixed_python_random():
            topology, positions = repaired(path)
    else:
        if any(line[16:17].strip() for line in atoms):
            logger.warning("%s holds atoms at alternate locations; the first of each is taken", path)
        if not any_bonds:
            require_no_stale_bonds(path, lines)
        file = read_file(openmm.app.PDBFile, "a PDB file", path)
        topology, positions = file.topology, file.positions
        _mend_terminal_acids(topology)
    source = _checked(path, Source(topology, in_nm(positions)))
    _require_no_gap(path, source)
    return source


def from_prmtop(path: str, coordinates: str | None, solvent: str, box_nm: Sequence[float] | None) -> Source:
    """An AMBER topology with coordinates from an inpcrd, rst7 or pdb file."""
    require_file(path, "prmtop")
    positions, box = _coordinates(path, coordinates, box_nm)
    file = read_file(openmm.app.AmberPrmtopFile, "a prmtop", path, periodicBoxVectors=box)
    create = partial(file.createSystem, **_implicit(solvent))
    return _checked(path, Source(file.topology, positions, create), coordinates)


def from_psf(
    path: str, coordinates: str | None, charmm_files: Sequence[str], solvent: str, box_nm: Sequence[float] | None
) -> Source:
    """A CHARMM structure with its parameter files, and coordinates from a pdb file."""
    require_file(path, "psf")
    if not charmm_files:
        raise MdgenError(f"the psf {path} holds no parameters; list its prm, rtf or str files as `charmm_files`")
    for name in charmm_files:
        require_file(name, "charmm_files")
    positions, box = _coordinates(path, coordinates, box_nm)
    file = read_file(openmm.app.CharmmPsfFile, "a psf", path, periodicBoxVectors=box)
    try:
        numbers = openmm.app.CharmmParameterSet(*charmm_files, permissive=True)
    except Exception as error:  # OpenMM's parsers raise whatever the broken line happens to cause
        raise MdgenError(f"cannot read {', '.join(charmm_files)} ({first_line(error)}); give whole files") from error
    _give_masses(file, numbers)
    create = partial(file.createSystem, numbers, **_implicit(solvent))
    return _checked(path, Source(file.topology, positions, create), coordinates)


def _give_masses(file: openmm.app.CharmmPsfFile, numbers: openmm.app.CharmmParameterSet) -> None:
    """Some programs leave the masses of a psf at zero; then those of the atoms' types hold."""
    for atom in file.atom_list:
        kind = numbers.atom_types_str.get(str(atom.attype))
        if not atom.mass.value_in_unit(unit.dalton) and kind is not None:
            atom.mass = kind.mass


def from_top(path: str, coordinates: str | None, box_nm: Sequence[float] | None) -> Source:
    """A GROMACS topology with coordinates from a gro or pdb file; what it includes is sought beside it."""
    require_file(path, "top")
    positions, box = _coordinates(path, coordinates, box_nm)
    folder = str(Path(path).parent.resolve())
    file = read_file(openmm.app.GromacsTopFile, "a top file", path, periodicBoxVectors=box, includeDir=folder)
    return _checked(path, Source(file.topology, positions, file.createSystem), coordinates)


def in_nm(positions: Any) -> Float[np.ndarray, "atom 3"]:
    """OpenMM's positions as numbers."""
    return np.array(positions.value_in_unit(unit.nanometer), dtype=np.float64)


@contextmanager
def fixed_python_random() -> Iterator[None]:
    """OpenMM drops hydrogens and ions at random before placing them; the same molecule shall come out every time."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def first_line(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _mend_terminal_acids(topology: openmm.app.Topology) -> None:
    # As `Molecule.from_mdtraj` does; the patch of a neutral end would not fit otherwise.
    for nitrogen, hydrogen, oxygen in misnamed_acids(topology.atoms(), topology.bonds()):
        topology._bonds = [bond for bond in topology.bonds() if {nitrogen, hydrogen} != set(bond)]
        hydrogen.name = "HXT"
        if not any({oxygen, hydrogen} == set(bond) for bond in topology.bonds()):  # as CONECT lines may say
            topology.addBond(oxygen, hydrogen)


def _require_no_gap(path: str, source: Source) -> None:
    """Raise where neighbours in a chain would be bonded across residues that are not there."""
    if source.topology.getPeriodicBoxVectors() is not None:
        return  # molecules may be cut by the box
    for first, second in source.topology.bonds():
        length = float(np.linalg.norm(source.positions[first.index] - source.positions[second.index]))
        if first.residue is not second.residue and length > _GAP_NM:
            raise MdgenError(
                f"{path} has a gap: {first.residue.name} {first.residue.id} and {second.residue.name} "
                f"{second.residue.id} follow each other, but {first.name} and {second.name} are {length:.2f} nm apart; "
                "complete the chain, or part it with a TER line"
            )


def _implicit(solvent: str) -> dict[str, Any]:
    return {"implicitSolvent": GENERALISED_BORN[solvent]} if solvent in GENERALISED_BORN else {}


def _edges(box_nm: Sequence[float]) -> Any:
    if len(box_nm) != 3 or not all(0 < edge < float("inf") for edge in box_nm):
        raise MdgenError(f"box_nm is {list(box_nm)}, but must be three positive edges of a box in nm")
    return tuple(openmm.Vec3(*row) * unit.nanometer for row in np.diag([float(edge) for edge in box_nm]))


def _coordinates(
    topology: str, path: str | None, box_nm: Sequence[float] | None
) -> tuple[Float[np.ndarray, "atom 3"], Any]:
    """Positions of a coordinate file, and box vectors: those of `box_nm`, or else the file's."""
    if path is None:
        raise MdgenError(f"{topology} holds no coordinates; name an inpcrd, rst7, gro or pdb file as `coordinates`")
    require_file(path, "coordinates")
    suffix = Path(path).suffix.lower()
    reader = {".pdb": openmm.app.PDBFile, ".gro": openmm.app.GromacsGroFile}.get(suffix, openmm.app.AmberInpcrdFile)
    file = read_file(reader, "coordinates", path)
    if box_nm is not None:
        box = _edges(box_nm)
    elif suffix == ".pdb":
        box = file.topology.getPeriodicBoxVectors()
    else:
        box = file.getPeriodicBoxVectors() if suffix == ".gro" else (file.boxVectors or None)
    return in_nm(file.positions), box


def read_file(reader: Callable[..., Any], kind: str, path: str, **settings: Any) -> Any:
    """What one of OpenMM's readers makes of a file.

    Raises:
        MdgenError: with the first line of OpenMM's complaint.
    """
    try:
        return reader(path, **settings)
    except Exception as error:  # OpenMM's parsers raise whatever the broken line happens to cause
        raise MdgenError(f"cannot read {path} as {kind} ({first_line(error)}); give a whole one") from error


def _checked(path: str, source: Source, coordinates: str | None = None) -> Source:
    n_atoms = source.topology.getNumAtoms()
    if n_atoms == 0:
        raise MdgenError(f"{path} holds no atoms; give a whole one")
    if len(source.positions) != n_atoms:
        raise MdgenError(
            f"{coordinates} holds {len(source.positions)} atoms, but {path} has {n_atoms}; "
            "give the coordinates of that molecule"
        )
    if not np.isfinite(source.positions).all():
        raise MdgenError(f"{coordinates or path} holds coordinates that are not finite; give a whole one")
    return source


def require_file(path: str, what: str) -> None:
    """Raise unless a file exists."""
    if not Path(path).is_file():
        raise MdgenError(f"the {what} file {path} does not exist; check the path")
