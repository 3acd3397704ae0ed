"""The timed systems, built once and written for every engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgen.benchmarks.speed.start import Start, thermalised
from mdgen.benchmarks.speed.torchmd_parameters import torchmd_numbers
from mdgen.files import write_aside
from mdgen.md.force_field.force_field import ForceField, force_field_of
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_born import with_gbsa_force
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.md.systems.openmm_systems.openmm_reference import reference_energies_and_forces, relative_error
from mdgen.units import KCAL

_BOX = "prod_alanine_dipeptide_amber"
_BOX_NM = (1.983881, 1.96193, 1.96342)
_SOLVATED = {"sequence": "A", "solvent": "tip3p", "padding_nm": 0.9875}
"""Alanine dipeptide in a box of 222 waters: 688 atoms, as in TorchMD's test set."""

_SYNUCLEIN = (
    "MDVFMKGLSKAKEGVVAAAEKTKQGVAEAAGKTKEGVLYVGSKTKEGVVHGVATVAEKTKEQVTNVGGAVVTGVTAVAQKTVEGAGSIAAATGFVKKDQLGKNEEG"
    "APQEGILEDMPVDPDNEAYEMPSEEGYQDYEPEA"
)


@dataclass(frozen=True)
class SpeedSystem:
    """A system to time, with bonds to hydrogen constrained and standard masses.

    Args:
        words: description for the result.
        settings: arguments of `build_system`.
        most_replicas: largest number of replicas to time.
    """

    words: str
    settings: dict[str, Any]
    most_replicas: int = 1024


_WHOLE_MASSES: dict[str, Any] = {"hydrogen_mass_amu": None}
_AMBER14 = _WHOLE_MASSES | {"force_field": "amber14"}
SYSTEMS = {
    "alanine_dipeptide_obc2": SpeedSystem(
        "ACE-ALA-NME, ff14SB, OBC2 with the surface term, all pairs", _AMBER14 | {"sequence": "A"}
    ),
    "alanine_dipeptide_ff19sb": SpeedSystem(
        "ACE-ALA-NME, ff19SB with its correction map, OBC2 with the surface term, all pairs",
        _WHOLE_MASSES | {"sequence": "A", "force_field": "amber19"},
    ),
    "alanine_dipeptide_charmm36": SpeedSystem(
        "ACE-ALA-NME, CHARMM36 with its correction map, impropers and NBFIX, OBC2 with the surface term, all pairs",
        _WHOLE_MASSES | {"sequence": "A", "force_field": "charmm36"},
    ),
    "ipgd_obc2": SpeedSystem(
        "IPGD with charged ends, ff14SB, OBC2 with the surface term, all pairs",
        _AMBER14 | {"sequence": "IPGD", "capped": False},
    ),
    "ipgd_gbn2": SpeedSystem(
        "IPGD with charged ends, ff14SB, GBn2 with the surface term, all pairs",
        _AMBER14 | {"sequence": "IPGD", "capped": False, "solvent": "gbn2"},
    ),
    "chignolin_obc2": SpeedSystem(
        "chignolin (GYDPETGTWG) with charged ends, ff14SB, OBC2 with the surface term, all pairs",
        _AMBER14 | {"sequence": "GYDPETGTWG", "capped": False},
        most_replicas=256,
    ),
    "alpha_synuclein_obc2": SpeedSystem(
        "alpha-synuclein (a disordered chain of 140 residues), capped, ff14SB, OBC2 with the surface term, all pairs",
        _AMBER14 | {"sequence": _SYNUCLEIN, "relax": False},
        most_replicas=1,
    ),
    "water_688_reaction_field": SpeedSystem(
        "alanine dipeptide in 222 rigid TIP3P waters, periodic, Lennard-Jones and reaction field to 0.9 nm",
        _AMBER14 | {"cutoff_nm": 0.9},
        most_replicas=16,
    ),
}
"""The systems by name."""


@dataclass(frozen=True)
class Prepared:
    """A system that was built and written to its folder.

    Args:
        name: key of `SYSTEMS`.
        n_atoms: number of atoms.
        facts: description and agreement with OpenMM, for the result.
        parameters: force field.
        start: equilibrated start.
    """

    name: str
    n_atoms: int
    facts: dict[str, Any]
    parameters: ForceFieldParameters
    start: Start


def prepare_system(name: str, folder: Path, box_folder: str | None) -> Prepared:
    """Build a system, equilibrate it and write it where processes of any engine can read it.

    Args:
        name: key of `SYSTEMS`.
        folder: folder to write to.
        box_folder: folder of TorchMD's test systems; without it a like box is built.
    """
    wanted = SYSTEMS[name]
    sources, origin = _sources(wanted, box_folder)
    built = build_system(**sources)
    field = force_field_of(built.potential)
    assert field.openmm_system is not None
    system = with_gbsa_force(field.openmm_system, field.parameters)
    start = thermalised(system, built.positions.numpy())
    start.write(folder)
    if built.cell is not None:
        flexible = force_field_of(build_system(**sources, constraints="none", relax=False).potential).parameters
        arrays = torchmd_numbers(flexible, start.positions, start.velocities, start.cell)
        write_aside(folder / "torchmd.npz", lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    parameters = load_openmm_system(system)
    energy, forces = disagreement(parameters, start)
    facts = {
        "system": wanted.words,
        "origin": origin,
        "atoms": parameters.n_atoms,
        "openmm_forces": [type(force).__name__ for force in system.getForces()],
        "energy_against_openmm_kcal_per_mol": energy,
        "forces_against_openmm_relative": forces,
    }
    return Prepared(name, parameters.n_atoms, facts, parameters, start)


def _sources(wanted: SpeedSystem, box_folder: str | None) -> tuple[dict[str, Any], str]:
    """Arguments of `build_system`, and the origin of the atoms in words."""
    if "sequence" in wanted.settings:
        return wanted.settings, "built from its sequence"
    folder = None if box_folder is None else Path(box_folder) / _BOX
    if folder is None or not (folder / "structure.prmtop").is_file():
        return wanted.settings | _SOLVATED, "solvated by OpenMM, since TorchMD's test system is not at hand"
    files = {"prmtop": str(folder / "structure.prmtop"), "coordinates": str(folder / "structure.pdb")}
    return wanted.settings | files | {"solvent": "vacuum", "box_nm": _BOX_NM}, f"TorchMD's test system {_BOX}"


def disagreement(parameters: ForceFieldParameters, start: Start) -> tuple[float, float]:
    """Error of mdgen's energy (kcal/mol) and forces (relative) against OpenMM's Reference platform at the start."""
    expected, expected_forces = reference_energies_and_forces(start.system, start.positions)
    cell = torch.from_numpy(start.cell)[None] if len(start.cell) else None
    energy, forces = ForceField(parameters).energy_and_forces(torch.from_numpy(start.positions)[None], cell)
    error = abs(float(energy[0]) - sum(expected.values())) / KCAL
    return error, relative_error(forces[0].numpy(), expected_forces)
