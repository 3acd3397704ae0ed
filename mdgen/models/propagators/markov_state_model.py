"""Markov state model: the exact baseline beside a learned propagator, sampled with the same call.

Source: Prinz et al., J. Chem. Phys. 134, 174105 (2011).
"""

import math
import warnings

import torch
from deeptime.clustering import KMeans
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.part import Part
from mdgen.models.propagators.bridge import sample_between
from mdgen.registry import register

Latents = Float[Tensor, "batch token channel"]


@register
class MarkovStateModel(Part):
    """Cells of the latent with a transition matrix counted over pairs; a visit shows a frame of the data.

    Args:
        latent: latent space of the encoder.
        lag_ps: time between two frames.
        n_states: number of cells (k-means).
        reversible: whether every pair is counted in both directions.
        n_members: frames of the data kept for each cell.
        n_starts: how many frames of the data are kept to start trajectories from.
    """

    learns_from = "lagged_latents"
    window = 1
    centres: Tensor
    transition_matrix: Tensor
    members: Tensor
    starts: Tensor

    def __init__(
        self,
        latent: LatentSpace,
        lag_ps: float,
        n_states: int = 100,
        reversible: bool = True,
        n_members: int = 100,
        n_starts: int = 512,
    ) -> None:
        super().__init__()
        if n_states < 2 or n_members < 1:
            raise MdgenError(f"n_states is {n_states} and n_members {n_members}; at least 2 and 1 are needed")
        self.latent, self.lag_ps, self.frame_spacing_ps = latent, float(lag_ps), (float(lag_ps), float(lag_ps))
        self.n_states, self.reversible = n_states, reversible
        values = latent.tokens * latent.channels
        self.register_buffer("centres", torch.zeros(n_states, values))
        self.register_buffer("transition_matrix", torch.eye(n_states, dtype=torch.float64))
        self.register_buffer("members", torch.zeros(n_states, n_members, values))
        self.register_buffer("starts", torch.zeros(n_starts, latent.tokens, latent.channels))

    @torch.no_grad()
    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Place the cells by k-means and count the transitions over all the data.

        Raises:
            MdgenError: if there are fewer frames than states, or a cell that no pair leaves.
        """
        batch: PairBatch = data.every
        frames = batch.frames
        if len(frames) < self.n_states:
            raise MdgenError(f"{self.n_states} states were asked of {len(frames)} frames; ask for fewer states")
        picked = frames[torch.randint(len(frames), (min(len(frames), 50_000),), generator=generator)]
        seed = int(torch.randint(1, 2**31, (1,), generator=generator))
        with warnings.catch_warnings(action="ignore"):  # twenty iterations are enough, converged or not
            clusters = KMeans(self.n_states, max_iter=20, fixed_seed=seed, n_jobs=1).fit_fetch(picked.numpy())
        self.centres.copy_(torch.from_numpy(clusters.cluster_centers))
        states = self.states(frames)
        share = batch.share(torch.float64)
        cells = states[batch.now] * self.n_states + states[batch.later]
        counts = torch.zeros(self.n_states**2, dtype=torch.float64).index_add(0, cells, share)
        counts = counts.view(self.n_states, self.n_states)
        if self.reversible:
            counts = counts + counts.T
        leaving = counts.sum(1)
        if bool((leaving <= 0).any()):
            raise MdgenError(
                f"no pair leaves state {int(leaving.argmin())} of {self.n_states}; give fewer states or a shorter lag"
            )
        self.transition_matrix.copy_(counts / leaving[:, None])
        self._keep_members(frames, states, generator)

    def _keep_members(self, frames: Tensor, states: Tensor, generator: torch.Generator) -> None:
        shuffled = torch.randperm(len(frames), generator=generator)
        order = shuffled[torch.argsort(states[shuffled], stable=True)]
        sizes = torch.bincount(states, minlength=self.n_states)
        first = sizes.cumsum(0) - sizes
        # A cell with fewer frames than places shows each of them several times, equally often to within one.
        place = torch.arange(self.members.shape[1]) % sizes[:, None].clamp(min=1)
        self.members.copy_(frames[order[first[:, None] + place]])
        chosen = torch.randint(len(frames), (len(self.starts),), generator=generator)
        self.starts.copy_(frames[chosen].view_as(self.starts))

    def states(self, values: Float[Tensor, "frame value"]) -> Int[Tensor, "frame"]:
        """The cell of each frame: that of the nearest centre."""
        return torch.cat([torch.cdist(part, self.centres).argmin(1) for part in values.split(100_000)])

    @torch.no_grad()
    def sample(
        self, condition: Condition, context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        """Latent trajectories from the known first frame, through whatever later ones are known."""
        return sample_between(self, condition, context, generator, self._forward)

    def _forward(
        self, start: Latents, n_frames: int, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        frames, states = [start], self.states(start.flatten(1))
        for _ in range(n_frames - 1):
            states, frame = self._next(states, generator)
            frames.append(frame)
        return torch.stack(frames, 1)

    @torch.no_grad()
    def step(self, now: Latents, generator: torch.Generator) -> Latents:
        """One lag on: a frame of the data from the cell that is jumped to."""
        return self._next(self.states(now.flatten(1)), generator)[1]

    def _next(self, states: Int[Tensor, "batch"], generator: torch.Generator) -> tuple[Int[Tensor, "batch"], Latents]:
        cumulative = self.transition_matrix[states].cumsum(1)
        point = torch.rand(len(states), 1, generator=generator, device=generator.device, dtype=torch.float64)
        states = (point > cumulative[:, :-1]).sum(1)
        which = torch.randint(self.members.shape[1], states.shape, generator=generator, device=generator.device)
        return states, self.members[states, which].unflatten(1, (self.latent.tokens, self.latent.channels))

    def log_prob(self, next: Latents, now: Latents) -> Float[Tensor, "batch"]:
        """Log of the chance to jump to the cell of `next`, spread evenly over the frames that the cell shows.

        It is a probability of frames, not a density over the latent: this model makes no frame but those of the data.
        """
        states, following = self.states(now.flatten(1)), self.states(next.flatten(1))
        return self.transition_matrix[states, following].log() - math.log(self.members.shape[1])

    def log_prob_table(
        self, next: Float[Tensor, "later token channel"], now: Float[Tensor, "now token channel"]
    ) -> Float[Tensor, "now later"]:
        """`log_prob` of every frame of `next` given every one of `now`."""
        following = self.states(next.flatten(1))
        return self.transition_matrix[self.states(now.flatten(1))][:, following].log() - math.log(self.members.shape[1])
