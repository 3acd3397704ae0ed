"""The state of replica exchange between two rounds of swaps, and its checkpoints."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.files import writable
from mdgen.interfaces import State
from mdgen.md.dynamics.checkpoint import Checkpoint, checkpoints, require_same_run, save_checkpoint
from mdgen.md.engines.engine import Engine

_ENGINE = "engine."


@dataclass(frozen=True)
class ReplicaExchangeState:
    """All that the next round depends on, beside the engine and the generator.

    Args:
        rounds: rounds done.
        state: state of all replicas after the last round.
        temperature_K: temperature of each replica in that round.
        rung: rung of each replica of each ladder.
        kept: frames at the lowest temperature of each round that is kept.
        swaps: sum over rounds of the fraction of ladders that swapped each pair of neighbours.
        chances: number of rounds in which each pair could swap.
    """

    rounds: int
    state: State
    temperature_K: Float[Tensor, "replica"]
    rung: Int[np.ndarray, "ladder rung"]
    kept: tuple[Float[Tensor, "ladder atom 3"], ...]
    swaps: Float[np.ndarray, "pair"]
    chances: Float[np.ndarray, "pair"]

    def tensors(self) -> dict[str, Tensor]:
        """As a checkpoint holds it."""
        cell = {} if self.state.cell is None else {"cell": self.state.cell}
        return cell | {
            "positions": self.state.positions,
            "velocities": self.state.velocities,
            "step": torch.tensor(self.state.step),
            "temperature_K": self.temperature_K,
            "rung": torch.from_numpy(self.rung),
            "kept": torch.stack(self.kept) if self.kept else torch.zeros(0),
            "swaps": torch.from_numpy(self.swaps),
            "chances": torch.from_numpy(self.chances),
        }

    @classmethod
    def from_tensors(cls, rounds: int, found: Mapping[str, Tensor]) -> "ReplicaExchangeState":
        """What `tensors` gave."""
        state = State(found["positions"], found["velocities"], int(found["step"]), found.get("cell"))
        numbers = {name: found[name].numpy() for name in ("rung", "swaps", "chances")}
        return cls(rounds, state, found["temperature_K"], kept=tuple(found["kept"]), **numbers)


class ReplicaExchangeRecord:
    """Checkpoints of replica exchange, written at intervals and whenever the run is stopped.

    Args:
        folder: folder of the checkpoints; None for none.
        identity: settings that a continuation must share.
        every_s: seconds of work that a kill may cost.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any], every_s: float = 20.0) -> None:
        self._folder, self._identity, self._every_s = folder, identity, every_s
        self._pending: tuple[ReplicaExchangeState, dict[str, Tensor]] | None = None
        self._flushed = time.monotonic()

    def found(self, engine: Engine, generator: torch.Generator) -> ReplicaExchangeState | None:
        """The state in which a former call stopped, engine and generator restored; None if there was none.

        Raises:
            MdgenError: if the folder holds a run of other settings.
        """
        if self._folder is None:
            return None
        for checkpoint in checkpoints(self._folder):
            require_same_run(self._folder, checkpoint.identity, self._identity)
            saved = checkpoint.engine
            of_engine = {name[len(_ENGINE) :]: value for name, value in saved.items() if name.startswith(_ENGINE)}
            engine.load_state_dict(of_engine)
            generator.set_state(saved["random"])
            return ReplicaExchangeState.from_tensors(checkpoint.frames_done, saved)
        return None

    def note(self, state: ReplicaExchangeState, engine: Engine, generator: torch.Generator) -> None:
        """Add a round that is done; flush at intervals."""
        if self._folder is None:
            return
        of_engine = {f"{_ENGINE}{name}": value for name, value in engine.state_dict().items()}
        self._pending = (state, {"random": generator.get_state(), **of_engine})
        if time.monotonic() - self._flushed > self._every_s:
            self.flush()

    def flush(self) -> None:
        """Write the last round to the disk."""
        if self._folder is None or self._pending is None:
            return
        state, saved = self._pending
        with writable(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        saved = {**saved, **state.tensors()}
        save_checkpoint(self._folder, Checkpoint(saved, state.rounds, len(state.kept), self._identity))
        self._pending, self._flushed = None, time.monotonic()
