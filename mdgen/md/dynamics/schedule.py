"""A run counted in frames: steps between them, equilibration, and the temperature of each part."""

from dataclasses import dataclass
from math import ceil

from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.units import NANOSECOND

LONGEST_NS = 1e9
"""A second: no run is longer."""

_STAGES = 20
"""Parts of the equilibration; temperature changes between them only."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The plan of a run; make one with `plan`.

    Args:
        steps_per_frame: time steps between two frames.
        equilibration_frames: length of the equilibration, which is discarded, in frames.
        production_frames: frames to keep.
        temperature_K: temperature of each replica in the production, or one for all.
        anneal_temperature_K: temperature of the first quarter of the equilibration; None for `temperature_K`. The
            middle half cools down in steps, slowly, so that rare states do not keep the population that they have at
            high temperature; the last quarter is at `temperature_K`.
    """

    steps_per_frame: int
    equilibration_frames: int
    production_frames: int
    temperature_K: Float[Tensor, "temperature"]
    anneal_temperature_K: float | None = None

    @property
    def total_frames(self) -> int:
        """Equilibration and production."""
        return self.equilibration_frames + self.production_frames

    def stage_end(self, frame: int) -> int:
        """The frame up to which the temperature of `frame` lasts and no other part of the run begins."""
        if frame >= self.equilibration_frames:
            return self.total_frames
        stage = self._stage(frame)
        return next(f for f in range(frame + 1, self.equilibration_frames + 1) if self._stage(f) > stage)

    def temperature(self, frame: int) -> Float[Tensor, "temperature"]:
        """Temperature in K of the motion that follows `frame`."""
        if self.anneal_temperature_K is None or frame >= self.equilibration_frames:
            return self.temperature_K
        warmth = min(1.0, max(0.0, 1.5 - 2 * self._stage(frame) / _STAGES))  # 1 to a quarter, 0 from three quarters
        return self.temperature_K + warmth * (self.anneal_temperature_K - self.temperature_K)

    def _stage(self, frame: int) -> int:
        return frame * _STAGES // self.equilibration_frames


def plan(
    length_ns: float,
    equilibration_ns: float,
    save_ps: float,
    timestep_ps: float,
    temperature_K: Float[Tensor, "temperature"],
    anneal_temperature_K: float | None = None,
) -> Schedule:
    """The schedule of a run; lengths that are not a whole number of frames are rounded up.

    >>> import torch
    >>> schedule = plan(0.01, 0.002, save_ps=0.5, timestep_ps=0.002, temperature_K=torch.tensor([300.0]))
    >>> schedule.steps_per_frame, schedule.equilibration_frames, schedule.production_frames
    (250, 4, 20)

    Raises:
        MdgenError: if `save_ps` is no multiple of the time step, or a length or temperature is out of range.
    """
    if not 0 < length_ns < LONGEST_NS or not 0 <= equilibration_ns < LONGEST_NS:
        raise MdgenError(
            f"length_ns is {length_ns} and equilibration_ns {equilibration_ns}; "
            f"the first must be positive and the second not negative, and both below {LONGEST_NS:g}"
        )
    steps = round(save_ps / timestep_ps) if 0 < save_ps < LONGEST_NS * NANOSECOND else 0
    if steps < 1 or abs(steps * timestep_ps - save_ps) > 1e-6 * save_ps:
        nearest = max(1, steps) * timestep_ps
        raise MdgenError(
            f"save_ps is {save_ps:g}, which is no multiple of the time step of {timestep_ps * 1000:g} fs; "
            f"take {nearest:g}, for instance"
        )
    if anneal_temperature_K is not None:
        if not 0 < anneal_temperature_K < float("inf"):
            raise MdgenError(f"anneal_temperature_K is {anneal_temperature_K}, but must be a positive number, or null")
        if equilibration_ns == 0:
            raise MdgenError("anneal_temperature_K needs an equilibration to anneal in, but equilibration_ns is 0")
    equilibration, production = (
        ceil(length * NANOSECOND / save_ps * (1 - 1e-12)) for length in (equilibration_ns, length_ns)
    )
    return Schedule(steps, equilibration, production, temperature_K, anneal_temperature_K)
