"""The four-wells suite: encoder and propagator on an exactly solvable chain, where every figure has a true value.

Pairs of a chain over 100 bins take at most 10^4 distinct values; each is given once, weighted by its count. Loss and
gradient equal those of all five million pairs, and a step takes milliseconds.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from mdgen.benchmarks.exact_chains import judge_encoder, judge_propagator, total_variation, train_on_chain
from mdgen.benchmarks.four_wells.four_wells_chain import FourWells, count_matrix, timescales
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.data.conditions import first_frame
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate
from mdgen.training.pair_batches import distinct_pairs


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
    train_on_chain(encoder, pairs, generator, "four-wells-encoder", max_epochs=settings.encoder_steps)
    encoder.fit_spectrum(pairs)
    return encoder


def _train_propagator(pairs: PairBatch, settings: FourWellsSettings, generator: torch.Generator) -> MDN:
    latent = LatentSpace("position", 1, 1)
    propagator = MDN(latent, float(settings.lag), settings.n_components, density_equalising=False)
    train_on_chain(propagator, pairs, generator, "four-wells-propagator", max_epochs=settings.propagator_steps)
    return propagator  # without its rejection filter, so that the density itself is judged


def _encoder_results(
    encoder: SRV,
    pairs: PairBatch,
    wells: FourWells,
    repeats: Int[np.ndarray, "repeat step"],
    settings: FourWellsSettings,
) -> Figures:
    assert pairs.weights is not None
    lag, counts = settings.lag, count_matrix(pairs.now.numpy(), pairs.later.numpy(), pairs.weights.double().numpy())
    spread = np.std([timescales(count_matrix(chain[:-lag], chain[lag:]), lag) for chain in repeats], axis=0, ddof=1)
    return judge_encoder(encoder, pairs.frames, timescales(counts, lag), spread, wells)


def _propagator_results(
    propagator: MDN,
    wells: FourWells,
    repeats: Int[np.ndarray, "repeat step"],
    settings: FourWellsSettings,
    generator: torch.Generator,
) -> Figures:
    n_bins = len(wells.centres)
    half = (wells.centres[1] - wells.centres[0]) / 2
    edges = torch.linspace(-1 - half, 1 + half, n_bins + 1, dtype=torch.float64)
    matrix = propagator.transition_matrix(edges).numpy()
    figures, rows = judge_propagator(matrix, settings.lag, wells)
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
    figures |= {
        "mdn_sampled_stationary": shares,
        "mdn_transition_matrix": matrix,
        "exact_transition_matrix": wells.lagged_matrix(settings.lag),
        "mdn_outside_share": propagator.outside_share,
        "mdn_sampled_trajectory": sampled[:5000],
    }
    return figures, rows
