"""Replica exchange in temperature: hot replicas cross barriers, cold ones keep the canonical distribution.

Neighbours on a ladder of temperatures swap them with the Metropolis probability min(1, exp((b_i - b_j)(U_i - U_j))); a
swap permutes temperatures and leaves positions where they are (Sugita and Okamoto, Chem. Phys. Lett. 1999, 314, 141).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.replica_exchange_state import ReplicaExchangeRecord, ReplicaExchangeState
from mdgen.md.engines.engine import Engine
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.units import BOLTZMANN, NANOSECOND


@register
@dataclass(frozen=True)
class Tempering:
    """Settings of replica exchange.

    Args:
        rungs: number of temperatures on the ladder, spaced geometrically.
        highest_temperature_K: top of the ladder; its foot is the simulation's own temperature.
        length_ns: length of each replica.
        exchange_ps: time between two rounds of swaps, and between two frames that are kept.
        discard_share: fraction of the run at its beginning that is discarded.
    """

    rungs: int = 3
    highest_temperature_K: float = 600.0
    length_ns: float = 2.0
    exchange_ps: float = 2.0
    discard_share: float = 0.25

    def __post_init__(self) -> None:
        if not (self.length_ns > 0 and self.exchange_ps > 0 and 0 <= self.discard_share < 1):
            raise MdgenError(
                f"tempering needs length_ns and exchange_ps above 0 and 0 <= discard_share < 1; it was given "
                f"{self.length_ns:g}, {self.exchange_ps:g} and {self.discard_share:g}"
            )
        if self.length_ns * NANOSECOND < 2 * self.exchange_ps:
            raise MdgenError(
                f"tempering.length_ns={self.length_ns:g} holds no two rounds of exchange_ps={self.exchange_ps:g}; "
                "temper for longer"
            )

    def temperatures(self, lowest_K: float) -> Float[np.ndarray, "rung"]:
        """The ladder in K, ascending from `lowest_K`."""
        if self.rungs < 2 or not lowest_K < self.highest_temperature_K:
            raise MdgenError(
                f"a ladder of {self.rungs} temperatures from {lowest_K:g} to {self.highest_temperature_K:g} K is "
                "impossible; it needs two or more, and a top above the simulation's temperature"
            )
        return lowest_K * (self.highest_temperature_K / lowest_K) ** np.linspace(0, 1, self.rungs)


@dataclass(frozen=True)
class TemperedEnsemble:
    """Frames at the lowest temperature, and how often each pair of neighbours on the ladder swapped."""

    positions: Float[Tensor, "round ladder atom 3"]
    swap_rates: tuple[float, ...]

    def starts(self, count: int, generator: torch.Generator) -> Float[Tensor, "start atom 3"]:
        """Frames to start from, one after the other from the first ladder to the last.

        Frames of one ladder are correlated. Starts that are far apart in the list never come from the same ladder, so
        that a list that is cut in parts, for training and for judging, gives independent parts.
        """
        rounds, ladders = self.positions.shape[:2]
        ladder = torch.arange(count) * ladders // count
        drawn = torch.randint(rounds, (count,), generator=generator)
        return self.positions[drawn, ladder].contiguous()


def swapped(
    rung: Int[np.ndarray, "ladder rung"],
    energies_kT: Float[np.ndarray, "ladder rung"],
    inverse_temperatures: Float[np.ndarray, "rung"],
    odd: Literal[0, 1],
    uniform: Float[np.ndarray, "ladder rung"],
) -> tuple[Int[np.ndarray, "ladder rung"], Float[np.ndarray, "pair"]]:
    """One round of swaps within every ladder, between rungs (0, 1), (2, 3)... or, if `odd`, (1, 2), (3, 4)...

    Args:
        rung: rung of each replica of each ladder, a permutation along the last axis.
        energies_kT: potential energies of the replicas, in the unit of 1 / `inverse_temperatures`.
        inverse_temperatures: inverse temperature of each rung.
        odd: 1 for the pairs that begin with an odd rung, 0 for the others.
        uniform: random numbers in [0, 1).

    Returns:
        The new rungs, and for each pair the fraction of ladders that swapped it.
    """
    holder = np.argsort(rung, axis=1)
    rows = np.arange(len(rung))
    new, rates = rung.copy(), []
    for low in range(odd, rung.shape[1] - 1, 2):
        cold, warm = holder[:, low], holder[:, low + 1]
        gain = (inverse_temperatures[low] - inverse_temperatures[low + 1]) * (
            energies_kT[rows, cold] - energies_kT[rows, warm]
        )
        accepted = np.log(np.maximum(uniform[:, low], 1e-300)) < gain
        new[rows[accepted], cold[accepted]] = low + 1
        new[rows[accepted], warm[accepted]] = low
        rates.append(accepted.mean())
    return new, np.array(rates)


def parallel_tempering(
    engine: Engine,
    state: State,
    lowest_temperature_K: float,
    settings: Tempering,
    generator: torch.Generator,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> TemperedEnsemble:
    """Run ladders of replicas side by side and collect the frames at the lowest temperature.

    With a `folder` a call that was killed or interrupted is resumed by the same call, the same bit for bit. Potentials
    that adapt keep the state that they have when it begins.

    Args:
        engine: engine whose replicas are distributed over ladders; those that do not fill a ladder stay at the lowest
            temperature and are not drawn from.
        state: start of every replica, velocities at the lowest temperature.
        lowest_temperature_K: temperature of the ensemble.
        settings: ladder, length and exchange.
        generator: draws the swaps.
        folder: folder of the checkpoints; None for none.
        identity: what beside these settings a continuation must share, such as the potential's fingerprint.

    Raises:
        MdgenError: if there are fewer replicas than rungs, a replica becomes unstable, or the folder holds another run.
    """
    ladder = settings.temperatures(lowest_temperature_K)
    n_ladders = engine.n_replicas // settings.rungs
    if n_ladders == 0:
        raise MdgenError(f"{engine.n_replicas} replicas do not fill a ladder of {settings.rungs}; simulate more")
    rounds = max(1, round(settings.length_ns * NANOSECOND / settings.exchange_ps))
    own = {"n_replicas": engine.n_replicas, "lowest_temperature_K": lowest_temperature_K, **engine.settings}
    record = ReplicaExchangeRecord(folder, {**own, **asdict(settings), **(identity or {})})
    now = record.found(engine, generator)
    if now is None:
        rung = np.tile(np.arange(settings.rungs), (n_ladders, 1))
        none = np.zeros(settings.rungs - 1)
        lowest = torch.full((engine.n_replicas,), lowest_temperature_K, dtype=torch.float64)
        now = ReplicaExchangeState(0, state, lowest, rung, (), none, none)
    progress = Progress("tempering", rounds, now.rounds)
    try:
        while now.rounds < rounds:
            now, rate = _round(now, engine, ladder, now.rounds >= settings.discard_share * rounds, settings, generator)
            record.note(now, engine, generator)
            progress.update(now.rounds, swap_rate=rate)
    finally:
        # After an interrupt as well: the rounds that are complete are kept.
        record.flush()
    engine.set_temperature(torch.tensor([lowest_temperature_K], dtype=torch.float64))
    return TemperedEnsemble(torch.stack(now.kept), tuple((now.swaps / np.maximum(now.chances, 1)).tolist()))


def _round(
    now: ReplicaExchangeState,
    engine: Engine,
    ladder: Float[np.ndarray, "rung"],
    keep: bool,
    settings: Tempering,
    generator: torch.Generator,
) -> tuple[ReplicaExchangeState, float]:
    """Advance each replica at its rung's temperature, keep the coldest frames, swap; returns the fraction swapped."""
    n_used = now.rung.size
    temperatures = torch.cat([torch.from_numpy(ladder[now.rung].reshape(-1)), now.temperature_K[n_used:]])
    # Kinetic energies swap with the temperatures, so that only potential energies decide.
    scale = (temperatures / now.temperature_K).sqrt().to(now.state.velocities)
    engine.prepare(replace(now.state, velocities=now.state.velocities * scale[:, None, None]))
    engine.set_temperature(temperatures)
    state = engine.advance(max(1, round(settings.exchange_ps / engine.timestep_ps)))
    energies = engine.potential_energy()
    if not np.isfinite(energies).all():
        bad = int(np.flatnonzero(~np.isfinite(energies))[0])
        raise MdgenError(
            f"replica {bad} blew up at {temperatures[bad]:.0f} K while tempering; use a shorter time step or a "
            "lower highest_temperature_K"
        )
    # One replica of each ladder is coldest, and rows come in the order of the ladders.
    coldest = torch.from_numpy(now.rung.reshape(-1) == 0)
    kept = (*now.kept, state.positions[:n_used].cpu()[coldest].clone()) if keep else now.kept
    odd: Literal[0, 1] = 1 if now.rounds % 2 and settings.rungs > 2 else 0
    uniform = torch.rand(now.rung.shape, generator=generator, dtype=torch.float64).numpy()
    of_used = energies[:n_used].reshape(now.rung.shape)
    rung, rates = swapped(now.rung, of_used, 1 / (BOLTZMANN * ladder), odd, uniform)
    swaps, chances = now.swaps.copy(), now.chances.copy()
    swaps[odd::2] += rates
    chances[odd::2] += 1
    return ReplicaExchangeState(now.rounds + 1, state, temperatures, rung, kept, swaps, chances), float(rates.mean())
