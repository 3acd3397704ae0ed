"""How much likelier a structure is in the data than from a generator, and rejection of what is drawn too often.

A classifier of real against generated structures at the same latents learns the log of the ratio of their densities;
accepting a draw with a probability proportional to the ratio makes the two distributions one, as far as the classifier
can tell them apart. Source: Azadi et al., Discriminator rejection sampling, arXiv:1810.06758 (2018).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.decoders.representation import Conditions, Values

CEILING_QUANTILE = 0.95
"""Draws are accepted for certain from this quantile of the ratio on; a higher one is more exact and redraws oftener."""


class DensityRatio(nn.Module):
    """The ratio `p_data(x | psi) / p_generator(x | psi)`; accepts everything before `fit_ceiling`."""

    log_ceiling: Tensor

    def __init__(self, n_values: int, n_conditions: int) -> None:
        super().__init__()
        self.network = perceptron(n_values + n_conditions, (128, 128), 1, "swish")
        self.register_buffer("log_ceiling", torch.tensor(-torch.inf))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights and accept everything."""
        initialise(self, generator)
        self.log_ceiling.fill_(-torch.inf)

    def log_ratio(self, values: Values, conditions: Conditions) -> Float[Tensor, "batch"]:
        """Log of the ratio of densities."""
        return self.network(torch.cat([values, conditions], -1))[:, 0]

    def loss(self, real: Values, drawn: Values, conditions: Conditions) -> Float[Tensor, ""]:
        """Cross entropy of telling real structures from drawn ones at the same latents."""
        logits = self.log_ratio(torch.cat([real, drawn]), conditions.repeat(2, 1))
        labels = torch.cat([torch.ones(len(real)), torch.zeros(len(drawn))]).to(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)

    @torch.no_grad()
    def fit_ceiling(self, drawn: Values, conditions: Conditions) -> None:
        """Set the ratio from which on a draw is accepted for certain, from drawn structures."""
        self.log_ceiling.copy_(torch.quantile(self.log_ratio(drawn, conditions), CEILING_QUANTILE))

    def rejected(self, values: Values, conditions: Conditions, generator: torch.Generator) -> Bool[Tensor, "batch"]:
        """Which draws to draw again; one random number each decides."""
        point = torch.rand(len(values), generator=generator, device=values.device)
        if not bool(self.log_ceiling.isfinite()):
            return torch.zeros_like(point, dtype=torch.bool)
        return point.log() >= self.log_ratio(values, conditions) - self.log_ceiling
