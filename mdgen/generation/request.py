"""A task made ready for its parts, and the blocks of frames that are made of it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mdgen.generation.decoding_check import DecodingCheck
from mdgen.generation.known_frames import KnownFrames
from mdgen.generation.parallel_decoding import decode_in_parts
from mdgen.generation.relaxation import Relaxation
from mdgen.generation.stream import LatentStream, block_generator, frames_a_block
from mdgen.generation.windows import Windows, part_of, sample_windows
from mdgen.interfaces import Condition, Context, Decoder, Encoder, Propagator
from mdgen.progress import Progress


@dataclass(frozen=True)
class Request:
    """What is to be generated, by which parts, and in which windows.

    Args:
        encoder: positions to a latent.
        propagator: latent trajectories.
        decoder: a latent trajectory to positions.
        relaxation: moment of dynamics of every decoded frame; none where None.
        device: device of the parts.
        condition: what is known, in the latent.
        context: molecule, temperature and spacing of each trajectory.
        windows: windows in which a trajectory is made.
        identity: what the frames follow from, as plain JSON.
        known: frames that are returned as they were given; none where None.
        goes_on_relaxed: whether each window goes on from the last relaxed frame instead of the one that was sampled.
        held: atoms that the relaxation leaves where they are.
    """

    encoder: Encoder
    propagator: Propagator
    decoder: Decoder
    relaxation: Relaxation | None
    device: torch.device
    condition: Condition
    context: Context
    windows: Windows
    identity: dict[str, Any]
    known: KnownFrames | None = None
    goes_on_relaxed: bool = False
    held: tuple[int, ...] = ()

    @torch.no_grad()
    def blocks(
        self, stream: LatentStream, progress: Progress, check: DecodingCheck | None = None
    ) -> Iterator[tuple[Float[np.ndarray, "trajectory frame atom 3"], LatentStream]]:
        """Positions from where a stream stands, block by block, each with the stream after it."""
        n, n_frames = self.condition.values.shape[:2]
        size = frames_a_block(n, self.context.molecules[0].n_atoms)
        while stream.n_frames < n_frames:
            stop = self.windows.block_stop(stream.n_frames, size)
            positions, stream = self._block(stream, stop, progress, check)
            yield positions, stream

    def _block(
        self, stream: LatentStream, stop: int, progress: Progress, check: DecodingCheck | None
    ) -> tuple[Float[np.ndarray, "trajectory frame atom 3"], LatentStream]:
        # Each block has random streams of its own, so it comes out the same whoever computed the blocks before it.
        seed, block = self.identity["seed"], stream.n_blocks
        random, heat = (block_generator(seed, block, purpose, self.device) for purpose in ("propagate", "relax"))
        made: list[np.ndarray] = []
        while stream.n_frames < stop:  # once, but where each window goes on from the relaxed end of the last
            done = stream.n_frames
            end = self.windows.block_stop(done, 1) if self.goes_on_relaxed else stop
            part = part_of(self.condition, done, end, stream.latent.to(self.device))
            latent = sample_windows(self.propagator, part, self.context, random, self.windows.doublings)
            latent = latent[:, bool(done) :]
            streams = functools.partial(block_generator, seed, block, "decode", self.device, after=len(made))
            memory = None if stream.chosen is None else stream.chosen.to(self.device)
            positions, memory = decode_in_parts(self.decoder, latent, self.context, streams, memory)
            last = latent[:, -1].clone()
            if self.relaxation is not None:
                positions = self.relaxation(positions, self.identity["temperature_K"], heat, self.held)
            if self.goes_on_relaxed:
                settled = self.encoder.encode(positions[:, -1:], self.context)[:, 0]
                last = torch.where(self.condition.known[:, end - 1], last, settled)
            stream = LatentStream(last, end, block + 1, memory)
            if check is not None:
                check.add(latent, positions, self.context)
            if self.known is not None:
                positions = self.known.put_into(positions, done)
            made.append(positions.cpu().numpy().astype(np.float32))
            progress.update(end * len(positions))
        return np.concatenate(made, axis=1), stream
