"""The ring suite: encoder and propagator in the plane, where every figure has a true value.

The bounds are those of the four wells on a line. The Markov state model beside the encoder has the chain's own points
as its states, so that it sees exactly what the encoder sees.
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh

from mdgen.benchmarks.exact_chains import judge_encoder, judge_propagator, train_on_chain
from mdgen.benchmarks.ring.ring_chain import Ring
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.evaluation.report.canvas import write_png
from mdgen.interfaces import LatentSpace
from mdgen.models.batches import PairBatch
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.training.pair_batches import distinct_pairs

PAIRS_A_STEP = 4000
"""Pairs in each optimiser step of the propagator."""


@register
@dataclass(frozen=True)
class RingSettings(Suite):
    """Size of the experiment.

    Args:
        n_steps: length of the chain.
        lag: steps between the frames of a pair.
        n_repeats: number of further chains, whose spread gives the sampling error.
        encoder_steps: optimiser steps of the encoder.
        propagator_steps: optimiser steps of the propagator.
        n_components: Gaussians of the propagator.
        seed: seed of the chains and the training.
    """

    n_steps: int = 5_000_000
    lag: int = 100
    n_repeats: int = 20
    encoder_steps: int = 600
    propagator_steps: int = 2000
    n_components: int = 16
    seed: int = 0

    def run(self, partial: Path) -> Figures:
        """Train both parts and compare them with the exact chain; nothing is kept of an interrupted run."""
        begin, ring = time.monotonic(), Ring()
        generator = torch.Generator().manual_seed(self.seed)
        steps = ring.sample(self.n_steps, generator)
        spread = [_counted(ring.sample(self.n_steps, generator), self.lag, ring) for _ in range(self.n_repeats)]
        points = torch.tensor(ring.points, dtype=torch.float32)
        encoder_figures, encoder_rows = self._encoder(ring, steps, points, np.std(spread, axis=0, ddof=1), generator)
        propagator_figures, propagator_rows = self._propagator(ring, steps, points, generator)
        figures = {
            "n_steps": self.n_steps,
            "lag": self.lag,
            "points": ring.points,
            **encoder_figures,
            **propagator_figures,
            "seconds": time.monotonic() - begin,
        }
        return figures, [*encoder_rows, *propagator_rows]

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Free energies and eigenfunctions, exact and learnt, in the plane."""
        return [write_png(output.with_suffix(".png"), functools.partial(_figure, result))]

    def _encoder(
        self,
        ring: Ring,
        steps: Int[np.ndarray, "step"],
        points: torch.Tensor,
        spread: Float[np.ndarray, "3"],
        generator: torch.Generator,
    ) -> Figures:
        pairs = distinct_pairs(torch.from_numpy(steps), points, self.lag)
        encoder = SRV(2, lag_ps=float(self.lag), n_modes=3, extra_outputs=0)
        train_on_chain(encoder, pairs, generator, "ring-encoder", max_epochs=self.encoder_steps, n_steps=0)
        encoder.fit_spectrum(pairs)
        return judge_encoder(encoder, points, _counted(steps, self.lag, ring), spread, ring)

    def _propagator(
        self, ring: Ring, steps: Int[np.ndarray, "step"], points: torch.Tensor, generator: torch.Generator
    ) -> Figures:
        now = torch.from_numpy(steps)
        pairs = PairBatch(points, now[: -self.lag], now[self.lag :])
        # The density itself is judged, at the chain's points, without a rejection filter.
        propagator = MDN(
            LatentSpace("position", 1, 2),
            float(self.lag),
            self.n_components,
            density_equalising=False,
            reject_outside=False,
        )
        limits = {"n_steps": self.propagator_steps, "batch_size": PAIRS_A_STEP}
        train_on_chain(propagator, pairs, generator, "ring-propagator", lr=5e-3, **limits)
        with torch.no_grad():
            table = propagator.log_prob_table(points[:, None], points[:, None]).double().softmax(1).numpy()
        return judge_propagator(table, self.lag, ring)


def _counted(steps: Int[np.ndarray, "step"], lag: int, ring: Ring) -> Float[np.ndarray, "3"]:
    """Timescales of the Markov state model on the chain's points, pairs counted in both directions."""
    n = len(ring.points)
    counts = coo_matrix((np.ones(len(steps) - lag), (steps[:-lag], steps[lag:])), shape=(n, n)).tocsr()
    both = csr_matrix(counts + counts.T)
    joined = connected_components(both)[1]
    largest = np.flatnonzero(joined == np.bincount(joined).argmax())
    both = both[largest][:, largest]
    scale = diags(1 / np.sqrt(np.asarray(both.sum(1)).ravel()))
    values = np.sort(eigsh(scale @ both @ scale, k=4, return_eigenvectors=False, tol=1e-8))[::-1]
    return -lag / np.log(values[1:])


def _figure(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    rows = figure.subplots(2, 4)
    x, y = np.asarray(result["points"]).T
    for axes, name, label in zip(
        rows[:, 0], ("exact_stationary", "mdn_stationary"), ("exact", "propagator"), strict=True
    ):
        law = np.asarray(result[name])
        drawn = axes.scatter(x, y, c=-np.log(np.maximum(law, 1e-9) / law.max()), s=14, marker="s", vmin=0, vmax=6)
        axes.set(title=f"F (kT), {label}", aspect="equal")
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    for row, name, label in zip(rows, ("exact", "srv"), ("exact", "encoder"), strict=True):
        for mode, axes in enumerate(row[1:]):
            values = np.asarray(result[f"{name}_eigenfunctions"])[:, mode]
            axes.scatter(x, y, c=values, s=14, marker="s", cmap="coolwarm", vmin=-2.5, vmax=2.5)
            time_of = np.asarray(result[f"{name}_timescales"])[mode]
            axes.set(title=f"mode {mode + 1}, {label}: {time_of:.0f} steps", aspect="equal")
    return figure
