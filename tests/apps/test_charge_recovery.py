"""The user's journey: one command, its result and its drawing, and nothing else left behind."""

import json
from pathlib import Path

from mdgen.apps.main import main

SMALL = ["n_waters=4", "edge_nm=0.7", "cutoff_nm=0.35", "switch_nm=0.3", "equilibration_ps=0.02", "n_frames=3"]
SMALL += ["n_iterations=4", "steps_per_frame=2"]


def test_an_experiment_writes_its_result_and_drawing(tmp_path: Path) -> None:
    output = tmp_path / "charges.json"
    command = ["benchmark", "experiment=charge_recovery_published", f"output={output}", "threads=1"]
    assert main([*command, *(f"suite.{key}" for key in SMALL)]) == 0
    result = json.loads(output.read_text())
    assert result["settings"]["learning_rate"] == 0.001
    assert result["true_charges"] == {"O": -0.834, "Cl": -1.0}
    assert result["iterations_until_within_bound_for_good"] is None  # four iterations arrive nowhere
    assert [row["holds"] for row in result["acceptance"][:2]] == [False, False]
    assert len(result["course"]["loss_nm2"]) == 4
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["charges.json", "charges.png"]


def test_a_box_too_small_is_one_sentence(tmp_path: Path, capsys) -> None:
    command = ["benchmark", "experiment=charge_recovery", f"output={tmp_path / 'charges.json'}", "suite.edge_nm=1.2"]
    assert main(command) == 2
    assert "the cutoff of 0.7 nm is more than half of the box's shortest edge, 1.2 nm" in capsys.readouterr().err
