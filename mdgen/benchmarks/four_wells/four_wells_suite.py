"""The four-wells suite: encoder and propagator on an exactly solvable chain, where every figure has a true value.

Pairs of a chain over 100 bins take at most 10^4 distinct values; each is given once, weighted by its count. Loss and
gradient equal those of all five million pairs, and a step takes milliseconds.
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from mdgen.benchmarks.four_wells.four_wells_chain import (
    FourWells,
    correlations,
    count_matrix,
    free_energy_error,
    timescales,
    total_variation,
)
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.data.conditions import first_frame
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate
from mdgen.training.modules import GradientTraining
from mdgen.training.pair_batches import distinct_pairs
from mdgen.training.settings import settings_for
from mdgen.training.train import descend

Z_OF_THREE = 2.394
"""Half-width in standard deviations of three intervals that hold simultaneously with 95 % confidence."""


@register
@dataclass(frozen=True)
class FourWellsSettings(Suite):
    """Size of the experiment; the defaults are the published one.

    Args:
        n_steps: length of the chain.
        lag: steps between the frames of a pair.
        n_repeats: number of further chains, whose spread gives the sampling error.
        encoder_steps: optimiser steps of the encoder.
        propagator_steps: optimiser steps of the propagator.
        n_components: Gaussians of the propagator.
        n_sampled: number of lags that the trained propagator samples.
        seed: seed of the chains, the training and the sampling.
    """

    n_steps: int = 5_000_000
    lag: int = 100
    n_repeats: int = 20
    encoder_steps: int = 600
    propagator_steps: int = 4000
    n_components: int = 8
    n_sampled: int = 50_000
    seed: int = 0

    def run(self, partial: Path) -> Figures:
        """Train both parts and compare them with the exact chain; nothing is kept of an interrupted run."""
        begin = time.monotonic()
        wells = FourWells()
        generator = torch.Generator().manual_seed(self.seed)
        steps = wells.sample(self.n_steps, generator)[0]
        repeats = wells.sample(self.n_steps, generator, self.n_repeats)
        centres = torch.tensor(wells.centres, dtype=torch.float32)[:, None]
        pairs = distinct_pairs(torch.from_numpy(steps), centres, self.lag)
        encoder = _train_encoder(pairs, self, generator)
        propagator = _train_propagator(pairs, self, generator)
        encoder_figures, encoder_rows = _encoder_results(encoder, pairs, wells, repeats, self)
        propagator_figures, propagator_rows = _propagator_results(propagator, wells, repeats, self, generator)
        figures = {
            "n_steps": self.n_steps,
            "lag": self.lag,
            "n_distinct_pairs": len(pairs.now),
            "centres": wells.centres,
            "exact_stationary": wells.stationary,
            "exact_eigenfunctions": wells.eigenfunctions(),
            "exact_timescales": wells.timescales,
            **encoder_figures,
            **propagator_figures,
            "seconds": time.monotonic() - begin,
        }
        summary = [_summary("four_well_srv", encoder_rows), _summary("four_well_mdn", propagator_rows)]
        return figures, [*summary, *encoder_rows, *propagator_rows]


def _summary(name: str, rows: list[Acceptance]) -> Acceptance:
    """One row for a part: the share of its rows that hold."""
    share = sum(row.holds for row in rows) / len(rows)
    return Acceptance.judged(name, Estimate(share), f"all {len(rows)} rows of this part hold", share == 1)


def _train_encoder(pairs: PairBatch, settings: FourWellsSettings, generator: torch.Generator) -> SRV:
    encoder = SRV(1, lag_ps=float(settings.lag), n_modes=3, extra_outputs=0)
    _descend(encoder, pairs, settings.encoder_steps, generator, "four-wells-encoder")
    encoder.fit_spectrum(pairs)
    return encoder


def _train_propagator(pairs: PairBatch, settings: FourWellsSettings, generator: torch.Generator) -> MDN:
    latent = LatentSpace("position", 1, 1)
    propagator = MDN(latent, float(settings.lag), settings.n_components, density_equalising=False)
    _descend(propagator, pairs, settings.propagator_steps, generator, "four-wells-propagator")
    return propagator  # without its rejection filter, so that the density itself is judged


def _descend(part: SRV | MDN, pairs: PairBatch, n_steps: int, generator: torch.Generator, label: str) -> None:
    settings = settings_for(part, optimizer=functools.partial(torch.optim.Adam, lr=1e-2), max_epochs=n_steps)
    data = part.prepare(TrainingData(pairs), generator)
    descend(GradientTraining(part, settings, generator), data, label=label)


def _encoder_results(
    encoder: SRV,
    pairs: PairBatch,
    wells: FourWells,
    repeats: Int[np.ndarray, "repeat step"],
    settings: FourWellsSettings,
) -> tuple[dict[str, Any], list[Acceptance]]:
    learnt = encoder.timescales_ps.numpy()
    assert pairs.weights is not None
    lag, counts = settings.lag, count_matrix(pairs.now.numpy(), pairs.later.numpy(), pairs.weights.double().numpy())
    counted = timescales(counts, lag)
    spread = np.std([timescales(count_matrix(chain[:-lag], chain[lag:]), lag) for chain in repeats], axis=0, ddof=1)
    exact = wells.timescales
    rows = []
    for mode in range(3):
        deviation = Estimate(abs(learnt[mode] / counted[mode] - 1))
        rows.append(Acceptance.below(f"srv_timescale_{mode + 1}_against_msm", deviation, 0.02))
        half = Z_OF_THREE * spread[mode]
        estimate = Estimate(learnt[mode], learnt[mode] - half, learnt[mode] + half)
        bound = f"interval holds the exact {exact[mode]:.1f}"
        rows.append(
            Acceptance.judged(f"srv_timescale_{mode + 1}", estimate, bound, estimate.contains(float(exact[mode])))
        )
    modes = encoder.encode_features(pairs.frames).detach().double().numpy()
    overlap = correlations(modes, wells.eigenfunctions(), wells.stationary)
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


def _propagator_results(
    propagator: MDN,
    wells: FourWells,
    repeats: Int[np.ndarray, "repeat step"],
    settings: FourWellsSettings,
    generator: torch.Generator,
) -> tuple[dict[str, Any], list[Acceptance]]:
    n_bins = len(wells.centres)
    half = (wells.centres[1] - wells.centres[0]) / 2
    edges = torch.linspace(-1 - half, 1 + half, n_bins + 1, dtype=torch.float64)
    matrix = propagator.transition_matrix(edges).numpy()
    values, vectors = np.linalg.eig(matrix.T)
    order = np.argsort(-values.real)
    learnt = values.real[order][1:4]
    stationary = vectors.real[:, order[0]] / vectors.real[:, order[0]].sum()
    deviation = np.abs(learnt - wells.eigenvalues(settings.lag))
    rows = [
        Acceptance.below(f"mdn_eigenvalue_{mode + 1}_deviation", Estimate(deviation[mode]), 0.02) for mode in range(3)
    ]
    variation = total_variation(stationary, wells.stationary)
    rows.append(Acceptance.below("mdn_stationary_total_variation", Estimate(variation), 0.05))
    error = free_energy_error(stationary, wells.stationary)
    rows.append(Acceptance.below("mdn_free_energy_rmse_kT", Estimate(error), 0.15))
    start = torch.tensor(wells.centres[[int(np.argmax(wells.stationary))]], dtype=torch.float32).view(1, 1, 1)
    condition = first_frame(start, settings.n_sampled)
    sampled = propagator.sample(condition, Context(), generator)[0, :, 0, 0].numpy()
    shares = np.bincount(wells.bin_of(sampled), minlength=n_bins) / settings.n_sampled
    # Total variation that an exact chain of the same length reaches.
    chance = max(
        total_variation(np.bincount(chain, minlength=n_bins) / len(chain), wells.stationary) for chain in repeats
    )
    bound = f"<= 0.05 + {chance:.3g}, what an equally long exact chain reaches"
    reached = total_variation(shares, wells.stationary)
    rows.append(Acceptance.judged("mdn_sampled_total_variation", Estimate(reached), bound, reached <= 0.05 + chance))
    figures = {
        "mdn_eigenvalues": learnt,
        "exact_eigenvalues": wells.eigenvalues(settings.lag),
        "mdn_stationary": stationary,
        "mdn_sampled_stationary": shares,
        "mdn_transition_matrix": matrix,
        "exact_transition_matrix": wells.lagged_matrix(settings.lag),
        "mdn_outside_share": propagator.outside_share,
        "mdn_sampled_trajectory": sampled[:5000],
    }
    return figures, rows
