"""Training an encoder into slow modes: features once, descent on lagged pairs, one eigen-solve at the end."""

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger

from mdgen.data.pairs import lag_in_frames
from mdgen.data.splits import cut, split
from mdgen.data.trajectories import TrajectorySet
from mdgen.models.batches import PairBatch
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA
from mdgen.registry import register
from mdgen.training.fitting import FitSettings, fit
from mdgen.training.gradient import GradientTraining, OptimizerFactory
from mdgen.training.latents import tabulate
from mdgen.training.pair_batches import PairBatches, pairs_of, whole


@register
@dataclass(frozen=True)
class EncoderSettings:
    """How an encoder is trained.

    Args:
        optimizer: makes the optimiser from the parameters.
        max_epochs: passes over the pairs at most.
        patience: epochs without a better validation score after which the training stops.
        batch_pairs: pairs a step; covariances of small batches are biased, so thousands.
        validation_share: part of the frames kept back, by trajectory or long block.
        seed: of weights, split and order.
    """

    optimizer: OptimizerFactory = field(default=functools.partial(torch.optim.Adam, lr=3e-3))
    max_epochs: int = 60
    patience: int = 10
    batch_pairs: int = 20_000
    validation_share: float = 0.2
    seed: int = 0


def train_encoder(
    trajectories: TrajectorySet,
    encoder: SRV | TICA,
    settings: EncoderSettings,
    folder: Path | None = None,
    run_logger: Logger | None = None,
) -> dict[str, Any]:
    """Train `encoder` in place on all pairs one of its lags apart.

    Args:
        trajectories: the data.
        encoder: an SRV, which is trained, or a TICA, which is solved for.
        settings: how.
        folder: for the checkpoint to resume from.
        run_logger: receives the figures of every epoch.

    Returns:
        Metrics: the history, eigenvalues and timescales, numbers of frames and pairs.

    Raises:
        MdgenError: if the lag is no multiple of the frame spacing, or no trajectory is longer than it.
    """
    start = time.monotonic()
    lag_frames = lag_in_frames(encoder.lag_ps, trajectories.frame_spacing_ps)
    features = tabulate(trajectories, encoder.features, "features")
    every_pair = pairs_of(features, lag_frames)
    history: list[dict[str, float]] = []
    if isinstance(encoder, SRV):
        generator = torch.Generator().manual_seed(settings.seed)
        parts = split([len(table) for table in features], settings.validation_share, lag_frames, generator)
        training = pairs_of(cut(features, parts.training), lag_frames)
        validation = pairs_of(cut(features, parts.validation), lag_frames)
        encoder.initialise(generator)
        encoder.fit_standardisation(training.frames)
        history = _descend(encoder, training, validation, settings, generator, folder, run_logger)
    encoder.fit_spectrum(every_pair)
    return {
        "history": history,
        "eigenvalues": encoder.eigenvalues.tolist(),
        "timescales_ps": encoder.timescales_ps.tolist(),
        "n_frames": len(every_pair.frames),
        "n_pairs": len(every_pair.now),
        "seconds": time.monotonic() - start,
    }


def _descend(
    encoder: SRV,
    training: PairBatch,
    validation: PairBatch,
    settings: EncoderSettings,
    generator: torch.Generator,
    folder: Path | None,
    run_logger: Logger | None,
) -> list[dict[str, float]]:
    batches = PairBatches(training, settings.batch_pairs, generator)
    module = GradientTraining(
        encoder,
        settings.optimizer,
        {"order": generator},
        gradient_clip=0.0,  # Adam's step does not depend on the norm, and the loss is bounded
        n_steps=settings.max_epochs * len(batches),
    )
    fit_settings = FitSettings(settings.max_epochs, settings.patience)
    return fit("encoder", module, batches, whole(validation), fit_settings, folder, run_logger)
