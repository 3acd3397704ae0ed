"""Faults of single frames: bonds, angles, planes, handedness, contacts and the noise of a decoder."""

import numpy as np
from jaxtyping import Float

from mdgen.benchmarks.evaluation.copied_frames import noise
from mdgen.benchmarks.evaluation.fault import Catalogue, Dynamics
from mdgen.benchmarks.evaluation.known_chain import Frames

ALTERED_STRUCTURES = Catalogue()


@ALTERED_STRUCTURES.add
def scaled_by_1_02(frames: Frames, dynamics: Dynamics) -> Frames:
    """All coordinates scaled by 1.02."""
    return frames * np.float32(1.02)


@ALTERED_STRUCTURES.add
def scaled_by_1_10(frames: Frames, dynamics: Dynamics) -> Frames:
    """All coordinates scaled by 1.10."""
    return frames * np.float32(1.10)


@ALTERED_STRUCTURES.add
def rigid_bonds(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every bond at its mean length."""
    return _rigid(frames, dynamics, "bonds")


@ALTERED_STRUCTURES.add
def rigid_angles(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every angle at its mean."""
    return _rigid(frames, dynamics, "angles")


@ALTERED_STRUCTURES.add
def noise_on_all_atoms(frames: Frames, dynamics: Dynamics) -> Frames:
    """Noise of 0.004 nm on every atom."""
    return frames + np.float32(0.004) * noise(frames, dynamics)


@ALTERED_STRUCTURES.add
def noise_on_hydrogens(frames: Frames, dynamics: Dynamics) -> Frames:
    """Noise of 0.006 nm on every hydrogen."""
    light = np.array([symbol == "H" for symbol in dynamics.chain.molecule.elements])
    return frames + np.float32(0.006) * noise(frames, dynamics) * light[:, None]


@ALTERED_STRUCTURES.add
def short_hydrogen_bonds(frames: Frames, dynamics: Dynamics) -> Frames:
    """Bonds to hydrogen 0.003 nm short."""
    changed, molecule = frames.copy(), dynamics.chain.molecule
    for first, second in molecule.bonds.tolist():
        heavy, light = (first, second) if molecule.elements[second] == "H" else (second, first)
        if molecule.elements[light] == "H":
            changed[:, :, light] -= 0.003 * _unit(frames[:, :, light] - frames[:, :, heavy])
    return changed


@ALTERED_STRUCTURES.add
def amide_hydrogen_out_of_plane(frames: Frames, dynamics: Dynamics) -> Frames:
    """The amide hydrogen of leucine 35 degrees out of its plane."""
    atoms = ("H", "LEU3"), ("N", "LEU3"), ("C", "ALA2"), ("CA", "LEU3")
    return _out_of_plane(frames, dynamics, atoms, 35.0)


@ALTERED_STRUCTURES.add
def carbonyl_oxygen_out_of_plane(frames: Frames, dynamics: Dynamics) -> Frames:
    """The carbonyl oxygen of alanine 25 degrees out of its plane."""
    atoms = ("O", "ALA2"), ("C", "ALA2"), ("CA", "ALA2"), ("N", "LEU3")
    return _out_of_plane(frames, dynamics, atoms, 25.0)


@ALTERED_STRUCTURES.add
def methyl_hydrogen_pulled(frames: Frames, dynamics: Dynamics) -> Frames:
    """One methyl hydrogen pulled 0.025 nm away from its carbon."""
    carbon, light = dynamics.atom("CB", "ALA2"), dynamics.atom("HB1", "ALA2")
    changed = frames.copy()
    changed[:, :, light] += 0.025 * _unit(frames[:, :, light] - frames[:, :, carbon])
    return changed


@ALTERED_STRUCTURES.add
def frozen_methyls(frames: Frames, dynamics: Dynamics) -> Frames:
    """Methyl groups that never turn."""
    internal = dynamics.to_internal(frames)
    for name, (column, torsion) in dynamics.chain.columns.items():
        if torsion.kind == "methyl":
            internal["dihedrals"][:, column] = internal["dihedrals"][0, dynamics.column(name)]
    return dynamics.to_frames(internal)


@ALTERED_STRUCTURES.add
def one_mirrored_in_forty(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every fortieth frame replaced by its mirror image."""
    changed = frames.copy()
    changed[:, ::40, :, 2] *= -1
    return changed


@ALTERED_STRUCTURES.add
def all_mirrored(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every frame replaced by its mirror image."""
    return frames * np.array([1, 1, -1], dtype=np.float32)


@ALTERED_STRUCTURES.add
def cis_block(frames: Frames, dynamics: Dynamics) -> Frames:
    """A block of 2 % of each trajectory with a peptide bond in cis."""
    n = frames.shape[1]
    start = int(dynamics.rng.integers(max(1, n - n // 50)))
    inside = np.zeros(frames.shape[:2], dtype=bool)
    inside[:, start : start + max(1, n // 50)] = True
    internal = dynamics.to_internal(frames)
    internal["dihedrals"][inside.ravel(), dynamics.column("omega ALA2")] += np.pi
    return dynamics.to_frames(internal)


@ALTERED_STRUCTURES.add
def flat_peptide_bonds(frames: Frames, dynamics: Dynamics) -> Frames:
    """Omega at exactly 180 degrees."""
    internal = dynamics.to_internal(frames)
    for column, torsion in dynamics.chain.columns.values():
        if torsion.kind == "omega":
            internal["dihedrals"][:, column] = np.pi
    return dynamics.to_frames(internal)


@ALTERED_STRUCTURES.add
def prochiral_hydrogens_swapped(frames: Frames, dynamics: Dynamics) -> Frames:
    """The two hydrogens of leucine's CB under each other's name."""
    return _swapped(frames, dynamics, ("HB2", "LEU3"), ("HB3", "LEU3"))


@ALTERED_STRUCTURES.add
def prochiral_methyls_swapped(frames: Frames, dynamics: Dynamics) -> Frames:
    """The two methyl groups of leucine under each other's name."""
    for name in ("CD{}", "HD{}1", "HD{}2", "HD{}3"):
        frames = _swapped(frames, dynamics, (name.format(1), "LEU3"), (name.format(2), "LEU3"))
    return frames


@ALTERED_STRUCTURES.add
def bond_broken_in_1_percent(frames: Frames, dynamics: Dynamics) -> Frames:
    """The bond CA-CB of leucine 0.05 nm too long in 1 % of the frames."""
    pair = {dynamics.atom("CA", "LEU3"), dynamics.atom("CB", "LEU3")}
    column = next(i for i, bond in enumerate(dynamics.chain.zmatrix.bond_atoms.tolist()) if set(bond) == pair)
    internal = dynamics.to_internal(frames)
    internal["bonds"][:, column] += 0.05 * dynamics.some(0.01).ravel()
    return dynamics.to_frames(internal)


@ALTERED_STRUCTURES.add
def clash_in_2_percent(frames: Frames, dynamics: Dynamics) -> Frames:
    """Phi and psi of leucine folded into a clash in 2 % of the frames."""
    internal, where = dynamics.to_internal(frames), dynamics.some(0.02).ravel()
    for name in ("phi LEU3", "psi LEU3"):
        internal["dihedrals"][where, dynamics.column(name)] = 0.1 * dynamics.rng.standard_normal(where.sum())
    return dynamics.to_frames(internal)


@ALTERED_STRUCTURES.add
def angle_too_wide(frames: Frames, dynamics: Dynamics) -> Frames:
    """The angle CA-CB-CG of leucine 5 degrees too wide."""
    triple = [dynamics.atom(name, "LEU3") for name in ("CA", "CB", "CG")]
    column = dynamics.chain.zmatrix.rows[2:, 1:].tolist().index(triple)
    internal = dynamics.to_internal(frames)
    internal["angles"][:, column] += np.radians(5.0)
    return dynamics.to_frames(internal)


def _rigid(frames: Frames, dynamics: Dynamics, kind: str) -> Frames:
    internal = dynamics.to_internal(frames)
    internal[kind][:] = internal[kind].mean(0, dtype=np.float64)
    return dynamics.to_frames(internal)


def _out_of_plane(frames: Frames, dynamics: Dynamics, atoms: tuple[tuple[str, str], ...], degrees: float) -> Frames:
    """The first atom turned out of the plane of the other three, about the second, its bond as long as before."""
    moved, centre, first, second = (dynamics.atom(*each) for each in atoms)
    arms = [frames[:, :, atom] - frames[:, :, centre] for atom in (moved, first, second)]
    normal = _unit(np.cross(arms[1], arms[2]))
    length, angle = np.linalg.norm(arms[0], axis=-1, keepdims=True), np.radians(degrees)
    changed = frames.copy()
    flat = arms[0] - (arms[0] * normal).sum(-1, keepdims=True) * normal
    changed[:, :, moved] = frames[:, :, centre] + length * (np.cos(angle) * _unit(flat) + np.sin(angle) * normal)
    return changed


def _swapped(frames: Frames, dynamics: Dynamics, first: tuple[str, str], second: tuple[str, str]) -> Frames:
    pair = [dynamics.atom(*first), dynamics.atom(*second)]
    changed = frames.copy()
    changed[:, :, pair] = frames[:, :, pair[::-1]]
    return changed


def _unit(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
