"""What follows from bonds alone: angles, dihedrals, impropers, and who is near whom."""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations


class BondGraph:
    """The graph of a molecule's bonds; every table is sorted.

    Args:
        n_atoms: number of atoms.
        bonds: pairs of atoms.

    >>> BondGraph(4, [(1, 0), (1, 2), (2, 3)]).dihedrals
    [(0, 1, 2, 3)]
    """

    def __init__(self, n_atoms: int, bonds: Sequence[Sequence[int]]) -> None:
        self.bonds = sorted({(min(i, j), max(i, j)) for i, j in bonds})
        self.neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
        for i, j in self.bonds:
            self.neighbours[i].append(j)
            self.neighbours[j].append(i)

    @cached_property
    def angles(self) -> list[tuple[int, int, int]]:
        """Triples with the middle atom in the middle."""
        return sorted((i, j, k) for j, around in enumerate(self.neighbours) for i, k in combinations(sorted(around), 2))

    @cached_property
    def dihedrals(self) -> list[tuple[int, int, int, int]]:
        """Proper quadruples along three bonds, each once; none around a ring of three."""
        found = []
        for j, k in self.bonds:
            for i in self.neighbours[j]:
                for last in self.neighbours[k]:
                    if i != k and last != j and i != last:
                        found.append((i, j, k, last) if i < last else (last, k, j, i))
        return sorted(found)

    @cached_property
    def impropers(self) -> list[tuple[int, int, int, int]]:
        """Three neighbours of every atom that has exactly three, with that atom third."""
        return [
            (first, second, center, third)
            for center, around in enumerate(self.neighbours)
            if len(around) == 3
            for first, second, third in [sorted(around)]
        ]

    @cached_property
    def pairs_within_two_bonds(self) -> set[tuple[int, int]]:
        """Pairs that share a bond or a neighbour."""
        return set(self.bonds) | {(min(i, k), max(i, k)) for i, _, k in self.angles}
