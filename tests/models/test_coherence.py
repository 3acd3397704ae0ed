"""Frames remember what the latent does not hold, and stay distributed as if they did not."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.coherence import Coherence, _Ranks
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.decoders.neighbours import Neighbours
from tests.models.structures import alanine_dipeptide

LAG_PS = 2.0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def autoregression(correlation, shape, seed):
    """Gaussian numbers of variance one, each frame correlated with the one before it; frames along the second axis."""
    noise = torch.randn(*shape, generator=seeded(seed))
    for frame in range(1, shape[1]):
        noise[:, frame] = correlation * noise[:, frame - 1] + (1 - correlation**2) ** 0.5 * noise[:, frame]
    return noise


def correlation(values, lag):
    now, later = values[:, :-lag].flatten(), values[:, lag:].flatten()
    return float(torch.corrcoef(torch.stack([now, later]))[0, 1])


class World:
    """A slow latent, a hidden coordinate beside it that keeps 0.8 a frame, and one that keeps nothing."""

    def __init__(self, skewed=False, **options):
        latent, hidden = autoregression(0.98, (40, 500), 0), autoregression(0.8, (40, 500), 1)
        self.hidden = (hidden.exp() if skewed else hidden).flatten()
        noise = torch.randn(20_000, generator=seeded(2))
        self.latents = latent.flatten()[:, None]
        features = torch.stack([self.latents[:, 0] + self.hidden, self.hidden - noise, noise + self.latents[:, 0]], 1)
        spacing = torch.full((20_000,), LAG_PS)
        runs = torch.arange(40).repeat_interleave(500)
        frames = FrameBatch(features, self.latents, trajectories=runs, context=Context(frame_spacing_ps=spacing))
        self.chosen = torch.arange(0, 20_000, 2)
        self.neighbours = Neighbours(10_000, 1)
        self.neighbours.latents.copy_(self.latents[self.chosen])
        settings = {"lag_ps": LAG_PS, "n_modes": 3, "n_neighbours": 64} | options
        self.coherence = Coherence.fitted(features, frames, self.chosen, **settings)

    def follow(self, latents, spacing_ps=LAG_PS, before=None, seed=3):
        rows = self.coherence.choose(latents, before, spacing_ps, self.neighbours, seeded(seed))
        return self.hidden[self.chosen][rows], rows


@pytest.mark.parametrize("skewed", [False, True])
def test_what_the_latent_leaves_is_remembered_as_long_as_in_the_data(skewed):
    world = World(skewed)
    assert world.coherence.modes.shape[1] == 1  # what keeps nothing is no coordinate
    hidden, _ = world.follow(autoregression(0.98, (50, 400), 5)[..., None])
    data = world.hidden.view(40, 500)
    for lag in (1, 2, 4):
        assert correlation(hidden, lag) == pytest.approx(correlation(data, lag), abs=0.1 if skewed else 0.05)


def test_correlations_belong_to_a_time_not_to_a_frame():
    hidden, _ = World().follow(autoregression(0.98, (50, 400), 5)[..., None], LAG_PS / 2)
    assert correlation(hidden, 1) == pytest.approx(0.8**0.5, abs=0.04)
    assert correlation(hidden, 2) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("place", [0.0, 1.5])
def test_structures_of_a_latent_are_distributed_as_without_memory(place):
    world = World(skewed=True, n_neighbours=32)
    hidden, rows = world.follow(torch.full((200, 250, 1), place))
    near, weights = world.neighbours.candidates(torch.tensor([[place]]), 32)
    share = torch.bincount(rows[:, 20:].flatten(), minlength=10_000)[near[0]] / rows[:, 20:].numel()
    assert int((rows[:, 1:] == rows[:, :-1]).sum()) == 0
    wanted = weights[0] / weights[0].sum()
    assert float((share - wanted).abs().sum() / 2) < 0.02  # total variation; without the balance it is 0.055 and 0.072
    values = world.hidden[world.chosen][near[0]]
    assert float(hidden[:, 20:].log().mean()) == pytest.approx(float((wanted * values.log()).sum()), abs=0.1)
    assert float(hidden[:, 20:].log().std()) == pytest.approx(
        float((wanted * (values.log() - (wanted * values.log()).sum()).square()).sum().sqrt()), abs=0.1
    )


def test_many_coordinates_leave_the_distribution_alone_too():
    """Three latents, eight coordinates: 32 candidates are too few to remember well, but are drawn as they should."""
    generator = seeded()
    library = Coherence(5000, 8, 32)
    library.modes.copy_(torch.randn(5000, 8, generator=generator))
    library.correlations.fill_(0.7)
    neighbours = Neighbours(5000, 3)
    neighbours.latents.copy_(torch.randn(5000, 3, generator=generator))
    place = torch.randn(3, generator=generator) / 2
    rows = library.choose(place.expand(300, 150, 3), None, 1.0, neighbours, generator)[:, 20:]
    near, weights = neighbours.candidates(place[None], 32)
    share = torch.bincount(rows.flatten(), minlength=5000)[near[0]] / rows.numel()
    assert float((share - weights[0] / weights[0].sum()).abs().sum() / 2) < 0.05
    modes = library.modes[rows]
    assert 0.15 < correlation((modes - modes.mean((0, 1))).transpose(1, 2).flatten(0, 1), 1) < 0.7


def test_trajectories_of_several_spacings_are_refused():
    decoder = NearestFrame(LatentSpace("slow_modes", 1, 1), alanine_dipeptide(), 10, coherent_modes=1)
    context = Context(frame_spacing_ps=torch.tensor([1.0, 2.0]))
    with pytest.raises(MdgenError, match="different frame spacings"):
        decoder.choose(torch.zeros(2, 3, 1, 1), context, seeded())


def test_an_encoder_without_features_is_refused():
    decoder = NearestFrame(LatentSpace("slow_modes", 1, 1), alanine_dipeptide(), 10, coherent_modes=1)
    with pytest.raises(MdgenError, match="an encoder with features of structures, which NoneType has not"):
        decoder.fit(TrainingData(FrameBatch(torch.zeros(10, 22, 3), torch.zeros(10, 1))), seeded())
    with pytest.raises(MdgenError, match="coherent_modes is -1"):
        NearestFrame(LatentSpace("slow_modes", 1, 1), alanine_dipeptide(), 10, coherent_modes=-1)
    with pytest.raises(MdgenError, match="fewer than 3"):
        NearestFrame(LatentSpace("slow_modes", 1, 1), alanine_dipeptide(), 10, coherent_neighbours=2)


def test_a_trajectory_goes_on_from_the_frame_before():
    world = World()
    latents = torch.zeros(2000, 1, 1)
    near, _ = world.neighbours.candidates(torch.zeros(1, 1), 64)
    high = near[0][world.hidden[world.chosen][near[0]].argsort()[57]]
    hidden, _ = world.follow(latents, before=high.expand(2000))
    start = float(world.hidden[world.chosen][high])
    assert float(hidden.mean()) == pytest.approx(0.8 * start, abs=0.2)
    assert abs(float(world.follow(latents)[0].mean())) < 0.25


def test_scores_are_normal_at_every_latent_and_keep_the_order():
    latents = torch.randn(20_000, 1, generator=seeded())
    noise = torch.rand(20_000, 1, generator=seeded(1)).pow(5)
    scores = _Ranks(latents).scores(noise + 3 * (latents > 0))  # another well on the other side
    for side in (latents > 0.3, latents < -0.3):
        assert float(scores[side].mean()) == pytest.approx(0, abs=0.03)
        assert float(scores[side].std()) == pytest.approx(1, abs=0.03)
        assert (
            correlation(torch.stack([scores[side].argsort().argsort(), noise[side].argsort().argsort()], 1).double(), 1)
            > 0.99
        )


def test_features_that_the_latent_holds_leave_nothing_to_remember():
    latents = autoregression(0.9, (4, 100), 0).flatten()[:, None]
    times = Context(frame_spacing_ps=torch.ones(400))
    frames = FrameBatch(3 * latents, latents, trajectories=torch.arange(4).repeat_interleave(100), context=times)
    assert Coherence.fitted(3 * latents, frames, torch.arange(400), 1.0, 3, 32).modes.shape == (400, 0)


def test_frames_without_an_order_are_refused():
    frames = FrameBatch(torch.zeros(10, 3), torch.zeros(10, 1))
    with pytest.raises(MdgenError, match="frames in the order of time"):
        Coherence.fitted(frames.frames, frames, torch.arange(10), 1.0, 3, 5)
    ordered = FrameBatch(
        torch.zeros(10, 3),
        torch.zeros(10, 1),
        trajectories=torch.zeros(10, dtype=torch.int64),
        context=Context(frame_spacing_ps=torch.ones(10)),
    )
    with pytest.raises(MdgenError, match="no trajectory is as long as the lag of 20 ps"):
        Coherence.fitted(ordered.frames, ordered, torch.arange(10), 20.0, 3, 5)
