"""The arithmetic of the benchmark's figures, on turns that are given."""

import pytest

from mdgen.benchmarks.speed.engines import EngineSetup
from mdgen.benchmarks.speed.ratios import Measurement, acceptance_rows, best, cpu_time_ratio, ratios, speed_ratio
from mdgen.benchmarks.speed.runner import Turn


def measured(setup: EngineSetup, *us: float, system: str = "ipgd_obc2", cpu: float = 1.0) -> Measurement:
    return Measurement(system, 55, setup, [Turn(each, cpu * each) for each in us])


OURS = measured(EngineSetup("mdgen_kernel", 64, threads=2), 2.0, 4.0, 2.5, cpu=2.0)
SLOWER = measured(EngineSetup("mdgen_torch", 64), 40.0, 10.0, 50.0)
REFERENCE = measured(EngineSetup("openmm_reference", processes=2, precision="double"), 20.0, 20.0, 50.0, cpu=2.0)
PLATFORM = measured(EngineSetup("openmm_cpu"), 30.0, 30.0, 30.0)


def test_the_best_is_that_of_the_smallest_median_and_not_of_the_luckiest_turn() -> None:
    assert best([SLOWER, OURS, PLATFORM, REFERENCE], "mdgen") is OURS
    assert best([PLATFORM, REFERENCE], "openmm") is REFERENCE
    assert best([PLATFORM, REFERENCE], "openmm_cpu") is PLATFORM
    assert best([PLATFORM], "torchmd") is None


def test_a_ratio_is_taken_round_by_round() -> None:
    ratio = speed_ratio(OURS, REFERENCE)
    assert (ratio.value, ratio.low, ratio.high) == (10.0, 5.0, 20.0)
    cost = speed_ratio(REFERENCE, OURS)
    assert (cost.value, cost.low, cost.high) == (0.1, 0.05, 0.2)


def test_processor_time_is_compared_between_the_most_frugal() -> None:
    frugal = measured(EngineSetup("openmm_cpu"), 100.0, 100.0, 100.0, cpu=0.1)
    assert cpu_time_ratio([OURS, REFERENCE, frugal]) == pytest.approx(10.0 / 5.0)
    assert cpu_time_ratio([OURS]) is None


def test_a_row_says_what_a_day_gives_with_all_that_ran() -> None:
    row = REFERENCE.row
    assert (row["replicas"], row["threads"], row["processes"]) == (2, 2, 2)
    assert (row["us_per_step_per_replica"], row["us_low"], row["us_high"]) == (20.0, 20.0, 50.0)
    # 20 us of the machine buy 2 fs of one replica: a day of 86400 s buys 8640 ns.
    assert row["ns_per_day"] == pytest.approx(8640.0)
    short = measured(EngineSetup("torchmd", timestep_fs=1.0), 20.0)
    assert short.row["ns_per_day"] == pytest.approx(4320.0)


def test_who_is_missing_gives_no_ratio_and_no_verdict() -> None:
    assert ratios([OURS, SLOWER]) == {}
    assert acceptance_rows("ipgd_obc2", [OURS]) == []
    assert ratios([OURS, PLATFORM])["openmm"] == PLATFORM.setup.name


def test_a_system_is_judged_by_its_own_bounds() -> None:
    (row,) = acceptance_rows("ipgd_obc2", [OURS, SLOWER, REFERENCE, PLATFORM])
    assert (row.name, row.value, row.low, row.high) == ("ipgd_obc2_speed_over_openmm", 10.0, 5.0, 20.0)
    assert (row.bound, row.holds) == (">= 5", True)
    (row,) = acceptance_rows("ipgd_gbn2", [OURS, REFERENCE])
    assert (row.bound, row.holds) == (">= 30", False)


def test_the_box_is_held_against_openmm_by_cost_and_against_torchmd_by_speed() -> None:
    torchmd = measured(EngineSetup("torchmd", timestep_fs=1.0), 100.0, 100.0, 100.0)
    fast = measured(EngineSetup("openmm_cpu"), 1.0, 1.0, 1.0)
    cost, speed = acceptance_rows("water_688_reaction_field", [OURS, fast, torchmd, REFERENCE])
    assert (cost.name, cost.value, cost.bound) == ("water_688_reaction_field_cost_over_openmm_cpu", 2.5, "<= 2.5")
    assert cost.holds
    assert (speed.name, speed.value, speed.holds) == ("water_688_reaction_field_speed_over_torchmd", 40.0, True)


def test_what_ran_on_a_graphics_card_is_not_compared_with_processors() -> None:
    card = measured(EngineSetup("mdgen_torch", 4096, device="cuda"), 0.001)
    assert best([card, OURS], "mdgen") is OURS
    assert best([card], "mdgen") is None


def test_one_replica_alone_is_held_against_one_process_alone() -> None:
    alone = measured(EngineSetup("mdgen_kernel", 1), 100.0, 100.0, 100.0)
    theirs = measured(EngineSetup("openmm_cpu", threads=2), 500.0, 500.0, 450.0)
    pair = measured(EngineSetup("openmm_cpu", processes=2), 150.0, 150.0, 150.0)
    rows = {row.name: row for row in acceptance_rows("chignolin_obc2", [OURS, alone, theirs, pair])}
    assert rows["chignolin_obc2_alone_over_openmm"].value == 5.0
    assert rows["chignolin_obc2_alone_over_openmm"].holds
    assert rows["chignolin_obc2_speed_over_openmm"].value == 60.0
