"""Paths and solvers: ends, derivatives, orders of convergence, counted evaluations."""

import math
from itertools import pairwise

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.models.interpolant.paths import PATHS
from mdgen.models.interpolant.solvers import SOLVERS, flow_times, integrate

ORDERS = {"euler": 1, "heun": 2, "midpoint": 2, "adams_bashforth": 2}
START = torch.tensor([[1.0, -2.0]], dtype=torch.float64)


def decaying(value, time):
    """`dx/dt = -2 t x + cos 3t`, whose solution is not a polynomial."""
    return -2 * time * value + math.cos(3 * time)


@pytest.mark.parametrize("name", PATHS)
def test_paths_go_from_noise_to_data_and_know_their_velocity(name):
    path = PATHS[name]
    data, noise = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([0.0, 1.0] * 2 + [0.5], dtype=torch.float64)
    value = path.at(ends, data, noise).value
    torch.testing.assert_close(value[:4], torch.stack([noise[0], data[1], noise[2], data[3]]))
    time = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    later, sooner = (path.at(time + shift, data, noise).value for shift in (1e-5, -1e-5))
    torch.testing.assert_close(path.at(time, data, noise).velocity, (later - sooner) / 2e-5, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", PATHS)
def test_the_gaussian_velocity_is_the_mean_velocity_of_a_gaussian_process(name):
    path = PATHS[name]
    generator = torch.Generator().manual_seed(0)
    root, mean = torch.tensor([[0.5, 0.0], [1.2, 0.8]], dtype=torch.float64), torch.tensor([0.7, -1.5]).double()
    data, noise = (mean + torch.randn(200_000, 2, dtype=torch.float64, generator=generator) @ root.T for _ in range(2))
    for time in (0.1, 0.5, 0.9):
        point = path.at(torch.full((len(data),), time, dtype=torch.float64), data, noise)
        predicted = path.gaussian_velocity(
            point.value, mean.expand_as(data), torch.full((len(data),), time, dtype=torch.float64)
        )
        error = point.velocity - predicted
        # What is left is unpredictable: of mean zero, and of no correlation with the value.
        assert float(error.mean(0).abs().max()) < 0.02
        assert float((error.T @ (point.value - point.value.mean(0)) / len(data)).abs().max()) < 0.02


def test_the_trigonometric_path_keeps_unit_variance():
    alpha, sigma = PATHS["trigonometric"].coefficients(torch.linspace(0, 1, 9))
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(9))


@pytest.mark.parametrize("warp", [1.0, 1.5])
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_converge_with_their_order(solver, warp):
    exact = integrate(decaying, START, "heun", 8_000).value
    evaluations = [64, 128, 256]
    errors = []
    for n in evaluations:
        solution = integrate(decaying, START, solver, n, warp)
        assert solution.n_evaluations == n
        errors.append(float((solution.value - exact).abs().max()))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDERS[solver], abs=0.25)


def test_the_adaptive_solver_meets_its_tolerance_with_few_evaluations():
    exact = integrate(decaying, START, "heun", 8_000).value
    solution = integrate(decaying, START, "dormand_prince")
    torch.testing.assert_close(solution.value, exact, rtol=1e-4, atol=1e-4)
    assert solution.n_evaluations < 60
    assert (solution.n_evaluations - 1) % 6 == 0


def test_ten_evaluations_give_normal_distributions_of_any_width():
    # What a first frame leaves open of the next is often a tenth of the whole, where equal steps do badly.
    widths = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.7, 1.0], dtype=torch.float64)

    def velocity(value, time):
        """Of the linear path from unit noise to widths, in closed form."""
        return (time * widths**2 - (1 - time)) / (time**2 * widths**2 + (1 - time) ** 2) * value

    found = {
        warp: (integrate(velocity, torch.ones_like(widths), "midpoint", 10, warp).value / widths).log().abs().max()
        for warp in (1.0, 2.0)
    }
    assert found[2.0] < 0.05
    assert found[1.0] > 0.4


def test_straight_flows_are_exact_in_one_step():
    for solver, n in [("euler", 1), ("heun", 2), ("midpoint", 2), ("adams_bashforth", 3), ("dormand_prince", 0)]:
        solution = integrate(lambda value, time: torch.full_like(value, 3.0), START, solver, n)
        torch.testing.assert_close(solution.value, START + 3.0)


def test_a_warp_shortens_the_last_steps_that_the_velocity_is_asked_for():
    times = torch.tensor(flow_times(10, 2.0))
    assert (times.diff().diff() < 0).all()
    asked = []
    integrate(lambda value, time: asked.append(time) or value, START, "euler", 10, 2.0)
    torch.testing.assert_close(torch.tensor(asked), times[:-1])


def test_what_is_no_solver_is_refused():
    with pytest.raises(MdgenError, match="choose one of euler"):
        integrate(decaying, START, "leapfrog")
    with pytest.raises(MdgenError, match="make no step"):
        integrate(decaying, START, "heun", 1)
    with pytest.raises(MdgenError, match="train the network longer"):
        integrate(lambda value, time: value / 0.0, START, "dormand_prince")
