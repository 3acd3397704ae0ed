"""From trajectories to what a part learns from, in memory: `learns_from` of a part names one of `KINDS`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.spacing import lag_in_frames
from mdgen.data.splits import Segment, cut, split
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder, Trainable
from mdgen.models.batches import FrameBatch, Items, LatentWindows, TrainingData
from mdgen.progress import Progress
from mdgen.training.pair_batches import pairs_of
from mdgen.training.settings import TrainingSettings

BLOCK = 5_000
"""Frames that are in memory with all their atoms at a time."""

Tables = list[Float[Tensor, "_ ..."]]


def gather(
    part: Trainable,
    trajectories: TrajectorySet,
    settings: TrainingSettings,
    generator: torch.Generator,
    encoder: Encoder | None = None,
) -> TrainingData:
    """What a part learns from these trajectories.

    Args:
        part: part to be trained; its `learns_from` says what it needs.
        trajectories: data.
        settings: how much is kept back for validation, and how many frames are held with all their atoms.
        generator: random stream that chooses the validation part.
        encoder: encoder of the latents; an encoder needs none.

    Raises:
        MdgenError: if the part needs an encoder and there is none, the spacing of its frames is no multiple of the
            data's, no trajectory is long enough, or a latent is not finite.
    """
    if part.learns_from not in KINDS:
        raise MdgenError(
            f"{type(part).__name__}.learns_from is {part.learns_from!r}; expected one of {', '.join(KINDS)}"
        )
    if part.learns_from != "lagged_frames" and encoder is None:
        raise MdgenError(f"a {type(part).__name__} learns from latents; give the encoder that makes them")
    data = KINDS[part.learns_from](part, trajectories, settings, generator, encoder)
    return replace(data, molecule=trajectories.molecule, encoder=encoder)


@torch.no_grad()
def tabulate(
    trajectories: TrajectorySet, function: Callable[[Tensor], Tensor], label: str
) -> list[Float[Tensor, "_ ..."]]:
    """`function` of the positions of every frame, one table a trajectory."""
    progress, done = Progress(label, trajectories.n_frames), 0
    tables = []
    for index in range(len(trajectories)):
        parts = []
        for block in trajectories.blocks(index, BLOCK):
            parts.append(function(torch.tensor(block)))
            done += len(block)
            progress.update(done)
        tables.append(torch.cat(parts))
    return tables


def encode_trajectories(trajectories: TrajectorySet, encoder: Encoder) -> list[Float[Tensor, "_ token channel"]]:
    """The latent of every frame, one table a trajectory.

    Raises:
        MdgenError: if the trajectories are of another molecule than the encoder, or a latent is not finite.
    """
    wanted = encoder.latent.molecule
    if wanted and wanted != trajectories.molecule.fingerprint:
        raise MdgenError(
            f"the encoder was trained on another molecule than {trajectories.molecule!r}; give trajectories of its own"
        )
    context = context_of(trajectories, 1)
    latents = tabulate(trajectories, lambda positions: encoder.encode(positions[None], context)[0], "encode")
    if not all(bool(torch.isfinite(table).all()) for table in latents):
        raise MdgenError("the latent of some frames is not finite; check the encoder and the trajectories")
    return latents


def context_of(trajectories: TrajectorySet, n: int) -> Context:
    """The context of `n` frames, pairs or windows of a set of trajectories."""
    temperature = getattr(trajectories, "temperature_K", None)
    spacing = torch.tensor([trajectories.frame_spacing_ps])
    return Context(
        (trajectories.molecule,),
        None if temperature is None else torch.tensor([float(temperature)]).expand(n),
        spacing.expand(n),
    )


def _lagged_frames(
    part: Any,
    trajectories: TrajectorySet,
    settings: TrainingSettings,
    generator: torch.Generator,
    encoder: Encoder | None,
) -> TrainingData:
    """Pairs of what the encoder's `features` make of each frame; of positions where it has none."""
    lag = lag_in_frames(getattr(part, "lag_ps", trajectories.frame_spacing_ps), trajectories.frame_spacing_ps)
    features = getattr(part, "features", None)
    tables = tabulate(trajectories, (lambda positions: positions) if features is None else features, "features")
    return _split(tables, lag, settings, generator, lambda some: _pairs(some, lag, trajectories))


def _lagged_latents(
    part: Any, trajectories: TrajectorySet, settings: TrainingSettings, generator: torch.Generator, encoder: Encoder
) -> TrainingData:
    """Pairs of latents, tokens and channels in one axis."""
    lag = lag_in_frames(part.frame_spacing_ps[0], trajectories.frame_spacing_ps)
    tables = [table.flatten(1) for table in encode_trajectories(trajectories, encoder)]
    return _split(tables, lag, settings, generator, lambda some: _pairs(some, lag, trajectories))


def _latent_windows(
    part: Any, trajectories: TrajectorySet, settings: TrainingSettings, generator: torch.Generator, encoder: Encoder
) -> TrainingData:
    """Every stretch of `window` latents."""
    stride = lag_in_frames(part.frame_spacing_ps[0], trajectories.frame_spacing_ps)
    reach = (part.window - 1) * stride
    tables = encode_trajectories(trajectories, encoder)

    def windows(some: Tables) -> LatentWindows:
        # The first frames of windows are those of pairs as far apart as the ends of a window.
        pairs = _pairs(some, max(1, reach), trajectories)
        context = replace(pairs.context, frame_spacing_ps=torch.tensor([part.frame_spacing_ps[0]]).expand(len(pairs)))
        return LatentWindows(pairs.frames, pairs.now, stride, part.window, context)

    return _split(tables, max(1, reach), settings, generator, windows)


def _frames(
    part: Any, trajectories: TrajectorySet, settings: TrainingSettings, generator: torch.Generator, encoder: Encoder
) -> TrainingData:
    """Evenly spaced frames of all trajectories, at most `max_frames`."""
    stride = max(1, -(-trajectories.n_frames // settings.max_frames))
    latents = torch.cat([table[::stride].flatten(1) for table in encode_trajectories(trajectories, encoder)])
    positions = [torch.tensor(trajectories.positions(i, stride=stride)) for i in range(len(trajectories))]
    return TrainingData(FrameBatch(torch.cat(positions), latents, context=context_of(trajectories, len(latents))))


KINDS: dict[str, Callable[..., TrainingData]] = {
    "lagged_frames": _lagged_frames,
    "lagged_latents": _lagged_latents,
    "latent_windows": _latent_windows,
    "frames": _frames,
}


def _pairs(tables: Tables, lag_frames: int, trajectories: TrajectorySet) -> Any:
    pairs = pairs_of(tables, lag_frames)
    return replace(pairs, context=context_of(trajectories, len(pairs)))


def _split(
    tables: Tables,
    lag_frames: int,
    settings: TrainingSettings,
    generator: torch.Generator,
    items: Callable[[Tables], Items],
) -> TrainingData:
    """Items of all tables, and of what is kept back and what is not, where anything is."""
    every = items(tables)
    if settings.validation_share == 0:
        return TrainingData(every)
    parts = split([len(table) for table in tables], settings.validation_share, lag_frames, generator)

    def of(segments: Sequence[Segment]) -> Items:
        return items(cut(tables, segments))

    return TrainingData(every, of(parts.training), of(parts.validation))
