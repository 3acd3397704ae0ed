"""Where a result comes from: versions, code, machine, command."""

import hashlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import mdgen
from mdgen.registry import load_plugins

PACKAGES = ("torch", "lightning", "numpy", "numba", "openmm", "mdtraj", "deeptime", "hydra-core")


def provenance(seed: int) -> dict[str, Any]:
    """Everything needed to say where a run's numbers come from."""
    return {
        "mdgen": mdgen.__version__,
        "git": git_revision(),
        "command": command_line(),
        "seed": seed,
        "plugins": load_plugins(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": _machine(),
        "threads": torch.get_num_threads(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def command_line() -> str:
    """The command that this process runs."""
    return " ".join(["mdgen", *sys.argv[1:]])


def git_revision() -> str | None:
    """The checkout's commit, with `+changes` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(mdgen.__file__).parent), "describe", "--always", "--exclude=*", "--abbrev=40"]
    try:
        described = subprocess.run(
            [*command, "--dirty=+changes"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def content_hash(path: Path) -> str:
    """The first digits of a file's SHA-256: which file it was, whatever its name."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    return f"{processor}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else processor
