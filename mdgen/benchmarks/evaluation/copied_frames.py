"""Faults of models that repeat: the reference's frames, or few frames of their own."""

import numpy as np

from mdgen.benchmarks.evaluation.fault import Catalogue, Dynamics
from mdgen.benchmarks.evaluation.known_chain import Frames

COPIED_FRAMES = Catalogue()


@COPIED_FRAMES.add
def exact_copies(frames: Frames, dynamics: Dynamics) -> Frames:
    """The reference itself, bit for bit."""
    return dynamics.reference.copy()


@COPIED_FRAMES.add
def rotated_copies(frames: Frames, dynamics: Dynamics) -> Frames:
    """The reference, every frame turned and shifted at random."""
    return tumbled(dynamics.reference, dynamics.rng)


@COPIED_FRAMES.add
def jittered_copies(frames: Frames, dynamics: Dynamics) -> Frames:
    """The reference with 1e-4 nm of noise on every atom."""
    return dynamics.reference + 1e-4 * noise(frames, dynamics)


@COPIED_FRAMES.add
def hidden_copies(frames: Frames, dynamics: Dynamics) -> Frames:
    """The reference, turned at random, with 1e-4 nm of noise and in random order."""
    jittered = dynamics.reference + 1e-4 * noise(frames, dynamics)
    flat = tumbled(jittered, dynamics.rng).reshape(-1, *frames.shape[2:])
    return dynamics.rng.permutation(flat).reshape(frames.shape)


@COPIED_FRAMES.add
def half_copied(frames: Frames, dynamics: Dynamics) -> Frames:
    """Half of the trajectories are the reference's, the others honest."""
    half = len(frames) // 2
    return np.concatenate([dynamics.reference[:half], frames[half:]])


@COPIED_FRAMES.add
def mode_collapse(frames: Frames, dynamics: Dynamics) -> Frames:
    """Two hundred honest frames, drawn again and again."""
    flat = frames.reshape(-1, *frames.shape[2:])
    kept = dynamics.rng.choice(len(flat), size=min(200, len(flat) // 10), replace=False)
    return flat[dynamics.rng.choice(kept, size=len(flat))].reshape(frames.shape)


@COPIED_FRAMES.add
def half_frozen(frames: Frames, dynamics: Dynamics) -> Frames:
    """One half of the trajectories never leaves its first frame."""
    changed = frames.copy()
    changed[: (len(frames) + 1) // 2] = frames[: (len(frames) + 1) // 2, :1]
    return changed


@COPIED_FRAMES.add
def doubled_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every frame twice: each trajectory takes twice the time."""
    return frames[:, np.arange(frames.shape[1]) // 2]


@COPIED_FRAMES.add
def held_frames(frames: Frames, dynamics: Dynamics) -> Frames:
    """Every fifth frame, held for five frames."""
    return frames[:, np.arange(frames.shape[1]) // 5 * 5]


def noise(frames: Frames, dynamics: Dynamics) -> Frames:
    """Standard normal numbers, one for each coordinate."""
    return dynamics.rng.standard_normal(frames.shape, dtype=np.float32)


def tumbled(frames: Frames, rng: np.random.Generator) -> Frames:
    """Each frame rotated and translated at random; uniform rotations from unit quaternions."""
    w, x, y, z = np.moveaxis(_unit(rng.standard_normal((*frames.shape[:2], 4))), -1, 0)
    rotation = np.stack(
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
         2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
         2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1
    ).reshape(*frames.shape[:2], 3, 3)  # fmt: skip
    shift = rng.standard_normal((*frames.shape[:2], 1, 3))
    return (np.einsum("tfax,tfyx->tfay", frames, rotation.astype(np.float32)) + shift).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
