"""Engines by name, and which of them runs a system."""

from itertools import takewhile
from typing import Literal

import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, System
from mdgen.md.engines.base_engine import Engine, Precision
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.openmm_engine import OpenMMEngine
from mdgen.md.engines.torch_engine import TorchEngine

ENGINES: dict[str, type[Engine]] = {each.name: each for each in (KernelEngine, TorchEngine, OpenMMEngine)}
"""Engines by name, the fastest first."""


def passed_over(
    system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
) -> dict[str, str]:
    """The engines that come before the one that `auto` takes, each with what it does not have, in words."""
    missing = {name: each.lacks(system, integrator, device, pressure_bar) for name, each in ENGINES.items()}
    return {name: what for name, what in takewhile(lambda item: item[1] is not None, missing.items()) if what}


def make_engine(
    system: System,
    integrator: Integrator,
    n_replicas: int,
    generator: torch.Generator,
    kind: Literal["auto", "kernel", "torch", "openmm"] = "auto",
    precision: Precision = "single",
    threads: int | None = None,
    device: str = "cpu",
    pressure_bar: float | None = None,
) -> Engine:
    """An engine for a system.

    Args:
        kind: `kernel` is compiled for processors, `torch` runs every potential and integrator wherever torch does,
            `openmm` is OpenMM itself, which alone has PME, pressure and the forces of an `OpenMMPotential`; `auto` is
            the first that lacks nothing. All other arguments are those of `Engine`.

    Raises:
        MdgenError: if an engine that is asked for lacks a part of system or integrator, or every engine does, or there
            are neither one nor as many temperatures as replicas.
    """
    if device != "cpu" and not device.startswith("cuda"):
        raise MdgenError(f"device is {device!r}, but must be cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MdgenError(f"device={device} was asked for, but torch finds no CUDA device here; use device=cpu")
    if kind != "auto" and kind not in ENGINES:
        raise MdgenError(f"engine is {kind!r}, but must be one of auto, {', '.join(ENGINES)}")
    missing = {name: each.lacks(system, integrator, device, pressure_bar) for name, each in ENGINES.items()}
    able = [name for name, words in missing.items() if words is None]
    if not able:
        words = "; ".join(f"engine={name} does not have {what}" for name, what in missing.items())
        raise MdgenError(f"no engine runs this: {words}")
    if kind != "auto" and kind not in able:
        raise MdgenError(
            f"engine={kind} does not have {missing[kind]}; use engine={able[0]}, or auto to let mdgen choose"
        )
    make = ENGINES[able[0] if kind == "auto" else kind]
    return make(system, integrator, n_replicas, generator, precision, threads, device, pressure_bar)
