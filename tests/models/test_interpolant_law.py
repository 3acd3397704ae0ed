"""A propagator of windows learns a law with a known answer: two independent Ornstein-Uhlenbeck processes."""

import functools

import numpy as np
import pytest
import torch

from mdgen.data.conditions import both_ends, every_kth, first_frame
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.training.settings import settings_for
from mdgen.training.train import train
from tests.data.conftest import argon
from tests.models.parts import seeded

DECAY = np.array([0.9, 0.6])
"""Autocorrelation of each channel after one ps."""
MEAN, SPREAD = np.array([1.0, -2.0]), np.array([0.5, 2.0])
WINDOW, N = 8, 4000
STILL = functools.partial(torch.optim.SGD, lr=1e-12)
"""An optimiser that leaves the weights as they are."""


class FirstAtom:
    """Encoder into x and y of the first atom."""

    latent = LatentSpace("toy", 1, 2)

    def encode(self, positions, context):
        return positions[..., :1, :2]


def stationary(n, seed):
    """Stretches of the processes, standardised: (n, frame, channel)."""
    noise = np.random.default_rng(seed).normal(size=(600, n, 2))
    x = noise.copy()
    for frame in range(1, len(x)):
        x[frame] = DECAY * x[frame - 1] + np.sqrt(1 - DECAY**2) * noise[frame]
    return x.transpose(1, 0, 2)


def processes():
    """Trajectories of two atoms, of which the first does two Ornstein-Uhlenbeck processes."""
    positions = np.zeros((8, 600, 2, 3), dtype=np.float32)
    positions[:, :, 0, :2] = MEAN + SPREAD * stationary(8, 0)
    return TrajectorySet.from_arrays(argon(2), 1.0, list(positions))


@functools.cache
def learnt():
    part = InterpolantPropagator(FirstAtom.latent, [1.0, 2.0], WINDOW, width=32, heads=2, blocks=2, shorter_share=0.0)
    adam = functools.partial(torch.optim.AdamW, lr=2e-3)
    settings = settings_for(
        part, optimizer=adam, batch_size=256, max_epochs=7, validation_share=0.0, average_decay=0.98
    )
    train(part, processes(), settings, FirstAtom())
    return part


def untrained():
    """A propagator whose network adds nothing, since its weights are as they are drawn."""
    part = InterpolantPropagator(FirstAtom.latent, [1.0, 2.0], WINDOW, width=32, heads=2, blocks=2)
    settings = settings_for(part, batch_size=256, max_epochs=1, validation_share=0.0, optimizer=STILL)
    train(part, processes(), settings, FirstAtom())
    return part


def sampled(part, spacing_ps, seed=0):
    """Forward simulations from stationary starts, standardised."""
    start = torch.tensor(MEAN + SPREAD * np.random.default_rng(seed).normal(size=(N, 2)), dtype=torch.float32)
    context = Context(frame_spacing_ps=torch.full((N,), spacing_ps))
    made = part.sample(first_frame(start[:, None], WINDOW), context, seeded(seed))[:, :, 0]
    assert torch.equal(made[:, 0], start)
    return ((made - torch.tensor(MEAN)) / torch.tensor(SPREAD)).numpy()


@pytest.mark.parametrize("spacing_ps", [1.0, 2.0])
def test_means_variances_and_correlations_are_those_of_the_process(spacing_ps):
    made = sampled(learnt(), spacing_ps)
    assert np.abs(made[:, -1].mean(0)).max() < 0.12
    np.testing.assert_allclose(made[:, 1:].std((0, 1)), 1.0, atol=0.12)
    for lag in (1, 2, 4):
        correlation = (made[:, :-lag] * made[:, lag:]).mean((0, 1))
        np.testing.assert_allclose(correlation, DECAY ** (lag * spacing_ps), atol=0.1)
    assert learnt().evaluations == 10


def test_an_untrained_network_makes_the_gaussian_process_of_the_data():
    made = sampled(untrained(), 1.0)
    np.testing.assert_allclose(made[:, 1:].std((0, 1)), 1.0, atol=0.05)
    for lag in (1, 2, 4):
        np.testing.assert_allclose((made[:, :-lag] * made[:, lag:]).mean((0, 1)), DECAY**lag, atol=0.05)


@pytest.mark.parametrize("part", [learnt, untrained])
def test_paths_between_two_ends_are_bridges(part):
    part = part()
    first, last = torch.tensor([[[1.5, -2.0]]]).expand(N, 1, 2), torch.tensor([[[0.5, 2.0]]]).expand(N, 1, 2)
    made = part.sample(both_ends(first, last, 5), Context(frame_spacing_ps=torch.ones(N)), seeded())[:, :, 0]
    assert torch.equal(made[:, 0], first[:, 0])
    assert torch.equal(made[:, -1], last[:, 0])
    ends = (torch.stack([first[0, 0], last[0, 0]]).numpy() - MEAN) / SPREAD
    middle = ((made[:, 2].numpy() - MEAN) / SPREAD).mean(0)
    # Mean of the middle, given both ends: b (x0 + x4) / (1 + b^2) with the correlation b over two frames.
    near = DECAY**2
    np.testing.assert_allclose(middle, near * ends.sum(0) / (1 + near**2), atol=0.15)


def test_known_frames_are_met_exactly_wherever_they_are():
    part = learnt()
    coarse = torch.tensor(stationary(3, 2)[:, :3, None], dtype=torch.float32)
    condition = every_kth(coarse, 3)
    made = part.sample(condition, Context(frame_spacing_ps=torch.ones(3)), seeded())
    assert torch.equal(made[condition.known], condition.values[condition.known])
    assert torch.isfinite(made).all()


def test_what_it_was_not_trained_for_is_refused():
    part, start = learnt(), torch.zeros(2, 1, 2)
    for spacing_ps in (0.5, 3.0):
        with pytest.raises(MdgenError, match=f"frames {spacing_ps:g} ps apart were given"):
            part.sample(first_frame(start, 3), Context(frame_spacing_ps=torch.full((2,), spacing_ps)), seeded())
    with pytest.raises(MdgenError, match="say how far apart"):
        part.sample(first_frame(start, 3), Context(), seeded())
    trained_K = part.temperature_range_K.clone()
    part.temperature_range_K.copy_(torch.tensor([300.0, 350.0]))
    try:
        for kelvin, sentence in ((None, "given none"), (400.0, "given 400 to 400 K")):
            given = None if kelvin is None else torch.full((2,), kelvin)
            with pytest.raises(MdgenError, match=sentence):
                part.sample(
                    first_frame(start, 3), Context(temperature_K=given, frame_spacing_ps=torch.ones(2)), seeded()
                )
    finally:
        part.temperature_range_K.copy_(trained_K)
    for changed, sentence in (
        ({"window": 1}, "leaves nothing"),
        ({"path": "spiral"}, "path=spiral"),
        ({"tasks": ["fold"]}, "'fold' is not known"),
        ({"frame_spacing_ps": [2.0, 1.0]}, "least and the largest"),
    ):
        with pytest.raises(MdgenError, match=sentence):
            InterpolantPropagator(
                **{"latent": FirstAtom.latent, "window": 4, "frame_spacing_ps": [1.0, 1.0], **changed}
            )
