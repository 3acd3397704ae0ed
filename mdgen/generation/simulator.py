"""Encoder, propagator and decoder composed into a simulator of molecules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.data.conditions import first_frame
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation.stream import BlockPlan, LatentStream, RolloutRecord
from mdgen.interfaces import Context, Decoder, Encoder, LatentSpace, Propagator
from mdgen.models.fingerprint import fingerprint
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress

Start = mdtraj.Trajectory | Float[Tensor, "*frame atom 3"] | Float[np.ndarray, "*frame atom 3"] | None


class LatentSimulator:
    """A composition: encode a start, propagate its latent, decode every frame.

    Frames are one lag of the propagator apart. The first frame of a trajectory is a structure decoded from the latent
    of the start, as all others are, so that every frame comes from one distribution.

    Args:
        encoder: positions to a latent.
        propagator: latent trajectories.
        decoder: a latent trajectory to positions.
        molecule: whose atoms the decoder places; the decoder's own where None.

    Raises:
        MdgenError: if the parts do not belong together, saying what differs.
    """

    def __init__(
        self, encoder: Encoder, propagator: Propagator, decoder: Decoder, molecule: Molecule | None = None
    ) -> None:
        require_same_latent(encoder.latent, propagator.latent, "propagator")
        require_same_latent(encoder.latent, decoder.latent, "decoder")
        found = molecule if molecule is not None else getattr(decoder, "molecule", None)
        if found is None:
            raise MdgenError("the decoder does not say which molecule it places; give it as `molecule`")
        if encoder.latent.molecule and encoder.latent.molecule != found.fingerprint:
            raise MdgenError(f"the encoder was trained on another molecule than {found!r}; give parts of one run")
        self.encoder, self.propagator, self.decoder, self.molecule = encoder, propagator, decoder, found
        self.context = Context()

    @property
    def frame_spacing_ps(self) -> float:
        """Time between two generated frames."""
        return self.propagator.frame_spacing_ps[0]

    def rollout(
        self, start: Start = None, n_frames: int = 1000, n_trajectories: int = 1, seed: int = 0
    ) -> list[mdtraj.Trajectory]:
        """Generate trajectories in memory.

        Args:
            start: an mdtraj trajectory or positions in nm `(frame, atom, 3)` whose frames the trajectories begin at in
                turn; drawn from the training data where None.
            n_frames: frames of each trajectory, the first included.
            n_trajectories: how many.
            seed: of everything random; the same seed gives the same frames, here and in `rollout_to_store`.

        Raises:
            MdgenError: for a start of another molecule, or numbers that make no trajectory.
        """
        plan = BlockPlan.sized(n_frames, n_trajectories, self.molecule.n_atoms)
        latents = self._starts(start, n_trajectories, seed)
        blocks = [
            positions for positions, _ in self._blocks(plan, LatentStream(latents), seed, Progress("generate", 1))
        ]
        time = np.arange(n_frames) * self.frame_spacing_ps
        whole = np.concatenate(blocks, axis=1)
        return [mdtraj.Trajectory(xyz, self.molecule.topology, time=time) for xyz in whole]

    def rollout_to_store(
        self,
        path: Path | str,
        start: Start = None,
        n_frames: int = 1000,
        n_trajectories: int = 1,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> TrajectoryStore:
        """Generate trajectories block by block to disk, so that any number of frames fits; resumes what is there.

        An interrupted rollout that is called again with the same arguments continues, and its frames are those of one
        that was never interrupted.

        Args:
            path: folder of the store.
            start: as for `rollout`; looked at only at the very beginning.
            n_frames: frames of each trajectory. More than at the first call extends what is there, with frames other
                than one longer call would have made.
            n_trajectories: how many.
            seed: of everything random.
            metadata: kept with a new store.

        Raises:
            MdgenError: for a folder that holds something else, a start of another molecule, or a full disk.
        """
        plan = BlockPlan.sized(n_frames, n_trajectories, self.molecule.n_atoms)
        record = RolloutRecord(Path(path), seed, self._fingerprints(), plan)
        with record.open_store(self.molecule, self.frame_spacing_ps, metadata) as store:
            stream = record.resume(store)
            if stream is None:
                stream = LatentStream(self._starts(start, n_trajectories, seed))
                record.save(stream)
            done = stream.n_frames * n_trajectories
            progress = Progress("generate", n_frames * n_trajectories, done)
            for positions, following in self._blocks(plan, stream, seed, progress):
                store.append(positions)
                record.save(following)
        return store

    def _fingerprints(self) -> dict[str, str]:
        parts = {"encoder": self.encoder, "propagator": self.propagator, "decoder": self.decoder}
        # A part that is no module has no weights to tell it by: its class must do.
        return {
            name: fingerprint(part) if isinstance(part, nn.Module) else type(part).__name__
            for name, part in parts.items()
        }

    def _blocks(
        self, plan: BlockPlan, stream: LatentStream, seed: int, progress: Progress
    ) -> Iterator[tuple[Float[np.ndarray, "trajectory frame atom 3"], LatentStream]]:
        # Each block has random streams of its own, so it comes out the same whoever computed the blocks before it.
        for block, length in plan.remaining(stream):
            random = block_generator(seed, block, "propagate")
            if stream.n_frames == 0:
                condition = first_frame(stream.latent, length)
                latent = self.propagator.sample(condition, self.context, random)
            else:
                condition = first_frame(stream.latent, length + 1)
                latent = self.propagator.sample(condition, self.context, random)[:, 1:]
            stream = LatentStream(latent[:, -1].clone(), stream.n_frames + length, block + 1)
            positions = self.decoder.decode(latent, self.context, block_generator(seed, block, "decode"))
            yield positions.cpu().numpy().astype(np.float32), stream
            progress.update(stream.n_frames * len(latent))

    @torch.no_grad()
    def _starts(self, start: Start, n_trajectories: int, seed: int) -> Float[Tensor, "trajectory token channel"]:
        if start is None:
            pool = getattr(self.propagator, "starts", None)
            if pool is None:
                raise MdgenError("this propagator keeps no frames to start from; give a start structure")
            generator = block_generator(seed, 0, "start")
            return pool[torch.randint(len(pool), (n_trajectories,), generator=generator)]
        if isinstance(start, mdtraj.Trajectory):
            self.molecule.require_same(Molecule.from_mdtraj(start.topology), "the start structure")
            start = start.xyz
        positions = torch.as_tensor(start, dtype=torch.float32)
        if positions.ndim == 2:
            positions = positions[None]
        if positions.ndim != 3 or positions.shape[1:] != (self.molecule.n_atoms, 3):
            raise MdgenError(
                f"the start has shape {tuple(positions.shape)}; "
                f"give positions (frame, {self.molecule.n_atoms}, 3) in nm"
            )
        if not bool(torch.isfinite(positions).all()):
            raise MdgenError("the start structure holds a coordinate that is not finite; give another frame")
        latents = self.encoder.encode(positions, self.context)
        return latents[torch.arange(n_trajectories) % len(latents)]


def require_same_latent(expected: LatentSpace, found: LatentSpace, part: str) -> None:
    """Raise unless a part was made for the encoder's latent.

    Raises:
        MdgenError: saying what differs: kind, size, encoder or molecule.
    """
    for name, words in (
        ("kind", "latents of kind"),
        ("tokens", "tokens"),
        ("channels", "channels"),
        ("origin", "the encoder"),
        ("molecule", "the molecule"),
    ):
        wanted, given = getattr(expected, name), getattr(found, name)
        optional = name in ("origin", "molecule") and not (wanted and given)
        if wanted != given and not optional:
            raise MdgenError(
                f"the {part} was made for {words} {given}, but the encoder has {wanted}; "
                "compose parts of one training run"
            )


def block_generator(seed: int, block: int, purpose: str) -> torch.Generator:
    """A random stream for one purpose in one block, independent of all others of the same seed."""
    purposes = ("start", "propagate", "decode")
    state = np.random.SeedSequence([seed, block, purposes.index(purpose)]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
