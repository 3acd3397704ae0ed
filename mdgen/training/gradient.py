"""Training by gradient descent on a part's own loss: thin over any model that has `loss(batch)`."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from mdgen.interfaces import Loss

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class GradientTraining(lightning.LightningModule):
    """Descends `model.loss(batch).total`, logs its terms, and keeps random streams with the checkpoint.

    Args:
        model: the part; its `loss` takes a batch as the loader gives it.
        optimizer: makes the optimiser from the parameters, such as `functools.partial(torch.optim.Adam, lr=1e-3)`.
        generators: random streams whose state a checkpoint must hold, by name.
        gradient_clip: greatest norm of the gradient; 0 for none.
        n_steps: optimiser steps over which the learning rate falls to nothing on a cosine; 0 keeps it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        generators: dict[str, torch.Generator],
        gradient_clip: float = 1.0,
        n_steps: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.make_optimizer, self.generators = model, optimizer, generators
        self.gradient_clip, self.n_steps = gradient_clip, n_steps
        self._sums: dict[str, list[Tensor]] = {}

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss to descend."""
        loss: Loss = self.model.loss(batch)  # type: ignore[operator]
        self._note("train", loss)
        return loss.total

    def validation_step(self, batch: Any, index: int) -> None:
        """The same loss on frames that were kept back."""
        self._note("validation", self.model.loss(batch))  # type: ignore[operator]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches move themselves; they are frozen, which Lightning's own way does not allow."""
        return batch.to(device)

    def on_train_epoch_end(self) -> None:
        """Log the means over the epoch."""
        self._log_means("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation data."""
        self._log_means("validation")

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule of its rate where there is one."""
        optimizer = self.make_optimizer(self.model.parameters())
        if not self.n_steps:
            return optimizer
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip by norm."""
        if self.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where each random stream is."""
        checkpoint["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put each random stream back to where it was."""
        for name, generator in self.generators.items():
            generator.set_state(checkpoint["generators"][name].cpu())

    def _note(self, stage: str, loss: Loss) -> None:
        for name, value in {"loss": loss.total.detach(), **loss.terms}.items():
            self._sums.setdefault(f"{stage}/{name}", []).append(value)

    def _log_means(self, stage: str) -> None:
        for name in [name for name in self._sums if name.startswith(f"{stage}/")]:
            self.log(name, torch.stack([value.float() for value in self._sums.pop(name)]).mean())
