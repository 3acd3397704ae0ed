"""`protocol=mdgen` against a second implementation of the original's analysis, written from its text alone."""

from itertools import pairwise, product
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from deeptime.clustering import KMeans
from deeptime.markov import pcca
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import pearsonr, spearmanr

from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.errors import MdgenError
from mdgen.evaluation.protocols import MdgenProtocol
from mdgen.evaluation.protocols.interpolation_paths import (
    PathEnds,
    coarse_paths,
    path_statistics,
    replica_statistics,
)
from mdgen.evaluation.protocols.metastable_states import coarse_model
from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries
from mdgen.evaluation.protocols.torsion_relaxation import relaxation_times
from mdgen.results import Estimate
from tests.evaluation.alanine import toy_set

PENTAPEPTIDE = Path(__file__).parents[3] / "shared/data/pentapeptide"
AGREE = 1e-6


class Original:
    """The analysis of MDGen in numpy and scipy; k-means and PCCA+ are deeptime's, which PyEMMA itself calls."""

    def __init__(self, reference: TrajectorySet, protocol: MdgenProtocol) -> None:
        self.protocol, self.spacing = protocol, reference.frame_spacing_ps
        self.reference = self.angles(reference)
        lag = self.frames(self.spacing)
        features = [self.features(each) for each in self.reference]
        now, then = (np.concatenate([f[cut] for f in features]) for cut in (np.s_[:-lag], np.s_[lag:]))
        self.mean = (now.mean(0) + then.mean(0)) / 2
        now, then = now - self.mean, then - self.mean
        instantaneous = (now.T @ now + then.T @ then) / (2 * len(now))
        lagged = (now.T @ then + then.T @ now) / (2 * len(now))
        values, vectors = eigh(lagged, instantaneous)
        order = np.argsort(-values)[: protocol.modes]
        self.scaled = vectors[:, order] * values[order]
        self.modes = [self.project(each) for each in self.reference]
        self.clusters = KMeans(protocol.n_states, max_iter=100, fixed_seed=protocol.seed, n_jobs=1).fit_fetch(
            np.concatenate(self.modes)
        )
        micro = [self.nearest(each) for each in self.modes]
        self.lumped = pcca(reversible(count(micro, lag, protocol.n_states)), protocol.n_macrostates).assignments
        self.states = [self.lumped[each] for each in micro]

    def angles(self, trajectories: TrajectorySet) -> list[np.ndarray]:
        found = []
        for index in range(len(trajectories)):
            each = trajectories.trajectory(index)
            functions = ("phi", "psi", "chi1", "chi2", "chi3", "chi4", "chi5")
            columns = [getattr(mdtraj, f"compute_{name}")(each)[1] for name in functions]
            self.n_backbone = columns[0].shape[1] + columns[1].shape[1]
            found.append(np.hstack(columns))
        return found

    def frames(self, spacing_ps: float) -> int:
        return max(1, round(self.protocol.lag_ps / spacing_ps))

    def features(self, angles: np.ndarray) -> np.ndarray:
        angles = angles.astype(np.float64)
        return np.stack([np.cos(angles), np.sin(angles)], -1).reshape(len(angles), -1)

    def project(self, angles: np.ndarray) -> np.ndarray:
        return (self.features(angles) - self.mean) @ self.scaled

    def nearest(self, modes: np.ndarray) -> np.ndarray:
        return cdist(modes, self.clusters.cluster_centers).argmin(1)

    def measure(self, generated: TrajectorySet) -> dict[str, float]:
        theirs = self.angles(generated)
        mine, other = np.concatenate(self.reference), np.concatenate(theirs)
        box, found = (-np.pi, np.pi), {}
        every = np.array(
            [jensenshannon(*(np.histogram(x, 100, box)[0] for x in pair)) for pair in zip(mine.T, other.T, strict=True)]
        )
        found["torsion_jsd/all"] = every.mean()
        found["torsion_jsd/backbone"] = every[: self.n_backbone].mean()
        if len(every) > self.n_backbone:
            found["torsion_jsd/side_chain"] = every[self.n_backbone :].mean()
        slow = np.concatenate(self.modes), np.concatenate([self.project(each) for each in theirs])
        ends = [(min(a.min(), b.min()), max(a.max(), b.max())) for a, b in zip(slow[0].T, slow[1].T, strict=True)]
        one = [np.histogram(x[:, 0], 100, ends[0])[0] for x in slow]
        two = [np.histogram2d(x[:, 0], x[:, 1], 50, ends[:2])[0].ravel() for x in slow]
        found["tica_jsd/0"], found["tica_jsd/0,1"] = jensenshannon(*one), jensenshannon(*two)
        states = [self.lumped[self.nearest(self.project(each))] for each in theirs]
        number = self.protocol.n_macrostates
        shares = [np.bincount(np.concatenate(each), minlength=number) for each in (self.states, states)]
        found["occupancy_jsd/frames"] = jensenshannon(*shares)
        lags = self.frames(self.spacing), self.frames(generated.frame_spacing_ps)
        counts = [count(each, lag, number) for each, lag in zip((self.states, states), lags, strict=True)]
        matrices, pi = zip(*(coarse(each) for each in counts), strict=True)
        found["occupancy_jsd/stationary"] = jensenshannon(*pi)
        flux = [matrix * weights for matrix, weights in zip(matrices, pi, strict=True)]
        apart = ~np.eye(number, dtype=bool)
        found["flux_spearman"] = spearmanr(flux[0][apart], flux[1][apart])[0]
        found["flux_spearman/all"] = spearmanr(flux[0].ravel(), flux[1].ravel())[0]
        times = [
            np.log10([decorrelation([t[:, i] for t in each], spacing) for i in range(mine.shape[1])])
            for each, spacing in ((self.reference, self.spacing), (theirs, generated.frame_spacing_ps))
        ]
        kinds = {"backbone": slice(0, self.n_backbone), "side_chain": slice(self.n_backbone, None)}
        for kind, cut in kinds.items():
            mine, other = (each[cut][np.isfinite(times[0] + times[1])[cut]] for each in times)
            if len(mine):
                found[f"decorrelation_log10_error/{kind}"] = np.abs(mine - other).mean()
            if len(mine) > 2:
                found[f"decorrelation_pearson/{kind}"] = pearsonr(mine, other)[0]
        return found


def count(states: list[np.ndarray], lag: int, number: int) -> np.ndarray:
    counts = np.zeros((number, number))
    for each in states:
        np.add.at(counts, (each[:-lag], each[lag:]), 1)
    return counts


def reversible(counts: np.ndarray) -> np.ndarray:
    """Most likely reversible matrix by its fixed point, x_ij = (c_ij + c_ji) / (c_i / x_i + c_j / x_j)."""
    both, rows = counts + counts.T, counts.sum(1)
    flows = both / both.sum()
    for _ in range(200_000):
        ratio = rows / flows.sum(1)
        new = both / (ratio[:, None] + ratio[None, :])
        new /= new.sum()
        done = np.abs(new - flows).max() < 1e-15
        flows = new
        if done:
            break
    return flows / flows.sum(1, keepdims=True)


def coarse(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and stationary distribution of the largest connected set; the identity and zero outside of it."""
    label = connected_components(counts > 0, connection="strong")[1]
    active = np.flatnonzero(label == np.bincount(label, weights=counts.sum(1)).argmax())
    matrix, pi = np.eye(len(counts)), np.zeros(len(counts))
    matrix[np.ix_(active, active)] = reversible(counts[np.ix_(active, active)])
    pi[active] = stationary(matrix[np.ix_(active, active)])
    return matrix, pi


def stationary(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eig(matrix.T)
    vector = vectors[:, values.real.argmax()].real
    return vector / vector.sum()


def decorrelation(angles: list[np.ndarray], spacing_ps: float) -> float:
    """The first lag at which the correlation of the sine and cosine, above the baseline, is below 1/e."""
    parts = [angle.astype(np.float64) for angle in angles]
    joined = np.concatenate(parts)
    baseline = np.sin(joined).mean() ** 2 + np.cos(joined).mean() ** 2
    for lag in range(1, min(max(map(len, parts)), int(10_000 / spacing_ps) + 1)):
        cosines = np.concatenate([np.cos(part[lag:] - part[:-lag]) for part in parts if len(part) > lag])
        if (cosines.mean() - baseline) / (1 - baseline) < np.exp(-1):
            return lag * spacing_ps
    return float("nan")


def agreement(
    reference: TrajectorySet, generated: TrajectorySet, protocol: MdgenProtocol
) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Our numbers, and by how much each number of the second implementation differs from them."""
    found = protocol.judge(reference, {"generated": generated}).rows["generated"].metrics
    expected = Original(reference, protocol).measure(generated)
    return found, {name: abs(found[name].value - value) for name, value in expected.items()}


def test_every_number_is_that_of_a_second_implementation() -> None:
    protocol = MdgenProtocol(lag_ps=4.0, n_states=20, n_macrostates=3, resamples=20)
    found, differences = agreement(toy_set(6, 1500, seed=1), toy_set(5, 1000, seed=2, spacing_ps=2.0), protocol)
    assert len(differences) >= 9
    assert max(differences.values()) < AGREE, differences
    for name, estimate in found.items():
        if not name.endswith("TICA-0") or name.startswith("tica"):
            assert estimate.contains(estimate.value), name


@pytest.mark.skipif(not PENTAPEPTIDE.is_dir(), reason=f"needs the trajectories in {PENTAPEPTIDE}, which are not here")
def test_the_pentapeptide_is_judged_as_by_a_second_implementation() -> None:
    files = sorted(PENTAPEPTIDE.glob("*.xtc"))
    reference, generated = (
        open_trajectories(chosen, PENTAPEPTIDE / "pentapeptide.pdb") for chosen in (files[:2], files[2:3])
    )
    _, differences = agreement(reference, generated, MdgenProtocol(resamples=3))
    assert len(differences) >= 13
    assert max(differences.values()) < AGREE, differences


def test_a_set_against_itself_is_perfect() -> None:
    protocol = MdgenProtocol(lag_ps=4.0, n_states=20, n_macrostates=3, resamples=5)
    same = toy_set(5, 600, seed=1)
    found = protocol.judge(same, {"generated": same}).rows["generated"].metrics
    for name, estimate in found.items():
        best = 1.0 if "spearman" in name or "pearson" in name else 0.0
        assert estimate.value == pytest.approx(best, abs=1e-12), name


def series(states: list[list[int]]) -> tuple[np.ndarray, TorsionSeries]:
    """States of trajectories, and torsions of as many frames, a frame every ps."""
    lengths = tuple(map(len, states))
    return np.concatenate(states), TorsionSeries(np.zeros((sum(lengths), 1), np.float32), lengths, 1.0)


def test_paths_are_compared_with_the_bridges_by_their_definition() -> None:
    model = coarse_model(np.array([[80.0, 10.0, 0.0], [10.0, 60.0, 20.0], [0.0, 20.0, 90.0]]))
    paths = [[0, 0, 1, 2, 2], [0, 1, 1, 1, 2], [0, 0, 0, 2, 2]]  # the last one jumps where the model cannot
    found = path_statistics(*series(paths), 1.0, model)
    assert found is not None
    bridges = [(0, *inner, 2) for inner in product(range(3), repeat=3)]
    weights = np.array([np.prod([model.matrix[a, b] for a, b in pairwise(p)]) for p in bridges])
    shares = np.array([np.bincount(bridge, minlength=3) / 5 for bridge in bridges])
    assert found.expected == pytest.approx(weights @ shares / weights.sum(), abs=1e-12)
    by_path = dict(zip(bridges, weights / weights.sum(), strict=True))
    assert found.probability == pytest.approx([by_path[tuple(path)] for path in paths], abs=1e-12)
    numbers = found.estimates(10, np.random.default_rng(0))
    assert numbers["path_valid_share"].value == pytest.approx(2 / 3)
    assert numbers["path_probability/valid"].value == pytest.approx(found.probability[:2].mean())
    visited = np.bincount(np.concatenate(paths), minlength=3)
    assert numbers["path_jsd"].value == pytest.approx(jensenshannon(visited, found.expected))


def test_paths_are_read_every_lag_and_at_their_end() -> None:
    read = coarse_paths(*series([[0, 1, 1, 2, 2, 3], [0, 2, 0, 2, 2, 3]]), lag_ps=2.0)
    assert read is not None
    assert read.tolist() == [[0, 1, 2, 3], [0, 0, 2, 3]]


FROM_ONE_STATE = [[0, 1, 1]] * 19 + [[0, 1, 0]]
"""Rollouts from a rare state, of which nearly all end in the common one."""


@pytest.mark.parametrize(
    "states",
    [[[0, 1, 2]], [[0, 1, 2], [0, 2, 1]], [[0, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2]], FROM_ONE_STATE],
)
def test_other_trajectories_are_no_paths(states: list[list[int]]) -> None:
    assert coarse_paths(*series(states), 1.0) is None


def test_an_angle_that_turns_to_random_relaxes_at_its_rate() -> None:
    rng, rate = np.random.default_rng(0), 0.05
    jumps = rng.random(400_000) < rate
    angles = rng.uniform(-np.pi, np.pi, jumps.sum() + 1)[np.cumsum(jumps)]
    series = TorsionSeries(angles[:, None].astype(np.float32), (300_000, 100_000), 0.5)
    found = relaxation_times(series, 1000.0, np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]]))
    assert found == pytest.approx(np.full((3, 1), 0.5 / -np.log1p(-rate)), rel=0.1)
    alone = relaxation_times(TorsionSeries(series.angles[:300_000], (300_000,), 0.5), 1000.0, np.ones((1, 1)))
    assert found[1] == alone[0]


def test_what_is_missing_is_said() -> None:
    protocol = MdgenProtocol(lag_ps=4.0, n_states=20, n_macrostates=3, resamples=5)
    result = protocol.judge(toy_set(2, 300, seed=1), {"generated": toy_set(2, 300, seed=2)})
    assert any(note.startswith("No path statistics for generated") for note in result.notes)
    with pytest.raises(MdgenError, match="two slow modes at a lag of 500 ps"):
        MdgenProtocol(lag_ps=500.0).judge(toy_set(2, 300), {"generated": toy_set(2, 300)})
    with pytest.raises(MdgenError, match=r"protocol.modes=1 is too few"):
        MdgenProtocol(modes=1)


def test_no_number_of_modes_keeps_what_holds_the_kinetic_variance() -> None:
    protocol = MdgenProtocol(lag_ps=4.0, modes=None, n_states=10, n_macrostates=2, resamples=5)
    same = toy_set(5, 600, seed=1)
    assert protocol.judge(same, {"generated": same}).rows["generated"].metrics["tica_jsd/0"].value == 0.0


def test_bridges_of_shorter_dynamics_have_the_numbers_of_all_their_paths() -> None:
    model = coarse_model(np.array([[80.0, 10.0, 0.0], [10.0, 60.0, 20.0], [0.0, 20.0, 90.0]]))
    replica = coarse_model(np.array([[8.0, 1.0, 1.0], [1.0, 6.0, 2.0], [1.0, 2.0, 9.0]]))  # jumps where none can
    ends = PathEnds(0, 2, 4)
    bridges = [(0, *inner, 2) for inner in product(range(3), repeat=3)]
    own, theirs = (
        np.array([np.prod([each.matrix[a, b] for a, b in pairwise(p)]) for p in bridges]) for each in (replica, model)
    )
    own, theirs = own / own.sum(), theirs / theirs.sum()
    found = replica_statistics(replica, model, ends)
    assert found["path_valid_share"] == pytest.approx(own[theirs > 0].sum())
    assert found["path_probability/all"] == pytest.approx(own @ theirs)
    assert found["path_probability/valid"] == pytest.approx(own @ theirs / own[theirs > 0].sum())
    shares = np.array([np.bincount(bridge, minlength=3) / 5 for bridge in bridges])
    assert found["path_jsd"] == pytest.approx(jensenshannon(own @ shares, theirs @ shares))
    assert replica_statistics(model, model, ends)["path_jsd"] == pytest.approx(0, abs=1e-7)
    apart = coarse_model(np.array([[8.0, 1.0, 0.0], [1.0, 6.0, 0.0], [0.0, 0.0, 9.0]]))  # leads nowhere
    assert replica_statistics(apart, model, ends)["path_jsd"] == pytest.approx(np.log(2) ** 0.5)


def test_interpolations_are_worth_as_much_dynamics_as_tells_the_same_paths() -> None:
    """Paths cut out of long dynamics: the reference's bridges, to the noise of as many."""
    protocol = MdgenProtocol(lag_ps=4.0, n_states=20, n_macrostates=3, resamples=5)
    reference, replicate = toy_set(5, 600, seed=1), toy_set(5, 600, seed=2)
    rng = np.random.default_rng(0)
    first, last = protocol.path_ends(reference, 12, rng)
    assert first.shape == last.shape == (12, reference.molecule.n_atoms, 3)
    middle = reference.frames(rng.integers(0, reference.n_frames, 12 * 7)).reshape(12, 7, *first.shape[1:])
    made = np.concatenate([first[:, None], middle, last[:, None]], 1)
    generated = TrajectorySet.from_arrays(reference.molecule, reference.frame_spacing_ps, list(made))
    result = protocol.judge(reference, {"generated": generated, "replicate": replicate})
    assert set(result.rows) == {"generated", "replicate", "tenth", "hundredth"}
    jsd = {name: row.metrics["path_jsd"].value for name, row in result.rows.items()}
    assert jsd["replicate"] < jsd["tenth"] < jsd["hundredth"]
    assert any("interpolations are worth" in note for note in result.notes)
    assert not any(note.startswith("No path statistics") for note in result.notes)
