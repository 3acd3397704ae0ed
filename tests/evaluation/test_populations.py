"""Laws of the populations of conformers, on torsions of a chain that is known."""

from collections.abc import Mapping

import numpy as np
import pytest

from mdgen.benchmarks.evaluation.known_chain import KnownChain
from mdgen.evaluation.metrics.populations import PopulationMetrics, cohen_h
from mdgen.evaluation.metrics.target import Target
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import Assignment, assign_blocks
from mdgen.evaluation.statistics.observables import Observables

CHAIN = KnownChain("ace_ala_nme", frame_spacing_ps=10.0)
(WELLS,) = CHAIN.wells
GROUPS = ("population_error/backbone", "population_error/left_handed")
FRAMES = 1000
TORSIONS = [CHAIN.columns[name][1] for name in WELLS.torsions]


def drawn(
    rng: np.random.Generator, runs: int, number: int = 4, offsets: Mapping[str, float] | None = None
) -> list[Observables]:
    """Phi and psi of trajectories of some runs, those of the chain with further energies of wells."""
    paths = KnownChain("ace_ala_nme", 10.0, offsets=offsets or {}).sample_states(runs * number, FRAMES, rng)
    found = []
    for well in CHAIN.states[paths, 0].reshape(runs, -1):
        degrees = WELLS.centres[well] + WELLS.spreads[well] * rng.standard_normal((len(well), 2))
        wrapped = (np.radians(degrees) + np.pi) % (2 * np.pi) - np.pi
        found.append(Observables((FRAMES,) * number, 10.0, {"torsions": wrapped.astype(np.float32)}))
    return found


def assigned(first: Observables, second: Observables, rng: np.random.Generator) -> Assignment:
    found = assign_blocks(first, second, float(CHAIN.timescales_ps[0]), 199, 100, rng)
    assert found is not None
    return found


def judged(first: Observables, second: Observables, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Scores of the true assignment, of 199 permutations and of 100 resamples."""
    return PopulationMetrics(Target(first, Settings(), TORSIONS)).permuted(assigned(first, second, rng).blocks)


def p_value(scores: np.ndarray) -> float:
    return float((1 + (scores[1:200] >= scores[0]).sum()) / 200)


def test_chance_is_no_likelier_than_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [judged(*pair, rng) for pair in zip(drawn(rng, 120), drawn(rng, 120), strict=True)]
    for group in GROUPS:
        p = np.array([p_value(each[group]) for each in found])
        assert (p <= 0.05).mean() <= 0.11  # three standard errors of 120 runs
        assert (p <= 0.01).mean() <= 0.04
        assert (p <= 0.5).mean() >= 0.35


@pytest.mark.parametrize(
    ("group", "number", "offsets"),
    [(GROUPS[0], 4, {"alphaR ALA2": -np.log(2)}), (GROUPS[1], 10, {"alphaL ALA2": 30.0})],
)
def test_a_basin_of_twice_its_weight_and_one_never_visited_are_seen(
    group: str, number: int, offsets: dict[str, float]
) -> None:
    rng = np.random.default_rng(1)
    pairs = zip(drawn(rng, 20, number), drawn(rng, 20, number, offsets), strict=True)
    assert np.mean([p_value(judged(*pair, rng)[group]) <= 0.01 for pair in pairs]) >= 0.85


def test_the_value_is_the_difference_of_shares_on_the_arcsine_scale() -> None:
    rng = np.random.default_rng(2)
    (first,), (second,) = drawn(rng, 1), drawn(rng, 1, offsets={"alphaL ALA2": -2.0})
    shares = [(each["torsions"][:, 0] > 0).mean() for each in (first, second)]
    expected = abs(np.subtract(*(2 * np.arcsin(np.sqrt(share)) for share in shares)))
    assert judged(first, second, rng)[GROUPS[1]][0] == pytest.approx(expected)
    family = PopulationMetrics(Target(first, Settings(), TORSIONS))
    assert family(second)[GROUPS[1]].value == pytest.approx(expected)
    assert family(first)[GROUPS[0]].value == 0


def test_the_standard_error_is_that_of_sampled_trajectories() -> None:
    rng = np.random.default_rng(3)
    found = drawn(rng, 120)
    family = PopulationMetrics(Target(found[0], Settings(), TORSIONS))
    values, errors = [], []
    for pair in zip(found[::2], found[1::2], strict=True):
        sums = family.sums(assigned(*pair, rng).blocks.pool)["left_handed"]
        first, second = (each.sum(0)[None] for each in np.split(sums, 2))
        h, error = cohen_h(first, second)
        values.append(h[0, 0])
        errors.append(error[0, 0])
    assert np.sqrt(np.mean(np.square(values))) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.25)
