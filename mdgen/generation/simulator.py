"""Encoder, propagator and decoder composed into a simulator of molecules."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import mdtraj
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mdgen.data.collation import context_of
from mdgen.data.store import TrajectoryStore, require_space
from mdgen.errors import MdgenError
from mdgen.generation.composition import (
    chosen_spacing_ps,
    chosen_temperature_K,
    identity_of,
    require_same_latent,
    trained_temperature_K,
    training_data_of,
)
from mdgen.generation.decoding_check import DecodingCheck
from mdgen.generation.design import Designs, designed_tokens, known_windows
from mdgen.generation.known_frames import KnownFrames
from mdgen.generation.relaxation import Relaxation
from mdgen.generation.request import Request
from mdgen.generation.stream import GenerationRecord, LatentStream, block_generator, most_doublings
from mdgen.generation.tasks import (
    Frames,
    Inpainting,
    Interpolation,
    Rollout,
    Task,
    Trajectories,
    Upsampling,
    fingerprint_of,
    in_turn,
)
from mdgen.generation.windows import Windows, sample_windows
from mdgen.interfaces import Condition, Context, Decoder, DesigningPropagator, Encoder, Propagator, SpectralEncoder
from mdgen.models.blocks.se3_tokens import KINDS
from mdgen.models.checkpoint import save_model
from mdgen.models.decoders.se3_token_decoder import staying
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress

logger = logging.getLogger("mdgen")

ENCODED_FRAMES = 10_000
"""Frames that are encoded at a time."""


class Settings(TypedDict, total=False):
    """What every task takes, as `LatentSimulator.generate` explains it."""

    n_trajectories: int | None
    seed: int
    temperature_K: float | None
    frame_spacing_ps: float | None


class LatentSimulator:
    """A composition: encode what is known, sample a latent trajectory that agrees with it, decode every frame.

    Known structures enter by their latents alone: their frames are decoded as all others are, so that every frame comes
    from one distribution. Where the latent fixes all but bond lengths and angles, as SE(3) tokens do, known frames are
    those that were given, moved as rigid bodies onto the decoded ones.

    Args:
        encoder: positions to a latent.
        propagator: latent trajectories.
        decoder: a latent trajectory to positions.
        molecule: molecule that the decoder places; the decoder's own where None.
        start: structures at which rollouts begin that name none; drawn by the propagator where None.
        relaxation: moment of dynamics of every decoded frame; none where None.

    Raises:
        MdgenError: if the parts do not belong together, saying what differs.
    """

    def __init__(
        self,
        encoder: Encoder,
        propagator: Propagator,
        decoder: Decoder,
        molecule: Molecule | None = None,
        start: Frames | None = None,
        relaxation: Relaxation | None = None,
    ) -> None:
        require_same_latent(encoder.latent, propagator.latent, "propagator")
        require_same_latent(encoder.latent, decoder.latent, "decoder")
        found = molecule if molecule is not None else getattr(decoder, "molecule", None)
        if found is None:
            raise MdgenError(
                "these parts are for any molecule and do not say which is meant; give a structure of it (pdb=FILE)"
            )
        if encoder.latent.molecule and encoder.latent.molecule != found.fingerprint:
            raise MdgenError(f"the encoder was trained on another molecule than {found!r}; give parts of one run")
        self.encoder, self.propagator, self.decoder, self.molecule = encoder, propagator, decoder, found
        self.start, self.relaxation, self.device = start, relaxation, torch.device("cpu")
        self._trained_K = trained_temperature_K(self._parts())

    @property
    def frame_spacing_ps(self) -> float:
        """Time between two generated frames; where the propagator knows several, the least."""
        return self.propagator.frame_spacing_ps[0]

    @property
    def temperature_K(self) -> float | None:
        """Temperature at which the parts were trained; None where they do not say, or know several."""
        least, largest = self._trained_K or (None, None)
        return least if least == largest else None

    @property
    def timescales_ps(self) -> Float[np.ndarray, "channel"]:
        """Implied timescales of the slow modes, slowest first.

        Raises:
            MdgenError: if the encoder knows none, as with tokens.
        """
        if not isinstance(self.encoder, SpectralEncoder):
            raise MdgenError(f"a {type(self.encoder).__name__} knows no timescales; encoders such as SRV and TICA do")
        return self.encoder.timescales_ps.cpu().numpy()

    @torch.no_grad()
    def latent(self, trajectory: Frames) -> Float[np.ndarray, "frame token channel"]:
        """The latent of every frame; slow modes are one token, so that `latent(t)[:, 0]` holds one column a mode.

        Args:
            trajectory: an mdtraj trajectory, or positions in nm (frame, atom, 3), of this molecule.

        Raises:
            MdgenError: if it is of another molecule.
        """
        positions = Rollout(trajectory).structures(self.molecule)[0].transpose(0, 1)
        context = context_of(self.molecule, 1, self.temperature_K, self.frame_spacing_ps, positions[:, :1])
        context = context.to(self.device)
        blocks = [self.encoder.encode(each.to(self.device), context)[0] for each in positions.split(ENCODED_FRAMES, 1)]
        return torch.cat(blocks).cpu().numpy()

    def save(self, folder: Path | str) -> None:
        """Write the three parts into a folder that `mdgen.load` reads.

        Raises:
            MdgenError: if a part is not registered, or the folder cannot be written.
        """
        for name, part in self._parts().items():
            save_model(Path(folder) / f"{name}.safetensors", part)

    def to(self, device: torch.device | str) -> "LatentSimulator":
        """Move the parts to a device, on which everything is drawn and computed from then on.

        The same seed draws other numbers on another kind of device.

        Raises:
            MdgenError: if there is no such device.
        """
        try:
            torch.zeros((), device=device)
        except (RuntimeError, AssertionError) as error:
            raise MdgenError(
                f"device={device} was asked for, but torch finds no such device; use device=cpu"
            ) from error
        for part in self._parts().values():
            if isinstance(part, nn.Module):
                part.to(device)
        self.device = torch.device(device)
        return self

    def __repr__(self) -> str:
        latent, window = self.encoder.latent, self.propagator.window
        tokens = "one token" if latent.tokens == 1 else f"{latent.tokens or 'any number of'} tokens"
        size = f"{tokens} of {latent.channels} channels"
        makes = "one frame" if window == 1 else f"at most {window} frames"
        spacing = " to ".join(f"{each:g}" for each in sorted(set(self.propagator.frame_spacing_ps)))
        kelvin = " to ".join(f"{each:g}" for each in sorted(set(self._trained_K or ())))
        lag = getattr(self.encoder, "lag_ps", None)
        spectral = isinstance(self.encoder, SpectralEncoder)
        known = [] if not spectral else [f"{each:.3g}" for each in self.timescales_ps if np.isfinite(each)]
        lines = [
            "" if lag is None else f"\n  lag          {lag:g} ps",
            "" if not known else f"\n  timescales   {', '.join(known)} ps",
            "" if not (trained := training_data_of(self.encoder)) else f"\n  trained on   {trained}",
        ]
        return (
            f"LatentSimulator of {self.molecule!r}\n"
            f"  encoder      {type(self.encoder).__name__} to {latent.kind}, {size}\n"
            f"  propagator   {type(self.propagator).__name__}, {makes} at once, {spacing} ps apart\n"
            f"  decoder      {type(self.decoder).__name__}\n"
            f"  temperature  {kelvin + ' K' if kelvin else 'not known'}" + "".join(lines)
        )

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        generator: torch.Generator,
        temperature_K: float | None = None,
        frame_spacing_ps: float | None = None,
        key_frames: Float[Tensor, "batch key atom 3"] | None = None,
    ) -> Float[Tensor, "batch frame token channel"]:
        """Latent trajectories under any condition, chained from the windows that the propagator makes at once, coarse
        frames before those between them (`generation.windows`).

        Args:
            condition: what is known; it is met exactly.
            generator: source of all that is random.
            temperature_K: temperature; that of the training where None.
            frame_spacing_ps: time between two frames; the propagator's own where None.
            key_frames: structures that tokens are measured against, nm; parts without such tokens do not need them.

        Raises:
            MdgenError: for a condition that the propagator cannot meet, or a temperature or spacing that the parts were
                not trained for.
        """
        latent, shape = self.propagator.latent, tuple(condition.values.shape)
        if len(shape) != 4 or shape[3] != latent.channels or shape[2] != (latent.tokens or shape[2]):
            raise MdgenError(
                f"the condition has shape {shape}; give (batch, frame, token, channel) with {latent.tokens or 'any'} "
                f"tokens of {latent.channels} channels"
            )
        context = self._context(len(condition.values), temperature_K, frame_spacing_ps, key_frames)
        return sample_windows(self.propagator, condition, context, generator)

    def generate(
        self,
        task: Task,
        n_trajectories: int | None = None,
        seed: int = 0,
        temperature_K: float | None = None,
        frame_spacing_ps: float | None = None,
    ) -> list[mdtraj.Trajectory]:
        """Generate trajectories in memory.

        Args:
            task: what is known and what is asked for.
            n_trajectories: how many; what is known is taken in turn. One for each that is known where None.
            seed: seed of everything random; the same seed gives the same frames, here and in `generate_to_store`.
            temperature_K: temperature; that of the training where None.
            frame_spacing_ps: time between two frames; that of the task or the propagator's own where None.

        Raises:
            MdgenError: for structures of another molecule, numbers that make no trajectory, a task that the propagator
                cannot do, or a temperature or spacing that the parts were not trained for.
        """
        request = self._request(task, n_trajectories, seed, temperature_K, frame_spacing_ps)
        first = LatentStream(request.condition.values[:, 0])
        n, n_frames = request.condition.values.shape[:2]
        blocks = [positions for positions, _ in request.blocks(first, Progress("generate", n * n_frames))]
        time = np.arange(n_frames) * request.identity["frame_spacing_ps"]
        return [mdtraj.Trajectory(xyz, self.molecule.topology, time=time) for xyz in np.concatenate(blocks, axis=1)]

    def generate_to_store(
        self,
        path: Path | str,
        task: Task,
        metadata: dict[str, Any] | None = None,
        check: DecodingCheck | None = None,
        **settings: Unpack[Settings],
    ) -> TrajectoryStore:
        """Generate trajectories block by block to disk, so that any number of frames fits; resumes what is there.

        What was interrupted and is called again with the same arguments continues, and its frames are those of a call
        that was never interrupted. A rollout of more frames than at the first call extends what is there, with frames
        other than one longer call would have made.

        Args:
            path: folder of the store.
            task: what is known and what is asked for.
            metadata: kept with a new store, and with it the temperature.
            check: figures that take in every block that this call makes; none where None.
            settings: as for `generate`.

        Raises:
            MdgenError: as `generate`, and for a folder that holds something else, or a disk that is full or would be.
        """
        # Before memory is taken for them, as far as the task tells.
        self._require_space(path, task.least_frames, settings.get("n_trajectories") or 1)
        request = self._request(task, **settings)
        n, n_frames = request.condition.values.shape[:2]
        self._require_space(path, n_frames, n)
        kelvin, spacing = (request.identity[key] for key in ("temperature_K", "frame_spacing_ps"))
        kept = {**(metadata or {}), **({} if kelvin is None else {"temperature_K": kelvin})}
        record = GenerationRecord(Path(path), request.identity, n_frames)
        with record.open_store(self.molecule, spacing, kept) as store:
            stream = record.resume(store)
            if stream is None:
                stream = LatentStream(request.condition.values[:, 0])
                record.save(stream)
            progress = Progress("generate", n_frames * n, stream.n_frames * n)
            for positions, following in request.blocks(stream, progress, check):
                store.append(positions)
                record.save(following)
        return store

    def _require_space(self, path: Path | str, n_frames: int, n_trajectories: int) -> None:
        advice = "ask for fewer frames or trajectories, or name a folder on another disk"
        require_space(path, n_frames, n_trajectories, self.molecule.n_atoms, False, advice)

    def rollout(
        self, start: Frames | None = None, n_frames: int = 1000, n_trajectories: int = 1, **settings: Unpack[Settings]
    ) -> list[mdtraj.Trajectory]:
        """Simulate forward from `start`, or from frames of the training data: `generate` of a `Rollout`."""
        return self.generate(Rollout(start, n_frames), n_trajectories, **settings)

    def interpolate(
        self, start: Frames, end: Frames, n_frames: int, **settings: Unpack[Settings]
    ) -> list[mdtraj.Trajectory]:
        """Find paths from `start` to `end`: `generate` of an `Interpolation`."""
        return self.generate(Interpolation(start, end, n_frames), **settings)

    def upsample(self, coarse: Trajectories, factor: int, **settings: Unpack[Settings]) -> list[mdtraj.Trajectory]:
        """Fill in the frames between coarse ones: `generate` of an `Upsampling`."""
        return self.generate(Upsampling(coarse, factor), **settings)

    def inpaint(
        self, known: Trajectories, tokens: Sequence[int], **settings: Unpack[Settings]
    ) -> list[mdtraj.Trajectory]:
        """Generate the tokens that are not among `tokens`: `generate` of an `Inpainting`."""
        return self.generate(Inpainting(known, tokens), **settings)

    @torch.no_grad()
    def design(
        self,
        known: Trajectories,
        tokens: Sequence[int],
        n_designs: int | None = None,
        by: str = "flow",
        tell_types: bool = False,
        seed: int = 0,
        temperature_K: float | None = None,
        frame_spacing_ps: float | None = None,
    ) -> Designs:
        """Tell which residues lie beside known ones by how these move: sequences, each from one window of frames.

        Nothing of the designed residues is used: neither where they are nor what they are, but to count how many of
        them are told right.

        Args:
            known: trajectories of equal length of the simulator's molecule; windows follow one after another.
            tokens: residues that are known, counted from 0.
            n_designs: how many designs; the windows are taken in turn. One for each window where None.
            by: `flow`, or `rejection` of candidates by how well they explain the known motion.
            tell_types: whether types of known residues are used beside their motion.
            seed: seed of everything random.
            temperature_K: temperature; that of the training where None.
            frame_spacing_ps: time between frames of a window, a multiple of that of `known`; the least that the
                propagator was trained for where None.

        Raises:
            MdgenError: for residues that there are not, or of which all or none are known, frames that make no window,
                or a propagator that was not trained to design.
        """
        if n_designs is not None and n_designs < 1:
            raise MdgenError(f"{n_designs} designs were asked for; it must be at least 1")
        if not isinstance(self.propagator, DesigningPropagator):
            raise MdgenError(f"a {type(self.propagator).__name__} designs no residues; train propagator=interpolant")
        designed = designed_tokens(tokens, self.molecule.topology.n_residues)
        spacing = chosen_spacing_ps(frame_spacing_ps, None, self.propagator.frame_spacing_ps)
        task = Inpainting(known, tokens)
        if frame_spacing_ps is None and task.frame_spacing_ps is None:
            logger.warning("design        the known frames tell no times, and are taken as %g ps apart", spacing)
        windows = known_windows(task, self.molecule, self.propagator.window, spacing)
        windows = in_turn(windows, n_designs or len(windows)).to(self.device)
        context = self._context(len(windows), temperature_K, spacing, windows[:, :1])
        chosen = torch.zeros(self.molecule.topology.n_residues, dtype=torch.bool, device=self.device)
        chosen[designed] = True
        generator = block_generator(seed, 0, "design", self.device)
        made = self.propagator.design(windows, context, chosen, generator, by, tell_types)
        return Designs.of(made, designed, self.molecule)

    def _parts(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "propagator": self.propagator, "decoder": self.decoder}

    def _context(
        self,
        n: int,
        temperature_K: float | None,
        frame_spacing_ps: float | None,
        key_frames: Float[Tensor, "{n} key atom 3"] | None,
    ) -> Context:
        """The context of `n` rows; refuses what the parts were not trained for."""
        kelvin = chosen_temperature_K(temperature_K, self._trained_K)
        spacing = chosen_spacing_ps(frame_spacing_ps, None, self.propagator.frame_spacing_ps)
        return context_of(self.molecule, n, kelvin, spacing, key_frames).to(self.device)

    def _request(
        self,
        task: Task,
        n_trajectories: int | None = None,
        seed: int = 0,
        temperature_K: float | None = None,
        frame_spacing_ps: float | None = None,
    ) -> Request:
        if n_trajectories is not None and n_trajectories < 1:
            raise MdgenError(f"{n_trajectories} trajectories were asked for; it must be at least 1")
        if seed < 0:
            raise MdgenError(f"seed is {seed}; it must be 0 or a positive whole number")
        if isinstance(task, Rollout) and task.start is None:
            task = replace(task, start=self.start)
        kelvin = chosen_temperature_K(temperature_K, self._trained_K)
        spacing = chosen_spacing_ps(frame_spacing_ps, task.frame_spacing_ps, self.propagator.frame_spacing_ps)
        structures = task.structures(self.molecule)
        keys = structures[0][:, :1] if structures else None
        n = n_trajectories or (1 if keys is None else len(keys))
        latents = [self._encoded(each, structures[0][:, :1], kelvin, spacing) for each in structures]
        condition = task.condition([in_turn(each, n) for each in latents or [self._drawn(n, seed)]])
        # A task that it cannot do is refused before anything is written.
        most = most_doublings(n, self.molecule.n_atoms, self.propagator.window)  # for its frames to be held in memory
        windows = Windows.of(condition, self.propagator, spacing, most)
        made_by = {role: identity_of(part) for role, part in self._parts().items()}
        conditions = {"temperature_K": kelvin, "frame_spacing_ps": spacing, "structures": fingerprint_of(structures)}
        identity = {"seed": seed, "n_trajectories": n, **made_by, **task.settings, **conditions}
        if windows.doublings:
            identity["doublings"] = windows.doublings
        if self.relaxation is not None:
            self.relaxation.require_for(self.molecule, kelvin)
            identity["relaxation"] = self.relaxation.settings
        context = self._context(n, kelvin, spacing, None if keys is None else in_turn(keys, n))
        parts = (self.encoder, self.propagator, self.decoder, self.relaxation, self.device)
        request = Request(*parts, condition, context, windows, identity)
        if self.decoder.latent.kind not in KINDS:  # frames come from their latents alone, known or not
            return request
        request = replace(request, known=KnownFrames.of(task, structures, condition.values.shape[1]))
        if isinstance(task, Inpainting):  # what is known keeps its place beside the rest
            held = tuple(a.index for a in self.molecule.topology.atoms if a.residue.index in task.tokens)
            if self.relaxation is not None:
                identity["relaxation"] |= {"held": len(held)}
            return replace(request, decoder=staying(self.decoder, task.tokens), held=held)
        return replace(request, goes_on_relaxed=self.relaxation is not None)

    def _drawn(self, n: int, seed: int) -> Float[Tensor, "known 1 token channel"]:
        pool = getattr(self.propagator, "starts", None)
        if pool is None:
            raise MdgenError(
                "this propagator keeps no frames to start from; give a structure (start=FILE, or pdb=FILE for both "
                "molecule and start)"
            )
        chosen = torch.randint(len(pool), (n,), generator=block_generator(seed, 0, "start"))
        return pool[chosen.to(pool.device)][:, None]

    @torch.no_grad()
    def _encoded(
        self,
        positions: Float[Tensor, "known frame atom 3"],
        keys: Float[Tensor, "known 1 atom 3"],
        temperature_K: float | None,
        frame_spacing_ps: float,
    ) -> Float[Tensor, "known frame token channel"]:
        context = self._context(len(positions), temperature_K, frame_spacing_ps, keys)
        blocks = positions.split(max(1, ENCODED_FRAMES // len(positions)), dim=1)
        return torch.cat([self.encoder.encode(block.to(self.device), context) for block in blocks], dim=1)
