"""What populations alone can tell: the power of tests that know the chain's law but for one well's weight, or its lack.

Populations are means over time, and the variance of a mean follows from the chain: with eigenvalues l and eigenvectors
of the transition matrix, an indicator's share a^2 in a mode has an autocorrelation a^2 l^k, which sums to

    var = sum a^2 ((1 + l) / (1 - l) - 2 l (1 - l^n) / (n (1 - l)^2)) / n

for the mean over n frames of one trajectory. The test compares the shares of the frames in the well on both sides,
normal by the central limit theorem, with variances that it knows and need not estimate; nothing else of the frames.

Of wells that are never visited the test counts the visits instead, which are rare and independent: Poisson's. Given the
visits of both sides, each is on either side with even odds where the laws are the same (Lehmann and Romano, Testing
Statistical Hypotheses, 2005, section 4.5), so that k on one side and none on the other have a p of `2^(1 - k)`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, poisson

from mdgen.benchmarks.evaluation.known_chain import KnownChain
from mdgen.evaluation.criteria import CRITERIA
from mdgen.evaluation.verdict import FALSE_ALARMS

FAMILY = FALSE_ALARMS / len(CRITERIA)
"""Level of one criterion among all (Bonferroni)."""

SUFFICIENT = 0.99
"""Power of the ideal test from which a judge is asked to see a fault."""


class IdealTest(ABC):
    """A test that no judge beats, two sides of trajectories of one length."""

    @abstractmethod
    def power(self, n_trajectories: int, level: float = FAMILY) -> float:
        """Probability of telling the altered law, both sides of so many trajectories, two-sided."""

    @abstractmethod
    def described(self) -> dict[str, float]:
        """What the test is of, by name."""

    @cached_property
    def needed(self) -> int:
        """Least number of trajectories a side with which its power at the level of the family is `SUFFICIENT`."""
        return next(n for n in count(2) if self.power(n) >= SUFFICIENT)

    def figures(self, n_trajectories: int) -> dict[str, float]:
        """What the suite reports, the power with so many trajectories beside the number that it takes."""
        return self.described() | {
            "trajectories": n_trajectories,
            "power": self.power(n_trajectories),
            "power_of_a_single_test": self.power(n_trajectories, FALSE_ALARMS),
            "trajectories_needed": self.needed,
        }


@dataclass(frozen=True)
class PopulationTest(IdealTest):
    """The test of one well's population.

    Args:
        population: share of the frames in the well by the true law.
        altered: the same by the altered law.
        variance: variance of that share over one trajectory, by the true law.
        altered_variance: the same by the altered law.
    """

    population: float
    altered: float
    variance: float
    altered_variance: float

    def power(self, n_trajectories: int, level: float = FAMILY) -> float:
        """Probability of telling the altered law, both sides of so many trajectories, two-sided."""
        chance = np.sqrt(2 * self.variance / n_trajectories)
        spread = np.sqrt((self.variance + self.altered_variance) / n_trajectories)
        return float(norm.sf((norm.isf(level / 2) * chance - abs(self.altered - self.population)) / spread))

    def described(self) -> dict[str, float]:
        """The populations."""
        return {"population": self.population, "altered_population": self.altered}


@dataclass(frozen=True)
class VisitTest(IdealTest):
    """The test of wells that the altered law never visits.

    Args:
        visits: visits of the wells expected in one trajectory, by the true law.
    """

    visits: float

    def power(self, n_trajectories: int, level: float = FAMILY) -> float:
        """Probability of telling the altered law, both sides of so many trajectories, two-sided."""
        least = math.ceil(1 - math.log2(level))
        return float(poisson.sf(least - 1, n_trajectories * self.visits))

    def described(self) -> dict[str, float]:
        """The visits."""
        return {"visits_in_a_trajectory": self.visits}


def population_test(chain: KnownChain, well: str, factor: float, n_frames: int) -> PopulationTest:
    """The test that tells a chain from one in which a well has `factor` times its weight."""
    found = []
    for each in (chain, replace(chain, offsets={well: -float(np.log(factor))})):
        inside = each.in_well(well)
        found.append((float(each.stationary @ inside), variance_of_mean(each, inside, n_frames)))
    (population, variance), (altered, altered_variance) = found
    return PopulationTest(population, altered, variance, altered_variance)


def visit_test(chain: KnownChain, wells: Sequence[str], n_frames: int) -> VisitTest:
    """The test that tells a chain from one that never visits some wells.

    A visit begins in the first frame, or where a trajectory enters; probability flows in as it flows out.
    """
    visits = 0.0
    for well in wells:
        inside = chain.in_well(well)
        here = chain.stationary * inside
        visits += float(here.sum() + (n_frames - 1) * (here @ chain.transition_matrix @ (1 - inside)))
    return VisitTest(visits)


def variance_of_mean(chain: KnownChain, values: Float[np.ndarray, "state"], n_frames: int) -> float:
    """Variance of the mean over one stationary trajectory of a function of the state."""
    root = np.sqrt(chain.stationary)
    symmetric = root[:, None] * chain.transition_matrix / root
    eigenvalues, modes = np.linalg.eigh((symmetric + symmetric.T) / 2)
    share = (modes.T @ (root * (values - chain.stationary @ values))) ** 2
    value, n = np.minimum(eigenvalues, 1 - 1e-12), n_frames
    summed = (1 + value) / (1 - value) - 2 * value * (1 - value**n) / (n * (1 - value) ** 2)
    return float(share @ summed) / n
