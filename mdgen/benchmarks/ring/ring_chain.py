"""A Markov chain on a ring of four wells in the plane, solved exactly: a slow mode that no linear coordinate follows.

A walk on the points of a 41 x 41 grid over [-1, 1]^2 whose energy is at most 8 kT above the lowest, to itself or one of
the four neighbours,

    V(r, theta) = (r - 0.7)^2 / (2 0.08^2) + sum_k h_k exp(-(theta - k pi/2)^2 / (2 0.25^2)),  h = 4, 3, 2, 5 kT,
    p(j | i) proportional to exp(-(V_j - V_i) / 2).

It stands in the place of the ring potential of Chen, Sidky and Ferguson (J. Chem. Phys. 150, 214114 (2019)), with
barriers of our own, chosen so that the three slow modes are well apart from each other and from the rest. Lengths,
energies (kT) and times (steps) have no units here.
"""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from mdgen.benchmarks.exact_chains import ExactChain

RADIUS, WIDTH = 0.7, 0.08
BARRIERS_KT, BARRIER_WIDTH = (4.0, 3.0, 2.0, 5.0), 0.25
SIDE, HIGHEST_ENERGY_KT = 41, 8.0
MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


def potential(points: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """V(x, y) in kT."""
    radius, angle = np.hypot(points[..., 0], points[..., 1]), np.arctan2(points[..., 1], points[..., 0])
    energy = (radius - RADIUS) ** 2 / (2 * WIDTH**2)
    for k, height in enumerate(BARRIERS_KT):
        away = np.mod(angle - k * np.pi / 2 + np.pi, 2 * np.pi) - np.pi
        energy = energy + height * np.exp(-(away**2) / (2 * BARRIER_WIDTH**2))
    return energy


class Ring(ExactChain):
    """The chain with its exact spectrum and a sampler.

    >>> Ring().timescales.round(1)
    array([7124.6, 3231.6, 1141.1])
    """

    @cached_property
    def _places(self) -> tuple[Int[np.ndarray, "point 2"], Int[np.ndarray, "row column"], Float[np.ndarray, "point"]]:
        """Row and column of each point, the point at each row and column (-1 for none), and the points' energies."""
        axis = np.linspace(-1, 1, SIDE)
        energy = potential(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1))
        energy -= energy.min()
        places = np.argwhere(energy < HIGHEST_ENERGY_KT)
        numbers = np.full((SIDE, SIDE), -1)
        numbers[tuple(places.T)] = np.arange(len(places))
        return places, numbers, energy[tuple(places.T)]

    @property
    def points(self) -> Float[np.ndarray, "point 2"]:
        """Coordinates of the points."""
        return np.linspace(-1, 1, SIDE)[self._places[0]]

    @property
    def energies(self) -> Float[np.ndarray, "point"]:
        """V of the points above the lowest."""
        return self._places[2]

    @cached_property
    def moves(self) -> tuple[Int[np.ndarray, "point move"], Float[np.ndarray, "point move"]]:
        """Where each point may go, itself first, and with which probability; 0 where there is no neighbour."""
        places, numbers, energy = self._places
        aside = places[:, None] + np.array(MOVES)
        inside = ((aside >= 0) & (aside < SIDE)).all(-1)
        to = np.where(inside, numbers[tuple(np.moveaxis(np.clip(aside, 0, SIDE - 1), -1, 0))], -1)
        weights = np.where(to >= 0, np.exp((energy[:, None] - energy[to]) / 2), 0.0)
        return np.where(to >= 0, to, np.arange(len(to))[:, None]), weights / weights.sum(1, keepdims=True)

    @cached_property
    def transition_matrix(self) -> Float[np.ndarray, "point point"]:
        """Row i holds p(. | i)."""
        to, chances = self.moves
        matrix = np.zeros((len(to), len(to)))
        np.add.at(matrix, (np.arange(len(to))[:, None], to), chances)
        return matrix

    @cached_property
    def stationary(self) -> Float[np.ndarray, "point"]:
        """The stationary distribution, `exp(-V_i) / p(i | i)`, by detailed balance."""
        weight = np.exp(-self.energies) / self.moves[1][:, 0]
        return weight / weight.sum()

    def sample(self, n_steps: int, generator: torch.Generator) -> Int[np.ndarray, "step"]:
        """Points along a stationary trajectory."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        return self.sample_path(int(rng.choice(len(self.points), p=self.stationary)), n_steps, rng)
