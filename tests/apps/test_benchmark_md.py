"""`mdgen benchmark suite=md`, from the command line to the figures and the drawings."""

import json
from pathlib import Path

import pytest

from mdgen.apps.main import main
from mdgen.benchmarks.speed.speed_plots import write_speed_plots

TINY = [
    "suite.systems=[alanine_dipeptide_obc2]",
    "suite.engines=[mdgen_kernel,openmm_reference,openmm_cpu]",
    "suite.replicas=[16]",
    "suite.repeats=2",
    "suite.turn_s=0.1",
    "suite.warm_up_s=0.05",
    "threads=1",
]


def test_the_command_measures_judges_and_draws(tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    assert main(["benchmark", "suite=md", f"output={output}", *TINY]) == 0
    result = json.loads(output.read_text())
    assert list(result)[-1] == "acceptance"
    assert {row["engine"] for row in result["rows"]} == {"mdgen_kernel", "openmm_reference", "openmm_cpu"}
    for row in result["rows"]:
        assert {"system", "atoms", "engine", "replicas", "threads", "precision"} <= row.keys()
        assert row["us_low"] <= row["us_per_step_per_replica"] <= row["us_high"]
        assert row["ns_per_day"] * row["us_per_step_per_replica"] == pytest.approx(86400e6 * 2e-6)
        assert len(row["us_of_each_repeat"]) == 2
    (ratio,) = result["ratios"].values()
    (accepted,) = result["acceptance"]
    assert accepted["value"] == ratio == result["ratio_details"]["alanine_dipeptide_obc2"]["speed"]["value"]
    assert accepted["bound"] == ">= 8"
    assert result["systems"]["alanine_dipeptide_obc2"]["energy_against_openmm_kcal_per_mol"] < 1e-3
    floor = result["floor"]["alanine_dipeptide_obc2"]
    assert floor["pairs"] == 22 * 21 // 2
    peak = result["floor"]["peak_operations_per_s_of_one_thread"]
    assert floor["floor_us"] == pytest.approx(1e6 * floor["operations"] / peak)
    assert floor["share_of_peak"] == pytest.approx(floor["floor_us"] / floor["reached_us"])
    assert result["processor"]
    assert result["skipped"] == []
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["speed.json", "speed_atoms.png", "speed_replicas.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in drawn[1:])


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (("suite.systems=[ipgd]", "system 'ipgd' is unknown"), ("suite.engines=[x]", "engine 'x'")):
        assert main(["benchmark", "suite=md", f"output={tmp_path / 'a.json'}", given]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_result_without_rows_is_drawn_without_error(tmp_path: Path) -> None:
    paths = write_speed_plots({"rows": [], "cores": 1, "processor": "none"}, tmp_path / "empty.json")
    assert paths == []
