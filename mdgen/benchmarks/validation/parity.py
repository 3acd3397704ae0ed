"""Forces: every term against OpenMM's Reference platform, kernels against torch, forces against differences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.benchmarks.suite import Figures
from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.engines.lanes.lane_kernel import LaneKernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.force_field.force_field import force_field_of
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_reference import reference_errors, relative_error
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate

_SHAKE_NM = 0.004
_KERNELS: tuple[type[LaneKernel], ...] = (ReplicaKernel, MoleculeKernel)
"""Kernels of molecules without a cutoff."""


def check_parity(
    sequences: Sequence[str] = ("A", "WDHK", "CMRP"),
    solvents: Sequence[str] = ("vacuum", "hct", "obc1", "obc2", "gbn", "gbn2"),
) -> Figures:
    """Largest errors over capped peptides in every implicit solvent, and one in a box of water with a cutoff, in torch
    and in every kernel.

    Energy errors are per OpenMM force, in kcal/mol; force errors are norms over all atoms, relative.
    """
    energy = forces = 0.0
    kernels: dict[str, float] = {}
    details = {}
    systems = {
        f"{sequence} {solvent}": build_system(sequence, force_field="amber14", solvent=solvent, relax=False)  # type: ignore[arg-type]
        for sequence in sequences
        for solvent in solvents
    }
    for name, system in (systems | {"A in a box": boxed_peptide()}).items():
        x = _shaken(system.positions)
        of_terms, of_forces = parity_errors(system, x)
        of_kernels = kernel_errors(system, x)
        details[name] = {"energy": of_terms, "forces": of_forces, **of_kernels}
        energy, forces = max(energy, *of_terms.values()), max(forces, of_forces)
        kernels |= {kind: max(error, kernels.get(kind, 0.0)) for kind, error in of_kernels.items()}
    slope = slope_error(build_system(sequence="A", force_field="amber14", solvent="gbn2", relax=False))
    rows = [
        Acceptance.below("parity_energy_kcal_per_mol_a_term", Estimate(energy), 1e-3),
        Acceptance.below("parity_forces_relative", Estimate(forces), 1e-5),
        *(
            Acceptance.below(f"{name}_against_torch_forces_relative", Estimate(error), 1e-5)
            for name, error in kernels.items()
        ),
        Acceptance.below("forces_against_finite_differences_relative", Estimate(slope), 1e-6),
    ]
    return {"parity": details}, rows


def check_files(folder: str | None) -> Figures:
    """Largest errors over all systems of a folder; no rows where the folder is missing.

    Args:
        folder: folder with a subfolder per system, each with a pdb, and a prmtop or a psf with its prm and rtf files;
            other subfolders are reported and skipped.
    """
    if folder is None or not Path(folder).is_dir():
        return {"files": f"none: there is no folder {folder}"}, []
    found: dict[str, Any] = {}
    places = sorted(path for path in Path(folder).iterdir() if path.is_dir())
    progress = Progress("validation files", len(places))
    for done, place in enumerate(places, 1):
        try:
            system = _system(place)
        except MdgenError as error:
            found[place.name] = {"refused": str(error)}
            continue
        if system is None:
            found[place.name] = "neither prmtop nor psf"
            continue
        errors, forces = parity_errors(system, system.positions[None])
        found[place.name] = {"energy": errors, "forces": forces}
        progress.update(done)
    judged = [entry for entry in found.values() if "energy" in entry]
    refused = sum("refused" in entry for entry in found.values())
    energy = max((error for entry in judged for error in entry["energy"].values()), default=float("nan"))
    forces = max((entry["forces"] for entry in judged), default=float("nan"))
    rows = [
        Acceptance.below(f"parity_energy_kcal_per_mol_a_term_{len(judged)}_systems", Estimate(energy), 1e-3),
        Acceptance.below(f"parity_forces_relative_{len(judged)}_systems", Estimate(forces), 1e-5),
        Acceptance.below("systems_refused", Estimate(refused), 0),
    ]
    return {"files": found}, rows


def _system(place: Path) -> System | None:
    """System of a folder in vacuum without constraints; None without a topology."""
    tops, psfs = ([str(path) for path in sorted(place.glob(f"*.{suffix}"))] for suffix in ("prmtop", "psf"))
    pdb = next((str(path) for path in sorted(place.glob("*.pdb"))), None)
    settings: dict[str, Any] = {"solvent": "vacuum", "constraints": "none", "hydrogen_mass_amu": None, "relax": False}
    if tops:
        return build_system(prmtop=tops[0], coordinates=pdb, **settings)
    if not psfs:
        return None
    files = [str(path) for suffix in ("rtf", "prm") for path in sorted(place.glob(f"*.{suffix}"))]
    return build_system(psf=psfs[0], coordinates=pdb, charmm_files=files, **settings)


def parity_errors(system: System, positions: Float[Tensor, "1 atom 3"]) -> tuple[dict[str, float], float]:
    """Error of each term's energy in kcal/mol and of the forces, relative."""
    errors, mine, theirs = reference_errors(system, positions)
    return errors, relative_error(mine, theirs)


def kernel_errors(system: System, positions: Float[Tensor, "1 atom 3"]) -> dict[str, float]:
    """Relative difference of the double-precision forces of each kernel that runs a system to those of the torch path.

    Raises:
        MdgenError: if the kernels lack a law of the system.
    """
    beyond = KernelEngine.lacks(system, Langevin(1.0, 300.0))
    if beyond is not None:
        raise MdgenError(f"the kernels do not have {beyond}, so their forces cannot be compared; choose other systems")
    field, errors = force_field_of(system.potential), {}
    cell = None if system.cell is None else system.cell[None]
    expected = field.energy_and_forces(positions, cell)[1][0].numpy()
    for kind in _KERNELS if cell is None else (BoxKernel,):
        kernel = kind(field.parameters, 1, 0.001, 300.0, 1.0, torch.Generator().manual_seed(0), "double", 1)
        kernel.set_state(positions, torch.zeros_like(positions), cell)
        errors[kind.name] = relative_error(np.asarray(kernel.energies_and_forces()[1][0]), expected)
    return errors


def boxed_peptide() -> System:
    """Alanine dipeptide in a small box of rigid water, with a switched cutoff and a reaction field."""
    return build_system("A", force_field="amber14", solvent="tip3p", padding_nm=0.5, cutoff_nm=0.7, switch_nm=0.6)


def slope_error(system: System, step_nm: float = 1e-5) -> float:
    """Relative difference of the force along random directions to central differences of the energy."""
    field, x = force_field_of(system.potential), _shaken(system.positions)
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(16, *x.shape[1:], generator=generator, dtype=x.dtype)
    direction = direction / direction.flatten(1).norm(dim=1)[:, None, None]
    differences = (field.energy(x - step_nm * direction) - field.energy(x + step_nm * direction)) / (2 * step_nm)
    along = (field.energy_and_forces(x)[1] * direction).sum((1, 2))
    return float((along - differences).norm() / along.norm())


def _shaken(positions: Float[Tensor, "atom 3"]) -> Float[Tensor, "1 atom 3"]:
    noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(0), dtype=positions.dtype)
    return (positions + _SHAKE_NM * noise)[None]
