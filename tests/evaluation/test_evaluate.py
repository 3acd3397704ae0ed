import dataclasses
from collections.abc import Callable

import mdtraj
import numpy as np
import pytest
import torch

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation, Settings, evaluate
from mdgen.evaluation.preparation import prepare
from mdgen.interfaces import Context
from mdgen.molecule.topology import Molecule
from tests.evaluation.alanine import PHI, PSI, TRANSITIONS, molecule, positions, rotated, toy_set
from tests.evaluation.faults import in_random_order, mirrored, stretched, with_fault

SETTINGS = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=30, resamples=50)
QUICK = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=10, resamples=10, permutations=199)


@pytest.fixture(scope="module")
def reference() -> TrajectorySet:
    return toy_set(6, seed=1)


@pytest.fixture(scope="module")
def other() -> TrajectorySet:
    return toy_set(6, seed=2)


@pytest.fixture(scope="module")
def result(reference: TrajectorySet, other: TrajectorySet) -> Evaluation:
    return evaluate(reference, other, replicate=toy_set(6, seed=3), settings=SETTINGS)


@pytest.fixture(scope="module")
def small() -> TrajectorySet:
    return toy_set(4, 300, seed=1)


@pytest.fixture(scope="module")
def small_other() -> TrajectorySet:
    return toy_set(4, 300, seed=2)


def value(result: Evaluation, row: str, metric: str) -> float:
    return result.rows[row].metrics[metric].value


def verdicts(result: Evaluation) -> dict[str, str]:
    return {line.metric: line.verdict for line in result.criteria}


def test_the_verdict_alone_is_that_of_the_whole_evaluation(small: TrajectorySet, small_other: TrajectorySet) -> None:
    def moved(frames: np.ndarray) -> np.ndarray:
        return np.repeat(frames[:1], len(frames), axis=0)

    for generated in (small_other, with_fault(small_other, moved)):
        whole, alone = (
            evaluate(small, generated, settings=dataclasses.replace(QUICK, verdict_only=only)) for only in (False, True)
        )
        assert alone.criteria == whole.criteria
        assert alone.flags == whole.flags
        assert list(alone.rows) == ["reference", "replicate", "generated", "generated_all"]
        assert bool(whole.flags) == (generated is not small_other)


def test_dynamics_of_the_same_law_fails_no_criterion(result: Evaluation) -> None:
    assert "fails" not in verdicts(result).values()
    assert verdicts(result)["share_difference/broken_bonds"] == verdicts(result)["share_difference/cis"] == "holds"
    assert result.flags == ()
    assert not any("Too good" in note for note in result.notes)
    for metric in ("torsion_jsd/all", "torsion_pair_jsd/all", "tica_jsd/0", "free_energy_rmse_kT/psi_1"):
        assert result.rows["generated"].metrics[metric].low <= value(result, "replicate", metric) * 1.5


def test_timescales_are_those_of_the_chain(result: Evaluation) -> None:
    exact = np.sort(-1 / np.log(np.sort(np.linalg.eigvals(TRANSITIONS).real)[:2]))[::-1]
    for mode in range(2):
        estimate = result.rows["generated"].metrics[f"timescale_ps/{mode + 1}"]
        # the interval is of the sampling; states that cut a well across add a bias of a few per cent
        assert estimate.low * 0.9 < exact[mode] < estimate.high * 1.1


def test_rows_have_as_many_frames_and_the_shuffled_one_has_no_memory(result: Evaluation) -> None:
    assert result.rows["generated"].frames == result.rows["replicate"].frames == result.rows["shuffled"].frames
    for metric in ("torsion_jsd/all", "torsion_pair_jsd/all", "free_energy_rmse_kT/psi_1", "bond_rms_nm"):
        assert value(result, "shuffled", metric) == pytest.approx(value(result, "replicate", metric))
    assert value(result, "shuffled", "timescale_ps/1") < 0.2 * value(result, "replicate", "timescale_ps/1")


def test_the_replicate_sits_at_the_floor_of_dynamics_and_above_that_of_independent_frames(result: Evaluation) -> None:
    floor = result.rows["md_floor"].metrics
    assert {"torsion_jsd/all", "tica_jsd/0,1", "free_energy_rmse_kT/psi_1", "first_passage_log10_error"} <= set(floor)
    for metric, estimate in floor.items():
        for row in ("replicate", "generated"):
            found = result.rows[row].metrics[metric]
            assert found.low <= estimate.high, (row, metric)
            assert found.high >= estimate.low, (row, metric)
    assert value(result, "floor", "torsion_jsd/backbone") < floor["torsion_jsd/backbone"].value


def noise_in_psi(frames: np.ndarray) -> np.ndarray:
    angles = np.radians(5) * np.random.default_rng(0).normal(size=len(frames))
    return rotated(frames.astype(np.float64), PSI, angles)


def test_each_fault_is_caught_by_the_metric_that_should() -> None:
    reference, other = toy_set(6, 1200, seed=1), toy_set(6, 1200, seed=2)

    def faulty(fault: Callable[[np.ndarray], np.ndarray]) -> Evaluation:
        return evaluate(reference, with_fault(other, fault), settings=QUICK)

    clean = evaluate(reference, other, settings=QUICK).rows["generated"].metrics
    wrong = faulty(lambda frames: stretched(noise_in_psi(frames), 4, 5, 0.04))
    noisy = wrong.rows["generated"].metrics
    assert noisy["step_rms_deg/psi ALA2"].value > clean["step_rms_deg/psi ALA2"].value
    assert noisy["step_rms_deg/phi ALA2"].value == pytest.approx(clean["step_rms_deg/phi ALA2"].value, rel=1e-3)
    assert noisy["broken_bond_share"].value > 0.9
    assert noisy["bond_rms_nm"].low > 2 * clean["bond_rms_nm"].high
    assert verdicts(wrong)["share_difference/broken_bonds"] == "fails"
    assert verdicts(wrong)["share_difference/chirality"] == "holds"
    assert wrong.verdict == "fails"
    mirror = faulty(lambda frames: mirrored(frames, 100))
    assert value(mirror, "generated", "chirality_error_share") == pytest.approx(0.01, abs=0.002)
    assert value(mirror, "replicate", "chirality_error_share") == 0
    assert verdicts(mirror)["share_difference/chirality"] == "fails"
    mixed = faulty(lambda frames: in_random_order(frames, np.random.default_rng(0)))
    assert value(mixed, "generated", "torsion_jsd/all") == pytest.approx(clean["torsion_jsd/all"].value)
    assert value(mixed, "generated", "timescale_ps/1") < 0.2 * clean["timescale_ps/1"].value
    assert verdicts(mixed)["first_passage_log10_error"] == verdicts(mixed)["step_log10_error/all"] == "fails"
    # Times of torsions that forget within some frames err by little on a log scale, and 7 ns show no more of them.
    for metric in ("decorrelation_log10_error/all", "relaxation_log10_error/all"):
        assert verdicts(mixed)[metric] != "holds"
    assert verdicts(mixed)["torsion_jsd/backbone"] != "fails"


def test_a_projection_takes_the_place_of_tica(small: TrajectorySet, small_other: TrajectorySet) -> None:
    calls = []

    def end_to_end(positions: torch.Tensor, context: Context) -> torch.Tensor:
        calls.append(positions.shape[1])
        return torch.linalg.vector_norm(positions[..., 0, :] - positions[..., 18, :], dim=-1)[..., None, None]

    result = evaluate(small, small_other, projection=end_to_end, settings=QUICK)
    assert sum(calls) == small.n_frames + small_other.n_frames
    axis = result.curves["psi_1_axis"]
    assert 0.2 < axis.min() < axis.max() < 1.2


def test_a_projection_is_told_the_conditions_of_each_trajectory(small: TrajectorySet) -> None:
    told = []

    def projection(positions: torch.Tensor, context: Context) -> torch.Tensor:
        assert len(positions) == len(context.temperature_K) == len(context.residue_types) == 1  # type: ignore[arg-type]
        assert context.molecules == (small.molecule,)
        told.append((float(context.temperature_K), float(context.frame_spacing_ps)))  # type: ignore[arg-type]
        return positions[..., :1, 0].unsqueeze(-1)

    cold, warm = (
        TrajectorySet.from_arrays(small.molecule, 1.0, [small.positions(0)], temperature_K=kelvin)
        for kelvin in (300.0, 360.0)
    )
    mixed = TrajectorySet(small.molecule, 1.0, [cold.source(0), warm.source(0)])
    observer = prepare(mixed, {}, projection, None, QUICK).observer
    column = observer.observe(mixed, 2, "read").columns["psi"]
    assert told == [(300.0, 2.0), (360.0, 2.0)]
    np.testing.assert_array_equal(column[:, 0], np.tile(small.positions(0, stride=2)[:, 0, 0], 2))


@pytest.mark.parametrize("role", ["generated", "replicate"])
def test_other_temperatures_are_refused_and_unknown_ones_pass(small: TrajectorySet, role: str) -> None:
    def at(*kelvin: float | None) -> TrajectorySet:
        sets = [TrajectorySet.from_arrays(small.molecule, 1.0, [small.positions(0)], temperature_K=k) for k in kelvin]
        return TrajectorySet(small.molecule, 1.0, [each.source(0) for each in sets])

    def prepared(reference: TrajectorySet, other: TrajectorySet) -> None:
        prepare(reference, {f"the {role} set": other}, None, None, QUICK)

    for reference, other in (
        ((300.0,), (300.02,)),
        ((300.0,), (None,)),
        ((None,), (300.0,)),
        ((300.0, 360.0), (360.0, 300.0)),
    ):
        prepared(at(*reference), at(*other))
    with pytest.raises(MdgenError, match=f"the reference is at 300 K and the {role} set at 300.04 K; compare"):
        prepared(at(300.0), at(300.04))
    with pytest.raises(MdgenError, match=f"at 300 K and the {role} set at 300 to 360 K"):
        prepared(at(300.0, None), at(300.0, 360.0))


def test_other_spacings_are_brought_to_a_common_one(small: TrajectorySet) -> None:
    coarse = with_fault(small, lambda frames: frames[::3])
    coarse = TrajectorySet.from_arrays(
        coarse.molecule, 1.5, [np.array(coarse.positions(i)) for i in range(len(coarse))]
    )
    result = evaluate(small, coarse, settings=QUICK)
    assert result.settings["frame_spacing_ps"] == 3.0
    assert any("every 3th frame" in note or "every 3rd frame" in note for note in result.notes)
    irrational = TrajectorySet.from_arrays(molecule(), np.pi, [np.array(small.positions(0))])
    with pytest.raises(MdgenError, match="no common multiple"):
        evaluate(small, irrational, settings=QUICK)


def test_another_molecule_is_refused_naming_the_atoms(small: TrajectorySet) -> None:
    topology = molecule().topology.copy()
    topology.atom(9).name = "HX"
    wrong = TrajectorySet.from_arrays(Molecule.from_mdtraj(topology), 1.0, [np.array(small.positions(0))])
    with pytest.raises(MdgenError, match=r"generated.*HX"):
        evaluate(small, wrong, settings=QUICK)


def test_frames_that_are_not_finite_are_refused_naming_the_frame(small: TrajectorySet) -> None:
    broken = np.array(small.positions(0))
    broken[17, 3, 1] = np.nan
    with pytest.raises(MdgenError, match="frame 17"):
        evaluate(small, TrajectorySet.from_arrays(molecule(), 1.0, [broken]), settings=QUICK)


def test_too_few_frames_for_kinetics_still_give_the_rest(small: TrajectorySet) -> None:
    short = with_fault(small, lambda frames: frames[:8])
    result = evaluate(short, short, settings=Settings(resamples=20))
    assert "torsion_jsd/all" in result.rows["generated"].metrics
    assert "timescale_ps/1" not in result.rows["generated"].metrics
    assert any("longer" in note for note in result.notes)
    lines = {line.metric: line for line in result.criteria}
    for name in ("first_passage_log10_error", "decorrelation_log10_error/all"):
        assert lines[name].value is None
        assert lines[name].verdict == "undecided"
    assert "torsion_jsd/side_chain" not in lines  # alanine has none: left out, and told
    assert any("Torsion JSD, side_chain" in note for note in result.notes)


def test_without_blocks_nothing_is_decided(small: TrajectorySet) -> None:
    tiny = with_fault(small.select([0, 1]), lambda frames: frames[:2])
    result = evaluate(tiny, tiny, settings=Settings(resamples=5))
    assert set(verdicts(result).values()) == {"undecided"}
    assert any("too few frames" in note for note in result.notes)


def test_a_single_frame_set_is_refused(small: TrajectorySet) -> None:
    with pytest.raises(MdgenError, match="at least"):
        evaluate(small, with_fault(small.select([0]), lambda frames: frames[:1]), settings=QUICK)


def test_a_molecule_without_torsions_is_judged_by_its_structure() -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("HOH", topology.add_chain())
    atoms = [topology.add_atom(n, mdtraj.element.get_by_symbol(n[0]), residue) for n in ("O", "H1", "H2")]
    topology.add_bond(atoms[0], atoms[1])
    topology.add_bond(atoms[0], atoms[2])
    start = np.array([[0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]])
    rng = np.random.default_rng(0)
    arrays = [(start + 0.001 * rng.normal(size=(200, 3, 3))).astype(np.float32) for _ in range(4)]
    water = TrajectorySet.from_arrays(Molecule.from_mdtraj(topology), 1.0, arrays)
    result = evaluate(water, water, settings=Settings(resamples=20))
    assert value(result, "generated", "broken_bond_share") == 0
    assert any("no torsions" in note.lower() for note in result.notes)
    assert not any(metric.startswith(("torsion", "occupancy", "step")) for metric in verdicts(result))


def test_tolerances_are_the_users(small: TrajectorySet, small_other: TrajectorySet) -> None:
    result = evaluate(small, small_other, settings=QUICK, tolerances={"torsion_jsd/backbone": 0.8})
    assert verdicts(result)["torsion_jsd/backbone"] == "holds"
    assert result.settings["tolerances"]["torsion_jsd/backbone"] == 0.8
    with pytest.raises(MdgenError, match="no criterion 'torsion'"):
        evaluate(small, small_other, settings=QUICK, tolerances={"torsion": 0.8})


def test_the_toy_has_the_torsions_it_says() -> None:
    turned = rotated(positions()[None], PHI, np.array([0.4]))
    both = mdtraj.compute_dihedrals(
        mdtraj.Trajectory(np.concatenate([positions()[None], turned]), molecule().topology), [PHI, PSI]
    )
    assert both[1] - both[0] == pytest.approx([0.4, 0], abs=1e-5)


def test_states_that_fall_apart_are_told(reference: TrajectorySet) -> None:
    """One half of the reference never leaves a well, the other never enters it."""

    def kept(phi_above: bool) -> list[np.ndarray]:
        found = []
        for i in range(len(reference)):
            frames = np.array(reference.positions(i))
            phi = mdtraj.compute_dihedrals(mdtraj.Trajectory(frames, molecule().topology), [PHI])[:, 0]
            found.append(frames[(phi > 0) == phi_above][:300])
        return found

    apart = TrajectorySet.from_arrays(molecule(), 1.0, kept(True) + kept(False))
    result = evaluate(apart, apart, replicate=apart, settings=QUICK)
    assert value(result, "generated", "connected_share") < 0.99
    assert any("fall apart" in note for note in result.notes)


class Spring:
    """A potential with one term: a spring between the first two atoms."""

    fingerprint = "spring"

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return sum(self.energy_terms(positions).values())  # type: ignore[return-value]

    def energy_terms(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        length = torch.linalg.vector_norm(positions[:, 0] - positions[:, 1], dim=-1)
        return {"spring": 1e5 * (length - 0.109) ** 2}


def test_energies_through_the_potential_seam(small: TrajectorySet, small_other: TrajectorySet) -> None:
    result = evaluate(small, small_other, potential=Spring(), settings=QUICK)
    longer = evaluate(
        small, with_fault(small_other, lambda f: stretched(f, 0, 1, 0.01)), potential=Spring(), settings=QUICK
    )
    assert {"energy_axis/total", "energy_density/generated/spring"} <= result.curves.keys()
    assert "energy_jsd/spring" in result.rows["md_floor"].metrics
    for name in ("total", "spring"):
        good = result.rows["generated"].metrics[f"energy_kJ_mol/{name}"]
        assert good.low < value(result, "reference", f"energy_kJ_mol/{name}") * 1.1
        assert longer.rows["generated"].metrics[f"energy_kJ_mol/{name}"].low > 3 * good.high
        assert value(longer, "generated", f"energy_jsd/{name}") > 2 * value(result, "generated", f"energy_jsd/{name}")


def test_a_fault_in_one_stretch_of_frames_is_flagged_though_no_permutation_can_tell_it(
    small: TrajectorySet, small_other: TrajectorySet
) -> None:
    def mirrored_stretch(frames: np.ndarray) -> np.ndarray:
        changed = frames.copy()
        changed[100:106] *= [1, 1, -1]
        return changed

    result = evaluate(small, with_fault(small_other, mirrored_stretch), settings=SETTINGS)
    assert any("a mirrored stereocentre, which no frame of the dynamics has" in flag for flag in result.flags)
    assert not evaluate(small, small_other, settings=SETTINGS).flags


def test_frames_copied_from_the_reference_are_told(small: TrajectorySet, small_other: TrajectorySet) -> None:
    settings = QUICK
    copied = evaluate(small, small, replicate=small_other, settings=settings)
    assert any("100% of its frames are frames of the reference" in flag for flag in copied.flags)
    assert copied.verdict in ("flagged", "fails")
    halves = evaluate(small, small, settings=settings)
    assert any("100% of its frames are frames of the dynamics" in flag for flag in halves.flags)
    learned = evaluate(small, small_other, settings=settings, training=small_other)
    assert [flag.partition(",")[0] for flag in learned.flags] == [
        "generated: 100% of its frames are frames of the training data"
    ]
    assert evaluate(small, small_other, settings=settings, training=small).flags == ()


def test_frames_of_beads_without_torsions_bonds_or_mass_are_no_copies() -> None:
    for element in (mdtraj.element.virtual, mdtraj.element.carbon):
        topology = mdtraj.Topology()
        chain = topology.add_chain()
        for _ in range(12):
            topology.add_atom("CA", element, topology.add_residue("ALA", chain))
        rng = np.random.default_rng(0)
        beads = [
            TrajectorySet.from_arrays(Molecule(topology), 1.0, list(rng.normal(size=(3, 300, 12, 3)).astype("f4")))
            for _ in range(2)
        ]
        result = evaluate(*beads, settings=Settings(resamples=10, structure_work=5000.0))  # every k-th frame is checked
        assert result.flags == ()
        assert value(result, "generated", "radius_of_gyration_nm") > 0


def test_memory_that_is_gone_costs_though_the_reference_keeps_it_beyond_every_lag() -> None:
    rng = np.random.default_rng(0)
    frames = np.broadcast_to(positions(), (600, 22, 3))

    def turning(slow_frames: int) -> TrajectorySet:
        arrays = []
        for index in range(2):
            wells = (np.arange(600) // slow_frames + index) % 2
            jitter = np.radians(5) * rng.normal(size=600)
            arrays.append(rotated(frames, PSI, np.radians(120.0) * wells + jitter).astype(np.float32))
        return TrajectorySet.from_arrays(molecule(), 1.0, arrays)

    settings = Settings(lag_ps=2.0, tica_lag_ps=2.0, n_states=5, resamples=10)
    result = evaluate(turning(300), turning(2), replicate=turning(300), settings=settings)
    assert not any(name.startswith("decorrelation_ps/psi") for name in result.rows["reference"].metrics)
    assert value(result, "generated", "decorrelation_log10_error/all") > 1.0


def test_torsions_that_never_turn_count_as_those_that_remember_longest(result: Evaluation) -> None:
    error = value(result, "frozen", "decorrelation_log10_error/all")
    assert error > 1.0 > 5 * value(result, "replicate", "decorrelation_log10_error/all")


class Overlapping(Spring):
    """A potential without bound where its first two atoms meet."""

    def energy_terms(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        length = torch.linalg.vector_norm(positions[:, 0] - positions[:, 1], dim=-1)
        return {"repulsion": (0.1 / length) ** 12, "attraction": -((0.1 / length) ** 6)}


def test_energies_that_no_float_holds_are_not_left_out(small: TrajectorySet, small_other: TrajectorySet) -> None:
    def collapsed(frames: np.ndarray) -> np.ndarray:
        result = frames.copy()
        result[::10, 1] = result[::10, 0]
        return result

    result = evaluate(small, with_fault(small_other, collapsed), potential=Overlapping(), settings=QUICK)
    assert value(result, "generated", "energy_kJ_mol/total") > 1e28
    assert value(result, "generated", "energy_jsd/total") > 0.1


def test_few_frames_to_a_row_are_told_and_why(
    reference: TrajectorySet, other: TrajectorySet, result: Evaluation
) -> None:
    settings = QUICK
    uneven = TrajectorySet.from_arrays(
        molecule(), 1.0, [np.array(reference.positions(0)), np.array(reference.positions(1))[:30]]
    )
    notes = evaluate(uneven, other, settings=settings).notes
    assert any("Rows hold 30 frames for 1,500" in note and "as the replicate" in note for note in notes)
    few = with_fault(other.select([0]), lambda frames: frames[:40])
    assert any("as the generated" in note for note in evaluate(reference, few, settings=settings).notes)
    assert not any("Rows hold" in note for note in result.notes)


def test_more_than_the_dynamics_is_told(small: TrajectorySet, small_other: TrajectorySet, result: Evaluation) -> None:
    assert not any("not how right the model is" in note for note in result.notes)
    longer = TrajectorySet.from_arrays(molecule(), 1.0, [np.array(small_other.positions(0))] * 8)
    notes = evaluate(small, longer, settings=QUICK).notes
    (told,) = (note for note in notes if "not how right the model is" in note)
    assert " were generated for " in told


def test_lags_that_fall_between_frames_are_told(small: TrajectorySet, small_other: TrajectorySet) -> None:
    result = evaluate(small, small_other, settings=Settings(lag_ps=2.4, n_states=10, resamples=10))
    assert result.settings["lag_ps"] == 2.0
    assert any("lag_ps=2.4 is no multiple" in note for note in result.notes)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"torsion_bins": 0}, {"n_states": 1}, {"lag_ps": -1.0}])
def test_settings_that_measure_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(MdgenError, match=f"{next(iter(wrong))}="):
        Settings(**wrong)


def test_generated_trajectories_too_short_for_kinetics_say_how_long_they_must_be(small: TrajectorySet) -> None:
    short = with_fault(toy_set(6, 8, seed=9), lambda frames: frames)
    result = evaluate(small, short, settings=Settings(lag_ps=10.0, n_states=10, resamples=10))
    assert any("at least 12 frames" in note for note in result.notes)
    assert "torsion_jsd/all" in result.rows["generated"].metrics
    assert "timescale_ps/1" not in result.rows["generated"].metrics
