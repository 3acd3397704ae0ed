"""The sampled ensemble: the distribution of kinetic energies, and energy distributions at two temperatures.

Both checks follow Merz and Shirts (PLoS ONE 2018, 13, e0202764).
"""

import numpy as np
import torch
from jaxtyping import Float

from mdgen.benchmarks.suite import Figures
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.build import build_system
from mdgen.results import Acceptance, Estimate
from mdgen.units import BOLTZMANN

Samples = Float[np.ndarray, "replica sample"]

_TEMPERATURES_K = (300.0, 330.0)
_SETTLE_PS = 50.0
_SPACING_PS = 1.0


def check_ensemble(n_replicas: int = 64, n_samples: int = 64) -> Figures:
    """Alanine dipeptide in OBC2 with default settings: single precision, 2 fs, bonds to hydrogen constrained.

    Figures are deviations in standard errors, estimated from the replicas, which are independent. With 4,096 samples
    per temperature an error of 2 % in the kinetic energy is detected.

    LFMiddle samples the velocities of half steps without error where forces are linear. Half of the noise along a
    constraint, however, stays in them until the next kick removes it: 0.15 % of the kinetic energy with a friction of
    5/ps and 2 fs. The velocities are therefore projected onto the constraints first.
    """
    system = build_system(sequence="A", force_field="amber14", hydrogen_mass_amu=None, solvent="obc2")
    found = [_samples(system, temperature, n_replicas, n_samples) for temperature in _TEMPERATURES_K]
    freedom = system.positions.numel() - (0 if system.constraints is None else len(system.constraints.lengths))
    figures: dict[str, float] = {}
    means = {}
    for temperature, (kinetic, _) in zip(_TEMPERATURES_K, found, strict=True):
        for name, z in kinetic_deviations(kinetic, temperature, freedom).items():
            figures[f"{name}_{temperature:g}_K"] = z
        means[f"{temperature:g} K"] = float(kinetic.mean() * 2 / freedom / BOLTZMANN)
    figures["two_temperatures"] = two_temperature_deviation(found[0][1], found[1][1], _TEMPERATURES_K)
    rows = [
        Acceptance.judged(f"{name}_standard_errors", Estimate(z), "within +- 3", abs(z) <= 3)
        for name, z in figures.items()
    ]
    return {"kinetic_temperature_K": means}, rows


def kinetic_deviations(kinetic: Samples, temperature_K: float, freedom: int) -> dict[str, float]:
    """Deviations of mean and variance of the kinetic energy from its gamma distribution, in standard errors."""
    kT = BOLTZMANN * temperature_K
    mean, variance = 0.5 * freedom * kT, 0.5 * freedom * kT**2
    return {
        "kinetic_energy_mean": _deviation(kinetic.mean(1) - mean),
        "kinetic_energy_variance": _deviation(np.square(kinetic - mean).mean(1) - variance),
    }


def two_temperature_deviation(low: Samples, high: Samples, temperatures_K: tuple[float, float]) -> float:
    """Deviation of the slope of `ln P2(E)/P1(E)` from `1/kT1 - 1/kT2`, in standard errors.

    The slope is the maximum-likelihood estimate; its error is bootstrapped over replicas.
    """
    first, second = (1 / (BOLTZMANN * temperature) for temperature in temperatures_K)
    random = np.random.default_rng(0)
    drawn = [
        _logistic_slope(low[random.integers(len(low), size=len(low))], high[random.integers(len(high), size=len(high))])
        for _ in range(100)
    ]
    return (_logistic_slope(low, high) - (first - second)) / float(np.std(drawn, ddof=1))


def _logistic_slope(low: Samples, high: Samples) -> float:
    energy = np.concatenate([low.ravel(), high.ravel()])
    label = np.repeat([0.0, 1.0], [low.size, high.size])
    scale, middle = energy.std(), energy.mean()
    design = np.stack([np.ones_like(energy), (energy - middle) / scale], 1)
    weights = np.zeros(2)
    for _ in range(20):
        chance = 1 / (1 + np.exp(-design @ weights))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None])
        weights = weights + np.linalg.solve(curvature, design.T @ (label - chance))
    return float(weights[1] / scale)


def _deviation(of_replicas: Float[np.ndarray, "replica"]) -> float:
    return float(of_replicas.mean() / (of_replicas.std(ddof=1) / np.sqrt(len(of_replicas))))


def _samples(system: System, temperature_K: float, n_replicas: int, n_samples: int) -> tuple[Samples, Samples]:
    """Kinetic and potential energies in kJ/mol."""
    masses, held, generator = system.masses, system.constraints, torch.Generator().manual_seed(int(temperature_K))
    assert held is not None
    engine = make_engine(system, Langevin(2.0, temperature_K, 5.0), n_replicas, generator)
    engine.prepare(initial_state(system, n_replicas, engine.temperature_K, generator))
    engine.advance(round(_SETTLE_PS / engine.timestep_ps))
    kinetic, potential = [], []
    for _ in range(n_samples):
        state = engine.advance(round(_SPACING_PS / engine.timestep_ps))
        velocities = held.velocities(state.positions.double(), state.velocities.double())
        kinetic.append(0.5 * (masses[:, None] * velocities.square()).sum((1, 2)).numpy())
        potential.append(engine.potential_energy().astype(np.float64))
    return np.stack(kinetic, 1), np.stack(potential, 1)
