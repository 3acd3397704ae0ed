"""A step of one replica, whose lanes hold atoms or terms, from its forces on."""

from typing import Any

from mdgen.md.engines.lanes.integration import drift, kick
from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.random import fill_normal
from mdgen.md.engines.lanes.rigid.rigid_bonds import constrain_cluster_positions, constrain_cluster_velocities
from mdgen.md.engines.lanes.rigid.rigid_water import constrain_triangle_positions, constrain_triangle_velocities


@lane_function
def move(x: Any, v: Any, random: Any, thermal: Any, model: Any, work: Any) -> None:
    """Kick, drift, friction and noise, and rigid bonds.

    Args:
        x: positions in nm, float64 (atom, 3).
        v: velocities in nm/ps, float64 (atom, 3).
        random: uint32 (4, lane).
        thermal: `sqrt(kT)`, (1,).
        model: `dynamics` and `rigid` of a kernel.
        work: `forces` in kJ/mol/nm, and space for `previous`, `noise` and `triangles`.
    """
    timestep, inverse_timestep = model.dynamics.numbers[0], model.dynamics.numbers[1]
    kick(v, work.forces, model.dynamics)
    constrain_triangle_velocities(x, v, model.rigid, work.triangles)
    constrain_cluster_velocities(x, v, model.rigid, timestep)
    if model.dynamics.numbers[3] > 0.0:
        fill_normal(random, work.noise)
    drift(x, v, work.previous, work.noise.reshape(-1), thermal, model.dynamics)
    constrain_triangle_positions(work.previous, x, v, inverse_timestep, model.rigid, work.triangles)
    constrain_cluster_positions(work.previous, x, v, inverse_timestep, model.rigid)
