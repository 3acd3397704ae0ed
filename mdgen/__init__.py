"""Learn from molecular dynamics trajectories and generate new ones."""

import importlib
import os
from typing import Any

# Threads that wait spin, unless the OpenMP of torch is told otherwise before it is loaded: beside other jobs training
# on two cores then makes 2 to 17 steps a second instead of 80.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_TASKS = ("Inpainting", "Interpolation", "Rollout", "Upsampling")
_LAZY = {
    "load": "mdgen.generation.trained",
    "open": "mdgen.data.opening",
    "train": "mdgen.training.train",
    **dict.fromkeys(_TASKS, "mdgen.generation.tasks"),
}
__all__ = ["Inpainting", "Interpolation", "Rollout", "Upsampling", "__version__", "load", "open", "train"]


def __getattr__(name: str) -> Any:
    # Looked up when first asked for: importing mdgen alone stays quick.
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mdgen' has no attribute {name!r}")
