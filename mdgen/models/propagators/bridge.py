"""Bridges: paths of a Markov propagator between frames that are known on both sides.

Given the frames `x` at time 0 and `z` at time n, the path between them is a Markov chain again, whose steps look ahead
by the backward information function `beta`, the density of reaching `z` in the time that is left:

    p(x_t | x_{t-1}, z) proportional to p(x_t | x_{t-1}) beta_t(x_t),
    beta_t(x) = integral p(x' | x) beta_{t+1}(x') dx'.

The integrals are sums over particles `r_j` that all times share (random grid: Rust, Econometrica 65, 487 (1997)). They
are drawn from steps of the propagator itself, `q(r) = mean_k p(r | s_k)` for known `s_k`, and weighted by `1 / q(r_j)`:
so the chain on the particles becomes the exact bridge as their number grows, whatever the `s_k` are. No step is drawn
blindly, and a jump that the propagator makes once in a million steps is made where the end asks for it. Nothing beyond
`step` and `log_prob` is asked of the propagator.
"""

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.conditions import distinct
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace, MarkovPropagator

N_PARTICLES = 1024
"""Particles of a bridge, where the propagator's own `bridge_particles` does not say."""
RUN = 16
"""Steps over which the first `s_k` spread from the known frames."""
ROUNDS = 2
"""How often particles are drawn: the second time around the paths of the first."""
ROWS = 64
"""Bridges that are computed side by side, at most."""
NUMBERS = 50_000_000
"""Numbers of the backward information function that are held at a time."""
PAIRS = 200_000
"""Pairs of frames whose density is computed at a time."""

Latents = Float[Tensor, "batch token channel"]
Forward = Callable[[Latents, int, torch.Generator], Float[Tensor, "batch frame token channel"]]
"""Trajectories of so many frames from their first, which is one of them."""


class _Particles(NamedTuple):
    """Frames `r_j` with the log of their density `q`, and the normalised chain on them."""

    frames: Float[Tensor, "particle token channel"]
    log_density: Float[Tensor, "particle"]
    chain: Float[Tensor, "particle particle"]


def sample_between(
    propagator: MarkovPropagator,
    condition: Condition,
    context: Context,
    generator: torch.Generator,
    forward: Forward | None = None,
) -> Float[Tensor, "batch frame token channel"]:
    """Trajectories through all known frames of a condition, the first among them: bridges, then forward.

    Args:
        propagator: propagator with a density.
        condition: frames that are known as wholes, in all rows alike.
        context: frame spacing; the rest is not read.
        generator: random stream.
        forward: faster way than `simulate_forward` to go on from a first frame.

    Raises:
        MdgenError: for another condition (`known_frames`).
    """
    forward = forward or functools.partial(simulate_forward, propagator)
    lag_ps = propagator.frame_spacing_ps[0]
    known = known_frames(condition, context, propagator.latent, lag_ps)
    n_frames = condition.values.shape[1]
    if len(known) == 1:
        return forward(condition.values[:, 0], n_frames, generator)
    made = torch.empty_like(condition.values)
    made[:, known] = condition.values[:, known]
    bridges(propagator, made, known, generator)
    if known[-1] < n_frames - 1:
        made[:, known[-1] :] = forward(made[:, known[-1]], n_frames - known[-1], generator)
    return made


def simulate_forward(
    propagator: MarkovPropagator, start: Latents, n_frames: int, generator: torch.Generator
) -> Float[Tensor, "batch frame token channel"]:
    """Trajectories of so many frames from their first, step by step."""
    frames = [start]
    for _ in range(n_frames - 1):
        frames.append(propagator.step(frames[-1], generator))
    return torch.stack(frames, 1)


def known_frames(condition: Condition, context: Context, latent: LatentSpace, lag_ps: float) -> list[int]:
    """The numbers of the frames that are known, the first among them, in all rows alike.

    Raises:
        MdgenError: if the first frame is not known, a frame is known in part or in some rows only, or the frame spacing
            is not the propagator's lag.
    """
    spacings = context.frame_spacing_ps
    if spacings is not None and bool(((spacings - lag_ps).abs() > 1e-6 * lag_ps).any()):
        raise MdgenError(
            f"the frames asked for are {float(spacings[0]):g} ps apart, but this propagator steps by {lag_ps:g} ps; "
            "ask for its own spacing"
        )
    if condition.values.shape[2:] != (latent.tokens, latent.channels):
        raise MdgenError(
            f"the start has {condition.values.shape[2]} tokens of {condition.values.shape[3]} channels, the propagator "
            f"{latent.tokens} of {latent.channels}; encode the start with the encoder it was trained with"
        )
    known = distinct(condition.known)
    whole = known.all(3).all(2).all(0)
    if not bool(whole[0]) or bool((known.any(3).any(2).any(0) & ~whole).any()):
        raise MdgenError(
            "a Markov propagator goes from a known first frame, and through frames that are known as wholes in every "
            "row; parts of frames need a propagator that makes several at once"
        )
    return [int(frame) for frame in whole.nonzero()[:, 0]]


@torch.no_grad()
def bridges(
    propagator: MarkovPropagator,
    trajectories: Float[Tensor, "batch frame token channel"],
    known: list[int],
    generator: torch.Generator,
) -> None:
    """Fill in, in place, the frames between the known ones.

    Args:
        propagator: propagator with a density.
        trajectories: trajectories with their known frames, all others being overwritten.
        known: numbers of the known frames, ascending.
        generator: random stream.
    """
    gaps = [(first, last) for first, last in pairwise(known) if last - first > 1]
    if not gaps:
        return
    ends = trajectories[:, known].flatten(0, 1)
    ancestors = _first_ancestors(propagator, ends, generator)
    for _ in range(ROUNDS):
        particles = _particles(propagator, ancestors, generator)
        for first, last in gaps:
            leaving = log_prob_table(propagator, particles.frames, trajectories[:, first]) - particles.log_density
            arriving = log_prob_table(propagator, trajectories[:, last], particles.frames).T
            together = max(1, min(ROWS, NUMBERS // (len(particles.frames) * (last - first))))
            for rows in torch.arange(len(trajectories)).split(together):
                path = _bridge(particles, leaving[rows], arriving[rows], last - first, generator)
                trajectories[rows, first + 1 : last] = particles.frames[path]
        visited = torch.cat([trajectories[:, first : last + 1].flatten(0, 1) for first, last in gaps])
        # Most around the paths, and some of the first ones, so that no way is lost that was merely not taken.
        kept = ancestors[_some(len(ancestors), len(ancestors) // 4, generator)]
        ancestors = torch.cat([kept, visited[_some(len(visited), len(ancestors) - len(kept), generator)]])


def _first_ancestors(
    propagator: MarkovPropagator, ends: Float[Tensor, "end token channel"], generator: torch.Generator
) -> Float[Tensor, "ancestor token channel"]:
    """Frames of short runs from known ones and, where the propagator keeps any, frames of its training."""
    size = getattr(propagator, "bridge_particles", N_PARTICLES)
    starts = getattr(propagator, "starts", None)
    walkers = max(1, (size if starts is None else size // 2) // RUN)
    # The ends in turn, so that few of them have equally many walkers each.
    shuffled = ends[torch.randperm(len(ends), generator=generator, device=generator.device)]
    runs = [shuffled[torch.arange(walkers, device=ends.device) % len(ends)]]
    for _ in range(RUN - 1):
        runs.append(propagator.step(runs[-1], generator))
    run = torch.cat(runs)
    if starts is None:
        return run
    return torch.cat([run, starts[_some(len(starts), size - len(run), generator)].to(run)])


def _particles(
    propagator: MarkovPropagator, ancestors: Float[Tensor, "ancestor token channel"], generator: torch.Generator
) -> _Particles:
    frames = propagator.step(ancestors, generator)
    log_density = torch.logsumexp(log_prob_table(propagator, frames, ancestors), 0) - math.log(len(ancestors))
    # A particle from which none can be reached is a dead end, and no path leads on from it.
    chain = torch.softmax(log_prob_table(propagator, frames, frames) - log_density, 1).nan_to_num(0.0)
    return _Particles(frames, log_density, chain)


def _bridge(
    particles: _Particles,
    leaving: Float[Tensor, "batch particle"],
    arriving: Float[Tensor, "batch particle"],
    n_steps: int,
    generator: torch.Generator,
) -> Int[Tensor, "batch inner"]:
    """Particles on paths of `n_steps` steps, both ends left out, from the logs of their first and last steps."""
    first, last = torch.softmax(leaving, 1), arriving
    backward = [(last - last.amax(1, keepdim=True)).exp()]
    for _ in range(n_steps - 2):
        ahead = backward[-1] @ particles.chain.T
        backward.append(ahead / ahead.amax(1, keepdim=True))
    chances, path = first, []
    for ahead in reversed(backward):
        cumulative = (chances * ahead).cumsum(1)
        if not bool((cumulative[:, -1] > 0).all()):
            raise MdgenError(
                f"no path of {n_steps} steps joins two of the known frames under this propagator; allow for more frames"
            )
        point = torch.rand(len(first), 1, generator=generator, device=generator.device, dtype=cumulative.dtype)
        path.append(torch.searchsorted(cumulative, point * cumulative[:, -1:], right=True)[:, 0])
        path[-1].clamp_(max=len(particles.frames) - 1)
        chances = particles.chain[path[-1]]
    return torch.stack(path, 1)


def log_prob_table(
    propagator: MarkovPropagator, next: Float[Tensor, "later token channel"], now: Float[Tensor, "now token channel"]
) -> Float[Tensor, "now later"]:
    """Log of the transition density of every frame of `next` given every one of `now`, in double precision.

    A propagator may offer a faster `log_prob_table` of its own.
    """
    offered = getattr(propagator, "log_prob_table", None)
    rows = []
    for some in now.split(max(1, PAIRS // len(next))):
        if offered is not None:
            rows.append(offered(next, some).double())
        else:
            pairs = propagator.log_prob(next.repeat(len(some), 1, 1), some.repeat_interleave(len(next), 0))
            rows.append(pairs.view(len(some), len(next)).double())
    return torch.cat(rows)


def _some(n: int, size: int, generator: torch.Generator) -> Int[Tensor, "size"]:
    return torch.randint(n, (size,), generator=generator, device=generator.device)
