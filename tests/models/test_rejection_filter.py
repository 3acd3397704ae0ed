"""A propagator keeps to where the data are and jumps between wells as often as they do."""

import pytest
import torch

from mdgen.data.conditions import first_frame
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import TrainingData
from mdgen.models.blocks.density_equalising import BINS, DensityEqualising
from mdgen.models.propagators import filter_fitting
from mdgen.models.propagators.filter_fitting import MOST_BOOST, evenly
from mdgen.models.propagators.mdn import MDN
from mdgen.models.propagators.rejection_filter import RejectionFilter
from mdgen.models.rejection_sampling import Rows, rejection_sample
from mdgen.training.pair_batches import pairs_of
from tests.models.parts import ENTRY, EXIT, leaky, two_wells


def test_the_equalising_transform_is_monotone_and_undone() -> None:
    values = torch.cat([0.1 + 0.01 * torch.randn(5000, 2), 0.9 + 0.02 * torch.randn(100, 2)]).clamp(0, 1).double()
    transform = DensityEqualising(2)
    assert torch.equal(transform(values), values)
    transform.fit(values)
    grid = torch.linspace(-0.2, 1.2, 3001, dtype=torch.float64)[:, None].repeat(1, 2)
    there = transform(grid)
    assert (there.diff(dim=0) > 0).all()
    back = transform.inverse(there)
    assert torch.allclose(back, grid, atol=1e-12)
    assert torch.equal(transform.inverse(there.requires_grad_()), back)  # uncompiled, for gradients
    there = there.detach()
    ends = torch.arange(BINS + 1)[:, None] / BINS  # of bins, where a value is told from both sides
    assert torch.allclose(transform.inverse(transform.knots.T), ends.double(), atol=1e-12)
    spread = transform(values)
    assert spread[:5000].std(0).min() > 3 * values[:5000].std(0).max()
    slope = (transform(grid + 1e-7) - there) / 1e-7
    inside = ((grid > 0) & (grid < 1)).all(1)
    assert torch.allclose(transform.log_slope(grid)[inside].exp(), slope[inside], rtol=1e-3)


def test_log_prob_is_a_density_in_the_latent_itself() -> None:
    latents = two_wells(5000)
    model = leaky(latents, equalising=True)
    grid = torch.linspace(-40, 60, 400_001, dtype=torch.float64)[:, None, None]
    now = latents[:1].double().expand(len(grid), 1)[:, None]
    # Under the filter the share that is kept is told by `KEPT_DRAWS` samples.
    for model.reject_outside, accuracy in ((False, 2e-3), (True, 0.15)):
        density = model.double().log_prob(grid, now).exp().detach()
        assert float(torch.trapezoid(density, grid[:, 0, 0])) == pytest.approx(1.0, abs=accuracy)


def test_a_well_of_short_visits_does_not_become_a_trap() -> None:
    """A rare well that is left after three frames, of which a mixture hardly trained knows next to nothing."""
    latents = two_wells(exit_chance=1 / 3, entry_chance=0.004)
    model = leaky(latents, equalising=True)
    model.finish(TrainingData(pairs_of([latents], 1)), torch.Generator().manual_seed(2))
    start = latents[torch.randint(len(latents), (2000,), generator=torch.Generator().manual_seed(3))][:, None]
    made = model.sample(first_frame(start, 200), Context(), torch.Generator().manual_seed(4))[:, :, 0, 0]
    rare = made > 3
    exits = (rare[:, :-1] & ~rare[:, 1:]).sum() / rare[:, :-1].sum()
    assert float(exits) == pytest.approx(1 / 3, rel=0.2)
    # Nearly all that the mixture itself would do from there is to leave, and is refused: it is seldom proposed.
    assert float((made[:, 1:] == made[:, :-1])[rare[:, :-1]].float().mean()) < 0.01
    assert float(rare.float().mean()) == pytest.approx(0.012, rel=0.35)


def test_what_a_run_did_not_visit_changes_no_weight_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    near = 0.2 + 0.02 * torch.randn(95_000, 1, generator=generator)
    data = torch.cat([near, 0.8 + 0.02 * torch.randn(5_000, 1, generator=generator)])
    filter_ = RejectionFilter(1)
    filter_.fit_support(data)
    proposed = 0.21 + 0.02 * torch.randn(50_000, 1, generator=generator)
    for _ in range(6):
        kept = filter_.keeps(proposed, proposed, generator)
        filter_.correct_densities(data, proposed[kept])
    assert float(proposed[kept].mean()) == pytest.approx(0.2, abs=0.003)


@pytest.mark.parametrize("equalising", [False, True])
def test_jumps_are_those_of_the_data_and_the_gap_stays_empty(equalising: bool) -> None:
    latents = two_wells()
    model = leaky(latents, equalising)
    model.finish(TrainingData(pairs_of([latents], 1)), torch.Generator().manual_seed(2))
    start = latents[torch.randint(len(latents), (2000,), generator=torch.Generator().manual_seed(3))][:, None]
    run = model.sample(first_frame(start, 300), Context(), torch.Generator().manual_seed(4))[:, :, 0, 0]
    assert not ((run > 1.5) & (run < 4.5)).any()
    rare = run > 3
    exits = (rare[:, :-1] & ~rare[:, 1:]).sum() / rare[:, :-1].sum()
    entries = (~rare[:, :-1] & rare[:, 1:]).sum() / (~rare[:, :-1]).sum()
    # The data themselves hold some 90 jumps each way: ten per cent, and the count of samples adds a few.
    assert float(exits) == pytest.approx(EXIT, rel=0.35)
    assert float(entries) == pytest.approx(ENTRY, rel=0.35)
    step = model.step(start, torch.Generator().manual_seed(5))[:, 0, 0]
    assert not ((step > 1.5) & (step < 4.5)).any()


def test_wells_have_the_shape_of_the_data_and_detailed_balance_stays() -> None:
    """A walk of two channels, exactly reversible, around the wrong places: the filter gives it the data's densities."""
    generator = torch.Generator().manual_seed(0)
    data = _correlated(100_000, 0.5, generator)
    run = now = _correlated(50_000, 0.53, generator)
    filter_ = RejectionFilter(2)
    filter_.fit_support(data)
    before = _largest_difference(data, run)
    for _ in range(5):
        for _ in range(12):
            now = _walk(now, filter_, generator)
        run = torch.cat([now := _walk(now, filter_, generator) for _ in range(4)])
        filter_.correct_densities(data, run)
    for _ in range(12):
        now = _walk(now, filter_, generator)
    following = _walk(now, filter_, generator)
    assert before > 0.2
    assert _largest_difference(data, now) < 0.03
    ahead, back = (float((a[:, 0] * b[:, 1].square()).mean()) for a, b in ((now, following), (following, now)))
    assert ahead == pytest.approx(back, abs=1e-3)


def _correlated(n: int, centre: float, generator: torch.Generator) -> torch.Tensor:
    common = torch.randn(n, 1, generator=generator)
    return centre + 0.05 * common + 0.02 * torch.randn(n, 2, generator=generator)


def _walk(now: torch.Tensor, filter_: RejectionFilter, generator: torch.Generator) -> torch.Tensor:
    """A step that leaves the law around 0.53 as it is, of which the filter keeps some."""
    memory = 0.6

    def draw(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        before = now[rows]
        moved = 0.53 + memory * (before - 0.53) + (1 - memory**2) ** 0.5 * _correlated(len(before), 0.0, generator)
        return moved, ~filter_.keeps(before, moved, generator)

    after, refused = rejection_sample(draw, 63)
    after[refused] = now[refused]
    return after


def _largest_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Kolmogorov-Smirnov distance of the channels, the larger one."""
    grid = torch.linspace(0, 1, 401)
    laws = [
        torch.searchsorted(each.T.sort().values.contiguous(), grid.expand(2, -1).contiguous()) / len(each)
        for each in (first, second)
    ]
    return float((laws[0] - laws[1]).abs().max())


def test_without_a_fit_the_filter_keeps_everything() -> None:
    filter_ = RejectionFilter(2)
    points = torch.rand(100, 2)
    assert filter_.keeps(points, points.flip(0), torch.Generator()).all()
    assert not filter_.outside(points).any()


def test_one_well_has_no_threshold() -> None:
    filter_ = RejectionFilter(1)
    filter_.fit_support(0.5 + 0.1 * torch.randn(5000, 1, generator=torch.Generator().manual_seed(0)))
    assert torch.isinf(filter_.thresholds).all()
    filter_.fit_support((two_wells() + 1) / 9)
    assert 0.15 < float(filter_.thresholds[0]) < 0.8


def test_many_channels_make_one_well() -> None:
    """Twelve channels with two peaks each would be 4096 wells and 16 million jumps."""
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(2, (1000, 12), generator=generator)
    latents = side + 0.01 * torch.randn(1000, 12, generator=generator)
    model = MDN(LatentSpace("slow_modes", 1, 12), 1.0, n_components=2, hidden=[8])
    model.initialise(generator)
    model.fit_scale(latents, generator)
    model.finish(TrainingData(pairs_of([latents], 1)), generator)
    assert model.rejection_filter.acceptance.shape == (1, 1)
    assert torch.isinf(model.rejection_filter.thresholds).all()
    run = model.sample(first_frame(latents[:3, None], 5), Context(), generator)
    assert torch.isfinite(run).all()


def test_wells_are_drawn_evenly_from_any_number_of_frames() -> None:
    wells = torch.zeros(2**24 + 10, dtype=torch.long)
    wells[5:25] = 1
    drawn = evenly(wells, 4000, torch.Generator().manual_seed(0))
    rare = drawn[wells[drawn] == 1]
    assert 0.45 < len(rare) / 4000 < 0.55
    assert set(rare.tolist()) == set(range(5, 25))
    assert int(drawn.max()) < len(wells)


def filtered(model: torch.Tensor, acceptance: torch.Tensor, typical: torch.Tensor) -> torch.Tensor:
    """Chances of jumps under a filter, of samples that all have the typical weight of their well."""
    kept = model * (acceptance.double() * typical).clamp_max(1.0)
    return kept / kept.sum(1, keepdim=True)


def test_too_rare_jumps_are_made_as_often_as_in_the_data_and_few_samples_refused() -> None:
    model = torch.tensor([[0.998, 0.002], [0.01, 0.99]], dtype=torch.float64)
    data = torch.tensor([[0.994, 0.006], [0.03, 0.97]], dtype=torch.float64)
    typical = torch.tensor([1.0, 0.02], dtype=torch.float64)  # a rare well, whose frames have little weight
    support = RejectionFilter(1)
    for _ in range(6):
        support.correct(1e5 * data, 1e5 * filtered(model, support.acceptance, typical), typical, MOST_BOOST)
    assert torch.allclose(filtered(model, support.acceptance, typical), data, rtol=1e-3)
    chance = support.acceptance * typical
    assert torch.allclose(chance.max(1).values, torch.ones(2, dtype=chance.dtype))
    assert chance.diagonal().min() > 0.25


def test_jumps_are_boosted_within_bounds() -> None:
    """What a model next to never does cannot be made by refusing all else: walkers would stand still."""
    model = torch.tensor([[0.9999, 0.0001], [0.01, 0.99]], dtype=torch.float64)
    data = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    support, typical = RejectionFilter(1), torch.ones(2, dtype=torch.float64)
    for _ in range(6):
        support.correct(1e5 * data, 1e5 * filtered(model, support.acceptance, typical), typical, MOST_BOOST)
    assert torch.allclose(support.acceptance.diagonal(), torch.full((2,), 0.25))


def test_walkers_of_a_rare_well_do_not_stand_still() -> None:
    latents = two_wells(20_000)
    model = leaky(latents, equalising=True)
    model.finish(TrainingData(pairs_of([latents], 1)), torch.Generator().manual_seed(2))
    support, scaled = model.rejection_filter, model.scaled(latents)
    rare = latents[latents[:, 0] > 3][:1].expand(500, 1)[:, None]
    places = torch.arange(support.weights.shape[1]) / support.weights.shape[1]
    support.weights[0, places > support.thresholds[0]] *= 0.001
    model.envelope.bounds.fill_(1.0)  # what the filter itself does, whatever is proposed

    def still() -> float:
        made = model.sample(first_frame(rare, 3), Context(), torch.Generator().manual_seed(3))
        return float((made[:, 2] == made[:, 1]).all(-1).all(-1).float().mean())

    assert still() > 0.5
    even = torch.ones_like(support.acceptance, dtype=torch.float64)
    support.correct(even, even, support.typical_weights(scaled), MOST_BOOST)
    assert still() < 0.01


def test_walkers_that_stand_still_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    latents = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    data = TrainingData(pairs_of([latents], 1))
    leaky(latents, equalising=True).finish(data, torch.Generator().manual_seed(2))
    assert "repeat the one before" not in caplog.text
    monkeypatch.setattr(filter_fitting, "MOST_STILL", -1.0)
    leaky(latents, equalising=True).finish(data, torch.Generator().manual_seed(2))
    assert " 0 % of the frames repeat the one before" in caplog.text
