"""Paths between known frames follow the law that they must, where it is known exactly."""

import sys
from pathlib import Path

import pytest
import torch

from mdgen.data.conditions import both_ends, every_kth, tokens
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.propagators.bridge import bridges, log_prob_table, sample_between, simulate_forward
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from tests.models.parts import leaky, seeded, trained_propagator, two_wells

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from toy_parts.toy_propagator import OrnsteinUhlenbeck

DECAY = 0.8


def autoregression(n: int = 2) -> OrnsteinUhlenbeck:
    """Independent channels of unit stationary variance."""
    model = OrnsteinUhlenbeck(LatentSpace("slow_modes", 1, n), 1.0)
    with torch.no_grad():
        model.decay.fill_(DECAY)
        model.log_width.fill_(0.5 * torch.tensor(1 - DECAY**2).log())
        model.starts.copy_(torch.randn(model.starts.shape, generator=seeded(5)))
    return model


def exact_bridge(start: float, end: float, n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of the inner frames of a stationary autoregression given both ends."""
    times = torch.arange(n_frames, dtype=torch.float64)
    whole = DECAY ** (times[:, None] - times).abs()
    have, lack = [0, n_frames - 1], list(range(1, n_frames - 1))
    gain = torch.linalg.solve(whole[have][:, have], whole[have][:, lack]).T
    return gain @ torch.tensor([start, end]).double(), whole[lack][:, lack] - gain @ whole[have][:, lack]


@torch.no_grad()
def between(model, condition, seed=0):
    return sample_between(model, condition, Context(), seeded(seed), forward)


def forward(start, n_frames, generator):
    return start[:, None].repeat(1, n_frames, 1, 1)


def test_bridges_of_a_gaussian_autoregression_are_the_exact_ones() -> None:
    start, end = torch.tensor([[[-1.0, 1.0]]]), torch.tensor([[[2.0, 1.0]]])
    made = between(autoregression(), both_ends(start.repeat(2000, 1, 1), end.repeat(2000, 1, 1), 7))[:, :, 0].double()
    assert torch.equal(made[:, 0], start[0].double().expand(2000, -1))
    assert torch.equal(made[:, -1], end[0].double().expand(2000, -1))
    for channel, ends in enumerate(((-1.0, 2.0), (1.0, 1.0))):
        mean, covariance = exact_bridge(*ends, 7)
        inner = made[:, 1:-1, channel]
        # 1,024 particles in two dimensions: some 100 within the reach of a step.
        torch.testing.assert_close(inner.mean(0), mean, atol=0.1, rtol=0)
        torch.testing.assert_close(torch.cov(inner.T), covariance, atol=0.06, rtol=0)


def test_an_end_that_is_hardly_ever_reached_is_reached() -> None:
    """Five standard deviations in three steps: no sample in a million would come near."""
    start, end = torch.full((500, 1, 1), -2.0), torch.full((500, 1, 1), 3.0)
    made = between(autoregression(1), both_ends(start, end, 4))[:, :, 0, 0].double()
    mean, covariance = exact_bridge(-2.0, 3.0, 4)
    torch.testing.assert_close(made[:, 1:-1].mean(0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(made[:, 1:-1].T), covariance, atol=0.06, rtol=0)


def chain() -> MarkovStateModel:
    """Four cells on a line, the outer ones deep wells that are left once in a hundred steps."""
    model = MarkovStateModel(LatentSpace("slow_modes", 1, 1), 1.0, n_states=4, n_members=3)
    matrix = torch.tensor([[0.99, 0.01, 0, 0], [0.3, 0.5, 0.2, 0], [0, 0.2, 0.5, 0.3], [0, 0, 0.01, 0.99]])
    model.transition_matrix.copy_(matrix)
    model.centres.copy_(torch.arange(4.0)[:, None])
    model.members.copy_(torch.arange(4.0)[:, None, None] + torch.tensor([-0.1, 0.0, 0.1])[:, None])
    model.starts.copy_(model.members.flatten(0, 1)[torch.arange(len(model.starts)) % 12][:, None])
    return model


def test_bridges_of_a_markov_chain_have_its_exact_law() -> None:
    model, n = chain(), 6
    start, end = torch.zeros(4000, 1, 1), torch.full((4000, 1, 1), 3.0)
    made = model.sample(both_ends(start, end, n + 1), Context(), seeded())
    states = model.states(made.flatten(2).flatten(0, 1)).view(4000, n + 1)
    matrix = model.transition_matrix
    power = torch.linalg.matrix_power
    for time in range(1, n):
        exact = power(matrix, time)[0] * power(matrix, n - time)[:, 3] / power(matrix, n)[0, 3]
        shares = torch.bincount(states[:, time], minlength=4) / 4000
        torch.testing.assert_close(shares.double(), exact, atol=0.05, rtol=0)
    # No path makes a step that the chain never makes.
    assert (matrix[states[:, :-1], states[:, 1:]] > 0).all()


def test_known_frames_in_between_are_passed_and_what_follows_is_simulated_forward() -> None:
    model = chain()
    coarse = torch.tensor([0.0, 1.0, 0.1]).view(1, 3, 1, 1).repeat(5, 1, 1, 1)
    condition = every_kth(coarse, 4)
    values = torch.cat([condition.values, torch.zeros(5, 3, 1, 1)], 1)
    known = torch.cat([condition.known, torch.zeros(5, 3, 1, 1, dtype=torch.bool)], 1)
    made = model.sample(Condition(values, known), Context(), seeded())
    assert torch.equal(made[known], values[known])
    states = model.states(made.flatten(2).flatten(0, 1)).view(made.shape[:2])
    assert (model.transition_matrix[states[:, :-1], states[:, 1:]] > 0).all()
    again = model.sample(Condition(values, known), Context(), seeded())
    assert torch.equal(made, again)


def test_a_dead_end_among_the_particles_blocks_no_other_path() -> None:
    """A cell that only leads to one of no particles, and is entered once in a hundred steps."""
    model = chain()
    matrix = torch.tensor([[0.5, 0.49, 0.01, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    model.transition_matrix.copy_(matrix)
    model.starts.copy_(model.members[:2].flatten(0, 1)[torch.arange(len(model.starts)) % 6][:, None])
    start, end = torch.zeros(50, 1, 1), torch.ones(50, 1, 1)
    made = model.sample(both_ends(start, end, 7), Context(), seeded())
    states = model.states(made.flatten(2).flatten(0, 1)).view(50, 7)
    assert (matrix[states[:, :-1], states[:, 1:]] > 0).all()


def test_bridges_have_the_law_of_steps_that_a_filter_refuses() -> None:
    """Inner frames of a process, drawn again between its own ends: the law stays, and with it the count of jumps."""
    model = leaky(two_wells(20_000, exit_chance=0.1, entry_chance=0.02), equalising=True)
    model.rejection_filter.acceptance.copy_(torch.tensor([[1.0, 0.2], [0.2, 1.0]]))
    model.bridge_particles = 512
    run = simulate_forward(model, model.starts[torch.arange(1000) % len(model.starts)], 13, seeded())
    made = between(model, both_ends(run[:, 0], run[:, -1], 13))
    jumps, again = ((each[:, 1:] > 3) != (each[:, :-1] > 3) for each in (run[..., 0, 0], made[..., 0, 0]))
    assert float(again.double().mean()) == pytest.approx(float(jumps.double().mean()), rel=0.15)


def test_what_no_path_can_meet_is_refused() -> None:
    model = chain()
    ends = torch.zeros(2, 1, 1), torch.full((2, 1, 1), 3.0)
    with pytest.raises(MdgenError, match="no path of 2 steps"):
        model.sample(both_ends(*ends, 3), Context(), seeded())
    made = both_ends(*ends, 5)
    late = Condition(made.values, made.known & (torch.arange(5) > 0)[:, None, None])
    with pytest.raises(MdgenError, match="from a known first frame"):
        model.sample(late, Context(), seeded())
    partly = tokens(torch.zeros(2, 5, 2, 1), [0])
    with pytest.raises(MdgenError, match="parts of frames"):
        between(OrnsteinUhlenbeck(LatentSpace("slow_modes", 2, 1), 1.0), partly)


@pytest.mark.parametrize("name", ["MDN", "MarkovStateModel"])
def test_a_table_of_densities_is_that_of_all_pairs(name: str) -> None:
    model = trained_propagator(name)
    later, now = model.starts[:4], model.starts[4:7]
    expected = model.log_prob(later.repeat(3, 1, 1), now.repeat_interleave(4, 0)).view(3, 4)
    torch.testing.assert_close(log_prob_table(model, later, now), expected.double(), atol=1e-4, rtol=1e-5)


def test_neighbours_need_no_bridge() -> None:
    known = torch.randn(2, 3, 1, 2)
    made = known.clone()
    bridges(autoregression(), made, [0, 1, 2], seeded())
    assert torch.equal(made, known)
