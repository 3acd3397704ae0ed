"""A small periodic box of flexible water with ions, made from a seed alone: no file, no solvation by chance."""

from dataclasses import replace

import openmm
import openmm.app
import torch
from jaxtyping import Float
from openmm import unit
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.minimize import minimize
from mdgen.md.force_field.force_field import require_room
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.systems.openmm_systems.openmm_loader import system_from_openmm

_WATER_NM = ((0.0, 0.0, 0.0), (0.09572, 0.0, 0.0), (-0.023999, 0.092663, 0.0))
"""Oxygen and the two hydrogens of TIP3P."""

_SLOPE_TOLERANCE = 500.0
_MOST_ITERATIONS = 300


def salt_water_box(
    n_waters: int,
    n_pairs: int,
    edge_nm: float,
    cutoff_nm: float,
    switch_nm: float | None,
    generator: torch.Generator,
) -> System:
    """TIP3P waters that bend and stretch, with pairs of Na+ and Cl-, in a cube; reaction field beyond the cutoff.

    Molecules are put at random sites of a cubic lattice, turned at random, and relaxed.

    Args:
        n_waters: number of waters; their atoms come first, oxygen before its hydrogens.
        n_pairs: number of pairs of Na+ and Cl-, in this order after the waters.
        edge_nm: edge of the cube; 97 waters and a pair of ions have water's density in one of 1.45 nm.
        cutoff_nm: distance beyond which pairs do not interact; at most half the edge.
        switch_nm: distance from which Lennard-Jones is switched off; None cuts it.
        generator: source of randomness.

    Raises:
        MdgenError: for fewer than one molecule, a cutoff beyond half the edge, or a switch beyond the cutoff.
    """
    n_molecules = n_waters + 2 * n_pairs
    if n_waters < 0 or n_pairs < 0 or n_molecules < 1:
        raise MdgenError(f"a box of {n_waters} waters and {n_pairs} pairs of ions is empty; give at least one")
    cell = torch.full((3,), float(edge_nm), dtype=torch.float64)
    require_room(Cutoff(cutoff_nm), cell)
    if switch_nm is not None and not 0 < switch_nm <= cutoff_nm:
        raise MdgenError(f"switch_nm is {switch_nm}, but must lie between 0 and the cutoff of {cutoff_nm} nm")
    topology = _topology(n_waters, n_pairs, edge_nm)
    system = openmm.app.ForceField("amber14/tip3p.xml").createSystem(
        topology,
        nonbondedMethod=openmm.app.CutoffPeriodic,
        nonbondedCutoff=cutoff_nm * unit.nanometer,
        switchDistance=None if switch_nm is None else switch_nm * unit.nanometer,
        rigidWater=False,
        removeCMMotion=False,
    )
    sites = _sites(n_molecules, edge_nm, generator)
    positions = torch.cat([_waters(sites[:n_waters], generator), sites[n_waters:]])
    found = system_from_openmm(system, positions, topology)
    relaxed = minimize(found.potential, positions[None], _SLOPE_TOLERANCE, _MOST_ITERATIONS, cell=cell[None])
    return replace(found, positions=relaxed.positions[0], cell=cell)


def _topology(n_waters: int, n_pairs: int, edge_nm: float) -> openmm.app.Topology:
    element, topology = openmm.app.element, openmm.app.Topology()
    waters, ions = topology.addChain(), topology.addChain()
    for _ in range(n_waters):
        residue = topology.addResidue("HOH", waters)
        oxygen = topology.addAtom("O", element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.addBond(oxygen, topology.addAtom(name, element.hydrogen, residue))
    for _ in range(n_pairs):
        for name, kind in (("NA", element.sodium), ("CL", element.chlorine)):
            topology.addAtom(name, kind, topology.addResidue(name, ions))
    topology.setUnitCellDimensions(openmm.Vec3(edge_nm, edge_nm, edge_nm) * unit.nanometer)
    return topology


def _sites(number: int, edge_nm: float, generator: torch.Generator) -> Float[Tensor, "site 3"]:
    """Random sites of the coarsest cubic lattice that has enough."""
    rows = 1
    while rows**3 < number:
        rows += 1
    chosen = torch.randperm(rows**3, generator=generator)[:number]
    steps = torch.stack([chosen // rows**2, chosen // rows % rows, chosen % rows], -1)
    return (steps + 0.5).double() * (edge_nm / rows)


def _waters(oxygens: Float[Tensor, "water 3"], generator: torch.Generator) -> Float[Tensor, "atom 3"]:
    """Waters turned at random about their oxygens."""
    turns, _ = torch.linalg.qr(torch.randn(len(oxygens), 3, 3, generator=generator, dtype=torch.float64))
    shape = torch.tensor(_WATER_NM, dtype=torch.float64)
    return (oxygens[:, None] + shape @ turns).reshape(-1, 3)
