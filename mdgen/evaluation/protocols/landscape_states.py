"""Coverage and free-energy error of states, as BioEmu reports them for emulated dynamics.

Lewis et al., Scalable emulation of protein equilibrium ensembles with generative deep learning, Science (2025),
doi 10.1126/science.adv9817; public benchmark: github.com/microsoft/bioemu-benchmarks, eval/md_emulation.

The states are the cells of a 50 x 50 grid over two coordinates of unit variance, those whose reference free energy lies
less than 4 kcal/mol above its minimum. The benchmark smooths both densities by resampling 10^6 points with Gaussian
noise of 0.25; here the density is the expectation of that, a sum of Gaussians integrated over the cells, and a cell
counts as sampled if at least one of 10^6 points is expected in it. The grid spans the reference and four widths of the
noise, where the benchmark's spans its noisy points. The benchmark's coordinates are fitted once to its own data; here
they are the first two principal components of the reference's C-alpha positions.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from mdgen.errors import MdgenError

GAS_CONSTANT = 1.987204e-3
"""kcal/mol/K."""

BINS = 50
NOISE = 0.25
LIMIT_KCAL_MOL = 4.0
LEAST_PROBABILITY = 1e-6


class Landscape:
    """The free energy of a reference over two coordinates.

    Args:
        coordinates: coordinates of the reference's frames; scaled to unit variance here.
        temperature_K: temperature.

    Raises:
        MdgenError: if a coordinate does not vary.
    """

    def __init__(self, coordinates: Float[np.ndarray, "frame 2"], temperature_K: float) -> None:
        self._mean, self._scale = coordinates.mean(0), coordinates.std(0)
        if (self._scale <= 0).any():
            raise MdgenError("the reference does not move, so it has no free energy; give dynamics of more frames")
        scaled = (coordinates - self._mean) / self._scale
        self._edges = np.linspace(scaled.min(0) - 4 * NOISE, scaled.max(0) + 4 * NOISE, BINS + 1).T
        self._kT = GAS_CONSTANT * temperature_K
        self.density = self.smoothed(coordinates, np.zeros(len(coordinates), dtype=np.int64))[0] / len(coordinates)
        self.low = self.density > self.density.max() * np.exp(-LIMIT_KCAL_MOL / self._kT)

    def smoothed(
        self, coordinates: Float[np.ndarray, "frame 2"], units: Int[np.ndarray, "frame"]
    ) -> Float[np.ndarray, "unit bin bin"]:
        """Frames in each cell after Gaussian smoothing, by bootstrap unit."""
        scaled = (coordinates - self._mean) / self._scale
        first, second = (
            np.diff(ndtr((edges[None, :] - values[:, None]) / NOISE), axis=1)
            for edges, values in zip(self._edges, scaled.T, strict=True)
        )
        chosen = [units == unit for unit in range(int(units.max()) + 1)]
        return np.array([first[unit].T @ second[unit] for unit in chosen])

    def compare(self, density: Float[np.ndarray, "bin bin"]) -> tuple[float, float]:
        """Coverage of the reference's states, and the mean absolute free-energy error over those covered, kcal/mol.

        A free energy is known up to a constant; the one that makes the error smallest, the median difference, is taken
        out. The error is NaN if no state is covered.
        """
        shared = self.low & (density >= LEAST_PROBABILITY)
        coverage = float(shared.sum() / self.low.sum())
        if not shared.any():
            return coverage, float("nan")
        difference = -self._kT * np.log(density[shared] / self.density[shared])
        return coverage, float(np.abs(difference - np.median(difference)).mean())
