"""The two ways of descent, as Lightning modules: thin over any part that offers the losses."""

from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mdgen.interfaces import Loss
from mdgen.training.settings import TrainingSettings


class PartTraining(lightning.LightningModule):
    """What both ways share: random streams, the average of the weights, the log.

    The state of `generator` is kept with a checkpoint: the order of batches, and on a single processor also the noise
    of losses. So is that of a loader, which Lightning itself takes back only in the middle of an epoch.
    """

    def __init__(self, part: nn.Module, settings: TrainingSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.part, self.settings, self.generator = part, settings, generator
        self.average = averaged(part, settings.average_decay) if settings.average_decay > 0 else None
        self.noise = generator
        self.batches_a_step = 1
        self._sums: dict[str, list[Tensor]] = {}
        self._order: dict[str, Any] | None = None

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches move themselves; they are frozen, which Lightning's own way does not allow."""
        return batch.to(device)

    def on_train_start(self) -> None:
        """Put a loader back to where it was."""
        if self._order is not None:
            self.trainer.train_dataloader.load_state_dict(self._order)  # type: ignore[union-attr]
            self._order = None

    def on_train_epoch_start(self) -> None:
        """Give each rank and device noise of its own, which depends on nothing but seed, epoch and rank."""
        if self.trainer.world_size > 1 or self.device.type != "cpu":
            self.noise = _stream(self.device, self.generator.initial_seed(), self.current_epoch, self.global_rank)

    def on_train_batch_end(self, *_: Any) -> None:
        """Take one more step into the average."""
        if self.average is not None:
            self.average.update_parameters(self.part)

    def validation_step(self, batch: Any, index: int) -> None:
        """The loss on frames that were kept back, with the same noise every time."""
        part: Any = self.part if self.average is None else self.average.module
        loss: Loss = part.loss(batch, _stream(self.device, self.generator.initial_seed(), index))
        self.note("validation", loss=loss.total.detach(), **loss.terms)

    def on_train_epoch_end(self) -> None:
        """Log the means over the epoch."""
        self._log_means("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation data."""
        self._log_means("validation")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the random stream and the loader are."""
        checkpoint["generator"] = self.generator.get_state()
        loader: Any = self.trainer.train_dataloader
        checkpoint["order"] = loader.state_dict() if hasattr(loader, "load_state_dict") else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the random stream back to where it was, and later the loader."""
        self.generator.set_state(checkpoint["generator"].cpu())
        self._order = checkpoint.get("order")

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The learning rate over all steps."""
        if not self.settings.cosine:
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))

    def note(self, stage: str, **terms: Tensor) -> None:
        """Add figures to the means of the epoch."""
        for name, value in terms.items():
            self._sums.setdefault(f"{stage}/{name}", []).append(value)

    def _log_means(self, stage: str) -> None:
        for name in [name for name in self._sums if name.startswith(f"{stage}/")]:
            mean = torch.stack([value.float() for value in self._sums.pop(name)]).mean()
            self.log(name, mean, sync_dist=self.trainer.world_size > 1)


class GradientTraining(PartTraining):
    """Descends `part.loss`."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss to descend."""
        loss: Loss = self.part.loss(batch, self.noise)  # type: ignore[operator]
        self.note("train", loss=loss.total.detach(), **loss.terms)
        return loss.total

    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule of its rate."""
        optimizer = self.settings.optimizer(self.part.parameters())
        return [optimizer], [{"scheduler": self.schedule(optimizer), "interval": "step"}]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the gradient of the part by its norm."""
        if self.settings.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.part.parameters(), self.settings.gradient_clip)


class AdversarialTraining(PartTraining):
    """One training step is one step of the generator with the steps of the critic before it."""

    part: Any

    def __init__(self, part: nn.Module, settings: TrainingSettings, generator: torch.Generator) -> None:
        super().__init__(part, settings, generator)
        self.automatic_optimization = False
        self.batches_a_step = self.part.critic_steps + 1

    def training_step(self, batch: Any, index: int) -> None:
        """The critic learns on all pieces of the batch but the last, the generator on that."""
        critic_optimizer, generator_optimizer = self.optimizers()  # type: ignore[misc, attr-defined]
        *pieces, last = (batch.rows(rows) for rows in torch.arange(len(batch)).chunk(self.batches_a_step))
        for piece in pieces:
            loss = self.part.critic_loss(piece, self.noise)
            self._descend(critic_optimizer, loss)
        self.note("train", **loss.terms)
        critic = self.part.critic_parameters()
        for parameter in critic:
            parameter.requires_grad_(False)
        loss = self.part.generator_loss(last, self.noise)
        self._descend(generator_optimizer, loss)
        for parameter in critic:
            parameter.requires_grad_(True)
        self.note("train", **loss.terms)
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()

    def _descend(self, optimizer: Any, loss: Loss) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss.total)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        """One optimiser for the critic, one for the generator."""
        critic = self.part.critic_parameters()
        known = {id(parameter) for parameter in critic}
        generator = [parameter for parameter in self.part.parameters() if id(parameter) not in known]
        optimizers = [self.settings.optimizer(critic), self.settings.optimizer(generator)]
        return optimizers, [self.schedule(optimizer) for optimizer in optimizers]


def averaged(part: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights, whose decay grows with the steps up to its full value.

    So it soon forgets how the weights began.
    """

    def mean(average: Tensor, value: Tensor, steps: Tensor | int) -> Tensor:
        n = int(steps)
        share = 1 - min(decay, (1 + n) / (10 + n))
        return torch.lerp(average, value, share) if average.is_floating_point() else value

    average = AveragedModel(part, avg_fn=mean, use_buffers=True)
    average.n_averaged.fill_(1)  # the weights at the start are the first to be averaged
    return average.requires_grad_(False)


def _stream(device: torch.device, *key: int) -> torch.Generator:
    """A random stream on a device that depends on nothing but its key."""
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(seed) >> 1)
