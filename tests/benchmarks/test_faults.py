"""Faults change what they say and nothing else; the honest frames and the reference stay as they are."""

import numpy as np
import pytest
import torch

from mdgen.benchmarks.evaluation.fault import Dynamics, Fault
from mdgen.benchmarks.evaluation.faults import FAULTS, PEPTIDE
from mdgen.benchmarks.evaluation.known_chain import Frames, KnownChain
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.molecule.chirality import handedness, stereocentres

CHAIN = KnownChain(PEPTIDE)
REFERENCE, HONEST = (CHAIN.draw(4, 200, np.random.default_rng(seed)) for seed in (1, 2))


def bonds_of(frames: Frames) -> np.ndarray:
    return bond_lengths(torch.from_numpy(frames.reshape(-1, *frames.shape[2:])), CHAIN.molecule.bonds).numpy()


def changed(name: str) -> Frames:
    return FAULTS[name].change(HONEST, Dynamics(CHAIN, REFERENCE, np.random.default_rng(0)))


def test_the_catalogue_is_as_large_as_promised_and_explained() -> None:
    assert sum(fault.visible for fault in FAULTS.values()) >= 45
    assert not FAULTS["time_reversed"].visible
    assert all(fault.meaning.endswith(".") for fault in FAULTS.values())
    assert len({fault.meaning for fault in FAULTS.values()}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_a_fault_changes_copies_only(fault: Fault) -> None:
    before = HONEST.copy(), REFERENCE.copy()
    found = changed(fault.name)
    assert np.array_equal(HONEST, before[0])
    assert np.array_equal(REFERENCE, before[1])
    assert found.shape == HONEST.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert not np.array_equal(found, HONEST)


def test_internal_coordinates_and_back_are_the_same_frames() -> None:
    dynamics = Dynamics(CHAIN, REFERENCE, np.random.default_rng(0))
    assert np.abs(dynamics.to_frames(dynamics.to_internal(HONEST)) - HONEST).max() < 2e-6


def test_copies_have_the_distances_of_the_reference() -> None:
    for name, tolerance in (("exact_copies", 0.0), ("rotated_copies", 2e-6), ("jittered_copies", 1e-3)):
        assert np.abs(bonds_of(changed(name)) - bonds_of(REFERENCE)).max() <= tolerance


def test_frames_in_another_order_are_the_same_frames() -> None:
    for name in ("shuffled", "shuffled_within_5", "shuffled_blocks_of_20", "seams_every_100_frames", "time_reversed"):
        first, second = (np.sort(each[:, :, 8, 2], axis=1) for each in (HONEST, changed(name)))
        assert np.array_equal(first, second)
    moved = changed("shuffled_within_5")
    assert all(moved[0, frame] in HONEST[0, frame // 5 * 5 : frame // 5 * 5 + 5] for frame in range(0, 200, 7))


def test_mirrored_frames_are_as_many_as_said() -> None:
    centres = stereocentres(CHAIN.molecule)
    own = np.sign(handedness(torch.from_numpy(HONEST), centres).numpy()).mean((0, 1))
    assert np.abs(own).min() == 1
    for name, share in (("one_mirrored_in_forty", 1 / 40), ("all_mirrored", 1.0)):
        signs = np.sign(handedness(torch.from_numpy(changed(name)), centres).numpy())
        assert np.isclose((signs * own < 0).mean(), share)


def test_a_cis_block_is_2_percent_of_each_trajectory() -> None:
    dynamics = Dynamics(CHAIN, REFERENCE, np.random.default_rng(0))
    omega = dynamics.to_internal(changed("cis_block"))["dihedrals"][:, dynamics.column("omega ALA2")]
    assert np.array_equal((np.abs(omega) < np.pi / 2).reshape(4, 200).sum(1), np.full(4, 4))


def test_bonds_are_as_rigid_and_as_broken_as_said() -> None:
    tree = [CHAIN.molecule.bonds.tolist().index(sorted(pair)) for pair in CHAIN.zmatrix.bond_atoms.tolist()]
    assert bonds_of(changed("rigid_bonds"))[:, tree].std(0).max() < 1e-6
    far = np.abs(bonds_of(changed("bond_broken_in_1_percent")) - bonds_of(HONEST)) > 0.04
    assert 0 < far.any(1).mean() < 0.03
    assert far.any(0).sum() == 1


def test_out_of_plane_atoms_keep_their_bonds() -> None:
    for name in ("amide_hydrogen_out_of_plane", "carbonyl_oxygen_out_of_plane"):
        assert np.abs(bonds_of(changed(name)) - bonds_of(HONEST)).max() < 1e-6


def test_torsions_of_another_trajectory_keep_their_law_and_lose_their_partner() -> None:
    dynamics = Dynamics(CHAIN, REFERENCE, np.random.default_rng(0))
    own, found = (dynamics.to_internal(each)["dihedrals"] for each in (HONEST, changed("phi_of_another_trajectory")))
    differ = (np.abs(np.exp(1j * own) - np.exp(1j * found)) > 1e-3).any(0)
    assert np.flatnonzero(differ).tolist() == [dynamics.column("phi ALA2")]
