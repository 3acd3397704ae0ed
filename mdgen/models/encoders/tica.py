"""Time-lagged independent component analysis: the closed-form encoder, linear in the features.

Source: Perez-Hernandez et al., J. Chem. Phys. 139, 015102 (2013).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch
from mdgen.models.blocks.spectrum import implied_timescales, slow_modes
from mdgen.models.fingerprint import fingerprint
from mdgen.registry import register


@register
class TICA(nn.Module):
    """The slowest linear combinations of features, of zero mean and unit variance.

    Args:
        features: a module from positions to features with an attribute `n_features`, or a number of features.
        lag_ps: time between the two frames of a pair.
        n_modes: how many modes.
        relative_jitter: added to the diagonal of the covariance, relative to its mean.
    """

    mean: Tensor
    projection: Tensor
    mode_eigenvalues: Tensor

    def __init__(
        self, features: nn.Module | int, lag_ps: float, n_modes: int = 3, relative_jitter: float = 1e-8
    ) -> None:
        super().__init__()
        if lag_ps <= 0:
            raise MdgenError(f"the encoder's lag_ps is {lag_ps:g}; it must be above 0")
        if isinstance(n_modes, bool) or n_modes != int(n_modes) or n_modes < 1:
            raise MdgenError(f"the encoder's n_modes is {n_modes}; it must be a whole number from 1")
        n_modes = int(n_modes)
        n_features = features if isinstance(features, int) else int(features.n_features)  # type: ignore[arg-type]
        if n_modes > n_features:
            raise MdgenError(f"{n_modes} modes were asked of {n_features} features; ask for at most as many modes")
        self.arguments = {
            "features": features,
            "lag_ps": float(lag_ps),
            "n_modes": n_modes,
            "relative_jitter": float(relative_jitter),
        }
        self.lag_ps, self.n_modes, self.relative_jitter = float(lag_ps), n_modes, relative_jitter
        self.features = nn.Identity() if isinstance(features, int) else features
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("projection", torch.zeros(n_features, n_modes))
        self.register_buffer("mode_eigenvalues", torch.full((n_modes,), float("nan"), dtype=torch.float64))

    @property
    def latent(self) -> LatentSpace:
        """What the modes are; `origin` names these very weights."""
        molecule = getattr(self.features, "molecule", None)
        return LatentSpace("slow_modes", 1, self.n_modes, fingerprint(self), molecule.fingerprint if molecule else "")

    @property
    def eigenvalues(self) -> Float[Tensor, "channel"]:
        """Autocorrelation of each mode at the lag; NaN before `fit_spectrum`."""
        return self.mode_eigenvalues

    @property
    def timescales_ps(self) -> Float[Tensor, "channel"]:
        """Implied timescales `-lag / ln(lambda)`; NaN where `lambda` is not between 0 and 1."""
        return implied_timescales(self.mode_eigenvalues, self.lag_ps)

    @torch.no_grad()
    def fit_spectrum(self, batch: PairBatch) -> None:
        """Solve for the modes over all feature pairs."""
        # Standardised first, so that the jitter weighs lengths and angles alike.
        mean, scale = batch.frames.double().mean(0), batch.frames.double().std(0)
        scale = torch.where(scale > 1e-6 * (mean.abs() + 1e-6), scale, torch.ones_like(scale))
        centre, projection, eigenvalues = slow_modes(
            (batch.frames - mean) / scale, batch, self.n_modes, self.relative_jitter
        )
        self.mean.copy_(mean + scale * centre)
        self.projection.copy_(projection / scale[:, None])
        self.mode_eigenvalues.copy_(eigenvalues)

    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The modes of features that were computed before."""
        return (features - self.mean) @ self.projection

    def encode(self, positions: Float[Tensor, "*batch atom 3"], context: Context) -> Float[Tensor, "*batch 1 channel"]:
        """The modes of each frame, as one token; differentiable."""
        return self.encode_features(self.features(positions)).unsqueeze(-2)
