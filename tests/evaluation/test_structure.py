import numpy as np
import pytest
import torch

from mdgen.evaluation.metrics.structure_checks import (
    CHECKS,
    StructureChecks,
    fit_checks,
    stereocentres,
)
from mdgen.molecule.van_der_waals import nonbonded_pairs
from tests.evaluation.alanine import molecule, positions, trajectory


@pytest.fixture(scope="module")
def checks() -> StructureChecks:
    return fit_checks(molecule(), torch.from_numpy(trajectory(300, 0)))


def measured(checks: StructureChecks, frame: np.ndarray) -> dict[str, float]:
    values = checks.measure(torch.as_tensor(frame, dtype=torch.float64)[None])[0]
    return dict(zip(CHECKS, values.tolist(), strict=True))


def test_the_alpha_carbon_is_the_only_stereocentre() -> None:
    neighbours = {molecule().topology.atom(i).name for i in stereocentres(molecule())[0]}
    assert len(stereocentres(molecule())) == 1
    assert neighbours == {"N", "C", "CB", "HA"}


def test_fifteen_heavy_pairs_are_further_than_three_bonds() -> None:
    names = {tuple(molecule().topology.atom(i).name for i in pair) for pair in nonbonded_pairs(molecule())}
    assert len(nonbonded_pairs(molecule())) == 15
    assert ("O", "O") in names


def test_a_good_frame_passes_and_does_not_mind_being_moved(checks: StructureChecks) -> None:
    frame = positions()
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    here, there = measured(checks, frame), measured(checks, frame @ turn + 3)
    assert here == pytest.approx(there, abs=1e-6)
    assert here["bond_max_nm"] < 0.005
    assert here["clashes"] == here["chirality_errors"] == 0


def test_a_stretched_bond_is_seen(checks: StructureChecks) -> None:
    frame = positions()
    before = measured(checks, frame)
    frame[5] += 0.05 * (frame[5] - frame[4]) / np.linalg.norm(frame[5] - frame[4])  # the carbonyl oxygen of ACE
    assert measured(checks, frame)["bond_max_nm"] == pytest.approx(0.05, abs=0.003)
    assert measured(checks, frame)["bond_rms_nm"] > 4 * before["bond_rms_nm"]


def test_a_mirror_image_is_seen(checks: StructureChecks) -> None:
    mirrored = measured(checks, positions() * [1, 1, -1])
    assert mirrored["chirality_errors"] == 1
    assert mirrored["bond_max_nm"] == pytest.approx(measured(checks, positions())["bond_max_nm"])


def test_a_clash_is_seen(checks: StructureChecks) -> None:
    frame = positions()
    frame[18] = frame[0] + [0.15, 0, 0]  # the methyl carbon of NME beside that of ACE
    assert measured(checks, frame)["clashes"] >= 1
    assert measured(checks, frame)["closest_nm"] == pytest.approx(0.15, abs=0.05)


def test_the_radius_of_gyration_is_mdtrajs(checks: StructureChecks) -> None:
    import mdtraj

    expected = mdtraj.compute_rg(mdtraj.Trajectory(positions()[None], molecule().topology), masses=molecule().masses)
    centred = positions() - (molecule().masses @ positions()) / molecule().masses.sum()
    by_hand = np.sqrt((molecule().masses * (centred**2).sum(-1)).sum() / molecule().masses.sum())
    assert measured(checks, positions())["radius_of_gyration_nm"] == pytest.approx(by_hand, rel=1e-5)
    assert expected[0] == pytest.approx(by_hand, rel=0.05)
