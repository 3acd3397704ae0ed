"""PDB files of the wild: refused with the command that mends them, or repaired with a list of what was changed."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm.app
import pytest
from openmm import unit

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.systems.build import build_system
from mdgen.md.systems.pdb_repair import require_no_stale_bonds
from mdgen.md.systems.peptides import extended_peptide
from mdgen.md.systems.topology_files import from_pdb

COMMAND = r"system\.repair=true mends"


def lines_of(sequence: str = "AF", capped: bool = True) -> list[str]:
    """The lines of a PDB file of a peptide with hydrogens."""
    topology, positions = extended_peptide(sequence, capped)
    modeller = openmm.app.Modeller(topology, positions * unit.nanometer)
    modeller.addHydrogens(platform=openmm.Platform.getPlatformByName("Reference"))
    text = io.StringIO()
    openmm.app.PDBFile.writeFile(modeller.topology, modeller.positions, text)
    return [line for line in text.getvalue().splitlines() if line.startswith(("ATOM", "HETATM", "TER"))]


def stale_bonds(lines: list[str]) -> list[str]:
    """CONECT lines of a file whose atoms have been numbered again: far atoms, a hydrogen of the same carbon's."""
    return [*lines, "CONECT    1   20", "CONECT    2    3   30", "END"]


def charmm_names(lines: list[str]) -> list[str]:
    """Hydrogens of names that no table knows, and one more at the end of the chain."""
    renamed = [line.replace(" HB2 PHE", " QB1 PHE").replace(" HB3 PHE", " QB2 PHE") for line in lines]
    return [*renamed, "END"]


def alternates(lines: list[str]) -> list[str]:
    """The first carbon beta at two places."""
    at = next(number for number, line in enumerate(lines) if " CB  ALA" in line)
    first, second = (f"{lines[at][:16]}{letter}{lines[at][17:]}" for letter in "AB")
    moved = f"{second[:30]}{float(second[30:38]) + 0.4:8.3f}{second[38:]}"
    return [*lines[:at], first, moved, *lines[at + 1 :], "END"]


def missing(lines: list[str]) -> list[str]:
    """Without the end of a ring and its hydrogens."""
    left_out = (" CE1 PHE", " CZ  PHE", " HE1 PHE", " HZ  PHE")
    return [*(line for line in lines if not any(each in line for each in left_out)), "END"]


def selenium(lines: list[str]) -> list[str]:
    """Methionine as it is crystallised."""
    lines = [line for line in lines_of("AM") if line[76:78].strip() != "H"]
    return [
        line.replace(" SD  MET", "SE   MSE").replace("MET", "MSE").replace("           S", "          SE")
        for line in lines
    ]


WILD = {
    "stale CONECT": (stale_bonds, "bonds atoms 1 "),
    "names of hydrogens": (charmm_names, "does not match"),
    "missing atoms": (missing, "does not match"),
}


@pytest.mark.parametrize("name", WILD)
def test_a_file_of_the_wild_is_refused_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    damage, expected = WILD[name]
    path = tmp_path / "wild.pdb"
    path.write_text("\n".join(damage(lines_of())))
    with pytest.raises(MdgenError, match=expected) as error:
        build_system(pdb=str(path), solvent="vacuum", relax=False)
    assert error.match(COMMAND)


@pytest.fixture
def repair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], tuple[System, str]]:
    """Builds the system of the lines of a PDB file with repair; with what was said to be changed."""
    pytest.importorskip("pdbfixer", reason="PDBFixer is not installed (the extra `repair`)")
    monkeypatch.setattr(logging.getLogger("mdgen"), "propagate", True)

    def built(lines: list[str]) -> tuple[System, str]:
        path = tmp_path / "wild.pdb"
        path.write_text("\n".join(lines))
        with caplog.at_level("INFO", logger="mdgen"):
            system = build_system(pdb=str(path), solvent="vacuum", relax=False, repair=True)
        return system, caplog.text

    return built


@pytest.mark.parametrize(("damage", "expected"), [
    (stale_bonds, "CONECT: 2 lines between atoms that are far apart left out"),
    (charmm_names, "PHE 3 of chain A: QB1, QB2 not where hydrogens"),
    (alternates, "ALA 2: alternate location of CB (B) left out"),
    (missing, "PHE 3 of chain A: CE1, HE1, CZ, HZ added"),
])  # fmt: skip
def test_a_file_of_the_wild_is_repaired_with_a_list_of_what_was_changed(repair, damage, expected: str) -> None:
    lines = damage(lines_of())
    system, said = repair(lines)
    assert system.molecule.n_atoms == build_system(sequence="AF", solvent="vacuum", relax=False).molecule.n_atoms
    assert expected in said
    again, _ = repair(lines)
    np.testing.assert_allclose(again.positions, system.positions, atol=1e-3)


def test_modified_residues_become_what_they_were_made_from(repair) -> None:
    system, said = repair([*selenium([]), "END"])
    assert "MSE 3 of chain A: replaced by MET" in said
    assert system.molecule.n_atoms == build_system(sequence="AM", solvent="vacuum", relax=False).molecule.n_atoms


def test_a_whole_file_is_left_as_it_is(repair, tmp_path: Path) -> None:
    same, said = repair([*lines_of(), "END"])
    assert "nothing had to be changed" in said
    plain = build_system(pdb=str(tmp_path / "wild.pdb"), solvent="vacuum", relax=False)
    np.testing.assert_allclose(plain.positions, same.positions)


@pytest.mark.parametrize(("first", "second", "apart_nm", "bonded"), [
    (" SG   S", "ZN   ZN", 0.233, True), (" SG   S", "ZN   ZN", 0.35, False), ("HG   HG", " SG   S", 0.24, True),
    (" SG   S", " CB   C", 0.233, False), (" HG   H", " SG   S", 0.24, False), (" HG   1", " SG   2", 0.2, False),
    (" SG   S", " SG   S", 0.205, True),
])  # fmt: skip
def test_a_metal_may_be_bonded_over_more_than_an_organic_bond(
    first: str, second: str, apart_nm: float, bonded: bool
) -> None:
    lines = [
        f"HETATM{n:5d} {name[:4]} RES A   1    {x:8.3f}   0.000   0.000  1.00  0.00          {name[5:]}".encode()
        for n, name, x in ((1, first, 0.0), (2, second, 10 * apart_nm))
    ]
    lines.append(b"CONECT    1    2")
    if bonded:
        require_no_stale_bonds("a.pdb", lines)
        return
    with pytest.raises(MdgenError, match=f"{apart_nm:.2f} nm apart"):
        require_no_stale_bonds("a.pdb", lines)


def test_a_conect_line_without_atoms_is_one_sentence_and_hydrogen_bonds_beyond_its_columns_no_bonds(
    tmp_path: Path,
) -> None:
    file, lines = tmp_path / "a.pdb", lines_of()
    file.write_text("\n".join([*lines, f"CONECT    1{' ' * 20}{len(lines) // 2:5d}", "END"]))
    assert len(from_pdb(str(file)).positions) > 0
    file.write_text("\n".join([*lines, "CONECT", "END"]))
    with pytest.raises(MdgenError, match="as a PDB file"):
        from_pdb(str(file))
