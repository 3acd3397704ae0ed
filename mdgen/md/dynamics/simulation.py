"""The simulation loop: equilibrate, simulate, store; resumable at any moment with the same result bit for bit."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError
from mdgen.interfaces import State, System
from mdgen.md.dynamics.checkpoint import Checkpoint, Stop, checkpoints, require_same_run, save_checkpoint
from mdgen.md.dynamics.instabilities import Segment, stable_segments
from mdgen.md.dynamics.schedule import Schedule, plan
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import is_translation_invariant
from mdgen.progress import Progress, duration, simulated

_REPORT_S = 1.0
_FLUSH_S = 20.0
_FLUSH_BYTES = 64 * 2**20

logger = logging.getLogger("mdgen")


def simulate(
    system: System,
    engine: Engine,
    store_path: Path | str,
    length_ns: float,
    equilibration_ns: float,
    save_ps: float,
    generator: torch.Generator,
    anneal_temperature_K: float | None = None,
    start: Float[Tensor, "replica atom 3"] | None = None,
    report_s: float | None = None,
    flush_s: float | None = None,
    save_atoms: Int[np.ndarray, "saved"] | None = None,
) -> TrajectoryStore:
    """Simulate every replica of `engine` and store its frames, or continue where a former call stopped.

    The store holds its checkpoint. A process that is killed, or interrupted with Ctrl-C, is resumed by the same call:
    frames beyond the checkpoint are cut off and computed again, the same bit for bit. A finished run is left unchanged;
    one asked to be longer is continued.

    A replica that becomes unstable stops there, with a warning that names it, the steps and the atom: no frame of it is
    stored from then on, and the others are not affected. `checkpoint.stops_of` lists those that stopped.

    Potentials that adapt are updated after each stored frame with the replicas that have not stopped.

    Args:
        system: topology, potential and start.
        engine: engine made for the same system.
        store_path: folder of the trajectory store.
        length_ns: length of each replica after equilibration.
        equilibration_ns: length of the equilibration of each replica, which is not stored.
        save_ps: time between stored frames, a multiple of the time step.
        generator: draws the first velocities.
        anneal_temperature_K: temperature of the first quarter of the equilibration, so that replicas that start alike
            diverge; 600 K is high enough to cross torsional barriers and too low to flip a peptide bond.
        start: start of each replica in nm; None for the system's.
        report_s: seconds between two checks of what the engine did; None for one.
        flush_s: seconds of work that a kill may cost; None for twenty.
        save_atoms: indices of the atoms to store, ascending; None for all.

    Raises:
        MdgenError: if every replica has become unstable, the folder holds another run, or the disk is full; what was
            stored before stays, and can be resumed.
    """
    timestep_ps, temperature_K = engine.timestep_ps, engine.temperature_K
    schedule = plan(length_ns, equilibration_ns, save_ps, timestep_ps, temperature_K, anneal_temperature_K)
    identity = _identity(system, engine, schedule, save_ps, save_atoms)
    path = Path(store_path)
    if is_store(path):
        store = TrajectoryStore.open(path)
    else:
        details = {"equilibration_ns": equilibration_ns, **identity}
        molecule = system.molecule if save_atoms is None else system.molecule.subset(save_atoms)
        store = TrajectoryStore.create(path, molecule, save_ps, engine.n_replicas, details)
    with store:
        store.start_writing()
        checkpoint = _found(store, identity)
        if checkpoint is None:
            store.truncate(0)
            engine.prepare(_first_state(system, engine, schedule, generator, start))
            checkpoint = Checkpoint(engine.state_dict(), 0, 0, identity)
        elif checkpoint.frames_done >= schedule.total_frames:
            store.verify()
            return store
        else:
            _refuse_if_none_is_left(engine, checkpoint.stops)
            store.truncate(checkpoint.frames_stored)
            store.verify()
            engine.load_state_dict(checkpoint.engine)
        journal = _Journal(store, checkpoint, _FLUSH_S if flush_s is None else flush_s, save_atoms)
        _run(system, engine, schedule, journal, save_ps, _REPORT_S if report_s is None else report_s)
    if journal.checkpoint.stops:
        said = "; ".join(map(str, journal.checkpoint.stops))
        logger.warning(
            "%d of %d replicas stopped: %s; %s", len(journal.checkpoint.stops), engine.n_replicas, said, _advice(engine)
        )
    return store


def _run(
    system: System, engine: Engine, schedule: Schedule, journal: "_Journal", save_ps: float, report_s: float
) -> None:
    """From the journal's checkpoint to the end of the schedule, or of the last replica."""
    frame = journal.checkpoint.frames_done
    replicas_ns = engine.n_replicas * save_ps / 1000
    progress = Progress("simulate", schedule.total_frames * replicas_ns, frame * replicas_ns)
    at_once, first_block = 1, True
    if engine.compiles:
        logger.info("simulate      compiling; about a minute where this kernel was not compiled before")
    try:
        while frame < schedule.total_frames:
            if schedule.anneal_temperature_K is not None:
                engine.set_temperature(schedule.temperature(frame))
            storing = frame >= schedule.equilibration_frames
            n = 1 if storing and engine.adaptive else min(at_once, schedule.stage_end(frame) - frame)
            asked = time.monotonic()
            segments, stops = _advanced(system, engine, schedule, frame, n, journal.alive)
            if storing and engine.adaptive:
                stopped = {stop.replica for stop in stops}
                engine.update_potential([replica for replica in journal.alive if replica not in stopped])
            frame += n
            journal.note(segments, frame, engine.state_dict(), stops)
            _refuse_if_none_is_left(engine, journal.checkpoint.stops)
            for stop in stops:
                logger.warning("%s; the others go on", stop)
            elapsed = time.monotonic() - asked
            at_once = max(1, min(2 * at_once, round(n * report_s / max(elapsed, 1e-6))))
            if first_block and frame < schedule.total_frames:
                progress.restart(frame * replicas_ns)
                _say_compiled(engine, elapsed)
            else:
                _report(progress, frame * replicas_ns, schedule, frame)
            first_block = False
    finally:
        # After an interrupt or an instability as well: whatever is complete is kept.
        journal.flush()


def _say_compiled(engine: Engine, seconds: float) -> None:
    if engine.compiles:
        logger.info("simulate      compiled in %s, which speed and time left do not include", duration(seconds))


def _report(progress: Progress, done_ns: float, schedule: Schedule, frame: int) -> None:
    part = "production" if frame >= schedule.equilibration_frames else "equilibration"
    speed = simulated(progress.rate(done_ns) * 86400)
    progress.update(done_ns, part=part, speed=f"{speed}/day")


def _advanced(
    system: System, engine: Engine, schedule: Schedule, frame: int, n: int, alive: Sequence[int]
) -> tuple[list[Segment], list[Stop]]:
    """Advance by `n` frames; returns those to store, and the replicas that became unstable."""
    storing = frame >= schedule.equilibration_frames
    if storing:
        moved, cells = engine.record(n, schedule.steps_per_frame)
        between = schedule.steps_per_frame
    else:
        cells = None
        moved = engine.advance(n * schedule.steps_per_frame).positions[:, None].cpu().numpy()
        between = n * schedule.steps_per_frame
    first_step, label = frame * schedule.steps_per_frame, system.molecule.atom_label
    energy, molecules = engine.potential_energy(), system.molecule.molecule_of_atom
    centred = is_translation_invariant(system.potential)
    segments, stops = stable_segments(moved, energy, alive, first_step, between, label, molecules, centred, cells)
    return (segments if storing else []), stops


def _refuse_if_none_is_left(engine: Engine, stops: Sequence[Stop]) -> None:
    if len(stops) == engine.n_replicas:
        which = "the only replica" if len(stops) == 1 else f"all {len(stops)} replicas"
        raise MdgenError(f"{which} blew up; {stops[0]}: {_advice(engine)}")


def _advice(engine: Engine) -> str:
    return (
        f"the time step of {engine.timestep_ps * 1000:g} fs is too long for this molecule, or it started under strain; "
        "use at most 2 fs with constrained bonds to hydrogen (4 fs with hydrogens of 3 amu), 0.5 fs without, in a new "
        "folder"
    )


class _Journal:
    """Frames and checkpoints to be written, such that an interrupt at any moment leaves a run that can be resumed.

    What is pending is replaced in one assignment, and a flush that was interrupted can be repeated.
    """

    def __init__(
        self, store: TrajectoryStore, checkpoint: Checkpoint, flush_s: float, atoms: Int[np.ndarray, "saved"] | None
    ) -> None:
        self._store, self._flush_s, self._atoms = store, flush_s, atoms
        self._pending: tuple[tuple[Segment, ...], Checkpoint] = ((), checkpoint)
        self._flushed = time.monotonic()

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that what is pending leads to."""
        return self._pending[1]

    @property
    def alive(self) -> list[int]:
        """The replicas that have not stopped."""
        lost = {stop.replica for stop in self.checkpoint.stops}
        return [replica for replica in range(self._store.n_trajectories) if replica not in lost]

    def note(
        self, segments: Sequence[Segment], frames_done: int, engine: dict[str, Tensor], stops: Sequence[Stop]
    ) -> None:
        """Add what was done; flush at intervals."""
        if self._atoms is not None:
            segments = [replace(part, frames=part.frames[:, :, self._atoms]) for part in segments]
        kept, last = (*self._pending[0], *segments), self.checkpoint
        stored = last.frames_stored + sum(part.frames.shape[1] for part in segments)
        lost = (*last.stops, *stops)
        checkpoint = replace(last, engine=engine, frames_done=frames_done, frames_stored=stored, stops=lost)
        self._pending = (kept, checkpoint)
        late = time.monotonic() - self._flushed > self._flush_s
        if late or sum(part.frames.nbytes for part in kept) > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write frames and then the checkpoint to the disk."""
        segments, checkpoint = self._pending
        stored = checkpoint.frames_stored - sum(part.frames.shape[1] for part in segments)
        if self._store.n_frames > stored:
            self._store.truncate(stored)
        for replicas, group in groupby(segments, key=lambda part: part.replicas):
            parts = list(group)
            boxes = [part.cells for part in parts if part.cells is not None]
            cells = np.concatenate(boxes, 1) if boxes else None
            self._store.append(np.concatenate([part.frames for part in parts], 1), replicas, cells)
        save_checkpoint(self._store.path, checkpoint)
        self._pending = ((), checkpoint)
        self._flushed = time.monotonic()


def _found(store: TrajectoryStore, identity: dict[str, Any]) -> Checkpoint | None:
    """The newest checkpoint that the store can be cut to; None for a store that nothing was written to yet."""
    for checkpoint in checkpoints(store.path):
        require_same_run(store.path, checkpoint.identity, identity)
        if checkpoint.frames_stored <= store.n_frames:
            return checkpoint
    if store.n_frames:
        raise MdgenError(
            f"{store.path} holds {store.n_frames} frames but no checkpoint to continue from; name another folder"
        )
    require_same_run(store.path, store.metadata, identity)
    return None


def _identity(
    system: System, engine: Engine, schedule: Schedule, save_ps: float, save_atoms: Int[np.ndarray, "saved"] | None
) -> dict[str, Any]:
    """What a continuation must share with the run that it continues; its length is free."""
    steps = {key: value for key, value in vars(schedule).items() if key not in ("production_frames", "temperature_K")}
    held: dict[str, Any] = {}
    if "initial_temperature_K" not in engine.settings:
        held["temperature_K"] = engine.temperature_K.tolist()
    if isinstance(system.potential, ForceField):
        own = system.potential.parameters
        changed = own.of_system(system).fingerprint
        if changed != own.fingerprint:
            held["masses_and_constraints"] = changed
    return {
        "molecule": system.molecule.fingerprint,
        "potential": system.potential.fingerprint,
        "n_replicas": engine.n_replicas,
        "save_ps": save_ps,
        "save_atoms": None if save_atoms is None else hashlib.sha256(repr(save_atoms.tolist()).encode()).hexdigest(),
        **held,
        **engine.settings,
        **steps,
    }


def _first_state(
    system: System,
    engine: Engine,
    schedule: Schedule,
    generator: torch.Generator,
    start: Float[Tensor, "replica atom 3"] | None,
) -> State:
    """Every replica at its start, with velocities of the first temperature."""
    if start is not None:
        expected = (engine.n_replicas, *system.positions.shape)
        if tuple(start.shape) != expected or not bool(start.isfinite().all()):
            raise MdgenError(
                f"the start has shape {tuple(start.shape)} or is not finite; it must be finite positions of "
                f"(replica, atom, 3) = {expected}"
            )
        start = start.to(system.positions)
        start = start if system.constraints is None else system.constraints.positions(start, start)
    return initial_state(system, engine.n_replicas, schedule.temperature(0), generator, start)
