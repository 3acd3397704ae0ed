"""Known frames among generated ones, with the coordinates that were given."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.generation.tasks import Task, in_turn
from mdgen.geometry.superposition import superpose


@dataclass(frozen=True)
class KnownFrames:
    """Structures that stand at given places of every trajectory, in turn.

    Args:
        structures: positions in nm.
        places: number of the frame of each, rising.
    """

    structures: Float[Tensor, "known place atom 3"]
    places: tuple[int, ...]

    @classmethod
    def of(
        cls, task: Task, structures: Sequence[Float[Tensor, "known _frame atom 3"]], n_frames: int
    ) -> "KnownFrames | None":
        """Those of a task; None where no frame of it is known as a whole."""
        places = task.places(n_frames)
        return cls(torch.cat(list(structures), 1), tuple(places)) if places and structures else None

    def put_into(
        self, positions: Float[Tensor, "batch frame atom 3"], begin: int
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Generated positions with the known frames moved onto those that stand in their places.

        Args:
            positions: decoded frames.
            begin: number of the first of them in the trajectory.
        """
        chosen = [i for i, place in enumerate(self.places) if begin <= place < begin + positions.shape[1]]
        if not chosen:
            return positions
        here = [self.places[i] - begin for i in chosen]
        given = in_turn(self.structures[:, chosen], len(positions)).to(positions)
        positions = positions.clone()
        positions[:, here] = superpose(given, positions[:, here])
        return positions
