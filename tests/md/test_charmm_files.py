"""CHARMM files as programs write them: a psf without masses, a prm without types, each against OpenMM."""

from pathlib import Path

import pytest

from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_reference import reference_errors, relative_error

SHARED = Path(__file__).parents[3] / "shared" / "data" / "force_field_systems"

PSF = """PSF

       1 !NTITLE
 REMARKS two atoms

       2 !NATOM
       1 L    1    MOL  C1   CX       0.2000000       0.0           0
       2 L    1    MOL  O1   OX      -0.2000000       0.0           0

       1 !NBOND: bonds
       1       2

       0 !NTHETA: angles


       0 !NPHI: dihedrals


       0 !NIMPHI: impropers


       0 !NDON: donors


       0 !NACC: acceptors


       0 !NNB

       0       0

       1       0 !NGRP
       0       0       0

"""
RTF = """* two types
*
31  1

MASS   1 CX 12.01100 C
MASS   2 OX 15.99900 O

END
"""
PRM = """* without types
*

BONDS
CX OX 600.0 1.23

ANGLES

DIHEDRALS

NONBONDED nbxmod 5 atom cdiel fshift vatom vdistance vfswitch -
cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5
CX 0.0 -0.11 2.0
OX 0.0 -0.12 1.7

END
"""
PDB = """ATOM      1  C1  MOL L   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      2  O1  MOL L   1       1.300   0.000   0.000  1.00  0.00           O
END
"""


def test_masses_that_a_psf_leaves_out_come_from_the_types(tmp_path: Path) -> None:
    for name, content in (("a.psf", PSF), ("a.rtf", RTF), ("a.prm", PRM), ("a.pdb", PDB)):
        (tmp_path / name).write_text(content)
    files = [str(tmp_path / name) for name in ("a.prm", "a.rtf")]
    system = build_system(
        psf=str(tmp_path / "a.psf"),
        coordinates=str(tmp_path / "a.pdb"),
        charmm_files=files,
        solvent="vacuum",
        constraints="none",
        hydrogen_mass_amu=None,
        relax=False,
    )
    assert system.potential.parameters.masses.tolist() == pytest.approx([12.011, 15.999])
    assert list(system.molecule.elements) == ["C", "O"]
    errors, mine, theirs = reference_errors(system, system.positions[None])
    assert max(errors.values()) < 1e-9
    assert relative_error(mine, theirs) < 1e-9


@pytest.mark.parametrize(
    "name", ["1dihedral", "4dihedrals", "benzamidine", "singledihedral", "2watersperiodic", "sodiumperiodic", "water"]
)
def test_files_of_other_programs_are_read(name: str) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    (psf,), (pdb, *_) = folder.glob("*.psf"), sorted(folder.glob("*.pdb"))
    files = sorted(str(path) for suffix in ("prm", "rtf") for path in folder.glob(f"*.{suffix}"))
    system = build_system(
        psf=str(psf),
        coordinates=str(pdb),
        charmm_files=files,
        solvent="vacuum",
        constraints="none",
        hydrogen_mass_amu=None,
        relax=False,
    )
    errors, mine, theirs = reference_errors(system, system.positions[None])
    assert max(errors.values()) < 1e-6
    assert relative_error(mine, theirs) < 1e-9
