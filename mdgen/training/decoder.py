"""Training a decoder: structures represented once, then adversarial steps on random frames of them."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import Encoder, LatentSpace
from mdgen.models.batches import DecoderBatch
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.training.adversarial import AdversarialTraining
from mdgen.training.fitting import FitSettings, fit
from mdgen.training.gradient import OptimizerFactory

RepresentationFactory = Callable[[Molecule, Tensor], nn.Module]


@register
@dataclass(frozen=True)
class DecoderSettings:
    """How a decoder is trained.

    Args:
        optimizer: makes each optimiser from its parameters; Wasserstein critics want little momentum.
        n_steps: generator steps.
        critic_steps: critic steps to one of the generator.
        batch_frames: frames a step.
        average_decay: of the moving average of the weights.
        balance: 0 draws frames as they come; 1 draws rare latents as often as common ones. What is learnt, the
            distribution of structures at a latent, is the same; how well it is learnt where data are few is not.
        consistency_weight: weight of how far encoded structures are from their latents; 0 leaves it out.
        ratio_steps: of the density ratio that rejects what is drawn too often, after the training; 0 leaves it out.
        max_frames: at most this many frames, evenly spaced, are held in memory.
        seed: of weights, order and noise.
    """

    optimizer: OptimizerFactory = field(default=functools.partial(torch.optim.Adam, lr=5e-4, betas=(0.5, 0.9)))
    n_steps: int = 2500
    critic_steps: int = 4
    batch_frames: int = 256
    average_decay: float = 0.999
    balance: float = 0.5
    consistency_weight: float = 3.0
    ratio_steps: int = 800
    max_frames: int = 200_000
    seed: int = 0


class RandomFrames:
    """Batches of frames drawn at random with repetition; `n_batches` of them are an epoch.

    Args:
        frames: all of them.
        weights: how often each is drawn, relative to the others.
        size: frames a batch.
        n_batches: batches an epoch.
        generator: of the draw.
    """

    def __init__(
        self,
        frames: DecoderBatch,
        weights: Float[Tensor, "frame"],
        size: int,
        n_batches: int,
        generator: torch.Generator,
    ) -> None:
        self.frames, self.size, self.n_batches, self.generator = frames, size, n_batches, generator
        self._cumulative = (weights.double() / weights.double().sum()).cumsum(0)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[DecoderBatch]:
        for _ in range(self.n_batches):
            points = torch.rand(self.size, generator=self.generator, dtype=torch.float64)
            rows = torch.searchsorted(self._cumulative, points).clamp(max=len(self._cumulative) - 1)
            yield DecoderBatch(self.frames.values[rows], self.frames.latents[rows])


def rarity(latents: Float[Tensor, "frame channel"], n_bins: int = 40) -> Float[Tensor, "frame"]:
    """One over how many frames share a frame's bin, in the channel in which it is rarest."""
    low, high = latents.min(0).values, latents.max(0).values
    bins = ((latents - low) / (high - low).clamp(min=1e-12) * n_bins).long().clamp(max=n_bins - 1)
    counts = [torch.bincount(channel, minlength=n_bins)[channel] for channel in bins.T]
    return 1.0 / torch.stack(counts).amin(0)


def train_decoder(
    trajectories: TrajectorySet,
    latents: list[Float[Tensor, "_ channel"]],
    encoder: Encoder,
    make_decoder: Callable[..., CWGAN | NearestFrame],
    make_representation: RepresentationFactory,
    settings: DecoderSettings,
    folder: Path | None = None,
    run_logger: Logger | None = None,
) -> tuple[CWGAN | NearestFrame, dict[str, Any]]:
    """Make a decoder for an encoder's latent and train it on the frames of some trajectories.

    Args:
        trajectories: the data.
        latents: of every frame, one table a trajectory (`encode_trajectories`).
        encoder: that made them; the decoder is told its latent, and held against it where the settings say so.
        make_decoder: such as `functools.partial(CWGAN, noise_channels=50)`, or `NearestFrame`.
        make_representation: such as `InternalRepresentation.fitted`; a nearest-frame decoder needs none.
        settings: how.
        folder: for the checkpoint to resume from.
        run_logger: receives the figures of every epoch.

    Returns:
        The decoder, with averaged weights, and its metrics.
    """
    begin = time.monotonic()
    latent: LatentSpace = encoder.latent
    generator = torch.Generator().manual_seed(settings.seed)
    positions, table = _frames(trajectories, latents, settings.max_frames)
    if make_decoder is NearestFrame or getattr(make_decoder, "func", None) is NearestFrame:
        nearest: NearestFrame = make_decoder(latent, trajectories.molecule)  # type: ignore[assignment]
        nearest.fit(positions, table, generator)
        return nearest.eval(), {"history": [], "n_frames": len(table), "seconds": time.monotonic() - begin}
    representation = make_representation(trajectories.molecule, positions)
    decoder: CWGAN = make_decoder(latent, representation)  # type: ignore[assignment]
    decoder.initialise(generator)
    decoder.fit_scale(table)
    represent: Callable[[Tensor], Tensor] = representation.represent  # type: ignore[assignment]
    values = torch.cat([represent(block) for block in positions.split(10_000)])
    module, history = _play(decoder, DecoderBatch(values, table), encoder, settings, generator, folder, run_logger)
    averaged: CWGAN = module.average.averaged(decoder).eval()  # type: ignore[assignment]
    if settings.ratio_steps > 0:
        _fit_ratio(averaged, DecoderBatch(values, table), settings, generator)
    averaged.fit_rejection(positions, table, generator)
    metrics = {"history": history, "n_frames": len(table), "seconds": time.monotonic() - begin}
    return averaged, metrics


def _fit_ratio(
    decoder: CWGAN, frames: DecoderBatch, settings: DecoderSettings, generator: torch.Generator, size: int = 2048
) -> None:
    """Train the classifier behind the density ratio, on frames drawn as they come."""
    optimizer = torch.optim.AdamW(decoder.ratio.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.ratio_steps)
    progress = Progress("density ratio", settings.ratio_steps)
    batches = RandomFrames(frames, torch.ones(len(frames.values)), size, settings.ratio_steps, generator)
    for step, batch in enumerate(batches, 1):
        loss = decoder.ratio_loss(batch, generator).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.update(step, cross_entropy=float(loss.detach()))


def _play(
    decoder: CWGAN,
    frames: DecoderBatch,
    encoder: Encoder,
    settings: DecoderSettings,
    generator: torch.Generator,
    folder: Path | None,
    run_logger: Logger | None,
) -> tuple[AdversarialTraining, list[dict[str, float]]]:
    n_epochs = max(1, min(50, settings.n_steps // 10))
    steps_an_epoch = -(-settings.n_steps // n_epochs)
    size = settings.batch_frames * (settings.critic_steps + 1)
    if isinstance(encoder, nn.Module):
        encoder.requires_grad_(False)
    module = AdversarialTraining(
        decoder,
        settings.optimizer,
        {"noise": generator},
        settings.critic_steps,
        n_epochs * steps_an_epoch,
        settings.average_decay,
        encoder,
        settings.consistency_weight,
    )
    weights = rarity(frames.latents) ** settings.balance
    batches = RandomFrames(frames, weights, size, steps_an_epoch, generator)
    history = fit("decoder", module, batches, None, FitSettings(n_epochs), folder, run_logger)
    return module, history


def _frames(
    trajectories: TrajectorySet, latents: list[Float[Tensor, "_ channel"]], max_frames: int
) -> tuple[Float[Tensor, "frame atom 3"], Float[Tensor, "frame channel"]]:
    # Evenly spaced frames of all trajectories, at most `max_frames`.
    if [len(table) for table in latents] != list(trajectories.lengths):
        raise MdgenError("the latents are not of these trajectories: their lengths differ; encode them again")
    stride = max(1, -(-trajectories.n_frames // max_frames))
    positions = [torch.tensor(trajectories.positions(i, stride=stride)) for i in range(len(trajectories))]
    return torch.cat(positions), torch.cat([table[::stride] for table in latents])
