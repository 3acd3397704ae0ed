"""Costs of the network of velocities: evaluations, training steps, and the two mixers along time."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mdgen.benchmarks.tokens.matrix_peak import MatrixPeak, n_parameters, operations_of
from mdgen.models.blocks.rotary import turns
from mdgen.models.blocks.se3_tokens import CHANNELS
from mdgen.models.blocks.time_mixer import OscillatorMixer
from mdgen.models.blocks.trajectory_blocks import Places, TrajectoryBlock
from mdgen.models.interpolant.flow_matching import velocity_loss
from mdgen.models.interpolant.paths import Linear
from mdgen.models.interpolant.velocity_network import TIME_MIXERS, TokenContext, VelocityNetwork

SIZES: Mapping[str, dict[str, Any]] = {
    "small": {"width": 64, "heads": 4, "blocks": 3, "key_frame_blocks": 1},
    "base": {"width": 96, "heads": 4, "blocks": 4, "key_frame_blocks": 1},
    "large": {"width": 384, "heads": 16, "blocks": 5, "key_frame_blocks": 5},
}
"""Networks of half a million, 1.3 million and 34 million weights: conf/propagator/interpolant*.yaml."""

Shape = tuple[int, int, int]
"""Trajectories, frames, tokens."""

_MIXER_WIDTH, _MIXER_HEADS = 64, 4


def evaluation_row(
    size: str, shape: Shape, number_format: torch.dtype, peak: MatrixPeak, seconds: float, seed: int
) -> dict[str, Any]:
    """One evaluation of the velocity; what does not change along the flow is computed before."""
    network, told, values, known = _example(size, shape, peak.device, seed)
    times = torch.full((shape[0],), 0.5, device=peak.device)
    zeros = torch.zeros_like(times)
    with torch.inference_mode(), in_format(peak.device, number_format):
        conditioning = network.condition(values, known, zeros, zeros, told)
        work = functools.partial(network, values, times, conditioning)
        timing = peak.time(work, seconds)
    row = timing.row(operations_of(lambda: network(values, times, conditioning)))
    return _facts("evaluation", size, network, shape, number_format) | row | _token_rate(shape, row)


def training_row(
    size: str, shape: Shape, number_format: torch.dtype, peak: MatrixPeak, seconds: float, seed: int
) -> dict[str, Any]:
    """One optimiser step on the loss of velocities; its operations are taken as three times those of the forward."""
    network, told, values, known = _example(size, shape, peak.device, seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    noise, zeros = torch.randn_like(values), torch.zeros(shape[0], device=peak.device)
    times = torch.linspace(0.1, 0.9, shape[0], device=peak.device)

    def loss() -> Tensor:
        conditioning = network.condition(values, known, zeros, zeros, told)
        velocity = functools.partial(network, conditioning=conditioning)
        return velocity_loss(velocity, Linear(), values, ~known, noise, times, torch.zeros_like(values))

    def step() -> None:
        optimiser.zero_grad()
        with in_format(peak.device, number_format):
            total = loss()
        total.backward()
        optimiser.step()

    row = peak.time(step, seconds).row(3 * operations_of(loss))
    return _facts("training", size, network, shape, number_format) | row | _token_rate(shape, row)


def mixer_rows(frames: Sequence[int], peak: MatrixPeak, seconds: float, seed: int) -> list[dict[str, Any]]:
    """One block over one token and ever more frames, with each of the mixers along time."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for mixer in TIME_MIXERS:
        block = TrajectoryBlock(_MIXER_WIDTH, _MIXER_HEADS, 4, across_tokens=False, time_mixer=mixer)
        for module in block.modules():
            if isinstance(module, OscillatorMixer):
                module.draw(generator)
        block.to(peak.device)
        for n_frames in frames:
            work = _block_work(block, n_frames, peak.device, generator)
            with torch.inference_mode():
                row = peak.time(work, seconds).row()
            rows.append({"kind": "mixer", "mixer": mixer, "frames": n_frames, "width": _MIXER_WIDTH} | row)
    return rows


def in_format(device: torch.device, number_format: torch.dtype) -> AbstractContextManager[Any]:
    """The number format in which matrices are multiplied."""
    if number_format == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, number_format)


def _block_work(
    block: TrajectoryBlock, n_frames: int, device: torch.device, generator: torch.Generator
) -> Callable[[], Tensor]:
    x = torch.randn(1, 1, n_frames, _MIXER_WIDTH, generator=generator).to(device)
    embedding = torch.randn(1, _MIXER_WIDTH, generator=generator).to(device)
    places = Places(*(turns(n, _MIXER_WIDTH // _MIXER_HEADS, device) for n in (1, n_frames)))
    return functools.partial(block, x, embedding, places)


def _example(
    size: str, shape: Shape, device: torch.device, seed: int
) -> tuple[VelocityNetwork, TokenContext, Tensor, Tensor]:
    """A network with drawn weights, and something to evaluate it on; trained weights cost the same."""
    batch, frames, tokens = shape
    generator = torch.Generator().manual_seed(seed)
    network = VelocityNetwork(CHANNELS, 0, **SIZES[size])
    network.draw(generator)
    told = TokenContext(
        torch.ones(batch, tokens, dtype=torch.long, device=device),
        torch.ones(batch, tokens, dtype=torch.bool, device=device),
        torch.ones(batch, tokens, CHANNELS, dtype=torch.bool, device=device),
        torch.eye(3, device=device).expand(batch, tokens, 3, 3),
        torch.randn(batch, tokens, 3, generator=generator).to(device),
    )
    values = torch.randn(batch, frames, tokens, CHANNELS, generator=generator).to(device)
    known = torch.zeros_like(values, dtype=torch.bool)
    known[:, 0] = True
    return network.to(device), told, values, known


def _facts(kind: str, size: str, network: VelocityNetwork, shape: Shape, number_format: torch.dtype) -> dict[str, Any]:
    batch, frames, tokens = shape
    return {
        "kind": kind,
        "network": size,
        "parameters": n_parameters(network),
        "batch": batch,
        "frames": frames,
        "tokens": tokens,
        "number_format": str(number_format).removeprefix("torch."),
    }


def _token_rate(shape: Shape, row: dict[str, Any]) -> dict[str, float]:
    batch, frames, tokens = shape
    return {"tokens_per_s": batch * frames * tokens / row["seconds"]}
