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

from mdgen.benchmarks.four_wells.four_wells_chain import correlations, free_energy_error, total_variation
from mdgen.benchmarks.four_wells.four_wells_suite import Z_OF_THREE
from mdgen.benchmarks.ring.ring_chain import Ring
from mdgen.benchmarks.suite import Figures, Suite, write_png
from mdgen.interfaces import LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate
from mdgen.training.modules import GradientTraining
from mdgen.training.pair_batches import distinct_pairs
from mdgen.training.settings import settings_for
from mdgen.training.train import descend

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
            "exact_stationary": ring.stationary,
            "exact_timescales": ring.timescales,
            "exact_eigenvalues": ring.eigenvalues(self.lag),
            "exact_eigenfunctions": ring.eigenfunctions,
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
        optimiser = functools.partial(torch.optim.Adam, lr=1e-2)
        settings = settings_for(encoder, optimizer=optimiser, max_epochs=self.encoder_steps, n_steps=0)
        data = encoder.prepare(TrainingData(pairs), generator)
        descend(GradientTraining(encoder, settings, generator), data, label="ring-encoder")
        encoder.fit_spectrum(pairs)
        learnt, counted, rows = encoder.timescales_ps.numpy(), _counted(steps, self.lag, ring), []
        for mode, exact in enumerate(ring.timescales):
            deviation = Estimate(abs(learnt[mode] / counted[mode] - 1))
            rows.append(Acceptance.below(f"srv_timescale_{mode + 1}_against_msm", deviation, 0.02))
            half = Z_OF_THREE * spread[mode]
            estimate = Estimate(learnt[mode], learnt[mode] - half, learnt[mode] + half)
            bound = f"interval holds the exact {exact:.1f}"
            rows.append(Acceptance.judged(f"srv_timescale_{mode + 1}", estimate, bound, estimate.contains(exact)))
        modes = encoder.encode_features(points).detach().double().numpy()
        overlap = correlations(modes, ring.eigenfunctions, ring.stationary)
        rows += [
            Acceptance.above(f"srv_eigenfunction_{mode + 1}_correlation", Estimate(abs(overlap[mode])), 0.99)
            for mode in range(3)
        ]
        figures = {
            "srv_timescales": learnt,
            "msm_timescales": counted,
            "timescale_sampling_error": spread,
            "srv_eigenfunctions": modes * np.sign(overlap),
        }
        return figures, rows

    def _propagator(
        self, ring: Ring, steps: Int[np.ndarray, "step"], points: torch.Tensor, generator: torch.Generator
    ) -> Figures:
        now = torch.from_numpy(steps)
        pairs = PairBatch(points, now[: -self.lag], now[self.lag :])
        propagator = MDN(LatentSpace("position", 1, 2), float(self.lag), self.n_components, density_equalising=False)
        optimiser = functools.partial(torch.optim.Adam, lr=5e-3)
        settings = settings_for(propagator, optimizer=optimiser, n_steps=self.propagator_steps, batch_size=PAIRS_A_STEP)
        data = propagator.prepare(TrainingData(pairs), generator)
        descend(GradientTraining(propagator, settings, generator), data, label="ring-propagator")
        with torch.no_grad():  # the density itself is judged, at the chain's points, without its rejection filter
            table = propagator.log_prob_table(points[:, None], points[:, None]).double().softmax(1).numpy()
        values, vectors = np.linalg.eig(table.T)
        order = np.argsort(-values.real)
        learnt, stationary = values.real[order][1:4], np.abs(vectors.real[:, order[0]])
        stationary /= stationary.sum()
        deviation = np.abs(learnt - ring.eigenvalues(self.lag))
        rows = [Acceptance.below(f"mdn_eigenvalue_{m + 1}_deviation", Estimate(deviation[m]), 0.02) for m in range(3)]
        variation = Estimate(total_variation(stationary, ring.stationary))
        error = Estimate(free_energy_error(stationary, ring.stationary))
        rows.append(Acceptance.below("mdn_stationary_total_variation", variation, 0.05))
        rows.append(Acceptance.below("mdn_free_energy_rmse_kT", error, 0.15))
        return {"mdn_eigenvalues": learnt, "mdn_stationary": stationary}, rows


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
