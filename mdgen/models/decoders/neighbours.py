"""Training frames near in the latent, drawn so that on average they lie where they are asked for."""

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor, nn

SUPPORT_QUANTILE = 0.999
"""A latent is outside of the support if it is farther from the library than this share of the library from the rest."""

BLOCK = 2048
"""Latents whose neighbours are sought at a time."""

NEWTON_STEPS = 6
LARGEST_TILT = 4.0
"""Largest exponent of a tilted weight: outside of the data no weights have the asked-for mean."""


class Neighbours(nn.Module):
    """Latents of a library of frames and the search for the nearest of them.

    Args:
        n_frames: frames of the library.
        n_channels: numbers of a latent.
    """

    latents: Tensor

    def __init__(self, n_frames: int, n_channels: int) -> None:
        super().__init__()
        self.register_buffer("latents", torch.zeros(n_frames, n_channels))
        # with the state of `latents` that they were made of
        self._tree: tuple[tuple[int, int], cKDTree] | None = None
        self._farthest: tuple[tuple[int, int], Tensor] | None = None

    def nearest(
        self, latents: Float[Tensor, "batch channel"], count: int
    ) -> tuple[Float[Tensor, "batch neighbour"], Int[Tensor, "batch neighbour"]]:
        """Distances and numbers of the nearest frames of the library, nearest first."""
        if self.latents.device.type != "cpu":
            found = torch.cdist(latents, self.latents).topk(count, largest=False)
            return found.values, found.indices
        # on a processor a tree is several times as fast as all distances
        if self._tree is None or self._tree[0] != self._state:
            self._tree = self._state, cKDTree(self.latents.numpy())
        distances, numbers = self._tree[1].query(
            latents.numpy(), k=list(range(1, count + 1)), workers=torch.get_num_threads()
        )
        return torch.from_numpy(distances).to(latents), torch.from_numpy(numbers)

    def outside(self, latents: Float[Tensor, "batch channel"]) -> Bool[Tensor, "batch"]:
        """Which latents are farther from the library than nearly all of its own frames are from one another."""
        if self._farthest is None or self._farthest[0] != self._state:
            own = torch.cat(
                [self.nearest(block, min(2, len(self.latents)))[0][:, -1] for block in self.latents.split(BLOCK)]
            )
            self._farthest = self._state, own.quantile(SUPPORT_QUANTILE)
        return self.nearest(latents, 1)[0][:, 0] > self._farthest[1]

    @property
    def _state(self) -> tuple[int, int]:
        return self.latents.data_ptr(), self.latents._version

    def candidates(
        self, latents: Float[Tensor, "batch channel"], count: int
    ) -> tuple[Int[Tensor, "batch neighbour"], Float[Tensor, "batch neighbour"]]:
        """Numbers of the `count` nearest frames of each latent, and their `tilted_weights`."""
        distances, numbers = self.nearest(latents, count)
        if count == 1:
            return numbers, torch.ones_like(distances)
        return numbers, tilted_weights(self.latents[numbers] - latents[:, None], distances)

    def draw(
        self, latents: Float[Tensor, "batch channel"], count: int, generator: torch.Generator
    ) -> Int[Tensor, "batch"]:
        """One of the `count` nearest frames of each latent, with the weights of `tilted_weights`."""
        if len(latents) > BLOCK:
            return torch.cat([self.draw(block, count, generator) for block in latents.split(BLOCK)])
        numbers, weights = self.candidates(latents, count)
        if count == 1:
            return numbers[:, 0]
        point = torch.rand(len(weights), 1, generator=generator, device=latents.device)
        place = torch.searchsorted(weights.cumsum(-1), point * weights.sum(-1, keepdim=True))
        return numbers.gather(1, place.clamp(max=count - 1))[:, 0]


def tilted_weights(
    offsets: Float[Tensor, "batch neighbour channel"], distances: Float[Tensor, "batch neighbour"]
) -> Float[Tensor, "batch neighbour"]:
    """Weights of neighbours whose weighted mean is the point that they are neighbours of, as far as they surround it.

    The nearest frames of a point lie mostly on the side where the data are denser. A kernel `K = 1 - (d / d_last)^2`
    tilted by `exp(a . offset)` with the one vector `a` for which the mean offset vanishes takes this bias away: of all
    such weights they are the nearest to the kernel in relative entropy.

    Args:
        offsets: latents of the neighbours minus that of the point.
        distances: their lengths, rising.
    """
    last = distances[:, -1:, None].clamp(min=1e-12)
    scaled = offsets / last
    kernel = (1 - (distances / last[..., 0]).square()).clamp(min=1e-3)
    tilt = torch.zeros_like(scaled[:, 0])
    identity = 1e-3 * torch.eye(scaled.shape[-1], device=scaled.device)

    def weights() -> Tensor:
        return kernel * torch.einsum("bnc,bc->bn", scaled, tilt).clamp(-LARGEST_TILT, LARGEST_TILT).exp()

    for _ in range(NEWTON_STEPS):  # of the convex function log sum K exp(a . offset)
        share = weights()
        share = share / share.sum(-1, keepdim=True)
        mean = torch.einsum("bn,bnc->bc", share, scaled)
        covariance = torch.einsum("bn,bnc,bnd->bcd", share, scaled, scaled) - mean[:, :, None] * mean[:, None]
        step = torch.linalg.solve(covariance + identity, mean)
        tilt = tilt - step.clamp(-1, 1)
        tilt = tilt.clamp(-LARGEST_TILT, LARGEST_TILT)
    return weights()
