"""The plain multilayer perceptron that the encoder, the propagator and the decoder are made of."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mdgen.errors import MdgenError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "swish": nn.SiLU, "gelu": nn.GELU}


def perceptron(
    n_inputs: int, hidden: Sequence[int], n_outputs: int, activation: str = "tanh", batch_norm: bool = False
) -> nn.Sequential:
    """Linear layers with an activation after each but the last.

    Args:
        n_inputs: input channels.
        hidden: width of each hidden layer.
        n_outputs: output channels.
        activation: one of `ACTIVATIONS`.
        batch_norm: whether each hidden layer is normalised over the batch before its activation.

    Raises:
        MdgenError: for a width below 1 or an activation that is not known.
    """
    if activation not in ACTIVATIONS:
        raise MdgenError(f"activation {activation!r} is not known; choose one of {', '.join(sorted(ACTIVATIONS))}")
    if min([n_inputs, n_outputs, *hidden]) < 1:
        raise MdgenError(f"layer widths {[n_inputs, *hidden, n_outputs]} must all be at least 1")
    layers: list[nn.Module] = []
    for before, after in pairwise([n_inputs, *hidden]):
        normalised = [nn.BatchNorm1d(after)] if batch_norm else []
        layers += [nn.Linear(before, after), *normalised, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear([n_inputs, *hidden][-1], n_outputs))


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all linear layers, uniform within 1 / sqrt(inputs)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
