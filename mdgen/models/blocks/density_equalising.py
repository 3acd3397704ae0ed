"""A monotone change of each coordinate that gives every populated region room in proportion to what it holds.

Slow modes put a rare state far away and the rest into a narrow peak: on a linear scale the peak is too narrow for a
network to resolve. Here the scale's local step follows the square root of the density, a compromise between a linear
scale, which follows nothing, and quantiles, which would close the gaps between states.
"""

from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

BINS = 2048
SMOOTHING = 4.0
"""Width in bins of the Gaussian that smooths the density."""
FLOOR = 0.5
"""Least local step, relative to the mean."""
GUIDE_CELLS = 8192
"""Cells of the table that finds a bin at once: narrower than the least step, `FLOOR / (1 + FLOOR) / BINS`."""


class DensityEqualising(nn.Module):
    """From a coordinate within [0, 1] to another within [0, 1] and back, piecewise linear over equal bins.

    Before `fit` it changes nothing. Beyond [0, 1] its slope is one. Each of `channels` coordinates has its own scale.
    """

    knots: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("knots", torch.linspace(0, 1, BINS + 1, dtype=torch.float64).repeat(channels, 1))

    @torch.no_grad()
    def fit(self, values: Float[Tensor, "frame channel"]) -> None:
        """Take the scale from data within [0, 1]."""
        reach = int(4 * SMOOTHING)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SMOOTHING).square()).double()
        for channel, column in enumerate(values.T):
            places = (column.double() * BINS).long().clamp(0, BINS - 1)
            counts = torch.bincount(places, minlength=BINS).double()
            density = nn.functional.conv1d(counts[None, None], kernel[None, None], padding=reach)[0, 0]
            step = density.clamp_min(0).sqrt()
            step = step + FLOOR * step.mean()
            self.knots[channel, 1:] = step.cumsum(0) / step.sum()

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """To the equalised coordinate."""
        bin_, low, slope = self._piece(values)
        return (low + slope * (values.double() - bin_ / BINS)).to(values.dtype)

    def log_slope(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Log of the local step, for densities."""
        return self._piece(values)[2].log().to(values.dtype)

    def inverse(self, equalised: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Back from the equalised coordinate; on a processor compiled, unless `equalised` requires a gradient."""
        if equalised.device.type == "cpu" and not (torch.is_grad_enabled() and equalised.requires_grad):
            flat = equalised.detach().double().reshape(-1, len(self.knots)).contiguous()
            return torch.from_numpy(_inverse(self.knots.numpy(), flat.numpy())).view_as(equalised).to(equalised.dtype)
        wanted = equalised.double().movedim(-1, 0).contiguous()
        flat = wanted.reshape(len(self.knots), -1)
        places = (torch.searchsorted(self.knots, flat, right=True) - 1).clamp(0, BINS - 1)
        low, high = self.knots.gather(1, places), self.knots.gather(1, places + 1)
        inside = (places + (flat - low) / (high - low)) / BINS
        values = torch.where((flat < 0) | (flat > 1), flat, inside)
        return values.reshape(wanted.shape).movedim(0, -1).to(equalised.dtype)

    def _piece(self, values: Float[Tensor, "*batch channel"]) -> tuple[Tensor, Tensor, Tensor]:
        """The bin of each value, and height and slope of the scale there; the identity outside of [0, 1]."""
        exact = values.double()
        bin_ = (exact * BINS).floor().clamp(0, BINS - 1)
        places = bin_.long().movedim(-1, 0).reshape(len(self.knots), -1)
        low, high = self.knots.gather(1, places), self.knots.gather(1, places + 1)
        shape = values.movedim(-1, 0).shape
        low, high = (part.reshape(shape).movedim(0, -1) for part in (low, high))
        outside = (exact < 0) | (exact > 1)
        slope = torch.where(outside, torch.ones_like(low), (high - low) * BINS)
        return bin_, torch.where(outside, bin_ / BINS, low), slope


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _inverse(knots, values):
    # What `inverse` does in a dozen passes over memory, in one.
    found = np.empty_like(values)
    guide = np.empty(GUIDE_CELLS, np.int64)
    for channel in range(values.shape[1]):
        column = knots[channel]
        place = 0
        for cell in range(GUIDE_CELLS):
            while place < BINS - 1 and column[place + 1] * GUIDE_CELLS <= cell:
                place += 1
            guide[cell] = place
        for i in range(values.shape[0]):
            value = values[i, channel]
            if not 0.0 <= value <= 1.0:
                found[i, channel] = value
                continue
            place = guide[min(int(value * GUIDE_CELLS), GUIDE_CELLS - 1)]
            place = min(place + (value >= column[place + 1]), BINS - 1)
            found[i, channel] = (place + (value - column[place]) / (column[place + 1] - column[place])) / BINS
    return found
