"""The ring's chain is solved exactly, its sampler follows its law, and a small experiment comes near it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.benchmarks.ring.ring_chain import Ring
from mdgen.benchmarks.ring.ring_suite import RingSettings

ring = Ring()
QUICK = RingSettings(n_steps=1_000_000, n_repeats=3, encoder_steps=170, propagator_steps=160, n_components=8)


def test_detailed_balance_and_eigenfunctions() -> None:
    matrix, law, functions = ring.transition_matrix, ring.stationary, ring.eigenfunctions()
    np.testing.assert_allclose(matrix.sum(1), 1)
    flux = law[:, None] * matrix
    np.testing.assert_allclose(flux, flux.T, atol=1e-16)
    np.testing.assert_allclose(matrix @ functions, functions * ring.eigenvalues(1), atol=1e-10)
    np.testing.assert_allclose(functions.T @ (law[:, None] * functions), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(ring.timescales, [7124.6, 3231.6, 1141.1], atol=0.05)


def test_the_sampler_follows_the_chain() -> None:
    steps = ring.sample(2_000_000, torch.Generator().manual_seed(0))
    moved = np.linalg.norm(np.diff(ring.points[steps], axis=0), axis=1)
    assert moved.max() < 0.0501
    often = np.argsort(-np.bincount(steps, minlength=len(ring.points)))[:20]
    for point in often:
        after = np.bincount(steps[1:][steps[:-1] == point], minlength=len(ring.points))
        expected = ring.transition_matrix[point] * after.sum()
        deviation = (after - expected)[expected > 0] / np.sqrt(expected[expected > 0])
        assert np.abs(deviation).max() < 4.5
        assert after[expected == 0].sum() == 0


def test_a_small_experiment_comes_near_the_exact_chain(tmp_path: Path) -> None:
    figures, rows = QUICK.run(tmp_path)
    by_name = {row.name: row for row in rows}
    for mode in (1, 2, 3):
        assert by_name[f"srv_timescale_{mode}_against_msm"].value < 0.1
        assert by_name[f"srv_eigenfunction_{mode}_correlation"].value > 0.9
        assert by_name[f"mdn_eigenvalue_{mode}_deviation"].value < 0.1
    assert np.isclose(figures["mdn_stationary"].sum(), 1)
    assert QUICK.draw(figures, tmp_path / "ring.json")[0].stat().st_size > 10_000


@pytest.mark.slow
def test_the_full_experiment_meets_every_bound(tmp_path: Path) -> None:
    _, rows = RingSettings().run(tmp_path)
    assert [row.name for row in rows if not row.holds] == []
