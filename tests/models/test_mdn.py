import math

import numpy as np
import pytest
import torch

from mdgen.data.conditions import first_frame
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.propagators import mdn
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN


def latent(channels=2):
    return LatentSpace("slow_modes", 1, channels)


def made(channels=2, reject_outside=False, density_equalising=False, n_components=5, hidden=(20, 16)):
    """An MDN with random weights whose hidden layers matter, scaled to normal data."""
    torch.manual_seed(0)
    settings = {"reject_outside": reject_outside, "density_equalising": density_equalising}
    model = MDN(latent(channels), 10.0, n_components, hidden, **settings)
    generator = torch.Generator().manual_seed(1)
    model.fit_scale(torch.randn(2000, channels, generator=generator), generator)
    with torch.no_grad():
        model.shape_head.weight.mul_(3)
        model.weight_head.weight.mul_(5)
    return model


def pairs_of(frames):
    return PairBatch(frames, torch.arange(len(frames) - 1), torch.arange(1, len(frames)))


def test_density_integrates_to_one():
    model = made()
    grid = torch.linspace(-12, 12, 400)
    points = torch.cartesian_prod(grid, grid)[:, None]
    now = torch.tensor([[0.3, -1.0]]).expand(len(points), 1, 2)
    total = model.log_prob(points, now).exp().sum() * (grid[1] - grid[0]) ** 2
    assert float(total.detach()) == pytest.approx(1.0, abs=1e-3)


# Layers that fill no lane and no tile, one component, and more channels than there are cells or wells for.
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("channels", "n_components", "hidden"), [
    (1, 5, [20, 16]), (2, 5, [20, 16]), (3, 48, [33, 33, 33]), (5, 1, [7]), (7, 6, [20, 16]),
])  # fmt: skip
def test_compiled_rollout_and_step_sample_the_same_density(channels, n_components, hidden, weighted):
    model = made(channels, weighted, n_components=n_components, hidden=hidden)
    generator = torch.Generator().manual_seed(3)
    if weighted:
        for table in (model.rejection_filter.weights, model.rejection_filter.acceptance):
            table.copy_(0.1 + 0.9 * torch.rand(table.shape, generator=generator))
        if model.rejection_filter.has_wells:
            model.rejection_filter.thresholds.fill_(0.5)
        bounds = model.envelope.bounds
        bounds.copy_(0.5 + 0.5 * torch.rand(bounds.shape, generator=generator))
    n = 100_000 if channels < 3 else 30_000
    now = torch.full((n, 1, channels), 0.4)
    stepped = model.step(now, generator)[:, 0]
    walked = model.sample(first_frame(now, 2), Context(), generator)[:, 1, 0]
    before = model.scaled(now[:, 0])
    proposed, _ = model.envelope.draw(model.mixture(before), model.rejection_filter.wells(before), generator)
    left = float(model.rejection_filter.leaves_support(proposed).float().mean())
    assert model.outside_share == pytest.approx(left, abs=5 * (2 * max(left, 1e-4) / n) ** 0.5)
    spread = stepped.std(0) * (2 / n) ** 0.5
    assert ((stepped.mean(0) - walked.mean(0)).abs() < 5 * spread).all()
    centred = [part - part.mean(0) for part in (stepped, walked)]
    products = [(part[:, None] * part[..., None]).flatten(1) for part in centred]
    spread = products[0].std(0) * (2 / n) ** 0.5
    assert ((products[0].mean(0) - products[1].mean(0)).abs() < 5 * spread).all()
    # The same mean of log-density too: it is sensitive to weights, means and widths alike.
    scores = [[model.log_prob(part[:, None], now).detach() for part in (stepped, walked)]]
    if weighted:
        scores.append([model.rejection_filter.weight(model.scaled(part)) for part in (stepped, walked)])
    for one, other in scores:
        assert abs(float(one.mean() - other.mean())) < 5 * float(one.std() * (2 / n) ** 0.5)


def test_step_agrees_with_the_density_bin_by_bin():
    model = made(1)
    edges = torch.linspace(-3, 3, 31)
    matrix = model.transition_matrix(edges)
    torch.testing.assert_close(matrix.sum(1), torch.ones(30, dtype=torch.float64))
    centre = float((edges[12] + edges[13]) / 2)
    drawn = model.step(torch.full((100_000, 1, 1), centre), torch.Generator().manual_seed(0))[:, 0, 0]
    counts = np.histogram(drawn.numpy().clip(-2.999, 2.999), edges.numpy())[0] / 100_000
    error = np.sqrt(matrix[12].numpy() / 100_000) + 1e-4
    assert (np.abs(counts - matrix[12].numpy()) < 5 * error).all()


def test_gradient_of_the_density_is_right():
    model = made().double()
    batch = pairs_of(torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    parameters = tuple(model.parameters())

    def loss(*_):
        return model.loss(batch).total

    assert torch.autograd.gradcheck(loss, parameters, eps=1e-7, atol=1e-5)


def test_training_recovers_a_known_transition_density():
    generator = torch.Generator().manual_seed(4)
    now = torch.randn(8000, 1, generator=generator)
    side = torch.sign(torch.rand(8000, 1, generator=generator) - 0.3)
    later = 0.5 * now + side + 0.2 * torch.randn(8000, 1, generator=generator)
    batch = PairBatch(torch.cat([now, later]), torch.arange(8000), torch.arange(8000, 16000))
    torch.manual_seed(0)
    model = MDN(latent(1), 10.0, n_components=4, hidden=[32, 32], reversible=False, density_equalising=False)
    model.fit_scale(batch.frames, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(batch).total.backward()
        optimizer.step()
    point = torch.tensor([[[0.6]]])
    grid = torch.linspace(-3, 3, 200)[:, None, None]
    learnt = model.log_prob(grid, point.expand(200, 1, 1)).exp()[:].detach()
    normal = torch.distributions.Normal(0.3 + torch.tensor([1.0, -1.0]), 0.2)
    exact = (normal.log_prob(grid[:, 0]).exp() * torch.tensor([0.7, 0.3])).sum(-1)
    total_variation = 0.5 * (learnt - exact).abs().sum() * 6 / 199
    assert float(total_variation) < 0.06


def test_reversible_loss_is_the_mean_of_both_directions():
    model = made()
    batch = pairs_of(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    model.reversible = False
    forward = model.loss(batch).total
    backward = model.loss(PairBatch(batch.frames, batch.later, batch.now)).total
    model.reversible = True
    torch.testing.assert_close(model.loss(batch).total, (forward + backward) / 2)


@pytest.mark.parametrize("reject_outside", [False, True])
def test_rollout_is_reproducible_and_walkers_do_not_depend_on_the_others(reject_outside):
    model = made(reject_outside=reject_outside)
    start = torch.randn(150, 1, 2, generator=torch.Generator().manual_seed(0))
    runs = [model.sample(first_frame(start, 30), Context(), torch.Generator().manual_seed(9)) for _ in range(2)]
    assert torch.equal(*runs)
    assert torch.equal(runs[0][:, 0], start)
    for n in (1, 17, 140):  # lanes and blocks of walkers that are not full
        fewer = model.sample(first_frame(start[:n], 30), Context(), torch.Generator().manual_seed(9))
        assert torch.equal(fewer, runs[0][:n])
    other = model.sample(first_frame(start, 30), Context(), torch.Generator().manual_seed(10))
    assert not torch.equal(other[:, 1], runs[0][:, 1])


def test_reject_and_redraw_keeps_within_the_data_and_the_share_is_reported():
    free, held = made(), made(reject_outside=True)
    start = torch.zeros(200, 1, 2)
    free_run = free.sample(first_frame(start, 50), Context(), torch.Generator().manual_seed(0))
    held_run = held.sample(first_frame(start, 50), Context(), torch.Generator().manual_seed(0))
    scaled = free.scaled(free_run[:, 1:, 0].reshape(-1, 2))
    assert free.outside_share == pytest.approx(
        float(free.rejection_filter.leaves_support(scaled).float().mean()), abs=1e-3
    )
    assert free.outside_share > 0.01
    scaled = held.scaled(held_run[:, 1:, 0].reshape(-1, 2))
    assert float(held.rejection_filter.leaves_support(scaled).float().mean()) < 1e-3
    assert not held.rejection_filter.leaves_support(held.scaled(held.step(start, torch.Generator())[:, 0])).any()


def refusing(n_components=5):
    """An MDN of two channels of whose samples a filter refuses most."""
    model = made(2, True, n_components=n_components)
    generator = torch.Generator().manual_seed(3)
    support = model.rejection_filter
    support.weights.copy_(0.2 + 0.8 * torch.rand(support.weights.shape, generator=generator))
    support.acceptance.copy_(0.05 + 0.2 * torch.rand(support.acceptance.shape, generator=generator))
    support.thresholds.fill_(0.5)
    return model


def tried(model, now, generator):
    """Samples of what is proposed from a frame, and which of them are kept."""
    before = model.scaled(now[:, 0])
    wells = model.rejection_filter.wells(before)
    after, bounds = model.envelope.draw(model.mixture(before), wells, generator)
    return after, model.rejection_filter.keeps(before, after, generator, bounds)


def test_a_fitted_envelope_keeps_the_law_and_refuses_little():
    model, generator = refusing(), torch.Generator().manual_seed(4)
    now = torch.randn(1, 1, 2, generator=generator).expand(300_000, 1, 2)
    plain, kept = tried(model, now, generator)
    few, before = float(kept.float().mean()), plain[kept]
    model._fit_envelope(model.scaled(torch.randn(2000, 2, generator=generator)), generator)
    adapted, kept = tried(model, now, generator)
    assert few < 0.15
    assert float(kept.float().mean()) > 3 * few
    after = adapted[kept]
    for law in (lambda x: x, lambda x: x.square(), lambda x: x[:, :1] * x[:, 1:], model.rejection_filter.weight):
        one, two = law(before), law(after)
        error = (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
        assert ((one.mean(0) - two.mean(0)).abs() < 5 * error + 1e-3 * one.std(0)).all()


def test_density_under_an_envelope_integrates_to_the_share_that_moves(monkeypatch):
    monkeypatch.setattr(mdn, "KEPT_DRAWS", 4096)
    model, generator = refusing(), torch.Generator().manual_seed(4)
    model._fit_envelope(model.scaled(torch.randn(2000, 2, generator=generator)), generator)
    grid = torch.linspace(-5, 5, 100)
    points = torch.cartesian_prod(grid, grid)[:, None]
    now = torch.tensor([[0.3, -1.0]]).expand(len(points), 1, 2)
    with torch.no_grad():
        total = float(model.log_prob(points, now).exp().sum() * (grid[1] - grid[0]) ** 2)
        table = float(model.log_prob_table(points, now[:1]).exp().sum() * (grid[1] - grid[0]) ** 2)
    stepped = model.step(now, generator)
    moved = float((stepped != now).any(-1).any(-1).float().mean())
    assert total == pytest.approx(moved, abs=0.03)
    assert table == pytest.approx(total, rel=1e-4)


def test_jumps_of_gaussians_that_were_seen_to_make_none_are_kept_as_often():
    """48 Gaussians alike, each of which jumps twice in a hundred thousand samples; staying is kept once in sixteen."""
    n, chance = 48, 2e-5
    model = MDN(latent(1), 1.0, n, [8], density_equalising=False)
    width = 0.2 / float(-torch.special.ndtri(torch.tensor(chance, dtype=torch.float64)))
    for parameter in model.parameters():
        parameter.data.zero_()
    bias = model.shape_head.bias.data.view(2, n)
    bias[0], bias[1] = math.log(0.3 / 0.7), math.log(math.expm1(width - model.width_floor))
    support, generator = model.rejection_filter, torch.Generator().manual_seed(0)
    support.thresholds.fill_(0.5)
    support.acceptance.fill_(1.0).fill_diagonal_(1 / 16)
    visited = 0.45 * torch.rand(20_000, 1, generator=generator)
    visited[::2] += 0.52
    model._fit_envelope(visited, generator)
    now = torch.full((1_000_000, 1), 0.3)
    after, bounds = model.envelope.draw(model.mixture(now), support.wells(now), generator)
    kept = support.keeps(now, after, generator, bounds)
    jumps = float((after[kept] > 0.5).sum())
    expected = float(kept.sum()) * chance / (chance + (1 - chance) / 16)
    assert jumps == pytest.approx(expected, abs=5 * expected**0.5)


def test_bounds_are_a_high_quantile_of_each_gaussians_chances():
    model = refusing()
    generator = torch.Generator().manual_seed(4)
    visited = model.scaled(torch.randn(4000, 2, generator=generator))
    model.rejection_filter.thresholds.fill_(float("inf"))
    model._fit_envelope(visited, generator)
    after, chosen = model.mixture(visited).draw_with_component(generator)
    chances = model.rejection_filter.chance(visited, after)
    above = chances > model.envelope.bounds[0, chosen]
    assert float(above.float().mean()) < 0.01
    assert float((chances > 0.8 * model.envelope.bounds[0, chosen]).float().mean()) > 0.002


def test_without_rejection_the_bounds_count_for_nothing():
    model = made(2, reject_outside=False)
    now = torch.full((50_000, 1, 2), 0.4)
    runs = []
    for bound in (1.0, 0.1):
        model.envelope.bounds[:, :2] = bound
        runs.append(model.sample(first_frame(now, 2), Context(), torch.Generator().manual_seed(3)))
    assert torch.equal(*runs)


def test_weights_from_before_there_were_bounds_are_read():
    model = refusing()
    model.envelope.bounds.fill_(0.3)
    weights = {name: each for name, each in model.state_dict().items() if "bounds" not in name}
    other = made(2, True)
    other.load_state_dict(weights)
    assert (other.envelope.bounds == 1).all()


def test_a_start_that_is_not_finite_is_refused():
    start = torch.tensor([[[0.0, float("nan")]]])
    with pytest.raises(MdgenError, match="latent of a start is not finite"):
        made().sample(first_frame(start, 5), Context(), torch.Generator())


def test_data_that_cannot_be_scaled_are_refused():
    model = made()
    with pytest.raises(MdgenError, match="not finite"):
        model.fit_scale(torch.tensor([[0.0, float("nan")]]), torch.Generator())
    with pytest.raises(MdgenError, match="does not vary"):
        model.fit_scale(torch.zeros(5, 2), torch.Generator())


def test_markov_state_model_reproduces_a_chain_it_was_fitted_to():
    exact = torch.tensor([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.2, 0.8]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    states = [0]
    for point in torch.rand(20_000, generator=generator).tolist():
        states.append(int((exact[states[-1]].cumsum(0) < point).sum()))
    spread = 0.05 * torch.randn(len(states), 2, generator=generator)
    frames = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])[states] + spread
    model = MarkovStateModel(latent(2), 10.0, n_states=3)
    model.fit(TrainingData(pairs_of(frames)), generator)
    order = model.states(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]))
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(model.transition_matrix[order][:, order], exact, atol=0.02, rtol=0)
    run = model.sample(first_frame(frames[:400, None], 100), Context(), generator)
    assert run.shape == (400, 100, 1, 2)
    assert torch.equal(run[:, 0], frames[:400, None])
    visited = model.states(run[:, 60:].reshape(-1, 2))
    stationary = torch.linalg.matrix_power(model.transition_matrix, 1000)[0]
    shares = torch.bincount(visited, minlength=3) / len(visited)
    torch.testing.assert_close(shares.double(), stationary, atol=0.06, rtol=0)
    shown = run[:, 1:].reshape(-1, 2)
    assert torch.isin(shown, frames).all()
