"""Peptides come out whole: every residue, the right hand, every bond near its length."""

import random
from pathlib import Path

import numpy as np
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.interfaces import System
from mdgen.md.force_field.force_field import ForceField, force_field_of
from mdgen.md.systems.build import build_system
from mdgen.md.systems.peptides import ONE_LETTER, extended_peptide
from tests.md.reference import alanine_dipeptide, shaken, strained


def atom(system: System, residue: int, name: str) -> np.ndarray:
    return system.positions[system.molecule.topology.residue(residue).atom(name).index].numpy()


def handedness(centre: np.ndarray, first: np.ndarray, second: np.ndarray, third: np.ndarray) -> float:
    """Positive where the three run counterclockwise, seen with the fourth neighbour (a hydrogen) behind."""
    return float(np.dot(first - centre, np.cross(second - centre, third - centre)))


@pytest.mark.parametrize("letter", sorted(ONE_LETTER))
def test_every_residue_is_built_with_sound_geometry(letter: str) -> None:
    system = strained(letter * 2, solvent="vacuum", constraints="none")
    p = system.potential.parameters
    assert system.molecule.n_atoms == p.n_atoms
    assert len(p.bond_atoms) == len(system.molecule.bonds)
    assert round(float(p.charges.sum()), 6) == {"D": -2, "E": -2, "K": 2, "R": 2}.get(letter, 0)
    length = bond_lengths(system.positions, p.bond_atoms)
    assert float((length - p.bond_length).abs().max()) < 0.01
    if letter == "G":
        return
    for residue in (1, 2):
        n, ca, c, cb = (atom(system, residue, name) for name in ("N", "CA", "C", "CB"))
        assert handedness(ca, n, c, cb) > 5e-4  # L: S, but R for cysteine, whose sulfur outranks the carboxyl
        if letter == "I":
            ends = [atom(system, residue, name) for name in ("CA", "CG1", "CG2")]
            assert handedness(cb, *ends) > 5e-4  # (2S, 3S)
        if letter == "T":
            ends = [atom(system, residue, name) for name in ("OG1", "CA", "CG2")]
            assert handedness(cb, *ends) < -5e-4  # (2S, 3R)


def test_chirality_survives_relaxation() -> None:
    system = build_system("TI", solvent="vacuum")
    for residue in (1, 2):
        n, ca, c, cb = (atom(system, residue, name) for name in ("N", "CA", "C", "CB"))
        assert handedness(ca, n, c, cb) > 5e-4
    assert handedness(atom(system, 1, "CB"), *(atom(system, 1, name) for name in ("OG1", "CA", "CG2"))) < -5e-4
    assert handedness(atom(system, 2, "CB"), *(atom(system, 2, name) for name in ("CA", "CG1", "CG2"))) > 5e-4


def test_alanine_dipeptide_is_relaxed_and_meets_its_constraints() -> None:
    system = alanine_dipeptide()
    p = system.potential.parameters
    assert [r.name for r in system.molecule.topology.residues] == ["ACE", "ALA", "NME"]
    assert (system.molecule.n_atoms, len(p.constraint_atoms)) == (22, 12)
    assert float((bond_lengths(system.positions, p.constraint_atoms) / p.constraint_length - 1).abs().max()) < 1e-10
    unrelaxed = strained("A", solvent="vacuum")
    field = ForceField(p)
    assert float(field.energy(system.positions[None])) < float(field.energy(unrelaxed.positions[None])) - 5


def test_termini_without_caps_are_charged() -> None:
    system = build_system("PG", capped=False, solvent="vacuum", relax=False)
    names = [a.name for a in system.molecule.topology.residue(0).atoms]
    assert {"H2", "H3"} <= set(names)
    assert "OXT" in [a.name for a in system.molecule.topology.residue(1).atoms]
    assert len(system.potential.energy(system.positions[None])) == 1


def test_building_is_repeatable() -> None:
    made = []
    for seed in (5, 6):
        random.seed(seed)
        made.append(build_system("S", solvent="vacuum", relax=False))
    assert torch.equal(made[0].positions, made[1].positions)
    assert made[0].potential.parameters.fingerprint == made[1].potential.parameters.fingerprint


def test_hydrogen_mass_repartitioning_keeps_the_mass() -> None:
    light = strained("A", solvent="vacuum")
    heavy = build_system("A", force_field="amber14", solvent="vacuum", hydrogen_mass_amu=3.0, relax=False)
    hydrogen = torch.tensor([e == "H" for e in heavy.molecule.elements])
    assert torch.allclose(heavy.potential.parameters.masses[hydrogen], torch.tensor(3.0, dtype=torch.float64))
    torch.testing.assert_close(heavy.potential.parameters.masses.sum(), light.potential.parameters.masses.sum())


def test_a_pdb_gives_the_same_system_with_its_hydrogens_and_without(tmp_path: Path) -> None:
    system = strained("WP", solvent="vacuum")
    whole, bare = tmp_path / "whole.pdb", tmp_path / "bare.pdb"
    with whole.open("w") as file:
        openmm.app.PDBFile.writeFile(
            system.molecule.topology.to_openmm(), system.positions.numpy() * unit.nanometer, file
        )
    topology, positions = extended_peptide("WP")
    with bare.open("w") as file:
        openmm.app.PDBFile.writeFile(topology, positions * unit.nanometer, file)
    for path in (whole, bare):
        read = build_system(pdb=str(path), force_field="amber14", solvent="vacuum", relax=False)
        assert read.molecule == system.molecule
        energies = [each.potential.energy(shaken(system)) for each in (read, system)]
        torch.testing.assert_close(*energies, rtol=1e-10, atol=0)
        assert float((read.positions - system.positions).abs().max()) < 0.01


def test_salt_counts_as_in_amber_and_openmm() -> None:
    """`saltcon` of sander's manual; OpenMM's constants, `367.43 sqrt(c / (eps T))` at 298 K, differ a little."""
    system = build_system(sequence="A", solvent="gbn2", salt_molar=0.15, relax=False)
    born = force_field_of(system.potential).parameters.born
    assert born is not None
    assert born.kappa_per_nm == pytest.approx(7.3 * (0.10806 * 0.15) ** 0.5)
    assert born.kappa_per_nm == pytest.approx(367.434915 * (0.15 / (78.5 * 298.15)) ** 0.5, rel=2e-3)


MADE_UP = """\
HETATM    1  C1  XYZ A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    2  H1  XYZ A   1       1.000   0.000   0.000  1.00  0.00           H
END
"""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"sequence": "AXA"}, "'X' at position 2.*ACDEFGHIKLMNPQRSTVWY"),
        ({"sequence": ""}, "empty"),
        ({"sequence": "A", "capped": False}, "free amino acid"),
        ({}, "exactly one of"),
        ({"sequence": "A", "pdb": "a.pdb"}, "exactly one of"),
        ({"pdb": "missing.pdb"}, "missing.pdb does not exist"),
        ({"prmtop": "missing.prmtop"}, "missing.prmtop does not exist"),
        ({"sequence": "A", "solvent": "gbx"}, "'gbx'.*vacuum, hct, obc1, obc2, gbn, gbn2"),
        ({"sequence": "A", "force_field": "amber2"}, "'amber2'.*amber14, amber19, amber99sbildn"),
        ({"sequence": "A", "constraints": "all"}, "'all'.*none, hbonds"),
        ({"sequence": "A", "hydrogen_mass_amu": 40.0}, "hydrogen_mass_amu is 40"),
        ({"sequence": "A", "salt_kappa_per_nm": 1.0, "solvent": "vacuum"}, "salt_kappa_per_nm is 1"),
        ({"sequence": "A", "salt_molar": 0.1, "solvent": "vacuum"}, "salt_molar is 0.1"),
        ({"sequence": "A", "salt_molar": -0.1}, "salt_molar is -0.1"),
        ({"sequence": "A", "salt_molar": 0.1, "salt_kappa_per_nm": 1.0}, "were both given"),
        ({"sequence": "A", "cutoff_nm": 0.9, "long_range": "pme"}, "obc2 has no periodic box"),
        ({"sequence": "A", "cutoff_nm": -1.0}, "cutoff_nm is -1"),
        ({"sequence": "A", "long_range": "pme"}, "long_range=pme needs a cutoff"),
        ({"sequence": "A", "solvent": "vacuum", "cutoff_nm": 0.9}, "periodic box"),
        ({"sequence": "A", "solvent": "tip3p", "cutoff_nm": 0.9, "switch_nm": 1.0}, "switch_nm 1.0"),
        (
            {"sequence": "AK", "capped": False, "solvent": "tip3pfb", "force_field": "charmm36"},
            "charmm36 has no tip3pfb",
        ),
        (
            {"sequence": "A", "solvent": "opc", "padding_nm": 0.45, "cutoff_nm": 0.6, "coulomb": "amber"},
            "leave coulomb out",
        ),
        ({"sequence": "A", "solvent": "opc", "padding_nm": 0.45, "cutoff_nm": 0.9}, "more than half of the box"),
        (
            {"sequence": "A", "solvent": "tip3p", "cutoff_nm": 0.6, "switch_nm": 0.5, "long_range": "ljpme"},
            "ljpme sums",
        ),
        ({"sequence": "A", "solvent": "tip3p", "long_range": "ljpme", "force_field": "charmm36"}, "take pme"),
        ({"sequence": "A", "switch_nm": 0.5}, "switch_nm=0.5 needs a cutoff"),
        ({"sequence": "A", "long_range": "ljpme"}, "long_range=ljpme needs a cutoff"),
        ({"psf": "missing.psf"}, "missing.psf does not exist"),
        ({"top": "missing.top"}, "missing.top does not exist"),
    ],
)
def test_mistakes_are_named(arguments: dict, complaint: str) -> None:
    with pytest.raises(MdgenError, match=complaint):
        build_system.__wrapped__(**arguments)  # past the check of types, as a config would come in


def test_an_unknown_residue_in_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "xyz.pdb"
    path.write_text(MADE_UP)
    with pytest.raises(MdgenError, match=r"residue XYZ 1 is unknown to amber99sbildn; known are .*ALA"):
        build_system(pdb=str(path))


def test_a_file_that_is_no_pdb_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.pdb"
    path.write_text("these are notes\n")
    with pytest.raises(MdgenError, match=r"notes\.pdb"):
        build_system(pdb=str(path))


@pytest.mark.parametrize("water", ["tip3p", "opc"])
def test_a_box_of_water_is_not_put_into_implicit_solvent(tmp_path: Path, water: str) -> None:
    """The default solvent of a file is implicit; around a box that would be slow and wrong without a word."""
    box = build_system(sequence="A", solvent=water, padding_nm=0.45, cutoff_nm=0.6, relax=False)
    path = tmp_path / "box.pdb"
    topology = box.molecule.topology.to_openmm()
    topology.setUnitCellDimensions(box.cell.tolist() * unit.nanometer)
    with path.open("w") as file:
        openmm.app.PDBFile.writeFile(topology, box.positions.numpy() * unit.nanometer, file)
    with pytest.raises(MdgenError, match=r"obc2.*is a box with \d+ waters.*solvent=vacuum"):
        build_system(pdb=str(path), solvent="obc2")
