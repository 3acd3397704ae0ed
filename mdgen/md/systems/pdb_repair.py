"""PDB files as they are found: stale CONECT lines, other names of hydrogens, alternate locations, missing atoms.

`repaired` mends them through PDBFixer (the extra `repair`) and says what it changed; without it they are refused.
"""

import io
import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmm.app
from openmm import unit

from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

_PH = 7.0
_LONGEST_BOND_NM, _LONGEST_TO_HYDROGEN_NM, _LONGEST_TO_METAL_NM = 0.22, 0.14, 0.30
"""No bond of organic molecules is longer (S-S 0.205 nm, S-H 0.134 nm); atoms two bonds apart are further from each
other, but for hydrogens of one atom. Metals are held at 0.19 to 0.29 nm (Zn-S 0.23, Ca-O 0.24, K-O 0.28 nm)."""
_HYDROGENS = {"H", "D"}
_ORGANIC = {*_HYDROGENS, "C", "N", "O", "F", "P", "S", "CL", "SE", "BR", "I", ""}
"""Elements of organic molecules, and none where the file does not say it."""


@dataclass(frozen=True)
class _Record:
    """An ATOM or HETATM line: what CONECT lines call the atom, its name, its element, and where it is in nm."""

    serial: str
    name: str
    element: str
    position: np.ndarray

    @property
    def is_hydrogen(self) -> bool:
        return self.element in _HYDROGENS or (not self.element and self.name.lstrip("0123456789").startswith("H"))


def advice() -> str:
    """What a user may do about a file that cannot be used as it is."""
    needed = "" if find_spec("pdbfixer") else ", after pip install 'mdgen[repair]'"
    return f"system.repair=true mends missing atoms, names of hydrogens and CONECT lines{needed}"


def require_no_stale_bonds(path: str, lines: list[bytes]) -> None:
    """Raise where a CONECT line bonds atoms that are far apart, as after atoms were numbered again.

    Raises:
        MdgenError: naming the first pair.
    """
    for _, first, second, length in _stale(lines):
        raise MdgenError(
            f"{path} bonds atoms {first.serial} ({first.name}) and {second.serial} ({second.name}) by a CONECT line, "
            f"but they are {length:.2f} nm apart, as where atoms were numbered again; take the CONECT lines out, or "
            f"{advice()}"
        )


def repaired(path: str) -> tuple[openmm.app.Topology, Any]:
    """Topology and positions of a PDB file after repair; every change is logged.

    Stale CONECT lines and all but the first alternate location of an atom are left out, modified residues such as MSE
    are replaced by those that they were made from, hydrogens of unknown names or far from their atoms are replaced,
    heavy atoms that are missing are built in, and hydrogens are completed as at pH 7. Whole residues are not invented.

    Raises:
        MdgenError: if PDBFixer is not installed, or cannot read the file.
    """
    try:
        import pdbfixer
    except ImportError as error:
        raise MdgenError(
            f"system.repair=true needs PDBFixer to mend {path}, which is not installed; pip install 'mdgen[repair]', "
            "or give a whole file"
        ) from error
    lines = Path(path).read_bytes().splitlines()
    stale = {number for number, *_ in _stale(lines)}
    changes = [f"CONECT: {len(stale)} lines between atoms that are far apart left out"] if stale else []
    changes += _alternates(lines)
    kept = b"\n".join(line for number, line in enumerate(lines) if number not in stale)
    try:
        fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(kept.decode(errors="replace")))
        changes += _mended(fixer)
    except Exception as error:  # PDBFixer raises whatever the broken line happens to cause
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise MdgenError(f"PDBFixer cannot mend {path} ({reason}); give a whole file") from error
    logger.info("repair        %s: %s", path, "".join(f"\n  {each}" for each in changes) or "nothing had to be changed")
    return fixer.topology, fixer.positions


def _mended(fixer: Any) -> Iterator[str]:
    """Mend what PDBFixer has read; what was changed, residue by residue."""
    fixer.findNonstandardResidues()
    for residue, name in fixer.nonstandardResidues:
        yield f"{_shown(residue)}: replaced by {name}"
    fixer.replaceNonstandardResidues()
    before = _names(fixer.topology)
    for residue, odd in _without_odd_hydrogens(fixer):
        yield f"{residue}: {', '.join(odd)} not where hydrogens of this residue are; its hydrogens placed again"
        before[residue] = [name for name in before[residue] if name not in odd]
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=0)
    modeller = openmm.app.Modeller(fixer.topology, fixer.positions)
    # Not PDBFixer's own addMissingHydrogens, which asks the net about residues that it does not know.
    modeller.addHydrogens(pH=_PH, platform=openmm.Platform.getPlatformByName("Reference"))
    fixer.topology, fixer.positions = modeller.topology, modeller.positions
    for residue, names in _names(fixer.topology).items():
        added = [name for name in names if name not in before.get(residue, ())]
        if added:
            yield f"{residue}: {', '.join(added)} added"


def _without_odd_hydrogens(fixer: Any) -> list[tuple[str, list[str]]]:
    """Take out the hydrogens of residues where one has an unknown name or is far from the atom that should hold it.

    Returns:
        Those residues, with the names of such hydrogens.
    """
    known, odd, found = _hydrogens(), [], []
    positions = np.array(fixer.positions.value_in_unit(unit.nanometer))
    for chain in fixer.topology.chains():
        residues = list(chain.residues())
        for residue in residues:
            if residue.name not in known:
                continue
            ends = {"N"} if residue is residues[0] else set()
            ends |= {"C"} if residue is residues[-1] else set()
            atoms = {atom.name: atom for atom in residue.atoms()}
            hydrogens = [atom for atom in residue.atoms() if atom.element is openmm.app.element.hydrogen]
            wrong = []
            for atom in hydrogens:
                parent, end = known[residue.name].get(atom.name, ("", ""))
                holder = atoms.get(parent)
                if holder is None or (end and end not in ends) or _far(positions[atom.index], positions[holder.index]):
                    wrong.append(atom.name)
            if wrong:
                odd += hydrogens
                found.append((_shown(residue), wrong))
    modeller = openmm.app.Modeller(fixer.topology, fixer.positions)
    modeller.delete(odd)
    fixer.topology, fixer.positions = modeller.topology, modeller.positions
    return found


def _hydrogens() -> dict[str, dict[str, tuple[str, str]]]:
    """Hydrogens of each residue that OpenMM knows: the atom that holds one, and the end of a chain where it belongs."""
    file = Path(openmm.app.__file__).parent / "data" / "hydrogens.xml"
    return {
        residue.attrib["name"]: {
            each.attrib["name"]: (each.attrib["parent"], each.attrib.get("terminal", ""))
            for each in residue.findall("H")
        }
        for residue in ElementTree.parse(file).getroot().findall("Residue")
    }


def _far(first: np.ndarray, second: np.ndarray) -> bool:
    return float(np.linalg.norm(first - second)) > _LONGEST_TO_HYDROGEN_NM


def _stale(lines: list[bytes]) -> Iterator[tuple[int, _Record, _Record, float]]:
    """Every bond of a CONECT line that is too long, with the number of its line, its atoms and its length in nm."""
    records = {record.serial: record for record in _records(lines)}
    edges = next((_edges(line) for line in lines if line.startswith(b"CRYST1")), None)
    for number, line in enumerate(lines):
        if not line.startswith(b"CONECT"):
            continue
        first, *others = [
            records.get(line[start : start + 5].decode(errors="replace").strip())
            for start in range(6, min(31, len(line.rstrip())), 5)  # beyond are hydrogen bonds, in old files
        ] or [None]
        for second in others:
            if first is None or second is None or first is second:
                continue
            apart = first.position - second.position
            if edges is not None:
                apart -= edges * np.round(apart / edges)
            length = float(np.linalg.norm(apart))
            if length > _longest_nm(first, second):
                yield number, first, second, length


def _longest_nm(first: _Record, second: _Record) -> float:
    """The length in nm that no bond of these two atoms exceeds."""
    if not {first.element, second.element} <= _ORGANIC:
        return _LONGEST_TO_METAL_NM
    return _LONGEST_TO_HYDROGEN_NM if first.is_hydrogen or second.is_hydrogen else _LONGEST_BOND_NM


def _records(lines: Iterable[bytes]) -> Iterator[_Record]:
    for line in lines:
        if line.startswith((b"ATOM  ", b"HETATM")):
            try:
                place = np.array([float(line[start : start + 8]) / 10 for start in (30, 38, 46)])
            except ValueError:  # a broken line, of which the reader says more
                continue
            element = _text(line[76:78]).upper()  # in old files the number of the line stands there
            yield _Record(_text(line[6:11]), _text(line[12:16]), element if element.isalpha() else "", place)


def _edges(line: bytes) -> np.ndarray | None:
    try:
        edges = np.array([float(line[start : start + 9]) / 10 for start in (6, 15, 24)])
    except ValueError:
        return None
    return edges if (edges > 0.2).all() else None  # 1 by 1 by 1 stands for no crystal


def _alternates(lines: Iterable[bytes]) -> Iterator[str]:
    """What is left out of atoms at several locations, by residue."""
    seen: dict[bytes, set[bytes]] = {}
    left: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith((b"ATOM  ", b"HETATM")) and line[16:17].strip():
            atom, place = line[12:16] + line[17:27], line[16:17]
            if seen.setdefault(atom, {place}) != {place}:
                residue = f"{_text(line[17:20])} {_text(line[22:27])}"
                left.setdefault(residue, []).append(f"{_text(line[12:16])} ({_text(place)})")
    for residue, atoms in left.items():
        yield f"{residue}: alternate location of {', '.join(atoms)} left out"


def _text(column: bytes) -> str:
    return column.decode(errors="replace").strip()


def _names(topology: openmm.app.Topology) -> dict[str, list[str]]:
    return {_shown(residue): [atom.name for atom in residue.atoms()] for residue in topology.residues()}


def _shown(residue: Any) -> str:
    chain = f" of chain {residue.chain.id}" if residue.chain.id.strip() else ""
    return f"{residue.name} {residue.id}{chain}"
