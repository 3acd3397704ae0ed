"""Two propagators that descend: a linear Markov step, and a network that fills windows of frames."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace, Loss
from mdgen.models.batches import PairBatch, TrainingData, WindowBatch
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.part import Part
from mdgen.models.propagators.bridge import sample_between
from mdgen.registry import register


@register
class OrnsteinUhlenbeck(Part):
    """Each channel relaxes to its mean with noise: `x' = mean + decay (x - mean) + width noise`.

    Args:
        latent: latent space of the encoder.
        lag_ps: time between two frames.
    """

    learns_from = "lagged_latents"
    training_defaults: ClassVar[dict[str, Any]] = {"max_epochs": 5, "batch_size": 500}
    starts: Tensor

    def __init__(self, latent: LatentSpace, lag_ps: float) -> None:
        super().__init__()
        self.latent, self.lag_ps = latent, lag_ps
        n = latent.tokens * latent.channels
        self.mean, self.decay, self.log_width = (nn.Parameter(torch.zeros(n)) for _ in range(3))
        self.register_buffer("starts", torch.zeros(64, latent.tokens, latent.channels))

    @property
    def window(self) -> int:
        """One frame at a time."""
        return 1

    @property
    def frame_spacing_ps(self) -> tuple[float, float]:
        """The lag alone."""
        return self.lag_ps, self.lag_ps

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Begin at the mean and spread of the data, and keep frames to start from."""
        frames = data.every.frames
        self.mean.copy_(frames.mean(0))
        self.log_width.copy_(frames.std(0).log())
        chosen = torch.randint(len(frames), (len(self.starts),), generator=generator)
        self.starts.copy_(frames[chosen].view_as(self.starts))
        return data

    def _log_density(self, later: Tensor, now: Tensor) -> Tensor:
        normal = (later - self.mean - self.decay * (now - self.mean)) / self.log_width.exp()
        return (-0.5 * normal.square() - self.log_width - 0.5 * math.log(2 * math.pi)).sum(-1)

    def loss(self, batch: PairBatch, generator: torch.Generator) -> Loss:
        """Mean negative log-likelihood of the pairs."""
        density = self._log_density(batch.frames[batch.later], batch.frames[batch.now])
        return Loss(-(density * batch.share(density.dtype)).sum())

    def log_prob(self, next: Tensor, now: Tensor) -> Tensor:
        """Log of the transition density."""
        return self._log_density(next.flatten(1), now.flatten(1))

    @torch.no_grad()
    def step(self, now: Tensor, generator: torch.Generator) -> Tensor:
        """One lag later."""
        noise = torch.randn(now.shape, generator=generator, device=now.device).flatten(1)
        later = self.mean + self.decay * (now.flatten(1) - self.mean) + self.log_width.exp() * noise
        return later.view_as(now)

    def sample(self, condition: Condition, context: Context, generator: torch.Generator) -> Tensor:
        """Steps from the known first frame, through whatever later ones are known."""
        return sample_between(self, condition, context, generator)


@register
class WindowFiller(Part):
    """Fills what is not known of a window: a network's guess of every frame, plus Gaussian noise of learned width.

    Args:
        latent: latent space of the encoder.
        lag_ps: time between two frames.
        window: frames of a window.
        hidden: width of the hidden layer.
    """

    learns_from = "latent_windows"
    training_defaults: ClassVar[dict[str, Any]] = {"max_epochs": 5, "batch_size": 500}
    starts: Tensor

    def __init__(self, latent: LatentSpace, lag_ps: float, window: int = 4, hidden: int = 16) -> None:
        super().__init__()
        self.latent, self.lag_ps, self._window = latent, lag_ps, window
        n = window * latent.tokens * latent.channels
        self.network = perceptron(2 * n, [hidden], n)
        self.log_width = nn.Parameter(torch.zeros(latent.tokens * latent.channels))
        self.register_buffer("starts", torch.zeros(64, latent.tokens, latent.channels))

    @property
    def window(self) -> int:
        """Frames made at once."""
        return self._window

    @property
    def frame_spacing_ps(self) -> tuple[float, float]:
        """The lag alone."""
        return self.lag_ps, self.lag_ps

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights, and keep frames to start from."""
        initialise(self.network, generator)
        frames = data.every.frames
        self.starts.copy_(frames[torch.randint(len(frames), (len(self.starts),), generator=generator)])
        return data

    def _guess(self, condition: Condition) -> Tensor:
        values, known = (part.flatten(1).to(condition.values.dtype) for part in (condition.values, condition.known))
        return self.network(torch.cat([values, known], -1)).view_as(condition.values)

    def loss(self, batch: WindowBatch, generator: torch.Generator) -> Loss:
        """Negative log-likelihood of what is not known: all but the first frame, or but both ends; a coin decides."""
        ends = bool(torch.rand((), generator=generator, device=generator.device) < 0.5)
        condition = batch.condition(torch.tensor([0, self._window - 1] if ends else [0]))
        width = self.log_width.view(self.latent.tokens, self.latent.channels)
        normal = (batch.latents - self._guess(condition)) / width.exp()
        return Loss((0.5 * normal.square() + width)[~condition.known].mean())

    @torch.no_grad()
    def sample(self, condition: Condition, context: Context, generator: torch.Generator) -> Tensor:
        """One window at most, of any condition."""
        values, n_frames = condition.values, condition.values.shape[1]
        if n_frames > self._window:
            raise MdgenError(f"{n_frames} frames were asked of windows of {self._window}; chain windows")
        if values.shape[2:] != (self.latent.tokens, self.latent.channels):
            raise MdgenError(
                f"the condition has {values.shape[3]} channels, and the propagator {self.latent.channels}; "
                "give latents of its encoder"
            )
        missing = self._window - n_frames
        padded = Condition(
            nn.functional.pad(values, (0, 0, 0, 0, 0, missing)),
            nn.functional.pad(condition.known, (0, 0, 0, 0, 0, missing)),
        )
        width = self.log_width.view(self.latent.tokens, self.latent.channels).exp()
        noise = torch.randn(padded.values.shape, generator=generator, device=values.device)
        made = (self._guess(padded) + width * noise)[:, :n_frames]
        return torch.where(condition.known, values, made)
