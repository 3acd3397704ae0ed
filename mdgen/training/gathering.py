"""From trajectories to what a part learns from: `learns_from` of a part names one of `KINDS`."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.collation import context_of
from mdgen.data.loading import WindowLoader, WindowLoaders
from mdgen.data.sources import SliceSource
from mdgen.data.spacing import SAME, doubling_spacings, lag_in_frames
from mdgen.data.splits import Segment, cut, split
from mdgen.data.trajectories import TrajectorySet
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, Encoder
from mdgen.models.batches import FrameBatch, LatentWindows, PairBatch, TrainingData
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.training.pair_batches import pairs_of
from mdgen.training.settings import TrainingSettings

KINDS = ("lagged_frames", "lagged_latents", "latent_windows", "frames", "trajectory_windows", "nothing")
"""What a part may learn from (`interfaces.Trainable`)."""

BLOCK = 5_000
"""Frames that are in memory with all their atoms at a time."""

WINDOW_HOPS = 8
"""Windows that begin within the length of one: neighbours that differ by one frame only teach little more."""


Tables = list[Float[Tensor, "_ ..."]]


def gather(
    part: Any,
    trajectories: TrajectorySet | WindowLoaders,
    settings: TrainingSettings,
    generator: torch.Generator,
    encoder: Encoder | None = None,
) -> TrainingData:
    """What a part learns from these trajectories.

    Args:
        part: `Trainable` part; its `learns_from` says what it needs.
        trajectories: data of one molecule, or loaders of windows of many.
        settings: how much is kept back for validation, and how many frames are held with all their atoms.
        generator: random stream that chooses the validation part.
        encoder: encoder of the latents; an encoder needs none.

    Raises:
        MdgenError: if the part needs an encoder and there is none, or cannot learn from loaders, the spacing of its
            frames is no multiple of the data's, no trajectory is long enough, or a latent is not finite.
    """
    if part.learns_from not in KINDS:
        raise MdgenError(
            f"{type(part).__name__}.learns_from is {part.learns_from!r}; expected one of {', '.join(KINDS)}"
        )
    if part.learns_from == "nothing":
        return TrainingData(None, molecule=_one_molecule(trajectories), encoder=encoder)
    if part.learns_from == "trajectory_windows":
        return _loaded_windows(part, trajectories, settings, generator, encoder)
    if isinstance(trajectories, WindowLoaders):
        raise MdgenError(f"a {type(part).__name__} learns from one molecule; give its trajectories")
    if part.learns_from == "lagged_frames":
        spacing_ps = trajectories.frame_spacing_ps
        lag_ps = getattr(part, "lag_ps", spacing_ps)
        features = getattr(part, "features", None)
        open_lag = math.isnan(lag_ps)  # one that the data are to recommend; any other is refused before hours are spent
        lag = 0 if open_lag else lag_in_frames(lag_ps, spacing_ps)
        tables = tabulate(trajectories, lambda x, _: x if features is None else features(x), "features")
        if open_lag:
            part.choose_lag(tables, spacing_ps, generator)
            lag = lag_in_frames(part.lag_ps, spacing_ps)
        data = _split_pairs(trajectories, tables, lag, settings, generator)
    elif encoder is None:
        raise MdgenError(f"a {type(part).__name__} learns from latents; give the encoder that makes them")
    elif part.learns_from == "frames":
        data = _frames(trajectories, encoder, settings.max_frames)
    else:
        stride = lag_in_frames(part.frame_spacing_ps[0], trajectories.frame_spacing_ps)
        tables = encode_trajectories(trajectories, encoder)
        if part.learns_from == "lagged_latents":
            tables = [table.flatten(1) for table in tables]
            data = _split_pairs(trajectories, tables, stride, settings, generator)
        else:
            # The first frames of windows are those of pairs as far apart as the ends of a window.
            pairs = _split_pairs(trajectories, tables, max(1, (part.window - 1) * stride), settings, generator)
            of_pairs = functools.partial(_windows, stride=stride, part=part)
            validation = None if pairs.validation is None else of_pairs(pairs.validation)
            data = TrainingData(of_pairs(pairs.every), of_pairs(pairs.training), validation)
    return replace(data, molecule=trajectories.molecule, encoder=encoder)


@torch.no_grad()
def tabulate(trajectories: TrajectorySet, function: Callable[[Tensor, int], Tensor], label: str) -> Tables:
    """`function` of the positions of every frame and the number of its trajectory, one table a trajectory."""
    progress, done = Progress(label, trajectories.n_frames), 0
    tables = []
    for index in range(len(trajectories)):
        parts = []
        for block in trajectories.blocks(index, BLOCK):
            parts.append(function(torch.tensor(block), index))
            done += len(block)
            progress.update(done)
        tables.append(torch.cat(parts))
    return tables


def encode_trajectories(trajectories: TrajectorySet, encoder: Encoder) -> list[Float[Tensor, "_ token channel"]]:
    """The latent of every frame, one table a trajectory.

    Raises:
        MdgenError: if the trajectories are of another molecule or temperature than the encoder, or a latent is not
            finite.
    """
    wanted = encoder.latent.molecule
    if wanted and wanted != trajectories.molecule.fingerprint:
        raise MdgenError(
            f"the encoder was trained on another molecule than {trajectories.molecule!r}; give trajectories of its own"
        )
    _require_same_temperature(trajectories, encoder)
    contexts = [_context(trajectories, torch.tensor([index])) for index in range(len(trajectories))]
    latents = tabulate(trajectories, lambda x, index: encoder.encode(x[None], contexts[index])[0], "encode")
    if not all(bool(torch.isfinite(table).all()) for table in latents):
        raise MdgenError("the latent of some frames is not finite; check the encoder and the trajectories")
    return latents


def temperature_range_K(sets: Iterable[TrajectorySet]) -> float | list[float] | None:
    """The temperature of all trajectories, or the least and the largest; None where it is not known of each."""
    every = [kelvin for trajectories in sets for kelvin in trajectories.temperatures_K]
    known = [kelvin for kelvin in every if kelvin is not None]
    if len(known) < len(every):
        return None
    return known[0] if math.isclose(min(known), max(known), rel_tol=SAME) else [min(known), max(known)]


def _loaded_windows(
    part: Any,
    given: TrajectorySet | WindowLoaders,
    settings: TrainingSettings,
    generator: torch.Generator,
    encoder: Encoder | None,
) -> TrainingData:
    """Batches of windows as they are read, of loaders that were given or of one molecule's trajectories."""
    loaders = given if isinstance(given, WindowLoaders) else _loaders_of(given, part, settings, generator)
    dataset = loaders.training.dataset
    if dataset.frames != part.window:
        raise MdgenError(
            f"the data are windows of {dataset.frames} frames, and a {type(part).__name__} takes {part.window}; "
            "choose one length for both"
        )
    molecule = _one_molecule(loaders)
    return TrainingData(loaders.training, validation=loaders.validation, molecule=molecule, encoder=encoder)


def _one_molecule(data: TrajectorySet | WindowLoaders) -> Molecule | None:
    """The molecule of all the data; None where there are several."""
    if isinstance(data, TrajectorySet):
        return data.molecule
    molecules = {each.molecule for each in data.training.dataset.collection}
    return molecules.pop() if len(molecules) == 1 else None


def _loaders_of(
    trajectories: TrajectorySet, part: Any, settings: TrainingSettings, generator: torch.Generator
) -> WindowLoaders:
    """Loaders of the windows of one molecule, split by trajectory or by block."""
    own_ps = trajectories.frame_spacing_ps
    spacings_ps = doubling_spacings(*getattr(part, "frame_spacing_ps", (own_ps, own_ps)))

    def loader(some: TrajectorySet, shuffle: bool) -> WindowLoader:
        hop_ps = max(1, part.window // WINDOW_HOPS) * own_ps
        windows = WindowDataset(some, part.window, spacings_ps, hop_ps)
        return WindowLoader(windows, settings.batch_size, shuffle=shuffle, seed=settings.seed)

    def kept(segments: Sequence[Segment]) -> TrajectorySet:
        sources = [SliceSource(trajectories.source(each.trajectory), each.start, each.stop) for each in segments]
        return TrajectorySet(trajectories.molecule, own_ps, sources)

    if settings.validation_share == 0:
        return WindowLoaders(loader(trajectories, True))
    span = max(1, (part.window - 1) * lag_in_frames(spacings_ps[-1], own_ps))
    parts = split(trajectories.lengths, settings.validation_share, span, generator)
    return WindowLoaders(loader(kept(parts.training), True), loader(kept(parts.validation), False))


def _require_same_temperature(trajectories: TrajectorySet, encoder: Encoder) -> None:
    trained = (getattr(encoder, "metadata", None) or {}).get("temperature_K")
    if trained is None:
        return
    ends = np.atleast_1d(trained)
    least, largest = min(ends), max(ends)
    for kelvin, name in zip(trajectories.temperatures_K, trajectories.names, strict=True):
        if kelvin is not None and not least * (1 - SAME) <= kelvin <= largest * (1 + SAME):
            raise MdgenError(
                f"{name} is at {kelvin:g} K, and the encoder was trained at {' to '.join(f'{end:g}' for end in ends)} "
                "K; give trajectories at its temperature, or train an encoder on these"
            )


def _context(trajectories: TrajectorySet, origin: Int[Tensor, "item"]) -> Context:
    """The context of frames, pairs or windows, of which `origin` says from which trajectory each is."""
    context = context_of(trajectories.molecule, len(origin), None, trajectories.frame_spacing_ps)
    kelvin = trajectories.temperatures_K
    return context if None in kelvin else replace(context, temperature_K=torch.tensor(kelvin)[origin])


def _split_pairs(
    trajectories: TrajectorySet, tables: Tables, lag_frames: int, settings: TrainingSettings, generator: torch.Generator
) -> TrainingData:
    """Lagged pairs of all tables, and of what is kept back and what is not, where anything is."""

    def pairs(some: Tables, origins: Sequence[int]) -> PairBatch:
        made = pairs_of(some, lag_frames)
        return replace(made, context=_context(trajectories, _origins(some, origins)[made.now]))

    every = pairs(tables, range(len(tables)))
    if settings.validation_share == 0:
        return TrainingData(every)
    parts = split([len(table) for table in tables], settings.validation_share, lag_frames, generator)
    training, validation = (
        pairs(cut(tables, some), [segment.trajectory for segment in some])
        for some in (parts.training, parts.validation)
    )
    return TrainingData(every, training, validation)


def _windows(pairs: PairBatch, stride: int, part: Any) -> LatentWindows:
    """The stretches of `part.window` latents that begin where pairs do."""
    spacing = torch.full((len(pairs),), float(part.frame_spacing_ps[0]))
    context = replace(pairs.context, frame_spacing_ps=spacing)
    return LatentWindows(pairs.frames, pairs.now, stride, part.window, context)


def _frames(trajectories: TrajectorySet, encoder: Encoder, max_frames: int) -> TrainingData:
    """Evenly spaced frames of all trajectories, at most `max_frames`."""
    stride = max(1, -(-trajectories.n_frames // max_frames))
    latents = [table[::stride].flatten(1) for table in encode_trajectories(trajectories, encoder)]
    positions = [torch.tensor(trajectories.positions(i, stride=stride)) for i in range(len(trajectories))]
    origins = _origins(latents, range(len(latents)))
    spacing = torch.full((len(origins),), trajectories.frame_spacing_ps * stride)
    context = replace(_context(trajectories, origins), frame_spacing_ps=spacing)
    return TrainingData(FrameBatch(torch.cat(positions), torch.cat(latents), trajectories=origins, context=context))


def _origins(tables: Tables, origins: Sequence[int]) -> Int[Tensor, "frame"]:
    """The trajectory of every frame of some tables, given that of each table."""
    return torch.repeat_interleave(torch.tensor(origins), torch.tensor([len(table) for table in tables]))
