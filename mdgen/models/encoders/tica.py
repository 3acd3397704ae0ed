"""Time-lagged independent component analysis: the closed-form encoder, linear in the features.

Source: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.blocks.spectrum import slow_modes
from mdgen.models.encoders.slow_modes import Lag, SlowModes
from mdgen.registry import register

RELATIVE_JITTER = 1e-8
"""Number added to the diagonal of the covariance, relative to its mean."""


@register
class TICA(SlowModes):
    """The slowest linear combinations of features, of zero mean and unit variance.

    Args:
        features: as for `SlowModes`.
        lag_ps: time between the two frames of a pair, or `auto`.
        n_modes: number of modes.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, features: nn.Module | int, lag_ps: Lag, n_modes: int = 3) -> None:
        super().__init__(features, lag_ps, n_modes)
        if n_modes > self.n_features:
            raise MdgenError(f"{n_modes} modes were asked of {self.n_features} features; ask for at most as many modes")
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("projection", torch.zeros(self.n_features, self.n_modes))

    @torch.no_grad()
    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Solve for the modes over all feature pairs."""
        batch: PairBatch = data.every
        # Standardised first, so that the jitter weighs lengths and angles alike.
        mean, scale = batch.frames.double().mean(0), batch.frames.double().std(0)
        scale = torch.where(scale > 1e-6 * (mean.abs() + 1e-6), scale, torch.ones_like(scale))
        standard = (batch.frames - mean) / scale
        centre, projection, eigenvalues = slow_modes(standard, batch, self.n_modes, RELATIVE_JITTER)
        self.mean.copy_(mean + scale * centre)
        self.projection.copy_(projection / scale[:, None])
        self.eigenvalues.copy_(eigenvalues)

    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The modes of features that were computed before."""
        return (features - self.mean) @ self.projection
