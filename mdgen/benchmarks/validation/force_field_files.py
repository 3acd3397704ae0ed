"""Forces of systems from AMBER or CHARMM files: every term against OpenMM's Reference platform."""

from pathlib import Path
from typing import Any

from mdgen.errors import MdgenError
from mdgen.interfaces import System
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_reference import reference_errors, relative_error
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate


def check_files(folder: str | None) -> tuple[dict[str, Any], list[Acceptance]]:
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
        errors, mine, theirs = reference_errors(system, system.positions[None])
        found[place.name] = {"energy": errors, "forces": relative_error(mine, theirs)}
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
    if tops:
        return build_system(prmtop=tops[0], coordinates=pdb, solvent="vacuum", constraints="none", relax=False)
    if not psfs:
        return None
    files = [str(path) for suffix in ("rtf", "prm") for path in sorted(place.glob(f"*.{suffix}"))]
    return build_system(
        psf=psfs[0], coordinates=pdb, charmm_files=files, solvent="vacuum", constraints="none", relax=False
    )
