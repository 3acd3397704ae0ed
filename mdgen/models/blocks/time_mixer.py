"""Mixing along time at a cost that grows as n log n: a bank of damped oscillators, applied by Fourier transforms.

A diagonal state-space layer that runs forward and backward (Gu et al., arXiv 2206.11893, 2022), with a gate. Its
filters are sums of exponentials, so they hold for any number of frames.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class OscillatorMixer(nn.Module):
    """A gated convolution along the last axis but one with filters as long as the trajectory.

    Args:
        width: channels.
        n_modes: oscillators of each channel and direction.
        longest: frames over which the slowest oscillators decay at the beginning of the training.
    """

    def __init__(self, width: int, n_modes: int = 16, longest: int = 10_000) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 2 * width)
        self.outputs = nn.Linear(width, width)
        rates = torch.logspace(0.0, -math.log10(longest), n_modes).log()
        self.log_rate = nn.Parameter(rates.expand(2, width, n_modes).clone())
        self.frequency = nn.Parameter(self.log_rate.detach().exp() * math.pi * torch.linspace(0, 1, width)[:, None])
        self.amplitude = nn.Parameter(torch.zeros(2, width, n_modes, 2))
        self.skip = nn.Parameter(torch.ones(width))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Amplitudes such that filters have about unit norm; the linear layers are drawn with all others."""
        self.amplitude.normal_(generator=generator)
        norm = self.amplitude.shape[2] ** -0.5
        self.amplitude.mul_(norm * self.log_rate.exp().sqrt()[..., None])

    def filters(self, n_frames: int) -> Float[Tensor, "direction frame channel"]:
        """The response after each number of frames."""
        exponent = torch.complex(-self.log_rate.exp(), self.frequency)[..., None]
        # exp(a (i n + j)) = exp(a i n) exp(a j): two small tables and a product instead of an exponential a frame.
        block = math.isqrt(n_frames - 1) + 1
        frame = torch.arange(block, device=self.log_rate.device)
        coarse = torch.view_as_complex(self.amplitude)[..., None] * torch.exp(exponent * (block * frame))
        total = (coarse.transpose(-1, -2) @ torch.exp(exponent * frame)).real
        return total.flatten(2)[..., :n_frames].transpose(1, 2)

    def forward(self, x: Float[Tensor, "*batch frame channel"]) -> Float[Tensor, "*batch frame channel"]:
        """The channels of every frame, mixed with those of all others."""
        n_frames = x.shape[-2]
        signal, gate = self.inputs(x).chunk(2, -1)
        size = 2 * n_frames
        past, future = self.filters(n_frames)
        # Backward filters act on later frames: they stand at the end of the circle, without the present one.
        both = torch.cat([past, torch.zeros_like(past[:1]), future[1:].flip(0)])
        spectrum = torch.fft.rfft(signal.float(), n=size, dim=-2) * torch.fft.rfft(both, n=size, dim=0)
        mixed = torch.fft.irfft(spectrum, n=size, dim=-2)[..., :n_frames, :] + self.skip * signal
        return self.outputs((mixed * nn.functional.silu(gate)).type_as(x))
