"""`mdgen train`: one part by its own run, with those beside it that have nothing to learn."""

import inspect
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.config.stored import data_defaults, require_data, stored_config
from mdgen.apps.runs.lag_scan_files import write_lag_scan
from mdgen.apps.runs.provenance import content_hash
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.run_logger import run_logger
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.runs.trained_parts import load_encoder
from mdgen.apps.trajectories import open_data, open_windows
from mdgen.data.loading import WindowLoaders
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.generation.load import model_folder, part_files
from mdgen.interfaces import Encoder
from mdgen.models.checkpoint import load_model, save_model
from mdgen.progress import duration
from mdgen.registry import resolve
from mdgen.training.settings import settings_for
from mdgen.training.train import train

logger = logging.getLogger("mdgen")

PARTS = ("encoder", "propagator", "decoder")


def run(config: dict[str, Any]) -> None:
    """Train the part that the config holds, make those that learn nothing, and write each as `<part>.safetensors`."""
    part, others = _parts(config)
    config = with_data_of_encoder(config)
    if config.get("initial") is not None:
        file = _initial_file(config["initial"], part)
        # What is trained again is another start, though its path is the same.
        config = {**config, "inputs": {"initial": content_hash(file)}}
    use_threads(config["threads"])
    if getattr(rank_zero_only, "rank", 0) > 0:  # started by Lightning beside the process that holds the folder
        logger.setLevel(logging.ERROR)
        _train(part, others, config, Path(config["output"]))
        return
    with open_run(config["output"], "train", config) as folder:
        if folder.done:
            logger.info("%-12s  done already: %s", part, folder.path)
            return
        made, metrics, metadata = _train(part, others, config, folder.path)
        for name, module in made.items():
            save_model(folder.path / f"{name}.safetensors", module, metadata if name == part else {})
        folder.finish({"part": part, **metrics})
        logger.info("%-12s  trained in %s; %s", part, duration(folder.seconds), folder.path / f"{part}.safetensors")


def _parts(config: dict[str, Any]) -> tuple[str, list[str]]:
    """The part that learns, and those beside it that have nothing to learn."""
    named = [part for part in PARTS if config.get(part) is not None]
    learning = [part for part in named if learns_from(config[part]) != "nothing"] or named[:1]
    if len(learning) != 1:
        raise MdgenError(
            f"a training run trains one part, but {', '.join(learning) or 'none'} was named; say encoder=srv, "
            "propagator=mdn or decoder=cwgan"
        )
    return learning[0], [part for part in named if part not in learning]


def _initial_file(initial: str, part: str) -> Path:
    """The file of the part in a run, or in a model that comes with the package.

    Raises:
        MdgenError: if there is none.
    """
    path = Path(initial)
    if path.is_file():
        return path
    file = path / f"{part}.safetensors"
    if path.is_dir() and not (path / "simulator.json").is_file():
        if not file.is_file():
            raise MdgenError(f"initial={initial} holds no {part}.safetensors; name a run that trained one")
        return file
    return part_files(model_folder(initial))[part]


def learns_from(config: dict[str, Any]) -> str | None:
    """What the part of a config learns from (`interfaces.Trainable`)."""
    kind: str | None = getattr(resolve(config["model"]["_target_"]), "learns_from", None)
    return kind


def with_data_of_encoder(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the encoder run's data where it names none of its own.

    Raises:
        MdgenError: if an encoder run is needed and missing, or is none; or if something is said of data that are not
            named, which would be lost.
    """
    if config.get("encoder") is not None:
        return config
    if config["encoder_run"] is None:
        raise MdgenError("a propagator or a decoder lives in an encoder's latent space; name it: encoder_run=FOLDER")
    if config["data"]["trajectories"] is not None or "molecules" in config["data"]:
        return config
    for key, default in data_defaults().items():
        if config["data"].get(key) != default:
            raise MdgenError(
                f"data.{key}={config['data'][key]} was given without data.trajectories, so the encoder run's own data "
                f"are used as they were there; leave data.{key} out, or name data.trajectories too"
            )
    return {**config, "data": _stored_data(Path(config["encoder_run"]))}


def _stored_data(run: Path) -> dict[str, Any]:
    file = (run.parent if run.is_file() else run) / "config.yaml"
    if not file.is_file():
        raise MdgenError(f"encoder_run={run} is no run folder (no config.yaml); train an encoder first")
    advice = "train the encoder again, or name data.trajectories"
    stored = stored_config(file, advice)
    data: Any = stored.get("data")
    if stored.get("verb") != "train" or stored.get("encoder") is None:
        raise MdgenError(f"encoder_run={run} is no run of `mdgen train encoder=...`; name such a run's folder")
    require_data(data, file, advice)
    return dict(data)


def _train(
    part: str, others: list[str], config: dict[str, Any], folder: Path
) -> tuple[dict[str, torch.nn.Module], dict[str, Any], dict[str, Any]]:
    """The trained part and those beside it by their names, the metrics, and what it was trained on."""
    torch.manual_seed(int(config["seed"]))  # Lightning's own draws; ours come from generators
    data = _data(config, part)
    encoder: Any = None
    made: dict[str, torch.nn.Module] = {}
    for name in PARTS:  # the encoder first, in whose latent space the others live
        if name not in (part, *others):
            continue
        if encoder is None and name != "encoder":
            encoder = load_encoder(config["encoder_run"])
        made[name] = make_part(config[name], data, encoder)
        if name != part:
            train(made[name], data, None, encoder)  # has its molecule looked at before hours are spent
        encoder = made[name] if name == "encoder" else encoder
    trained: Any = made[part]
    metrics = _trained(part, trained, config, data, None if part == "encoder" else encoder, folder)
    learnt_from = {"data": config["data"], "seed": config["seed"], **trained.metadata}
    return made, metrics, learnt_from


def _trained(
    part: str,
    module: torch.nn.Module,
    config: dict[str, Any],
    data: TrajectorySet | WindowLoaders,
    encoder: Encoder | None,
    folder: Path,
) -> dict[str, Any]:
    """Train a part in place; its metrics."""
    chosen = config[part]
    given = instantiate({**chosen["training"], "_partial_": True}).keywords
    settings, machine = settings_for(module, **given, seed=config["seed"]), instantiate(config["trainer"])
    with run_logger(config, folder) as receiver:
        initial = None if config.get("initial") is None else load_model(_initial_file(config["initial"], part))
        metrics = train(module, data, settings, encoder, machine, folder, receiver, part, initial)
    if "lag_scan" in metrics:
        write_lag_scan(folder, metrics["lag_scan"])
        logger.info("%-12s  %s", part, metrics["lag_scan"]["reason"])
    if "timescales_ps" in metrics:
        logger.info("%-12s  timescales %s ps", part, ", ".join(f"{t:.4g}" for t in metrics["timescales_ps"]))
    return metrics


def _data(config: dict[str, Any], part: str) -> TrajectorySet | WindowLoaders:
    """Loaders of windows for a part that takes them and a config `data=molecules`; else one molecule's data."""
    if learns_from(config[part]) in ("trajectory_windows", "nothing") and "molecules" in config["data"]:
        return open_windows(config["data"], int(config["seed"]))
    opened = open_data(config["data"])
    opened.verify()
    return opened


def make_part(config: dict[str, Any], data: TrajectorySet | WindowLoaders, encoder: Encoder | None) -> torch.nn.Module:
    """The part that a config describes, with what the data and the encoder say where its constructor asks for it.

    Args:
        config: `model`, and where the part sees features of positions `features`.
        data: what it will be trained on.
        encoder: encoder of its latent; None for an encoder.
    """
    known: dict[str, Any] = {}
    if isinstance(data, WindowLoaders):
        windows = data.training.dataset
        known["window"], spacings_ps = windows.frames, windows.spacings_ps
    else:
        known["molecule"], spacings_ps = data.molecule, (data.frame_spacing_ps,)
    known["frame_spacing_ps"] = min(spacings_ps), max(spacings_ps)
    if config.get("features") is not None:
        known["features"] = _made(config["features"], known)
    if encoder is not None:
        known["latent"] = encoder.latent
        known["lag_ps"] = getattr(encoder, "lag_ps", spacings_ps[0])
    made: torch.nn.Module = _made(config["model"], known)
    return made


def _made(config: dict[str, Any], known: dict[str, Any]) -> Any:
    """What a config names, with what is known where the constructor asks for it and the config leaves it open."""
    named = {key: value for key, value in config.items() if value is not None or key not in known}
    taken = inspect.signature(resolve(named["_target_"])).parameters
    return instantiate(named, **{key: value for key, value in known.items() if key in taken and key not in named})
