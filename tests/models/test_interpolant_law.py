"""A propagator of windows learns jumps between wells, whose law is known; untrained it makes a Gaussian process."""

import functools

import numpy as np
import pytest
import torch

from mdgen.data.conditions import both_ends, every_kth, first_frame
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.training.settings import settings_for
from mdgen.training.train import train
from tests.data.conftest import argon
from tests.models.parts import seeded

DECAY = np.array([0.9, 0.6])
"""Autocorrelation of each channel after one ps."""
MEAN, SPREAD = np.array([1.0, -2.0]), np.array([0.5, 2.0])
WINDOW, N = 8, 4000


class FirstAtom:
    """Encoder into x and y of the first atom."""

    latent = LatentSpace("toy", 1, 2)

    def encode(self, positions, context):
        return positions[..., :1, :2]


WELL = 0.2
"""Spread within a well, of jumps between two of them."""


def ornstein_uhlenbeck(n_frames, n, seed):
    """Stretches of two standardised Gaussian processes: (n, frame, channel)."""
    noise = np.random.default_rng(seed).normal(size=(n_frames, n, 2))
    x = noise.copy()
    for frame in range(1, len(x)):
        x[frame] = DECAY * x[frame - 1] + np.sqrt(1 - DECAY**2) * noise[frame]
    return x.transpose(1, 0, 2)


def telegraph(n_frames, n, seed):
    """Stretches of two standardised processes that jump between wells at -1 and 1: (n, frame, channel)."""
    rng = np.random.default_rng(seed)
    flips = rng.random((n_frames, n, 2)) < np.where(np.arange(n_frames)[:, None, None], (1 - DECAY) / 2, 0.5)
    wells = (1 - 2 * (flips.cumsum(0) % 2)) + WELL * rng.normal(size=flips.shape)
    return wells.transpose(1, 0, 2) / np.hypot(1, WELL)


def trained(process, **settings):
    """A propagator of trajectories of two atoms, of which the first does the process."""
    positions = np.zeros((8, 600, 2, 3), dtype=np.float32)
    positions[:, :, 0, :2] = MEAN + SPREAD * process(600, 8, 0)
    data = TrajectorySet.from_arrays(argon(2), 1.0, list(positions))
    part = InterpolantPropagator(FirstAtom.latent, [1.0, 2.0], WINDOW, width=32, heads=2, blocks=2, shorter_share=0.0)
    settings = settings_for(part, batch_size=256, validation_share=0.0, average_decay=0.98, **settings)
    train(part, data, settings, FirstAtom())
    return part


@functools.cache
def learnt():
    """One that has learnt jumps."""
    return trained(telegraph, optimizer=functools.partial(torch.optim.AdamW, lr=2e-3), max_epochs=4)


@functools.cache
def untrained():
    """One of a Gaussian process, whose network adds nothing: its weights are as they were drawn."""
    return trained(ornstein_uhlenbeck, optimizer=functools.partial(torch.optim.SGD, lr=1e-12), max_epochs=1)


def sampled(part, process, spacing_ps, seed=1):
    """Forward simulations from stationary starts, standardised."""
    start = torch.tensor(MEAN + SPREAD * process(1, N, seed)[:, 0], dtype=torch.float32)
    context = Context(frame_spacing_ps=torch.full((N,), spacing_ps))
    made = part.sample(first_frame(start[:, None], WINDOW), context, seeded(seed))[:, :, 0]
    assert torch.equal(made[:, 0], start)
    return ((made - torch.tensor(MEAN)) / torch.tensor(SPREAD)).numpy()


@pytest.mark.parametrize("spacing_ps", [1.0, 2.0])
def test_jumps_between_wells_are_those_of_the_process(spacing_ps):
    made = sampled(learnt(), telegraph, spacing_ps)
    assert np.abs(made[:, -1].mean(0)).max() < 0.12
    np.testing.assert_allclose(made[:, 1:].std((0, 1)), 1.0, atol=0.12)
    for lag in (1, 2, 4):
        correlation = (made[:, :-lag] * made[:, lag:]).mean((0, 1))
        np.testing.assert_allclose(correlation, DECAY ** (lag * spacing_ps) / (1 + WELL**2), atol=0.1)
    # A Gaussian process would have 38 % of its frames between the wells.
    assert (np.abs(made[:, 1:]) < 0.5).mean() < 0.1
    assert learnt().evaluations == 10


@pytest.mark.parametrize("forward_window", [2, 3])
def test_frames_made_one_after_another_have_the_law_of_a_markov_process(forward_window, monkeypatch):
    monkeypatch.setattr(untrained(), "forward_window", forward_window)
    made = sampled(untrained(), ornstein_uhlenbeck, 1.0)
    assert untrained().evaluations == 10 * -(-(WINDOW - 1) // (forward_window - 1))
    np.testing.assert_allclose(made[:, 1:].std((0, 1)), 1.0, atol=0.05)
    for lag in (1, 2, 4):
        np.testing.assert_allclose((made[:, :-lag] * made[:, lag:]).mean((0, 1)), DECAY**lag, atol=0.06)


def test_what_is_known_ahead_is_not_stepped_over(monkeypatch):
    """Up to the last known frame all are made at once, as a bridge; those beyond it follow."""
    monkeypatch.setattr(untrained(), "forward_window", 2)
    values = torch.zeros(4, WINDOW, 1, 2)
    known = torch.zeros_like(values, dtype=torch.bool)
    known[:, [0, 4]] = True
    values[:, 4] = 3.0
    made = untrained().sample(Condition(values, known), Context(frame_spacing_ps=torch.ones(4)), seeded())
    assert torch.equal(made[known], values[known])
    assert untrained().evaluations == 10 * (1 + WINDOW - 5)
    with pytest.raises(MdgenError, match="forward_window=1: expected 2"):
        InterpolantPropagator(FirstAtom.latent, [1.0, 2.0], WINDOW, forward_window=1)


def test_an_untrained_network_makes_the_gaussian_process_of_the_data():
    made = sampled(untrained(), ornstein_uhlenbeck, 1.0)
    np.testing.assert_allclose(made[:, 1:].std((0, 1)), 1.0, atol=0.05)
    for lag in (1, 2, 4):
        np.testing.assert_allclose((made[:, :-lag] * made[:, lag:]).mean((0, 1)), DECAY**lag, atol=0.05)


def test_velocities_begin_with_those_of_the_gaussian_process(monkeypatch):
    monkeypatch.setattr(untrained(), "solver", "euler")
    monkeypatch.setattr(untrained(), "n_evaluations", 1)
    made = sampled(untrained(), ornstein_uhlenbeck, 1.0)
    # From noise alone the mean of the data is expected: one step goes there.
    np.testing.assert_allclose(made[:, 2], DECAY**2 * made[:, 0], atol=0.15)


@pytest.mark.parametrize("part", [learnt, untrained])
def test_paths_between_two_ends_are_bridges(part):
    ends = np.array([[1.0, 1.0], [1.0, -1.0]])
    first, last = torch.tensor(MEAN + SPREAD * ends, dtype=torch.float32)[:, None, None].expand(-1, N, -1, -1)
    made = part().sample(both_ends(first, last, 5), Context(frame_spacing_ps=torch.ones(N)), seeded())[:, :, 0]
    assert torch.equal(made[:, 0], first[:, 0])
    assert torch.equal(made[:, -1], last[:, 0])
    middle = ((made[:, 2].numpy() - MEAN) / SPREAD).mean(0)
    # Mean of the middle given both ends, of either process: b (x0 + x4) / (1 + b^2), b being two frames' correlation.
    near = DECAY**2
    np.testing.assert_allclose(middle, near * ends.sum(0) / (1 + near**2), atol=0.15)


def test_known_frames_are_met_exactly_wherever_they_are():
    part = learnt()
    coarse = torch.tensor(telegraph(600, 3, 2)[:, :3, None], dtype=torch.float32)
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
