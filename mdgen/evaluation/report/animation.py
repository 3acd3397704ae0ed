"""A short film of consecutive frames, for the report's player: all frames laid onto the reference's first."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.trajectories import TrajectorySet
from mdgen.geometry.superposition import superpose

MOST_COORDINATES = 300_000
"""Large molecules get shorter films."""


def film(
    trajectories: TrajectorySet, stride: int, frames: int, onto: Float[np.ndarray, "atom 3"] | None = None
) -> Float[np.ndarray, "frame atom 3"]:
    """The first frames of the longest trajectory in nm, superposed by their heavy atoms and centred.

    Args:
        trajectories: what is shown.
        stride: between two shown frames.
        frames: to show, or fewer where there are not as many or the molecule is large.
        onto: the frame to superpose on; the first one where None.
    """
    longest = int(np.argmax(trajectories.lengths))
    frames = max(1, min(frames, MOST_COORDINATES // (3 * trajectories.molecule.n_atoms)))
    positions = torch.from_numpy(
        np.array(trajectories.positions(longest, 0, frames * stride, stride), dtype=np.float32)
    )
    heavy = torch.tensor([float(symbol not in ("H", "VS")) for symbol in trajectories.molecule.elements])
    weights = heavy if heavy.sum() > 2 else torch.ones_like(heavy)
    target = _laid_flat(positions[0], weights) if onto is None else torch.from_numpy(onto)
    return superpose(positions, target, weights).numpy()


def _laid_flat(frame: Float[Tensor, "atom 3"], weights: Float[Tensor, "atom"]) -> Float[Tensor, "atom 3"]:
    """The frame centred, its longest axis along x and its shortest towards the viewer, and not mirrored."""
    centred = frame - (frame * weights[:, None]).sum(0) / weights.sum()
    axes = torch.linalg.svd(centred * weights[:, None]).Vh
    return centred @ (axes * torch.linalg.det(axes).sign()).T
