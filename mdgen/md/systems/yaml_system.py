"""A molecule with a YAML force field as a `System`: bonds and types from a psf, or types from a list."""

from collections.abc import Sequence

import mdtraj
import openmm
import openmm.app
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Potential, System
from mdgen.md.dynamics.minimize import minimize
from mdgen.md.force_field.force_field import ForceField, require_room
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.systems.openmm_systems.openmm_export import to_openmm_system
from mdgen.md.systems.parameter_checks import require_apart
from mdgen.md.systems.topology_files import from_pdb, read_file, require_file
from mdgen.md.systems.yaml_force_field import load_yaml_force_field
from mdgen.molecule.topology import Molecule
from mdgen.registry import register


@register
def build_yaml_system(
    force_field: str,
    pdb: str,
    psf: str | None = None,
    atom_types: Sequence[str] | None = None,
    terms: Sequence[str] = ("bonds", "angles", "dihedrals", "impropers", "1-4", "lj", "electrostatics"),
    cutoff_nm: float | None = None,
    switch_nm: float | None = None,
    box_nm: Sequence[float] | None = None,
    constraints: str = "none",
    relax: bool = True,
    switch_coulomb: bool = False,
) -> System:
    """Build a molecule or box from coordinates and a force field in TorchMD's YAML format.

    Args:
        force_field: the YAML file.
        pdb: coordinates, and bonds where no psf is named.
        psf: atom types and bonds; or
        atom_types: the type of each atom, or one for all.
        terms: terms of the force field, of `yaml_force_field.TERMS`.
        cutoff_nm: makes the system periodic; None for no cutoff.
        switch_nm: distance from which Lennard-Jones is switched off; None cuts it.
        box_nm: edges of the box; None for the pdb's.
        constraints: `none`, which is all that the format knows.
        relax: minimise the start.
        switch_coulomb: whether the reaction field is switched off as Lennard-Jones is, from `switch_nm` on.

    Raises:
        MdgenError: for a file that is missing or broken, a type that is not in the force field, a cutoff without a box
            or beyond half of it, a reaction field to switch off without a switch, or when not exactly one of psf and
            atom_types is given.
    """
    if constraints != "none":
        raise MdgenError(f"constraints is {constraints!r}, but a YAML force field knows none; take constraints=none")
    source = from_pdb(pdb)
    topology = source.topology
    if (psf is None) == (atom_types is None):
        raise MdgenError(f"exactly one of psf and atom_types must be given, but got {psf!r} and {atom_types!r}")
    if psf is not None:
        topology, types = _from_psf(psf)
        if len(types) != len(source.positions):
            raise MdgenError(f"{psf} has {len(types)} atoms, but {pdb} has {len(source.positions)}; give one molecule")
    else:
        types = list(atom_types or ())
        types = types * len(source.positions) if len(types) == 1 else types
    box = list(box_nm) if box_nm is not None else _box(source.topology)
    cell = cutoff = None
    if switch_coulomb and cutoff_nm is None:
        raise MdgenError("switch_coulomb is set, but cutoff_nm is null; give a cutoff, with a switch_nm below it")
    if cutoff_nm is not None:
        if box is None:
            raise MdgenError(f"cutoff_nm needs a periodic box, but {pdb} holds none; give box_nm")
        cell = torch.tensor(box, dtype=torch.float64)
        cutoff = Cutoff(cutoff_nm, switch_nm, switch_coulomb=switch_coulomb)
        require_room(cutoff, cell)
    molecule = Molecule.from_mdtraj(mdtraj.Topology.from_openmm(topology))
    loaded = load_yaml_force_field(force_field, molecule, types, terms, cutoff)
    openmm_system = to_openmm_system(loaded.parameters)
    if cell is not None:
        openmm_system.setDefaultPeriodicBoxVectors(*torch.diag(cell).tolist())
    potential: Potential = ForceField(loaded.parameters, openmm_system)
    if loaded.potentials:
        potential = SumOfPotentials([potential, *loaded.potentials])
    positions = torch.from_numpy(source.positions)
    require_apart(positions, cell, topology)
    if relax:
        positions = minimize(potential, positions[None], cell=None if cell is None else cell[None]).positions[0]
    return System(molecule, loaded.parameters.masses, potential, positions, None, cell)


def _from_psf(path: str) -> tuple[openmm.app.Topology, list[str]]:
    require_file(path, "psf")
    file = read_file(openmm.app.CharmmPsfFile, "a psf", path)
    return file.topology, [atom.attype for atom in file.atom_list]


def _box(topology: openmm.app.Topology) -> list[float] | None:
    edges = topology.getUnitCellDimensions()
    return None if edges is None else list(edges.value_in_unit(openmm.unit.nanometer))
