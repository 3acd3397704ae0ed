"""The critic of a Wasserstein GAN, with its input gradient written out.

The gradient penalty needs the gradient of the critic in its input, and then the gradient of that in the weights. Left
to automatic differentiation the second is a backward pass through a backward pass. For a multilayer perceptron
`C(x) = w4 s(W3 s(W2 s(W1 x)))` the input gradient is `W1^T (s' * W2^T (s' * W3^T (s' * w4)))`: one more forward
computation, after which a single backward pass suffices. On a processor and at these widths it takes as long
as the automatic way (3.6 against 3.8 ms for 256 structures); what it saves is the graph of the first pass.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.models.decoders.representation import Conditions, Values


class Critic(nn.Module):
    """Scores how real a structure of `n_values` looks at a latent of `n_conditions`: `C(x, psi)`, Swish layers."""

    def __init__(self, n_values: int, n_conditions: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [n_values + n_conditions, *hidden]
        self.n_values = n_values
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(sizes[-1], 1)

    def forward(self, values: Values, conditions: Conditions) -> Float[Tensor, "batch"]:
        """The score of each structure."""
        hidden = torch.cat([values, conditions], -1)
        for layer in self.layers:
            hidden = nn.functional.silu(layer(hidden))
        return self.last(hidden)[:, 0]

    def input_gradient(self, values: Values, conditions: Conditions) -> Values:
        """The gradient of the score in `values` alone, differentiable in the weights."""
        hidden = torch.cat([values, conditions], -1)
        slopes = []
        for layer in self.layers:
            before = layer(hidden)
            gate = torch.sigmoid(before)
            hidden = before * gate
            slopes.append(gate + hidden * (1 - gate))  # the derivative of x sigmoid(x)
        gradient = slopes[-1] * self.last.weight
        for layer, slope in zip(reversed(list(self.layers)[1:]), reversed(slopes[:-1]), strict=True):
            gradient = (gradient @ layer.weight) * slope
        first: nn.Linear = self.layers[0]  # type: ignore[assignment]
        return gradient @ first.weight[:, : self.n_values]
