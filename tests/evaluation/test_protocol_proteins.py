"""`protocol=proteins` on ensembles whose distances are known: Gaussian ones, identical ones, shifted ones."""

import mdtraj
import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.protocols import ProteinProtocol
from mdgen.evaluation.protocols.ensemble_distances import (
    AtomicGaussians,
    AtomicSums,
    mean_pairwise_rmsd,
    pca_wasserstein,
    principal_components,
    rmwd_parts,
    wasserstein,
)
from mdgen.evaluation.protocols.ensemble_observables import (
    contact_shares,
    exposed_residues,
    exposure_information,
    exposures,
    transient_contacts,
    weak_contacts,
)
from mdgen.evaluation.protocols.landscape_states import GAS_CONSTANT, Landscape
from mdgen.molecule.topology import Molecule
from tests.evaluation.alanine import toy_set

RESIDUES = 8
STEPS = {"N": (0.0, 0.0, 0.0), "CA": (0.146, 0.0, 0.0), "C": (0.2, 0.142, 0.0), "O": (0.13, 0.24, 0.02),
         "CB": (0.2, -0.07, 0.12)}  # fmt: skip


def protein() -> Molecule:
    """Poly-alanine without hydrogens."""
    topology = mdtraj.Topology()
    chain, last = topology.add_chain(), None
    for number in range(RESIDUES):
        residue = topology.add_residue("ALA", chain, resSeq=number + 1)
        atoms = {name: topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue) for name in STEPS}
        for first, second in (("N", "CA"), ("CA", "C"), ("C", "O"), ("CA", "CB")):
            topology.add_bond(atoms[first], atoms[second])
        if last is not None:
            topology.add_bond(last, atoms["N"])
        last = atoms["C"]
    return Molecule.from_mdtraj(topology)


def helix() -> np.ndarray:
    """Positions of the protein on a tight coil, so that some residues are in contact."""
    turn = np.radians(100) * np.arange(RESIDUES)
    axis = np.stack([0.23 * np.cos(turn), 0.23 * np.sin(turn), 0.15 * np.arange(RESIDUES)], -1)
    spread = np.array(list(STEPS.values()))
    out = np.stack([np.cos(turn), np.sin(turn), np.zeros(RESIDUES)], -1)
    radial = spread[None, :, :1] * out[:, None, :]
    return (axis[:, None] + radial + spread[None] * [0.0, 0.0, 0.6]).reshape(-1, 3)


def ensemble(seed: int, frames: int = 120, trajectories: int = 5, width: float = 0.05) -> TrajectorySet:
    """The protein with a slow bend and noise of every atom."""
    rng, mean = np.random.default_rng(seed), helix()
    bend = np.linspace(-1, 1, len(mean))[:, None] ** 2 * [[0.3, 0.0, 0.0]]
    arrays = [
        (mean + rng.normal(size=(frames, 1, 1)) * bend + width * rng.normal(size=(frames, *mean.shape))).astype("f4")
        for _ in range(trajectories)
    ]
    return TrajectorySet.from_arrays(protein(), 10.0, arrays)


def gaussians(means: np.ndarray, covariances: np.ndarray) -> AtomicGaussians:
    return AtomicGaussians(means, covariances)


def test_rmwd_of_gaussians_is_exact() -> None:
    means, still = np.zeros((4, 3)), np.tile(np.eye(3), (4, 1, 1))
    shift = np.array([[0.3, 0.4, 0.0]] * 2 + [[0.0, 0.0, 0.0]] * 2)
    translation, variance = rmwd_parts(gaussians(means, 0.04 * still), gaussians(means + shift, 0.04 * still))
    assert translation == pytest.approx(0.5 / np.sqrt(2))
    assert variance == pytest.approx(0.0, abs=1e-7)
    translation, variance = rmwd_parts(gaussians(means, 0.04 * still), gaussians(means, 0.25 * still))
    assert (translation, variance) == (0.0, pytest.approx(np.sqrt(3) * (0.5 - 0.2)))


def test_rmwd_of_tilted_gaussians_is_that_of_the_matrix_root() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.array([a @ a.T for a in rng.normal(size=(5, 3, 3))]) for _ in range(2))
    squares = [np.trace(a + b - 2 * sqrtm(a @ b).real) for a, b in zip(first, second, strict=True)]
    _, variance = rmwd_parts(gaussians(np.zeros((5, 3)), first), gaussians(np.zeros((5, 3)), second))
    assert variance == pytest.approx(np.sqrt(np.mean(squares)))
    _, against_point = rmwd_parts(gaussians(np.zeros((5, 3)), first), gaussians(np.zeros((5, 3)), 0 * first))
    assert against_point == pytest.approx(np.sqrt(np.trace(first, axis1=1, axis2=2).mean()))


def test_fluctuations_are_those_of_mdtraj() -> None:
    trajectory = mdtraj.Trajectory(np.concatenate([ensemble(0).positions(i) for i in range(5)]), protein().topology)
    expected = mdtraj.rmsf(mdtraj.Trajectory(trajectory.xyz.copy(), trajectory.top), trajectory, 0)
    moved = trajectory.superpose(trajectory, 0).xyz
    sums = AtomicSums.of(moved, np.arange(len(moved)) // 120)
    assert sums.gaussians().rmsf == pytest.approx(expected, rel=1e-4)
    twice = AtomicSums.of(np.concatenate([moved[:240], moved[:120]]), np.zeros(360, dtype=np.int64)).gaussians()
    drawn = sums.gaussians(np.array([2.0, 1.0, 0.0, 0.0, 0.0]))
    assert drawn.mean == pytest.approx(twice.mean)
    assert drawn.covariance == pytest.approx(twice.covariance, abs=1e-12)


def test_pairwise_rmsd_is_the_mean_over_pairs() -> None:
    frames = np.zeros((3, 4, 3))
    frames[1, :, 0], frames[2, :, 0] = 0.3, 0.9
    assert mean_pairwise_rmsd(frames) == pytest.approx((0.3 + 0.6 + 0.9) / 3)


def test_wasserstein_distances_of_shifted_clouds_are_their_shift() -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(60, 5, 3)) * np.array([1.0, 0.1, 0.1]) * np.array([3.0, 1, 1, 1, 1])[:, None]
    mean, components = plane = principal_components(frames, 2)
    assert mean.shape == (15,)
    assert components @ components.T == pytest.approx(np.eye(2), abs=1e-9)
    assert wasserstein(frames[:, 0, :2], frames[::-1, 0, :2] + [0.3, 0.4]) == pytest.approx(0.5)
    along = frames + 0.7 * components[0].reshape(5, 3)
    assert pca_wasserstein(frames, along, plane) == pytest.approx(0.7 / np.sqrt(5))
    across = np.zeros(15)
    across[-1] = 1.0
    across -= components.T @ (components @ across)
    aside = frames + 20.0 * across.reshape(5, 3)
    assert pca_wasserstein(frames, aside, plane) == pytest.approx(0.0, abs=1e-6)
    joint = principal_components(np.concatenate([frames, aside]), 2)
    assert pca_wasserstein(frames, aside, joint) == pytest.approx(20 * np.linalg.norm(across) / np.sqrt(5), rel=0.01)


def test_principal_components_do_not_depend_on_the_shorter_side() -> None:
    frames = np.random.default_rng(0).normal(size=(40, 4, 3)) * np.linspace(0.2, 3, 12).reshape(4, 3)
    few, many = principal_components(frames[:11], 2)[1], principal_components(np.repeat(frames[:11], 4, axis=0), 2)[1]
    assert abs((few * many).sum(1)) == pytest.approx([1.0, 1.0])


def test_contacts_are_weak_or_transient_by_a_tenth_of_the_frames() -> None:
    alpha = np.zeros((20, 3, 3))
    alpha[:, 1, 0], alpha[:, 2, 0] = 0.5, 2.0
    alpha[:3, 1, 0] = 1.0  # the contact of 0 and 1 breaks in 15 %; 1 and 2 are 1 nm apart then
    alpha[:2, 2, 0] = 1.5  # and touch in 10 %, which is not more than a tenth
    structure = contact_shares(alpha[-1:]) > 0.5
    shares = contact_shares(alpha)
    assert shares == pytest.approx([0.85, 0.0, 0.1])
    assert weak_contacts(structure, shares).tolist() == [True, False, False]
    assert transient_contacts(structure, shares).tolist() == [False, False, False]
    assert transient_contacts(structure, shares + 0.01).tolist() == [False, False, True]


def test_exposure_is_of_side_chains_and_its_information_that_of_sklearn() -> None:
    topology, far = protein().topology, helix()[None].astype(np.float32)
    assert exposures(far, topology).shape == (1, RESIDUES)
    far = far + np.repeat(np.arange(RESIDUES), len(STEPS))[None, :, None].astype(np.float32)
    assert exposures(far, topology).all()  # residues a nanometre apart hide nothing
    rng = np.random.default_rng(0)
    states = rng.random((200, 4)) < 0.4
    states[:, 1] = states[:, 0]
    found = exposure_information(states)
    for i in range(4):
        for j in range(4):
            expected = 0.0 if i == j else mutual_info_score(states[:, i], states[:, j])
            assert found[i, j] == pytest.approx(expected, abs=1e-12)
    buried = np.array([False, True, False, False])
    assert exposed_residues(buried, states).tolist() == [True, False, True, True]


def test_free_energies_of_states_are_known_where_weights_are() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(400, 2)) * 0.5 - [6.0, 0.0], rng.normal(size=(400, 2)) * 0.5 + [6.0, 0.0]
    landscape = Landscape(np.concatenate([left, right]), 300.0)

    def density(coordinates: np.ndarray) -> np.ndarray:
        return landscape.smoothed(coordinates, np.zeros(len(coordinates), dtype=np.int64))[0] / len(coordinates)

    same = density(np.concatenate([right, left]))
    assert landscape.compare(same) == (1.0, pytest.approx(0.0, abs=1e-9))
    assert same.sum() == pytest.approx(1.0, abs=1e-3)
    doubled = density(np.concatenate([left, left, right]))
    of_left = (density(left) > density(right))[landscape.low]
    error = landscape.compare(doubled)[1]
    minority = min(of_left.mean(), 1 - of_left.mean())
    assert error == pytest.approx(GAS_CONSTANT * 300 * np.log(2) * minority, rel=0.02)
    coverage, error = landscape.compare(density(left))
    assert coverage == pytest.approx(of_left.mean(), abs=0.05)
    assert landscape.compare(np.zeros_like(same))[0] == 0.0
    with pytest.raises(MdgenError, match="does not move"):
        Landscape(np.zeros((5, 2)), 300.0)


PROTOCOL = ProteinProtocol(samples=60, exposure_frames=100, resamples=10)
PERFECT = ("rmwd_A", "rmwd_translation_A", "rmwd_variance_A", "md_pca_w2_A", "joint_pca_w2_A",
           "free_energy_mae_kcal_mol")  # fmt: skip


def test_a_set_moved_as_a_whole_is_perfect_in_every_number() -> None:
    reference = ensemble(1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    moved = [(reference.positions(i) @ turn + 3.0).astype("f4") for i in range(len(reference))]
    generated = TrajectorySet.from_arrays(protein(), 10.0, moved)
    row = PROTOCOL.judge(reference, {"generated": generated}).rows["generated"]
    found = {name: estimate.value for name, estimate in row.metrics.items()}
    for name in PERFECT:
        assert found[name] == pytest.approx(0.0, abs=2e-3), name
    for name in ("rmsf_pearson/target", "pc_cosine", "coverage", "weak_contacts_jaccard", "transient_contacts_jaccard"):
        assert found[name] == pytest.approx(1.0, abs=1e-3), name
    assert found["rmsf_A"] == pytest.approx(found["reference_rmsf_A"], rel=1e-4)
    assert found["pairwise_rmsd_A"] == pytest.approx(found["reference_pairwise_rmsd_A"], rel=1e-4)
    assert row.arrays["rmsf_A"] == pytest.approx(row.arrays["reference_rmsf_A"], abs=2e-4)
    assert len(row.arrays["rmsf_A"]) == protein().n_atoms


def test_a_worse_set_is_further_away_and_numbers_have_intervals() -> None:
    reference, replicate, wide = ensemble(1), ensemble(2), ensemble(3, width=0.12)
    result = PROTOCOL.judge(reference, {"generated": wide, "replicate": replicate})
    for name in ("rmwd_A", "rmwd_variance_A", "joint_pca_w2_A", "free_energy_mae_kcal_mol"):
        good, bad = (result.rows[row].metrics[name] for row in ("replicate", "generated"))
        assert good.value < bad.value, name
        assert good.contains(good.value)
        assert bad.contains(bad.value)
    assert result.rows["generated"].frames == 600
    assert any("protocol.structure" in note for note in result.notes)


def test_what_cannot_be_judged_is_said() -> None:
    with pytest.raises(MdgenError, match="at least 4 C-alpha atoms, and this molecule has 1"):
        PROTOCOL.judge(toy_set(1, 10), {"generated": toy_set(1, 10)})
    with pytest.raises(MdgenError, match="does not exist"):
        ProteinProtocol(structure="nowhere.pdb").judge(ensemble(1), {"generated": ensemble(2)})
    with pytest.raises(MdgenError, match=r"protocol.samples=1 is too few"):
        ProteinProtocol(samples=1)
