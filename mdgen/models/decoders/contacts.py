"""How tightly atoms are packed in decoded structures, held against the data by drawing some of them again."""

from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mdgen.geometry.dihedrals import bond_lengths
from mdgen.molecule.topology import Molecule

BLOCK = 2048
"""Frames whose distances are in memory at a time."""

CONTACT_SHARE = 1e-3
"""Share of the training frames in which a pair is nearer than its contact distance."""

LEVELS = (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Shares of the training frames that are packed tighter than each edge."""


class Contacts(nn.Module):
    """Rejection of structures that are packed tighter than the data are, as often as it takes to match the data.

    Repulsion makes a sharp edge in the distribution of structures, which a continuous network rounds off: clashes
    come out too often. The tightness of a frame is the least of `d_ij - contact_ij` over pairs of heavy atoms more
    than three bonds apart, `contact_ij` being the distance below which the pair is in one of a thousand frames of
    the data. A structure of tightness s is accepted with probability `min(1, p_data(s) / p_decoded(s))`. This is
    rejection sampling by a density ratio, as in Azadi et al., arXiv:1810.06758 (2018), with a ratio of one number
    that is simply counted.

    Args:
        molecule: whose atoms are looked at.
    """

    contact: Tensor
    edges: Tensor
    acceptance: Tensor
    _pairs: Tensor

    def __init__(self, molecule: Molecule) -> None:
        super().__init__()
        pairs = _heavy_pairs(molecule)
        self.register_buffer("_pairs", pairs, persistent=False)
        self.register_buffer("contact", torch.zeros(len(pairs)))
        self.register_buffer("edges", torch.zeros(len(LEVELS)))
        self.register_buffer("acceptance", torch.ones(len(LEVELS) + 1))

    @torch.no_grad()
    def fit(self, data: Float[Tensor, "frame atom 3"], decoded: Float[Tensor, "decoded_frame atom 3"]) -> None:
        """Count how much oftener tight structures are decoded than they occur.

        Args:
            data: training frames.
            decoded: structures decoded without rejection from latents of the same distribution.
        """
        if not len(self._pairs):
            return
        rank = max(1, round(CONTACT_SHARE * len(data)))
        for first in range(0, len(self._pairs), 64):
            distances = torch.cat([bond_lengths(b, self._pairs[first : first + 64]) for b in data.split(BLOCK)])
            self.contact[first : first + 64] = distances.kthvalue(rank, dim=0).values
        tightness = self.tightness(data)
        ordered = tightness.sort().values
        self.edges.copy_(ordered[(torch.tensor(LEVELS) * (len(ordered) - 1)).round().long()])
        shares = [
            torch.bincount(torch.bucketize(values, self.edges), minlength=len(LEVELS) + 1) / len(values)
            for values in (tightness, self.tightness(decoded))
        ]
        ratio = shares[0] / shares[1].clamp(min=1e-12)
        # Where decoded structures are too few, or looser than all data, nothing is gained by rejecting.
        self.acceptance.copy_(ratio.clamp(max=1.0))
        self.acceptance[-2:] = 1.0

    def tightness(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame"]:
        """Least distance in nm of two heavy atoms of each frame, beyond the contact distance of these two."""
        if not len(self._pairs):
            return torch.zeros(len(positions), device=positions.device)
        return torch.cat([(bond_lengths(b, self._pairs) - self.contact).amin(-1) for b in positions.split(BLOCK)])

    def rejected(self, positions: Float[Tensor, "frame atom 3"], generator: torch.Generator) -> Bool[Tensor, "frame"]:
        """Which structures are to be drawn again; one random number each decides."""
        accepted = self.acceptance[torch.bucketize(self.tightness(positions), self.edges)]
        return torch.rand(len(positions), generator=generator, device=positions.device) >= accepted


def _heavy_pairs(molecule: Molecule) -> Int[Tensor, "pair 2"]:
    # Pairs more than three bonds apart.
    near = [{atom} for atom in range(molecule.n_atoms)]
    for _ in range(3):
        near = [group.union(*(molecule.neighbours[atom] for atom in group)) for group in near]
    heavy = [atom for atom, element in enumerate(molecule.elements) if element not in ("H", "VS")]
    pairs = [(i, j) for i, j in combinations(heavy, 2) if j not in near[i]]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
