"""The engine on compiled kernels for boxes: cutoffs, explicit water, processors."""

from dataclasses import replace

import torch

from mdgen.interfaces import State
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel


class BoxEngine(KernelEngine):
    """Langevin dynamics, or leapfrog without friction, on `kernels.box.BoxKernel`; an `engine.Engine`.

    Positions are never wrapped into the box: molecules stay whole, and diffusion can be read off a trajectory. The
    force field must have a cutoff. Each replica runs on one thread and draws from sixteen random streams. `precision`
    is that of forces; positions and velocities are in double either way.
    """

    name = "box_kernel"
    kernel_class = BoxKernel

    def prepare(self, state: State) -> None:
        """Go on from `state`, whose cell must be there if the force field is periodic."""
        self._kernel.set_state(state.positions, state.velocities, state.cell)
        self._kernel.steps_done = state.step

    def advance(self, n_steps: int) -> State:
        """Move on by `n_steps`."""
        cells, state = self._kernel.cells, super().advance(n_steps)
        return replace(state, cell=None if cells is None else torch.from_numpy(cells.copy()))
