"""CHARMM's terms: correction maps, Urey and Bradley's bonds, harmonic impropers, tables of Lennard-Jones with NBFIX."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from math import pi
from pathlib import Path

import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.md.force_field.force_field import ForceField, force_field_of
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.force_field.terms.cmap import cmap_energy
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_loader import box_edges, load_openmm_system
from mdgen.md.systems.peptides import extended_peptide
from mdgen.molecule.topology import Molecule
from tests.md.reference import openmm_energies_and_forces

SHARED = Path(__file__).parents[3] / "shared" / "data" / "force_field_systems"


def assert_agrees(system: openmm.System, x: torch.Tensor) -> ForceFieldParameters:
    """Energy and forces to much better than the bounds, since both are in double precision."""
    for i in range(system.getNumParticles()):
        if system.getParticleMass(i) == 0 * unit.amu:
            system.setParticleMass(i, 12.0)  # some of the files leave masses out
    parameters, edges = load_openmm_system(system), box_edges(system)
    energies, forces = openmm_energies_and_forces(system, x[0].numpy())
    energy, mine = ForceField(parameters).energy_and_forces(x, None if edges is None else edges[None])
    assert float(energy) == pytest.approx(sum(energies.values()), rel=1e-9, abs=1e-6)
    assert np.linalg.norm(mine[0].numpy() - forces) < 1e-8 * np.linalg.norm(forces)
    return parameters


@cache
def charmm36() -> openmm.app.ForceField:
    return openmm.app.ForceField("charmm36.xml", "charmm36/water.xml")


@cache
def peptide() -> tuple[openmm.System, torch.Tensor]:
    topology, x = extended_peptide("AKD", capped=False)
    modeller = openmm.app.Modeller(topology, x * unit.nanometer)
    amber = openmm.app.ForceField("amber14-all.xml")  # the same hydrogens, sooner
    modeller.addHydrogens(amber, platform=openmm.Platform.getPlatformByName("Reference"))
    positions = torch.tensor(modeller.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return charmm36().createSystem(modeller.topology), (positions + 0.005 * noise)[None]


def test_a_peptide_agrees_with_openmm() -> None:
    parameters = assert_agrees(*peptide())
    assert parameters.cmap is not None
    assert parameters.impropers is not None
    assert parameters.pair_table is not None
    assert len(parameters.bond_atoms) > parameters.n_atoms  # Urey and Bradley's are among them
    terms = ForceField(parameters).energy_terms(peptide()[1])
    assert min(abs(float(terms[name])) for name in ("cmap", "impropers")) > 0.1


@pytest.mark.parametrize("method", [openmm.app.NoCutoff, openmm.app.CutoffPeriodic])
def test_nbfix_agrees_with_openmm(method: object) -> None:
    topology = openmm.app.Topology()
    chain = topology.addChain()
    for name, symbol in (("SOD", "Na"), ("CLA", "Cl")):
        topology.addAtom(name, openmm.app.Element.getBySymbol(symbol), topology.addResidue(name, chain))
    topology.setUnitCellDimensions((2.0, 2.0, 2.5) * unit.nanometer)
    system = charmm36().createSystem(
        topology, nonbondedMethod=method, nonbondedCutoff=0.9 * unit.nanometer, switchDistance=0.2 * unit.nanometer
    )
    x = torch.tensor([[[0.1, 0.0, 0.1], [0.0, 1.8, 0.0]]], dtype=torch.float64)
    x = x if method is openmm.app.CutoffPeriodic else x * torch.tensor([1.0, 0.14, 1.0], dtype=torch.float64)
    table = assert_agrees(system, x).pair_table
    assert table is not None
    assert float(table.sigma[0, 1]) != pytest.approx(float(table.sigma.diagonal().mean()), rel=1e-3)  # no rule's


def test_caps_are_those_of_charmm() -> None:
    """ACE-ALA-NME against the whole of it as one residue, which the force field has as ALAD."""
    system = build_system("A", force_field="charmm36", hydrogen_mass_amu=None, relax=False)
    topology = openmm.app.Topology()
    residue = topology.addResidue("ALAD", topology.addChain())
    atoms = [
        topology.addAtom(f"{symbol}{index}", openmm.app.Element.getBySymbol(symbol), residue)
        for index, symbol in enumerate(system.molecule.elements)
    ]
    for first, second in system.molecule.bonds:
        topology.addBond(atoms[first], atoms[second])
    expected = openmm.app.ForceField("charmm36.xml", "implicit/obc2.xml").createSystem(
        topology, constraints=openmm.app.HBonds, removeCMMotion=False, residueTemplates={residue: "ALAD"}
    )
    field = force_field_of(system.potential)
    assert field.parameters.cmap is not None
    x = system.positions.numpy()
    mine, theirs = (openmm_energies_and_forces(each, x) for each in (field.openmm_system, expected))
    assert mine[0] == pytest.approx(theirs[0], rel=1e-9)
    np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-7, atol=1e-6)


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    """OpenMM numbers the types of Lennard-Jones in the order of a set of texts."""
    code = (
        "from mdgen.md.systems.build import build_system\n"
        "system = build_system('AG', force_field='charmm36', solvent='vacuum', relax=False)\n"
        "print(system.potential.parameters.pair_table is not None, system.potential.fingerprint)"
    )
    settings = {"env": {**os.environ, "PYTHONHASHSEED": "1"}, "capture_output": True, "text": True, "check": True}
    other = subprocess.run([sys.executable, "-c", code], **settings).stdout
    field = build_system("AG", force_field="charmm36", solvent="vacuum", relax=False).potential
    assert other == f"True {field.fingerprint}\n"


def test_maps_have_gradients_in_positions_and_energies() -> None:
    system, x = peptide()
    cmap = load_openmm_system(system).cmap
    assert cmap is not None
    some = replace(cmap, atoms=cmap.atoms[:1], which=cmap.which[:1])
    atoms = some.atoms.unique()
    small = replace(some, atoms=torch.searchsorted(atoms, some.atoms))

    def energy(positions: torch.Tensor, map_energy: torch.Tensor) -> torch.Tensor:
        return cmap_energy(positions, small.atoms, small.which, map_energy)

    values = (x[:, atoms].clone().requires_grad_(), some.energy.clone().requires_grad_())
    assert torch.autograd.gradcheck(energy, values, eps=1e-6, rtol=1e-4, atol=1e-4, fast_mode=True)


def test_maps_follow_a_smooth_surface() -> None:
    """Between grid points a map of 24 by 24 gives back what it was sampled from, and runs on through its edges."""
    grid = 2 * pi * torch.arange(24, dtype=torch.float64) / 24
    surface = lambda a, b: torch.sin(a + 0.3) * torch.cos(2 * b) + 0.5 * torch.sin(b)  # noqa: E731
    energy = surface(grid[:, None], grid[None])[None]
    turns = torch.linspace(-pi, pi, 57, dtype=torch.float64)

    def four(angle: torch.Tensor) -> torch.Tensor:
        """Four atoms with that torsion (the last one turns)."""
        still = torch.tensor([[0.1, 0.1, 0], [0, 0.1, 0], [0, 0.2, 0]], dtype=torch.float64)
        last = torch.stack([0.1 * angle.cos(), 0.2 + 0 * angle, 0.1 * angle.sin()], -1)
        return torch.cat([still.expand(len(angle), 3, 3), last[:, None]], 1)

    phi, psi = turns, turns.roll(13)
    x = torch.cat([four(phi), four(psi)], 1)
    atoms, which = torch.arange(8)[None], torch.zeros(1, dtype=torch.int64)
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    found = cmap_energy(x, atoms, which, energy)
    assert min(float((found - surface(a * phi, b * psi)).abs().max()) for a, b in signs) < 2e-3


def test_other_expressions_are_refused() -> None:
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    force = openmm.CustomTorsionForce("k*cos(theta-theta0)")
    for name in ("k", "theta0"):
        force.addPerTorsionParameter(name)
    force.addTorsion(0, 1, 2, 3, [1.0, 0.0])
    system.addForce(force)
    with pytest.raises(MdgenError, match=r"CustomTorsionForce.*harmonic impropers"):
        load_openmm_system(system)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the systems in {SHARED} are not here")
@pytest.mark.parametrize(
    ("name", "box_nm"),
    [(name, None) for name in ("1dihedral", "1water", "2ions", "3ions", "4dihedrals", "benzamidine", "singledihedral")]
    + [("water", None), ("water", (1.6919, 1.6633, 1.6639)), ("waterbox", (1.6919, 1.6633, 1.6639))],
)
def test_psf_agrees_with_openmm(name: str, box_nm: tuple[float, float, float] | None) -> None:
    folder = SHARED / name
    file = openmm.app.CharmmPsfFile(str(next(folder.glob("*.psf"))))
    numbers = openmm.app.CharmmParameterSet(*map(str, [*folder.glob("*.prm"), *folder.glob("*.rtf")]))
    settings: dict = {"nonbondedMethod": openmm.app.NoCutoff}
    if box_nm is not None:
        file.setBox(*(edge * unit.nanometer for edge in box_nm))
        settings = {"nonbondedMethod": openmm.app.CutoffPeriodic, "nonbondedCutoff": 0.8, "switchDistance": 0.7}
    system = file.createSystem(numbers, rigidWater=False, **settings)
    positions = openmm.app.PDBFile(str(next(folder.glob("*.pdb")))).positions.value_in_unit(unit.nanometer)
    assert_agrees(system, torch.tensor(positions, dtype=torch.float64)[None])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the systems in {SHARED} are not here")
@pytest.mark.parametrize("name", ["prod_alanine_dipeptide_amber", "thrombin-ligand-amber"])
def test_larger_prmtop_agrees_with_openmm(name: str) -> None:
    file = openmm.app.AmberPrmtopFile(str(SHARED / name / "structure.prmtop"))
    positions = openmm.app.PDBFile(str(SHARED / name / "structure.pdb")).positions.value_in_unit(unit.nanometer)
    periodic = file.topology.getUnitCellDimensions() is not None
    method = openmm.app.CutoffPeriodic if periodic else openmm.app.CutoffNonPeriodic
    settings = {"nonbondedMethod": method, "nonbondedCutoff": 0.9 * unit.nanometer, "switchDistance": 0.75}
    system = file.createSystem(constraints=None, rigidWater=False, **settings)
    assert_agrees(system, torch.tensor(positions, dtype=torch.float64)[None])


@pytest.mark.parametrize("acid", ["HT2", "HXT"])
@pytest.mark.parametrize("bonds", [False, True])
def test_neutral_ends_are_assigned(tmp_path: Path, acid: str, bonds: bool) -> None:
    """CHARMM's HT2 is an amine's hydrogen and an acid's; some files list bonds. Here charged ends become neutral."""
    made = build_system("AA", capped=False, solvent="vacuum", relax=False)
    names = {(0, "H"): "HT1", (0, "H2"): "HT2", (1, "O"): "OT1", (1, "OXT"): "OT2"}
    at = {(each.residue.index, each.name): made.positions[each.index].numpy() for each in made.molecule.topology.atoms}
    atoms = [(residue, names.get((residue, name), name), x) for (residue, name), x in at.items() if name != "H3"]
    away = at[1, "OXT"] - at[1, "C"]
    atoms.append((1, acid, at[1, "OXT"] + 0.0965 * away / np.linalg.norm(away)))
    lines = [
        f"ATOM  {number:5d} {name:^4s} ALA A{residue + 1:4d}    " + "".join(f"{10 * each:8.3f}" for each in x)
        for number, (residue, name, x) in enumerate(atoms, 1)
    ]
    path = tmp_path / "neutral.pdb"
    if bonds:
        oxygen = next(number for number, (residue, name, _) in enumerate(atoms, 1) if (residue, name) == (1, "OT2"))
        lines.append(f"CONECT{oxygen:5d}{len(atoms):5d}")
    path.write_text("\n".join(lines) + "\nEND\n")
    system = build_system(pdb=str(path), force_field="charmm36", solvent="vacuum", relax=False)
    assert float(force_field_of(system.potential).parameters.charges.sum()) == pytest.approx(0, abs=1e-6)
    assert system.molecule.n_atoms == made.molecule.n_atoms
    hydrogen = system.molecule.topology.residue(1).atom("HXT").index
    assert [system.molecule.topology.atom(each).name for each in system.molecule.neighbours[hydrogen]] == ["OXT"]
    pairs = force_field_of(system.potential).parameters.bond_atoms.sort(1).values
    assert len(pairs.unique(dim=0)) == len(pairs)  # none counts twice
    Molecule.from_file(path).require_same_atoms(system.molecule)
