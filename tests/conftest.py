"""Every test runs with the shapes in the signatures checked."""

import os

# Results are compared bit for bit; sums over several threads are not made in one order.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("WANDB_MODE", "disabled")

from jaxtyping import install_import_hook

# Numba compiles plain functions only, so the kernels stay outside.
_CHECKED = ["geometry", "molecule", "data", "models", "training", "generation", "evaluation", "md.terms"]
_CHECKED += ["md.force_field", "md.forces", "md.constraints", "md.integrators", "md.velocities", "md.minimize"]
_CHECKED += [
    "md.thermostatted",
    "md.parameters",
    "md.peptides",
    "md.restraints",
    "md.systems",
    "md.simulation",
    "md.differentiable",
    "md.salt_water",
]
install_import_hook([f"mdgen.{room}" for room in _CHECKED], "beartype.beartype")
