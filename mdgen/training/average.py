"""Exponential moving average of weights: the mean of the last steps is steadier than the last step."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps `average = decay * average + (1 - decay) * weights` beside a module that is being trained.

    The decay grows with the steps done up to its full value, so that the average forgets how the weights began.

    Args:
        module: whose floating-point parameters and buffers are averaged; others are copied.
        decay: full decay a step.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay, self.steps = decay, 0
        self.values: dict[str, Tensor] = {n: v.detach().clone() for n, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step of the module into the average."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)
            else:
                self.values[name].copy_(value)

    def averaged(self, module: nn.Module) -> nn.Module:
        """A copy of `module` that holds the averaged weights."""
        result = copy.deepcopy(module)
        result.load_state_dict(self.values)
        return result

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take back what `state_dict` gave."""
        self.steps = int(state["steps"])  # type: ignore[call-overload]
        self.values = {name: value.clone() for name, value in state["values"].items()}  # type: ignore[attr-defined]
