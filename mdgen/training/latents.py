"""A whole set of trajectories through the features or the encoder, block by block, into memory."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder
from mdgen.progress import Progress

BLOCK = 5_000
"""Frames that are in memory with all their atoms at a time."""


@torch.no_grad()
def tabulate(
    trajectories: TrajectorySet, function: Callable[[Tensor], Tensor], label: str
) -> list[Float[Tensor, "_ channel"]]:
    """`function` of the positions of every frame, one table a trajectory."""
    progress, done = Progress(label, trajectories.n_frames), 0
    tables = []
    for index in range(len(trajectories)):
        parts = []
        for block in trajectories.blocks(index, BLOCK):
            parts.append(function(torch.tensor(block)).flatten(1))
            done += len(block)
            progress.update(done)
        tables.append(torch.cat(parts))
    return tables


def encode_trajectories(trajectories: TrajectorySet, encoder: Encoder) -> list[Float[Tensor, "_ channel"]]:
    """The latent of every frame, one table a trajectory.

    Raises:
        MdgenError: if the trajectories are of another molecule than the encoder.
    """
    wanted = encoder.latent.molecule
    if wanted and wanted != trajectories.molecule.fingerprint:
        raise MdgenError(
            f"the encoder was trained on another molecule than {trajectories.molecule!r}; give trajectories of its own"
        )
    return tabulate(trajectories, lambda positions: encoder.encode(positions, Context()), "encode")


def stack(tables: Sequence[Float[Tensor, "_ channel"]]) -> tuple[Float[Tensor, "frame channel"], list[int]]:
    """One table of all frames, and the length of each trajectory in it."""
    return torch.cat(list(tables)), [len(table) for table in tables]
