"""What encoders into slow collective variables have in common: features, a lag, a spectrum."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.blocks.spectrum import implied_timescales
from mdgen.models.fingerprint import fingerprint
from mdgen.models.part import Part
from mdgen.models.structures import Structures, positions_of

EMPTY = Context()


class SlowModes(Part):
    """Base of encoders whose channels are slow modes, slowest first, of zero mean and unit variance.

    Args:
        features: module from positions `(..., atom, 3)` to features `(..., feature)` with an attribute `n_features`,
            or a plain number of features, which are then given to `encode_features` instead of positions to `encode`.
        lag_ps: time between the two frames of a pair.
        n_modes: number of slow modes.
    """

    learns_from = "lagged_frames"
    eigenvalues: Tensor
    """Autocorrelation of each mode at the lag; NaN before the training."""

    def __init__(self, features: nn.Module | int, lag_ps: float, n_modes: int | float) -> None:
        super().__init__()
        if lag_ps <= 0:
            raise MdgenError(f"the encoder's lag_ps is {lag_ps:g}; it must be above 0")
        if isinstance(n_modes, bool) or n_modes != int(n_modes) or n_modes < 1:
            raise MdgenError(f"the encoder's n_modes is {n_modes}; it must be a whole number from 1")
        self.lag_ps, self.n_modes = float(lag_ps), int(n_modes)
        self.n_features = features if isinstance(features, int) else int(features.n_features)  # type: ignore[arg-type]
        self.features = nn.Identity() if isinstance(features, int) else features
        self.register_buffer("eigenvalues", torch.full((self.n_modes,), float("nan"), dtype=torch.float64))

    @property
    def latent(self) -> LatentSpace:
        """What the slow modes are; `origin` names these very weights."""
        molecule = getattr(self.features, "molecule", None)
        return LatentSpace("slow_modes", 1, self.n_modes, fingerprint(self), molecule.fingerprint if molecule else "")

    @property
    def timescales_ps(self) -> Float[Tensor, "channel"]:
        """Implied timescales `-lag / ln(lambda)`; NaN where `lambda` is not between 0 and 1."""
        return implied_timescales(self.eigenvalues, self.lag_ps)

    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The slow modes of features that were computed before."""
        raise NotImplementedError

    def encode(self, positions: Structures, context: Context = EMPTY) -> Float[Tensor, "*batch 1 channel"]:
        """The slow modes of each frame, as one token; differentiable.

        Args:
            positions: tensor or numpy array (..., atom, 3) in nm, or an mdtraj trajectory: then one row a frame.
            context: not read.

        Raises:
            MdgenError: if a trajectory is of another molecule.
        """
        structures = positions_of(positions, getattr(self.features, "molecule", None))
        return self.encode_features(self.features(structures)).unsqueeze(-2)
