"""The parts that are timed, trained for a short while on dynamics that the engine makes for them.

What a frame costs hangs on the sizes of the networks and on how often a sample is drawn again. The sizes are those of
the configs; the second needs parts that have learnt something, not ones that have learnt all.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mdgen.benchmarks.speed.timed_systems import SYSTEMS
from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.interfaces import Decoder, Encoder, Propagator
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.build import build_system
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.decoders.neighbour_flow import NeighbourFlow
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.latent_flow import LatentFlow
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.training.settings import settings_for
from mdgen.training.train import train

LAG_PS = 2.0
"""Time between two frames, as in the demo."""

_TEMPERATURE_K = 500.0
"""At which all basins of a small peptide are visited in the short dynamics that parts are trained on."""

PROPAGATORS: Mapping[str, Callable[[Any], Any]] = {
    "mdn": lambda encoder: MDN(encoder.latent, LAG_PS),
    "latent_flow": lambda encoder: LatentFlow(encoder.latent, LAG_PS),
    "markov_state_model": lambda encoder: MarkovStateModel(encoder.latent, LAG_PS),
}
"""Propagators by the names of their configs."""

DECODERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "cwgan": lambda encoder, molecule: CWGAN(encoder.latent),
    # as conf/decoder/neighbour_flow_small.yaml
    "neighbour_flow_small": lambda encoder, molecule: NeighbourFlow(
        encoder.latent, noise=0.5, width=64, blocks=2, n_evaluations=4, corrections=3
    ),
    "nearest_frame": lambda encoder, molecule: NearestFrame(encoder.latent, molecule),
}
"""Decoders by the names of their configs."""


@dataclass(frozen=True)
class TimedParts:
    """Parts that fit each other.

    Args:
        data: dynamics that they have learnt from.
        encoder: encoder of slow modes.
        propagators: propagators by name.
        decoders: decoders by name.
    """

    data: TrajectorySet
    encoder: Encoder
    propagators: dict[str, Propagator]
    decoders: dict[str, Decoder]


def trained_parts(
    molecule: str,
    propagators: tuple[str, ...],
    decoders: tuple[str, ...],
    n_steps: int,
    length_ns: float,
    n_replicas: int,
    folder: Path,
    seed: int,
) -> TimedParts:
    """Simulate and train.

    Args:
        molecule: name from `speed.timed_systems.SYSTEMS`, a peptide without a box.
        propagators: names from `PROPAGATORS`.
        decoders: names from `DECODERS`.
        n_steps: optimiser steps of each part.
        length_ns: length of each trajectory.
        n_replicas: number of trajectories.
        folder: folder of the dynamics.
        seed: seed of everything random.
    """
    data = _dynamics(molecule, length_ns, n_replicas, folder, seed)
    encoder: Any = SRV(TorsionDistanceFeatures(data.molecule), lag_ps=LAG_PS)
    learnt = functools.partial(learn, n_steps=n_steps, seed=seed)
    learnt(encoder, data)
    steppers = {name: learnt(PROPAGATORS[name](encoder), data, encoder) for name in propagators}
    placers = {name: learnt(DECODERS[name](encoder, data.molecule), data, encoder) for name in decoders}
    return TimedParts(data, encoder, steppers, placers)


def _dynamics(molecule: str, length_ns: float, n_replicas: int, folder: Path, seed: int) -> TrajectorySet:
    # heavy hydrogens: twice the time step
    system = build_system(**SYSTEMS[molecule].settings | {"hydrogen_mass_amu": 3.0})
    generator = torch.Generator().manual_seed(seed)
    engine = make_engine(system, Langevin(timestep_fs=4.0, temperature_K=_TEMPERATURE_K), n_replicas, generator)
    simulate(system, engine, folder, length_ns, 0.05, LAG_PS, generator)
    return open_trajectories(folder)


def learn(part: Any, data: TrajectorySet, encoder: Any = None, *, n_steps: int, seed: int) -> Any:
    """Train a part for so many optimiser steps; the part."""
    settings = replace(settings_for(part), n_steps=n_steps, validation_share=0.0, seed=seed)
    train(part, data, settings, encoder, label=f"latent {type(part).__name__}")
    return part
