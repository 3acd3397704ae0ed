"""Systems that cannot be simulated: each is one sentence on the command line, and leaves nothing behind."""

from pathlib import Path

import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_loader import load_openmm_system
from mdgen.md.systems.peptides import extended_peptide
from tests.md.test_sources import GRO, TOP

SMALL = ["n_replicas=2", "engine=torch", "length_ns=1e-5", "equilibration_ns=0", "save_ps=0.002"]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The one sentence of a simulation that must fail and leave nothing."""

    def of(*arguments: str, keep: bool = False) -> str:
        capsys.readouterr()
        assert main(["simulate", f"output={tmp_path}/run", *SMALL, "integrator.timestep_fs=2", *arguments]) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("mdgen: "))
        assert keep or not (tmp_path / "run").exists()
        return line

    return of


@pytest.mark.parametrize(
    ("sequence", "complaint"),
    [
        ("ipgd", "'ipgd' has small letters; did you mean 'IPGD'?"),
        ("AXA", "residue 'X' at position 2"),
        ("''", "expected text such as A"),
        ("12", "expected text such as A"),
        ("A-G", "residue '-' at position 2"),
    ],
)
def test_sequences(said, sequence: str, complaint: str) -> None:
    assert complaint in said(f"system.sequence={sequence}")


def test_one_residue_without_caps(said) -> None:
    assert "without caps is a free amino acid" in said("system.sequence=A", "system.capped=false")


def test_a_sequence_that_spells_a_number_is_a_sequence(said) -> None:
    assert "n_replicas=0" in said("system.sequence=NAN", "n_replicas=0")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("integrator.timestep_fs=0", "timestep_fs is 0"),
        ("integrator.timestep_fs=3", "no multiple of the time step"),
        ("integrator.temperature_K=-5", "temperature_K is -5"),
        ("integrator.friction_per_ps=-1", "friction_per_ps is -1"),
        ("system.hydrogen_mass_amu=-1", "between 1 and 4"),
        ("system.cutoff_nm=1", "cutoff_nm needs a periodic box, but this molecule has none"),
        ("length_ns=0", "length_ns is 0"),
        ("pressure_bar=1", "pressure_bar"),
        ("engine=openmm pressure_bar=1", "no box to hold it"),
        ("device=tpu", "device"),
    ],
)
def test_settings(said, change: str, complaint: str) -> None:
    assert complaint in said("system.sequence=A", "system.solvent=vacuum", *change.split())


def test_a_time_step_that_explodes(said, tmp_path: Path) -> None:
    changes = ["integrator.timestep_fs=40", "save_ps=0.04", "length_ns=0.01"]
    sentence = said("system.sequence=A", "system.solvent=vacuum", *changes, keep=True)
    assert "all 2 replicas blew up; replica" in sentence
    assert "time step of 40 fs is too long" in sentence
    assert not (tmp_path / "run/DONE").exists()


@pytest.fixture
def gromacs(said, tmp_path: Path):
    """What is said of a small molecule in a box, after changes of its files."""

    def of(*arguments: str, top: tuple[str, str] = ("", ""), gro: tuple[str, str] = ("", "")) -> str:
        for name, text, (old, new) in (("a.top", TOP, top), ("a.gro", GRO, gro)):
            assert old in text
            (tmp_path / name).write_text(text.replace(old, new) if old else text)
        files = [f"system.top={tmp_path}/a.top", f"system.coordinates={tmp_path}/a.gro"]
        return said("system=gromacs", *files, "system.hydrogen_mass_amu=null", *arguments)

    return of


def test_files_with_a_force_field(gromacs) -> None:
    atom = "3 H 1 MOL H1 3 0.05"
    assert "C1" in gromacs(gro=("1.150   1.000   1.000", "1.000   1.000   1.001"))
    assert "half" in gromacs("system.cutoff_nm=1.2")
    no_box = gromacs("system.cutoff_nm=0.9", gro=("   2.00000   2.00000   2.20000\n", "   0.0 0.0 0.0\n"))
    assert "box" in no_box
    assert "mass 0 amu" in gromacs(top=(atom, f"{atom} 0.0"))
    assert "mass -1 amu" in gromacs(top=(atom, f"{atom} -1.0"))
    assert "parameters" in gromacs(top=("1 3 1 0.109 280000", "1 3 1"))
    assert "cannot read" in gromacs(gro=("1.000   1.000   1.000", "x y z"))


@pytest.fixture
def pdb(said, tmp_path: Path):
    """What is said of a PDB file of heavy atoms, some left out, some lines added."""

    def of(without: tuple[str, ...] = (), add: str = "", *arguments: str) -> str:
        topology, positions = extended_peptide("AF")
        modeller = openmm.app.Modeller(topology, positions * unit.nanometer)
        gone = [a for a in topology.atoms() if f"{a.residue.name} {a.name}" in without or a.residue.name in without]
        modeller.delete(gone)
        with (tmp_path / "a.pdb").open("w") as file:
            openmm.app.PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)
        content = (tmp_path / "a.pdb").read_text()
        (tmp_path / "a.pdb").write_text(content.replace("END\n", add + "END\n"))
        return said("system=pdb", f"system.pdb={tmp_path}/a.pdb", "system.solvent=vacuum", *arguments)

    return of


def hetero(name: str, residue: str) -> str:
    return (
        f"HETATM  900 {name:<4s} {residue:>3s} B   1      30.000  30.000  30.000  1.00  0.00           {name[0]:>1s}\n"
    )


def test_pdb_files(pdb, said, tmp_path: Path) -> None:
    assert "residue PHE 3 does not match" in pdb(("PHE CE1", "PHE CZ"))
    assert "a.pdb has a gap: ACE 1 and PHE 3" in pdb(("ALA",))
    assert "residue HOH 1 is water" in pdb((), hetero("O", "HOH"))
    assert "residue BEN 1 is unknown to amber99sbildn; known are" in pdb((), hetero("C1", "BEN"))
    (tmp_path / "empty.pdb").write_text("REMARK nothing\n")
    assert "holds no atoms" in said("system=pdb", f"system.pdb={tmp_path}/empty.pdb")
    assert "does not exist" in said("system=pdb", "system.pdb=nowhere.pdb")


def test_repair_without_pdbfixer(pdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pdbfixer", None)
    assert "pip install pdbfixer" in pdb(("PHE CZ",), "", "system.repair=true")


def test_repair_with_pdbfixer(pdb, tmp_path: Path) -> None:
    pytest.importorskip("pdbfixer", reason="PDBFixer is not installed (the extra `repair`)")
    assert "n_replicas=0" in pdb(("PHE CZ", "PHE CE1"), "", "system.repair=true", "n_replicas=0")


def test_forces_that_the_engine_lacks_are_named() -> None:
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12.0)
    force = openmm.CustomExternalForce("x^2")
    system.addForce(force)
    with pytest.raises(MdgenError, match="CustomExternalForce"):
        load_openmm_system(system)
    system.removeForce(0)
    system.addForce(openmm.RBTorsionForce())
    with pytest.raises(MdgenError, match="RBTorsionForce"):
        load_openmm_system(system)


def test_replicas_of_different_molecules_are_refused() -> None:
    one, two = (build_system(sequence=letter, solvent="vacuum", relax=False) for letter in "AG")
    engine = make_engine(one, Langevin(2.0, 300.0), 2, torch.Generator(), kind="torch")
    state = State(two.positions.repeat(2, 1, 1), torch.zeros(2, 19, 3))
    with pytest.raises(MdgenError, match=r"\(2, 19, 3\) does not fit an engine of \(replica, atom, 3\) = \(2, 22, 3\)"):
        engine.prepare(state)


def test_trajectories_of_different_molecules_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for letter in "AG":
        molecule = build_system(sequence=letter, solvent="vacuum", relax=False).molecule
        with TrajectoryStore.create(tmp_path / letter, molecule, 1.0, 1) as store:
            store.append(np.zeros((1, 3, molecule.n_atoms, 3)))
    data = f"data.trajectories=[{tmp_path}/A,{tmp_path}/G]"
    assert main(["train", "encoder=tica", data, f"output={tmp_path}/encoder"]) == 2
    assert f"mdgen: {tmp_path}/G" in capsys.readouterr().err
    assert not (tmp_path / "encoder").exists()
