"""Learn from molecular dynamics trajectories and generate new ones."""

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # Looked up when first asked for: importing mdgen alone stays quick.
    if name == "load":
        from mdgen.generation.load import load

        return load
    raise AttributeError(f"module 'mdgen' has no attribute {name!r}")
