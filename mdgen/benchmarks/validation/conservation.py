"""Energy conservation in NVE: the order of the error in the time step, and the drift over time."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import factorial
from typing import Any, Literal

import numpy as np
import openmm
import openmm.app
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.benchmarks.suite import Figures
from mdgen.interfaces import Potential, State, System
from mdgen.md.dynamics.integrators import Langevin, VelocityVerlet
from mdgen.md.dynamics.minimize import minimize
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_loader import system_from_openmm
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate
from mdgen.units import BOLTZMANN

_BURSTS = 200
"""Number of times at which the energy is measured."""
_BURST = 9
"""Successive states of each measurement, for derivatives of eighth order."""
_CONDUCTOR = 1e9
_SHORT_STEP_FS = 0.25
"""Time step that leaves the shadow energy of bonds to hydrogen free of visible errors of higher order."""


def check_order(timestep_fs: float = 0.5, length_fs: float = 100.0) -> Figures:
    """Alanine dipeptide without constraints: halving the time step divides the energy error by four."""
    errors = {step: _energy_error(step, length_fs) for step in (timestep_fs, timestep_fs / 2)}
    ratio = errors[timestep_fs] / errors[timestep_fs / 2]
    row = Acceptance.judged("nve_order_ratio", Estimate(ratio), "4 +- 0.5", abs(ratio - 4) <= 0.5)
    return {"nve_error_kJ_per_mol": {f"{step:g} fs": error for step, error in errors.items()}}, [row]


def check_drift(length_ps: float = 100.0, settle_ps: float = 5.0) -> Figures:
    """Drift of the energy in K per degree of freedom and ns: with a smooth cutoff, and without a cutoff.

    With a cutoff it is that of 97 flexible waters whose Lennard-Jones and reaction field are both switched off, from
    half of the cutoff on, with hydrogens of 3 amu, at 0.25 fs; without one, of alanine dipeptide in vacuum, at 0.25 fs.
    Both run on compiled kernels in double precision. The drift is measured on the energy that the integrator itself
    conserves, `shadow_energy`; the fluctuations of the true energy with the fast vibrations would hide a slow drift.

    The bound is 1.1e-5 K over 1 ns, the value of Doerr et al. (2021). The interval is three standard errors over ten
    blocks of time, whose slopes are independent even where the energy walks at random. A row holds only if its whole
    interval is within the bound.

    What limits a cutoff is that walk. Leapfrog gains or loses energy at random where a derivative of the energy jumps
    on the way of a pair: by the square of the time step if the slope of the force jumps, as it does at the end of a
    reaction field, by the cube if the next derivative does, as with OpenMM's switching function, and so on. The drift
    with that reaction field, its force made continuous by a conductor beyond the cutoff, with ordinary masses and at
    1 fs, is a figure without a bound: its interval is five orders of magnitude wider than the bound.
    """
    bound = 1.1e-5
    runs = {
        "": (_water(smooth=True), _SHORT_STEP_FS),
        "_without_cutoff": (_peptide(), _SHORT_STEP_FS),
        "_without_switched_coulomb": (_water(smooth=False), 1.0),
    }
    figures: dict[str, Any] = {"nve_drift_length_ps": length_ps}
    rows: list[Acceptance] = []
    for name, (system, timestep_fs) in runs.items():
        slope, error, spread = _drift(system, timestep_fs, length_ps, settle_ps)
        estimate = Estimate(slope, slope - 3 * error, slope + 3 * error)
        row = f"nve_drift{name}_K_per_dof_per_ns"
        figures[f"nve_energy_spread{name}_K_per_dof"] = spread
        if name == "_without_switched_coulomb":
            figures[row] = asdict(estimate)
            continue
        rows.append(Acceptance.judged(row, estimate, f"+- {bound:g}", abs(slope) + 3 * error <= bound))
    return figures, rows


def _drift(system: System, timestep_fs: float, length_ps: float, settle_ps: float) -> tuple[float, float, float]:
    """Drift of the shadow energy, its standard error, both in K per degree of freedom and ns, and the spread in K."""
    field, masses, generator = system.potential, system.masses, torch.Generator().manual_seed(0)
    warm = make_engine(system, Langevin(timestep_fs, 300.0, 10.0), 1, generator, "kernel", "double", threads=1)
    warm.prepare(initial_state(system, 1, warm.temperature_K, generator))
    state = warm.advance(round(settle_ps * 1000 / timestep_fs))
    free = make_engine(system, VelocityVerlet(timestep_fs), 1, generator, "kernel", "double", threads=1)
    free.prepare(replace(state, step=0))
    n_steps, energies = round(length_ps * 1000 / timestep_fs), []
    every = max(n_steps // _BURSTS, _BURST)
    progress = Progress("validation drift", n_steps)
    for burst in range(n_steps // every):
        energies.append(shadow_energy(field, masses, [free.advance(1) for _ in range(_BURST)], free.timestep_ps))
        free.advance(every - _BURST)
        progress.update((burst + 1) * every)
    kelvin = np.array(energies) / (0.5 * BOLTZMANN * 3 * len(masses))
    slope, error = _slope(kelvin, every * timestep_fs * 1e-6)
    return slope, error, float(kelvin.std())


def _energy_error(timestep_fs: float, length_fs: float) -> float:
    system = _peptide("obc2")
    field, masses, generator = system.potential, system.masses, torch.Generator().manual_seed(0)
    state = initial_state(system, 4, torch.tensor([300.0]), generator)
    integrator, first, errors = VelocityVerlet(timestep_fs), _total_energy(field, masses, state), []
    for _ in range(round(length_fs / timestep_fs)):
        state = integrator.step(state, system, generator)
        errors.append((_total_energy(field, masses, state) - first).square())
    return float(torch.stack(errors).mean().sqrt())


def _total_energy(potential: Potential, masses: Tensor, state: State) -> Tensor:
    kinetic = 0.5 * (masses[:, None] * state.velocities.square()).sum((1, 2))
    return potential.energy(state.positions, state.cell) + kinetic


def shadow_energy(potential: Potential, masses: Tensor, states: Sequence[State], timestep_ps: float) -> float:
    """Energy in kJ/mol that leapfrog conserves, of the first replica at the middle one of successive states.

    A symplectic integrator follows a Hamiltonian close to the true one. Made homogeneous by a further pair of variables
    (1, b) with `db/dt = x.U' - 2 U`, leapfrog keeps `(p.dx/dt - x.dp/dt - db/dt)/2` along its own path (Skeel and
    Hardy, SIAM J. Sci. Comput. 2001, 23, 1172); the derivatives here are central differences over all the states.

    Args:
        potential: potential of the dynamics.
        masses: masses in amu.
        states: an odd number of states, one step apart, with velocities half a step before positions.
        timestep_ps: time step.
    """
    positions = torch.stack([state.positions[0] for state in states])
    cell = None if states[0].cell is None else states[0].cell.expand(len(states), -1)
    energy, forces = energy_and_forces(potential, positions, cell)
    mass = masses[:, None]
    velocities = torch.stack([state.velocities[0] for state in states])
    momenta = mass * velocities + 0.5 * timestep_ps * forces
    rate = -(positions * forces).sum((1, 2)) - 2 * energy
    extra = torch.cat([rate.new_zeros(1), 0.5 * timestep_ps * torch.cumsum(rate[1:] + rate[:-1], 0)])
    middle = len(states) // 2

    def slope(values: Tensor) -> Tensor:
        weights = _central_difference(middle)
        ahead, behind = values[middle + 1 :], values[:middle].flip(0)
        return torch.tensordot(weights.to(values), ahead - behind, 1) / timestep_ps

    kinetic, virial = momenta[middle] * slope(positions), positions[middle] * slope(momenta)
    return float(0.5 * ((kinetic - virial).sum() - slope(extra)))


def _central_difference(k: int) -> Float[Tensor, "k"]:
    """Weights of `f(+j) - f(-j)`, j from 1 to k, in the first derivative to order 2 k."""
    weights = [(-1) ** (j + 1) * factorial(k) ** 2 / (j * factorial(k - j) * factorial(k + j)) for j in range(1, k + 1)]
    return torch.tensor(weights, dtype=torch.float64)


def _peptide(solvent: Literal["vacuum", "obc2"] = "vacuum") -> System:
    """Alanine dipeptide without constraints."""
    return build_system("A", force_field="amber14", hydrogen_mass_amu=None, solvent=solvent, constraints="none")


def _water(smooth: bool) -> System:
    """97 flexible waters: a smooth cutoff and heavy hydrogens, or a switch of Lennard-Jones alone and a conductor."""
    modeller = openmm.app.Modeller(openmm.app.Topology(), [] * unit.nanometer)
    force_field = openmm.app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller.addSolvent(force_field, numAdded=97)
    edge = min(modeller.topology.getUnitCellDimensions().value_in_unit(unit.nanometer))
    cutoff = 0.48 * edge
    system = force_field.createSystem(
        modeller.topology,
        nonbondedMethod=openmm.app.CutoffPeriodic,
        nonbondedCutoff=cutoff,
        switchDistance=(0.5 if smooth else 0.85) * cutoff,
        rigidWater=False,
        removeCMMotion=False,
        hydrogenMass=3.0 * unit.amu if smooth else None,
    )
    positions = torch.tensor(modeller.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    if not smooth:
        force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
        force.setReactionFieldDielectric(_CONDUCTOR)
    box = system_from_openmm(system, positions, modeller.topology, switch_coulomb=smooth)
    assert box.cell is not None
    start, cell = box.positions[None], box.cell[None]
    relaxed = minimize(box.potential, start, force_tolerance=100.0, max_iterations=200, cell=cell)
    return replace(box, positions=relaxed.positions[0])


def _slope(values: np.ndarray, spacing: float, blocks: int = 10) -> tuple[float, float]:
    """Mean slope of the lines through blocks of a series, and its standard error.

    One line through the whole series would need independent deviations from it; those of a random walk are not, and
    the error of its slope is three times what such a fit says.
    """
    usable = len(values) // blocks * blocks
    parts = values[:usable].reshape(blocks, -1)
    times = np.arange(parts.shape[1]) * spacing
    slopes = np.polyfit(times, parts.T, 1)[0]
    return float(slopes.mean()), float(slopes.std(ddof=1) / blocks**0.5)
