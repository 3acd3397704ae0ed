"""Encoder and propagator on the exactly solvable four-well chain: every figure here has a known true value.

Pairs of a chain over 100 bins take at most 10^4 distinct values; each is given once, weighted by how often it occurs.
The loss and its gradient are exactly those of all five million pairs, and a step takes milliseconds.
"""

import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from mdgen.benchmarks.four_wells_chain import FourWells
from mdgen.data.conditions import first_frame
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate
from mdgen.training.fitting import FitSettings, fit
from mdgen.training.gradient import GradientTraining
from mdgen.training.pair_batches import distinct_pairs, whole

Z_OF_THREE = 2.394
"""Half-width, in standard deviations, of intervals of which three hold at once with 95 %."""

HIGHEST_KT = 5.0
"""Free energies are compared where the exact one lies this far above its least, or less."""


@register
@dataclass(frozen=True)
class FourWellsSettings:
    """Size of the experiment; the defaults are the published one.

    Args:
        n_steps: length of the chain.
        lag: steps between the frames of a pair.
        n_repeats: further chains, whose spread gives the sampling error.
        encoder_steps: of the optimiser.
        propagator_steps: of the optimiser.
        n_components: Gaussians of the propagator.
        n_sampled: steps of one lag that the propagator then samples.
        seed: of everything.
    """

    n_steps: int = 5_000_000
    lag: int = 100
    n_repeats: int = 20
    encoder_steps: int = 600
    propagator_steps: int = 4000
    n_components: int = 8
    n_sampled: int = 50_000
    seed: int = 0


def run_four_wells(settings: FourWellsSettings, folder: Path | None = None) -> tuple[dict[str, Any], list[Acceptance]]:
    """Train both parts and hold them against the exact chain.

    Args:
        settings: size of the experiment.
        folder: for checkpoints to resume from; none are written where None.

    Returns:
        Figures and curves for the report, and the rows that must hold.
    """
    begin = time.monotonic()
    wells = FourWells()
    generator = torch.Generator().manual_seed(settings.seed)
    steps = wells.sample(settings.n_steps, generator)[0]
    repeats = wells.sample(settings.n_steps, generator, settings.n_repeats)
    centres = torch.tensor(wells.centres, dtype=torch.float32)[:, None]
    pairs = distinct_pairs(torch.from_numpy(steps), centres, settings.lag)
    encoder = _train_encoder(pairs, settings, generator, folder)
    propagator = _train_propagator(pairs, settings, generator, folder)
    encoder_figures, encoder_rows = _judge_encoder(encoder, pairs, wells, repeats, settings)
    propagator_figures, propagator_rows = _judge_propagator(propagator, wells, repeats, settings, generator)
    figures = {
        "n_steps": settings.n_steps,
        "lag": settings.lag,
        "n_distinct_pairs": len(pairs.now),
        "centres": wells.centres,
        "exact_stationary": wells.stationary,
        "exact_eigenfunctions": wells.eigenfunctions(),
        "exact_timescales": wells.timescales,
        **encoder_figures,
        **propagator_figures,
        "seconds": time.monotonic() - begin,
    }
    rows = [*encoder_rows, *propagator_rows]
    return figures, [_verdict("four_well_srv", encoder_rows), _verdict("four_well_mdn", propagator_rows), *rows]


def _verdict(name: str, rows: list[Acceptance]) -> Acceptance:
    """All rows of a part in one: the share of them that hold."""
    share = sum(row.holds for row in rows) / len(rows)
    return Acceptance.judged(name, Estimate(share), f"all {len(rows)} rows of this part hold", share == 1)


def _train_encoder(
    pairs: PairBatch, settings: FourWellsSettings, generator: torch.Generator, folder: Path | None
) -> SRV:
    encoder = SRV(1, lag_ps=float(settings.lag), n_modes=3)
    encoder.initialise(generator)
    encoder.fit_standardisation(pairs.frames)
    optimizer = functools.partial(torch.optim.Adam, lr=1e-2)
    module = GradientTraining(encoder, optimizer, {}, gradient_clip=0.0, n_steps=settings.encoder_steps)
    fit("four-wells-encoder", module, whole(pairs), None, FitSettings(settings.encoder_steps), folder)
    encoder.fit_spectrum(pairs)
    return encoder


def _train_propagator(
    pairs: PairBatch, settings: FourWellsSettings, generator: torch.Generator, folder: Path | None
) -> MDN:
    latent = LatentSpace("position", 1, 1)
    propagator = MDN(latent, float(settings.lag), settings.n_components)
    propagator.initialise(generator)
    propagator.fit_scale(pairs.frames, generator)
    optimizer = functools.partial(torch.optim.Adam, lr=1e-2)
    module = GradientTraining(propagator, optimizer, {}, n_steps=settings.propagator_steps)
    fit("four-wells-propagator", module, whole(pairs), None, FitSettings(settings.propagator_steps), folder)
    return propagator


def _judge_encoder(
    encoder: SRV,
    pairs: PairBatch,
    wells: FourWells,
    repeats: Int[np.ndarray, "repeat step"],
    settings: FourWellsSettings,
) -> tuple[dict[str, Any], list[Acceptance]]:
    learnt = encoder.timescales_ps.numpy()
    counted = _timescales(_counts(pairs, len(wells.centres)), settings.lag)
    spread = np.std([_timescales_of(chain, wells, settings.lag) for chain in repeats], axis=0, ddof=1)
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
    overlap = _correlations(modes, wells.eigenfunctions(), wells.stationary)
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


def _judge_propagator(
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
    variation = _total_variation(stationary, wells.stationary)
    rows.append(Acceptance.below("mdn_stationary_total_variation", Estimate(variation), 0.05))
    error = _free_energy_error(stationary, wells.stationary)
    rows.append(Acceptance.below("mdn_free_energy_rmse_kT", Estimate(error), 0.15))
    start = torch.tensor(wells.centres[[int(np.argmax(wells.stationary))]], dtype=torch.float32).view(1, 1, 1)
    condition = first_frame(start, settings.n_sampled)
    sampled = propagator.sample(condition, Context(), generator)[0, :, 0, 0].numpy()
    shares = np.bincount(wells.bin_of(sampled), minlength=n_bins) / settings.n_sampled
    # As many steps of the exact chain are themselves this far from its law.
    chance = max(
        _total_variation(np.bincount(chain, minlength=n_bins) / len(chain), wells.stationary) for chain in repeats
    )
    bound = f"<= 0.05 + {chance:.3g}, what an equally long exact chain reaches"
    reached = _total_variation(shares, wells.stationary)
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


def _counts(pairs: PairBatch, n_bins: int) -> Float[np.ndarray, "bin bin"]:
    counts = np.zeros((n_bins, n_bins))
    weights = np.ones(len(pairs.now)) if pairs.weights is None else pairs.weights.numpy()
    np.add.at(counts, (pairs.now.numpy(), pairs.later.numpy()), weights)
    return counts


def _timescales_of(chain: Int[np.ndarray, "step"], wells: FourWells, lag: int) -> Float[np.ndarray, "3"]:
    n_bins = len(wells.centres)
    joint = np.bincount(chain[:-lag] * n_bins + chain[lag:], minlength=n_bins**2)
    return _timescales(joint.reshape(n_bins, n_bins).astype(float), lag)


def _timescales(counts: Float[np.ndarray, "bin bin"], lag: int) -> Float[np.ndarray, "3"]:
    # Of the Markov state model over the bins with symmetrised counts, as the encoder's covariances are.
    symmetric = counts + counts.T
    visited = symmetric.sum(1) > 0
    symmetric = symmetric[visited][:, visited]
    root = np.sqrt(symmetric.sum(1))
    values = np.linalg.eigvalsh(symmetric / root[:, None] / root[None, :])[::-1]
    return -lag / np.log(values[1:4])


def _correlations(
    first: Float[np.ndarray, "bin mode"], second: Float[np.ndarray, "bin mode"], weights: Float[np.ndarray, "bin"]
) -> Float[np.ndarray, "mode"]:
    first, second = (values - weights @ values for values in (first, second))
    scale = np.sqrt((weights @ first**2) * (weights @ second**2))
    return (weights @ (first * second)) / scale


def _total_variation(first: Float[np.ndarray, "bin"], second: Float[np.ndarray, "bin"]) -> float:
    return float(np.abs(first - second).sum() / 2)


def _free_energy_error(law: Float[np.ndarray, "bin"], exact: Float[np.ndarray, "bin"]) -> float:
    """Root mean square over the bins within `HIGHEST_KT`, after the best shift; infinite where a bin is empty."""
    low = exact > exact.max() * math.exp(-HIGHEST_KT)
    if (law[low] <= 0).any():
        return math.inf
    return float(np.std(np.log(law[low]) - np.log(exact[low])))
