"""Windows: a fixed number of frames at one spacing or several, cut lazily from trajectories of many molecules."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mdgen.data.collection import TrajectoryCollection
from mdgen.data.spacing import lag_in_frames
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.molecule.residues import residue_types

logger = logging.getLogger("mdgen")


@dataclass(frozen=True)
class Window:
    """Consecutive frames of one trajectory.

    Args:
        positions: positions in nm, perhaps a read-only view of a file.
        number: number of its set in the collection.
        trajectory: number of its trajectory in the set.
        start: first frame, counted in frames of the file.
        spacing: number of its spacing among those of the data set.
    """

    positions: Float[np.ndarray, "frame atom 3"]
    number: int
    trajectory: int
    start: int
    spacing: int = 0


class WindowDataset(Dataset[Window]):
    """All windows of `frames` frames, in the order of sets, spacings, trajectories and starts.

    None crosses a trajectory's end. Only counts are held: positions are read when a window is asked for.

    Args:
        collection: trajectories of one molecule or of many.
        frames: frames of a window.
        spacing_ps: time between two frames of a window, or several such times, each a multiple of every file's; None
            for the files' own. With several there are windows of each, about as many of one as of another.
        hop_ps: time from the start of a window to that of the next, a multiple of every file's; None for one frame.

    Raises:
        MdgenError: if a spacing is no multiple of a file's, or no trajectory is long enough.
    """

    def __init__(
        self,
        collection: TrajectoryCollection | TrajectorySet,
        frames: int,
        spacing_ps: float | Sequence[float] | None = None,
        hop_ps: float | None = None,
    ) -> None:
        self.collection = TrajectoryCollection([collection]) if isinstance(collection, TrajectorySet) else collection
        if frames < 1:
            raise MdgenError(f"a window of {frames} frames is empty; it must have at least 1")
        self.frames = frames
        given = _one_spacing(self.collection) if spacing_ps is None else spacing_ps
        self.spacings_ps = (float(given),) if isinstance(given, int | float) else tuple(float(each) for each in given)
        if not self.spacings_ps:
            raise MdgenError("windows need a spacing; name at least one, or none for that of the files")
        own = [each.frame_spacing_ps for each in self.collection]
        self._strides = [[lag_in_frames(ps, each, "window spacing") for ps in self.spacings_ps] for each in own]
        self._hops = [1 if hop_ps is None else lag_in_frames(hop_ps, each, "hop") for each in own]
        self._counts = [
            np.array([self._count(number, k, length) for k in range(len(self.spacings_ps)) for length in each.lengths])
            for number, each in enumerate(self.collection)
        ]
        self._ends = np.cumsum(np.concatenate(self._counts))
        self._places = [
            (number, k, t)
            for number, each in enumerate(self.collection)
            for k in range(len(self.spacings_ps))
            for t in range(len(each))
        ]
        self._require_windows()

    @property
    def counts(self) -> tuple[int, ...]:
        """Windows of each set; those of one set stand together."""
        return tuple(int(counts.sum()) for counts in self._counts)

    @property
    def n_atoms(self) -> tuple[int, ...]:
        """Atoms of each set's molecule."""
        return tuple(each.molecule.n_atoms for each in self.collection)

    @cached_property
    def residue_types(self) -> tuple[Int[Tensor, "_residue"], ...]:
        """Residue types of each set's molecule: one token a residue."""
        return tuple(residue_types(each.molecule) for each in self.collection)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(f"there are windows 0 to {len(self) - 1}; there is no {index}")
        place = int(np.searchsorted(self._ends, index, side="right"))
        number, spacing, trajectory = self._places[place]
        before = int(self._ends[place - 1]) if place else 0
        start, stride = (index - before) * self._hops[number], self._strides[number][spacing]
        stop = start + (self.frames - 1) * stride + 1
        positions = self.collection[number].positions(trajectory, start, stop, stride)
        return Window(positions, number, trajectory, start, spacing)

    def __getitems__(self, indices: Int[np.ndarray, "window"]) -> list[Window]:  # as torch fetches a batch
        return [self[index] for index in indices.tolist()]

    def _count(self, number: int, spacing: int, length: int) -> int:
        span = (self.frames - 1) * self._strides[number][spacing] + 1
        return max(0, (length - span) // self._hops[number] + 1)

    def _require_windows(self) -> None:
        if len(self) == 0:
            longest_ps = max((max(each.lengths) - 1) * each.frame_spacing_ps for each in self.collection)
            raise MdgenError(
                f"no trajectory is long enough for a window of {self.frames} frames {min(self.spacings_ps):g} ps "
                f"apart; the longest lasts {longest_ps:g} ps; shorten the window or its spacing"
            )
        short = sum(int((counts == 0).sum()) for counts in self._counts)
        if short:
            logger.warning("%d of %d trajectories are too short for a window", short, len(self._places))


def _one_spacing(collection: Sequence[TrajectorySet]) -> float:
    first = collection[0].frame_spacing_ps
    for each in collection:
        if abs(each.frame_spacing_ps - first) > 1e-3 * first:
            raise MdgenError(
                f"the frames of {collection[0].names[0]} are {first:g} ps apart and those of {each.names[0]} "
                f"{each.frame_spacing_ps:g} ps; name the spacing of the windows, a multiple of both"
            )
    return first
