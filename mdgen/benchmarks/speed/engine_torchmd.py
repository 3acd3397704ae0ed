"""TorchMD as a timed engine, from the arrays of `torchmd_numbers`; needs numpy, torch and torchmd only."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

TERMS = ("bonds", "angles", "dihedrals", "1-4", "electrostatics", "lj")


class Numbers:
    """A force field with the attributes that TorchMD's `Forces` and `Integrator` read, made from arrays."""

    def __init__(self, stored: Any, precision: Any) -> None:
        def real(name: str) -> Any:
            return torch.from_numpy(stored[name]).to(precision)

        def table(kind: str) -> dict[str, Any]:
            index, rows = torch.from_numpy(stored[f"{kind}_atoms"]), torch.from_numpy(stored[f"{kind}_rows"])
            return {"idx": index, "map": rows, "params": real(f"{kind}_numbers")}

        self.device = "cpu"
        self.masses, self.charges = real("masses")[:, None], real("charges")
        self.mapped_atom_types = torch.from_numpy(stored["kinds"])
        self.nonbonded_params = {"params": real("kind_numbers")}
        self.bond_params, self.angle_params = table("bond"), table("angle")
        self.dihedral_params, self.nonbonded_14_params = table("torsion"), table("pair14")
        self.improper_params = None
        self._excluded = stored["excluded"].tolist()

    def get_exclusions(self, types: Any = None) -> list:
        """Pairs excluded from the nonbonded sum."""
        return self._excluded

    def get_AB(self) -> tuple[Any, Any]:
        """Factors of r^-12 and r^-6 of every pair of atom types."""
        sigma, epsilon = self.nonbonded_params["params"].T
        six = (0.5 * (sigma + sigma[:, None])) ** 6
        depth = 4 * (epsilon * epsilon[:, None]).sqrt()
        return depth * six * six, depth * six


def load_torchmd(folder: Path, variant: dict[str, Any], precision: Any) -> tuple[Any, Any, Any]:
    """TorchMD's system and forces, and the stored arrays."""
    from torchmd.forces import Forces
    from torchmd.systems import System

    stored = dict(np.load(folder / "torchmd.npz", allow_pickle=False))
    system = System(len(stored["masses"]), variant["replicas"], precision, "cpu")
    system.set_positions(stored["positions"])
    system.set_box(stored["cell"])
    system.set_velocities(torch.from_numpy(stored["velocities"])[None].repeat(variant["replicas"], 1, 1))
    numbers = Numbers(stored, precision)
    cutoff, dielectric = (float(number) for number in stored["cutoff"])
    forces = Forces(numbers, terms=TERMS, cutoff=cutoff, rfa=True, solventDielectric=dielectric)
    return system, forces, stored


def prepare(folder: Path, variant: dict[str, Any]) -> tuple[Callable[[int], Any], Callable[[], bool], str]:
    """Prepare TorchMD's own integrator; it has no constraints, so bonds and water are flexible."""
    from torchmd.integrator import Integrator

    torch.set_num_threads(variant["threads"])
    torch.manual_seed(variant["seed"])
    precision = {"single": torch.float32, "double": torch.float64}[variant["precision"]]
    system, forces, stored = load_torchmd(folder, variant, precision)
    timestep_fs, temperature_K, friction_per_ps = (float(number) for number in stored["dynamics"])
    integrator = Integrator(system, forces, timestep_fs, "cpu", gamma=friction_per_ps, T=temperature_K)
    forces.compute(system.pos, system.box, system.forces)
    version = f"TorchMD {importlib.metadata.version('torchmd')}, torch {torch.__version__}"
    return lambda steps: integrator.step(niter=steps), lambda: bool(torch.isfinite(system.pos).all()), version
