"""A latent trajectory as a chain of the windows that a propagator makes at once."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.data.conditions import distinct
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, MarkovPropagator, Propagator


@dataclass(frozen=True)
class Windows:
    """Where the windows of a trajectory end.

    Each begins with the last frame of the one before and ends on the last fully known frame within reach, or, where
    there is none, as far as the propagator reaches. No window then ends between two known frames: all that lies
    between them is made at once, by a Markov propagator as a bridge.

    Args:
        known: whether a frame is known in all of its tokens and channels.
        longest: most frames of a window, known ones included; None for a Markov propagator, which makes any number.
    """

    known: Bool[np.ndarray, "frame"]
    longest: int | None

    @classmethod
    def of(cls, condition: Condition, propagator: Propagator) -> "Windows":
        """The windows in which a propagator makes a trajectory.

        Raises:
            MdgenError: if its windows cannot meet the condition.
        """
        name, window = type(propagator).__name__, propagator.window
        different = distinct(condition.known)
        known = different.all(-1).all(-1).all(0).cpu().numpy()
        if window == 1:
            later = different.any(-1).any(-1).any(0).cpu().numpy()
            bridges = isinstance(propagator, MarkovPropagator)  # its density says how to reach a known frame
            if not known[0] or (later[1:] & ~(known[1:] & bridges)).any():
                through = ", through frames that are known as wholes" if bridges else " only"
                raise MdgenError(
                    f"{name} makes each frame from the one before, so it simulates forward from a known first frame"
                    f"{through}; other conditions need a propagator that makes several frames at once"
                )
            return cls(known, None)
        frames = np.flatnonzero(known)
        gaps = np.diff(frames, prepend=0)
        if len(gaps) and gaps.max() >= window:
            far = int(gaps.argmax())
            raise MdgenError(
                f"frames {frames[far] - gaps[far]} and {frames[far]} are {gaps[far]} frames apart with nothing wholly "
                f"known between them, but {name} makes at most {window} frames at once, both of these included: ask "
                f"for known frames at most {window - 1} apart"
            )
        return cls(known, window)

    def next_stop(self, done: int) -> int:
        """Frames that are made when the window after the first `done` frames is."""
        begin, n_frames = max(done - 1, 0), len(self.known)
        if self.longest is None:
            return n_frames
        limit = min(begin + self.longest, n_frames)
        inner = np.flatnonzero(self.known[begin + 1 : limit])
        return begin + 2 + int(inner[-1]) if len(inner) else limit

    def block_stop(self, done: int, frames: int) -> int:
        """Frames that are made when whole windows have made at least `frames` more.

        A Markov propagator makes exactly as many, or the more up to the next known frame.
        """
        target = min(done + frames, len(self.known))
        if self.longest is None:
            ahead = np.flatnonzero(self.known[target - 1 :])
            return target + int(ahead[0]) if len(ahead) else target
        while done < target:
            done = self.next_stop(done)
        return done


def sample_windows(
    propagator: Propagator, condition: Condition, context: Context, generator: torch.Generator
) -> Float[Tensor, "batch frame token channel"]:
    """A latent trajectory under a condition, window after window; what is known is met exactly.

    Raises:
        MdgenError: for a condition that the propagator cannot meet.
    """
    windows = Windows.of(condition, propagator)
    pieces: list[Tensor] = []
    done, n_frames = 0, condition.values.shape[1]
    while done < n_frames:
        stop = windows.next_stop(done)
        part = part_of(condition, done, stop, pieces[-1][:, -1] if pieces else None)
        made = propagator.sample(part, context, generator)
        if made.shape != part.values.shape:
            raise MdgenError(
                f"{type(propagator).__name__}.sample returned a latent of shape {tuple(made.shape)} for a condition of "
                f"shape {tuple(part.values.shape)}; a propagator must return the shape that it is given"
            )
        pieces.append(torch.where(part.known, part.values, made)[:, bool(done) :])
        done = stop
    return torch.cat(pieces, 1)


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
