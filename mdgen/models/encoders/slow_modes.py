"""What encoders into slow collective variables have in common: features, a lag, a spectrum."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.blocks.spectrum import implied_timescales
from mdgen.models.encoders.lag_scan import LagScan, scan_lags
from mdgen.models.fingerprint import fingerprint
from mdgen.models.part import Part
from mdgen.models.structures import Structures, positions_of

EMPTY = Context()
Lag = float | Literal["auto"]


class SlowModes(Part, ABC):
    """Base of encoders whose channels are slow modes, slowest first, of zero mean and unit variance.

    Args:
        features: module from positions `(..., atom, 3)` to features `(..., feature)` with an attribute `n_features`,
            or a plain number of features, which are then given to `encode_features` instead of positions to `encode`.
        lag_ps: time between the two frames of a pair; `auto` for the one that a scan of the data recommends.
        n_modes: number of slow modes.
    """

    learns_from = "lagged_frames"
    eigenvalues: Tensor
    """Autocorrelation of each mode at the lag; NaN before the training."""

    lag_scan: LagScan | None
    """What `lag_ps=auto` was chosen by; None for a lag that was given."""

    def __init__(self, features: nn.Module | int, lag_ps: Lag, n_modes: int | float) -> None:
        super().__init__()
        if lag_ps != "auto" if isinstance(lag_ps, str) else not lag_ps > 0:
            raise MdgenError(f"the encoder's lag_ps is {lag_ps}; it must be above 0, or auto")
        if isinstance(n_modes, bool) or n_modes != int(n_modes) or n_modes < 1:
            raise MdgenError(f"the encoder's n_modes is {n_modes}; it must be a whole number from 1")
        self.lag_ps: float = math.nan if isinstance(lag_ps, str) else float(lag_ps)
        self.n_modes, self.lag_scan = int(n_modes), None
        self.n_features = features if isinstance(features, int) else int(features.n_features)  # type: ignore[arg-type]
        self.features = nn.Identity() if isinstance(features, int) else features
        self.register_buffer("eigenvalues", torch.full((self.n_modes,), float("nan"), dtype=torch.float64))

    def choose_lag(
        self, tables: Sequence[Float[Tensor, "_frame _feature"]], frame_spacing_ps: float, generator: torch.Generator
    ) -> None:
        """Set a lag that was left open (`auto`) to the one that a scan of the features recommends.

        Args:
            tables: features of every frame, one table a trajectory.
            frame_spacing_ps: time between two frames.
            generator: random stream of the bootstrap.

        Raises:
            MdgenError: if the trajectories are too short for a scan.
        """
        if math.isnan(self.lag_ps):
            self.lag_scan = scan_lags(tables, frame_spacing_ps, generator)
            self.lag_ps = self.lag_scan.lag_ps
            self.arguments["lag_ps"] = self.lag_ps  # a file makes the encoder again with the lag that was chosen

    @property
    def latent(self) -> LatentSpace:
        """What the slow modes are; `origin` names these very weights."""
        molecule = getattr(self.features, "molecule", None)
        return LatentSpace("slow_modes", 1, self.n_modes, fingerprint(self), molecule.fingerprint if molecule else "")

    @property
    def timescales_ps(self) -> Float[Tensor, "channel"]:
        """Implied timescales `-lag / ln(lambda)`; NaN where `lambda` is not between 0 and 1."""
        return implied_timescales(self.eigenvalues, self.lag_ps)

    @abstractmethod
    def encode_features(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch channel"]:
        """The slow modes of features that were computed before."""

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
