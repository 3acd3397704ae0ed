"""A flow that has learnt a known step makes it, and says its density."""

import math

import pytest
import torch

from mdgen.data.conditions import first_frame
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.propagators import filter_fitting
from mdgen.models.propagators.latent_flow import LatentFlow
from mdgen.training.pair_batches import pairs_of
from tests.models.parts import EXIT, two_wells

DECAY, KICK = 0.8, 0.6


@pytest.fixture(scope="module")
def flow() -> LatentFlow:
    """Trained on two channels: an autoregression, and its square with noise."""
    generator = torch.Generator().manual_seed(0)
    frames = [torch.zeros(())]
    for kick in KICK * torch.randn(8000, generator=generator):
        frames.append(DECAY * frames[-1] + kick)
    first = torch.stack(frames)
    latents = torch.stack([first, first.square() + 0.3 * torch.randn(len(first), generator=generator)], 1)
    model = LatentFlow(LatentSpace("slow_modes", 1, 2), 1.0, [64, 64], reversible=False, density_equalising=False)
    pairs = pairs_of([latents], 1)
    model.prepare(TrainingData(pairs), generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        rows = torch.randint(len(pairs.now), (2000,), generator=generator)
        optimizer.zero_grad()
        model.loss(PairBatch(pairs.frames, pairs.now[rows], pairs.later[rows]), generator).total.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_it_makes_the_step_that_it_learnt(flow: LatentFlow) -> None:
    now = torch.tensor([[[1.0, 1.0]]]).repeat(10_000, 1, 1)
    later = flow.step(now, torch.Generator().manual_seed(1))[:, 0]
    assert float(later[:, 0].mean()) == pytest.approx(DECAY, abs=0.06)
    assert float(later[:, 0].std()) == pytest.approx(KICK, abs=0.06)
    residual = later[:, 1] - later[:, 0].square()
    assert float(residual.mean()) == pytest.approx(0.0, abs=0.08)
    assert float(residual.std()) == pytest.approx(0.3, abs=0.12)


@torch.no_grad()
def test_its_density_is_that_of_its_samples_and_near_the_exact_one(flow: LatentFlow) -> None:
    flow.reject_outside = False
    now = torch.tensor([[[1.0, 1.0]]])
    grid = torch.cartesian_prod(torch.linspace(-3, 4, 120), torch.linspace(-4, 10, 160))
    density = flow.log_prob(grid[:, None], now.expand(len(grid), -1, -1)).exp().view(120, 160)
    cell = (7 / 119) * (14 / 159)
    assert float(density.sum() * cell) == pytest.approx(1.0, abs=0.02)
    marginal = density.sum(1) * (14 / 159)
    exact = torch.distributions.Normal(DECAY, KICK).log_prob(torch.linspace(-3, 4, 120)).exp()
    assert float((marginal - exact).abs().sum() * 7 / 119 / 2) < 0.08
    samples = flow.step(now.expand(20_000, -1, -1), torch.Generator().manual_seed(2))
    score = flow.log_prob(samples, now.expand(20_000, -1, -1))
    # The mean log-density of samples is minus the entropy, which the grid gives too.
    entropy = -(density * density.clamp_min(1e-30).log()).sum() * cell
    assert float(score.mean()) == pytest.approx(-float(entropy), abs=0.04)
    flow.reject_outside = True


def test_its_density_can_be_differentiated(flow: LatentFlow) -> None:
    now, later = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[0.5, 0.4]]], requires_grad=True)
    (slope,) = torch.autograd.grad(flow.log_prob(later, now).sum(), later)
    shifted = [flow.log_prob(later.detach() + torch.tensor([[[h, 0.0]]]), now) for h in (1e-2, -1e-2)]
    assert float(slope[0, 0, 0]) == pytest.approx(float((shifted[0] - shifted[1]).detach()) / 2e-2, abs=0.05)
    with torch.no_grad():
        assert torch.allclose(flow.log_prob(later, now), flow.log_prob(later, now))


def test_samples_stay_within_the_support(flow: LatentFlow) -> None:
    now = flow.starts[:100]
    run = torch.cat([flow.step(now, torch.Generator().manual_seed(seed)) for seed in range(10)])
    out = flow.support.leaves_support(flow.latent_scale(run[:, 0]))
    assert float(out.float().mean()) < 0.003  # rounding at the edge of a cell


def test_weighted_distinct_pairs_have_the_scale_and_loss_of_the_full_list() -> None:
    states = torch.randint(5, (400,), generator=torch.Generator().manual_seed(1))
    values = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    counts = torch.zeros(5, 5).index_put((states[:-1], states[1:]), torch.ones(399), accumulate=True)
    now, later = counts.nonzero().T
    models = [LatentFlow(LatentSpace("slow_modes", 1, 2), 1.0, [8], density_equalising=False) for _ in range(2)]
    for model, pairs in zip(
        models, (pairs_of([values[states]], 1), PairBatch(values, now, later, counts[now, later])), strict=True
    ):
        model.prepare(TrainingData(pairs), torch.Generator().manual_seed(3))
    assert torch.allclose(models[0].step_size, models[1].step_size, rtol=1e-4)
    assert torch.allclose(models[0].spread, models[1].spread, rtol=1e-4)


def test_mistakes_are_named() -> None:
    with pytest.raises(MdgenError, match="one token"):
        LatentFlow(LatentSpace("se3_tokens", 3, 21), 1.0)
    with pytest.raises(MdgenError, match="n_steps >= 1"):
        LatentFlow(LatentSpace("slow_modes", 1, 2), 1.0, n_steps=0)
    assert math.isclose(LatentFlow(LatentSpace("slow_modes", 1, 2), 3.0).frame_spacing_ps[0], 3.0)


def test_a_flow_hardly_trained_jumps_between_wells_as_often_as_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_fitting, "FILTER_FRAMES", 30)
    latents = two_wells(20_000)
    generator = torch.Generator().manual_seed(0)
    model = LatentFlow(LatentSpace("slow_modes", 1, 1), 1.0, [32])
    data = TrainingData(pairs_of([latents], 1))
    model.prepare(data, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        rows = torch.randint(len(data.every.now), (500,), generator=generator)
        optimizer.zero_grad()
        some = PairBatch(data.every.frames, data.every.now[rows], data.every.later[rows])
        model.loss(some, generator).total.backward()
        optimizer.step()
    start = latents[torch.randint(len(latents), (1000,), generator=generator)][:, None]

    def exits() -> float:
        made = model.sample(first_frame(start, 40), Context(), torch.Generator().manual_seed(3))
        rare = made[:, :, 0, 0] > 3
        return float((rare[:, :-1] & ~rare[:, 1:]).sum() / rare[:, :-1].sum())

    before = exits()
    model.finish(data, generator)
    assert abs(math.log(before / EXIT)) > 0.3
    assert exits() == pytest.approx(EXIT, rel=0.3)
