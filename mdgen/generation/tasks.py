"""The four tasks of a simulator: each says which structures are known, and makes a condition of their latents."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import mdtraj
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.conditions import both_ends, every_kth, first_frame, tokens
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition
from mdgen.molecule.topology import Molecule

Frames: TypeAlias = mdtraj.Trajectory | Tensor | np.ndarray
"""Structures of which each stands for itself: an mdtraj trajectory, or positions in nm `(frame, atom, 3)`."""

Trajectories: TypeAlias = Frames | Sequence[Frames]
"""One trajectory, a list of some, or positions in nm `(trajectory, frame, atom, 3)`; all of one length."""

Latents = Float[Tensor, "_known frame token channel"]


class Task(ABC):
    """What is to be generated; the frames that it knows are taken in turn where more trajectories are asked for."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What tells it from another task with the same structures, as plain JSON."""

    @property
    def frame_spacing_ps(self) -> float | None:
        """Time between generated frames that follows from the known ones; None where nothing does."""
        return None

    @property
    def least_frames(self) -> int:
        """Frames that a trajectory has at least, told before any structure is read."""
        return 1

    @abstractmethod
    def structures(self, molecule: Molecule) -> tuple[Float[Tensor, "_known _frame atom 3"], ...]:
        """Positions that are known, in nm; none where the propagator is to draw its start.

        Where there are several, their rows belong together. The first frame of the first is the key frame of a row.
        """

    def places(self, n_frames: int) -> list[int]:
        """Numbers of the generated frames that are those of `structures`, in their order; none where only some tokens
        are known.
        """
        return []

    @abstractmethod
    def condition(self, latents: Sequence[Latents]) -> Condition:
        """The condition of as many trajectories as `latents` has rows: the latents of `structures`, taken in turn."""


@dataclass(frozen=True)
class Rollout(Task):
    """Forward simulation from a first frame.

    Args:
        start: structures at which the trajectories begin, in turn; drawn from the training data where None.
        n_frames: frames of each trajectory, the first included.
    """

    start: Frames | None = None
    n_frames: int = 1000

    @property
    def settings(self) -> dict[str, Any]:
        """The task alone: a rollout may be extended."""
        return {"task": "rollout"}

    @property
    def least_frames(self) -> int:
        """All of them."""
        return self.n_frames

    def structures(self, molecule: Molecule) -> tuple[Tensor, ...]:
        """The start."""
        return () if self.start is None else (_frames(self.start, molecule, "start"),)

    def places(self, n_frames: int) -> list[int]:
        """The first."""
        return [0]

    def condition(self, latents: Sequence[Latents]) -> Condition:
        """The first frame."""
        return first_frame(latents[0][:, 0], self.n_frames)


@dataclass(frozen=True)
class Interpolation(Task):
    """Paths from one structure to another in a given time.

    Args:
        start: structures at which the trajectories begin, in turn.
        end: structures at which they end, in turn.
        n_frames: frames of each trajectory, both ends included.
    """

    start: Frames
    end: Frames
    n_frames: int

    @property
    def settings(self) -> dict[str, Any]:
        """The task and its length."""
        return {"task": "interpolate", "n_frames": self.n_frames}

    @property
    def least_frames(self) -> int:
        """All of them."""
        return self.n_frames

    def structures(self, molecule: Molecule) -> tuple[Tensor, ...]:
        """Both ends, in pairs."""
        first, last = _frames(self.start, molecule, "start"), _frames(self.end, molecule, "end")
        n = max(len(first), len(last))
        return in_turn(first, n), in_turn(last, n)

    def places(self, n_frames: int) -> list[int]:
        """The first and the last."""
        return [0, n_frames - 1]

    def condition(self, latents: Sequence[Latents]) -> Condition:
        """Both ends."""
        first, last = latents
        return both_ends(first[:, 0], last[:, 0], self.n_frames)


@dataclass(frozen=True)
class Upsampling(Task):
    """The frames between those of coarse trajectories.

    Args:
        coarse: trajectories of equal length.
        factor: generated frames from one coarse frame to the next.
    """

    coarse: Trajectories
    factor: int

    @property
    def settings(self) -> dict[str, Any]:
        """The task and its factor."""
        return {"task": "upsample", "factor": self.factor}

    @property
    def frame_spacing_ps(self) -> float | None:
        """The coarse spacing over the factor, where the coarse trajectories tell their times."""
        spacing = _spacing_ps(self.coarse)
        return None if spacing is None else spacing / max(self.factor, 1)

    @property
    def least_frames(self) -> int:
        """Those from one coarse frame to the next."""
        return self.factor + 1

    def structures(self, molecule: Molecule) -> tuple[Tensor, ...]:
        """The coarse trajectories."""
        return (_trajectories(self.coarse, molecule, "coarse trajectory"),)

    def places(self, n_frames: int) -> list[int]:
        """Every `factor`-th."""
        return list(range(0, n_frames, self.factor))

    def condition(self, latents: Sequence[Latents]) -> Condition:
        """Every `factor`-th frame."""
        return every_kth(latents[0], self.factor)


@dataclass(frozen=True)
class Inpainting(Task):
    """Trajectories of which some tokens are known, such as some residues.

    Where a trajectory is longer than a propagator's window, each window sees the known tokens of its own frames.

    Args:
        known: trajectories of equal length; only their chosen tokens are used.
        tokens: tokens that are known in every frame, counted from 0.
    """

    known: Trajectories
    tokens: Sequence[int]

    @property
    def settings(self) -> dict[str, Any]:
        """The task and its tokens."""
        return {"task": "inpaint", "tokens": list(self.tokens)}

    @property
    def frame_spacing_ps(self) -> float | None:
        """That of the known trajectories, where they tell their times."""
        return _spacing_ps(self.known)

    def structures(self, molecule: Molecule) -> tuple[Tensor, ...]:
        """The known trajectories."""
        return (_trajectories(self.known, molecule, "known trajectory"),)

    def condition(self, latents: Sequence[Latents]) -> Condition:
        """The chosen tokens.

        Raises:
            MdgenError: if no token is left to generate.
        """
        n_tokens = latents[0].shape[2]
        if len(set(self.tokens)) == n_tokens:
            raise MdgenError(
                f"all of the latent's tokens ({n_tokens}) are known, so nothing is left to inpaint; name fewer, of a "
                "latent of several tokens, such as those of residues (encoder=se3_tokens)"
            )
        return tokens(latents[0], self.tokens)


def fingerprint_of(structures: Sequence[Float[Tensor, "_known _frame atom 3"]]) -> str:
    """First 16 hex digits of the SHA-256 over positions."""
    digest = hashlib.sha256()
    for positions in structures:
        digest.update(repr(tuple(positions.shape)).encode() + positions.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def in_turn(known: Float[Tensor, "_known *rest"], n: int) -> Float[Tensor, "_n *rest"]:
    """As many rows as are asked for: all that are known, then the first of them again."""
    return known[torch.arange(n) % len(known)]


def _spacing_ps(given: Trajectories) -> float | None:
    first = given[0] if isinstance(given, Sequence) and len(given) else given
    if not isinstance(first, mdtraj.Trajectory) or len(first) < 2:
        return None
    steps = np.diff(first.time)
    if not bool((steps > 0).all()):
        late = int(np.argmin(steps > 0))
        raise MdgenError(
            f"the known frames are out of order: frame {late} is at {first.time[late]:g} ps and frame {late + 1} at "
            f"{first.time[late + 1]:g} ps; sort them by their times"
        )
    return float(first.timestep)


def _frames(given: Frames, molecule: Molecule, what: str) -> Float[Tensor, "known 1 atom 3"]:
    positions = _positions(given, molecule, what)
    positions = positions[None] if positions.ndim == 2 else positions
    return _checked(positions, "frame, ", molecule, what)[:, None]


def _trajectories(given: Trajectories, molecule: Molecule, what: str) -> Float[Tensor, "known frame atom 3"]:
    if isinstance(given, Sequence):
        each = [_positions(one, molecule, what) for one in given]
        lengths = sorted({len(one) for one in each})
        if len(lengths) != 1:
            raise MdgenError(f"the {what} is given with {lengths} frames; give at least one, all of one length")
        positions = torch.stack(each)
    else:
        positions = _positions(given, molecule, what)
        positions = positions[None] if positions.ndim == 3 else positions
    return _checked(positions, "trajectory, frame, ", molecule, what)


def _positions(given: Frames, molecule: Molecule, what: str) -> Tensor:
    if isinstance(given, mdtraj.Trajectory):
        molecule.require_same(Molecule.from_mdtraj(given.topology), f"the {what}")
        given = given.xyz
    return torch.as_tensor(given, dtype=torch.float32)


def _checked(positions: Tensor, leading: str, molecule: Molecule, what: str) -> Tensor:
    if (
        positions.ndim != leading.count(",") + 2
        or positions.shape[-2:] != (molecule.n_atoms, 3)
        or 0 in positions.shape
    ):
        raise MdgenError(
            f"the {what} has shape {tuple(positions.shape)}; give positions ({leading}{molecule.n_atoms}, 3) in nm"
        )
    if not bool(torch.isfinite(positions).all()):
        raise MdgenError(f"the {what} holds a coordinate that is not finite; give other frames")
    return positions
