"""TorchMD's YAML format: units, wildcards, exceptions; coarse-grained repulsion and external potentials."""

from dataclasses import replace
from math import radians
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import SumOfPotentials, energy_and_forces
from mdgen.md.force_field.module_potential import ModulePotential
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.force_field.repulsion import PowerRepulsion
from mdgen.md.systems.bond_graph import BondGraph
from mdgen.md.systems.openmm_systems.openmm_export import to_openmm_system
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.md.systems.yaml_force_field import load_yaml_force_field
from mdgen.md.systems.yaml_system import build_yaml_system
from mdgen.molecule.topology import Molecule
from mdgen.units import COULOMB_OPENMM, KCAL
from tests.md.reference import openmm_energies_and_forces

SHARED = Path(__file__).parents[3] / "shared" / "data" / "force_field_systems"

YAML = """\
atomtypes: [A, B]
bonds:
  (A, B): {k0: 300.0, req: 1.5}
  (X, A): {k0: 200.0, req: 1.4}
angles:
  (B, A, A): {k0: 50.0, theta0: 110.0}
  (X, A, X): {k0: 40.0, theta0: 112.0}
dihedrals:
  (X, A, A, X):
    terms: [{phi_k: 1.5, phase: 0.0, per: 3}, {phi_k: 0.5, phase: 180.0, per: 1}]
    scnb: 2.0
    scee: 1.2
impropers:
  (X, X, A, X): {phi_k: 10.0, phase: 180.0, per: 2}
lj:
  A: {sigma: 3.4, epsilon: 0.1, sigma14: 3.4, epsilon14: 0.1}
  B: {sigma: 2.5, epsilon: -0.03, sigma14: 2.5, epsilon14: 0.03}
electrostatics:
  A: {charge: 0.2}
  B: {charge: -0.1}
masses: {A: 12.0, B: 1.0}
"""

BONDS = [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5)]
TYPES = ["B", "A", "A", "A", "B", "B"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "field.yaml"
    path.write_text(YAML)
    return path


@pytest.fixture
def molecule() -> Molecule:
    topology = mdtraj.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    elements = {"A": mdtraj.element.carbon, "B": mdtraj.element.hydrogen}
    atoms = [topology.add_atom(f"{name}{i}", elements[name], residue) for i, name in enumerate(TYPES)]
    for i, j in BONDS:
        topology.add_bond(atoms[i], atoms[j])
    return Molecule.from_mdtraj(topology)


@pytest.fixture
def positions() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    walk = torch.tensor([[-0.1, 0, 0.05], [0, 0, 0], [0.1, 0.1, 0], [0.2, 0, 0.1], [0.3, 0.1, 0.1], [0, -0.1, -0.08]])
    return walk.double() + 0.01 * torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)


def test_entries_are_found_and_converted(file: Path, molecule: Molecule, positions: torch.Tensor) -> None:
    p = load_yaml_force_field(file, molecule, TYPES).parameters
    assert p.bond_atoms.tolist() == [[0, 1], [1, 2], [1, 5], [2, 3], [3, 4]]
    strong, weak = 300 * KCAL * 100, 200 * KCAL * 100
    assert p.bond_k.tolist() == pytest.approx([strong, weak, strong, weak, strong])
    assert p.bond_length[0].item() == pytest.approx(0.15)
    assert p.bond_length[1].item() == pytest.approx(0.14)  # by the wildcard
    angle = p.angle_atoms.tolist().index([0, 1, 2])
    assert p.angle_theta0[angle].item() == pytest.approx(radians(110))  # the exact entry before the wildcard
    assert p.angle_theta0[p.angle_atoms.tolist().index([1, 2, 3])].item() == pytest.approx(radians(112))
    quads = p.torsion_atoms.tolist()
    assert quads.count([0, 1, 2, 3]) == 2  # two terms
    assert quads.count([0, 2, 1, 5]) == 1  # an improper, its centre third
    assert p.epsilon.tolist() == pytest.approx([(0.03 if t == "B" else 0.1) * KCAL for t in TYPES])
    row = p.exception_atoms.tolist().index([1, 4])  # three bonds apart
    assert p.exception_charge_product[row].item() == pytest.approx(0.2 * -0.1 / 1.2)
    assert p.exception_epsilon[row].item() == pytest.approx((0.1 * 0.03) ** 0.5 * KCAL / 2.0)
    assert p.exception_sigma[row].item() == pytest.approx(0.295)
    first = p.exception_atoms.tolist().index([0, 2])
    assert p.exception_epsilon[first].item() == p.exception_charge_product[first].item() == 0.0


def test_it_agrees_with_openmm_and_survives_the_way_there_and_back(
    file: Path, molecule: Molecule, positions: torch.Tensor
) -> None:
    for cutoff in (None, Cutoff(0.5, 0.4)):
        parameters = load_yaml_force_field(file, molecule, TYPES, cutoff=cutoff).parameters
        system = to_openmm_system(parameters)
        cell = None if cutoff is None else torch.full((2, 3), 2.0, dtype=torch.float64)
        energies, forces = openmm_energies_and_forces(system, positions[0].numpy())
        energy, mine = ForceField(parameters).energy_and_forces(positions, cell)
        assert float(energy[0]) == pytest.approx(sum(energies.values()), rel=1e-9)
        np.testing.assert_allclose(mine[0].numpy(), forces, rtol=1e-7, atol=1e-5)
        back = load_openmm_system(system)
        torch.testing.assert_close(ForceField(back).energy(positions, cell), energy, rtol=1e-12, atol=1e-9)


def test_terms_can_be_left_out(file: Path, molecule: Molecule, positions: torch.Tensor) -> None:
    p = load_yaml_force_field(file, molecule, TYPES, terms=["Bonds", "LJ"]).parameters
    energies = ForceField(p).energy_terms(positions)
    assert [name for name, energy in energies.items() if float(energy.abs().max()) > 0] == ["bonds", "lennard_jones"]


@pytest.mark.parametrize(("term", "power"), [("repulsioncg", 6), ("repulsion", 12)])
def test_repulsion_is_a_power_of_the_distance(file: Path, molecule: Molecule, term: str, power: int) -> None:
    loaded = load_yaml_force_field(file, molecule, TYPES, terms=["bonds", "angles", "dihedrals", term])
    (repulsion,) = loaded.potentials
    assert isinstance(repulsion, PowerRepulsion)
    two = PowerRepulsion(
        repulsion.sigma[:2], repulsion.epsilon[:2], torch.zeros(0, 2, dtype=torch.int64), repulsion.power
    )
    x = torch.zeros(2, 2, 3, dtype=torch.float64)
    x[0, 1, 0], x[1, 1, 0] = 0.3, 0.6
    near, far = two.energy(x).tolist()
    assert near == pytest.approx(4 * (0.1 * 0.03) ** 0.5 * KCAL * (0.295 / 0.3) ** power)
    assert near / far == pytest.approx(2.0**power)
    torch.autograd.gradcheck(two.energy, x.requires_grad_())


class _Spring(torch.nn.Module):
    """Half the squared distance of the first two atoms, in its own units."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x[:, 0] - x[:, 1]).square().sum(-1)


def test_any_module_is_a_potential(file: Path, molecule: Molecule, positions: torch.Tensor) -> None:
    spring = ModulePotential(_Spring(), length_nm=0.1, energy_kJ_per_mol=KCAL)
    energy, forces = energy_and_forces(spring, positions)
    between = (positions[:, 0] - positions[:, 1]) / 0.1
    torch.testing.assert_close(energy, 0.5 * KCAL * between.square().sum(-1))
    torch.testing.assert_close(forces[:, 0], -KCAL * between / 0.1)
    with pytest.raises(MdgenError, match=r"Identity returned \(2, 6, 3\)"):
        ModulePotential(torch.nn.Identity()).energy(positions)
    field = ForceField(load_yaml_force_field(file, molecule, TYPES).parameters)
    system = System(molecule, field.parameters.masses, SumOfPotentials([field, spring]), positions[0])
    engine = make_engine(system, Langevin(1.0, 300.0), 2, torch.Generator().manual_seed(0))
    assert engine.settings["engine"] == "torch"
    with pytest.raises(MdgenError, match=r"kernel does not have the potential SumOfPotentials.*engine=torch"):
        make_engine(system, Langevin(1.0, 300.0), 2, torch.Generator(), kind="kernel")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("(A, B): {k0", "(A, C): {k0", "has no angles|no bonds for B, B|no bonds"),
        ("masses: {A: 12.0, B: 1.0}", "masses: {A: 12.0}", "no mass for type B of atom 0"),
        ("masses: {A: 12.0, B: 1.0}", "masses: {A: 12.0, B: 0.0}", "mass of type B: Input should be greater than 0"),
        ("masses: {A: 12.0, B: 1.0}", "", "no section `masses`"),
        ("(A, B): {k0: 300.0, req: 1.5}", "(A, B): {req: 1.5}", r"bonds of \(A, B\): k0: Field required"),
        ("(A, B): {k0: 300.0, req: 1.5}", "(A, B): {k0: stiff, req: 1.5}", r"bonds of \(A, B\): k0: Input should be"),
        ("bonds:", "bonds: 3\nunknown:", "`bonds` is no table"),
        ("atomtypes: [A, B]", "atomtypes: [A, B", "is no plain YAML"),
    ],
)
def test_mistakes_are_named(file: Path, molecule: Molecule, old: str, new: str, complaint: str) -> None:
    text = YAML.replace(old, new)
    if "(A, C)" in new:
        text = text.replace("  (X, A): {k0: 200.0, req: 1.4}\n", "")
    file.write_text(text)
    with pytest.raises(MdgenError, match=complaint):
        load_yaml_force_field(file, molecule, TYPES)


def test_other_mistakes_are_named(file: Path, molecule: Molecule) -> None:
    with pytest.raises(MdgenError, match="term 'springs' is unknown"):
        load_yaml_force_field(file, molecule, TYPES, terms=["springs"])
    with pytest.raises(MdgenError, match="5 atom types were given for 6 atoms"):
        load_yaml_force_field(file, molecule, TYPES[:5])
    with pytest.raises(MdgenError, match="does not exist"):
        load_yaml_force_field("missing.yaml", molecule, TYPES)
    parameters = load_yaml_force_field(file, molecule, TYPES).parameters
    with pytest.raises(MdgenError, match="mass"):
        load_openmm_system(to_openmm_system(replace(parameters, masses=0 * parameters.masses)))


def test_a_ring_has_each_dihedral_once() -> None:
    ring = BondGraph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
    assert len(ring.dihedrals) == len(set(ring.dihedrals)) == 4
    assert BondGraph(3, [(0, 1), (1, 2), (2, 0)]).dihedrals == []


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the systems in {SHARED} are not here")
def test_torchmd_water_and_argon_run() -> None:
    folder = SHARED / "water"
    water = build_yaml_system(
        str(folder / "water_forcefield.yaml"), str(folder / "structure.pdb"), psf=str(folder / "structure.psf"),
        terms=["LJ", "Bonds", "Angles", "Electrostatics"], cutoff_nm=0.73, relax=False,
    )  # fmt: skip
    energies, _ = openmm_energies_and_forces(water.potential.openmm_system, water.positions.numpy())
    cell = water.cell[None]
    assert float(water.potential.energy(water.positions[None], cell)) == pytest.approx(sum(energies.values()), rel=1e-9)
    folder = SHARED / "argon"
    argon = build_yaml_system(
        str(folder / "argon_forcefield.yaml"), str(folder / "argon_start.pdb"), atom_types=["AR"], cutoff_nm=0.9
    )
    assert argon.cell is not None
    assert float(argon.potential.energy(argon.positions[None], argon.cell[None])) < 0.0
    assert argon.potential.parameters.coulomb_constant == COULOMB_OPENMM
