"""`mdgen energy`: terms that add up, agree with OpenMM and by choice with AMBER, forces, mistakes in a line."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.apps.main import main
from mdgen.md.force_field.energy_decomposition import EnergyTerms
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_reference import reference_energies_and_forces
from mdgen.units import COULOMB_AMBER, COULOMB_OPENMM, KCAL
from tests.md.reference import shaken


def energies(tmp_path: Path, *overrides: str) -> dict:
    output = tmp_path / "energy.json"
    assert main(["energy", "system.sequence=A", "threads=1", f"output={output}", *overrides]) == 0
    return json.loads(output.read_text())


def test_terms_add_up_and_agree_with_openmm(tmp_path: Path) -> None:
    result = energies(tmp_path, "check=true", "forces=true")
    terms = dict(result["kcal_per_mol"])
    total = terms.pop("total")
    assert sum(value[0] for value in terms.values()) == pytest.approx(total[0], abs=1e-9)
    assert result["kJ_per_mol"]["bond"][0] == pytest.approx(terms["bond"][0] * KCAL)
    assert {row["name"] for row in result["acceptance"]} >= {"bonds_difference_kcal_per_mol"}
    assert all(row["holds"] for row in result["acceptance"])
    system = build_system("A", force_field="amber99sbildn", constraints="none", relax=False)
    theirs, forces = reference_energies_and_forces(system.potential.openmm_system, system.positions.numpy())
    assert total[0] == pytest.approx(sum(theirs.values()) / KCAL, abs=1e-3)
    np.testing.assert_allclose(np.load(tmp_path / "energy_forces.npy")[0], forces, atol=1e-5 * np.abs(forces).max())


def test_the_constants_and_the_surface_are_choices(tmp_path: Path) -> None:
    plain = energies(tmp_path)["kcal_per_mol"]
    amber = energies(tmp_path, "system.coulomb=amber", "system.surface=none")["kcal_per_mol"]
    for term in ("coulomb", "coulomb_14", "generalized_born"):
        assert amber[term][0] == pytest.approx(plain[term][0] * COULOMB_AMBER / COULOMB_OPENMM, rel=1e-12)
    assert plain["surface"][0] > 1
    assert amber["surface"][0] == 0
    assert amber["lennard_jones"] == plain["lennard_jones"]


def test_every_frame_of_trajectories_is_evaluated(tmp_path: Path) -> None:
    system = build_system("A", force_field="amber99sbildn", constraints="none", relax=False)
    frames = shaken(system, 5).numpy().astype(np.float32)
    np.save(tmp_path / "frames.npy", frames)
    system_pdb = tmp_path / "a.pdb"
    mdtraj.Trajectory(frames[:1], system.molecule.topology).save_pdb(str(system_pdb))
    result = energies(
        tmp_path,
        f"data.trajectories={tmp_path / 'frames.npy'}",
        f"data.topology={system_pdb}",
        "data.frame_spacing_ps=1",
        "check=true",
    )
    expected = system.potential.energy(torch.as_tensor(frames, dtype=torch.float64))
    np.testing.assert_allclose(result["kJ_per_mol"]["total"], expected.numpy(), rtol=1e-9)
    assert all(row["holds"] for row in result["acceptance"])


def test_springs_and_impropers_are_told_from_bonds_and_torsions() -> None:
    system = build_system("AG", force_field="charmm36", solvent="vacuum", constraints="none", relax=False)
    terms = EnergyTerms(system.potential.parameters, system.molecule)(shaken(system, 2))
    assert float(terms["urey_bradley"].min()) > 0
    assert float(terms["improper"].abs().min()) > 0
    whole = system.potential.energy(shaken(system, 2))
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(0), whole)


def test_other_molecules_and_files_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", "system.sequence=A", f"output={tmp_path}"]) == 2
    assert "expected a file that ends in .json" in capfd.readouterr().err


def test_atoms_in_another_order_are_named_and_no_frames_to_check_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    system, file = build_system("A"), tmp_path / "swapped.pdb"
    mdtraj.Trajectory(system.positions[None].numpy(), system.molecule.topology).save_pdb(str(file))
    lines = file.read_text().splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if line.startswith("ATOM"))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]  # a hydrogen and a carbon
    file.write_text("".join(line for line in lines if not line.startswith("CONECT")))
    command = ["energy", "system.sequence=A", "threads=1", f"output={tmp_path}/e.json"]
    data = [f"data.trajectories={file}", "data.frame_spacing_ps=1"]
    assert main([*command, *data]) == 2
    assert "the trajectories have ACE1-H1 (atom 0) where the system has ACE1-CH3" in capfd.readouterr().err
    assert main([*command, "check=true", "check_frames=0"]) == 2
    assert "check_frames is 0" in capfd.readouterr().err
    assert not (tmp_path / "e.json").exists()
