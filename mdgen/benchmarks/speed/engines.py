"""The timed engines, each in the setups in which its users might run it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mdgen.benchmarks.speed.start import TIMESTEP_FS, UNCONSTRAINED_FS
from mdgen.md.engines.kernel_engine import kernel_class
from mdgen.md.force_field.parameters import ForceFieldParameters

ENGINES = ("mdgen_kernel", "mdgen_torch", "openmm_reference", "openmm_cpu", "torchmd")
"""Every engine that can be timed."""

_EAGER_REPLICAS = 64
"""Most replicas of the torch engine on processors, where more take minutes."""


@dataclass(frozen=True)
class EngineSetup:
    """An engine with the resources that it is given.

    Args:
        engine: one of `ENGINES`.
        replicas: replicas per process.
        threads: threads per process.
        processes: processes that run at the same time.
        precision: `single` or `double`, as its users would run it.
        device: device of the computation.
        timestep_fs: length of a step.
    """

    engine: str
    replicas: int = 1
    threads: int = 1
    processes: int = 1
    precision: str = "single"
    device: str = "cpu"
    timestep_fs: float = TIMESTEP_FS

    @property
    def name(self) -> str:
        """A name that is unique among the setups of a system."""
        return f"{self.engine} {self.processes}x{self.replicas} replicas {self.threads} threads {self.device}"

    @property
    def package(self) -> str:
        """Package of the engine: `mdgen`, `openmm` or `torchmd`."""
        return self.engine.split("_")[0]


def engine_setups(
    parameters: ForceFieldParameters,
    engines: Sequence[str],
    replicas: Sequence[int],
    cores: int,
    device: str = "cpu",
) -> list[EngineSetup]:
    """Setups that are timed on a system, in the order of their turns.

    OpenMM and TorchMD run as a single process with one thread and as one such process per core; OpenMM's CPU platform
    also as one process with all threads. TorchMD has no generalised Born. mdgen runs every number of replicas with one
    thread, and with all threads where there is work for them.

    Args:
        parameters: force field of the system.
        engines: names from `ENGINES`.
        replicas: numbers of replicas to run.
        cores: number of processor cores.
        device: device of mdgen's torch engine.
    """
    boxed = parameters.cutoff is not None and parameters.born is None
    few = [n for n in replicas if device != "cpu" or n <= _EAGER_REPLICAS] or [min(replicas)]
    each = [1, cores] if cores > 1 else [1]
    found = []
    for n in sorted(replicas):
        found.append(EngineSetup("mdgen_kernel", n))
        if cores > 1 and kernel_class(parameters, n).tasks(n, parameters.n_atoms) > 1:
            found.append(EngineSetup("mdgen_kernel", n, cores))
    found += [EngineSetup("mdgen_torch", n, device=device) for n in sorted({min(few), max(few)})]
    found += [EngineSetup("openmm_reference", processes=n, precision="double") for n in each]
    found += [EngineSetup("openmm_cpu", processes=n) for n in each]
    found += [EngineSetup("openmm_cpu", threads=cores)] if cores > 1 else []
    found += [EngineSetup("torchmd", processes=n, timestep_fs=UNCONSTRAINED_FS) for n in each if boxed]
    return [setup for setup in found if setup.engine in engines]
