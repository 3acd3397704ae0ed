"""What is timed is the same in every engine: energies and forces agree, whoever computes them."""

from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from mdgen.benchmarks.speed.engines import ENGINES, engine_setups
from mdgen.benchmarks.speed.roofline import (
    OPERATIONS_BORN,
    OPERATIONS_NEAR,
    OPERATIONS_NECK,
    pair_operations,
    roofline_row,
)
from mdgen.benchmarks.speed.start import TEMPERATURE_K, Start
from mdgen.benchmarks.speed.timed_systems import SYSTEMS, Prepared, _sources, prepare_system
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.units import KCAL
from tests.md.reference import kinetic_temperature

BOX = "water_688_reaction_field"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speed")


@pytest.fixture(scope="module")
def small(folder: Path) -> Prepared:
    return prepare_system("alanine_dipeptide_obc2", folder / "small", None)


@pytest.fixture(scope="module")
def box(folder: Path) -> Prepared:
    return prepare_system(BOX, folder / "box", None)


def test_openmm_gets_its_own_force_for_obc2_with_the_same_energy(small: Prepared) -> None:
    names = [type(force).__name__ for force in small.start.system.getForces()]
    assert "GBSAOBCForce" in names
    assert "CustomGBForce" not in names
    assert small.facts["energy_against_openmm_kcal_per_mol"] < 1e-6
    assert small.facts["forces_against_openmm_relative"] < 1e-9
    custom = build_system(**SYSTEMS["alanine_dipeptide_obc2"].settings, relax=False)
    context = openmm.Context(
        custom.potential.openmm_system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(small.start.positions)
    theirs = context.getState(getEnergy=True).getPotentialEnergy()._value
    mine = ForceField(small.parameters).energy(torch.from_numpy(small.start.positions)[None])
    assert float(mine[0]) == pytest.approx(theirs, abs=1e-3 * KCAL)


@pytest.mark.parametrize("name", ["alanine_dipeptide_ff19sb", "alanine_dipeptide_charmm36"])
def test_force_fields_with_correction_maps_agree_with_openmm(name: str, tmp_path: Path) -> None:
    prepared = prepare_system(name, tmp_path, None)
    assert {"CMAPTorsionForce", "GBSAOBCForce"} <= set(prepared.facts["openmm_forces"])
    assert prepared.facts["energy_against_openmm_kcal_per_mol"] < 1e-6
    assert prepared.facts["forces_against_openmm_relative"] < 1e-9


def test_every_system_is_timed_with_constraints_and_whole_masses(small: Prepared, box: Prepared) -> None:
    assert len(small.parameters.constraint_length) == 12
    assert len(box.parameters.constraint_length) == 12 + 3 * (688 - 22) // 3
    for prepared in (small, box):
        assert sorted(prepared.parameters.masses.tolist())[0] == pytest.approx(1.008, abs=1e-3)


def test_without_torchmds_files_a_box_like_theirs_is_built(box: Prepared, tmp_path: Path) -> None:
    assert box.n_atoms == 688
    assert "solvated" in box.facts["origin"]
    cutoff = box.parameters.cutoff
    assert cutoff is not None
    assert (cutoff.distance_nm, cutoff.periodic, cutoff.switch_nm) == (0.9, True, None)
    assert box.facts["energy_against_openmm_kcal_per_mol"] < 1e-3
    assert _sources(SYSTEMS[BOX], str(tmp_path))[1] == box.facts["origin"]


def test_the_start_is_warm_and_comes_back_from_its_folder(small: Prepared, box: Prepared, folder: Path) -> None:
    for prepared, where in ((small, "small"), (box, "box")):
        back = Start.read(folder / where)
        assert np.array_equal(back.positions, prepared.start.positions)
        p = load_openmm_system(back.system)
        warm = kinetic_temperature(torch.from_numpy(back.velocities)[None], p.masses, len(p.constraint_length))
        freedom = 3 * p.n_atoms - len(p.constraint_length)
        assert abs(float(warm[0]) - TEMPERATURE_K) < 5 * TEMPERATURE_K * np.sqrt(2 / freedom)


def test_torchmds_numbers_give_the_energy_of_the_flexible_box(box: Prepared, folder: Path) -> None:
    """Its own formulas, written down here: what TorchMD would compute from the arrays it is handed."""
    with np.load(folder / "box" / "torchmd.npz", allow_pickle=False) as stored:
        numbers = dict(stored)
    sources, _ = _sources(SYSTEMS[BOX], None)
    flexible = build_system(**sources, constraints="none", relax=False).potential.parameters
    x = torch.from_numpy(box.start.positions)[None]
    terms = ForceField(flexible).energy_terms(x, torch.from_numpy(box.start.cell)[None])
    positions, cell = numbers["positions"], numbers["cell"]

    def distances(atoms: np.ndarray) -> np.ndarray:
        between = positions[atoms[:, 0]] - positions[atoms[:, 1]]
        return np.linalg.norm(between - cell * np.round(between / cell), axis=-1)

    k, length = numbers["bond_numbers"].T
    bonds = (k * (distances(numbers["bond_atoms"]) - length) ** 2).sum()
    assert bonds == pytest.approx(float(terms["bonds"]) / KCAL, abs=1e-6)
    normal = np.triu(np.ones((box.n_atoms, box.n_atoms), bool), 1)
    first, second = np.sort(numbers["excluded"], axis=1).T
    normal[first, second] = False
    pairs = np.stack(np.nonzero(normal), -1)
    reach, dielectric = numbers["cutoff"]
    r = distances(pairs)
    pairs, r = pairs[r <= reach], r[r <= reach]
    sigma, epsilon = numbers["kind_numbers"][numbers["kinds"]].T
    mixed = 0.5 * (sigma[pairs[:, 0]] + sigma[pairs[:, 1]])
    six = (mixed / r) ** 6
    lj = (4 * np.sqrt(epsilon[pairs].prod(-1)) * (six * six - six)).sum()
    a, b, scnb, scee = numbers["pair14_numbers"].T
    r14 = distances(numbers["pair14_atoms"])
    lj += ((a / r14**12 - b / r14**6) / scnb).sum()
    assert lj == pytest.approx(float(terms["lennard_jones"]) / KCAL, rel=1e-9)
    k_rf = (dielectric - 1) / (2 * dielectric + 1) / reach**3
    c_rf = 3 * dielectric / (2 * dielectric + 1) / reach
    q = numbers["charges"]
    coulomb = (q[pairs].prod(-1) * (1 / r + k_rf * r**2 - c_rf)).sum()
    coulomb += (q[numbers["pair14_atoms"]].prod(-1) / scee / r14).sum()
    assert 332.0637130 * coulomb == pytest.approx(float(terms["coulomb"]) / KCAL, rel=1e-7)


def test_engines_take_part_where_they_can(small: Prepared, box: Prepared) -> None:
    on_small = engine_setups(small.parameters, ENGINES, [1, 16, 64], cores=2)
    on_box = engine_setups(box.parameters, ENGINES, [1, 16], cores=2)
    for found in (on_small, on_box):
        assert len({each.name for each in found}) == len(found)
        assert {each.processes for each in found if each.engine == "openmm_reference"} == {1, 2}
    assert "torchmd" not in {each.engine for each in on_small}
    assert "torchmd" in {each.engine for each in on_box}
    assert {each.threads for each in on_small if (each.engine, each.replicas) == ("mdgen_kernel", 16)} == {1}
    assert {each.threads for each in on_small if (each.engine, each.replicas) == ("mdgen_kernel", 64)} == {1, 2}
    on_gpu = engine_setups(small.parameters, ENGINES, [1, 16, 4096], cores=2, device="cuda")
    assert [(each.replicas, each.device) for each in on_gpu if each.engine == "mdgen_torch"] == [
        (1, "cuda"),
        (4096, "cuda"),
    ]
    alone = engine_setups(small.parameters, ENGINES, [1], cores=1)
    assert {each.threads * each.processes for each in alone} == {1}


def test_the_floor_counts_pairs(small: Prepared, box: Prepared) -> None:
    counted = pair_operations(small.parameters, small.start.positions, small.start.cell)
    near = counted["operations"] - OPERATIONS_BORN * counted["pairs"]
    assert counted["pairs"] == 22 * 21 // 2
    # At least the bonded pairs are near, and by far not all.
    assert 21 * OPERATIONS_NEAR <= near < 0.5 * counted["pairs"] * OPERATIONS_NEAR
    within = pair_operations(box.parameters, box.start.positions, box.start.cell)["pairs"]
    sphere = 4 / 3 * np.pi * 0.9**3 / np.prod(box.start.cell)
    assert within == pytest.approx(0.5 * 688**2 * sphere, rel=0.05)
    assert OPERATIONS_NECK > 0
    assert roofline_row({"pairs": 10, "operations": 2000}, peak=1e9, reached_us=8.0) == {
        "pairs": 10,
        "operations": 2000,
        "floor_us": 2.0,
        "reached_us": 8.0,
        "share_of_peak": 0.25,
    }
