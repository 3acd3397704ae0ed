"""The names in `metrics.json` are what others' scripts read: they may grow, but none may go or change."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from mdgen.evaluation import Evaluation, Settings, evaluate
from mdgen.evaluation.metrics.catalogue import METRICS
from mdgen.evaluation.result import save_metrics
from notebooks.metrics_page import KEYS, PAGE, ROWS, page
from tests.evaluation.alanine import toy_set

GOLDEN = """
angle_rms_deg angle_w2_deg/all angle_w2_deg/worst autocorrelation_rmse/all bond_rms_nm bond_w2_nm/all bond_w2_nm/worst
broken_angle_share broken_bond_share chapman_kolmogorov_rms chirality_error_share cis_share clash_share closest_nm
concert_error/worst connected_share contact_error/all contact_error/worst decorrelation_log10_error/all
decorrelation_ps/NAME dynamical_content_rmse/all energy_jsd/total energy_kJ_mol/total first_passage_log10_error
flux_spearman free_energy_rmse_kT/phi_psi free_energy_rmse_kT/phi_psi NAME free_energy_rmse_kT/psi_1
free_energy_rmse_kT/psi_2 mode_timescale_ps/1 mode_timescale_ps/2 nearest_frame_nm occupancy_jsd outside_share/psi_1
outside_share/psi_2 pair_distance_w1_nm/all
pair_distance_w1_nm/worst pair_step_log10_error path_jsd path_log_probability path_log_probability_error
path_valid_share pca_w2_nm planarity_w2_deg/all planarity_w2_deg/worst population_error/backbone
population_error/left_handed prochirality_error_share radius_of_gyration_nm
radius_of_gyration_sd_nm radius_of_gyration_w1 ramachandran_outlier_share relaxation_log10_error/NAME
relaxation_log10_error/all share_difference/broken_angles share_difference/broken_bonds share_difference/chirality
share_difference/cis share_difference/clashes share_difference/prochirality step_log10_error/all
step_log10_error/backbone step_log10_error/methyl step_log10_error/omega step_rms_deg/NAME
subframe_autocorrelation_rmse/all subframe_dynamical_content_rmse/all tica_jsd/0 tica_jsd/0,1 timescale_log_error/1
timescale_log_error/2 timescale_ps/1 timescale_ps/2 timescale_ps/3 torsion_jsd/NAME torsion_jsd/all
torsion_jsd/backbone torsion_jsd/methyl torsion_jsd/omega torsion_pair_jsd/NAME torsion_pair_jsd/all
torsion_pair_jsd/worst torsion_variation/worst transitions_per_ns
"""
"""Every metric of alanine dipeptide; NAME stands for a torsion or residue."""

ROW_NAMES = (
    "reference replicate generated seed_2 seed_3 seeds generated_all tenth hundredth thousandth shuffled independent "
    "markov_paths tica_ou frozen floor md_floor"
)


class Height:
    """A potential of one number."""

    fingerprint = "height"

    def energy(self, positions: torch.Tensor, cell: torch.Tensor | None = None) -> torch.Tensor:
        return positions[:, 0, 2]


@pytest.fixture(scope="module")
def result() -> Evaluation:
    settings = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=20, n_macrostates=4, resamples=5, key_frame_ps=5.0)
    return evaluate(
        toy_set(4, 1500, seed=1),
        toy_set(6, 1500, seed=2),
        potential=Height(),
        settings=settings,
        seeds=[toy_set(6, 1500, seed=3), toy_set(6, 1500, seed=4)],
    )


def generic(metric: str) -> str:
    """The metric with the names of torsions and residues taken out."""
    kind, _, what = metric.partition("/")
    if " " in what:
        return f"{kind}/phi_psi NAME" if what.startswith("phi_psi") else f"{kind}/NAME"
    return f"{kind}/NAME" if what == "ALA2" else metric


def test_the_document_is_as_it_was(result: Evaluation, tmp_path: Path) -> None:
    save_metrics(result, tmp_path / "metrics.json")
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert list(document) == list(KEYS)
    assert list(document) == (
        [
            "schema",
            "molecule",
            "settings",
            "verdict",
            "criteria",
            "blocks",
            "flags",
            "notes",
            "rows",
            "protocol",
            "acceptance",
        ]
    )
    assert document["schema"] == "mdgen.evaluation/2"
    assert list(document["molecule"]) == ["residues", "atoms", "fingerprint"]
    assert set(asdict(Settings())) | {"frame_spacing_ps", "tolerances"} == set(document["settings"])
    assert list(document["rows"]) == ROW_NAMES.split()
    for row in document["rows"].values():
        assert list(row) == ["label", "meaning", "frames", "length_ns", "metrics"]
        assert all(list(estimate) == ["value", "low", "high"] for estimate in row["metrics"].values())
    fields = ["metric", "meaning", "value", "floor", "excess", "low", "high", "tolerance", "p", "verdict", "needs"]
    assert list(document["blocks"]) == ["dynamics", "generated", "length_ps", "slow_spread", "permutations"]
    assert document["criteria"]
    assert all(list(line) == fields for line in document["criteria"])


def test_every_metric_of_the_list_is_there_and_none_beside(result: Evaluation) -> None:
    golden = set(GOLDEN.replace("phi_psi NAME", "phi_psi_NAME").split())
    found = {generic(metric).replace(" ", "_") for row in result.rows.values() for metric in row.metrics}
    assert found == golden
    # alanine dipeptide has a single residue whose torsions could be coupled to others
    assert {metric.partition("/")[0] for metric in golden} | {"coupling_error"} == set(METRICS)


def test_the_page_is_in_step_with_the_code(result: Evaluation) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python notebooks/metrics_page.py`"
    documented = {name for names in ROWS for name in names.removesuffix(" ...").split(", ")}
    assert documented == set(ROW_NAMES.split())
