"""A molecule: its atoms, residues and bonds, with a fingerprint by which two files are known to hold the same one."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from jaxtyping import Float, Int
from mdtraj.formats import PDBTrajectoryFile
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mdgen.errors import MdgenError
from mdgen.molecule import hdf5
from mdgen.registry import register

_SUFFIXES = (".pdb", ".cif", ".mmcif", ".pdbx", ".gro", ".prmtop", ".parm7", ".prm7", ".psf", ".mol2", *hdf5.SUFFIXES)
_KINDS = "pdb, cif, gro, prmtop, psf or h5"


@register
@dataclass(frozen=True, eq=False)
class Molecule:
    """A fixed topology; make one with `from_file`, `from_mdtraj` or `from_json`. Do not change `topology` afterwards.

    Two molecules are equal when their fingerprints are.
    """

    topology: mdtraj.Topology

    @classmethod
    def from_mdtraj(cls, topology: mdtraj.Topology) -> "Molecule":
        """Take over a copy of `topology`, with standard atom names, and with standard bonds if it had none.

        Names are those of the PDB, version 3, whatever the program that wrote the file calls them, so that the same
        molecule has the same fingerprint however it came in.
        """
        topology = topology.copy()
        _standardise_names(topology)
        if topology.n_bonds == 0:
            topology.create_standard_bonds()
        _mend_terminal_acids(topology)
        _mend_terminal_amines(topology)
        _remove_water_struts(topology)
        return cls(topology)

    @classmethod
    def from_file(cls, path: Path | str) -> "Molecule":
        """Read a topology (pdb, cif, gro, prmtop, psf or h5).

        Raises:
            MdgenError: if the file is missing, or cannot be read as a topology.
        """
        path = Path(path)
        if not path.is_file():
            raise MdgenError(f"topology file {path} does not exist; name a {_KINDS} file")
        suffix = Path(path.name.lower().removesuffix(".gz")).suffix
        if suffix not in _SUFFIXES:
            raise MdgenError(f"topology file {path} is of a kind that is not read; give a {_KINDS} file")
        try:
            # mdtraj opens h5 files through PyTables, which runs the code in a malicious one
            topology = hdf5.read_topology(path) if suffix in hdf5.SUFFIXES else mdtraj.load_topology(str(path))
        except MdgenError:
            raise
        except Exception as error:  # mdtraj's parsers raise whatever the broken line happens to cause
            reason = " ".join(str(error).split())[:200]
            raise MdgenError(f"cannot read a topology from {path} ({reason}); give a whole {_KINDS} file") from error
        if topology is None or topology.n_atoms == 0:
            raise MdgenError(f"topology file {path} holds no atoms; give a whole {_KINDS} file")
        return cls.from_mdtraj(topology)

    @classmethod
    def particles(cls, names: Sequence[str], bonds: Sequence[Sequence[int]] = ()) -> "Molecule":
        """Particles without chemistry, such as beads or a point in a model potential: one residue `UNK` each.

        >>> Molecule.particles(["A", "B"], [(0, 1)])
        Molecule(UNK-UNK, 2 atoms, 1 bonds)
        """
        topology = mdtraj.Topology()
        chain = topology.add_chain()
        for name in names:
            topology.add_atom(name, mdtraj.element.virtual_site, topology.add_residue("UNK", chain))
        for first, second in bonds:
            topology.add_bond(topology.atom(first), topology.atom(second))
        return cls(topology)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.topology.n_atoms)

    @cached_property
    def bonds(self) -> Int[np.ndarray, "bond 2"]:
        """Bonded pairs, lower index first, sorted."""
        pairs = sorted({tuple(sorted((a.index, b.index))) for a, b in self.topology.bonds})
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def masses(self) -> Float[np.ndarray, "atom"]:
        """Masses in amu."""
        return np.array([atom.element.mass for atom in self.topology.atoms], dtype=np.float64)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Element symbol of each atom; `VS` for a virtual site."""
        return tuple(atom.element.symbol for atom in self.topology.atoms)

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """The atoms bonded to each atom, in ascending order."""
        graph = self.bond_graph
        return tuple(tuple(part.tolist()) for part in np.split(graph.indices, graph.indptr[1:-1]))

    @cached_property
    def bond_graph(self) -> csr_array:
        """Symmetric adjacency matrix of the bonds, with the neighbours of each atom in ascending order."""
        ends = np.concatenate([self.bonds, self.bonds[:, ::-1]]).T
        return csr_array((np.ones(ends.shape[1]), ends), shape=(self.n_atoms, self.n_atoms))

    @cached_property
    def molecule_of_atom(self) -> Int[np.ndarray, "atom"]:
        """For each atom the number, from 0, of the part that bonds hold together; sites without bonds stand alone."""
        return connected_components(self.bond_graph, directed=False)[1].astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over atom names, elements, residues and bonds; residue numbers and chain letters do not enter."""
        return hashlib.sha256(json.dumps([_signature(self), self.bonds.tolist()]).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Molecule) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        residues = [residue.name for residue in self.topology.residues]
        shown = "-".join(residues[:8]) + ("-..." if len(residues) > 8 else "")
        return f"Molecule({shown}, {self.n_atoms} atoms, {len(self.bonds)} bonds)"

    def atom_label(self, index: int) -> str:
        """An atom's label in messages: its residue, its name and its index."""
        atom = self.topology.atom(index)
        return f"{atom.residue}-{atom.name} (atom {index})"

    def select(self, selection: str) -> Int[np.ndarray, "atom"]:
        """Ascending indices of the atoms that an mdtraj selection names, such as `protein`, `not water`, `name CA`.

        Raises:
            MdgenError: if it is no such selection, or names no atom.
        """
        try:
            found = self.topology.select(selection)
        except Exception as error:  # the parser raises whatever the text happens to cause
            raise MdgenError(
                f"{selection!r} is no selection of atoms; write it as in mdtraj: 'protein', 'not water', 'name CA'"
            ) from error
        if not len(found):
            raise MdgenError(f"{selection!r} names no atom of {self!r}; choose another selection")
        return np.asarray(found, dtype=np.int64)

    def subset(self, atoms: Int[np.ndarray, "_kept"]) -> "Molecule":
        """Some of the atoms, given as ascending indices, with the bonds among them."""
        return Molecule(self.topology.subset(atoms))

    def require_same_atoms(self, of_system: "Molecule") -> None:
        """Raise unless a system has these elements and bonds, atom by atom; names may differ, as between AMBER and PDB.

        Raises:
            MdgenError: saying where they differ.
        """
        if of_system.n_atoms != self.n_atoms:
            self.require_same(of_system, "the system of the force field")
        advice = "build it from their own topology, such as system=pdb system.pdb=FILE"
        for index, (mine, other) in enumerate(zip(of_system.elements, self.elements, strict=True)):
            if mine != other:
                raise MdgenError(
                    f"the system of the force field has {of_system.atom_label(index)} where the trajectories have "
                    f"{self.atom_label(index)}; {advice}"
                )
        bonds, others = ({tuple(sorted(pair)) for pair in m.bonds.tolist()} for m in (of_system, self))
        if bonds != others:
            first, second = min(bonds ^ others)
            raise MdgenError(
                f"only one of the force field's system and the trajectories has the bond of {self.atom_label(first)} "
                f"and {self.atom_label(second)}; {advice}"
            )

    def require_same(self, other: "Molecule", what: str) -> None:
        """Raise unless `other`, called `what` in the message, is this molecule.

        Raises:
            MdgenError: saying which atoms differ.
        """
        if self.fingerprint == other.fingerprint:
            return
        expected, got = _signature(self), _signature(other)
        if len(expected) != len(got):
            shared = min(len(got), len(expected))
            first = next((i for i in range(shared) if got[i] != expected[i]), shared)
            here, there = (m.atom_label(first) if first < m.n_atoms else "nothing" for m in (self, other))
            raise MdgenError(
                f"{what} has {len(got)} atoms where {len(expected)} were expected; they part at atom {first + 1}, "
                f"{there} for {here}; give the matching topology"
            )
        different = [i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b]
        if different:
            shown = ", ".join(f"{other.atom_label(i)} for {self.atom_label(i)}" for i in different[:3])
            more = f" and {len(different) - 3} more" if len(different) > 3 else ""
            raise MdgenError(f"{what} is another molecule: it has {shown}{more}; give the matching topology")
        mine, theirs = ({tuple(pair) for pair in molecule.bonds.tolist()} for molecule in (self, other))
        first, second = min(mine ^ theirs)
        raise MdgenError(
            f"{what} is another molecule: only one of the two has the bond of {self.atom_label(first)} and "
            f"{self.atom_label(second)}; give the matching topology"
        )

    def require_bonded(self) -> None:
        """Raise unless the bonds hold the atoms of every residue together; virtual sites have none.

        Raises:
            MdgenError: naming the residue whose bonds are not known, as for an unknown residue in a PDB file.
        """
        for residue in self.topology.residues:
            own = {atom.index for atom in residue.atoms if self.elements[atom.index] != "VS"}
            reached, edge = set(), [*own][:1]
            while edge:
                atom = edge.pop()
                reached.add(atom)
                edge += [near for near in self.neighbours[atom] if near in own and near not in reached]
            if reached != own:
                raise MdgenError(
                    f"residue {residue} is unknown or incomplete: nothing bonds {self.atom_label(min(own - reached))} "
                    "to the rest of it; add CONECT records to the pdb, or give a prmtop or psf, which list the bonds"
                )

    def to_json(self) -> dict[str, Any]:
        """The topology as plain JSON data: residues `[name, number, chain, segment]`, atoms and bonds."""
        topology = self.topology
        return {
            "residues": [[r.name, r.resSeq, r.chain.index, r.segment_id] for r in topology.residues],
            "atoms": [[a.name, a.element.symbol, a.residue.index] for a in topology.atoms],
            "bonds": self.bonds.tolist(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Molecule":
        """The inverse of `to_json`, with the same fingerprint.

        Raises:
            MdgenError: if `document` is not what `to_json` makes.
        """
        topology = mdtraj.Topology()
        try:
            residues = []
            chains: dict[int, Any] = {}
            for name, number, chain, segment in document["residues"]:
                if chain not in chains:
                    chains[chain] = topology.add_chain()
                residues.append(topology.add_residue(name, chains[chain], resSeq=number, segment_id=segment))
            atoms = [
                topology.add_atom(name, mdtraj.element.get_by_symbol(symbol), residues[residue])
                for name, symbol, residue in document["atoms"]
            ]
            for first, second in document["bonds"]:
                topology.add_bond(atoms[first], atoms[second])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise MdgenError(f"this is no molecule as mdgen writes it ({error!r}); read the topology again") from error
        return cls(topology)


def _signature(molecule: Molecule) -> list[tuple[str, str, str, int]]:
    return [(a.name, a.element.symbol, a.residue.name, a.residue.index) for a in molecule.topology.atoms]


def _standardise_names(topology: mdtraj.Topology) -> None:
    # mdtraj renames only what it reads from PDB files; the same tables serve every other source
    PDBTrajectoryFile._loadNameReplacementTables()
    for residue in topology.residues:
        residue.name = PDBTrajectoryFile._residueNameReplacements.get(residue.name, residue.name)
        names = PDBTrajectoryFile._atomNameReplacements.get(residue.name, {})
        renamed = [names.get(atom.name, atom.name) for atom in residue.atoms]
        if len(set(renamed)) == len(renamed):  # leave a residue alone whose names the table would make ambiguous
            for atom, name in zip(residue.atoms, renamed, strict=True):
                atom.name = name


def misnamed_acids(atoms: Iterable[Any], bonds: Iterable[Any]) -> list[tuple[Any, Any, Any]]:
    """Nitrogen, hydrogen and oxygen of residues whose H2 belongs to the acid, of mdtraj's topology or of OpenMM's.

    CHARMM's HT2 is the acid hydrogen at the C terminus as well as the second amine hydrogen at the N terminus; both
    programs read both as the amine's, and would bond the acid's to the nitrogen. An amine follows no residue.
    """
    named: dict[Any, dict[str, Any]] = {}
    for atom in atoms:
        named.setdefault(atom.residue, {})[atom.name] = atom
    pairs = ((atom, before) for one, other in bonds for atom, before in ((one, other), (other, one)))
    followed = {
        atom for atom, before in pairs if (atom.name, before.name) == ("N", "C") and before.residue is not atom.residue
    }
    wanted = [tuple(own.get(name) for name in ("N", "H2", "OXT")) for own in named.values()]
    return [found for found in wanted if None not in found and found[0] in followed]


def _mend_terminal_acids(topology: mdtraj.Topology) -> None:
    for nitrogen, hydrogen, oxygen in misnamed_acids(topology.atoms, topology.bonds):
        topology._bonds = [bond for bond in topology.bonds if {nitrogen, hydrogen} != set(bond)]
        hydrogen.name = "HXT"
        if not any({oxygen, hydrogen} == set(bond) for bond in topology.bonds):
            topology.add_bond(oxygen, hydrogen)


def _mend_terminal_amines(topology: mdtraj.Topology) -> None:
    # mdtraj's table of bonds has one of the two hydrogens of a proline at the N terminus
    bonded = {atom for bond in topology.bonds for atom in (bond[0], bond[1])}
    for residue in topology.residues:
        nitrogen = next((atom for atom in residue.atoms if atom.name == "N"), None)
        loose = [atom for atom in residue.atoms if atom.name in ("H", "H1", "H2", "H3") and atom not in bonded]
        for hydrogen in loose if nitrogen is not None else ():
            topology.add_bond(nitrogen, hydrogen)


def _remove_water_struts(topology: mdtraj.Topology) -> None:
    # prmtop and psf files hold rigid water by a third bond, between its hydrogens, which pdb files do not have
    hydrogen = mdtraj.element.hydrogen
    struts = [b for b in topology.bonds if b[0].element is b[1].element is hydrogen and b[0].residue.n_atoms > 2]
    if struts:
        topology._bonds = [bond for bond in topology.bonds if bond not in struts]
