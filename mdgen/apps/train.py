"""`mdgen train`: one part, by its own run."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.run_folder import RunFolder, open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import open_data
from mdgen.errors import MdgenError
from mdgen.interfaces import Encoder
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.decoders.cartesian import CartesianRepresentation
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.progress import duration
from mdgen.training.decoder import train_decoder
from mdgen.training.encoder import train_encoder
from mdgen.training.latents import encode_trajectories
from mdgen.training.propagator import train_propagator

logger = logging.getLogger("mdgen")

PARTS = ("encoder", "propagator", "decoder")
_DATA = {"trajectories": None, "topology": None, "frame_spacing_ps": None, "portion": [0.0, 1.0]}
"""The keys of a `data` config with their defaults."""
REPRESENTATIONS = {"internal": InternalRepresentation.fitted, "cartesian": CartesianRepresentation.fitted}


def run(config: dict[str, Any]) -> None:
    """Train the one part that the config holds and write it as `<part>.safetensors`."""
    part = _part(config)
    config = with_data_of_encoder(config)
    with open_run(config["output"], "train", config) as folder:
        if folder.done:
            logger.info("%-12s  done already: %s", part, folder.path)
            return
        use_threads(config["threads"])
        torch.manual_seed(int(config["seed"]))  # Lightning's own draws; ours come from generators
        module, metrics = _TRAIN[part](config, folder, _logger(config, folder))
        save_model(folder.path / f"{part}.safetensors", module, {"data": config["data"], "seed": config["seed"]})
        folder.finish({"part": part, **metrics})
        logger.info("%-12s  trained in %s; %s", part, duration(folder.seconds), folder.path / f"{part}.safetensors")


def _part(config: dict[str, Any]) -> str:
    named = [part for part in PARTS if config.get(part) is not None]
    if len(named) != 1:
        raise MdgenError(
            f"a training run trains one part, but {', '.join(named) or 'none'} was named; say encoder=srv, "
            "propagator=mdn or decoder=cwgan"
        )
    return named[0]


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
    if config["data"]["trajectories"] is not None:
        return config
    for key, default in _DATA.items():
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
    try:
        stored: Any = OmegaConf.to_container(OmegaConf.load(file))
    except (YAMLError, OSError, ValueError, OmegaConfBaseException) as error:
        raise MdgenError(
            f"{file} cannot be read ({type(error).__name__}); train the encoder again, or name data.trajectories"
        ) from error
    of_encoder = isinstance(stored, dict) and stored.get("verb") == "train" and stored.get("encoder") is not None
    if not of_encoder or not isinstance(stored.get("data"), dict) or not _DATA.keys() <= stored["data"].keys():
        raise MdgenError(f"encoder_run={run} is no run of `mdgen train encoder=...`; name such a run's folder")
    data: dict[str, Any] = stored["data"]
    return data


def part_file(run: str | Path, part: str) -> Path:
    """The file of a trained part: named itself, or lying in its run folder.

    Raises:
        MdgenError: if there is none.
    """
    path = Path(run)
    file = path / f"{part}.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise MdgenError(f"{part}_run={run} holds no {part}.safetensors; train one with `mdgen train {part}=...` first")
    return file


def load_encoder(run: str | Path) -> Encoder:
    """The encoder of a run.

    Raises:
        MdgenError: if there is none, or the file holds another kind of part.
    """
    module = load_model(part_file(run, "encoder"))
    if not isinstance(module, Encoder):
        raise MdgenError(f"{run} holds a {type(module).__name__}, which is no encoder; name an encoder's run")
    return module


def _logger(config: dict[str, Any], folder: RunFolder) -> Logger:
    run_logger: Logger = instantiate(config["logger"], save_dir=str(folder.path))
    return run_logger


def _settings(config: dict[str, Any]) -> Any:
    return instantiate(config["training"], seed=config["seed"])


def _train_encoder(config: dict[str, Any], folder: RunFolder, run_logger: Logger) -> tuple[torch.nn.Module, dict]:
    data = open_data(config["data"])
    part = config["encoder"]
    features = instantiate(part["features"], molecule=data.molecule)
    encoder = instantiate(part["model"], features=features)
    metrics = train_encoder(data, encoder, _settings({**part, "seed": config["seed"]}), folder.path, run_logger)
    logger.info("encoder       timescales %s ps", ", ".join(f"{t:.4g}" for t in metrics["timescales_ps"]))
    return encoder, metrics


def _train_propagator(config: dict[str, Any], folder: RunFolder, run_logger: Logger) -> tuple[torch.nn.Module, dict]:
    data, encoder, part = open_data(config["data"]), load_encoder(config["encoder_run"]), config["propagator"]
    latents = encode_trajectories(data, encoder)
    make = instantiate(part["model"])
    settings = _settings({**part, "seed": config["seed"]})
    return train_propagator(
        latents, data.frame_spacing_ps, encoder.latent, encoder.lag_ps, make, settings, folder.path, run_logger
    )


def _train_decoder(config: dict[str, Any], folder: RunFolder, run_logger: Logger) -> tuple[torch.nn.Module, dict]:
    data, encoder, part = open_data(config["data"]), load_encoder(config["encoder_run"]), config["decoder"]
    latents = encode_trajectories(data, encoder)
    make: Callable[..., Any] = instantiate(part["model"])
    if part["representation"] not in REPRESENTATIONS:
        raise MdgenError(f"decoder.representation={part['representation']}: expected {' or '.join(REPRESENTATIONS)}")
    represent = functools.partial(REPRESENTATIONS[part["representation"]])
    settings = _settings({**part, "seed": config["seed"]})
    return train_decoder(data, latents, encoder, make, represent, settings, folder.path, run_logger)


_TRAIN = {"encoder": _train_encoder, "propagator": _train_propagator, "decoder": _train_decoder}
