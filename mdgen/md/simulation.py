"""The one loop: equilibrate, simulate, store; resumable at any moment, and the same bit for bit when resumed."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.checkpoint import Checkpoint, checkpoints, require_same_run, save_checkpoint
from mdgen.md.constraints import distance_constraints
from mdgen.md.engine import Engine
from mdgen.md.schedule import Schedule, plan
from mdgen.md.systems import MolecularSystem
from mdgen.md.velocities import maxwell_boltzmann
from mdgen.progress import Progress

_REPORT_S = 1.0
_FLUSH_S = 20.0
_FLUSH_BYTES = 64 * 2**20
_LARGEST_MOLECULE_NM = 100.0


def simulate(
    system: MolecularSystem,
    engine: Engine,
    store_path: Path | str,
    length_ns: float,
    equilibration_ns: float,
    save_ps: float,
    generator: torch.Generator,
    anneal_temperature_K: float | None = None,
    start: Float[Tensor, "replica atom 3"] | None = None,
    metadata: Mapping[str, Any] | None = None,
    report_s: float | None = None,
    flush_s: float | None = None,
) -> TrajectoryStore:
    """Simulate every replica of `engine` and store its frames, or go on where a former call stopped.

    The store holds its checkpoint. A process that is killed, or interrupted with Ctrl-C, is resumed by the same call:
    frames beyond the checkpoint are cut off and computed again, the same bit for bit. A finished run is left alone; one
    asked to be longer is continued.

    Args:
        system: the molecule, which gives topology and start.
        engine: what moves it; made for the same molecule.
        store_path: folder of the trajectory store.
        length_ns: of each replica, after equilibration.
        equilibration_ns: of each replica, thrown away.
        save_ps: time between stored frames, a multiple of the time step.
        generator: draws the first velocities.
        anneal_temperature_K: temperature of the first quarter of the equilibration, so that replicas that start alike
            part ways; 600 K is warm enough to cross torsional barriers and too cold to flip a peptide bond.
        start: one start for each replica, in nm; None for the system's.
        metadata: more to keep in the store.
        report_s: seconds between two looks at what the engine did; None for one.
        flush_s: seconds of work that a kill may cost; None for twenty.

    Raises:
        MdgenError: if a replica blows up (none of its frames is written), the folder holds another run, or the disk is
            full; what was stored before stays, and can be resumed.
    """
    timestep_ps, temperature_K = engine.timestep_ps, engine.temperature_K
    schedule = plan(length_ns, equilibration_ns, save_ps, timestep_ps, temperature_K, anneal_temperature_K)
    identity = _identity(system, engine, schedule, save_ps)
    path = Path(store_path)
    if is_store(path):
        store = TrajectoryStore.open(path)
    else:
        details = {**(metadata or {}), "equilibration_ns": equilibration_ns, **identity}
        store = TrajectoryStore.create(path, system.molecule, save_ps, engine.n_replicas, details)
    with store:
        store.start_writing()
        checkpoint = _found(store, identity)
        if checkpoint is None:
            store.truncate(0)
            engine.prepare(_first_state(system, engine, schedule, generator, start))
            checkpoint = Checkpoint(engine.state_dict(), 0, 0, identity)
        elif checkpoint.frames_done >= schedule.total_frames:
            return store
        else:
            store.truncate(checkpoint.frames_stored)
            engine.load_state_dict(checkpoint.engine)
        journal = _Journal(store, checkpoint, _FLUSH_S if flush_s is None else flush_s)
        _run(system, engine, schedule, journal, save_ps, _REPORT_S if report_s is None else report_s)
    return store


def _run(
    system: MolecularSystem, engine: Engine, schedule: Schedule, journal: "_Journal", save_ps: float, report_s: float
) -> None:
    """From the journal's checkpoint to the end of the schedule."""
    frame = journal.frames_done
    replicas_ns = engine.n_replicas * save_ps / 1000
    progress = Progress("simulate", schedule.total_frames * replicas_ns, frame * replicas_ns)
    begin, first, at_once = time.monotonic(), frame, 1
    try:
        while frame < schedule.total_frames:
            engine.set_temperature(schedule.temperature(frame))
            n = min(at_once, schedule.stage_end(frame) - frame)
            asked = time.monotonic()
            frames = _moved(system, engine, schedule, frame, n)
            frame += n
            journal.note(frames, frame, engine.state_dict())
            elapsed = time.monotonic() - asked
            at_once = max(1, min(2 * at_once, round(n * report_s / max(elapsed, 1e-6))))
            per_day = (frame - first) * replicas_ns / (time.monotonic() - begin) * 86400
            part = "equilibration" if frame < schedule.equilibration_frames else "production"
            progress.update(frame * replicas_ns, part=part, ns_per_day=per_day)
    finally:
        # After an interrupt or a blow-up as well: whatever is whole is kept.
        journal.flush()


def _moved(
    system: MolecularSystem, engine: Engine, schedule: Schedule, frame: int, n: int
) -> Float[np.ndarray, "replica frame atom 3"] | None:
    """Move on by `n` frames, check them, and return those to store.

    Raises:
        MdgenError: if a replica blew up on the way.
    """
    if frame < schedule.equilibration_frames:
        moved = engine.advance(n * schedule.steps_per_frame).positions[:, None].cpu().numpy()
        steps_between = n * schedule.steps_per_frame
    else:
        moved = engine.record(n, schedule.steps_per_frame)
        steps_between = schedule.steps_per_frame
    with np.errstate(over="ignore", invalid="ignore"):
        centred = moved - moved.mean(2, keepdims=True)
        sound = np.isfinite(moved) & (np.abs(centred) < _LARGEST_MOLECULE_NM)
    first_step = frame * schedule.steps_per_frame
    if not sound.all():
        replica, bad, atom = _first_unsound(moved, sound)
        step = first_step + bad * steps_between
        label = system.molecule.atom_label(atom)
        raise _blown_up(engine, replica, step, step + steps_between, f"first at {label}")
    energy = engine.potential_energy()
    if not np.isfinite(energy).all():
        replica = int(np.flatnonzero(~np.isfinite(energy))[0])
        last = first_step + n * schedule.steps_per_frame
        raise _blown_up(engine, replica, first_step, last, "its potential energy is not finite")
    return centred if frame >= schedule.equilibration_frames else None


def _first_unsound(moved: np.ndarray, sound: np.ndarray) -> tuple[int, int, int]:
    """Replica, frame and atom where it shows first: not finite, or too far away."""
    bad_atoms = np.asarray(~sound.all(-1))
    frame = int(np.flatnonzero(bad_atoms.any((0, 2)))[0])
    replica = int(np.flatnonzero(bad_atoms[:, frame].any(-1))[0])
    broken = np.asarray(~np.isfinite(moved[replica, frame]).all(-1))
    atom = np.flatnonzero(broken if broken.any() else bad_atoms[replica, frame])[0]
    return replica, frame, int(atom)


def _blown_up(engine: Engine, replica: int, after: int, before: int, how: str) -> MdgenError:
    return MdgenError(
        f"replica {replica} blew up between steps {after} and {before} ({how}): the time step of "
        f"{engine.timestep_ps * 1000:g} fs is too long for this molecule, or it started under strain; use at most 2 fs "
        "with constrained bonds to hydrogen (4 fs with hydrogens of 3 amu), 0.5 fs without, in a new folder"
    )


@dataclass(frozen=True)
class _Pending:
    """Frames that are not on the disk yet, and the checkpoint that they lead to."""

    frames: tuple[np.ndarray, ...]
    checkpoint: Checkpoint
    stored: int


class _Journal:
    """Frames and checkpoints on their way to the disk, so that an interrupt anywhere leaves a whole run behind.

    What is pending is replaced in one assignment, and a flush that was cut short can be done again.
    """

    def __init__(self, store: TrajectoryStore, checkpoint: Checkpoint, flush_s: float) -> None:
        self._store, self._flush_s = store, flush_s
        self._pending = _Pending((), checkpoint, store.n_frames)
        self._flushed = time.monotonic()

    @property
    def frames_done(self) -> int:
        """Frames of equilibration and production done."""
        return self._pending.checkpoint.frames_done

    def note(self, frames: np.ndarray | None, frames_done: int, engine: dict[str, Tensor]) -> None:
        """Take in what was done; flush now and then."""
        last = self._pending
        kept = last.frames if frames is None else (*last.frames, frames)
        stored = last.stored + sum(part.shape[1] for part in kept)
        checkpoint = replace(last.checkpoint, engine=engine, frames_done=frames_done, frames_stored=stored)
        self._pending = _Pending(kept, checkpoint, last.stored)
        late = time.monotonic() - self._flushed > self._flush_s
        if late or sum(part.nbytes for part in kept) > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put frames and then the checkpoint on the disk."""
        now = self._pending
        if self._store.n_frames > now.stored:
            self._store.truncate(now.stored)
        if now.frames:
            self._store.append(np.concatenate(now.frames, 1))
        save_checkpoint(self._store.path, now.checkpoint)
        self._pending = _Pending((), now.checkpoint, self._store.n_frames)
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


def _identity(system: MolecularSystem, engine: Engine, schedule: Schedule, save_ps: float) -> dict[str, Any]:
    """What a continuation must share with the run that it continues; its length is free."""
    steps = {key: value for key, value in asdict(schedule).items() if key != "production_frames"}
    return {
        "molecule": system.molecule.fingerprint,
        "force_field": system.parameters.fingerprint,
        "n_replicas": engine.n_replicas,
        "save_ps": save_ps,
        **engine.settings,
        **steps,
    }


def _first_state(
    system: MolecularSystem,
    engine: Engine,
    schedule: Schedule,
    generator: torch.Generator,
    start: Float[Tensor, "replica atom 3"] | None,
) -> State:
    """Every replica at its start, with velocities of the first temperature."""
    p = system.parameters
    held = distance_constraints(p.masses, p.constraint_atoms, p.constraint_length)
    positions = system.positions.repeat(engine.n_replicas, 1, 1)
    if start is not None:
        if start.shape != positions.shape or not bool(start.isfinite().all()):
            raise MdgenError(
                f"the start has shape {tuple(start.shape)} or is not finite; it must be finite positions of "
                f"(replica, atom, 3) = {tuple(positions.shape)}"
            )
        positions = held.positions(start.to(positions), start.to(positions))
    velocities = maxwell_boltzmann(positions, p.masses, schedule.temperature(0), generator, held)
    cell = None if system.cell is None else system.cell.expand(engine.n_replicas, 3)
    return State(positions, velocities, cell=cell)
