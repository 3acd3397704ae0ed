"""The seams: what joins the rooms, on one page.

One currency joins every encoder, propagator and decoder: a latent trajectory `(batch, frame, token, channel)`.
Slow collective variables are one token with one channel a mode; SE(3) tokens are one token a residue.

Axis names, the same in every signature of the package:

=========== ====================================================================================
`replica`   independent copies of one molecule in the engine
`batch`     independent trajectories, or frames, in training and generation
`frame`     time, at a fixed spacing
`atom`      in the order of the topology; the axis `3` after it is x, y, z in nm
`token`     of a latent
`channel`   of a token
`feature`   one-way molecular features
=========== ====================================================================================
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.results import Estimate


@dataclass(frozen=True)
class LatentSpace:
    """What a latent is; two parts that are composed must name the same one.

    Args:
        kind: `slow_modes` or `se3_tokens`.
        tokens: tokens a frame.
        channels: channels a token.
        lag_ps: the time between two frames of the latent trajectory.
        origin: fingerprint of the encoder that defines the coordinates; empty where the kind alone defines them.
        molecule: fingerprint of the topology (`Molecule.fingerprint`); empty where any molecule will do.
    """

    kind: str
    tokens: int
    channels: int
    lag_ps: float
    origin: str = ""
    molecule: str = ""


@dataclass(frozen=True)
class Context:
    """What is fixed along a trajectory; a part reads what it needs and ignores the rest."""

    temperature_K: float | None = None
    residue_types: Tensor | None = None
    token_mask: Tensor | None = None
    key_frames: Tensor | None = None


@dataclass(frozen=True)
class Condition:
    """What is known of a latent trajectory: `values` where `known`.

    Forward simulation knows the first frame, interpolation both ends, upsampling every k-th frame, inpainting chosen
    tokens; the same object trains and generates.
    """

    values: Float[Tensor, "batch frame token channel"]
    known: Bool[Tensor, "batch frame token channel"]
    frame_spacing_ps: float


@runtime_checkable
class Potential(Protocol):
    """An energy of positions, vectorised over replicas. Potentials add; forces are minus its gradient."""

    def energy(
        self, positions: Float[Tensor, "replica atom 3"], cell: Float[Tensor, "replica 3"] | None = None
    ) -> Float[Tensor, "replica"]:
        """Potential energy in kJ/mol; `cell` holds the edges of an orthorhombic box in nm."""
        ...


@dataclass(frozen=True)
class State:
    """Positions (nm), velocities (nm/ps) and the number of steps done; a step returns a new one."""

    positions: Float[Tensor, "replica atom 3"]
    velocities: Float[Tensor, "replica atom 3"]
    step: int = 0
    cell: Float[Tensor, "replica 3"] | None = None


@runtime_checkable
class Integrator(Protocol):
    """Frozen physical settings; `step` advances every replica by one time step."""

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        ...

    def step(
        self, state: State, masses: Float[Tensor, "atom"], potential: Potential, generator: torch.Generator
    ) -> State:
        """One time step of every replica; `masses` in amu."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Positions to a latent, differentiable, carrying its own features and scale."""

    latent: LatentSpace

    def encode(self, positions: Float[Tensor, "*batch atom 3"]) -> Float[Tensor, "*batch token channel"]:
        """The latent of each frame."""
        ...


@runtime_checkable
class SpectralEncoder(Encoder, Protocol):
    """An encoder whose channels approximate eigenfunctions of the dynamics, slowest first."""

    @property
    def eigenvalues(self) -> Float[Tensor, "channel"]:
        """Autocorrelation of each mode at the lag."""
        ...

    @property
    def timescales_ps(self) -> Float[Tensor, "channel"]:
        """Implied timescales, `-lag / ln(eigenvalue)`."""
        ...


@runtime_checkable
class Propagator(Protocol):
    """Samples latent trajectories under a condition."""

    latent: LatentSpace

    def sample(
        self, condition: Condition, context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        """A latent trajectory that agrees with `condition` where it is known."""
        ...


@runtime_checkable
class MarkovPropagator(Propagator, Protocol):
    """A propagator whose next frame depends on this one alone."""

    def step(
        self, now: Float[Tensor, "batch token channel"], generator: torch.Generator
    ) -> Float[Tensor, "batch token channel"]:
        """One frame on."""
        ...

    def log_prob(
        self, next: Float[Tensor, "batch token channel"], now: Float[Tensor, "batch token channel"]
    ) -> Float[Tensor, "batch"]:
        """Log of the transition density."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A latent trajectory to atoms; generative, since many structures share one latent."""

    latent: LatentSpace

    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Positions in nm of every frame."""
        ...


class Metric(Protocol):
    """Judges a generated set of trajectories against a reference; never draws."""

    def __call__(self, reference: object, generated: object) -> Estimate:
        """The value with its interval."""
        ...


@dataclass(frozen=True)
class Loss:
    """A loss to descend and the terms it is made of, for the log."""

    total: Float[Tensor, ""]
    terms: dict[str, Tensor] = field(default_factory=dict)
