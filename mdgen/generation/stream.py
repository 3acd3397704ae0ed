"""How many frames are generated at a time, and the record from which an interrupted generation resumes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.store import TrajectoryStore, is_store
from mdgen.documents import Count
from mdgen.errors import MdgenError
from mdgen.generation.windows import MOST_DOUBLINGS
from mdgen.molecule.topology import Molecule
from mdgen.tensor_files import load_tensors, read_header, save_tensors

BLOCK_BYTES = 32_000_000
"""Size of the positions of a block in memory and on disk."""

STRETCH_BYTES = 512_000_000
"""Size of the positions of one window with all that is filled in, at most: a block is made of whole ones."""


@dataclass(frozen=True)
class LatentStream:
    """Where a generation is: the last latent of each trajectory, after `n_frames` frames in `n_blocks` blocks.

    Where the decoder remembers, `chosen` is what it made the last frame from.
    """

    latent: Float[Tensor, "trajectory token channel"]
    n_frames: int = 0
    n_blocks: int = 0
    chosen: Int[Tensor, "trajectory"] | None = None


def frames_a_block(n_trajectories: int, n_atoms: int) -> int:
    """Frames in about `BLOCK_BYTES`; they depend on the size of a frame alone, never on how many follow."""
    return max(1, BLOCK_BYTES // (12 * n_atoms * n_trajectories))


def most_doublings(n_trajectories: int, n_atoms: int, window: int) -> int:
    """How often the time between frames may be halved within a window for `STRETCH_BYTES` to hold it."""
    frames = STRETCH_BYTES // (12 * n_atoms * n_trajectories)
    return min(MOST_DOUBLINGS, max(0, (frames // window).bit_length() - 1))


def block_generator(
    seed: int, block: int, purpose: str, device: torch.device | str = "cpu", part: int = 0, after: int = 0
) -> torch.Generator:
    """A random stream for one purpose in one part of a block, independent of all others of the same seed.

    Where a block is made window by window, `after` says how many came before.
    """
    purposes = ("start", "propagate", "decode", "relax", "design")
    key = [seed, block, purposes.index(purpose), *([part, after] if after else [part] if part else [])]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)


@dataclass(frozen=True)
class _Note:
    """The header of a record."""

    identity: dict[str, Any]
    n_frames: Count
    n_blocks: Count


@dataclass(frozen=True)
class GenerationRecord:
    """The state of a generation beside its frames, `generation.safetensors` in the folder of the store.

    It is replaced after each block's frames are on disk. If the frames of a block are there but the record is not, the
    block is cut off and made again, the same.

    Args:
        path: folder of the store.
        identity: what the frames follow from, as plain JSON: seed, parts, task, temperature and so on.
        n_frames: frames of each trajectory when all are generated.
    """

    path: Path
    identity: dict[str, Any]
    n_frames: int

    @property
    def file(self) -> Path:
        """The record itself."""
        return self.path / "generation.safetensors"

    def open_store(self, molecule: Molecule, frame_spacing_ps: float, metadata: dict[str, Any]) -> TrajectoryStore:
        """The store to append to, or a new one.

        Raises:
            MdgenError: if the folder holds trajectories that were not generated, or of another molecule.
        """
        if not is_store(self.path):
            n = self.identity["n_trajectories"]
            return TrajectoryStore.create(self.path, molecule, frame_spacing_ps, n, metadata)
        store = TrajectoryStore.open(self.path)
        molecule.require_same(store.molecule, f"the store {self.path}")
        if store.n_frames and not self.file.is_file():
            raise MdgenError(f"{self.path} holds trajectories that were not generated; choose another folder")
        store.start_writing()
        return store

    def save(self, stream: LatentStream) -> None:
        """Replace the record."""
        note = {"identity": self.identity, "n_frames": stream.n_frames, "n_blocks": stream.n_blocks}
        memory = {} if stream.chosen is None else {"chosen": stream.chosen}
        save_tensors(self.file, {"latent": stream.latent, **memory}, note)

    def resume(self, store: TrajectoryStore) -> LatentStream | None:
        """Where the generation in the store is, cut back to the last whole block; None if it has not begun.

        Raises:
            MdgenError: if the folder holds one with other settings, or more than was asked for.
        """
        if not self.file.is_file():
            return None
        try:
            content = self.file.read_bytes()
            note, tensors = read_header(content, _Note), load_tensors(content)
            latent = tensors["latent"]
        except (OSError, KeyError, ValueError) as error:
            raise MdgenError(f"{self.file} is damaged; delete the folder {self.path} and generate again") from error
        before, now, n_frames = note.identity, self.identity, note.n_frames
        for name in [*now, *(name for name in before if name not in now)]:
            if before.get(name) != now.get(name):
                raise MdgenError(
                    f"{self.path} was generated with {name} {before.get(name)}, not {now.get(name)}; "
                    "choose another folder, or the same settings to resume"
                )
        if n_frames > self.n_frames:
            raise MdgenError(
                f"{self.path} already holds {n_frames} frames a trajectory, more than {self.n_frames}; "
                "choose another folder"
            )
        store.truncate(n_frames)
        store.verify()
        return LatentStream(latent, n_frames, note.n_blocks, tensors.get("chosen"))
