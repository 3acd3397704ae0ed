"""Real trajectories of other programs, where the shared data is at hand: everything fits together on them."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.geometry.dihedrals import bond_lengths, dihedral_angles
from mdgen.geometry.superposition import superpose
from mdgen.molecule.chirality import handedness, stereocentres
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.molecule.torsions import torsion_atoms, torsions
from mdgen.molecule.zmatrix import build_zmatrix

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real trajectories at {DATA}")


@pytest.fixture(params=["alanine_dipeptide", "pentapeptide"], scope="module")
def real(request: pytest.FixtureRequest) -> TrajectorySet:
    folder = DATA / request.param
    if request.param == "alanine_dipeptide":
        return open_trajectories(folder / "*.dcd", folder / "ala2.pdb", frame_spacing_ps=1.0)
    return open_trajectories(folder / "*.xtc", folder / "pentapeptide.pdb")


def test_frames_are_those_mdtraj_reads(real: TrajectorySet) -> None:
    assert real.lengths in ((9999, *[10000] * 5), (5001,) * 15)
    last = len(real) - 1
    read = mdtraj.load(real.names[last], top=real.molecule.topology)
    np.testing.assert_array_equal(real.positions(last), read.xyz)
    np.testing.assert_array_equal(real.positions(last, 17, 4000, 13), read.xyz[17:4000:13])


def test_torsions_agree_with_mdtraj(real: TrajectorySet) -> None:
    frames = real.trajectory(1, stride=20)
    compute = {"phi": mdtraj.compute_phi, "psi": mdtraj.compute_psi, "chi1": mdtraj.compute_chi1}
    for symbol, function in compute.items():
        atoms, expected = function(frames)
        found = [t for t in torsions(real.molecule) if t.name.startswith(symbol + " ")]
        assert [list(torsion.atoms) for torsion in found] == atoms.tolist()
        angles = dihedral_angles(torch.from_numpy(frames.xyz), torsion_atoms(found)).numpy()
        # on the circle, where pi is -pi
        np.testing.assert_allclose(np.abs(np.exp(1j * angles) - np.exp(1j * expected)), 0, atol=1e-4)


def test_internal_coordinates_round_trip(real: TrajectorySet) -> None:
    matrix, before = build_zmatrix(real.molecule), torch.from_numpy(np.array(real.positions(0, 0, None, 100)))
    bonds, angles, dihedrals = matrix.to_internal(before)
    after = matrix.to_cartesian(bonds, angles, dihedrals)
    for one, other in zip(before, after, strict=True):
        assert (superpose(other, one) - one).abs().max() < 1e-5
    # all but the primary dihedrals are held, far from where they are cut
    offsets = dihedrals[:, ~matrix.is_primary]
    assert offsets.min() > 1.0
    assert offsets.max() < 2 * torch.pi - 1.0
    assert bonds.std(0).max() < 0.01


def test_bonds_chirality_and_features_are_those_of_real_molecules(real: TrajectorySet) -> None:
    positions = torch.from_numpy(np.array(real.positions(0, 0, None, 50)))
    lengths = bond_lengths(positions, real.molecule.bonds)
    assert lengths.min() > 0.08
    assert lengths.max() < 0.18
    assert (handedness(positions, stereocentres(real.molecule)) < -0.005).all()
    features = TorsionDistanceFeatures(real.molecule)(positions)
    assert features.isfinite().all()
    assert features.std(0).min() > 1e-4
