"""Who takes part: every engine in the settings in which its users might run it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mdgen.benchmarks.speed.start import TIMESTEP_FS, UNCONSTRAINED_FS
from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.force_field.parameters import ForceFieldParameters

ENGINES = (
    "mdgen_kernel",
    "mdgen_torch",
    "mdgen_torch_compiled",
    "openmm_reference",
    "openmm_cpu",
    "torchmd",
)
"""Everyone that can take part."""

_EAGER_REPLICAS = 64
_COMPILED = ("alanine_dipeptide_obc2", "ipgd_obc2")
"""Where torch.compile takes part: once is enough to say how it compares, and compiling takes a minute."""


@dataclass(frozen=True)
class Entrant:
    """An engine in one setting.

    Args:
        engine: one of `ENGINES`.
        replicas: of one process.
        threads: of one process.
        processes: that run at the same time.
        precision: `single` or `double`, as its users would run it.
        device: where it computes.
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
        """What tells it from the others."""
        return f"{self.engine} {self.processes}x{self.replicas} replicas {self.threads} threads {self.device}"

    @property
    def maker(self) -> str:
        """Whose it is: `mdgen`, `openmm` or `torchmd`."""
        return self.engine.split("_")[0]


def entrants(
    system: str,
    parameters: ForceFieldParameters,
    engines: Sequence[str],
    replicas: Sequence[int],
    cores: int,
    device: str = "cpu",
) -> list[Entrant]:
    """Everyone that takes part on a system, in the order of their turns.

    OpenMM and TorchMD run one process a core with one thread each, and OpenMM's CPU platform also one with all threads;
    each also alone. TorchMD has no generalised Born. mdgen runs every number of replicas with one thread, and with all
    where there is work for them.

    Args:
        system: its name.
        parameters: its force field.
        engines: of `ENGINES`.
        replicas: numbers that are sensible for the system.
        cores: processor cores at hand.
        device: of the torch engines.
    """
    boxed = parameters.cutoff is not None
    few = [n for n in sorted(replicas) if n <= _EAGER_REPLICAS] or [min(replicas)]
    many = [n for n in replicas if n <= 4 * _EAGER_REPLICAS] or [min(replicas)]
    each = [1, cores] if cores > 1 else [1]
    found = []
    for n in sorted(replicas):
        found.append(Entrant("mdgen_kernel", n))
        if cores > 1 and n > (1 if boxed else LANES):
            found.append(Entrant("mdgen_kernel", n, cores))
    found += [Entrant("mdgen_torch", n, device=device) for n in sorted({few[0], few[-1]})]
    if system in _COMPILED or device != "cpu":
        found.append(Entrant("mdgen_torch_compiled", max(many), device=device))
    found += [Entrant("openmm_reference", processes=n, precision="double") for n in each]
    found += [Entrant("openmm_cpu", processes=n) for n in each]
    found += [Entrant("openmm_cpu", threads=cores)] if cores > 1 else []
    found += [Entrant("torchmd", processes=n, timestep_fs=UNCONSTRAINED_FS) for n in each if boxed]
    return [entrant for entrant in found if entrant.engine in engines]


def require_engines(engines: Sequence[str]) -> None:
    """Raise for an engine that cannot take part.

    Raises:
        MdgenError: naming it and those that can.
    """
    for engine in engines:
        if engine not in ENGINES:
            raise MdgenError(f"engine {engine!r} is unknown; known are {', '.join(ENGINES)}")
