"""A step of one replica, whose lanes hold atoms or terms: all of it but the pairs that its kernel sums."""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.bonded_forces import bonded_forces, exception_forces
from mdgen.md.engines.lanes.bonded_terms import BondedTerms, as_numpy, bonded_terms
from mdgen.md.engines.lanes.integration import Dynamics, drift, dynamics, kick
from mdgen.md.engines.lanes.lane_kernel import aligned
from mdgen.md.engines.lanes.rigid.rigid_bonds import constrain_cluster_positions, constrain_cluster_velocities
from mdgen.md.engines.lanes.rigid.rigid_tables import RigidTables, rigid_tables
from mdgen.md.engines.lanes.rigid.rigid_water import constrain_triangle_positions, constrain_triangle_velocities
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.jit import part_of_caller
from mdgen.simd.lanes import LANES
from mdgen.simd.random import fill_normal


class StepTables(NamedTuple):
    """Bonded terms, rigid bonds and integrator, which do not change during a run."""

    bonded: BondedTerms
    rigid: RigidTables
    dynamics: Dynamics


class StepSpace(NamedTuple):
    """Arrays that a thread needs beside a replica's state; contents do not matter between calls.

    Args:
        forces: number (atom, 3), in kJ/mol/nm.
        previous: float64 (atom, 3).
        noise: float32 (row, lane), an even number of rows, at least three numbers an atom.
        terms: number (4, 3, lane).
        triangles: float64 (3, 3, lane).
    """

    forces: np.ndarray
    previous: np.ndarray
    noise: np.ndarray
    terms: np.ndarray
    triangles: np.ndarray


def step_tables(
    parameters: ForceFieldParameters, dtype: type, timestep_ps: float, friction_per_ps: float
) -> StepTables:
    """Tables for forces in `dtype`, numpy's float32 or float64; the motion is in double precision."""
    moved = dynamics(as_numpy(parameters.masses), timestep_ps, friction_per_ps, np.float64)
    return StepTables(bonded_terms(parameters, dtype, grouped=True), rigid_tables(parameters), moved)


def step_space(n_atoms: int, dtype: type) -> StepSpace:
    """Work space for forces in `dtype`."""
    rows = -(-3 * n_atoms // LANES)
    return StepSpace(
        forces=np.zeros((n_atoms, 3), dtype),
        previous=np.zeros((n_atoms, 3)),
        noise=aligned((rows + rows % 2, LANES), np.float32),
        terms=aligned((4, 3, LANES), dtype),
        triangles=aligned((3, 3, LANES), np.float64),
    )


@part_of_caller
def term_forces(x: Any, tables: Any, space: Any, energies: Any, rows: Any) -> None:
    """Add the forces of bonded terms and exceptions, whose energies go to two `rows`, to `space.forces`."""
    bonded_forces(x, space.forces, tables.bonded, space.terms, energies)
    exception_forces(x, space.forces, tables.bonded.exceptions, space.terms, energies, rows)


@part_of_caller
def move(x: Any, v: Any, random: Any, thermal: Any, tables: Any, space: Any) -> None:
    """Kick by `space.forces`, drift, friction and noise, and rigid bonds.

    Args:
        x: positions in nm, float64 (atom, 3).
        v: velocities in nm/ps, float64 (atom, 3).
        random: uint32 (4, lane).
        thermal: `sqrt(kT)`, (1,).
        tables: `StepTables`.
        space: `StepSpace`.
    """
    timestep, inverse_timestep = tables.dynamics.numbers[0], tables.dynamics.numbers[1]
    kick(v, space.forces, tables.dynamics)
    constrain_triangle_velocities(x, v, tables.rigid, space.triangles)
    constrain_cluster_velocities(x, v, tables.rigid, timestep)
    if tables.dynamics.numbers[3] > 0.0:
        fill_normal(random, space.noise)
    drift(x, v, space.previous, space.noise.reshape(-1), thermal, tables.dynamics)
    constrain_triangle_positions(space.previous, x, v, inverse_timestep, tables.rigid, space.triangles)
    constrain_cluster_positions(space.previous, x, v, inverse_timestep, tables.rigid)


@part_of_caller
def write_frame(step: Any, every: Any, x: Any, frames: Any) -> None:
    """Write the frame (frame, atom, 3) of a step, counted within a run, that has one."""
    if step % every == 0:
        for atom in range(x.shape[0]):
            for axis in range(3):
                frames[step // every - 1, atom, axis] = x[atom, axis]
