"""State-free reversible VAMPnet: a network whose outputs span the slowest modes of reversible dynamics.

Source: Chen, Sidky, Ferguson, J. Chem. Phys. 150, 214114 (2019); Sidky, Chen, Ferguson, Chem. Sci. 11, 9459 (2020).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace, Loss
from mdgen.models.batches import PairBatch
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.blocks.spectrum import implied_timescales, reversible_covariances, slow_modes, whitened
from mdgen.models.fingerprint import fingerprint
from mdgen.registry import register


@register
class SRV(nn.Module):
    """Encoder into slow collective variables `psi`, slowest first, of zero mean and unit variance.

    The network is trained by `loss` on lagged pairs of features; `fit_spectrum` then fixes order, scale and sign.

    Args:
        features: a module from positions `(..., atom, 3)` to features `(..., feature)` with an attribute `n_features`,
            or a plain number of features, which are then given to `encode_features` instead of positions to `encode`.
        lag_ps: time between the two frames of a pair.
        n_modes: how many slow modes.
        hidden: widths of the hidden layers (tanh).
        batch_norm: whether the hidden layers are normalised over the batch.
        relative_jitter: added to the diagonal of the covariance, relative to its mean.
        extra_outputs: outputs beyond `n_modes` that are trained along and then left out. With as many outputs as modes
            the descent settles easily where one of them is noise, and a slow mode of a rare state is missed.
    """

    feature_mean: Tensor
    feature_scale: Tensor
    output_mean: Tensor
    projection: Tensor
    mode_eigenvalues: Tensor

    def __init__(
        self,
        features: nn.Module | int,
        lag_ps: float,
        n_modes: int = 3,
        hidden: Sequence[int] = (100, 100),
        batch_norm: bool = False,
        relative_jitter: float = 1e-6,
        extra_outputs: int = 0,
    ) -> None:
        super().__init__()
        if lag_ps <= 0:
            raise MdgenError(f"the encoder's lag_ps is {lag_ps:g}; it must be above 0")
        if isinstance(n_modes, bool) or n_modes != int(n_modes) or n_modes < 1:
            raise MdgenError(f"the encoder's n_modes is {n_modes}; it must be a whole number from 1")
        n_modes = int(n_modes)
        n_features = features if isinstance(features, int) else int(features.n_features)  # type: ignore[arg-type]
        self.arguments = {
            "features": features,
            "lag_ps": float(lag_ps),
            "n_modes": n_modes,
            "hidden": [int(width) for width in hidden],
            "batch_norm": bool(batch_norm),
            "relative_jitter": float(relative_jitter),
            "extra_outputs": int(extra_outputs),
        }
        n_outputs = n_modes + int(extra_outputs)
        self.lag_ps, self.n_modes, self.relative_jitter = float(lag_ps), n_modes, relative_jitter
        self.features = nn.Identity() if isinstance(features, int) else features
        self.network = perceptron(n_features, hidden, n_outputs, "tanh", batch_norm)
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))
        self.register_buffer("output_mean", torch.zeros(n_outputs))
        self.register_buffer("projection", torch.eye(n_outputs, n_modes))
        self.register_buffer("mode_eigenvalues", torch.full((n_modes,), float("nan"), dtype=torch.float64))

    @property
    def latent(self) -> LatentSpace:
        """What the slow modes are; `origin` names these very weights."""
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

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights anew."""
        initialise(self.network, generator)

    @torch.no_grad()
    def fit_standardisation(self, features: Float[Tensor, "frame feature"]) -> None:
        """Take mean and spread of the features from data; a feature that does not vary keeps its scale."""
        mean = features.double().mean(0)
        spread = (features.double() - mean).square().mean(0).sqrt()
        constant = spread <= 1e-6 * (mean.abs() + 1e-6)
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(torch.where(constant, torch.ones_like(spread), spread))

    def outputs(self, features: Float[Tensor, "frame feature"]) -> Float[Tensor, "frame channel"]:
        """What the network makes of features, before the modes are sorted out."""
        return self.network((features - self.feature_mean) / self.feature_scale)

    def loss(self, batch: PairBatch) -> Loss:
        """`-1 - sum lambda |lambda|` over a batch of feature pairs: least where the outputs span the slowest modes.

        The square alone, as published, rewards an anticorrelated output too; keeping the sign does not.
        """
        covariances = reversible_covariances(self.outputs(batch.frames), batch)
        _, symmetric = whitened(covariances, self.relative_jitter)
        eigenvalues = torch.linalg.eigvalsh((symmetric + symmetric.T) / 2)
        score = 1 + (eigenvalues * eigenvalues.abs()).sum()
        return Loss(-score, {"vamp2": score.detach(), "slowest_eigenvalue": eigenvalues[-1].detach()})

    @torch.no_grad()
    def fit_spectrum(self, batch: PairBatch, block: int = 100_000) -> None:
        """Fix order, unit variance and sign of the modes by one eigen-solve over all the data.

        Args:
            batch: every feature pair of the training data.
            block: frames that go through the network at a time.
        """
        self.eval()
        outputs = torch.cat([self.outputs(part) for part in batch.frames.split(block)])
        mean, projection, eigenvalues = slow_modes(outputs, batch, self.n_modes, self.relative_jitter)
        self.output_mean.copy_(mean)
        self.projection.copy_(projection)
        self.mode_eigenvalues.copy_(eigenvalues)

    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The slow modes of features that were computed before."""
        outputs = self.outputs(features.reshape(-1, features.shape[-1]))
        modes = (outputs - self.output_mean) @ self.projection
        return modes.reshape(*features.shape[:-1], self.n_modes)

    def encode(self, positions: Float[Tensor, "*batch atom 3"], context: Context) -> Float[Tensor, "*batch 1 channel"]:
        """The slow modes of each frame, as one token; differentiable."""
        return self.encode_features(self.features(positions)).unsqueeze(-2)
