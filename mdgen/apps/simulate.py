"""`mdgen simulate`: molecular dynamics of any system, into a trajectory store."""

import logging
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import STORE
from mdgen.data.export import TOPOLOGY, export_trajectories
from mdgen.data.formats.cells import lengths_and_angles
from mdgen.data.manifest import MOST_TRAJECTORIES
from mdgen.data.store import TrajectoryStore, require_space
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.generation.load import read_structures
from mdgen.interfaces import Integrator, System
from mdgen.md.dynamics.checkpoint import stops_of
from mdgen.md.dynamics.replica_exchange import Tempering, parallel_tempering
from mdgen.md.dynamics.schedule import plan
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine, passed_over
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.md.force_field.openmm_potential import OpenMMPotential
from mdgen.md.systems.openmm_systems.openmm_loader import box_vectors
from mdgen.molecule.topology import Molecule
from mdgen.progress import duration, simulated
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
        saved = None if config["save_atoms"] is None else system.molecule.select(config["save_atoms"])
        _require_space(config, system, saved, folder.path / STORE)
        # Each part draws from a generator of its own, so that a run resumed between two parts continues the same.
        start, swap_rates = _starts(config, system, threads, _generator(config, 1), folder.path)
        generator = _generator(config, 0)
        engine = _engine(config, system, threads, generator)
        logger.info(
            "simulate      %s, %d thread%s", _described(config, system, engine), threads, "s" if threads > 1 else ""
        )
        _write_topology(folder.path, system, saved, float(config["save_ps"]))
        fresh, begin = not (folder.path / STORE).exists(), time.monotonic()
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
            save_atoms=saved,
        )
        made_ns = _total_ns(store) + store.n_trajectories * float(config["equilibration_ns"])
        speed = made_ns / (time.monotonic() - begin) if fresh else None  # of what an earlier call did nothing is known
        if config["export"] is not None:
            export_trajectories(open_trajectories(store.path), folder.path, config["export"])
        figures = {"ns_per_second": speed, "threads": threads, "tempering_swap_rates": swap_rates}
        folder.finish({**_metrics(store, engine), **figures})
        logger.info(
            "simulate      %s in %s; trajectories in %s",
            simulated(_total_ns(store)),
            duration(folder.seconds),
            store.path,
        )


def _require_space(config: dict[str, Any], system: System, saved: Int[np.ndarray, "saved"] | None, store: Path) -> None:
    """Refuse, before anything is computed, frames that the disk has no room for."""
    integrator: Integrator = instantiate(config["integrator"])
    schedule = plan(
        float(config["length_ns"]),
        float(config["equilibration_ns"]),
        float(config["save_ps"]),
        integrator.timestep_ps,
        integrator.temperature_K,
        config["anneal_temperature_K"],
    )
    growing = int(config["n_replicas"]) - len(stops_of(store))
    n_atoms = system.molecule.n_atoms if saved is None else len(saved)
    advice = "lower length_ns or n_replicas, raise save_ps, save fewer atoms (save_atoms), or name an output elsewhere"
    require_space(store, schedule.production_frames, growing, n_atoms, _box(system) is not None, advice)


def _described(config: dict[str, Any], system: System, engine: Engine) -> str:
    """Which engine runs, and why `auto` took no faster one, in words."""
    words = f"engine {engine.name}, {engine.precision} precision"
    if config["engine"] != "auto":
        return words
    faster = passed_over(system, engine.integrator, config["device"], config["pressure_bar"])
    because = "; ".join(f"{name} does not have {what}" for name, what in faster.items())
    return f"{words}, chosen by engine=auto ({because or 'the fastest'})"


def _write_topology(folder: Path, system: System, saved: Int[np.ndarray, "saved"] | None, save_ps: float) -> None:
    """`topology.pdb`: the atoms that are stored, at the start of the simulation, with the box."""
    positions = system.positions[None].float().numpy()
    molecule = system.molecule if saved is None else system.molecule.subset(saved)
    box = _box(system)
    cells = None if box is None else box[None]
    write_trajectory(folder / TOPOLOGY, positions if saved is None else positions[:, saved], molecule, save_ps, cells)


def _box(system: System) -> Float[np.ndarray, "3 3"] | None:
    """Box vectors in nm, one a row; a triclinic box is no cell of ours and stands in the `openmm.System` alone."""
    if system.cell is not None:
        return np.diag(system.cell.double().numpy())
    return box_vectors(system.potential.openmm_system) if isinstance(system.potential, OpenMMPotential) else None


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
    """Starts of a file, or drawn by tempering, one a replica; the latter kept so that a resumed run has the same."""
    if config["start"] is not None:
        return _given_starts(config, system), None
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


def _given_starts(config: dict[str, Any], system: System) -> Tensor:
    """The frames of the key `start`, one a replica, taken in turn."""
    if config.get("tempering") is not None:
        raise MdgenError("start and tempering were both given, which draws starts of its own; leave out one of them")
    structures = read_structures(config["start"])
    system.molecule.require_same(Molecule.from_mdtraj(structures.topology), str(config["start"]))
    box = _box(system)
    if structures.unitcell_lengths is not None and box is not None:
        lengths, angles = lengths_and_angles(box[None])
        same = np.allclose(structures.unitcell_lengths, lengths, rtol=1e-3)
        if not same or not np.allclose(structures.unitcell_angles, angles, rtol=1e-3):
            raise MdgenError(
                f"{config['start']} holds frames of another periodic box than the system's, of edges "
                f"{lengths[0].tolist()} nm and angles {angles[0].tolist()} degrees; give frames of that box"
            )
    turns = np.arange(int(config["n_replicas"])) % len(structures)
    return torch.from_numpy(np.array(structures.xyz[turns], dtype=np.float64))


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
