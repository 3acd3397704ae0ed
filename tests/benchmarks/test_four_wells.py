import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mdgen.benchmarks.four_wells.four_wells_suite import FourWellsSettings

QUICK = FourWellsSettings(n_steps=1_000_000, n_repeats=8, encoder_steps=250, propagator_steps=400, n_sampled=10_000)


def test_a_small_experiment_comes_near_the_exact_chain(tmp_path: Path) -> None:
    figures, rows = QUICK.run(tmp_path)
    by_name = {row.name: row for row in rows}
    for mode in (1, 2, 3):
        # The encoder and a Markov state model see the same steps: no sampling error between them.
        assert by_name[f"srv_timescale_{mode}_against_msm"].value < 0.03
        assert by_name[f"srv_timescale_{mode}"].holds
        assert by_name[f"srv_eigenfunction_{mode}_correlation"].value > 0.98
        assert by_name[f"mdn_eigenvalue_{mode}_deviation"].value < 0.06  # sampling error of so short a chain
    # A million steps hold 160 relaxations of the slowest mode: the law itself is uncertain by some 0.08.
    assert by_name["mdn_stationary_total_variation"].value < 0.15
    assert np.isclose(figures["mdn_transition_matrix"].sum(1), 1).all()
    assert np.isclose(figures["mdn_sampled_stationary"].sum(), 1)


def test_the_experiment_is_reproducible(tmp_path: Path) -> None:
    small = dataclasses.replace(QUICK, n_steps=200_000, n_repeats=2, encoder_steps=20, propagator_steps=20)
    first, second = (small.run(tmp_path)[0] for _ in range(2))
    assert np.array_equal(first["mdn_sampled_trajectory"], second["mdn_sampled_trajectory"])
    assert np.array_equal(first["srv_timescales"], second["srv_timescales"])


@pytest.mark.slow
def test_the_full_experiment_meets_every_bound(tmp_path: Path) -> None:
    _, rows = FourWellsSettings().run(tmp_path)
    assert [row.name for row in rows if not row.holds] == []
