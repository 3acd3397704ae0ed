"""Where ladders of replica exchange stand between two rounds of swaps, and how that is kept on the disk."""

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
class Ladders:
    """Everything that the next round follows from, beside the engine and the generator.

    Args:
        rounds: done.
        state: of all replicas after the last.
        temperatures: of all replicas in K, those they moved at.
        rung: of each replica of each ladder.
        kept: the coldest frames of each round that is kept.
        swaps: sum over rounds of the share of ladders that swapped each pair of neighbours.
        chances: rounds in which each pair could swap.
    """

    rounds: int
    state: State
    temperatures: Float[np.ndarray, "replica"]
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
            "temperatures": torch.from_numpy(self.temperatures),
            "rung": torch.from_numpy(self.rung),
            "kept": torch.stack(self.kept) if self.kept else torch.zeros(0),
            "swaps": torch.from_numpy(self.swaps),
            "chances": torch.from_numpy(self.chances),
        }

    @classmethod
    def from_tensors(cls, rounds: int, found: Mapping[str, Tensor]) -> "Ladders":
        """What `tensors` gave."""
        state = State(found["positions"], found["velocities"], int(found["step"]), found.get("cell"))
        numbers = {name: found[name].numpy() for name in ("temperatures", "rung", "swaps", "chances")}
        return cls(rounds, state, kept=tuple(found["kept"]), **numbers)


class LadderRecord:
    """Ladders on their way to the disk: now and then, and whenever the work is stopped.

    Args:
        folder: for the checkpoints; None for none.
        identity: what a continuation must share.
        every_s: seconds of work that a kill may cost.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any], every_s: float = 20.0) -> None:
        self._folder, self._identity, self._every_s = folder, identity, every_s
        self._pending: tuple[Ladders, dict[str, Tensor]] | None = None
        self._flushed = time.monotonic()

    def found(self, engine: Engine, generator: torch.Generator) -> Ladders | None:
        """Where a former call stopped, engine and generator put back to that point; None if there was none.

        Raises:
            MdgenError: if the folder holds ladders of other settings.
        """
        if self._folder is None:
            return None
        for checkpoint in checkpoints(self._folder):
            require_same_run(self._folder, checkpoint.identity, self._identity)
            saved = checkpoint.engine
            of_engine = {name[len(_ENGINE) :]: value for name, value in saved.items() if name.startswith(_ENGINE)}
            engine.load_state_dict(of_engine)
            generator.set_state(saved["random"])
            return Ladders.from_tensors(checkpoint.frames_done, saved)
        return None

    def note(self, ladders: Ladders, engine: Engine, generator: torch.Generator) -> None:
        """Take in a round that is done; flush now and then."""
        if self._folder is None:
            return
        of_engine = {f"{_ENGINE}{name}": value for name, value in engine.state_dict().items()}
        self._pending = (ladders, {"random": generator.get_state(), **of_engine})
        if time.monotonic() - self._flushed > self._every_s:
            self.flush()

    def flush(self) -> None:
        """Put the last round on the disk."""
        if self._folder is None or self._pending is None:
            return
        ladders, saved = self._pending
        with writable(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        saved = {**saved, **ladders.tensors()}
        save_checkpoint(self._folder, Checkpoint(saved, ladders.rounds, len(ladders.kept), self._identity))
        self._pending, self._flushed = None, time.monotonic()
