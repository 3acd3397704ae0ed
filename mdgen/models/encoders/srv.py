"""State-free reversible VAMPnet: a network whose outputs span the slowest modes of reversible dynamics.

Source: Chen, Sidky, Ferguson, J. Chem. Phys. 150, 214114 (2019); Sidky, Chen, Ferguson, Chem. Sci. 11, 9459 (2020).
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.interfaces import Loss
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.blocks.perceptron import initialise, perceptron
from mdgen.models.blocks.spectrum import slow_modes, whitened
from mdgen.models.encoders.slow_modes import Lag, SlowModes
from mdgen.registry import register

RELATIVE_JITTER = 1e-6
"""Number added to the diagonal of the covariance, relative to its mean."""


@register
class SRV(SlowModes):
    """Encoder into slow collective variables `psi`, slowest first, of zero mean and unit variance.

    The network is trained by `loss` on lagged pairs of features; `fit_spectrum` then fixes order, scale and sign.

    Args:
        features: as for `SlowModes`.
        lag_ps: time between the two frames of a pair, or `auto`.
        n_modes: number of slow modes.
        hidden: widths of the hidden layers (tanh).
        batch_norm: whether the hidden layers are normalised over the batch.
        extra_outputs: outputs beyond `n_modes` that are trained along and then left out. With as many outputs as modes
            the descent settles easily where one of them is noise, and a slow mode of a rare state is missed.
    """

    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": functools.partial(torch.optim.Adam, lr=5e-3),
        "max_epochs": 400,
        "patience": 10,
        "patience_steps": 400,  # a slow mode of a rare state is found after a plateau of two hundred
        "batch_size": 20_000,  # covariances of small batches are biased
        "validation_share": 0.2,
        "gradient_clip": 0.0,  # Adam's step does not depend on the norm, and the loss is bounded
    }
    feature_mean: Tensor
    feature_scale: Tensor
    output_mean: Tensor
    projection: Tensor

    def __init__(
        self,
        features: nn.Module | int,
        lag_ps: Lag,
        n_modes: int = 3,
        hidden: Sequence[int] = (100, 100),
        batch_norm: bool = False,
        extra_outputs: int = 2,
    ) -> None:
        super().__init__(features, lag_ps, n_modes)
        n_outputs = self.n_modes + int(extra_outputs)
        self.network = perceptron(self.n_features, hidden, n_outputs, "tanh", batch_norm)
        self.register_buffer("feature_mean", torch.zeros(self.n_features))
        self.register_buffer("feature_scale", torch.ones(self.n_features))
        self.register_buffer("output_mean", torch.zeros(n_outputs))
        self.register_buffer("projection", torch.eye(n_outputs, self.n_modes))

    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights and take the scale of the features from what is trained on."""
        self.initialise(generator)
        self.fit_standardisation(data.training.frames)
        return data

    def finish(self, data: TrainingData, generator: torch.Generator) -> None:
        """Fix the modes over all the data."""
        self.fit_spectrum(data.every)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
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

    def loss(self, batch: PairBatch, generator: torch.Generator | None = None) -> Loss:
        """`-1 - sum lambda |lambda|` over a batch of feature pairs: least where the outputs span the slowest modes.

        The square alone, as published, rewards an anticorrelated output too; keeping the sign does not.
        """
        _, _, symmetric = whitened(self.outputs(batch.frames), batch, RELATIVE_JITTER)
        eigenvalues = torch.linalg.eigvalsh(symmetric)
        score = 1 + (eigenvalues * eigenvalues.abs()).sum()
        return Loss(-score, {"vamp2": score.detach(), "slowest_eigenvalue": eigenvalues[-1].detach()})

    @torch.no_grad()
    def fit_spectrum(self, batch: PairBatch) -> None:
        """Fix order, unit variance and sign of the modes by one eigen-solve over every feature pair of the data."""
        self.eval()
        outputs = torch.cat([self.outputs(part) for part in batch.frames.split(100_000)])
        mean, projection, eigenvalues = slow_modes(outputs, batch, self.n_modes, RELATIVE_JITTER)
        self.output_mean.copy_(mean)
        self.projection.copy_(projection)
        self.eigenvalues.copy_(eigenvalues)

    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The slow modes of features that were computed before."""
        outputs = self.outputs(features.reshape(-1, features.shape[-1]))
        modes = (outputs - self.output_mean) @ self.projection
        return modes.reshape(*features.shape[:-1], self.n_modes)
