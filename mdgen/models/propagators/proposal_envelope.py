"""How often each Gaussian of a mixture is proposed, where its samples are kept with a chance of its own.

A filter keeps a sample `x` with chance `k(now, x)`, and most of what a plain mixture proposes may be refused: what the
data do more often than the mixture can only be kept more often than the rest. Gaussian `j` proposed `e_j` times as
often, and its samples kept with chance `k / e_j`, give the same law,

    sum_j (w_j e_j) N_j(x) k(now, x) / e_j = k(now, x) sum_j w_j N_j(x),

and refuse few where `e_j` is hardly above the chances of that Gaussian's own samples: rejection sampling under an
envelope (von Neumann, Natl. Bur. Stand. Appl. Math. Ser. 12, 36 (1951)) that follows the Gaussians.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.models.propagators.gaussian_mixture import Mixture

_QUANTILE, _LEAST = 0.999, 1e-3
"""Quantile of a Gaussian's chances that its bound is, and the least bound."""


class ProposalEnvelope(nn.Module):
    """Bounds `e` of the chances of each Gaussian's samples, for each well that they start from; 1 before `fit`.

    Args:
        n_wells: number of wells.
        n_components: number of Gaussians.
    """

    bounds: Tensor

    def __init__(self, n_wells: int, n_components: int) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.ones(n_wells, n_components))

    def proposed(self, mixture: Mixture, wells: Int[Tensor, "frame"]) -> Mixture:
        """The mixture that is proposed from frames in these wells."""
        return mixture._replace(log_weights=torch.log_softmax(mixture.log_weights + self.bounds[wells].log(), -1))

    def draw(
        self, mixture: Mixture, wells: Int[Tensor, "frame"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "frame channel"], Float[Tensor, "frame"]]:
        """A proposal from each frame, and the bound of its chance to be kept."""
        after, chosen = self.proposed(mixture, wells).draw_with_component(generator)
        return after, self.bounds[wells, chosen]

    def share(self, mixture: Mixture, wells: Int[Tensor, "frame"]) -> Float[Tensor, "frame"]:
        """The mean bound of the mixture's own samples: so many of them are kept for each proposal that is kept."""
        return (mixture.log_weights.exp() * self.bounds[wells]).sum(-1)

    @torch.no_grad()
    def fit(
        self,
        wells: Int[Tensor, "sample"],
        components: Int[Tensor, "sample"],
        following: Int[Tensor, "sample"],
        chances: Float[Tensor, "sample"],
    ) -> None:
        """Take the bounds from samples of the mixture itself.

        One in a thousand of a Gaussian's samples may have a larger chance than its bound, and is kept too seldom. This
        holds for each well that they fall into by itself: jumps are rare, and slow modes hang on them.

        Args:
            wells: well that each sample started from.
            components: Gaussian that it was drawn from.
            following: well that it falls into.
            chances: its chance to be kept.
        """
        n_wells, n_components = self.bounds.shape
        groups = (wells * n_components + components) * n_wells + following
        order = torch.argsort(chances)
        order = order[torch.argsort(groups[order], stable=True)]
        counts = torch.bincount(groups, minlength=n_wells * n_components * n_wells)
        places = counts.cumsum(0) - counts + (_QUANTILE * counts).long()
        found = torch.zeros_like(counts, dtype=chances.dtype)
        found[counts > 0] = chances[order][places[counts > 0]]
        highest = found.view(n_wells, n_components, n_wells).amax(-1)
        seen = counts.view(n_wells, n_components, n_wells).sum(-1) > 0
        self.bounds.copy_(torch.where(seen, highest.clamp(_LEAST, 1.0), 1.0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Weights that were saved before there were bounds propose each Gaussian as the mixture does.
        state_dict.setdefault(f"{prefix}bounds", torch.ones_like(self.bounds))
        super()._load_from_state_dict(state_dict, prefix, *rest)
