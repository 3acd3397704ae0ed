"""Memory from frame to frame of what the latent does not hold, for decoders that begin from frames of a library.

A latent holds the few slowest modes; a rotamer that lives for two frames is not among them, and drawn anew for every
frame it forgets at once. Here the library's frames have coordinates of their own, the slowest of what the latents
leave, and each frame is drawn among those near in the latent by how likely these coordinates make it after the one
before.

Sources: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013), for the coordinates; Mehler, J. reine angew. Math.
66, 161 (1866), for the kernel; Sinkhorn and Knopp, Pacific J. Math. 21, 343 (1967), for its normalisation.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.models.batches import FrameBatch, PairBatch
from mdgen.models.blocks.spectrum import slow_modes
from mdgen.models.decoders.neighbours import Neighbours

LEAST_CORRELATION = 0.1
"""Coordinates that forget more within a lag are left to chance."""

LEAST_SHARED = 0.25
"""Share of a coordinate's variance that its average over time has at least, or the average says nothing of it."""

LARGEST_CORRELATION = 0.98
"""Correlation between two frames at most: with more, no other frame of a library would be near enough."""

LAGS = (1, 2, 4)
"""Lags at which autocorrelations are compared with those of the data."""

SPANS = (0.0, 0.2, 0.4, 1.0, 2.0)
"""Times before and after a frame over which its coordinates are averaged, in lags."""

RANKED, RANKED_BLOCK = 128, 4096
"""Frames among which a coordinate is ranked, and frames whose ranks are found at a time."""

RELATIVE_JITTER = 1e-6
BALANCING_ROUNDS = 12
BLOCK_VALUES = 2**23
"""Coordinates of candidates that are held at a time."""


class Coherence(nn.Module):
    """Slow coordinates of a library of frames, and draws of frames that remember them.

    Each coordinate is Gaussian at every latent and forgets as an Ornstein-Uhlenbeck process. Frame j follows frame i
    with its weight among the candidates times

        s(i, j) = a_i a_j prod_c N(h_jc; r_c h_ic, 1 - r_c^2) / N(h_jc; 0, 1)

    over coordinates h of correlation r. The product is symmetric, and a, which is found for the candidates of every
    latent, makes the mean of s one for each of them: at a fixed latent draws are reversible with respect to the
    weights, so that what structures it has is the same with memory and without. Where candidates are few for the
    number of coordinates, frames remember less than the data.

    Args:
        n_frames: frames of the library.
        n_modes: coordinates.
        n_neighbours: nearest frames in the latent, of which one is drawn.
    """

    modes: Tensor
    correlations: Tensor
    _lag_ps: Tensor

    def __init__(self, n_frames: int, n_modes: int, n_neighbours: int) -> None:
        super().__init__()
        self.n_neighbours = min(n_neighbours, n_frames)
        self.register_buffer("modes", torch.zeros(n_frames, n_modes))
        self.register_buffer("correlations", torch.zeros(n_modes))
        self.register_buffer("_lag_ps", torch.ones((), dtype=torch.float64))

    @classmethod
    @torch.no_grad()
    def fitted(
        cls,
        features: Float[Tensor, "frame feature"],
        frames: FrameBatch,
        chosen: Int[Tensor, "row"],
        lag_ps: float | None,
        n_modes: int,
        n_neighbours: int,
    ) -> "Coherence":
        """The slowest coordinates of what latents leave of the features, averaged over time; normal scores (`_Ranks`).

        Args:
            features: features of every frame, invariant under rigid motions.
            frames: latents of the same frames, in the order of time.
            chosen: rows of the library.
            lag_ps: time over which correlations are measured, to the nearest frame; that between frames where None.
            n_modes: number of coordinates at most.
            n_neighbours: nearest frames in the latent, of which one is drawn.

        Raises:
            MdgenError: if the order or the spacing of the frames is not known, or no trajectory is as long as the lag.
        """
        trajectories, spacing_ps = order_of(frames)
        lag = 1 if lag_ps is None else max(1, round(lag_ps / spacing_ps))
        now = _starts(trajectories, lag)
        if not len(now):
            raise MdgenError(f"no trajectory is as long as the lag of {lag * spacing_ps:g} ps; give longer ones")
        pairs = PairBatch(features, now, now + lag)
        left = _left_modes(features.double(), frames.latents.double(), pairs, n_modes)
        modes, correlations, autocorrelations = _smoothed(left, _Ranks(frames.latents), trajectories, lag)
        kept = autocorrelations > LEAST_CORRELATION
        made = cls(len(chosen), int(kept.sum()), n_neighbours)
        made.modes.copy_(modes[chosen][:, kept])
        made.correlations.copy_(correlations[kept])
        made._lag_ps.fill_(lag * spacing_ps)
        return made

    @property
    def lag_ps(self) -> float:
        """Time over which the coordinates have their `correlations`."""
        return float(self._lag_ps)

    @torch.no_grad()
    def choose(
        self,
        latents: Float[Tensor, "batch frame channel"],
        before: Int[Tensor, "batch"] | None,
        frame_spacing_ps: float,
        neighbours: Neighbours,
        generator: torch.Generator,
    ) -> Int[Tensor, "batch frame"]:
        """A frame of the library for every latent, one after another in time.

        Args:
            latents: latent trajectories.
            before: frame of the library that stands before the first; None for none.
            frame_spacing_ps: time between two frames.
            neighbours: latents of the library.
            generator: source of the draws.
        """
        size = max(1, BLOCK_VALUES // (len(latents) * self.n_neighbours * max(self.modes.shape[1], self.n_neighbours)))
        own, pull = self._kernel(frame_spacing_ps)
        found = []
        for part in latents.split(size, 1):
            numbers, weights = neighbours.candidates(part.flatten(0, 1), self.n_neighbours)
            # The largest of logarithms with noise of Gumbel's distribution is a draw with these weights.
            uniform = torch.rand(weights.shape, generator=generator, device=weights.device)
            independent = weights.log() - (-uniform.clamp(1e-30, 1 - 1e-7).log()).log()
            modes = self.modes[numbers]
            likeness = modes.square() @ own
            kernel = modes @ (pull * modes).mT + likeness[:, None] + likeness[:, :, None]
            remembered = independent + likeness + _balance(kernel, weights)
            tables = (table.unflatten(0, part.shape[:2]) for table in (numbers, modes, independent, remembered))
            for number, mode, alone, after in zip(*(table.unbind(1) for table in tables), strict=True):
                score = alone
                if before is not None:
                    score = after + (mode @ (pull * self.modes[before])[..., None])[..., 0]
                    # a frame that follows itself would stand still; without it the draw is as reversible
                    score = score.masked_fill(number == before[:, None], -torch.inf)
                before = number.gather(1, score.argmax(1, keepdim=True))[:, 0]
                found.append(before)
        return torch.stack(found, 1)

    def _kernel(self, frame_spacing_ps: float) -> tuple[Float[Tensor, "mode"], Float[Tensor, "mode"]]:
        """Factors of h_j^2 (and h_i^2) and of h_i h_j in the logarithm of the product of s."""
        correlation = self.correlations.pow(frame_spacing_ps / self.lag_ps).clamp(max=LARGEST_CORRELATION)
        free = 1 - correlation.square()
        return -correlation.square() / (2 * free), correlation / free


def order_of(frames: FrameBatch) -> tuple[Int[Tensor, "frame"], float]:
    """Trajectory of each frame, and the time between frames in ps.

    Raises:
        MdgenError: if the order or the spacing of the frames is not known.
    """
    spacing = frames.context.frame_spacing_ps
    if frames.trajectories is None or spacing is None:
        raise MdgenError(
            "a decoder that remembers learns from frames in the order of time; give trajectories, or coherent_modes=0"
        )
    return frames.trajectories, float(spacing[0])


def _balance(
    kernel: Float[Tensor, "batch neighbour neighbour"], weights: Float[Tensor, "batch neighbour"]
) -> Float[Tensor, "batch neighbour"]:
    """Logarithms of a: with them the weighted mean of the kernel over all others is one for every neighbour."""
    itself = torch.eye(kernel.shape[-1], dtype=torch.bool, device=kernel.device)
    share = (weights / weights.sum(-1, keepdim=True)).log()
    kernel = (kernel + share[:, None]).masked_fill(itself, -torch.inf)
    balance = torch.zeros_like(weights)
    for _ in range(BALANCING_ROUNDS):
        # half a step of Sinkhorn's, which keeps the kernel symmetric
        balance = (balance - (kernel + balance[:, None]).logsumexp(2)) / 2
    return balance


class _Ranks:
    """Normal scores of coordinates among the frames near in the latent.

    Wells of a coordinate belong to some latents and not to others. Ranked among all frames, a coordinate that is
    remembered while the latent moves on would bring a well along to where it is rare. Ranked among those nearby it has
    the same distribution at every latent.
    """

    def __init__(self, latents: Float[Tensor, "frame channel"]) -> None:
        every = Neighbours(*latents.shape)
        every.latents = latents
        count = min(RANKED, len(latents))
        found = [every.nearest(block, count)[1].int() for block in latents.split(RANKED_BLOCK)]
        self.near = torch.cat(found)

    def scores(self, values: Float[Tensor, "frame mode"]) -> Float[Tensor, "frame mode"]:
        """Every channel through its ranks to a normal distribution of mean zero and variance one."""
        shares = []
        for rows in torch.arange(len(values), device=values.device).split(RANKED_BLOCK):
            mine, theirs = values[rows, None], values[self.near[rows].long()]
            below = (theirs < mine).double().mean(1) + (theirs <= mine).double().mean(1)
            shares.append(below / 2)
        least = 0.5 / self.near.shape[1]
        return math.sqrt(2) * torch.erfinv(2 * torch.cat(shares).clamp(least, 1 - least) - 1)


def _left_modes(
    features: Float[Tensor, "frame feature"], latents: Float[Tensor, "frame channel"], pairs: PairBatch, n_modes: int
) -> Float[Tensor, "frame mode"]:
    """The slowest linear combinations of what a linear regression on the latents leaves of the features."""
    design = torch.cat([latents, torch.ones_like(latents[:, :1])], 1)
    left = features - design @ torch.linalg.lstsq(design, features).solution
    varies = left.std(0) > 1e-3 * features.std(0).clamp(min=1e-12)
    if not varies.any():
        return left[:, :0]
    left = left[:, varies] / left[:, varies].std(0)
    mean, projection, _ = slow_modes(left, pairs, min(n_modes, left.shape[1]), RELATIVE_JITTER)
    return (left - mean) @ projection


def _smoothed(
    values: Float[Tensor, "frame mode"], ranks: _Ranks, trajectories: Int[Tensor, "frame"], lag: int
) -> tuple[Float[Tensor, "frame mode"], Float[Tensor, "mode"], Float[Tensor, "mode"]]:
    """Averages of coordinates over time, as normal scores, r of each over the lag, and the coordinates' correlations.

    A coordinate that jumps between wells also moves within them, which forgets sooner, so that its autocorrelation
    falls by more in the first lag than in the next. An average over time keeps the wells: if it has the correlation c
    with the coordinate itself and r from lag to lag, then the coordinate's autocorrelations are c^2 r, c^2 r^2 and so
    on. Of averages over several times each coordinate takes the one by which these come nearest to those of the data.
    """
    scores = ranks.scores(values)
    lags = [count for count in LAGS if len(_starts(trajectories, count * lag))]
    wanted = torch.stack([_correlation(scores, scores, trajectories, count * lag) for count in lags])
    powers = torch.tensor(lags, dtype=scores.dtype, device=scores.device)[:, None]
    best, found, least = scores, wanted[0], torch.full_like(wanted[0], torch.inf)
    for span in SPANS:
        averaged = ranks.scores(_moving_average(scores, trajectories, round(span * lag)))
        shared = _correlation(averaged, scores, trajectories, 0).square()
        correlation = (wanted[0] / shared.clamp(min=1e-6)).clamp(-0.999, 0.999)
        error = (shared * correlation.sign() * correlation.abs().pow(powers) - wanted).square().sum(0)
        better = (error < least) & (shared > LEAST_SHARED)
        best, found = torch.where(better, averaged, best), torch.where(better, correlation, found)
        least = torch.where(better, error, least)
    return best, found, wanted[0]


def _starts(trajectories: Int[Tensor, "frame"], lag: int) -> Int[Tensor, "pair"]:
    """The first frame of every pair that lies so far apart in one trajectory."""
    return (trajectories[lag:] == trajectories[: len(trajectories) - lag]).nonzero()[:, 0]


def _correlation(
    first: Float[Tensor, "frame mode"],
    second: Float[Tensor, "frame mode"],
    trajectories: Int[Tensor, "frame"],
    lag: int,
) -> Float[Tensor, "mode"]:
    """Correlation of normal scores so far apart in time."""
    now = _starts(trajectories, lag)
    return (first[now] * second[now + lag]).mean(0) / (first.square().mean(0) * second.square().mean(0)).sqrt()


def _moving_average(
    values: Float[Tensor, "frame mode"], trajectories: Int[Tensor, "frame"], reach: int
) -> Float[Tensor, "frame mode"]:
    """Means over up to `reach` frames before and after, of the same trajectory."""
    total = torch.cat([torch.zeros_like(values[:1]), values.cumsum(0)])
    places = torch.arange(len(values), device=values.device)
    ends = torch.unique_consecutive(trajectories, return_counts=True)[1].cumsum(0)
    number = torch.searchsorted(ends, places, right=True)
    begins = torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])
    first, last = torch.maximum(places - reach, begins[number]), torch.minimum(places + reach + 1, ends[number])
    return (total[last] - total[first]) / (last - first)[:, None]
