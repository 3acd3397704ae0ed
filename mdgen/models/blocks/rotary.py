"""Rotary positions: queries and keys turned by angles that grow with their place, so that scores see distances alone.

Source: Su et al., arXiv 2104.09864 (2021).
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Turns = Complex[Tensor, "place pair"]


def turns(n_places: int, head_width: int, device: torch.device, base: float = 10_000.0) -> Turns:
    """Unit complex numbers by which the pairs of channels of a head are turned at each place."""
    frequencies = base ** -(torch.arange(0, head_width, 2, device=device) / head_width)
    angles = torch.outer(torch.arange(n_places, device=device), frequencies)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(values: Float[Tensor, "... channel"], turn: Complex[Tensor, "... pair"]) -> Float[Tensor, "... channel"]:
    """Neighbouring channels as complex numbers, turned; `turn` broadcasts over what lies between its axes."""
    # A complex product is one pass over memory; with halves of sines and cosines it is ten times slower on processors.
    pairs = torch.view_as_complex(values.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(values)
