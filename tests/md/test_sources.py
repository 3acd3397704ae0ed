"""Files of AMBER, CHARMM and GROMACS, and boxes of water, become systems; what is wrong with them is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.generation.relaxation import Relaxation
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine, passed_over
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.md.systems.build import build_system
from tests.md.reference import openmm_energies_and_forces

SHARED = Path(__file__).parents[3] / "shared" / "data" / "force_field_systems"

TOP = """\
[ defaults ]
1 2 yes 0.5 0.8333
[ atomtypes ]
C 6 12.011 0.0 A 0.35 0.30
H 1 1.008 0.0 A 0.25 0.12
[ moleculetype ]
MOL 3
[ atoms ]
1 C 1 MOL C1 1 -0.1
2 C 1 MOL C2 2 0.1
3 H 1 MOL H1 3 0.05
4 H 1 MOL H2 4 -0.05
[ bonds ]
1 2 1 0.15 250000
1 3 1 0.109 280000
2 4 1 0.109 280000
[ pairs ]
3 4 1
[ angles ]
3 1 2 1 110.0 400.0
1 2 4 1 110.0 400.0
[ dihedrals ]
3 1 2 4 1 0.0 5.0 3
[ system ]
chain
[ molecules ]
MOL 1
"""

RYCKAERT_BELLEMANS = TOP.replace("3 1 2 4 1 0.0 5.0 3", "3 1 2 4 3 5.0 15.0 0.0 -20.0 0.0 0.0")

GRO = """\
chain
4
    1MOL     C1    1   1.000   1.000   1.000
    1MOL     C2    2   1.150   1.000   1.000
    1MOL     H1    3   0.960   1.100   1.010
    1MOL     H2    4   1.190   0.920   1.060
   2.00000   2.00000   2.20000
"""


@pytest.fixture
def gromacs(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "chain.top").write_text(TOP)
    (tmp_path / "chain.gro").write_text(GRO)
    return {"top": str(tmp_path / "chain.top"), "coordinates": str(tmp_path / "chain.gro")}


def test_gromacs_files_agree_with_openmm(gromacs: dict[str, str]) -> None:
    for box in ({}, {"cutoff_nm": 0.9}):
        system = build_system(
            **gromacs, hydrogen_mass_amu=None, solvent="vacuum", constraints="none", relax=False, **box
        )
        energies, forces = openmm_energies_and_forces(system.potential.openmm_system, system.positions.numpy())
        cell = None if system.cell is None else system.cell[None]
        energy, mine = system.potential.energy_and_forces(system.positions[None], cell)
        assert float(energy) == pytest.approx(sum(energies.values()), rel=1e-9)
        np.testing.assert_allclose(mine[0].numpy(), forces, rtol=1e-7, atol=1e-6)
    assert system.cell is not None
    assert system.cell.tolist() == pytest.approx([2.0, 2.0, 2.2])


def test_what_only_openmm_computes_is_left_to_it(gromacs: dict[str, str]) -> None:
    """Torsions of Ryckaert and Bellemans, here with the powers that make a cosine of 3 phi; and a triclinic box."""
    settings = {"hydrogen_mass_amu": None, "solvent": "vacuum", "relax": False}
    expected = build_system(**gromacs, **settings)
    Path(gromacs["top"]).write_text(RYCKAERT_BELLEMANS)
    found = build_system(**gromacs, **settings)
    x = expected.positions[None]
    assert float(found.potential.energy(x)) == pytest.approx(float(expected.potential.energy(x)), rel=1e-9)
    integrator = Langevin(1.0, 300.0)
    assert "RBTorsionForce" in passed_over(found, integrator)["torch"]
    with pytest.raises(MdgenError, match=r"coulomb was given, but .* RBTorsionForce .* leave coulomb out"):
        build_system(**gromacs, **settings, coulomb="amber")
    _, forces = energy_and_forces(found.potential, x)
    torch.testing.assert_close(forces, energy_and_forces(expected.potential, x)[1])
    generator = torch.Generator().manual_seed(0)
    relaxed = Relaxation(found, length_ps=0.02)(x[None].float(), 300.0, generator)
    assert float(bond_lengths(relaxed, found.molecule.bonds).max()) < 0.2
    assert found.potential.translation_invariant
    Path(gromacs["top"]).write_text(RYCKAERT_BELLEMANS.replace("4 -0.05", "4 nan"))
    with pytest.raises(MdgenError, match="holds a number that is not finite"):
        build_system(**gromacs, **settings)
    Path(gromacs["top"]).write_text(RYCKAERT_BELLEMANS)
    Path(gromacs["coordinates"]).write_text(GRO.replace("0.960   1.100   1.010", "1.000   1.000   1.001"))
    with pytest.raises(MdgenError, match=r"atom 0 \(C1 of MOL1\) and atom 2 \(H1 of MOL1\) overlap"):
        build_system(**gromacs, **settings)
    Path(gromacs["top"]).write_text(TOP)
    Path(gromacs["coordinates"]).write_text(GRO.replace("2.20000\n", "2.20000 0.0 0.0 0.5 0.0 0.0 0.0\n"))
    triclinic = build_system(**gromacs, **settings, cutoff_nm=0.9)
    assert "box is triclinic" in passed_over(triclinic, integrator)["torch"]
    engine = make_engine(triclinic, integrator, 1, torch.Generator().manual_seed(0), threads=1)
    engine.prepare(initial_state(triclinic, 1, torch.tensor([300.0]), torch.Generator().manual_seed(0)))
    cells = engine.record(1, 5).cells
    assert cells is not None
    np.testing.assert_allclose(cells[0, 0], [[2.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 2.2]], atol=1e-6)


def test_a_box_of_water_is_built_and_relaxed() -> None:
    system = build_system(sequence="A", solvent="tip3p", padding_nm=0.45, cutoff_nm=0.6, ion_molar=1.0)
    assert system.cell is not None
    names = {residue.name for residue in system.molecule.topology.residues}
    assert {"HOH", "ALA", "NA", "CL"} <= names
    field = system.potential
    energy = field.energy(system.positions[None], system.cell[None])
    assert float(energy) < -20 * len(list(system.molecule.topology.residues))  # kJ/mol; water binds by some 40
    again = build_system(sequence="A", solvent="tip3p", padding_nm=0.45, cutoff_nm=0.6, ion_molar=1.0, relax=False)
    assert again.molecule == system.molecule
    assert system.potential.parameters.fingerprint == again.potential.parameters.fingerprint


def test_boxes_that_make_no_sense_are_named(gromacs: dict[str, str]) -> None:
    def build(**settings: object) -> None:
        build_system(**gromacs, **{"solvent": "vacuum", "hydrogen_mass_amu": None, "relax": False, **settings})

    with pytest.raises(MdgenError, match=r"cutoff of 1\.1 nm is more than half"):
        build(cutoff_nm=1.1)
    with pytest.raises(MdgenError, match="three positive edges"):
        build(cutoff_nm=0.9, box_nm=[2.0, 2.0])
    with pytest.raises(MdgenError, match="put around a sequence or pdb only"):
        build(solvent="tip3p", cutoff_nm=0.9)
    with pytest.raises(MdgenError, match="holds no coordinates"):
        build_system(top=gromacs["top"], hydrogen_mass_amu=None, solvent="vacuum")


def test_a_force_field_without_a_type_is_named(gromacs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "chain.top").write_text(TOP.replace("H 1 1.008 0.0 A 0.25 0.12\n", ""))
    with pytest.raises(MdgenError, match=r"chain\.top"):
        build_system(**gromacs, hydrogen_mass_amu=None, solvent="vacuum")


def test_overlapping_atoms_are_named(gromacs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "chain.gro").write_text(GRO.replace("0.960   1.100   1.010", "1.000   1.000   1.001"))
    with pytest.raises(MdgenError, match=r"atom 0 \(C1 of MOL1\) and atom 2 \(H1 of MOL1\) overlap"):
        build_system(**gromacs, hydrogen_mass_amu=None, solvent="vacuum")


def test_repair_needs_pdbfixer(tmp_path: Path) -> None:
    pytest.importorskip("openmm")
    try:
        import pdbfixer  # noqa: F401
    except ImportError:
        path = tmp_path / "any.pdb"
        path.write_text("ATOM      1  N   ALA A   1       0.000   0.000   0.000\nEND\n")
        with pytest.raises(MdgenError, match=r"PDBFixer.*not installed"):
            build_system(pdb=str(path), repair=True)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the systems in {SHARED} are not here")
def test_psf_and_periodic_prmtop_are_read() -> None:
    folder = SHARED / "waterbox"
    system = build_system(
        psf=str(folder / "structure.psf"),
        coordinates=str(folder / "structure.pdb"),
        charmm_files=[str(folder / "parameters.prm")],
        solvent="vacuum",
        cutoff_nm=0.8,
        box_nm=[1.7, 1.7, 1.7],
        hydrogen_mass_amu=None,
        relax=False,
    )
    assert system.potential.parameters.cutoff is not None
    assert len(system.potential.parameters.constraint_length) == 3 * 97
    folder = SHARED / "prod_alanine_dipeptide_amber"
    files = {"prmtop": str(folder / "structure.prmtop"), "coordinates": str(folder / "structure.pdb")}
    periodic = build_system(
        **files, hydrogen_mass_amu=None, solvent="vacuum", cutoff_nm=0.9, switch_nm=0.75, relax=False
    )
    energy = periodic.potential.energy(periodic.positions[None], periodic.cell[None])
    assert bool(torch.isfinite(energy).all())
    with pytest.raises(MdgenError, match="more than half of the box"):
        build_system(**files, hydrogen_mass_amu=None, solvent="vacuum", cutoff_nm=1.2, relax=False)
