"""A moment of dynamics of every decoded frame, which sets right what a decoder leaves wrong on a small scale."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.geometry.superposition import superpose
from mdgen.interfaces import Cells, Energies, Positions, Potential, System
from mdgen.md.dynamics.constraints import with_masses
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.minimize import Minimum, minimize, with_springs
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.base_engine import Engine
from mdgen.md.engines.engine import make_engine
from mdgen.md.force_field.fingerprint import fingerprint
from mdgen.md.force_field.forces import energy_and_forces
from mdgen.molecule.chirality import signed_volumes
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.simd.lanes import LANES

FRAMES_AT_ONCE = 512
"""Frames that are relaxed side by side."""

_STARTABLE, _STEEPEST = 2000.0, 100.0
"""Forces in kJ/mol/nm below which the minimisation leaves a frame alone, before dynamics and without any: heat brings
the worst atom of alanine dipeptide 3,000."""

_MORE = 10
"""How many times `minimization_steps` a frame takes at most, after as many, that dynamics could not yet start from."""

_TETRAHEDRON, _FLAT = (8 / 3) ** 1.5 / 2**0.5, 0.25
"""`signed_volumes` of a regular tetrahedron over the cube of the bonds' length, and the share below which a centre has
no hand: it is flat, as under a metal, or was decoded so."""

_BROKEN_NM = 0.05
"""Change of a bond's length from that in the system's structure from which it counts as broken."""

_STONE = 1e8
"""How many times heavier atoms are that are held: heat moves them by less than 0.001 nm within a picosecond."""

_MOST_STEPS = 1e9
"""Steps of the dynamics above which a length is taken for a slip of the pen."""


@dataclass
class Relaxation:
    """Minimises every frame for some steps, then moves it for a moment from new velocities.

    The minimisation only takes out what dynamics could not start from, such as two atoms in one place: it ends where no
    force is stronger than those of heat, and the few frames that are not there after `minimization_steps` take up to
    ten times as many more. It cools, and the friction is high so that the heat is back at the end. Dynamics leave the
    distribution at equilibrium as it is, so they never move the distribution of the frames away from it: bonds, angles
    and contacts settle within a picosecond, while slow coordinates stay where the model put them. Frames do not depend
    on one another, and each is turned back to lie where it was decoded.

    Args:
        system: force field of the molecule; its constraints are met.
        length_ps: length of the dynamics; 0 for the minimisation alone.
        minimization_steps: steps of the minimisation at most; 0 for none.
        timestep_fs: time step; up to 4 with heavy hydrogens and constraints, 2 with constraints.
        friction_per_ps: friction of the Langevin dynamics.

    Raises:
        MdgenError: for a periodic system, or numbers out of range.
    """

    system: System
    length_ps: float = 0.5
    minimization_steps: int = 30
    timestep_fs: float = 2.0
    friction_per_ps: float = 10.0
    n_frames: int = field(default=0, init=False)
    """Frames that were relaxed."""
    n_kept: int = field(default=0, init=False)
    """Frames among them that became unstable, with a broken bond, exchanged neighbours of an atom or worse, and stayed
    as they were decoded."""

    def __post_init__(self) -> None:
        near = enumerate(self.system.molecule.neighbours)
        self._centres = np.array([(atom, *four) for atom, four in near if len(four) == 4], np.int64).reshape(-1, 5)
        alone = getattr(self.system.potential, "openmm_system", None)
        if self.system.cell is not None or (alone is not None and alone.usesPeriodicBoundaryConditions()):
            raise MdgenError(
                "the system that frames are relaxed in is a periodic box, and frames have none; choose an implicit "
                "solvent or vacuum, such as system.solvent=obc2"
            )
        if not (0 <= self.length_ps < float("inf") and self.minimization_steps >= 0 and self.timestep_fs > 0):
            raise MdgenError(
                f"length_ps={self.length_ps}, minimization_steps={self.minimization_steps} and "
                f"timestep_fs={self.timestep_fs} of the relaxation: expected at least 0, at least 0 and above 0"
            )
        if not 1e3 * self.length_ps <= _MOST_STEPS * self.timestep_fs:
            raise MdgenError(
                f"length_ps={self.length_ps} of the relaxation takes more than {_MOST_STEPS:g} steps of "
                f"timestep_fs={self.timestep_fs}; a picosecond is enough"
            )
        if self.length_ps and self._n_steps < 1:
            raise MdgenError(
                f"length_ps={self.length_ps} of the relaxation is shorter than a step of timestep_fs={self.timestep_fs}"
                "; give more, or 0 for none"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result beside frames, temperature and random numbers, as plain JSON."""
        numbers = {name: getattr(self, name) for name in ("length_ps", "timestep_fs", "friction_per_ps")}
        masses = fingerprint("masses", {"amu": self.system.masses})
        potential = getattr(self.system.potential, "fingerprint", type(self.system.potential).__name__)
        rules = {"startable": _STARTABLE, "steepest": _STEEPEST, "more": _MORE, "flat": _FLAT, "broken_nm": _BROKEN_NM}
        steps = {"minimization_steps": self.minimization_steps}
        return {**numbers, **steps, **rules, "potential": potential, "masses": masses}

    def require_for(self, molecule: Molecule, temperature_K: float | None) -> None:
        """Refuse another molecule than the system's, and an unknown temperature.

        Raises:
            MdgenError: in both cases.
        """
        molecule.require_same_atoms(self.system.molecule)
        if temperature_K is None:
            raise MdgenError("the model does not say its temperature, at which frames are relaxed; give temperature_K")

    def figures(self) -> dict[str, Any]:
        """Numbers of frames that were relaxed, and of those that became unstable."""
        return {"n_frames_relaxed": self.n_frames, "n_frames_unstable": self.n_kept}

    @torch.no_grad()
    def __call__(
        self,
        positions: Float[Tensor, "batch frame atom 3"],
        temperature_K: float,
        generator: torch.Generator,
        held: Sequence[int] = (),
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Relaxed frames, in nm.

        Args:
            positions: decoded frames.
            temperature_K: temperature of the dynamics.
            generator: source of velocities and random forces.
            held: atoms that stay where they are, as what is known does beside what is inpainted, but for what their
                constraints ask. The minimisation does not move them, and in the dynamics they are as heavy as stones.
        """
        frames = positions.flatten(0, 1)
        n = min(FRAMES_AT_ONCE, len(frames))
        kelvin = torch.tensor([float(temperature_K)])
        integrator = Langevin(self.timestep_fs, kelvin, self.friction_per_ps)
        # Nothing is drawn in engines for the minimisation alone, so that whether there is one changes no other frame.
        still = torch.Generator(generator.device).manual_seed(0)
        system = _with_stones(self.system, held) if held else self.system
        engines = partial(make_engine, system, integrator, generator=still, device=positions.device.type)
        engine = make_engine(system, integrator, n, generator, device=positions.device.type)
        relaxed, done, progress = [], 0, Progress("relax", len(frames))
        for part in frames.split(n):
            moved = _filled(self._minimized(system, engine, part.to(system.positions), engines, held), n)
            if self._n_steps:
                engine.prepare(initial_state(system, n, kelvin, generator, moved))
                moved = engine.advance(self._n_steps).positions
            moved = moved[: len(part)].to(part)
            whole = self._whole(moved, part)
            settled = part.clone()
            settled[whole] = _put_back(moved[whole], part[whole], held)
            relaxed.append(settled)
            self.n_frames, self.n_kept = self.n_frames + len(part), self.n_kept + int((~whole).sum())
            done += len(part)
            if done < len(frames):  # what is done is told by who asked for it
                progress.update(done)
        return torch.cat(relaxed).unflatten(0, positions.shape[:2])

    @property
    def _n_steps(self) -> int:
        return round(1e3 * self.length_ps / self.timestep_fs)

    def _whole(
        self, frames: Float[Tensor, "frame atom 3"], before: Float[Tensor, "frame atom 3"]
    ) -> Bool[Tensor, "frame"]:
        """Frames that are finite, all of whose bonds are about as long as in the system's own structure, and whose
        atoms have their neighbours on the same hand as before."""
        bonds = torch.as_tensor(self.system.molecule.bonds)
        lengths = bond_lengths(self.system.positions[None].to(frames), bonds)
        stretch = (bond_lengths(frames, bonds) - lengths).abs()
        exchanged = self._hands(frames) * self._hands(before) < 0
        finite = (frames.isfinite() & before.isfinite()).flatten(1).all(1)
        return finite & (stretch < _BROKEN_NM).all(1) & ~exchanged.any(1)

    def _hands(self, frames: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame centre"]:
        """The hand of every atom of four neighbours, 1 or -1; 0 where it is flat.

        Dynamics never change one to the other, whether the neighbours differ or not.
        """
        bonds = [bond_lengths(frames, self._centres[:, [0, column]]) for column in range(1, 5)]
        volume = signed_volumes(frames, self._centres[:, 1:]) / torch.stack(bonds).mean(0).pow(3)
        return torch.where(volume.abs() > _FLAT * _TETRAHEDRON, volume.sign(), 0.0)

    def _minimized(
        self,
        system: System,
        engine: Engine,
        frames: Float[Tensor, "frame atom 3"],
        engines: Callable[[int], Engine],
        held: Sequence[int],
    ) -> Float[Tensor, "frame atom 3"]:
        """Frames some way downhill with constraints met; not a number where a frame has no energy to begin with."""
        n, constraints = len(frames), system.constraints
        energies, forces = (each[:n] for each in engine.energy_and_forces(_filled(frames, engine.n_replicas)))
        finite = energies.isfinite() & forces.isfinite().flatten(1).all(1)
        if self.minimization_steps and bool(finite.any()):
            # those without an energy are others meanwhile
            start = torch.where(finite[:, None, None], frames, frames[finite][0])
            minimum = self._downhill(engine, start, self.minimization_steps, held)
            frames = minimum.positions[:n]
            hard = (finite & (minimum.largest_force[:n] > _STARTABLE)).nonzero()[:, 0]
            if len(hard):
                own = engines(LANES * -(-len(hard) // LANES))  # so that the others neither wait nor move
                longer = self._downhill(own, frames[hard], _MORE * self.minimization_steps, held)
                frames[hard] = longer.positions[: len(hard)]
        met = frames if constraints is None else constraints.positions(frames, frames)
        return torch.where(finite[:, None, None], met, torch.nan)

    def _downhill(
        self, engine: Engine, frames: Float[Tensor, "frame atom 3"], steps: int, held: Sequence[int]
    ) -> Minimum:
        potential = with_springs(_ByEngine(engine), self.system.constraints)
        tolerance = _STARTABLE if self._n_steps else _STEEPEST
        return minimize(_Holding(potential, held), _filled(frames, engine.n_replicas), tolerance, steps)


def _with_stones(system: System, held: Sequence[int]) -> System:
    """The system with atoms too heavy for heat and forces to move."""
    masses = system.masses.clone()
    masses[list(held)] *= _STONE
    return with_masses(system, masses)


def _put_back(
    frames: Float[Tensor, "frame atom 3"], before: Float[Tensor, "frame atom 3"], held: Sequence[int]
) -> Float[Tensor, "frame atom 3"]:
    """Frames moved as rigid bodies to where they lay; by the atoms that are held, which engines have only shifted."""
    if not held:
        return superpose(frames, before)
    return frames + (before - frames)[:, list(held)].mean(1, keepdim=True)


def _filled(frames: Float[Tensor, "frame atom 3"], n: int) -> Float[Tensor, "{n} atom 3"]:
    """Frames and copies of the first, for an engine of `n` replicas."""
    return torch.cat([frames, frames[:1].expand(n - len(frames), -1, -1)])


@dataclass(frozen=True)
class _ByEngine:
    """The potential of an engine's system, computed by the engine; of no run, and so without a fingerprint."""

    engine: Engine
    fingerprint: str = ""

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        return self.engine.energy_and_forces(positions)[0]

    def attached_energy_and_forces(self, positions: Positions, cell: Cells | None = None) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm."""
        return self.engine.energy_and_forces(positions)


@dataclass(frozen=True)
class _Holding:
    """A potential without forces on some atoms, so that a minimisation leaves them where they are."""

    potential: Potential
    atoms: Sequence[int]
    fingerprint: str = ""

    def energy(self, positions: Positions, cell: Cells | None = None) -> Energies:
        """Energy in kJ/mol."""
        return self.potential.energy(positions, cell)

    def attached_energy_and_forces(self, positions: Positions, cell: Cells | None = None) -> tuple[Energies, Positions]:
        """Energies in kJ/mol and forces in kJ/mol/nm."""
        energies, forces = energy_and_forces(self.potential, positions, cell)
        forces[:, list(self.atoms)] = 0.0
        return energies, forces
