"""A compiled step recorded as a CUDA graph: the host launches many steps at once and never waits for the device.

A graph reads and writes the same memory at each replay, so states are copied into buffers of its own, and out again.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS_PER_GRAPH = 16
_WARM_UP = 3


class RecordedSteps:
    """One step, and sixteen in a row, ready to be replayed.

    Args:
        step: takes positions, velocities, noise and `fixed` to positions and velocities, on a CUDA device.
        x: positions, for their shape.
        v: velocities.
        fixed: what does not change over a call: kT, and the cell if there is one.
    """

    def __init__(
        self,
        step: Callable[..., tuple[Tensor, Tensor]],
        x: Float[Tensor, "3 atom replica"],
        v: Float[Tensor, "3 atom replica"],
        fixed: tuple[Tensor, ...],
    ) -> None:
        self._x, self._v, self._fixed = x.clone(), v.clone(), tuple(values.clone() for values in fixed)
        # One buffer a step: each begins where the device likes it, which rows of one table need not.
        shape = (x.shape[2], x.shape[1], 3)
        self._noise = [x.new_zeros(shape) for _ in range(_STEPS_PER_GRAPH)]
        with torch.cuda.device(x.device):
            self._warm_up(step)
            self._graphs = {n: self._recording(step, n) for n in (1, _STEPS_PER_GRAPH)}

    def advance(
        self,
        x: Float[Tensor, "3 atom replica"],
        v: Float[Tensor, "3 atom replica"],
        fixed: tuple[Tensor, ...],
        n_steps: int,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "3 atom replica"], Float[Tensor, "3 atom replica"]]:
        """Positions and velocities after `n_steps`; noise is drawn a step at a time, so that cuts change nothing."""
        for buffer, values in zip((self._x, self._v, *self._fixed), (x, v, *fixed), strict=True):
            buffer.copy_(values)
        with torch.cuda.device(x.device):
            while n_steps:
                n = _STEPS_PER_GRAPH if n_steps >= _STEPS_PER_GRAPH else 1
                for noise in self._noise[:n]:
                    noise.normal_(generator=generator)
                self._graphs[n].replay()
                n_steps -= n
        return self._x.clone(), self._v.clone()

    def _warm_up(self, step: Callable[..., tuple[Tensor, Tensor]]) -> None:
        """Run it on a stream aside, as recording asks for: kernels are loaded and work space is found."""
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside), torch.no_grad():
            for noise in self._noise[:_WARM_UP]:
                step(self._x, self._v, noise, *self._fixed)
        current.wait_stream(aside)

    def _recording(self, step: Callable[..., tuple[Tensor, Tensor]], n_steps: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(graph):
            x, v = self._x, self._v
            for noise in self._noise[:n_steps]:
                x, v = step(x, v, noise, *self._fixed)
            self._x.copy_(x)
            self._v.copy_(v)
        return graph
