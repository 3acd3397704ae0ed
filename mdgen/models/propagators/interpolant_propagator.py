"""A propagator of whole trajectories: noise is carried to latents by a network of velocities, under any condition.

Source: Jing, Staerk, Jaakkola and Berger, "Generative modeling of molecular dynamics trajectories" (NeurIPS 2024), here
as one network for all tasks.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from mdgen.data.collation import TrajectoryBatch, add_context, pad_windows
from mdgen.data.spacing import SAME
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, DesignedResidues, Encoder, LatentSpace, Loss
from mdgen.models.batches import TrainingData
from mdgen.models.blocks.number_format import chosen_format
from mdgen.models.blocks.se3_tokens import torsion_harmonics
from mdgen.models.interpolant.flow_matching import Velocity, velocity_loss
from mdgen.models.interpolant.gaussian_process import GaussianProcess
from mdgen.models.interpolant.known_parts import DESIGN, TASKS, draw_known, require_tasks
from mdgen.models.interpolant.latent_geometry import geometry_of, known_frames
from mdgen.models.interpolant.paths import PATHS
from mdgen.models.interpolant.residue_design import ResidueDesigner, Trunk
from mdgen.models.interpolant.solvers import integrate
from mdgen.models.interpolant.velocity_network import TokenContext, VelocityNetwork
from mdgen.models.part import Part
from mdgen.molecule.residues import RESIDUE_TYPES
from mdgen.molecule.tokens import TORSION_SLOTS
from mdgen.registry import register

STATISTICS_FRAMES = 60_000
"""Frames from which means, spreads and correlations are taken at most."""

SAMPLED_TOKENS = 4_096
"""Tokens of all frames that a processor samples at a time: more leave its cache, and take longer each."""

N_STARTS = 64
"""Latents that are kept to start trajectories from, where the tokens are always the same."""

Latent = Float[Tensor, "batch frame token channel"]


@register
class InterpolantPropagator(Part):
    """Samples windows of latents at once: forward, between known frames, or around known tokens.

    The flow starts from noise that remembers as the data do (`interpolant.gaussian_process`). The network makes
    what is added to the velocities that carry this noise to itself, a Gaussian process of the data's mean and spread.
    What is known enters as it is and is met exactly. `solver`, `n_evaluations` and `time_warp` may be changed after the
    training.

    Args:
        latent: latent space of the encoder.
        frame_spacing_ps: least and largest time between frames of the training.
        window: most frames that are made at once, known ones included; those of a training window.
        forward_window: the same where nothing is known of the frames ahead; 2 makes each from the one before, which
            keeps timescales that frames made together lose. None for `window`. It may be changed after the training.
        width: channels within the network.
        heads: attention heads.
        blocks: blocks over trajectories.
        key_frame_blocks: blocks over the key frame, of latents that are told against one.
        time_mixer: `attention`, or `oscillators`, whose cost grows as n log n with the frames.
        path: `linear` or `trigonometric`.
        tasks: tasks of the training, drawn evenly: rollout, interpolate, upsample, inpaint, unconditional, and design
            (`interpolant.residue_design`), of which whole batches are made. One that is named twice is drawn twice as
            often.
        shorter_share: share of batches that are cut to a random number of frames, so that fewer frames than the window
            may be asked for.
        solver: euler, heun, midpoint, adams_bashforth or dormand_prince.
        n_evaluations: evaluations of the network for a window; `dormand_prince` counts its own.
        time_warp: how much shorter steps get towards the data (`interpolant.solvers.integrate`).
        number_format: float32, bfloat16, or auto for the one that this machine is measured to multiply faster.
        checkpoint_blocks: whether the training computes blocks twice to save memory.
        compile_network: whether the network is compiled at its first use, which takes a minute.

    Raises:
        MdgenError: for sizes that make no network, a word that is not known, or design of anything but residues that
            are measured against a key frame.
    """

    learns_from = "trajectory_windows"
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": functools.partial(torch.optim.AdamW, lr=5e-4, weight_decay=0.0),
        "max_epochs": 20,
        "batch_size": 16,
        "average_decay": 0.999,
    }
    temperature_range_K: Tensor
    """The least and the largest of the training; zero where they were not known."""
    starts: Tensor | None

    def __init__(
        self,
        latent: LatentSpace,
        frame_spacing_ps: Sequence[float],
        window: int = 100,
        width: int = 96,
        heads: int = 4,
        blocks: int = 4,
        key_frame_blocks: int = 1,
        time_mixer: str = "attention",
        path: str = "linear",
        tasks: Sequence[str] = tuple(TASKS),
        shorter_share: float = 0.25,
        solver: str = "midpoint",
        n_evaluations: int = 10,
        time_warp: float = 2.0,
        number_format: str = "auto",
        checkpoint_blocks: bool = False,
        compile_network: bool = False,
        forward_window: int | None = None,
    ) -> None:
        super().__init__()
        if window < 2:
            raise MdgenError(f"a window of {window} frames leaves nothing to generate; it must have at least 2")
        if forward_window is not None and not 2 <= forward_window <= window:
            raise MdgenError(
                f"forward_window={forward_window}: expected 2, the frame before and the next, to the {window} of a "
                "window, or null for all of these"
            )
        if path not in PATHS:
            raise MdgenError(f"path={path}: expected one of {', '.join(PATHS)}")
        least, largest = frame_spacing_ps
        if not 0 < least <= largest:
            raise MdgenError(f"frame_spacing_ps={list(frame_spacing_ps)}: expected the least and the largest, above 0")
        require_tasks(tasks)
        self.latent, self.window, self.frame_spacing_ps = latent, window, (float(least), float(largest))
        self.path, self.geometry = PATHS[path], geometry_of(latent)
        against_key_frame = self.geometry is None or self.geometry.against_key_frame
        # One token that is known in all frames leaves nothing to generate, and along a chain none stays where it is.
        inpaints = latent.tokens != 1 and against_key_frame
        self.tasks = tuple(task for task in tasks if task != "inpaint" or inpaints)
        self.shorter_share = shorter_share
        self.solver, self.n_evaluations, self.time_warp = solver, n_evaluations, time_warp
        self.number_format, self.forward_window = number_format, forward_window
        self.network = VelocityNetwork(
            latent.channels,
            latent.tokens,
            width,
            heads,
            blocks,
            key_frame_blocks if against_key_frame else 0,
            torsions=0 if self.geometry is None else TORSION_SLOTS,
            time_mixer=time_mixer,
            checkpoint_blocks=checkpoint_blocks,
        )
        self.designer = ResidueDesigner(width) if DESIGN in tasks else None
        if self.designer is not None and (self.geometry is None or not against_key_frame):
            raise MdgenError(
                f"task design needs tokens of residues against a key frame, and the latent is of {latent.kind}; choose "
                "encoder=se3_tokens with encoder.model.relative_to=key_frame, or leave design out"
            )
        if compile_network:
            self.network.compile()
        kinds = latent.tokens if self.geometry is None else self.geometry.n_kinds
        self.process = GaussianProcess(kinds or len(RESIDUE_TYPES), latent.channels)
        self.register_buffer("temperature_range_K", torch.zeros(2))
        starts = torch.zeros(N_STARTS, latent.tokens, latent.channels) if latent.tokens else None
        self.register_buffer("starts", starts)
        self.evaluations = 0
        self._encoder: list[Encoder] = []  # in a list, or it would count among the propagator's own weights

    @property
    def upsamples(self) -> bool:
        """Whether it was trained to make the frames between known ones."""
        return "upsample" in self.tasks

    @torch.no_grad()
    def prepare(self, data: TrainingData, generator: torch.Generator) -> TrainingData:
        """Draw the weights; measure the Gaussian process and the range of temperatures of some windows.

        Raises:
            MdgenError: without an encoder, or for data of other frame spacings.
        """
        if data.encoder is None:
            raise MdgenError(f"a {type(self).__name__} learns from latents; give the encoder that makes them")
        self._encoder = [data.encoder]
        self.network.draw(generator)
        windows: WindowDataset = data.training.dataset
        self._require_spacings(torch.tensor(windows.spacings_ps))
        if windows.collection.knows_temperatures:
            kelvin = [each for some in windows.collection for each in some.temperatures_K if each is not None]
            self.temperature_range_K.copy_(torch.tensor([min(kelvin), max(kelvin)]))
        latents, exists, kinds, spacings_ps = self._some_latents(windows, generator)
        places = _place(spacings_ps.log(), *map(math.log, self.frame_spacing_ps))
        self.process.fit(latents, exists, kinds, places)
        if self.starts is not None:
            frames = latents.flatten(0, 1)
            chosen = torch.randint(len(frames), (N_STARTS,), generator=generator)
            self.starts.copy_(frames[chosen])
        if self.designer is not None:
            some = torch.randperm(len(windows), generator=generator)[: max(1, STATISTICS_FRAMES // self.window)]
            batches = (
                (batch, self._spacing(batch.context, len(batch), batch.positions.device))
                for batch in _batches(windows, some)
            )
            self.designer.prepare(batches, windows.residue_types, generator)
        return data

    def loss(self, batch: TrajectoryBatch, generator: torch.Generator) -> Loss:
        """Mean square error of velocities over what is not known, under a task drawn for each window.

        Of a batch of designs, drawn as often as they are named among the tasks, also the cross-entropy of types.
        """
        if self.designer is not None:
            chance = float(torch.rand((), generator=generator, device=generator.device))
            if chance < self.tasks.count(DESIGN) / len(self.tasks):
                batch = self._cut(batch, generator)
                with self._fast(batch.positions.device):
                    trunk = self._trunk(batch.context, len(batch), batch.positions.device)
                    return self.designer.loss(trunk, batch, generator)
        data, context, told = self._encoded(self._cut(batch, generator))
        device = data.device
        batch_size, n_frames, n_tokens, _ = data.shape
        exists = self._exists(data, told)
        known = draw_known((batch_size, n_frames, n_tokens), self.tasks, generator)[..., None] & exists
        white = torch.randn(data.shape, generator=generator, device=device)
        time = torch.rand(batch_size, generator=generator, device=device)
        standard, noise, expected = self._start(data, white, known, exists, context, told)
        with self._fast(device):
            added = self._added(expected, known, context, told)
            return Loss(velocity_loss(added, self.path, standard, exists & ~known, noise, time, expected))

    @torch.no_grad()
    def sample(self, condition: Condition, context: Context, generator: torch.Generator) -> Latent:
        """Latent trajectories that are exactly what is known where it is known.

        Where frames are known or unknown as wholes, they are measured against the first known one while they are
        sampled: so were the windows of the training. Beyond the last frame that something is known of, frames are
        made `forward_window` at a time. `evaluations` afterwards holds the number of evaluations of a row.

        Raises:
            MdgenError: for other channels, more frames than the window, or a spacing or temperature that it was not
                trained for.
        """
        self._require_shape(condition)
        if set(self.tasks) == {DESIGN}:
            raise MdgenError("this propagator was trained for nothing but design; train it for other tasks too")
        n_frames = condition.values.shape[1]
        told = condition.known.flatten(2).any(-1).any(0).nonzero()
        reach = self.forward_window or n_frames
        # beyond the last frame that something is known of, each stretch follows from the frame before it alone
        done = min(n_frames, max(reach, int(told[-1]) + 1 if len(told) else 0))
        values, known = condition.values, condition.known
        made = self._at_once(Condition(values[:, :done], known[:, :done]), context, generator)
        evaluations = self.evaluations
        while done < n_frames:
            stop = min(n_frames, done + reach - 1)
            ahead = Condition(values[:, done - 1 : stop].clone(), known[:, done - 1 : stop].clone())
            ahead.values[:, 0], ahead.known[:, 0] = made[:, -1], True
            made = torch.cat([made, self._at_once(ahead, context, generator)[:, 1:]], 1)
            evaluations, done = evaluations + self.evaluations, stop
        self.evaluations = evaluations
        return made

    @torch.no_grad()
    def design(
        self,
        positions: Float[Tensor, "batch frame atom 3"],
        context: Context,
        designed: Bool[Tensor, "token"],
        generator: torch.Generator,
        by: str = "flow",
        tell_types: bool = False,
    ) -> DesignedResidues:
        """Types of the designed residues of each window, as `interfaces.DesigningPropagator` says.

        `by` is `flow`, or `rejection` of candidates that the frequencies of the training propose. Types that are told
        are learnt by heart where the training molecules are few.
        """
        if self.designer is None:
            raise MdgenError("this propagator was not trained to design residues; train it with design among its tasks")
        n_frames = positions.shape[1]
        if not 2 <= n_frames <= self.window:
            raise MdgenError(f"a design takes 2 to {self.window} frames at once, and was given {n_frames}; cut others")
        with self._fast(positions.device):
            trunk = self._trunk(context, len(positions), positions.device)
            return self.designer.design(trunk, positions, context, designed, generator, by, tell_types)

    def _trunk(self, context: Context, n: int, device: torch.device) -> Trunk:
        spacing, temperature = self._spacing(context, n, device), self._temperature(context, n, device)
        return Trunk(self.network, self.path, spacing, temperature, self._solved)

    def _solved(self, velocity: Callable[[Tensor, float], Tensor], start: Tensor) -> Tensor:
        solution = integrate(velocity, start, self.solver, self.n_evaluations, self.time_warp)
        self.evaluations = solution.n_evaluations
        return solution.value

    def _at_once(self, condition: Condition, context: Context, generator: torch.Generator) -> Latent:
        """All frames of a condition, some rows at a time."""
        shape = condition.values.shape
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=condition.values.dtype)
        rows = max(1, SAMPLED_TOKENS // (shape[1] * shape[2])) if noise.device.type == "cpu" else len(noise)
        made = []
        for some in torch.arange(len(noise)).split(rows):
            part = Condition(condition.values[some], condition.known[some])
            made.append(self._sample(part, noise[some], context.rows(some)))
        return torch.cat(made)

    def _sample(self, condition: Condition, noise: Latent, context: Context) -> Latent:
        geometry = self.geometry
        if geometry is None:
            return torch.where(condition.known, condition.values, self._flow(condition, noise, context, None))
        key = geometry.key_of(context)
        told = geometry.token_context(context, key)
        found = known_frames(condition, told.channel_mask & told.mask[..., None])
        if found is None:
            made = geometry.projected(self._flow(condition, noise, context, told))
            return torch.where(condition.known, condition.values, made)
        values, new_key = geometry.rebased(condition.values, found[0], key, found[1], context.token_mask)
        told = geometry.token_context(context, new_key)
        made = geometry.projected(self._flow(Condition(values, condition.known), noise, context, told))
        made = geometry.restored(made, new_key, key, context.token_mask)
        return torch.where(condition.known, condition.values, made)

    def _flow(self, condition: Condition, noise: Latent, context: Context, told: TokenContext | None) -> Latent:
        """Latents at the end of the flow; zero where there is no channel."""
        exists = self._exists(condition.values, told)
        known = condition.known & exists
        free = exists & ~known
        standard, noise, expected = self._start(condition.values, noise, known, exists, context, told)
        with self._fast(standard.device):
            added = self._added(expected, known, context, told)

            def velocity(value: Latent, time: float) -> Latent:
                times = torch.full((len(value),), time, device=value.device)
                return (self.path.gaussian_velocity(value, expected, times) + added(value, times)) * free

            end = self._solved(velocity, noise * free)
        made = torch.where(known, standard, end)
        return self.process.restored(made, self._kinds(made, told)) * exists

    def _start(
        self,
        latent: Latent,
        white: Latent,
        known: Bool[Tensor, "batch frame token channel"],
        exists: Bool[Tensor, "batch frame token channel"],
        context: Context,
        told: TokenContext | None,
    ) -> tuple[Latent, Latent, Latent]:
        """Standardised latents, the noise that the flow starts from, and what is expected given what is known."""
        kinds, spacing = self._kinds(latent, told), self._spacing(context, len(latent), latent.device)
        standard = self.process.standardised(latent, kinds) * exists
        return standard, *self.process.draw(white, standard, known, kinds, spacing)

    def _fast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The number format in which matrices are multiplied; single precision leaves that of the caller."""
        if chosen_format(self.number_format, device) == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def _added(self, expected: Latent, known: Tensor, context: Context, told: TokenContext | None) -> Velocity:
        """What the network adds to the velocity of the Gaussian process, given what is known and expected."""
        n, device = len(expected), expected.device
        spacing, temperature = self._spacing(context, n, device), self._temperature(context, n, device)
        conditioning = self.network.condition(expected, known, spacing, temperature, told)
        geometry, kinds = self.geometry, self._kinds(expected, told)
        if geometry is None:
            return lambda value, time: self.network(value, time, conditioning)
        return lambda value, time: self.network(
            value, time, conditioning, torsion_harmonics(self.process.restored(value, kinds))
        )

    def _kinds(self, latent: Latent, told: TokenContext | None) -> Int[Tensor, "row token"]:
        """The kind of each token for the Gaussian process: its residue type, or its place."""
        if told is None or self.geometry is None:
            return torch.arange(latent.shape[2], device=latent.device)[None]
        return self.geometry.kinds(told)

    def _spacing(self, context: Context, n: int, device: torch.device) -> Float[Tensor, "batch"]:
        """Place of each row's spacing in the range of the training, from 0 to 1 on a logarithmic scale."""
        least, largest = self.frame_spacing_ps
        if context.frame_spacing_ps is None:
            if largest > least:
                raise MdgenError(f"this propagator makes frames {least:g} to {largest:g} ps apart; say how far apart")
            return torch.zeros(n, device=device)
        self._require_spacings(context.frame_spacing_ps)
        return _place(context.frame_spacing_ps.to(device).log(), math.log(least), math.log(largest))

    def _temperature(self, context: Context, n: int, device: torch.device) -> Float[Tensor, "batch"]:
        """Place of each row's temperature in the range of the training, from 0 to 1."""
        least, largest = self.temperature_range_K.tolist()
        if not largest > least:  # one temperature, or none that is known
            return torch.zeros(n, device=device)
        kelvin = context.temperature_K
        if kelvin is None or bool(((kelvin < least * (1 - SAME)) | (kelvin > largest * (1 + SAME))).any()):
            given = "none" if kelvin is None else f"{float(kelvin.min()):g} to {float(kelvin.max()):g} K"
            raise MdgenError(
                f"this propagator knows {least:g} to {largest:g} K, and was given {given}; say one of them"
            )
        return _place(kelvin.to(device), least, largest)

    def _require_spacings(self, spacings_ps: Float[Tensor, "..."]) -> None:
        least, largest = self.frame_spacing_ps
        shortest, longest = float(spacings_ps.min()), float(spacings_ps.max())
        if shortest < least * (1 - SAME) or longest > largest * (1 + SAME):
            given = f"{shortest:g}" if shortest == longest else f"{shortest:g} to {longest:g}"
            raise MdgenError(
                f"frames {given} ps apart were given, but this propagator is for {least:g} to {largest:g} ps; give "
                "such frames, or train one with another frame_spacing_ps"
            )

    def _require_shape(self, condition: Condition) -> None:
        n_frames, tokens, channels = condition.values.shape[1:]
        latent = self.latent
        if channels != latent.channels or tokens != (latent.tokens or tokens):
            raise MdgenError(
                f"the condition has {tokens} tokens of {channels} channels, the propagator {latent.tokens or 'any'} of "
                f"{latent.channels} channels; encode with the encoder it was trained with"
            )
        if n_frames > self.window:
            raise MdgenError(
                f"{n_frames} frames were asked for at once, and this propagator makes windows of {self.window}; chain "
                "shorter windows"
            )

    def _cut(self, batch: TrajectoryBatch, generator: torch.Generator) -> TrajectoryBatch:
        """A batch as it is, or its first frames; at least two."""
        chance, place = torch.rand(2, generator=generator, device=generator.device).tolist()
        if chance >= self.shorter_share:
            return batch
        n_frames = 2 + int(place * (batch.positions.shape[1] - 2))
        return TrajectoryBatch(batch.positions[:, :n_frames], batch.context)

    @torch.no_grad()
    def _encoded(self, batch: TrajectoryBatch) -> tuple[Latent, Context, TokenContext | None]:
        """Latents of a batch, its context, and what the network is told of its tokens."""
        if not self._encoder:
            raise MdgenError("this propagator has no encoder to train with; prepare it with data first")
        encoder = self._encoder[0]
        if isinstance(encoder, nn.Module):
            encoder.to(batch.positions.device)
        told = None
        if self.geometry is not None:
            told = self.geometry.token_context(batch.context, self.geometry.key_of(batch.context))
        return encoder.encode(batch.positions, batch.context).float(), batch.context, told

    def _some_latents(
        self, windows: WindowDataset, generator: torch.Generator
    ) -> tuple[
        Latent,
        Bool[Tensor, "batch frame token channel"],
        Int[Tensor, "batch token"],
        Float[Tensor, "batch"],
    ]:
        """Latents of some windows, which of their channels exist, the kinds of tokens, and frame spacings in ps."""
        n = max(1, min(len(windows), STATISTICS_FRAMES // self.window))
        chosen = torch.randperm(len(windows), generator=generator)[:n]
        rows, existing, kinds, spacings = [], [], [], []
        for batch in _batches(windows, chosen):
            latent, context, told = self._encoded(batch)
            rows.append(latent)
            existing.append(self._exists(latent, told))
            kinds.append(self._kinds(latent, told).expand(len(latent), -1))
            spacing = self.frame_spacing_ps[0] if context.frame_spacing_ps is None else context.frame_spacing_ps
            spacings.append(torch.as_tensor(spacing).expand(len(latent)))
        # molecules of fewer tokens are padded with some that do not exist
        n_tokens = max(each.shape[2] for each in rows)
        rows, existing = ([pad(x, (0, 0, 0, n_tokens - x.shape[2])) for x in each] for each in (rows, existing))
        kinds = [pad(each, (0, n_tokens - each.shape[1])) for each in kinds]
        return torch.cat(rows), torch.cat(existing), torch.cat(kinds), torch.cat(spacings)

    def _exists(self, latent: Latent, told: TokenContext | None) -> Bool[Tensor, "batch frame token channel"]:
        if told is None:
            return torch.ones_like(latent, dtype=torch.bool)
        return (told.channel_mask & told.mask[..., None])[:, None].expand_as(latent)


def _batches(windows: WindowDataset, chosen: Tensor, size: int = 16) -> Iterator[TrajectoryBatch]:
    for some in chosen.split(size):
        yield add_context(*pad_windows(windows.__getitems__(some.numpy())), windows)


def _place(value: Float[Tensor, "batch"], least: float, largest: float) -> Float[Tensor, "batch"]:
    return (value - least) / (largest - least) if largest > least else torch.zeros_like(value)
