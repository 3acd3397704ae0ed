"""How near atoms come to one another in decoded structures, held to the data by drawing some of them again."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mdgen.geometry.dihedrals import bond_lengths
from mdgen.molecule.topology import Molecule
from mdgen.molecule.van_der_waals import nonbonded_pairs

BLOCK = 2048
"""Frames whose distances are in memory at a time."""

LEVELS = (0.0, 0.0003, 0.001, 0.003, 0.01)
"""Shares of the training frames in which a pair is nearer than each of its edges."""

OVERLAP = 2
"""Edge below which a pair overlaps."""


class Contacts(nn.Module):
    """Rejection of structures in which two atoms are near more often than they are in the data.

    Repulsion makes a sharp edge in the distribution of structures, which a continuous network rounds off: clashes come
    out too often. For every pair of heavy atoms more than three bonds apart, the ratio of how often data and decoded
    structures have it at a short distance is counted; a structure is accepted with the least such ratio of its pairs,
    at most 1. This is rejection sampling by a density ratio, as in Azadi et al., arXiv:1810.06758 (2018), with ratios
    that are counted instead of learnt.

    Args:
        molecule: molecule of the structures.
        deviations: number of standard deviations by which a count in the data is raised before it is compared, so that
            chance in small counts rejects nothing: with a thousand pairs there is always one that is low by chance.
    """

    edges: Tensor
    acceptance: Tensor
    _pairs: Tensor

    def __init__(self, molecule: Molecule, deviations: float = 0.0) -> None:
        super().__init__()
        self.deviations = deviations
        pairs = torch.from_numpy(nonbonded_pairs(molecule))
        self.register_buffer("_pairs", pairs, persistent=False)
        self.register_buffer("edges", torch.zeros(len(pairs), len(LEVELS)))
        self.register_buffer("acceptance", torch.ones(len(pairs), len(LEVELS) + 1))

    @torch.no_grad()
    def fit_edges(self, data: Float[Tensor, "frame atom 3"]) -> None:
        """Take the short distances of every pair from the data; accepts everything until `fit`."""
        ranks = (torch.tensor(LEVELS) * (len(data) - 1)).round().long()
        for row, pair in enumerate(self._pairs):
            self.edges[row] = _distances(data, pair).sort().values[ranks]
        nn.init.ones_(self.acceptance)

    @torch.no_grad()
    def fit(self, data: Float[Tensor, "frame atom 3"], decoded: Float[Tensor, "decoded_frame atom 3"]) -> None:
        """Count how much oftener atoms are near in structures decoded from the data's latents than in the data.

        The edges are those of `fit_edges`, of the same data.
        """
        for row, pair in enumerate(self._pairs):
            bins = [torch.bucketize(_distances(each, pair), self.edges[row]) for each in (data, decoded)]
            counts, drawn = (torch.bincount(places, minlength=len(LEVELS) + 1) for places in bins)
            raised = counts + self.deviations * (counts + 1).sqrt()
            expected = drawn * (len(data) / len(decoded))
            self.acceptance[row] = (raised / expected.clamp(min=1e-6)).clamp(max=1.0)
            self.acceptance[row, -1] = 1.0  # not near

    def overlap(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame"]:
        """Sum in nm of how much nearer atoms are than in a thousandth of the data, differentiable."""
        with torch.no_grad():  # few pairs overlap, and only these are followed back
            near = bond_lengths(positions, self._pairs) < self.edges[:, OVERLAP]
        frame, pair = near.nonzero(as_tuple=True)
        first, second = self._pairs[pair].unbind(1)
        distance = (positions[frame, first] - positions[frame, second]).norm(dim=-1)
        return positions.new_zeros(len(positions)).index_add(0, frame, self.edges[pair, OVERLAP] - distance)

    def unseen(self, positions: Float[Tensor, "frame atom 3"]) -> Bool[Tensor, "frame"]:
        """Structures in which a pair is nearer than in any frame of the data."""
        return (bond_lengths(positions, self._pairs) < self.edges[:, 0]).any(1)

    def rejected(self, positions: Float[Tensor, "frame atom 3"], generator: torch.Generator) -> Bool[Tensor, "frame"]:
        """Which structures are to be drawn again; one random number each decides."""
        point = torch.rand(len(positions), generator=generator, device=positions.device)
        if not len(self._pairs):
            return torch.zeros(len(positions), dtype=torch.bool, device=positions.device)
        return point >= torch.cat([self._accepted(block) for block in positions.split(BLOCK)])

    def _accepted(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame"]:
        distances = bond_lengths(positions, self._pairs).T.contiguous()
        return self.acceptance.gather(1, torch.searchsorted(self.edges, distances)).amin(0)


def _distances(structures: Float[Tensor, "frame atom 3"], pair: Int[Tensor, "2"]) -> Float[Tensor, "frame"]:
    return torch.cat([bond_lengths(block, pair[None])[:, 0] for block in structures.split(BLOCK)])
