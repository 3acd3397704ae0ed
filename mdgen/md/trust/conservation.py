"""Integrator error: energy in NVE, its order in the time step and its drift over time."""

from typing import Any

import numpy as np
import openmm
import openmm.app
import torch
from openmm import unit
from torch import Tensor

from mdgen.interfaces import Potential, State
from mdgen.md.force_field import ForceField
from mdgen.md.forces import energy_and_forces
from mdgen.md.integrators import VelocityVerlet
from mdgen.md.minimize import minimize
from mdgen.md.openmm_loader import box_edges, load_openmm_system
from mdgen.md.systems import build_system
from mdgen.md.velocities import maxwell_boltzmann
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate
from mdgen.units import BOLTZMANN

_SAMPLE_EVERY = 10
_DIFFERENCE_PS = 1e-6
_CONDUCTOR = 1e9


def check_order(timestep_fs: float = 0.5, length_fs: float = 100.0) -> tuple[dict[str, Any], list[Acceptance]]:
    """Alanine dipeptide without constraints: the energy's error falls by four where the time step is halved."""
    errors = {step: _energy_error(step, length_fs) for step in (timestep_fs, timestep_fs / 2)}
    ratio = errors[timestep_fs] / errors[timestep_fs / 2]
    row = Acceptance.judged("nve_order_ratio", Estimate(ratio), "4 +- 0.5", abs(ratio - 4) <= 0.5)
    return {"nve_error_kJ_per_mol": {f"{step:g} fs": error for step, error in errors.items()}}, [row]


def check_drift(length_ps: float = 10.0, settle_ps: float = 1.0) -> tuple[dict[str, Any], list[Acceptance]]:
    """97 flexible waters, reaction field and switching, 1 fs: drift of the energy in K per degree of freedom.

    What is followed is the energy that velocity Verlet conserves to fourth order, `_shadow_energy`: the true one
    wanders with the share of the fast vibrations, which drowns a slow drift. Beyond the cutoff lies a conductor, which
    makes forces continuous there.

    The spec's bound is 1.1e-5 K over 1 ns, the figure of Doerr et al. (2021). A shorter run cannot resolve that: its
    slope is uncertain by `low .. high`, three standard errors of a line through the means of ten blocks, and the row
    holds where that interval reaches the bound.
    """
    parameters, cell, x = _water()
    field, masses = ForceField(parameters), parameters.masses
    generator = torch.Generator().manual_seed(0)
    x = minimize(field, x, force_tolerance=100.0, max_iterations=200, cell=cell).positions
    state = State(x, maxwell_boltzmann(x, masses, 300.0, generator), cell=cell)
    integrator = VelocityVerlet(1.0)
    for _ in range(round(settle_ps * 1000)):
        state = integrator.step(state, masses, field, generator)
        if state.step % 100 == 0:
            state = State(
                state.positions, maxwell_boltzmann(state.positions, masses, 300.0, generator), state.step, cell
            )
    n_steps, energies = round(length_ps * 1000), []
    progress = Progress("trust drift", n_steps)
    for step in range(n_steps):
        state = integrator.step(state, masses, field, generator)
        if step % _SAMPLE_EVERY == 0:
            energies.append(float(_shadow_energy(field, masses, state, integrator.timestep_ps)[0]))
            progress.update(step)
    kelvin = np.array(energies) / (0.5 * BOLTZMANN * 3 * len(masses))
    slope, error = _slope(kelvin, _SAMPLE_EVERY * 1e-6)
    bound = 1.1e-5
    holds = abs(slope) - 3 * error <= bound
    estimate = Estimate(slope, slope - 3 * error, slope + 3 * error)
    row = Acceptance.judged("nve_drift_K_per_dof_per_ns", estimate, f"+- {bound:g}, or its interval reaches it", holds)
    return {"nve_drift_length_ps": length_ps, "nve_energy_spread_K_per_dof": float(kelvin.std())}, [row]


def _energy_error(timestep_fs: float, length_fs: float) -> float:
    system = build_system(sequence="A", solvent="obc2", constraints="none")
    field, masses = ForceField(system.parameters), system.parameters.masses
    x = system.positions.repeat(4, 1, 1)
    generator = torch.Generator().manual_seed(0)
    state = State(x, maxwell_boltzmann(x, masses, 300.0, generator))
    integrator, first, errors = VelocityVerlet(timestep_fs), _total_energy(field, masses, state), []
    for _ in range(round(length_fs / timestep_fs)):
        state = integrator.step(state, masses, field, generator)
        errors.append((_total_energy(field, masses, state) - first).square())
    return float(torch.stack(errors).mean().sqrt())


def _total_energy(potential: Potential, masses: Tensor, state: State) -> Tensor:
    kinetic = 0.5 * (masses[:, None] * state.velocities.square()).sum((1, 2))
    return potential.energy(state.positions, state.cell) + kinetic


def _shadow_energy(potential: Potential, masses: Tensor, state: State, timestep_ps: float) -> Tensor:
    """`H + dt^2 (v.U''v / 12 - |F|^2 / (24 m))`; the second derivative by central differences along the velocities."""
    x, v, cell = state.positions, state.velocities, state.cell
    _, forces = energy_and_forces(potential, x, cell)
    ahead, behind = (energy_and_forces(potential, x + sign * _DIFFERENCE_PS * v, cell)[1] for sign in (1, -1))
    curvature = -(v * (ahead - behind)).sum((1, 2)) / (2 * _DIFFERENCE_PS)
    square = (forces.square() / masses[:, None]).sum((1, 2))
    return _total_energy(potential, masses, state) + timestep_ps**2 * (curvature / 12 - square / 24)


def _water() -> tuple[Any, Tensor, Tensor]:
    modeller = openmm.app.Modeller(openmm.app.Topology(), [] * unit.nanometer)
    force_field = openmm.app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller.addSolvent(force_field, numAdded=97)
    edge = min(modeller.topology.getUnitCellDimensions().value_in_unit(unit.nanometer))
    cutoff = 0.48 * edge
    system = force_field.createSystem(
        modeller.topology,
        nonbondedMethod=openmm.app.CutoffPeriodic,
        nonbondedCutoff=cutoff,
        switchDistance=0.85 * cutoff,
        rigidWater=False,
        removeCMMotion=False,
    )
    cell = box_edges(system)
    assert cell is not None
    positions = torch.tensor(modeller.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce)).setReactionFieldDielectric(_CONDUCTOR)
    return load_openmm_system(system), cell[None], positions[None]


def _slope(values: np.ndarray, spacing: float, blocks: int = 10) -> tuple[float, float]:
    """Slope of a straight line through the means of blocks, and its standard error."""
    usable = len(values) // blocks * blocks
    means = values[:usable].reshape(blocks, -1).mean(1)
    time = (np.arange(blocks) + 0.5) * (usable // blocks) * spacing
    centred = time - time.mean()
    slope = float(centred @ means / (centred @ centred))
    rest = means - means.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / (blocks - 2) / (centred @ centred)))
