"""Training a propagator on the latents of all frames."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.loggers import Logger
from torch import Tensor

from mdgen.data.pairs import lag_in_frames
from mdgen.data.splits import cut, split
from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.registry import register
from mdgen.training.fitting import FitSettings, fit
from mdgen.training.gradient import GradientTraining, OptimizerFactory
from mdgen.training.latents import stack
from mdgen.training.pair_batches import PairBatches, pairs_of, whole

PropagatorFactory = Callable[[LatentSpace, float], MDN | MarkovStateModel]


@register
@dataclass(frozen=True)
class PropagatorSettings:
    """How a propagator is trained.

    Args:
        optimizer: makes the optimiser from the parameters.
        max_epochs: passes over the pairs at most.
        patience: epochs without a better validation likelihood after which the training stops.
        batch_pairs: pairs a step.
        validation_share: part of the frames kept back, by trajectory or long block.
        seed: of weights, split and order.
    """

    optimizer: OptimizerFactory = field(default=functools.partial(torch.optim.Adam, lr=5e-3))
    max_epochs: int = 60
    patience: int = 10
    batch_pairs: int = 4_000
    validation_share: float = 0.1
    seed: int = 0


def train_propagator(
    latents: list[Float[Tensor, "_ channel"]],
    frame_spacing_ps: float,
    latent: LatentSpace,
    lag_ps: float,
    make_propagator: PropagatorFactory,
    settings: PropagatorSettings,
    folder: Path | None = None,
    run_logger: Logger | None = None,
) -> tuple[MDN | MarkovStateModel, dict[str, Any]]:
    """Make a propagator for a latent and train it, or count it, on all pairs one lag apart.

    Args:
        latents: of every frame, one table a trajectory (`encode_trajectories`).
        frame_spacing_ps: between two frames of a table.
        latent: what the tables hold: the encoder's.
        lag_ps: time between the two frames of a pair.
        make_propagator: such as `functools.partial(MDN, n_components=24)`.
        settings: how.
        folder: for the checkpoint to resume from.
        run_logger: receives the figures of every epoch.

    Returns:
        The propagator and its metrics.

    Raises:
        MdgenError: if the lag is no multiple of the frame spacing, no trajectory is longer than it, or a latent is not
            finite.
    """
    begin = time.monotonic()
    lag_frames = lag_in_frames(lag_ps, frame_spacing_ps)
    generator = torch.Generator().manual_seed(settings.seed)
    frames, _ = stack(latents)
    if not bool(torch.isfinite(frames).all()):
        raise MdgenError("the latent of some frames is not finite; check the encoder and the trajectories")
    propagator = make_propagator(latent, lag_ps)
    history: list[dict[str, float]] = []
    if isinstance(propagator, MarkovStateModel):
        propagator.fit(pairs_of(latents, lag_frames), generator)
    else:
        parts = split([len(table) for table in latents], settings.validation_share, lag_frames, generator)
        batches = PairBatches(pairs_of(cut(latents, parts.training), lag_frames), settings.batch_pairs, generator)
        propagator.initialise(generator)
        propagator.fit_scale(frames, generator)
        module = GradientTraining(
            propagator, settings.optimizer, {"order": generator}, n_steps=settings.max_epochs * len(batches)
        )
        validation = whole(pairs_of(cut(latents, parts.validation), lag_frames))
        fit_settings = FitSettings(settings.max_epochs, settings.patience)
        history = fit("propagator", module, batches, validation, fit_settings, folder, run_logger)
        propagator.fit_gate(pairs_of(latents, lag_frames), generator)
    metrics = {"history": history, "n_frames": len(frames), "seconds": time.monotonic() - begin}
    return propagator.eval(), metrics
