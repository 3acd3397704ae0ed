"""Every fault of the conformation moves the metric that should see it, beyond what dynamics scores against itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.metrics.conformation.bonded import AngleMetrics, BondMetrics, PlanarityMetrics
from mdgen.evaluation.metrics.conformation.coupling import ConcertMetrics, CouplingMetrics, torsion_pairs
from mdgen.evaluation.metrics.conformation.measurements import pyramidality
from mdgen.evaluation.metrics.conformation.nearest import NearestMetrics, memorisation
from mdgen.evaluation.metrics.conformation.shape import (
    ComponentMetrics,
    ContactMetrics,
    PairDistanceMetrics,
    SizeMetrics,
    gaussian_w2,
)
from mdgen.evaluation.metrics.conformation.standstill import standstill
from mdgen.evaluation.metrics.observer import Observer
from mdgen.evaluation.metrics.steps import PairStepMetrics, StepMetrics
from mdgen.evaluation.metrics.structure import StructureMetrics
from mdgen.evaluation.metrics.target import MetricFamily, Target
from mdgen.evaluation.metrics.unit_sums import wasserstein_1
from mdgen.evaluation.preparation import prepare
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import permute_blocks
from mdgen.evaluation.statistics.observables import Observables
from mdgen.molecule.torsions import Torsion
from tests.evaluation.alanine import PSI, molecule, positions, rotated, toy_set
from tests.evaluation.faults import in_random_order, mirrored, with_fault

FAMILIES = (BondMetrics, AngleMetrics, PlanarityMetrics, SizeMetrics, PairDistanceMetrics, ContactMetrics,
            ComponentMetrics, StepMetrics, PairStepMetrics, StructureMetrics)  # fmt: skip
SETTINGS = Settings(resamples=20)
HYDROGENS = [atom for atom, symbol in enumerate(molecule().elements) if symbol == "H"]
METHYLS = ((0, (1, 2, 3), 4), (12, (13, 14, 15), 8), (18, (19, 20, 21), 16))
"""Carbon, hydrogens and the heavy neighbour of each methyl group."""

Frames = np.ndarray


@dataclass(frozen=True)
class Bench:
    """Toy dynamics measured once, and what it scores against itself."""

    observer: Observer
    reference: Observables
    replicate: Observables
    generated: TrajectorySet
    families: list[MetricFamily]
    null: dict[str, np.ndarray]

    def scores(self, fault: Callable[[Frames], Frames]) -> dict[str, float]:
        """Metrics of the generated frames after a fault."""
        row = self.observed(fault)
        return {name: estimate.value for family in self.families for name, estimate in family(row).items()}

    def observed(self, fault: Callable[[Frames], Frames]) -> Observables:
        return self.observer.observe(with_fault(self.generated, fault), 1, "read")


@pytest.fixture(scope="module")
def bench() -> Bench:
    reference, replicate, generated = (toy_set(6, 400, seed=seed) for seed in (1, 2, 3))
    observer = prepare(reference, {}, None, None, SETTINGS).observer
    observed, oracle = (observer.observe(each, 1, "read") for each in (reference, replicate))
    target = Target(observed, SETTINGS, observer.torsions)
    families = [family(target) for family in FAMILIES if family.applies(target)]
    assert len(families) == len(FAMILIES)
    blocks = permute_blocks(observed, oracle, 2000, np.random.default_rng(0))
    assert blocks is not None
    null = {name: draws for family in families for name, draws in family.permuted(blocks).items()}
    return Bench(observer, observed, oracle, generated, families, null)


def scaled(frames: Frames) -> Frames:
    return frames * 1.02


def rigid(frames: Frames) -> Frames:
    """Bonds at their mean lengths, by repeated projection."""
    frames = frames.astype(np.float64)
    bonds = [(i, j, np.linalg.norm(frames[:, i] - frames[:, j], axis=-1).mean()) for i, j in molecule().bonds]
    for _ in range(30):
        for first, second, length in bonds:
            arm = frames[:, second] - frames[:, first]
            now = np.linalg.norm(arm, axis=-1, keepdims=True)
            frames[:, first] += (now - length) / now / 2 * arm
            frames[:, second] -= (now - length) / now / 2 * arm
    return frames


def noisy(atoms: list[int], by_nm: float) -> Callable[[Frames], Frames]:
    def fault(frames: Frames) -> Frames:
        frames[:, atoms] += by_nm * np.random.default_rng(0).normal(size=(len(frames), len(atoms), 3))
        return frames

    return fault


def bent(atom: int, centre: int, others: tuple[int, int], degrees: float) -> Callable[[Frames], Frames]:
    """One atom turned out of the plane of its neighbour."""

    def fault(frames: Frames) -> Frames:
        arm, *sides = (frames[:, near] - frames[:, centre] for near in (atom, *others))
        normal = np.cross(*sides)
        normal *= np.linalg.norm(arm, axis=-1, keepdims=True) / np.linalg.norm(normal, axis=-1, keepdims=True)
        frames[:, atom] = frames[:, centre] + np.cos(np.radians(degrees)) * arm + np.sin(np.radians(degrees)) * normal
        return frames

    return fault


def pulled(frames: Frames) -> Frames:
    arm = frames[:, 1] - frames[:, 0]
    frames[:, 1] += 0.025 * arm / np.linalg.norm(arm, axis=-1, keepdims=True)
    return frames


def frozen_methyls(frames: Frames) -> Frames:
    """The hydrogens of each methyl as in the first frame, fitted to the frame of their carbon in every frame."""
    for carbon, hydrogens, heavy in METHYLS:
        far = next(atom for atom in molecule().neighbours[heavy] if atom != carbon)
        axes = _axes(frames, carbon, heavy, far)
        first = np.einsum("hx,kx->hk", frames[0, list(hydrogens)] - frames[0, carbon], axes[0])
        frames[:, list(hydrogens)] = frames[:, [carbon]] + np.einsum("hk,fkx->fhx", first, axes)
    return frames


def _axes(frames: Frames, origin: int, first: int, second: int) -> np.ndarray:
    x = frames[:, first] - frames[:, origin]
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    z = np.cross(x, frames[:, second] - frames[:, origin])
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)


def cis_block(frames: Frames) -> Frames:
    angles = np.zeros(len(frames))
    angles[: len(frames) // 50] = np.pi
    return rotated(frames.astype(np.float64), (0, 4, 6, 8), angles)


def exchanged(frames: Frames) -> Frames:
    return frames[:, [0, 2, 1, *range(3, 22)]]


def shuffled_within_five(frames: Frames) -> Frames:
    order = np.random.default_rng(0).permuted(np.arange(len(frames)).reshape(-1, 5), axis=1)
    return frames[order.ravel()]


def narrow_psi(frames: Frames) -> Frames:
    """Psi of every frame as in the first: a molecule of another size and spread."""
    axes = np.linspace(0, np.pi, len(frames))
    return rotated(frames.astype(np.float64), PSI, axes)


@pytest.mark.parametrize(
    ("fault", "metric", "tolerance"),
    [
        (scaled, "bond_w2_nm/all", 0.0005),
        (scaled, "radius_of_gyration_w1", 0.01),
        (noisy(list(range(22)), 0.004), "bond_w2_nm/worst", 0.001),
        (noisy(list(range(22)), 0.004), "angle_w2_deg/all", 0.3),
        (noisy(HYDROGENS, 0.006), "bond_w2_nm/worst", 0.001),
        (pulled, "bond_w2_nm/worst", 0.001),
        (bent(7, 6, (4, 8), 35.0), "planarity_w2_deg/worst", 1.5),
        (bent(5, 4, (0, 6), 25.0), "planarity_w2_deg/worst", 1.5),
        (frozen_methyls, "step_log10_error/methyl", 0.02),
        (lambda frames: mirrored(frames, 40), "share_difference/chirality", 0.001),
        (exchanged, "share_difference/prochirality", 0.001),
        (cis_block, "share_difference/cis", 0.002),
        (shuffled_within_five, "step_log10_error/all", 0.02),
        (shuffled_within_five, "pair_step_log10_error", 0.02),
        (lambda frames: in_random_order(frames, np.random.default_rng(0)), "step_log10_error/all", 0.02),
        (narrow_psi, "pair_distance_w1_nm/all", 0.01),
        (narrow_psi, "pca_w2_nm", 0.015),
    ],
)
def test_a_fault_moves_its_metric(
    bench: Bench, fault: Callable[[Frames], Frames], metric: str, tolerance: float
) -> None:
    clean, faulty = bench.scores(lambda frames: frames), bench.scores(fault)
    null = bench.null[metric]
    assert clean[metric] <= null.max() + tolerance
    assert faulty[metric] > null.max()
    assert np.sqrt(faulty[metric] ** 2 - (null**2).mean()) > tolerance


def test_rigid_bonds_lack_their_spread(bench: Bench) -> None:
    """The toy's bonds vibrate by 0.0014 nm, half as much as those of dynamics."""
    assert bench.scores(rigid)["bond_w2_nm/all"] == pytest.approx(0.0014, rel=0.1)
    assert bench.null["bond_w2_nm/all"].max() < 0.0001


def test_the_rounding_of_a_compressed_file_is_within_every_tolerance(bench: Bench) -> None:
    found = bench.scores(lambda frames: np.round(frames, 3))
    assert found["bond_w2_nm/worst"] < 0.001
    assert found["bond_w2_nm/all"] < 0.0005
    assert found["pair_step_log10_error"] < bench.null["pair_step_log10_error"].max() + 0.02
    assert found["share_difference/prochirality"] == 0


def turned_about(frames: Frames) -> Frames:
    """Every frame turned and moved at random."""
    rng = np.random.default_rng(5)
    turns = np.linalg.qr(rng.normal(size=(len(frames), 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    return np.einsum("fax,fxy->fay", frames.astype(np.float64), turns) + rng.normal(size=(len(frames), 1, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames,
        turned_about,
        noisy(list(range(22)), 1e-4),
        lambda frames: np.round(turned_about(frames), 3),
    ],
)
def test_copies_are_seen_whatever_was_done_to_them_and_honest_dynamics_is_not(
    bench: Bench, change: Callable[[Frames], Frames]
) -> None:
    copied = bench.observer.observe(with_fault(toy_set(6, 400, seed=1), change), 1, "read")
    sources = {"the reference": bench.reference, "the replicate": bench.replicate}
    dynamics = bench.reference, bench.replicate
    shares = {each.source: each.share for each in memorisation(*dynamics, copied, sources)}
    assert shares["the reference"] > 0.8  # rounding moves a few beyond the half: the toy's own noise is only 0.001 nm
    assert shares["the replicate"] == 0
    honest = memorisation(*dynamics, bench.observed(change), sources)
    assert all(each.share == 0 for each in honest)
    assert honest[0].nearest_nm == pytest.approx(honest[0].replicate_nm, rel=0.2)


def test_training_data_are_searched_too_and_a_few_copies_found(bench: Bench) -> None:
    training = toy_set(6, 400, seed=9)

    def partly_copied(frames: Frames) -> Frames:
        frames[:40] = turned_about(training.positions(3, 100, 140))
        return frames

    sources = {"the reference": bench.reference, "the training data": bench.observer.observe(training, 1, "read")}
    found = memorisation(bench.reference, bench.replicate, bench.observed(partly_copied), sources)
    assert [round(each.share, 2) for each in found] == [0.0, 0.1]


def test_the_nearest_frame_of_a_replicate_is_further_than_that_of_a_copy(bench: Bench) -> None:
    metrics = NearestMetrics(Target(bench.reference, SETTINGS))
    assert metrics(bench.reference)["nearest_frame_nm"].value == pytest.approx(0, abs=1e-6)
    near = metrics(bench.replicate)["nearest_frame_nm"]
    assert near.low < near.value < near.high
    assert near.low > 0.001


def test_a_trajectory_that_stands_still_is_named_and_honest_dynamics_is_not(bench: Bench) -> None:
    def partly_still(frames: Frames) -> Frames:
        return np.concatenate([frames[:200], np.repeat(frames[200:201], 200, axis=0)])

    def trembling(frames: Frames) -> Frames:
        return np.repeat(frames[:1], 400, axis=0) + 1e-5 * np.random.default_rng(0).normal(size=frames.shape)

    dynamics = bench.reference, bench.replicate
    assert standstill(dynamics, bench.observed(lambda frames: frames)) is None
    assert standstill(dynamics, bench.observed(lambda frames: frames[::-1].copy())) is None
    still = standstill(dynamics, bench.observed(partly_still))
    assert still is not None
    assert (still.trajectories, still.share, still.repeated) == (6, pytest.approx(1 / 3), 1.0)  # one of three stretches
    tremor = standstill(dynamics, bench.observed(trembling))
    assert tremor is not None
    assert (tremor.share, tremor.repeated) == (1.0, 0.0)
    whole = bench.observed(partly_still)
    assert standstill((whole,), whole) is None  # what the dynamics does too is no fault


def test_a_bent_neighbour_changes_the_pyramidality() -> None:
    """In a plane it is 0, and sin(t) times the sine of the angle between the others out of it."""
    start = positions()[None]
    flat = pyramidality(torch.from_numpy(start), np.array([[6, 4, 7, 8]]))
    out = pyramidality(torch.from_numpy(bent(7, 6, (4, 8), 35.0)(start.copy())), np.array([[6, 4, 7, 8]]))
    assert abs(float(flat)) < np.radians(1)
    first, second = (start[0, near] - start[0, 6] for near in (4, 8))
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    expected = np.arcsin(np.sin(np.radians(35)) * np.sqrt(1 - cosine**2))
    assert abs(float(out)) == pytest.approx(expected, abs=np.radians(1))


def test_the_histogram_distance_is_scipys() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.integers(5, size=300), rng.integers(2, 9, size=200)
    counts = [np.bincount(values, minlength=9).astype(float) for values in (here, there)]
    assert wasserstein_1(*counts, 0.5) == pytest.approx(0.5 * wasserstein_distance(here, there))


def test_gaussians_that_commute_differ_by_means_and_roots_of_their_variances() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    here, there = (turn * np.array(variances) @ turn.T for variances in ([1.0, 4.0, 9.0], [4.0, 4.0, 1.0]))
    found = gaussian_w2(np.zeros((1, 3)), here[None], np.array([[0.0, 0.0, 2.0]]), there[None])
    assert found[0] == pytest.approx(np.sqrt(4 + 1 + 0 + 4))
    assert np.isnan(gaussian_w2(np.zeros((1, 3)), np.full((1, 3, 3), np.nan), np.zeros((1, 3)), there[None]))


CHAIN = (
    Torsion("phi ALA1", 0, (0, 1, 2, 3), "backbone"),
    Torsion("psi ALA1", 0, (1, 2, 3, 4), "backbone"),
    Torsion("chi1 LEU2", 1, (2, 3, 4, 5), "side_chain"),
    Torsion("omega LEU2", 1, (3, 4, 5, 6), "omega"),
)


def rotamers(seed: int, swap: bool = False) -> Observables:
    """Three wells of psi; chi1 of the next residue follows psi in 70 % of frames, or that of another trajectory."""
    rng = np.random.default_rng(seed)

    def wells() -> tuple[np.ndarray, np.ndarray]:
        psi = rng.integers(3, size=80_000)
        return psi, np.where(rng.random(80_000) < 0.7, psi, rng.integers(3, size=80_000))

    (psi, chi), (_, other) = wells(), wells()
    chosen = np.stack([rng.integers(3, size=80_000), psi, other if swap else chi, np.ones(80_000, dtype=int)], axis=1)
    angles = np.radians(120.0 * chosen - 120.0 + 10 * rng.normal(size=chosen.shape))
    return Observables((10_000,) * 8, 1.0, {"torsions": angles.astype(np.float32)})


def test_side_chains_of_another_trajectory_lose_their_coupling() -> None:
    metrics = CouplingMetrics(Target(rotamers(0), SETTINGS, CHAIN))
    assert torsion_pairs(CHAIN) == [(0, 2), (1, 2)]
    blocks = permute_blocks(rotamers(0), rotamers(1), 60_000, np.random.default_rng(0))
    assert blocks is not None
    null = metrics.permuted(blocks)["coupling_error/all"]
    same, swapped = (metrics(rotamers(2, swap))["coupling_error/all"].value for swap in (False, True))
    assert same < null.max() + 0.01
    p = np.array([0.7 + 0.1, 0.1, 0.1])
    information = np.log(3) + (p * np.log(p)).sum()  # of psi and chi1; the other pair has none
    assert swapped == pytest.approx(np.sqrt((1 - np.exp(-2 * information)) / 2), rel=0.05)
    assert swapped > 10 * null.max()


def vibrations(seed: int, correlation: float) -> Observables:
    """Psi and chi1 about one well, with correlated fluctuations that are forgotten at once."""
    angles = 0.1 * np.random.default_rng(seed).normal(size=(40_000, 4))
    angles[:, 2] = correlation * angles[:, 1] + np.sqrt(1 - correlation**2) * angles[:, 2]
    return Observables((10_000,) * 4, 1.0, {"torsions": angles.astype(np.float32)})


def test_torsions_in_concert_are_told_from_those_alone() -> None:
    metrics = ConcertMetrics(Target(vibrations(0, -0.5), SETTINGS, CHAIN))
    same, alone = (metrics(vibrations(seed, of))["concert_error/worst"] for seed, of in ((1, -0.5), (2, 0.0)))
    assert same.value < 0.03
    assert alone.value == pytest.approx(0.5, abs=0.03)
    assert alone.low > same.high


def test_tables_follow_their_frames_through_joining_and_taking(bench: Bench) -> None:
    generated = bench.observed(lambda frames: frames)
    joined = bench.reference.joined(generated)
    late = joined.take(np.arange(2400, 4800)[::-1], (2400,))
    expected = generated.tables["bonds"].astype(np.float64).sum(0)
    np.testing.assert_allclose(late.table_sums("bonds", np.positive).sum(0), expected, atol=1e-9)
    halves = [generated.take(np.arange(k, 2400, 2), (1200,)) for k in range(2)]
    assert len(halves[0].joined(halves[1]).tables["bonds"]) == 2400  # what two halves share is not doubled
