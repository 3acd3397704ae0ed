"""A latent trajectory as a chain of the windows that a propagator makes at once, coarse frames before fine ones.

A network that makes many frames at once from noise gets each frame right more easily than the memory between them. A
frame between two that are known has its memory from them. So where a propagator was trained to fill in frames, those
far apart are made first, and the ones half-way between them next, until they are as close as was asked for (as Levy
constructed Brownian motion). All levels together cost at most twice the last. It takes a range of frame spacings, and
known frames that lie a multiple of two apart: inpainting, where all frames are known in part, is done at once.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from mdgen.data.conditions import distinct
from mdgen.data.spacing import SAME
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, MarkovPropagator, Propagator, RefiningPropagator

MOST_DOUBLINGS = 6
"""How often the time between frames is halved at most: a stretch is held in memory as a whole."""

ROWS = 1024
"""Windows of one level that are sampled side by side, unless there are more trajectories."""


@dataclass(frozen=True)
class Windows:
    """Where the windows of a trajectory end.

    Each begins with the last frame of the one before and ends on the last fully known frame within reach, or, where
    there is none, as far as the propagator reaches. No window then ends between two known frames: all that lies
    between them is made at once, by a Markov propagator as a bridge.

    Args:
        known: whether a frame is known in all of its tokens and channels.
        made_at_once: most frames that the propagator makes at once, known ones included; None for a Markov propagator,
            which makes any number.
        doublings: how often the time between frames is halved within a window, from its coarsest frames to all.
    """

    known: Bool[np.ndarray, "frame"]
    made_at_once: int | None
    doublings: int = 0

    @property
    def longest(self) -> int | None:
        """Most frames of a window, with all that are filled in between those made at once."""
        return None if self.made_at_once is None else ((self.made_at_once - 1) << self.doublings) + 1

    @classmethod
    def of(
        cls,
        condition: Condition,
        propagator: Propagator,
        frame_spacing_ps: float | None = None,
        most_doublings: int | None = None,
    ) -> "Windows":
        """The windows in which a propagator makes a trajectory.

        Args:
            condition: what is known.
            propagator: propagator.
            frame_spacing_ps: time between two frames; where it is not said, all frames of a window are made at once.
            most_doublings: how often the time between frames is halved at most, if not `MOST_DOUBLINGS` times.

        Raises:
            MdgenError: if its windows cannot meet the condition.
        """
        name, window = type(propagator).__name__, propagator.window
        different = distinct(condition.known)
        known = different.all(-1).all(-1).all(0).cpu().numpy()
        told = different.any(-1).any(-1).any(0).cpu().numpy()
        if window == 1:
            bridges = isinstance(propagator, MarkovPropagator)  # its density says how to reach a known frame
            if not known[0] or (told[1:] & ~(known[1:] & bridges)).any():
                through = ", through frames that are known as wholes" if bridges else " only"
                raise MdgenError(
                    f"{name} makes each frame from the one before, so it simulates forward from a known first frame"
                    f"{through}; other conditions need a propagator that makes several frames at once"
                )
            return cls(known, None)
        most = MOST_DOUBLINGS if most_doublings is None else most_doublings
        doublings = min(most, _doublings(np.flatnonzero(told), propagator, frame_spacing_ps))
        windows = cls(known, window, doublings)
        longest = windows.longest
        assert longest is not None
        frames = np.flatnonzero(known)
        gaps = np.diff(frames, prepend=0)
        if len(gaps) and gaps.max() >= longest:
            far = int(gaps.argmax())
            raise MdgenError(
                f"frames {frames[far] - gaps[far]} and {frames[far]} are {gaps[far]} frames apart with nothing wholly "
                f"known between them, but {name} makes at most {longest} frames at once, both of these included"
                f"{' and those filled in' if doublings else ''}: ask for known frames at most {longest - 1} apart"
                f"{_FURTHER if _may_refine(propagator) else ''}"
            )
        return windows

    def next_stop(self, done: int) -> int:
        """Frames that are made when the window after the first `done` frames is."""
        begin, n_frames = max(done - 1, 0), len(self.known)
        if self.made_at_once is None or self.longest is None:
            return n_frames
        limit = min(begin + self.longest, n_frames)
        inner = np.flatnonzero(self.known[begin + 1 : limit])
        if len(inner):
            return begin + 2 + int(inner[-1])
        whole = (_step(self.made_at_once) << self.doublings) + 1  # of whole windows at every level
        return min(begin + whole, limit) if self.doublings else limit

    def block_stop(self, done: int, frames: int) -> int:
        """Frames that are made when whole windows have made at least `frames` more.

        A Markov propagator makes exactly as many, or the more up to the next known frame.
        """
        target = min(done + frames, len(self.known))
        if self.made_at_once is None:
            ahead = np.flatnonzero(self.known[target - 1 :])
            return target + int(ahead[0]) if len(ahead) else target
        while done < target:
            done = self.next_stop(done)
        return done


_FURTHER = ", or all of them a multiple of 2, 4 or 8 frames apart, which reaches further"


def _step(window: int) -> int:
    """Frames from the first of a window to the first of the next, such that both are known at the coarser level."""
    return (window - 1) // 2 * 2


def _may_refine(propagator: Propagator) -> bool:
    return isinstance(propagator, RefiningPropagator) and propagator.upsamples and propagator.window > 2


def _doublings(told: Int[np.ndarray, "known"], propagator: Propagator, frame_spacing_ps: float | None) -> int:
    """How often frames may be left out, every other one, such that none of those that something is known of is lost,
    and the propagator still knows the time between those that are left.
    """
    if frame_spacing_ps is None or not _may_refine(propagator):
        return 0
    most = math.floor(math.log2(propagator.frame_spacing_ps[1] / frame_spacing_ps * (1 + SAME)))
    step = int(np.gcd.reduce(told)) if len(told) else 0
    return max(0, most if step == 0 else min(most, (step & -step).bit_length() - 1))


def sample_windows(
    propagator: Propagator,
    condition: Condition,
    context: Context,
    generator: torch.Generator,
    most_doublings: int | None = None,
) -> Float[Tensor, "batch frame token channel"]:
    """A latent trajectory under a condition, window after window; what is known is met exactly.

    Args:
        propagator: propagator.
        condition: what is known.
        context: context of each row.
        generator: source of all that is random.
        most_doublings: as for `Windows.of`.

    Raises:
        MdgenError: for a condition that the propagator cannot meet.
    """
    spacings = context.frame_spacing_ps
    # Rows of several spacings share what the widest allows.
    widest = None if spacings is None else float(spacings.max())
    windows = Windows.of(condition, propagator, widest, most_doublings)
    pieces: list[Tensor] = []
    done, n_frames = 0, condition.values.shape[1]
    while done < n_frames:
        stop = windows.next_stop(done)
        part = part_of(condition, done, stop, pieces[-1][:, -1] if pieces else None)
        made = _coarse_to_fine(propagator, part, context, generator, windows.doublings)
        pieces.append(made[:, bool(done) :])
        done = stop
    return torch.cat(pieces, 1)


def _coarse_to_fine(
    propagator: Propagator, condition: Condition, context: Context, generator: torch.Generator, doublings: int
) -> Float[Tensor, "batch frame token channel"]:
    """One window: its coarse frames, then with these known the windows at the time between frames asked for."""
    n_frames = condition.values.shape[1]
    if not doublings or n_frames < 3:
        return _made(propagator, condition, context, generator)
    assert context.frame_spacing_ps is not None
    coarser = replace(context, frame_spacing_ps=2 * context.frame_spacing_ps)
    odd = 1 - n_frames % 2  # an even number of frames ends between two coarse ones: one more is made, and left out
    values, known = (pad(each, (0, 0, 0, 0, 0, odd)).clone() for each in (condition.values, condition.known))
    every_other = Condition(values[:, ::2].clone(), known[:, ::2].clone())
    values[:, ::2] = _coarse_to_fine(propagator, every_other, coarser, generator, doublings - 1)
    known[:, ::2] = True
    # With their first and last frames known, windows are independent of one another: many are sampled side by side.
    n, step = len(values), _step(propagator.window)
    whole = (values.shape[1] - 1) // step
    pieces = [values[:, :1]]
    for some in torch.arange(whole, device=values.device).split(max(1, ROWS // n)):
        frames = some[:, None] * step + torch.arange(step + 1, device=values.device)
        rows = torch.arange(n, device=values.device).repeat_interleave(len(some))
        part = Condition(*(each[:, frames].flatten(0, 1) for each in (values, known)))
        made = _made(propagator, part, context.rows(rows), generator)[:, 1:]
        pieces.append(made.unflatten(0, (n, len(some))).flatten(1, 2))
    rest = slice(whole * step, None)
    if values[:, rest].shape[1] > 1:
        part = Condition(values[:, rest], known[:, rest])
        pieces.append(_made(propagator, part, context, generator)[:, 1:])
    return torch.cat(pieces, 1)[:, :n_frames]


def _made(
    propagator: Propagator, condition: Condition, context: Context, generator: torch.Generator
) -> Float[Tensor, "batch frame token channel"]:
    if bool(condition.known.all()):
        return condition.values
    made = propagator.sample(condition, context, generator)
    if made.shape != condition.values.shape:
        raise MdgenError(
            f"{type(propagator).__name__}.sample returned a latent of shape {tuple(made.shape)} for a condition of "
            f"shape {tuple(condition.values.shape)}; a propagator must return the shape that it is given"
        )
    return torch.where(condition.known, condition.values, made)


def part_of(condition: Condition, done: int, stop: int, last: Float[Tensor, "batch token channel"] | None) -> Condition:
    """The condition of the frames up to `stop` that follow the first `done`; it begins with the last of these.

    Unknown values are zero. `last` is None where no frame is made yet.
    """
    part = slice(max(done - 1, 0), stop)
    known = condition.known[:, part]
    values = torch.where(known, condition.values[:, part], 0)
    if last is not None and done:
        known = known.clone()
        values[:, 0], known[:, 0] = last, True
    return Condition(values, known)
