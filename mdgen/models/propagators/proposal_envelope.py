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
from mdgen.models.propagators.rejection_filter import RejectionFilter

_QUANTILE, _LEAST = 0.999, 1e-3
"""Quantile of a Gaussian's chances that its bound is, and the least bound."""
_JUMP_QUANTILE, _MISSED = 0.99, 0.01
"""Quantile of the chances of a jump, and the share of its samples whose Gaussians may have a smaller bound."""
_DRAWS, _ROWS = 64, 2_000
"""Samples from each frame, and frames whose Gaussians' shares of all wells are in memory at a time."""
_NEVER = 1e-300
"""Least share that is divided by."""


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
        mixture: Mixture,
        before: Float[Tensor, "frame channel"],
        filter_: RejectionFilter,
        generator: torch.Generator,
    ) -> None:
        """Take the bounds from samples of the mixture itself.

        One in a thousand of a Gaussian's samples may have a larger chance than its bound, and is kept too seldom. Jumps
        are rarer than that, and slow modes hang on them: so the bound of each Gaussian that makes jumps from one well
        to another is at least the chance of these, but for those that together make one in a hundred of them.

        Args:
            mixture: mixture of the frames after.
            before: scaled frames, as many of each well.
            filter_: filter that keeps samples.
            generator: source of the samples.
        """
        n_wells, n_components = self.bounds.shape
        wells = filter_.wells(before)
        drawn = []
        for _ in range(_DRAWS):
            after, chosen = mixture.draw_with_component(generator)
            drawn.append(
                (wells * n_components + chosen, wells * n_wells + filter_.wells(after), filter_.chance(before, after))
            )
        components, jumps, chances = (torch.cat(each) for each in zip(*drawn, strict=True))
        bounds = _quantiles(components, chances, _QUANTILE, self.bounds.numel()).view(n_wells, n_components)
        of_jump = _quantiles(jumps, chances, _JUMP_QUANTILE, n_wells**2).view(n_wells, n_wells)
        # of jumps too rare to be drawn, all that is kept at most
        of_jump = torch.where(of_jump.isnan(), filter_.acceptance.clamp(max=1.0), of_jump)
        mass = torch.zeros(n_wells, n_components, n_wells, dtype=torch.float64, device=before.device)
        for rows in torch.arange(len(before), device=before.device).split(_ROWS):
            mass.index_add_(0, wells[rows], _falls_into(mixture.rows(rows), filter_.thresholds).double())
        mass.diagonal(dim1=0, dim2=2).zero_()  # staying is not rare
        share = mass / mass.sum(1, keepdim=True).clamp(min=_NEVER)
        ranked, order = share.sort(1, descending=True)
        rest = 1 - ranked.cumsum(1) + ranked  # what those before in the order do not make
        makes = torch.zeros_like(mass).scatter(1, order, ((rest > _MISSED) & (ranked > 0)).double())
        most = (makes * of_jump[:, None].double()).amax(-1)
        bounds = torch.where(bounds.isnan(), 1.0, bounds.double().maximum(most))
        self.bounds.copy_(bounds.clamp(_LEAST, 1.0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Weights that were saved before there were bounds propose each Gaussian as the mixture does.
        state_dict.setdefault(f"{prefix}bounds", torch.ones_like(self.bounds))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _quantiles(
    groups: Int[Tensor, "sample"], values: Float[Tensor, "sample"], share: float, n_groups: int
) -> Float[Tensor, "{n_groups}"]:
    """A quantile of the values of each group; not a number for groups without."""
    order = torch.argsort(values)
    order = order[torch.argsort(groups[order], stable=True)]
    counts = torch.bincount(groups, minlength=n_groups)
    places = counts.cumsum(0) - counts + (share * counts).long()
    found = torch.full_like(counts, torch.nan, dtype=values.dtype)
    found[counts > 0] = values[order][places[counts > 0]]
    return found


def _falls_into(mixture: Mixture, thresholds: Float[Tensor, "channel"]) -> Float[Tensor, "frame component well"]:
    """The share of each frame's samples that comes from a Gaussian and falls into a well, as if channels were
    independent."""
    found = mixture.log_weights.exp()[..., None]
    for mean, deviation, threshold in zip(mixture.means, mixture.deviations, thresholds, strict=True):
        above = torch.special.ndtr((mean - threshold) / deviation)[..., None]
        found = torch.cat([found * (1 - above), found * above], -1)  # one bit a channel, the first the lowest
    return found
