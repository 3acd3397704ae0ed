"""Boxes of water with a pair of ions, made by OpenMM."""

from functools import cache

import openmm
import openmm.app
import torch
from openmm import unit

from tests.md.reference import openmm_force_field


@cache
def _solvated(edge_nm: float, ions: bool) -> tuple[openmm.app.Topology, torch.Tensor]:
    modeller = openmm.app.Modeller(openmm.app.Topology(), [] * unit.nanometer)
    force_field = openmm_force_field("amber14-all.xml", "amber14/tip3p.xml")
    edges = openmm.Vec3(edge_nm, edge_nm, 1.1 * edge_nm) * unit.nanometer
    modeller.addSolvent(force_field, boxSize=edges, neutralize=False)
    positions = torch.tensor(modeller.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    return modeller.topology, positions


def water_box(
    edge_nm: float = 1.3,
    cutoff_nm: float = 0.6,
    switch_nm: float | None = None,
    rigid: bool = True,
    method: str = "CutoffPeriodic",
) -> tuple[openmm.System, openmm.app.Topology, torch.Tensor]:
    """TIP3P in a box that is longer along z; the system, its topology, and positions (1, atom, 3) in nm."""
    topology, positions = _solvated(edge_nm, False)
    force_field = openmm_force_field("amber14-all.xml", "amber14/tip3p.xml")
    system = force_field.createSystem(
        topology,
        nonbondedMethod=getattr(openmm.app, method),
        nonbondedCutoff=cutoff_nm * unit.nanometer,
        switchDistance=None if switch_nm is None else switch_nm * unit.nanometer,
        rigidWater=rigid,
        removeCMMotion=False,
    )
    return system, topology, positions[None]
