"""Cost of 10 ns of a molecule: generated and decoded to all atoms, and simulated by the engine."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mdgen.benchmarks.speed.engines import EngineSetup
from mdgen.benchmarks.speed.runner import time_engines
from mdgen.benchmarks.speed.timed_systems import SYSTEMS, prepare_system
from mdgen.benchmarks.tokens.matrix_peak import MatrixPeak, n_parameters
from mdgen.benchmarks.tokens.network_costs import SIZES
from mdgen.data.collation import context_of
from mdgen.data.conditions import first_frame
from mdgen.errors import MdgenError
from mdgen.md.systems.build import build_system
from mdgen.models.decoders.se3_token_decoder import SE3TokenDecoder
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator

BLOCK_NS = 10.0
ENGINE_FS = 4.0
"""Time step that simulations take by default, with heavy hydrogens; a step costs the same for all masses."""

_NOISE = 0.02
"""Deviation of the decoded latents from the key frame (nm, and parts of a quaternion): bonds need to be closed."""


def engine_row(name: str, replicas: int, threads: int, repeats: int, turn_s: float, seed: int) -> dict[str, Any]:
    """Seconds in which the engine simulates 10 ns of one of many replicas; of processor time for one thread.

    Raises:
        MdgenError: if the engine cannot run the system.
    """
    setup = EngineSetup("mdgen_kernel", replicas, threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepared = prepare_system(name, folder, None)
        timings = time_engines(folder, [setup], repeats, turn_s, turn_s, seed)
    if setup in timings.skipped:
        raise MdgenError(f"the engine could not be timed on {name}: {timings.skipped[setup]}")
    times = [1e-6 * (turn.cpu_us if threads == 1 else turn.us) for turn in timings.turns[setup]]
    steps = BLOCK_NS * 1e6 / ENGINE_FS
    return {
        "kind": "engine",
        "molecule": name,
        "atoms": prepared.n_atoms,
        "replicas": replicas,
        "threads": threads,
        "us_per_step_per_replica": 1e6 * median(times),
        "timestep_fs": ENGINE_FS,
        "seconds_of_10_ns": steps * median(times),
        "seconds_of_10_ns_low": steps * min(times),
        "seconds_of_10_ns_high": steps * max(times),
    }


def block_rows(
    name: str,
    size: str,
    spacings_ps: Sequence[float],
    batch: int,
    window: int,
    engine: dict[str, Any],
    peak: MatrixPeak,
    seconds: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Seconds in which 10 ns of one of many trajectories are generated and decoded, at each frame spacing.

    Windows are chained, each from the last frame of the one before, coarse frames before those between them, from the
    largest of the spacings on. A window costs the same for every spacing and for all weights, so it is timed once, with
    drawn ones.
    """
    built = build_system(**SYSTEMS[name].settings, relax=False)
    encoder, decoder = SE3TokenEncoder(), SE3TokenDecoder()
    spacing = float(spacings_ps[0])
    propagator = InterpolantPropagator(encoder.latent, [spacing, spacing], window, **SIZES[size])
    generator = torch.Generator().manual_seed(seed)
    propagator.network.draw(generator)
    propagator.to(peak.device)
    generator = torch.Generator(peak.device).manual_seed(seed)
    key = built.positions.float().to(peak.device).expand(batch, 1, -1, -1)
    context = context_of(built.molecule, batch, None, spacing, key).to(peak.device)
    start = encoder.encode(key, context)[:, 0]
    condition = first_frame(start, window)
    noise = torch.randn(batch, window, *start.shape[1:], generator=generator, device=peak.device)
    latent = start[:, None] + _NOISE * noise
    with torch.inference_mode():
        sampling = peak.time(lambda: propagator.sample(condition, context, generator), seconds).row()
        decoding = peak.time(lambda: decoder.decode(latent, context, generator), seconds).row()
    common = {
        "kind": "block",
        "molecule": name,
        "network": size,
        "parameters": n_parameters(propagator.network),
        "batch": batch,
        "window": window,
        "tokens": start.shape[1],
        "evaluations_of_a_window": propagator.evaluations,
        "decoded_frames_per_s": batch * window / decoding["seconds"],
    }
    rows = []
    for spacing in spacings_ps:
        frames = BLOCK_NS * 1e3 / spacing
        windows = _windows(frames, window, max(spacings_ps) / spacing)
        sampled_s, decoded_s = windows / batch * sampling["seconds"], frames / window / batch * decoding["seconds"]
        rows.append(
            {
                **common,
                "spacing_ps": float(spacing),
                "evaluations": propagator.evaluations * windows,
                "sampling_s_of_10_ns": sampled_s,
                "decoding_s_of_10_ns": decoded_s,
                "seconds_of_10_ns": sampled_s + decoded_s,
                "engine_over_generated": engine["seconds_of_10_ns"] / (sampled_s + decoded_s),
            }
        )
    return rows


def _windows(frames: float, window: int, coarsest: float) -> float:
    """Windows of all levels that make so many frames, where the coarsest ones are `coarsest` times as far apart.

    Of each window the first frame is the last of the one before, and each coarser level has half of the windows.
    """
    doublings = math.floor(math.log2(coarsest) + 1e-9)
    step = (window - 1) // 2 * 2 if doublings else window - 1
    return frames / step * (2.0 - 0.5**doublings)
