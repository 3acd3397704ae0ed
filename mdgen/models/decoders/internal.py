"""Structures as internal coordinates: bonds, angles and chirality are then right by construction."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.geometry.internal_coordinates import ZMatrix
from mdgen.models.decoders.representation import Representation
from mdgen.molecule.topology import Molecule
from mdgen.molecule.zmatrix import build_zmatrix
from mdgen.registry import register

LEAST_SPREAD = 1e-5
"""Spread in nm or radians below which a coordinate counts as constant, such as a constrained bond length."""

LEAST_VARIANCE = 1e-6
"""Share of the mean variance below which a principal direction counts as constant."""

STIFF_SPREAD = 0.5
"""A dihedral whose spread (radians) is below this, and that never turns half-way round, is no free torsion; neither is
an offset from one whose spread is below."""

N_QUANTILES = 1025
"""Points at which the distribution of each torsion over the data is kept."""

N_HARMONICS = 3
"""Multiples of each torsion that the critic sees: three, since methyl groups have threefold symmetry."""


@register
class InternalRepresentation(Representation):
    """Free torsions on the unit circle; everything stiff whitened by principal components.

    Stiff are bond lengths, bond angles, and dihedrals and offsets of further atoms on a bond that hardly move, such as
    omega and those of stereocentres. They are strongly correlated and of very different size; whitened, each direction
    counts alike, so that a ring still closes after decoding. Atoms are built by the natural extension reference frame.
    Make one with `fitted`.

    Args:
        molecule: molecule whose structures are represented.
        free_torsions: dihedrals of the molecule's `ZMatrix` that turn freely.
        n_stiff: number of directions in which the stiff coordinates vary.
        direction_residues: residue of each direction, where each is one of the coordinates of a single residue, that of
            the atom which they place; empty where directions are those of all coordinates together.
    """

    _free_columns: Tensor
    _stiff_columns: Tensor
    _order: Tensor
    quantiles: Tensor
    mean: Tensor
    whitening: Tensor
    colouring: Tensor

    def __init__(
        self, molecule: Molecule, free_torsions: Sequence[int], n_stiff: int, direction_residues: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.molecule, self.free_torsions = molecule, list(free_torsions)
        self.direction_residues = list(direction_residues)
        self.n_free, self.n_stiff = len(free_torsions), n_stiff
        self.zmatrix = build_zmatrix(molecule)
        n = molecule.n_atoms
        # Columns of the table [bonds, angles, dihedrals]: 2N-3 lengths and angles come before the first dihedral.
        is_free = torch.zeros(3 * n - 6, dtype=torch.bool)
        is_free[2 * n - 3 + torch.tensor(list(free_torsions), dtype=torch.int64)] = True
        self._sections = (n - 1, n - 2, n - 3)
        self.register_buffer("_free_columns", is_free.nonzero()[:, 0], persistent=False)
        self.register_buffer("_stiff_columns", (~is_free).nonzero()[:, 0], persistent=False)
        self.register_buffer("_order", torch.argsort(torch.cat([self._stiff_columns, self._free_columns])), False)
        self.register_buffer("quantiles", torch.zeros(N_QUANTILES, len(free_torsions)))
        n_columns = len(self._stiff_columns)
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("whitening", torch.zeros(n_columns, n_stiff))
        self.register_buffer("colouring", torch.zeros(n_stiff, n_columns))

    @classmethod
    @torch.no_grad()
    def fitted(
        cls, molecule: Molecule, positions: Float[Tensor, "frame atom 3"], by_residue: bool = False
    ) -> "InternalRepresentation":
        """The representation that suits some frames: which torsions are free, and the directions of all the rest.

        Args:
            molecule: molecule of the frames.
            positions: positions in nm.
            by_residue: whether no direction is to mix coordinates of two residues.

        Raises:
            MdgenError: if the frames are too few to tell.
        """
        zmatrix = build_zmatrix(molecule)
        if len(positions) < 2:
            raise MdgenError(
                f"{len(positions)} frames are too few to fit a representation to; give at least some hundred"
            )
        table = torch.cat([torch.cat(zmatrix.to_internal(block), -1) for block in positions.double().split(10_000)])
        n_lengths = 2 * molecule.n_atoms - 3
        centre = table.mean(0)
        turns = table[:, n_lengths:]
        centre[n_lengths:] = torch.atan2(turns.sin().mean(0), turns.cos().mean(0))
        table = _unwound(table, centre, n_lengths)
        dihedrals = table[:, n_lengths:] - centre[n_lengths:]
        turned = (dihedrals.abs().amax(0) > torch.pi / 2) & torch.from_numpy(zmatrix.is_primary)
        # Offsets too: that of an amine's second hydrogen turns over. One odd frame frees none.
        free = ((dihedrals.std(0) > STIFF_SPREAD) | turned).nonzero()[:, 0].tolist()
        stiff = [column for column in range(table.shape[1]) if column - n_lengths not in free]
        owner = (
            _residue_of_column(zmatrix, molecule)[stiff] if by_residue else torch.zeros(len(stiff), dtype=torch.int64)
        )
        mean, whitening, colouring = _principal_directions(table[:, stiff], owner)
        residues = owner[whitening.abs().argmax(0)].tolist() if by_residue else []
        representation = cls(molecule, free, whitening.shape[1], residues)
        if free:
            ranks = torch.linspace(0, len(turns) - 1, N_QUANTILES).round().long()
            representation.quantiles.copy_(turns[:, free].sort(0).values[ranks])
        representation.mean.copy_(mean)
        representation.whitening.copy_(whitening)
        representation.colouring.copy_(colouring)
        return representation

    @property
    def n_values(self) -> int:
        """Numbers a structure: cosines, then sines of the free torsions, then one a stiff direction."""
        return 2 * self.n_free + self.n_stiff

    @property
    def residues(self) -> Int[Tensor, "value"]:
        """Number of the residue that each value places atoms of, where directions are those of single residues."""
        free = _residue_of_column(self.zmatrix, self.molecule)[self._free_columns.cpu()]
        return torch.cat([free, free, torch.tensor(self.direction_residues, dtype=free.dtype)])

    def ratio_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch ratio_value"]:
        """What the critic sees of the torsions.

        By the stiff directions a classifier tells nearly every draw from a real structure, which would leave nothing to
        accept.
        """
        seen = self.critic_values(values)
        return seen[:, : seen.shape[1] - self.n_stiff]

    def represent(self, positions: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch value"]:
        """Positions in nm to values."""
        table = torch.cat(self.zmatrix.to_internal(positions), -1)
        free = table[:, self._free_columns]
        centre = torch.zeros_like(table[0]).index_copy(0, self._stiff_columns, self.mean)
        stiff = _unwound(table, centre, sum(self._sections[:2]))[:, self._stiff_columns]
        return torch.cat([free.cos(), free.sin(), (stiff - self.mean) @ self.whitening], -1)

    def build(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch atom 3"]:
        """Values to positions in nm, differentiable."""
        n = self.n_free
        free = torch.atan2(values[:, n : 2 * n], values[:, :n])
        stiff = self.mean + values[:, 2 * n :] @ self.colouring
        table = torch.cat([stiff, free], -1)[:, self._order]
        return self.zmatrix.to_cartesian(*table.split(self._sections, -1))

    def gradient(
        self,
        values: Float[Tensor, "batch value"],
        positions: Float[Tensor, "batch atom 3"],
        by_position: Float[Tensor, "batch function atom 3"],
    ) -> Float[Tensor, "batch function value"]:
        """Gradients by the values of functions of the positions that `build` gives, from those by the positions."""
        table = torch.cat(self.zmatrix.gradient(positions, by_position), -1)
        n = self.n_free
        cosine, sine = values[:, None, :n], values[:, None, n : 2 * n]
        turn = table[..., self._free_columns] / (cosine.square() + sine.square())
        colouring = table.new_zeros(self.n_stiff, table.shape[-1]).index_copy(1, self._stiff_columns, self.colouring)
        return torch.cat([-sine * turn, cosine * turn, nn.functional.linear(table, colouring)], -1)

    def first_guess(self, count: int, generator: torch.Generator) -> Float[Tensor, "count value"]:
        """Values drawn independently: torsions from their distributions over the data, the rest as normal numbers."""
        device = generator.device
        share = torch.rand(count, self.n_free, generator=generator, device=device) * (N_QUANTILES - 1)
        below = share.long().clamp(max=N_QUANTILES - 2)
        columns = torch.arange(self.n_free, device=device)
        low, high = self.quantiles[below, columns], self.quantiles[below + 1, columns]
        angle = torch.lerp(low, high, share - below)
        stiff = torch.randn(count, self.n_stiff, generator=generator, device=device)
        return torch.cat([angle.cos(), angle.sin(), stiff], -1)

    def project(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch value"]:
        """What a network puts out, with the torsions brought to the unit circle."""
        n = self.n_free
        cosine, sine, stiff = values[:, :n], values[:, n : 2 * n], values[:, 2 * n :]
        radius = (cosine.square() + sine.square() + 1e-8).sqrt()
        return torch.cat([cosine / radius, sine / radius, stiff], -1)

    def critic_values(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch critic_value"]:
        """What the critic sees: harmonics of each torsion, products of neighbouring ones, and the stiff directions.

        Products show a correlation of two torsions at once, harmonics the sharpness and symmetry of their peaks.
        """
        n = self.n_free
        cosine, sine = values[:, :n], values[:, n : 2 * n]
        harmonics = [cosine, sine]
        real, imaginary = cosine, sine
        for _ in range(N_HARMONICS - 1):
            real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
            harmonics += [real, imaginary]
        pairs = torch.tensor(self._neighbours(), dtype=torch.int64, device=values.device).reshape(-1, 2)
        first, second = pairs[:, 0], pairs[:, 1]
        products = [a[:, first] * b[:, second] for a in (cosine, sine) for b in (cosine, sine)]
        return torch.cat([*harmonics, *products, values[:, 2 * n :]], -1)

    def _neighbours(self) -> list[tuple[int, int]]:
        # Torsions about bonds that share an atom, such as phi and psi.
        axes = [set(self.zmatrix.dihedral_atoms[row, 1:3].tolist()) for row in self.free_torsions]
        return [(i, j) for i in range(len(axes)) for j in range(i + 1, len(axes)) if axes[i] & axes[j]]


def _unwound(table: Tensor, centre: Tensor, n_lengths: int) -> Tensor:
    # Dihedrals within half a turn of their centre: there they are ordinary numbers.
    turn = 2 * torch.pi
    turns = table[:, n_lengths:] - centre[n_lengths:]
    near = centre[n_lengths:] + torch.remainder(turns + torch.pi, turn) - torch.pi
    return torch.cat([table[:, :n_lengths], near], -1)


def _residue_of_column(zmatrix: ZMatrix, molecule: Molecule) -> Int[Tensor, "column"]:
    """The residue of the atom that each bond, angle and dihedral of the table places."""
    residue = torch.tensor([atom.residue.index for atom in molecule.topology.atoms])
    placed = residue[torch.from_numpy(zmatrix.rows[:, 3])]
    return torch.cat([placed[1:], placed[2:], placed[3:]])


def _principal_directions(
    table: Float[Tensor, "frame column"], owner: Int[Tensor, "column"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, whitening `(column, direction)` and its inverse `(direction, column)`; none mixes columns of two owners."""
    mean = table.mean(0)
    spread = table.std(0)
    scale = torch.where(spread > LEAST_SPREAD, spread, torch.inf)
    standard = (table - mean) / scale
    covariance = standard.T @ standard / (len(table) - 1)
    variances, vectors = torch.linalg.eigh(torch.where(owner == owner[:, None], covariance, 0.0))
    kept = variances > LEAST_VARIANCE
    variances, vectors = variances[kept], vectors[:, kept]
    whitening = vectors / variances.sqrt() / scale[:, None]
    finite = torch.where(torch.isfinite(scale), scale, 0.0)
    return mean, whitening, (vectors * variances.sqrt()).T * finite
