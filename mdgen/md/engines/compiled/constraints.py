"""Fixed distances with a fixed number of iterations: nothing in them depends on a value, so that they compile.

SHAKE and RATTLE as in `md.constraints`, but the matrix of a cluster is factorised once a step, by elimination without
pivots written out for the few constraints of a cluster. Newton's iteration with that first matrix gains about as many
digits an iteration as the first trial was right to. All of it happens between the two atoms of each constraint; atoms
move once, at the end.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.dynamics.constraints import DistanceConstraints
from mdgen.md.engines.compiled.atom_sums import AtomSums

_ITERATIONS = 5
_LOST = 1e-4
"""Relative error of a squared distance after the last iteration that no sound trial leaves."""
_WIDEST = 6

Vector = Float[Tensor, "3 cluster replica"]


class UnrolledConstraints:
    """The constraints of one molecule for a compiled step; the same distances as those it is made from.

    A cluster that does not come to its distances, as in a blow-up, becomes NaN: that is the flag that whoever drives
    the engine looks at.

    Args:
        constraints: clusters of at most six.

    Raises:
        MdgenError: for larger clusters.
    """

    def __init__(self, constraints: DistanceConstraints) -> None:
        c = constraints
        width = c.first.shape[1]
        if width > _WIDEST:
            raise MdgenError(
                f"{width} constraints of this molecule hang together, but compile=true takes at most {_WIDEST}: "
                "constrain bonds to hydrogen only, or use compile=false"
            )
        self._pairs = [(c.first[:, m], c.second[:, m]) for m in range(width)]
        self._square = [c.length[:, m, None].square() for m in range(width)]
        # In padding both atoms are one: its row of the matrix is the unit row, and its error is taken as zero.
        self._real = [(one != other).to(c.length.dtype)[:, None] for one, other in self._pairs]
        self._coupling = [[c.coupling[:, m, n, None] for n in range(width)] for m in range(width)]
        inverse, real = c.inverse_masses, torch.cat(self._real)[:, 0]
        ends = [torch.cat([pair[side] for pair in self._pairs]) for side in (0, 1)]
        weight = torch.cat([-inverse[ends[0]] * real, inverse[ends[1]] * real])
        # A constraint pushes its two atoms apart along one and the same row.
        self._sums = AtomSums(torch.cat(ends), len(inverse), inverse, weight)

    def positions(
        self, reference: Float[Tensor, "replica atom 3"], trial: Float[Tensor, "replica atom 3"]
    ) -> Float[Tensor, "replica atom 3"]:
        """`trial` moved along the constraints' directions in `reference` until every distance is met."""
        directions, between = self._between(reference), self._between(trial)
        factors = _factorised(self._matrix(between, directions))
        total = [torch.zeros_like(square) for square in self._errors(between)]
        for _ in range(_ITERATIONS):
            multipliers = _solved(factors, self._errors(between))
            total = [t - m for t, m in zip(total, multipliers, strict=True)]
            between = [
                self._moved(b, row, multipliers, directions) for b, row in zip(between, self._coupling, strict=True)
            ]
        worst = [error.abs() / square for error, square in zip(self._errors(between), self._square, strict=True)]
        # Written so that a NaN counts as lost.
        met = [~(w > _LOST) & (w == w) for w in worst]
        total = [torch.where(m, t, torch.nan) for m, t in zip(met, total, strict=True)]
        return trial + self._displacement(total, directions)

    def velocities(
        self, positions: Float[Tensor, "replica atom 3"], velocities: Float[Tensor, "replica atom 3"]
    ) -> Float[Tensor, "replica atom 3"]:
        """`velocities` without their parts along the constraints."""
        directions = self._between(positions)
        rates = [_dot(d, v) for d, v in zip(directions, self._between(velocities), strict=True)]
        multipliers = _solved(_factorised(self._matrix(directions, directions)), rates)
        return velocities - self._displacement(multipliers, directions)

    def _between(self, vectors: Float[Tensor, "replica atom 3"]) -> list[Vector]:
        """From the first to the second atom of each member of the clusters, by components."""
        inside = vectors.permute(2, 1, 0)
        return [inside[:, second] - inside[:, first] for first, second in self._pairs]

    def _errors(self, between: list[Vector]) -> list[Tensor]:
        """Half of how much each squared distance is too large."""
        rows = zip(between, self._square, self._real, strict=True)
        return [0.5 * real * (_dot(vector, vector) - square) for vector, square, real in rows]

    def _matrix(self, left: list[Vector], right: list[Vector]) -> list[list[Tensor]]:
        """How a multiplier on each member changes each member's error."""
        matrix = [
            [c * _dot(u, v) for c, v in zip(row, right, strict=True)]
            for row, u in zip(self._coupling, left, strict=True)
        ]
        for m, real in enumerate(self._real):
            matrix[m][m] = matrix[m][m] + (1 - real)
        return matrix

    @staticmethod
    def _moved(vector: Vector, coupling: list[Tensor], multipliers: list[Tensor], directions: list[Vector]) -> Vector:
        """The vector between two atoms after every member's push."""
        for factor, multiplier, direction in zip(coupling, multipliers, directions, strict=True):
            vector = vector - factor * multiplier * direction
        return vector

    def _displacement(self, multipliers: list[Tensor], directions: list[Vector]) -> Float[Tensor, "replica atom 3"]:
        rows = [m * d for m, d in zip(multipliers, directions, strict=True)]
        shifts = torch.cat(rows, 1)
        return self._sums(torch.cat([shifts, shifts], 1)).permute(2, 1, 0)


def _dot(u: Vector, v: Vector) -> Tensor:
    return (u * v).sum(0)


def _factorised(matrix: list[list[Tensor]]) -> list[list[Tensor]]:
    """Lower and upper triangle of a matrix of tensors in one; its diagonal holds the inverse pivots."""
    rows = [list(row) for row in matrix]
    for k, pivot_row in enumerate(rows):
        pivot_row[k] = 1 / pivot_row[k]
        for row in rows[k + 1 :]:
            row[k] = row[k] * pivot_row[k]
            for j in range(k + 1, len(rows)):
                row[j] = row[j] - row[k] * pivot_row[j]
    return rows


def _solved(factors: list[list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """What the matrix of these factors takes to `right`."""
    found = list(right)
    n = len(found)
    for i in range(n):
        for j in range(i):
            found[i] = found[i] - factors[i][j] * found[j]
    for i in reversed(range(n)):
        for j in range(i + 1, n):
            found[i] = found[i] - factors[i][j] * found[j]
        found[i] = found[i] * factors[i][i]
    return found
