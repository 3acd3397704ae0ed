"""Every test runs with the shapes in the signatures checked."""

import os

# Results are compared bit for bit; sums over several threads are not made in one order.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("WANDB_MODE", "disabled")

from jaxtyping import install_import_hook

# Numba compiles plain functions only, so the kernels stay outside.
_CHECKED = ["geometry", "molecule", "data", "models", "training", "generation", "evaluation", "md.systems"]
_CHECKED += [
    f"md.dynamics.{name}"
    for name in ("constraints", "differentiable", "minimize", "overdamped", "schedule", "simulation", "velocities")
]
_CHECKED += ["md.force_field.terms"]
_CHECKED += [
    f"md.force_field.{name}"
    for name in ("double_well", "force_field", "forces", "module_potential", "parameters", "repulsion", "restraints")
]
install_import_hook([f"mdgen.{room}" for room in _CHECKED], "beartype.beartype")
