"""A peptide whose dynamics is known exactly: a Markov chain over torsional wells, with vibrations about them.

The state of the molecule names a basin of (phi, psi) for every residue and a rotamer for every side chain. One of them
changes at a time, with rates k_ab exp(-(U_b - U_a) / 2) that are symmetric in a and b but for the energies U in kT, so
the stationary law is exp(-U). U couples neighbouring residues, and rotamers to backbones. Within a state each torsion
is Gaussian about the centre of its well and correlated in time as an Ornstein-Uhlenbeck process (AR(1) in frames);
methyl groups hop between three equal wells; bonds, angles, omega and the planes of carbonyls and amides vibrate.
Positions follow from these internal coordinates. No engine takes part: 2 x 10,000 frames take half a second.

States and vibrations are Markovian and independent, so the spectrum of the whole is the products of their eigenvalues:
the slow relaxation times are exactly those of the chain over states.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import expm
from scipy.signal import lfilter

from mdgen.benchmarks.evaluation.torsional_wells import (
    BASINS_OF_NEIGHBOURS,
    CRANKSHAFT,
    ROTAMER_OF_BASIN,
    Wells,
    basins,
    rotamers,
)
from mdgen.data.formats.reading import file_sources
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.geometry.internal_coordinates import ZMatrix
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import KINDS, Torsion, torsions
from mdgen.molecule.zmatrix import build_zmatrix

Frames = Float[np.ndarray, "trajectory frame atom 3"]
"""Positions in nm of some trajectories of one length."""

PEPTIDES = ("ace_ala_nme", "ace_ala_leu_nme")
"""Molecules with a chain; each is a pdb file beside this one, relaxed in AMBER ff14SB."""

METHYL_HOP_PER_PS = 0.02
TORSION_MEMORY_PS = 1.5
OMEGA_MEMORY_PS = 0.5

BOND_NM = {True: 0.0028, False: 0.0030}
ANGLE_DEG = {True: 4.0, False: 3.0}
TETRAHEDRAL_DEG, PLANAR_DEG, OMEGA_DEG, METHYL_DEG = 4.0, 5.0, 6.0, 10.0
"""Standard deviations at 300 K of bonds and angles, with hydrogen and without, and of dihedrals relative to another,
of omega and of methyl rotors; typical of AMBER without constraints."""

_CHUNK = 5_000


@dataclass(frozen=True, eq=False)
class KnownChain:
    """Exactly known dynamics of a peptide; the arguments after the second change its law.

    Args:
        peptide: one of `PEPTIDES`.
        frame_spacing_ps: time between frames.
        speed: factor of every rate.
        temperature: temperature as a multiple of that for which the energies are given.
        coupling: factor of the energies and correlations that couple residues and rotamers.
        offsets: further energies in kT of wells, by name such as `alphaL ALA2`.

    Raises:
        MdgenError: if there is no such peptide or well.

    >>> KnownChain("ace_ala_nme").timescales_ps.round(1)
    array([209.6,  24. ,   4.6])
    """

    peptide: str = "ace_ala_leu_nme"
    frame_spacing_ps: float = 1.0
    speed: float = 1.0
    temperature: float = 1.0
    coupling: float = 1.0
    offsets: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.peptide not in PEPTIDES:
            raise MdgenError(f"peptide {self.peptide!r} has no known chain; choose from {', '.join(PEPTIDES)}")
        known = [name for wells in self.wells for name in wells.names]
        for name in self.offsets:
            if name not in known:
                raise MdgenError(f"there is no well {name!r}; choose from {', '.join(known)}")

    @cached_property
    def molecule(self) -> Molecule:
        """The molecule."""
        return Molecule.from_file(self._file)

    @cached_property
    def zmatrix(self) -> ZMatrix:
        """Its internal coordinates."""
        return build_zmatrix(self.molecule)

    @cached_property
    def wells(self) -> tuple[Wells, ...]:
        """Basins of each residue from the N terminus on, each followed by the rotamers of its side chain."""
        residues = [str(residue) for residue in self.molecule.topology.residues]
        found: list[Wells] = []
        for residue in residues[1:-1]:
            found += [basins(residue)] + ([rotamers(residue)] if residue.startswith("LEU") else [])
        return tuple(found)

    @cached_property
    def states(self) -> Int[np.ndarray, "state factor"]:
        """The well of each factor, a residue's basin or rotamer, in each state."""
        return np.array(list(product(*(range(len(wells.names)) for wells in self.wells))))

    @cached_property
    def energies(self) -> Float[np.ndarray, "state"]:
        """Energy of each state in units of kT."""
        total = np.zeros(len(self.states))
        for factor, wells in enumerate(self.wells):
            offsets = np.array([self.offsets.get(name, 0.0) for name in wells.names])
            total += (wells.energies + offsets)[self.states[:, factor]]
        for first, second, table in self._couplings:
            total += self.coupling * table[self.states[:, first], self.states[:, second]]
        return total / self.temperature

    @cached_property
    def stationary(self) -> Float[np.ndarray, "state"]:
        """Stationary probability of each state."""
        weights = np.exp(-(self.energies - self.energies.min()))
        return weights / weights.sum()

    @cached_property
    def transition_matrix(self) -> Float[np.ndarray, "state state"]:
        """Row i holds the law of the state one frame after state i."""
        n = len(self.states)
        rates = np.zeros((n, n))
        for factor, wells in enumerate(self.wells):
            others = np.delete(self.states, factor, axis=1)
            alone = (others[:, None] == others[None, :]).all(-1)
            here = self.states[:, factor]
            rates += alone * wells.rates[here[:, None], here[None, :]]
        rates *= self.speed * np.exp((self.energies[:, None] - self.energies[None, :]) / 2)
        rates -= np.diag(rates.sum(1))
        return expm(rates * self.frame_spacing_ps)

    @cached_property
    def timescales_ps(self) -> Float[np.ndarray, "mode"]:
        """Relaxation times of the chain over states, slowest first."""
        root = np.sqrt(self.stationary)
        symmetric = root[:, None] * self.transition_matrix / root[None, :]
        values = np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[::-1]
        return -self.frame_spacing_ps / np.log(np.clip(values[1:], 1e-300, 1 - 1e-15))

    def in_well(self, well: str) -> Float[np.ndarray, "state"]:
        """1 for the states in which some factor is in this well, 0 for others."""
        place = next((i, wells.names.index(well)) for i, wells in enumerate(self.wells) if well in wells.names)
        return (self.states[:, place[0]] == place[1]).astype(np.float64)

    def sample_states(
        self, n_trajectories: int, n_frames: int, rng: np.random.Generator
    ) -> Int[np.ndarray, "trajectory frame"]:
        """Stationary paths over states."""
        cumulative = self.transition_matrix.cumsum(1)
        cumulative[:, -1] = np.inf
        now = rng.choice(len(self.states), size=n_trajectories, p=self.stationary)
        found = np.empty((n_frames, n_trajectories), dtype=np.int64)
        for frame, uniform in enumerate(rng.random((n_frames, n_trajectories, 1))):
            found[frame] = now
            now = (cumulative[now] < uniform).sum(1)
        return found.T

    def draw(self, n_trajectories: int, n_frames: int, rng: np.random.Generator) -> Frames:
        """Stationary trajectories, positions in nm."""
        states = self.sample_states(n_trajectories, n_frames, rng)
        return np.stack([self._positions(path, rng) for path in states])

    def independent_frames(self, n: int, rng: np.random.Generator) -> Float[np.ndarray, "frame atom 3"]:
        """Frames in independent states, for means over the stationary law."""
        return self._positions(rng.choice(len(self.states), size=n, p=self.stationary), rng)

    def trajectories(self, frames: Frames) -> TrajectorySet:
        """Positions as trajectories of this molecule."""
        return TrajectorySet.from_arrays(self.molecule, self.frame_spacing_ps, list(frames))

    def decorrelation_ps(self, torsion: str) -> float:
        """Time after which the autocorrelation of exp(i theta), above its baseline, falls to 1/e; at least a frame."""
        factor, column = self._place(torsion)
        centre, spread = self._emission(factor, column)
        mean = self.stationary @ np.exp(1j * centre - spread**2 / 2)
        baseline, before = float(abs(mean) ** 2), 1.0
        lag, jump = 0, np.eye(len(centre))
        while True:
            lag, jump = lag + 1, jump @ self.transition_matrix
            value = (self._phase_correlation(jump, lag, centre, spread) - baseline) / (1 - baseline)
            if value < math.exp(-1):
                share = (math.log(before) + 1) / math.log(before / max(value, 1e-3))
                return (lag - 1 + share) * self.frame_spacing_ps
            before = value

    def step_rms_deg(self, torsion: str) -> float:
        """Root-mean-square change of a torsion from one frame to the next.

        From the Fourier series of the squared angle, x^2 = pi^2 / 3 + 4 sum_k (-1)^k cos(k x) / k^2 on [-pi, pi].
        """
        factor, column = self._place(torsion)
        centre, spread = self._emission(factor, column)
        shift = centre[None, :] - centre[:, None]
        memory = np.exp(-self.speed * self.frame_spacing_ps / TORSION_MEMORY_PS)
        variance = spread[:, None] ** 2 + spread[None, :] ** 2 - 2 * memory * np.outer(spread, spread)
        square = np.full_like(shift, np.pi**2 / 3)
        for k in range(1, 400):
            square += 4 * (-1) ** k * np.cos(k * shift) * np.exp(-(k**2) * variance / 2) / k**2
        joint = self.stationary[:, None] * self.transition_matrix
        return float(np.degrees(np.sqrt((joint * square).sum())))

    @property
    def _file(self) -> Path:
        return Path(__file__).with_name(f"{self.peptide}.pdb")

    @cached_property
    def _couplings(self) -> list[tuple[int, int, np.ndarray]]:
        """Pairs of coupled factors with their energies."""
        found: list[tuple[int, int, np.ndarray]] = []
        before: int | None = None
        for factor, wells in enumerate(self.wells):
            if wells.torsions[0].startswith("phi "):
                found += [] if before is None else [(before, factor, BASINS_OF_NEIGHBOURS)]
                before = factor
            else:
                assert before is not None
                found.append((before, factor, ROTAMER_OF_BASIN))
        return found

    def _place(self, torsion: str) -> tuple[int, int]:
        return next(
            (factor, wells.torsions.index(torsion))
            for factor, wells in enumerate(self.wells)
            if torsion in wells.torsions
        )

    def _emission(self, factor: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Centre and spread in radians of a torsion in each state."""
        wells, well = self.wells[factor], self.states[:, factor]
        return np.radians(wells.centres[well, column]), np.radians(wells.spreads[well, column]) * self._warmth

    def _phase_correlation(self, jump: np.ndarray, lag: int, centre: np.ndarray, spread: np.ndarray) -> float:
        memory = np.exp(-self.speed * lag * self.frame_spacing_ps / TORSION_MEMORY_PS)
        variance = spread[:, None] ** 2 + spread[None, :] ** 2 - 2 * memory * np.outer(spread, spread)
        shift = centre[None, :] - centre[:, None]
        return float((self.stationary[:, None] * jump * np.cos(shift) * np.exp(-variance / 2)).sum())

    @property
    def _warmth(self) -> float:
        """Factor of every spread; in a harmonic well, the root of the temperature."""
        return self.temperature**0.5

    @cached_property
    def _ideal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        (source,) = file_sources(self._file)
        positions = torch.as_tensor(source.read(0, 1, 1)[0], dtype=torch.float64)
        bonds, angles, dihedrals = (each.numpy() for each in self.zmatrix.to_internal(positions))
        return bonds, angles, dihedrals

    @cached_property
    def columns(self) -> dict[str, tuple[int, Torsion]]:
        """Column among the dihedrals of the Z-matrix, and the torsion itself, by name."""
        rows = {tuple(row): column for column, row in enumerate(self.zmatrix.dihedral_atoms.tolist())}
        rows |= {atoms[::-1]: column for atoms, column in rows.items()}
        return {each.name: (rows[each.atoms], each) for each in torsions(self.molecule, KINDS)}

    @cached_property
    def _noise(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Standard deviations of bonds (nm), angles and relative dihedrals (radians)."""
        light = np.array([symbol == "H" for symbol in self.molecule.elements])
        rows = self.zmatrix.rows
        bonds = [BOND_NM[bool(light[row[2:]].any())] for row in rows[1:]]
        angles = [ANGLE_DEG[bool(light[row[1:]].any())] for row in rows[2:]]
        flat = [len(self.molecule.neighbours[row[2]]) == 3 for row in rows[3:]]
        relative = [0.0 if own else PLANAR_DEG if planar else TETRAHEDRAL_DEG
                    for own, planar in zip(self.zmatrix.is_primary, flat, strict=True)]  # fmt: skip
        scale = self._warmth
        return np.array(bonds) * scale, np.radians(angles) * scale, np.radians(relative) * scale

    def _positions(self, path: Int[np.ndarray, "frame"], rng: np.random.Generator) -> Float[np.ndarray, "frame atom 3"]:
        n = len(path)
        absolute = self.torsions_along(path, rng)
        bonds, angles, dihedrals = (
            (ideal + spread * rng.standard_normal((n, len(ideal)), dtype=np.float32)).astype(np.float32)
            for ideal, spread in zip(self._ideal, self._noise, strict=True)
        )
        for name, values in absolute.items():
            dihedrals[:, self.columns[name][0]] = values
        parts = [
            self.zmatrix.to_cartesian(*(torch.from_numpy(each[i : i + _CHUNK]) for each in (bonds, angles, dihedrals)))
            for i in range(0, n, _CHUNK)
        ]
        return torch.cat(parts).numpy()

    def torsions_along(self, path: Int[np.ndarray, "frame"], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Angles in radians of every named torsion along a path of states."""
        named = [name for wells in self.wells for name in wells.torsions]
        fluctuations = self._ornstein_uhlenbeck(len(path), len(named), TORSION_MEMORY_PS, rng) @ self._root.T
        found = {}
        for place, name in enumerate(named):
            centre, spread = self._emission(*self._place(name))
            found[name] = centre[path] + spread[path] * fluctuations[:, place]
        for name, (_, torsion) in self.columns.items():
            if torsion.kind == "omega":
                vibration = self._ornstein_uhlenbeck(len(path), 1, OMEGA_MEMORY_PS, rng)[:, 0]
                found[name] = np.pi + np.radians(OMEGA_DEG) * self._warmth * vibration
            elif torsion.kind == "methyl":
                found[name] = self._methyl(len(path), rng)
        return found

    @cached_property
    def _root(self) -> Float[np.ndarray, "torsion torsion"]:
        """Cholesky factor of the correlations of the torsions' fluctuations."""
        named = [name for wells in self.wells for name in wells.torsions]
        correlation, psis = np.eye(len(named)), [i for i, name in enumerate(named) if name.startswith("psi")]
        phis = [i for i, name in enumerate(named) if name.startswith("phi")]
        for psi, phi in zip(psis[:-1], phis[1:], strict=True):
            correlation[psi, phi] = correlation[phi, psi] = CRANKSHAFT * self.coupling
        return np.linalg.cholesky(correlation)

    def _ornstein_uhlenbeck(self, n: int, number: int, memory_ps: float, rng: np.random.Generator) -> np.ndarray:
        """Stationary processes of unit variance, independent of each other, `(frame, process)`."""
        memory = np.exp(-self.speed * self.frame_spacing_ps / memory_ps)
        kicks = rng.standard_normal((n, number)) * np.sqrt(1 - memory**2)
        kicks[0] /= np.sqrt(1 - memory**2)
        return lfilter([1.0], [1.0, -memory], kicks, axis=0)

    def _methyl(self, n: int, rng: np.random.Generator) -> np.ndarray:
        rate = 1.5 * METHYL_HOP_PER_PS * self.speed * self.frame_spacing_ps
        hops = (rng.random(n) < 2 / 3 * (1 - np.exp(-rate))) * rng.choice([-1, 1], size=n)
        well = rng.integers(3) + hops.cumsum()
        vibration = np.radians(METHYL_DEG) * self._warmth * rng.standard_normal(n)
        return np.pi / 3 + 2 * np.pi / 3 * well + vibration
