"""Training any part: prepare, then descend, play or solve, by what the part offers; then finish."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from torch import nn

from mdgen.data.loading import WindowLoader, WindowLoaders
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.interfaces import (
    AdversariallyTrainable,
    ClosedFormTrainable,
    Encoder,
    GradientTrainable,
    MarkovPropagator,
    SpectralEncoder,
)
from mdgen.models.batches import PairBatch, TrainingData
from mdgen.models.propagators.regression_law import measured_law
from mdgen.training.fitting import fit
from mdgen.training.gathering import gather, temperature_range_K
from mdgen.training.minibatches import Passes, RandomDraws, Whole
from mdgen.training.modules import AdversarialTraining, GradientTraining, PartTraining
from mdgen.training.settings import ONE_PROCESSOR, TrainerSettings, TrainingSettings, settings_for

PROCEDURES: dict[type, type[PartTraining] | None] = {
    GradientTrainable: GradientTraining,
    AdversariallyTrainable: AdversarialTraining,
    ClosedFormTrainable: None,
}
"""What a part may offer, and the Lightning module that descends; a closed form needs none."""


def train(
    part: Any,
    trajectories: TrajectorySet | WindowLoaders,
    settings: TrainingSettings | None = None,
    encoder: Encoder | None = None,
    machine: TrainerSettings = ONE_PROCESSOR,
    folder: Path | None = None,
    run_logger: Logger | None = None,
    label: str = "part",
    initial: nn.Module | None = None,
) -> dict[str, Any]:
    """Train a part in place on trajectories of one molecule, or on windows of many; sets its `metadata`.

    Args:
        part: encoder, propagator or decoder that is `Trainable`.
        trajectories: data; loaders for a part that learns from `trajectory_windows` of many molecules.
        settings: how; what the part is best trained with where None.
        encoder: encoder whose latents a propagator or decoder learns from.
        machine: accelerator, devices, precision and strategy.
        folder: folder of the checkpoint to resume from.
        run_logger: logger that receives the figures of every epoch.
        label: what is trained, for progress lines and the checkpoint's name.
        initial: part of the same kind and sizes with whose weights the training begins; statistics are those of the
            data. New weights where None.

    Returns:
        Metrics: the history, numbers of frames and pairs, seconds; eigenvalues and timescales of a spectral encoder,
        and the lag scan of one whose lag was left open; of a Markov propagator how far it violates the law of its mean
        step.

    Raises:
        MdgenError: if the part offers no procedure or several, or the data do not suit it (`gather`), or
            `initial` is another kind of part or has other sizes.
    """
    begin = time.monotonic()
    settings = settings_for(part) if settings is None else settings
    procedure = procedure_of(part)
    if procedure is not GradientTraining:
        settings = replace(settings, validation_share=0.0)  # neither other way looks at validation data
    generator = torch.Generator().manual_seed(settings.seed)
    data = gather(part, trajectories, settings, generator, encoder)
    data = part.prepare(data, generator)
    if initial is not None:
        begin_with(part, initial)
    metrics: dict[str, Any] = {"history": []}
    if procedure is None:
        part.fit(data, generator)
    else:
        module = procedure(part, settings, generator)
        metrics["history"] = descend(module, data, label, machine=machine, folder=folder, run_logger=run_logger)
    part.eval()
    part.finish(data, generator)
    part.metadata = _learnt_from(trajectories, part)
    metrics |= _measured(part, data.every, generator)
    return {**metrics, "seconds": time.monotonic() - begin}


@torch.no_grad()
def begin_with(part: nn.Module, initial: nn.Module) -> None:
    """Give a part the weights of another, and nothing else of it.

    Raises:
        MdgenError: if it is another kind of part or has other sizes, or nothing that is trained step by step.
    """
    own, others = dict(part.named_parameters()), dict(initial.named_parameters())
    if type(part) is not type(initial) or not own:
        raise MdgenError(
            f"initial holds a {type(initial).__name__} of {len(others)} arrays of weights, which is no start for a "
            f"{type(part).__name__} of {len(own)}; name a part of the same kind"
        )
    shapes = [{name: tuple(each.shape) for name, each in weights.items()} for weights in (own, others)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        mine, theirs = (each.get(name) for each in shapes)
        if mine != theirs:
            raise MdgenError(
                f"initial has other sizes: {name} is {theirs} where this training makes {mine}; give the same settings "
                "of the model as it was trained with"
            )
    for name, weights in own.items():
        weights.copy_(others[name])


def _measured(part: Any, every: Any, generator: torch.Generator) -> dict[str, Any]:
    """What can be said of a trained part and the data that it has seen."""
    metrics: dict[str, Any] = {}
    if isinstance(part, SpectralEncoder):
        metrics |= {"eigenvalues": part.eigenvalues.tolist(), "timescales_ps": part.timescales_ps.tolist()}
    if isinstance(part, MarkovPropagator) and isinstance(every, PairBatch):
        metrics["regression_law"] = measured_law(part, every, generator)
    if getattr(part, "lag_scan", None) is not None:
        metrics["lag_scan"] = part.lag_scan.to_json()
    if isinstance(every, WindowLoader):
        windows = every.dataset
        metrics |= {"n_frames": windows.collection.n_frames, "n_examples": len(windows)}
    elif every is not None:
        metrics |= {"n_frames": len(every.frames), "n_examples": len(every)}
    return metrics


def _learnt_from(trajectories: TrajectorySet | WindowLoaders, part: Any) -> dict[str, Any]:
    """What a model file says of the data that a part has learnt from; `molecule` is None where there were several.

    A part for any molecule that has seen one only says which in `topology`, so that it is not used for another.
    """
    if isinstance(trajectories, WindowLoaders):
        windows = trajectories.training.dataset
        sets, spacings_ps = list(windows.collection), windows.spacings_ps
    else:
        sets, spacings_ps = [trajectories], (trajectories.frame_spacing_ps,)
    molecules = {each.molecule.fingerprint: each.molecule for each in sets}
    (one,) = molecules.values() if len(molecules) == 1 else (None,)
    return {
        "molecule": one.fingerprint if one is not None else None,
        **({"topology": one.to_json()} if one is not None and not part.latent.molecule else {}),
        "frame_spacing_ps": spacings_ps[0] if len(spacings_ps) == 1 else list(spacings_ps),
        "temperature_K": temperature_range_K(sets),
    }


def descend(module: PartTraining, data: TrainingData, label: str = "part", **machine: Any) -> list[dict[str, float]]:
    """Descend on prepared data, leaving the best or the averaged weights in the part; the rest as for `fit`."""
    settings = module.settings
    if isinstance(data.training, WindowLoader):
        if settings.n_steps > 0:
            raise MdgenError("windows are passed over, not drawn with repetition; set max_epochs and leave n_steps=0")
        batches: Any = data.training
        validation: Any = data.validation if isinstance(module, GradientTraining) else None
        n_epochs = settings.max_epochs
    else:
        batches, validation, n_epochs = _in_memory(module, data)
    module.settings = replace(settings, patience=settings.patience_of(len(batches)))
    history = fit(label, module, batches, validation, n_epochs, **machine)
    if module.average is not None:
        module.part.load_state_dict(module.average.module.state_dict())
    return history


def _in_memory(module: PartTraining, data: TrainingData) -> tuple[Any, Any, int]:
    """Batches of data in memory, the validation data, and the number of epochs."""
    settings, generator = module.settings, module.generator
    validation = None if data.validation is None else Whole(data.validation)
    size, n_epochs = settings.batch_size * module.batches_a_step, settings.max_epochs
    if settings.n_steps == 0:
        batches: Any = Passes(data.training, size, generator)
    else:
        n_epochs = max(1, min(50, settings.n_steps // 10))
        batches = RandomDraws(data.training, size, -(-settings.n_steps // n_epochs), generator)
    return batches, validation, n_epochs


def procedure_of(part: Any) -> type[PartTraining] | None:
    """The Lightning module that trains a part; None for a part that is fitted in closed form.

    Raises:
        MdgenError: if the part offers no procedure, or several.
    """
    found = [offered for offered in PROCEDURES if isinstance(part, offered)]
    if len(found) != 1:
        raise MdgenError(
            f"a {type(part).__name__} cannot be trained: it must have learns_from, prepare and finish, and exactly one "
            "of loss, critic_loss with generator_loss, and fit (mdgen.interfaces.Trainable)"
        )
    return PROCEDURES[found[0]]
