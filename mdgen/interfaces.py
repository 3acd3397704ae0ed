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

`System` and `Context` hold a `Molecule`, so this page lies above `molecule` and below `data`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mdgen.molecule.topology import Molecule
from mdgen.registry import register
from mdgen.results import Estimate


@register
@dataclass(frozen=True)
class LatentSpace:
    """What a latent is; two parts that are composed must name the same one.

    The time between two frames is no part of it: that belongs to a trajectory and to the propagator that makes it.

    Args:
        kind: `slow_modes`, `se3_tokens`, or a name of a plug-in's own.
        tokens: tokens a frame; 0 where the molecule decides, as with one token a residue.
        channels: channels a token.
        origin: fingerprint of the encoder that defines the coordinates; empty where the kind alone defines them.
        molecule: fingerprint of the topology (`Molecule.fingerprint`); empty where any molecule will do.
    """

    kind: str
    tokens: int
    channels: int
    origin: str = ""
    molecule: str = ""


@dataclass(frozen=True)
class Context:
    """What is fixed along each trajectory of a batch; a part reads what it needs and ignores the rest.

    The data fill it in training, the caller in generation. Tokens and atoms of a batch of different molecules are
    padded at the end, and the masks say which are real.

    Args:
        molecules: one for the whole batch, or one for each of its rows.
        temperature_K: temperature of each trajectory.
        frame_spacing_ps: time between two frames of each trajectory.
        residue_types: type of the residue behind each token, an index into `molecule.residues.RESIDUE_TYPES`.
        token_mask: whether a token is real rather than padding; None where all are.
        atom_mask: whether an atom is real rather than padding; None where all are.
        key_frames: structures that tokens are measured against, nm.
    """

    molecules: tuple[Molecule, ...] = ()
    temperature_K: Float[Tensor, "batch"] | None = None
    frame_spacing_ps: Float[Tensor, "batch"] | None = None
    residue_types: Int[Tensor, "batch token"] | None = None
    token_mask: Bool[Tensor, "batch token"] | None = None
    atom_mask: Bool[Tensor, "batch atom"] | None = None
    key_frames: Float[Tensor, "batch key atom 3"] | None = None

    def rows(self, chosen: Tensor) -> "Context":
        """The context of some rows of the batch, given as their indices."""
        picked = {name: value[chosen.to(value.device)] for name, value in self._tensors().items()}
        several = len(self.molecules) > 1
        molecules = tuple(self.molecules[row] for row in chosen.tolist()) if several else self.molecules
        return replace(self, molecules=molecules, **picked)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> "Context":
        """The same context on a device."""
        return replace(self, **{name: value.to(device) for name, value in self._tensors().items()})  # type: ignore[arg-type]

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Condition:
    """What is known of latent trajectories: `values` where `known`.

    Forward simulation knows the first frame, interpolation both ends, upsampling every k-th frame, inpainting chosen
    tokens; the same object trains and generates. The frame spacing stands in the `Context` beside it.
    """

    values: Float[Tensor, "batch frame token channel"]
    known: Bool[Tensor, "batch frame token channel"]


Positions = Float[Tensor, "replica atom 3"]
"""Positions of every replica in nm; forces, in kJ/mol/nm, have the same shape."""

Cells = Float[Tensor, "replica 3"]
"""Edges of each replica's orthorhombic box in nm."""

Energies = Float[Tensor, "replica"]
"""Energy of each replica in kJ/mol."""


@runtime_checkable
class Potential(Protocol):
    """An energy of positions, vectorised over replicas. Potentials add; forces are minus its gradient.

    A potential that changes while the engine runs (`AdaptivePotential`) keeps what changes out of the fingerprint.
    """

    @property
    def fingerprint(self) -> str:
        """What tells it from any other potential: part of a run's identity, so that no run continues with another."""
        ...

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
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
class AdaptivePotential(Potential, Protocol):
    """A potential that learns from the run that it biases; its state is part of the run's checkpoints."""

    def update(self, state: State) -> None:
        """Take in where the replicas are; the loop calls it once a stored frame, and never within a step."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that `update` has changed."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        """Continue from what `state_dict` gave."""
        ...


@runtime_checkable
class Constraints(Protocol):
    """Distances of a molecule that may not change, and how positions and velocities are made to meet them."""

    @property
    def atoms(self) -> Int[Tensor, "constraint 2"]:
        """The two atoms of each constraint."""
        ...

    @property
    def lengths(self) -> Float[Tensor, "constraint"]:
        """Distance of each constraint in nm."""
        ...

    def positions(self, reference: Positions, trial: Positions) -> Positions:
        """`trial` moved along the constraints' directions in `reference` until every distance is met."""
        ...

    def velocities(self, positions: Positions, velocities: Positions) -> Positions:
        """`velocities` without their parts along the constraints."""
        ...


@dataclass(frozen=True)
class System:
    """What is simulated; nothing in it presumes a force field or OpenMM.

    Args:
        molecule: topology; particles without chemistry have one too (`Molecule.particles`).
        masses: amu.
        potential: energy of positions; a force field, a network, an expression, or a sum of them.
        positions: start, nm, with its constraints met.
        constraints: distances that may not change; None for none.
        cell: edges of the periodic box in nm; None without one.
    """

    molecule: Molecule
    masses: Float[Tensor, "atom"]
    potential: Potential
    positions: Float[Tensor, "atom 3"]
    constraints: Constraints | None = None
    cell: Float[Tensor, "3"] | None = None


@runtime_checkable
class Integrator(Protocol):
    """Frozen physical settings; `step` advances every replica by one time step. Engines need no more than this."""

    @property
    def timestep_ps(self) -> float:
        """Length of a step."""
        ...

    @property
    def temperature_K(self) -> Float[Tensor, "replica"]:
        """Temperature of each replica, or one for all of them (length 1)."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What a run must keep to be the same run, as plain JSON.

        Trajectories are labelled with `temperature_K`, unless the settings name an `initial_temperature_K`: that is of
        the first velocities, and nothing holds it.
        """
        ...

    def at_temperature(self, temperature_K: Float[Tensor, "replica"]) -> Self:
        """The same integrator at other temperatures.

        Raises:
            MdgenError: if it holds no temperature.
        """
        ...

    def step(self, state: State, system: System, generator: torch.Generator) -> State:
        """One time step of every replica."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Positions to a latent, differentiable, carrying its own features and scale."""

    latent: LatentSpace

    def encode(
        self, positions: Float[Tensor, "*batch atom 3"], context: Context
    ) -> Float[Tensor, "*batch token channel"]:
        """The latent of each frame, whatever the other frames are.

        Args:
            positions: positions in nm: trajectories `(batch, frame, atom, 3)`, or single frames `(batch, atom, 3)`.
            context: row i belongs to `positions[i]`, that is to all frames of a trajectory; an empty one says nothing.
        """
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
class StateEncoder(Encoder, Protocol):
    """An encoder whose channels are soft memberships of states: not negative, and one in sum over the channels."""

    @property
    def n_states(self) -> int:
        """How many states."""
        ...


@runtime_checkable
class Propagator(Protocol):
    """Samples latent trajectories under a condition."""

    latent: LatentSpace

    @property
    def window(self) -> int:
        """Frames made at once.

        1 for a Markov propagator, which chains its own steps: its `sample` takes conditions of any length that know
        the first frame and, where it has a `log_prob`, later frames as wholes. For all others the most frames, known
        ones included, that `sample` takes; generation chains such windows, each beginning with the last frame of the
        one before.
        """
        ...

    @property
    def frame_spacing_ps(self) -> tuple[float, float]:
        """The least and the largest time between frames that it was trained for; equal where it knows one only."""
        ...

    def sample(
        self, condition: Condition, context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame token channel"]:
        """A latent trajectory that agrees with `condition` where it is known.

        Raises:
            MdgenError: for a condition that it cannot meet, saying which it can.
        """
        ...


@runtime_checkable
class RefiningPropagator(Propagator, Protocol):
    """A propagator of windows that may have been trained to make the frames between known ones.

    Where it was, generation makes coarse frames first and those between them next, at spacings of which each is half
    the last, anywhere within `frame_spacing_ps`; so the spacings of its training should lie as close throughout.
    """

    @property
    def upsamples(self) -> bool:
        """Whether it was."""
        ...


@dataclass(frozen=True)
class DesignedResidues:
    """Residues drawn beside known ones.

    Args:
        types: type of each residue, known ones included, an index into `molecule.residues.RESIDUE_TYPES`.
        scores: logarithm of how many times likelier the designed types are given the known motion than by their
            frequencies in the training data.
        frequencies: these frequencies of the amino acids at each place of the chain.
    """

    types: Int[Tensor, "batch token"]
    scores: Float[Tensor, "batch"]
    frequencies: Float[Tensor, "token amino_acid"]


@runtime_checkable
class DesigningPropagator(Propagator, Protocol):
    """A propagator that may have been trained to tell residues by how those beside them move."""

    def design(
        self,
        positions: Float[Tensor, "batch frame atom 3"],
        context: Context,
        designed: Bool[Tensor, "token"],
        generator: torch.Generator,
        by: str = "flow",
        tell_types: bool = False,
    ) -> DesignedResidues:
        """Types of the designed residues of each window.

        Args:
            positions: windows, nm; designed residues are left out of them.
            context: molecules and conditions; types of designed residues are left out of it.
            designed: which residues are designed.
            generator: random stream.
            by: method.
            tell_types: whether types of known residues are used beside their motion.

        Raises:
            MdgenError: if it was not trained to, or for windows or residues that it cannot take.
        """
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


@runtime_checkable
class RememberingDecoder(Decoder, Protocol):
    """A decoder whose frames may depend on the one before: what each is made from is chosen in the order of time, and
    frames are then decoded in any order.
    """

    @property
    def remembers(self) -> bool:
        """Whether they do."""
        ...

    def choose(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        context: Context,
        generator: torch.Generator,
        before: Int[Tensor, "batch"] | None = None,
    ) -> Int[Tensor, "batch frame"]:
        """What each frame is made from; `before` is that of the frame before the first."""
        ...

    def decode_chosen(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        chosen: Int[Tensor, "batch frame"],
        context: Context,
        generator: torch.Generator,
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Positions in nm of every frame."""
        ...


Row = TypeVar("Row", contravariant=True)


class Metric(Protocol[Row]):
    """Compares rows of observables with the target that it was made for; never draws."""

    def __call__(self, row: Row) -> dict[str, Estimate]:
        """Values with their intervals, by name; empty where the row cannot be judged."""
        ...


@dataclass(frozen=True)
class Loss:
    """A loss to descend and the terms it is made of, for the log."""

    total: Float[Tensor, ""]
    terms: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Trainable(Protocol):
    """A part that learns from data.

    Training calls `prepare`, then the one procedure that the part offers (`GradientTrainable`,
    `AdversariallyTrainable` or `ClosedFormTrainable`), then `finish`. `data` is a `models.batches.TrainingData`.

    `learns_from` names what the data hold:

    ==================== =======================================================================
    `lagged_frames`      pairs of frames one `lag_ps` apart, or consecutive ones where the part has no lag:
                         positions, or the part's `features` of them
    `lagged_latents`     pairs of latents one `frame_spacing_ps` apart
    `latent_windows`     trajectories of `window` latents, `frame_spacing_ps` apart
    `frames`             positions with the latent of each
    `trajectory_windows` loaders of batches of `window` frames of one molecule or of many, padded, with masks:
                         `data.collation.TrajectoryBatch`
    `nothing`            nothing: the part is whole once it is made, and its `fit` only looks at the molecule
    ==================== =======================================================================
    """

    learns_from: str

    def prepare(self, data: Any, generator: torch.Generator) -> Any:
        """Take scales and statistics from the data and draw initial weights; returns the data to be trained on."""
        ...

    def finish(self, data: Any, generator: torch.Generator) -> None:
        """Set what depends on the trained weights, such as a spectrum or a rejection filter."""
        ...


@runtime_checkable
class GradientTrainable(Trainable, Protocol):
    """Trained by descending one loss."""

    def loss(self, batch: Any, generator: torch.Generator) -> Loss:
        """The loss of a batch; `generator` is on the device of the part."""
        ...


@runtime_checkable
class AdversariallyTrainable(Trainable, Protocol):
    """A generator trained against a critic; one step is `critic_steps` of the critic and one of the generator."""

    critic_steps: int

    def critic_parameters(self) -> list[torch.nn.Parameter]:
        """The critic's parameters; all others are the generator's."""
        ...

    def critic_loss(self, batch: Any, generator: torch.Generator) -> Loss:
        """What the critic descends."""
        ...

    def generator_loss(self, batch: Any, generator: torch.Generator) -> Loss:
        """What the generator descends."""
        ...


@runtime_checkable
class ClosedFormTrainable(Trainable, Protocol):
    """Solved for or counted at once."""

    def fit(self, data: Any, generator: torch.Generator) -> None:
        """Learn from all the data."""
        ...
