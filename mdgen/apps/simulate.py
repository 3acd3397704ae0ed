"""`mdgen simulate`: molecular dynamics of any system, into a trajectory store."""

import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import STORE
from mdgen.data.manifest import MOST_TRAJECTORIES
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, System
from mdgen.md.dynamics.checkpoint import stops_of
from mdgen.md.dynamics.replica_exchange import Tempering, parallel_tempering
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.progress import duration
from mdgen.tensor_files import load_tensors, save_tensors

logger = logging.getLogger("mdgen")

_TEMPERING = "tempering"
"""Folder of the checkpoints of replica exchange; removed when the starts are drawn."""


def run(config: dict[str, Any]) -> None:
    """Build the system, draw starts if asked to, simulate, write the metrics."""
    threads = use_threads(config["threads"])
    _require_thermostat(config)
    if not 1 <= int(config["n_replicas"]) <= MOST_TRAJECTORIES:
        raise MdgenError(f"n_replicas={config['n_replicas']}: expected at least 1 and at most {MOST_TRAJECTORIES}")
    with open_run(config["output"], "simulate", config) as folder:
        if folder.done:
            logger.info("simulate      done already: %s", folder.path)
            return
        system = _system(config)
        shown = (system.molecule, config["n_replicas"], _temperature(config), folder.path)
        logger.info("simulate      %r, %d replicas at %s, into %s", *shown)
        # Each part draws from a generator of its own, so that a run resumed between two parts continues the same.
        start, swap_rates = _starts(config, system, threads, _generator(config, 1), folder.path)
        generator = _generator(config, 0)
        engine = _engine(config, system, threads, generator)
        store = simulate(
            system,
            engine,
            folder.path / STORE,
            float(config["length_ns"]),
            float(config["equilibration_ns"]),
            float(config["save_ps"]),
            generator,
            config["anneal_temperature_K"],
            start,
        )
        folder.finish({**_metrics(store, engine), "tempering_swap_rates": swap_rates})
        logger.info(
            "simulate      %.4g ns in %s; trajectories in %s",
            _total_ns(store),
            duration(folder.seconds),
            store.path,
        )


def _system(config: dict[str, Any]) -> System:
    """The system of the config with the potential that is to be added, if there is one."""
    system: System = instantiate(config["system"])
    if config.get("potential") is None:
        return system
    return replace(system, potential=SumOfPotentials([system.potential, instantiate(config["potential"])]))


def _temperature(config: dict[str, Any]) -> str:
    """The temperature of the integrator in words, a range where replicas differ."""
    integrator: Integrator = instantiate(config["integrator"])
    lowest, highest = (float(each) for each in integrator.temperature_K.aminmax())
    return f"{lowest:g} K" if lowest == highest else f"{lowest:g} to {highest:g} K"


def _require_thermostat(config: dict[str, Any]) -> None:
    """Refuse to change temperatures where nothing holds one."""
    for key in ("tempering", "anneal_temperature_K"):
        if config.get(key) is not None:
            integrator: Integrator = instantiate(config["integrator"])
            try:
                integrator.at_temperature(integrator.temperature_K)
            except MdgenError as error:
                raise MdgenError(f"{key} needs a thermostat, but {error}") from error


def _generator(config: dict[str, Any], part: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * int(config["seed"]) + part)


def _engine(config: dict[str, Any], system: System, threads: int, generator: torch.Generator) -> Engine:
    settings = {key: config[key] for key in ("precision", "device", "pressure_bar")}
    integrator, n_replicas = instantiate(config["integrator"]), int(config["n_replicas"])
    return make_engine(system, integrator, n_replicas, generator, config["engine"], threads=threads, **settings)


def _starts(
    config: dict[str, Any], system: System, threads: int, generator: torch.Generator, folder: Path
) -> tuple[Tensor | None, list[float] | None]:
    """Starts drawn by tempering, one a replica, kept in the run folder so that a resumed run has the same."""
    if config.get("tempering") is None:
        return None, None
    settings: Tempering = instantiate(config["tempering"])
    file = folder / "starts.safetensors"
    if file.is_file():
        shutil.rmtree(folder / _TEMPERING, ignore_errors=True)
        try:
            kept = load_tensors(file.read_bytes())
            return kept["positions"], kept["swap_rates"].tolist()
        except (OSError, ValueError, KeyError) as error:
            raise MdgenError(
                f"{file} cannot be read ({type(error).__name__}); delete it to draw the starts again"
            ) from error
    engine = _engine(config, system, threads, generator)
    lowest = engine.temperature_K.min()
    state = initial_state(system, engine.n_replicas, lowest[None], generator)
    known = {"molecule": system.molecule.fingerprint, "potential": system.potential.fingerprint}
    ensemble = parallel_tempering(engine, state, float(lowest), settings, generator, folder / _TEMPERING, known)
    starts = ensemble.starts(engine.n_replicas, generator)
    save_tensors(file, {"positions": starts, "swap_rates": torch.tensor(ensemble.swap_rates)}, {})
    shutil.rmtree(folder / _TEMPERING, ignore_errors=True)
    return starts, list(ensemble.swap_rates)


def _total_ns(store: TrajectoryStore) -> float:
    return sum(store.lengths) * store.frame_spacing_ps / 1000


def _metrics(store: TrajectoryStore, engine: Engine) -> dict[str, Any]:
    stopped = [{**asdict(stop), "n_frames": store.lengths[stop.replica]} for stop in stops_of(store.path)]
    return {
        "store": STORE,
        "n_atoms": store.molecule.n_atoms,
        "n_replicas": store.n_trajectories,
        "n_frames": store.n_frames,
        "frame_spacing_ps": store.frame_spacing_ps,
        "total_ns": _total_ns(store),
        "stopped_replicas": stopped,
        "engine": engine.settings,
    }
