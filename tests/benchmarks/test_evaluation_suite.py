"""The evaluation suite: its chain obeys the law it claims, its runs resume, and its shares are what was counted."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from mdgen.benchmarks.evaluation.evaluation_suite import EvaluationSettings
from mdgen.benchmarks.evaluation.fault import Dynamics
from mdgen.benchmarks.evaluation.ideal_test import population_test, visit_test
from mdgen.benchmarks.evaluation.known_chain import PEPTIDES, KnownChain
from mdgen.benchmarks.evaluation.tallies import acceptance, figures, wilson
from mdgen.data.trajectories import write_trajectory
from mdgen.errors import MdgenError
from mdgen.results import write_result

QUICK = EvaluationSettings(
    peptide="ace_ala_nme", sizes=[[2, 120]], honest_runs=2, faults=["exact_copies", "time_reversed"], fault_runs=1,
    fault_trajectories=2, fault_frames=120, resamples=4, workers=1,
)  # fmt: skip


@pytest.mark.parametrize("peptide", PEPTIDES)
def test_the_chain_is_reversible_and_its_spectrum_is_that_of_its_matrix(peptide: str) -> None:
    chain = KnownChain(peptide)
    matrix, pi = chain.transition_matrix, chain.stationary
    assert np.allclose(matrix.sum(1), 1)
    flux = pi[:, None] * matrix
    assert np.allclose(flux, flux.T, atol=1e-14)
    values = np.sort(np.linalg.eigvals(matrix).real)[::-1][1:4]
    assert np.allclose(-1 / np.log(values), chain.timescales_ps[:3], rtol=1e-6)
    faster = dataclasses.replace(chain, speed=2.0)
    assert np.allclose(faster.timescales_ps[:3], chain.timescales_ps[:3] / 2)
    assert np.allclose(faster.stationary, pi)


def test_sampled_states_and_torsions_follow_the_exact_law() -> None:
    chain = KnownChain("ace_ala_nme")
    rng = np.random.default_rng(0)
    paths = chain.sample_states(400, 300, rng)
    shares = np.bincount(paths.ravel(), minlength=4) / paths.size
    assert np.abs(shares - chain.stationary).max() < 0.03
    counts = np.zeros((4, 4))
    np.add.at(counts, (paths[:, :-1].ravel(), paths[:, 1:].ravel()), 1)
    assert np.abs(counts / counts.sum(1, keepdims=True) - chain.transition_matrix).max() < 0.01
    frames = chain.draw(60, 500, rng)
    dynamics = Dynamics(chain, frames, rng)
    for name in ("phi ALA2", "psi ALA2"):
        angle = dynamics.to_internal(frames)["dihedrals"][:, dynamics.column(name)].reshape(60, 500)
        step = (np.diff(angle, axis=1) + np.pi) % (2 * np.pi) - np.pi
        assert np.degrees(np.sqrt((step**2).mean())) == pytest.approx(chain.step_rms_deg(name), rel=0.05)
        phase = np.exp(1j * angle.astype(float))
        baseline, lag = abs(phase.mean()) ** 2, round(chain.decorrelation_ps(name))
        left = ((phase[:, :-lag].conj() * phase[:, lag:]).real.mean() - baseline) / (1 - baseline)
        assert left == pytest.approx(np.exp(-1), abs=0.1)


def test_the_ideal_test_is_that_of_sampled_populations() -> None:
    chain, n_frames = KnownChain("ace_ala_nme"), 500
    test = population_test(chain, "alphaR ALA2", 2.0, n_frames)
    inside = chain.in_well("alphaR ALA2")
    shares = inside[chain.sample_states(2000, n_frames, np.random.default_rng(0))].mean(1)
    assert shares.mean() == pytest.approx(test.population, abs=0.01)
    assert shares.var() == pytest.approx(test.variance, rel=0.1)
    assert test.altered / (1 - test.altered) == pytest.approx(2 * test.population / (1 - test.population))
    needed = test.needed
    assert test.power(needed - 1) < 0.99 <= test.power(needed)
    assert test.power(needed, 0.05) > test.power(needed)


def test_the_ideal_test_of_an_omission_counts_the_visits() -> None:
    chain, n_frames = KnownChain(), 500
    test = visit_test(chain, ("alphaL ALA2", "alphaL LEU3"), n_frames)
    paths, rng = chain.sample_states(1000, n_frames, np.random.default_rng(0)), np.random.default_rng(1)
    inside = [chain.in_well(well)[paths] for well in ("alphaL ALA2", "alphaL LEU3")]
    visits = sum(each[:, 0] + (np.diff(each, axis=1) > 0).sum(1) for each in inside).mean()
    assert visits == pytest.approx(test.visits, rel=0.15)
    level, n = 0.01, test.needed
    seen = rng.poisson(n * test.visits, size=20_000)
    assert test.power(n, level) == pytest.approx((2.0 ** (1 - seen) <= level).mean(), abs=0.01)
    assert test.power(n - 1) < 0.99 <= test.power(n)


def test_a_fault_of_populations_is_judged_with_what_the_ideal_test_needs_too() -> None:
    name = "rare_state_four_times_as_heavy"
    suite = dataclasses.replace(QUICK, faults=[name, "shuffled"], sizes=[])
    assert [(run.name, run.n_trajectories) for run in suite.runs()] == [
        (name, 2), (name, suite.ideal_tests[name].needed), ("shuffled", 2),
    ]  # fmt: skip

    def outcome(n: int, caught: bool) -> dict:
        run = {"kind": "fault", "name": name, "n_trajectories": n, "n_frames": 9, "failing": ["x"] * caught}
        return {**run, "overall": "fails", "flagged": False, "excesses": {}}

    ideal = {name: {"trajectories": 2, "trajectories_needed": 16, "power": 0.6}}
    found = figures([outcome(2, False), outcome(16, True)], {}, ideal)
    row = next(row for row in acceptance(found) if row.name == f"fault/{name}")
    assert (row.holds, row.value) == (True, 1)
    assert row.bound.endswith("with 2 that test has a power of 0.60, and the fault is caught in 0.00")


def test_residues_are_coupled_unless_the_coupling_is_off() -> None:
    for coupling, coupled in ((1.0, True), (0.0, False)):
        chain = KnownChain(coupling=coupling)
        joint = np.zeros((4, 4, 3))
        np.add.at(joint, tuple(chain.states.T), chain.stationary)
        alone = np.einsum("a,b,c->abc", joint.sum((1, 2)), joint.sum((0, 2)), joint.sum((0, 1)))
        assert (np.abs(joint - alone).max() > 0.01) == coupled


def test_a_suite_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdgen.benchmarks.evaluation.judged_runs.TRUTH_FRAMES", 500)
    found, rows = QUICK.run(tmp_path)
    names = [row.name for row in rows]
    assert {"false_alarms_on_the_chain", "coverage/means/2 x 120", "fault/exact_copies", "invisible/time_reversed"} <= (
        set(names)
    )
    assert found["faults"]["exact_copies"]["flagged"].value == 1
    assert found["honest"]["all"]["runs"] == 2
    assert found["timescale_1"]["2 x 120"]["exact_ps"] == pytest.approx(209.6, abs=0.1)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 4
    kept[0].unlink()
    times = [path.stat().st_mtime_ns for path in kept[1:]]
    again, _ = dataclasses.replace(QUICK, workers=2).run(tmp_path)
    assert [path.stat().st_mtime_ns for path in kept[1:]] == times
    strip = [{k: v for k, v in each.items() if k not in ("seconds_a_run", "settings")} for each in (found, again)]
    assert strip[0] == strip[1]
    write_result(tmp_path / "result.json", found, rows)
    assert json.loads((tmp_path / "result.json").read_text())["faults"]["exact_copies"]["caught"]["value"] == 1
    drawn = QUICK.draw(found, tmp_path / "result.json")
    assert [path.name for path in drawn] == ["result_power.png", "result_coverage.png"]


def test_files_are_split_at_random(tmp_path: Path) -> None:
    chain = KnownChain("ace_ala_nme")
    opened = chain.trajectories(chain.draw(4, 120, np.random.default_rng(0)))
    files = [tmp_path / f"{i}.h5" for i in range(4)]
    for i, file in enumerate(files):
        write_trajectory(file, opened.positions(i), chain.molecule, 1.0)
    settings = dataclasses.replace(QUICK, sizes=[], faults=[], trajectories=[str(file) for file in files], splits=2)
    found, rows = settings.run(tmp_path / "partial")
    assert [row.name for row in rows] == ["false_alarms_on_files", "files_flagged"]
    assert found["files"]["runs"] == 2
    with pytest.raises(MdgenError, match="cannot be split into two times 3"):
        dataclasses.replace(settings, split_trajectories=3).run(tmp_path / "other")


def test_shares_are_what_was_counted() -> None:
    def outcome(kind: str, name: str, failing: list[str], flagged: bool = False) -> dict:
        run = {"kind": kind, "name": name, "n_trajectories": 2, "n_frames": 9, "failing": failing, "flagged": flagged}
        intervals = {"closest_nm": [0.3, 0.29, 0.31]}, {"timescale_log_error/1": [0.5, 0.1, 0.6]}
        return {**run, "overall": "fails" if failing else "holds", "intervals": intervals[0], "excesses": intervals[1]}

    runs = [outcome("chain", "a", []), outcome("chain", "a", ["clash"]), outcome("fault", "shuffled", ["steps"])]
    runs.append(outcome("fault", "shuffled", [], flagged=True))
    runs += [outcome("fault", "twice_as_fast", ["speed"]), outcome("fault", "slower_by_half", ["speed"])]
    found = figures(runs, {"closest_nm": 0.305, "timescale_ps/1": 200.0}, {})
    assert found["honest"]["2 x 9"]["any_row_fails"].value == 0.5
    assert found["honest"]["all"]["rows"]["clash"].value == 0.5
    assert found["coverage"]["2 x 9"]["groups"]["means"].value == 1
    assert found["distances"]["twice_as_fast: timescale_log_error/1"].value == 0  # ln 2 = 0.69
    assert found["distances"]["slower_by_half: timescale_log_error/1"].value == 1  # ln 1.5 = 0.41
    assert found["distances"]["all"].value == 0.5
    assert found["faults"]["shuffled"]["caught"].value == 1
    assert found["faults"]["shuffled"]["rows"] == {"steps": 1}
    holds = {row.name: row.holds for row in acceptance(found)}
    assert holds["fault/shuffled"]
    assert not holds["false_alarms_on_the_chain"]
    assert not holds["coverage/distances"]


def test_wilson_is_that_of_scipy() -> None:
    for successes, trials in ((0, 20), (3, 60), (20, 20)):
        expected = binomtest(successes, trials).proportion_ci(method="wilson")
        found = wilson(successes, trials)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_what_cannot_be_run_is_refused_in_a_sentence() -> None:
    for change, words in (
        ({"faults": ["no_such"]}, "fault 'no_such' is unknown; known are exact_copies"),
        ({"peptide": "trp_cage"}, "peptide 'trp_cage' is unknown"),
        ({"sizes": [[1, 100]]}, r"sizes holds \[1, 100\]"),
        ({"sizes": [], "faults": []}, "nothing would be shown"),
        ({"fault_runs": 0}, "fault_runs is 0"),
    ):
        with pytest.raises(MdgenError, match=words):
            dataclasses.replace(QUICK, **change)
    with pytest.raises(MdgenError, match="there is no well 'alphaR GLY2'"):
        KnownChain("ace_ala_nme", offsets={"alphaR GLY2": 1.0})
