"""Training a generator against its critic: several critic steps to one of the generator, weights averaged."""

from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from mdgen.interfaces import Encoder, Loss
from mdgen.models.batches import DecoderBatch
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.training.average import MovingAverage
from mdgen.training.gradient import OptimizerFactory


class AdversarialTraining(lightning.LightningModule):
    """One training step is one generator step with the critic steps before it; both rates fall on a cosine.

    Args:
        model: the decoder.
        optimizer: makes each of the two optimisers from its parameters.
        generators: random streams whose state a checkpoint must hold, by name; `noise` is drawn from here.
        critic_steps: of the critic, to one of the generator.
        n_steps: generator steps over which the learning rate falls to nothing.
        average_decay: of the moving average of the weights, which is what is kept in the end.
        encoder: to hold decoded structures against their latents; None to leave that out.
        consistency_weight: weight of that deviation.
    """

    def __init__(
        self,
        model: CWGAN,
        optimizer: OptimizerFactory,
        generators: dict[str, torch.Generator],
        critic_steps: int,
        n_steps: int,
        average_decay: float = 0.999,
        encoder: Encoder | None = None,
        consistency_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.make_optimizer, self.generators = model, optimizer, generators
        self.critic_steps, self.n_steps = critic_steps, n_steps
        self.average = MovingAverage(model, average_decay)
        # In a list, so that the encoder is no submodule and its weights stay out of checkpoints and optimisers.
        self._encoder = [encoder]
        self.consistency_weight = consistency_weight
        self._sums: dict[str, list[Tensor]] = {}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches move themselves; they are frozen, which Lightning's own way does not allow."""
        return batch.to(device)

    def training_step(self, batch: DecoderBatch, index: int) -> None:
        """The critic learns on all parts of the batch but the last, the generator on that."""
        critic_optimizer, generator_optimizer = self.optimizers()  # type: ignore[misc, attr-defined]
        parts = [
            DecoderBatch(values, latents)
            for values, latents in zip(
                batch.values.chunk(self.critic_steps + 1), batch.latents.chunk(self.critic_steps + 1), strict=True
            )
        ]
        noise = self.generators["noise"]
        for part in parts[:-1]:
            loss = self.model.critic_loss(part, noise)
            self._descend(critic_optimizer, loss)
        self._note(loss)
        self.model.critic.requires_grad_(False)
        loss = self.model.generator_loss(parts[-1], noise, self._encoder[0], self.consistency_weight)
        self._descend(generator_optimizer, loss)
        self.model.critic.requires_grad_(True)
        self._note(loss)
        self.average.update(self.model)
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()

    def _descend(self, optimizer: Any, loss: Loss) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss.total)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        """One optimiser for the critic, one for the generator."""
        critic = list(self.model.critic.parameters())
        known = {id(parameter) for parameter in critic}
        generator: list[nn.Parameter] = [part for part in self.model.parameters() if id(part) not in known]
        optimizers = [self.make_optimizer(critic), self.make_optimizer(generator)]
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(part, self.n_steps) for part in optimizers]
        return optimizers, schedules

    def on_train_epoch_end(self) -> None:
        """Log the means over the epoch."""
        for name, values in self._sums.items():
            self.log(f"train/{name}", torch.stack([value.float() for value in values]).mean())
        self._sums.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the average, and where each random stream is."""
        checkpoint["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}
        checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put everything back to where it was."""
        for name, generator in self.generators.items():
            generator.set_state(checkpoint["generators"][name].cpu())
        self.average.load_state_dict(checkpoint["average"])

    def _note(self, loss: Loss) -> None:
        for name, value in loss.terms.items():
            self._sums.setdefault(name, []).append(value)
