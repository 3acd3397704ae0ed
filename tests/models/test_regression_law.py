"""A propagator's mean step decays as the data say, and what does not is measured."""

import inspect
import math

import pytest
import torch

from mdgen.interfaces import LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.propagators.mdn import MDN
from mdgen.models.propagators.regression_law import RegressionLaw, measured_law
from mdgen.training.pair_batches import pairs_of

DECAY = torch.tensor([0.9, 0.5])


def autoregression(n_frames: int = 20_000) -> PairBatch:
    """Independent channels of means 1 and -2, spreads 1 and 3, and known regression on the frame before."""
    generator = torch.Generator().manual_seed(0)
    kicks = torch.randn(n_frames, 2, generator=generator) * (1 - DECAY**2).sqrt()
    frames = [torch.zeros(2)]
    for kick in kicks[1:]:
        frames.append(DECAY * frames[-1] + kick)
    return pairs_of([torch.stack(frames) * torch.tensor([1.0, 3.0]) + torch.tensor([1.0, -2.0])], 1)


def test_the_regression_is_that_of_the_process_and_is_not_violated_by_it() -> None:
    pairs, law = autoregression(), RegressionLaw(2)
    law.fit(pairs)
    torch.testing.assert_close(law.regression, DECAY.diag(), atol=0.03, rtol=0)
    latents = pairs.frames[:1000]
    exact = law.mean + (latents - law.mean) @ law.regression
    assert float(law.violation(latents, exact).abs().max()) < 1e-5


def test_a_rate_that_is_a_tenth_too_fast_is_a_violation_of_a_tenth() -> None:
    pairs, law = autoregression(), RegressionLaw(2)
    law.fit(pairs)
    latents = pairs.frames[pairs.now]
    faster = latents - (latents - law.expected(latents)) * torch.tensor([1.1, 1.0])
    violation = law.violation(latents, faster)
    assert float(violation[1, 0]) == pytest.approx(-0.1, abs=0.01)
    assert float(violation[:, 1].abs().max()) < 1e-3
    drifting = law.expected(latents) + torch.tensor([0.0, 0.3])
    assert float(law.violation(latents, drifting)[0, 1]) == pytest.approx(0.3 / 3 / 0.5, rel=0.05)


def test_weighted_distinct_pairs_have_the_regression_of_the_full_list() -> None:
    states = torch.randint(5, (500,), generator=torch.Generator().manual_seed(1))
    values = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    full = pairs_of([values[states]], 1)
    counts = torch.zeros(5, 5).index_put((states[:-1], states[1:]), torch.ones(499), accumulate=True)
    now, later = counts.nonzero().T
    laws = RegressionLaw(2), RegressionLaw(2)
    laws[0].fit(full)
    laws[1].fit(PairBatch(values, now, later, counts[now, later]))
    torch.testing.assert_close(laws[0].regression, laws[1].regression, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("equalising", [False, True])
def test_the_mean_of_a_mixture_is_that_of_its_samples(equalising: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    model = MDN(LatentSpace("slow_modes", 1, 2), 1.0, 6, [16], reject_outside=False, density_equalising=equalising)
    model.initialise(generator)
    model.fit_scale(autoregression(2000).frames, generator)
    with torch.no_grad():
        model.shape_head.bias[2 * 6 : 4 * 6] = math.log(math.expm1(0.05))  # widths as after a training
        now = torch.tensor([[[2.0, -1.0]]])
        samples = model.step(now.repeat(200_000, 1, 1), generator)[:, 0]
        error = samples.std(0) / math.sqrt(len(samples))
        assert ((model.mean(now)[0, 0] - samples.mean(0)).abs() < 5 * error + 0.01).all()


def test_the_loss_makes_jumps_between_wells_as_often_as_the_data() -> None:
    """Wells far apart, joined once in some hundred steps: the likelihood alone hardly notices how often."""
    generator = torch.Generator().manual_seed(0)
    states, rare = [], False
    for draw in torch.rand(20_000, generator=generator).tolist():
        rare = draw >= 0.02 if rare else draw < 0.005
        states.append(rare)
    noise = torch.randn(len(states), generator=generator)
    latents = torch.where(torch.tensor(states), 6.5 + 0.2 * noise, -0.15 + 0.03 * noise)[:, None]
    pairs, errors = pairs_of([latents], 1), []
    for weight in (0.0, 1.0):
        random = torch.Generator().manual_seed(1)
        model = MDN(LatentSpace("slow_modes", 1, 1), 1.0, 8, [16, 16], law_weight=weight)
        model.prepare(TrainingData(pairs), random)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            rows = torch.randint(len(pairs.now), (1000,), generator=random)
            optimizer.zero_grad()
            model.loss(PairBatch(pairs.frames, pairs.now[rows], pairs.later[rows]), random).total.backward()
            optimizer.step()
        with torch.no_grad():
            violation = model.law.violation(latents, model.mean(latents[:, None])[:, 0])
        errors.append(abs(float(violation[1, 0])))
    assert errors[1] < 0.1
    assert errors[1] < errors[0] / 3


class TooFast:
    """Steps of the process, but for its first channel, which decays by a tenth too much, and a drift of the second."""

    latent = LatentSpace("slow_modes", 1, 2)
    frame_spacing_ps = (2.0, 2.0)

    def step(self, now: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        centre = torch.tensor([1.0, -2.0])
        decay = DECAY - torch.tensor([0.1 * (1 - 0.9), 0.0])
        noise = torch.randn(now.shape, generator=generator) * torch.tensor([0.4, 2.6])
        return centre + decay * (now - centre) + noise + torch.tensor([0.0, 0.3])


def test_what_a_propagator_violates_is_measured_over_its_latent() -> None:
    figures = inspect.unwrap(measured_law)(TooFast(), autoregression(), torch.Generator().manual_seed(0))
    exact = -2.0 / DECAY.log()
    assert figures["timescales_ps"][0] == pytest.approx(float(exact[0]), rel=0.1)
    assert figures["model_timescales_ps"][0] == pytest.approx(-2.0 / math.log(0.89), rel=0.07)
    assert figures["model_timescales_ps"][1] == pytest.approx(float(exact[1]), rel=0.07)
    assert figures["drift"][1] == pytest.approx(0.3 / 3 / 0.5, abs=0.05)
    first = torch.tensor(figures["along"][0])
    assert (first[:, 0].diff() > 0).all()
    middle = first[:, 0] - first[:, 0].mean()
    model, data = (middle @ first[:, 1:] / (middle @ middle)).tolist()
    fitted = math.exp(-2.0 / figures["timescales_ps"][0])
    assert model == pytest.approx((0.89 - fitted) / (1 - fitted), abs=0.08)
    assert abs(data) < 0.1
