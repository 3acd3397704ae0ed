"""Protocols on the command line, in the report, over many molecules, and beside what papers publish."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.evaluation.protocols.over_molecules import gather_protocols, read_protocol
from mdgen.evaluation.protocols.protocol import ProtocolResult, ProtocolRow, bounded_interval
from mdgen.evaluation.protocols.protocol_metrics import PROTOCOL_METRICS, is_general
from mdgen.evaluation.protocols.published import TABLES
from mdgen.evaluation.report.protocol_tables import OTHER_DATA, protocol_markdown
from mdgen.results import Estimate
from tests.evaluation.alanine import molecule, trajectory

pytestmark = pytest.mark.usefixtures("few_plots")


def test_a_protocol_is_in_the_result_and_the_report_of_each_molecule_and_of_all(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 3)):
        folder = tmp_path / "pairs" / name
        folder.mkdir(parents=True)
        mdtraj.Trajectory(trajectory(1, 0), molecule().topology).save_pdb(str(folder / "topology.pdb"))
        for side, more in (("reference", 0), ("generated", 1)):
            for index in range(2):
                np.save(folder / f"{side}-{index}.npy", trajectory(400, 1000 * (seed + more) + index))
    spacing = [f"{side}.frame_spacing_ps=1" for side in ("reference", "generated")]
    few = [
        "metrics.settings.resamples=5",
        "metrics.settings.permutations=99",
        "metrics.settings.n_states=10",
        "protocol=mdgen",
        "protocol.lag_ps=2",
    ]
    few += ["protocol.n_states=15", "protocol.n_macrostates=3", "protocol.resamples=5"]
    assert main(["evaluate", f"pairs={tmp_path}/pairs", f"output={tmp_path}/out", *spacing, *few]) == 0
    found = read_protocol(tmp_path / "out/first/metrics.json")
    assert found is not None
    assert found.name == "mdgen"
    assert 0 < found.rows["generated"].metrics["torsion_jsd/all"].value < 0.5
    page = (tmp_path / "out/first/report.html").read_text()
    assert "<h2>Protocol mdgen</h2>" in page
    assert OTHER_DATA.split(":")[0] in page
    assert "arXiv:2409.17808" in page
    aggregate = json.loads((tmp_path / "out/aggregate.json").read_text())
    values = [
        json.loads((tmp_path / f"out/{name}/metrics.json").read_text())["protocol"]["rows"]["generated"]["metrics"]
        for name in ("first", "second")
    ]
    mean = np.mean([each["torsion_jsd/all"]["value"] for each in values])
    assert aggregate["protocol"]["rows"]["generated"]["metrics"]["torsion_jsd/all"]["value"] == pytest.approx(mean)
    assert "MDGen, 100 ns (other data)" in (tmp_path / "out/aggregate.md").read_text()


def test_numbers_of_all_proteins_together_are_pooled_as_in_the_papers() -> None:
    def protein(rmsd: float, other: float, fluctuations: list[float], others: list[float], cosine: float) -> object:
        found = {"pairwise_rmsd_A": rmsd, "reference_pairwise_rmsd_A": other, "pc_cosine": cosine, "rmwd_A": rmsd}
        metrics = {name: Estimate(value) for name, value in found.items()}
        row = ProtocolRow(10, metrics, {"rmsf_A": fluctuations, "reference_rmsf_A": others})
        return ProtocolResult("proteins", {"generated": row})

    results = [
        protein(1.0, 2.0, [0.5, 1.0], [0.6, 1.1], 0.9),
        protein(2.0, 3.0, [2.0, 2.5, 3.0], [1.0, 2.0, 4.0], 0.6),
        protein(4.0, 9.0, [1.0], [1.5], 0.2),
        protein(3.0, 1.0, [0.1], [0.1], 0.4),
    ]
    gathered = gather_protocols(results)
    assert gathered is not None
    found = gathered.rows["generated"].metrics
    assert found["pairwise_rmsd_A"].value == 2.5
    assert found["pairwise_rmsd_pearson"].value == pytest.approx(np.corrcoef([1, 2, 4, 3], [2, 3, 9, 1])[0, 1])
    mine, theirs = [0.5, 1.0, 2.0, 2.5, 3.0, 1.0, 0.1], [0.6, 1.1, 1.0, 2.0, 4.0, 1.5, 0.1]
    assert found["rmsf_pearson/global"].value == pytest.approx(np.corrcoef(mine, theirs)[0, 1])
    assert found["rmsf_A"].value == 1.0
    assert found["pc_success_percent"].value == 50.0
    assert found["rmwd_A"].contains(2.5)
    text = protocol_markdown(gathered)
    assert "| AlphaFlow-MD (other data) |" in text
    assert "arXiv:2402.04845" in text
    assert gather_protocols([]) is None


def test_what_is_published_has_the_names_of_our_metrics() -> None:
    for column in TABLES:
        known = PROTOCOL_METRICS[column.protocol]
        assert {name.partition("/")[0] for name in column.values} <= set(known)
        assert all(map(is_general, column.values))
        assert column.source
        assert column.data


def test_an_interval_holds_its_value_and_stays_within_its_bounds() -> None:
    samples = np.random.default_rng(0).normal(0.7, 0.4, 500)
    assert bounded_interval(0.9, samples, 0.0, 1.0) == Estimate(0.9, pytest.approx(0.12, abs=0.06), 1.0)
    assert bounded_interval(0.9, np.array([np.nan])) == Estimate(0.9)
