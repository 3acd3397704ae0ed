"""The internal coordinates that suit a molecule: a tree along its bonds, one free dihedral for each bond that turns."""

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, shortest_path

from mdgen.errors import MdgenError
from mdgen.geometry.internal_coordinates import ZMatrix
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import KINDS, torsions


def build_zmatrix(molecule: Molecule) -> ZMatrix:
    """Internal coordinates along the bonds of a molecule.

    The tree grows from the middle of the molecule, so that it is shallow and errors add up least. Of the atoms that
    hang on one bond, the first has the primary dihedral: phi, psi, omega, chi and methyl rotations (`torsions`) where
    the bond has such a name, else along its heaviest branch. The others are given relative to it and are stiff, as are
    lengths and angles. A ring is followed along the tree; the bond that closes it follows from the others.

    Raises:
        MdgenError: if bonds are missing, or the atoms are not one bonded molecule of at least three.
    """
    if molecule.n_atoms < 3:
        raise MdgenError(f"internal coordinates need at least three atoms; {molecule!r} has {molecule.n_atoms}")
    molecule.require_bonded()
    tree = _Tree(molecule)
    first, middle, last = tree.roots
    rows = [(-1, -1, -1, first), (-1, -1, first, middle), (-1, first, middle, last)]
    relative = []
    for atom in tree.children[middle]:
        if atom not in tree.roots:
            rows.append((last, first, middle, atom))
            relative.append(2)
    named = {torsion.atoms for torsion in torsions(molecule, KINDS)}
    named |= {atoms[::-1] for atoms in named}
    for atom, parent in tree.parent.items():  # from the centre outwards
        if parent is None or not tree.children[atom]:
            continue
        reference, primary = _primary(tree, parent, atom, named)
        ordered = [primary, *(child for child in tree.children[atom] if child != primary)]
        row_of_primary = len(rows)
        for child in ordered:
            relative.append(-1 if child == primary else row_of_primary)
            rows.append((reference, parent, atom, child))
    return ZMatrix(np.array(rows, dtype=np.int64), np.array(relative, dtype=np.int64))


class _Tree:
    """A breadth-first tree of the bond graph, from the atom with the nearest farthest atom.

    `roots` are the first three atoms of the matrix: the middle one is the centre, the others two of its neighbours.
    """

    def __init__(self, molecule: Molecule) -> None:
        inner = [atom for atom, near in enumerate(molecule.neighbours) if len(near) > 1]
        depths = shortest_path(molecule.bond_graph, unweighted=True, indices=inner)
        if not inner or np.isinf(depths[0]).any():
            raise MdgenError(
                f"{molecule!r} is not one bonded molecule; internal coordinates need one, without solvent or ions"
            )
        centre = inner[int(depths.max(axis=1).argmin())]
        order, parents = (each.tolist() for each in breadth_first_order(molecule.bond_graph, centre))
        self.parent = {atom: parents[atom] if atom != centre else None for atom in order}
        self.children: list[list[int]] = [[] for _ in range(molecule.n_atoms)]
        for atom, parent in self.parent.items():
            if parent is not None:
                self.children[parent].append(atom)
        weight = {atom: float(molecule.masses[atom]) for atom in order}
        for atom in order[:0:-1]:  # children come after their parents
            weight[parents[atom]] += weight[atom]
        for siblings in self.children:
            siblings.sort(key=lambda atom: (-weight[atom], atom))
        first, last = self.children[centre][:2]
        self.roots = (first, centre, last)


def _primary(tree: _Tree, parent: int, atom: int, named: set[tuple[int, int, int, int]]) -> tuple[int, int]:
    """The reference atom beyond `parent`, and the child of `atom` whose dihedral is primary."""
    grandparent = tree.parent[parent]
    if grandparent is None:
        first, _, last = tree.roots
        grandparent = last if atom == first else first
    references = [grandparent, *(near for near in tree.children[parent] if near not in (atom, grandparent))]
    for reference in references:
        for child in tree.children[atom]:
            if (reference, parent, atom, child) in named:
                return reference, child
    return grandparent, tree.children[atom][0]
