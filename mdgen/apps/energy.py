"""`mdgen energy`: the energy of a structure, or of every frame of trajectories, term by term."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import open_data
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.interfaces import System
from mdgen.md.force_field.energy_decomposition import EnergyTerms
from mdgen.md.force_field.force_field import force_field_of
from mdgen.md.systems.openmm_systems.openmm_reference import reference_errors, relative_error
from mdgen.molecule.topology import Molecule
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate, acceptance_table, write_result
from mdgen.units import KCAL

logger = logging.getLogger("mdgen")

_PAIRS_AT_ONCE = 2_000_000
ENERGY_BOUND_KCAL = 1e-3
FORCE_BOUND = 1e-5

_Frames = Callable[[], Iterator[Tensor]]
"""Function that goes through the frames from the first."""


def run(config: dict[str, Any]) -> None:
    """Evaluate every frame, write terms and forces, and compare them with OpenMM if asked to."""
    output = Path(config["output"])
    if output.suffix != ".json" or output.is_dir():
        raise MdgenError(f"output={output}: expected a file that ends in .json")
    if config["check"] and int(config["check_frames"]) < 1:
        raise MdgenError(f"check_frames is {config['check_frames']}, but must be 1 or more; check=false compares none")
    use_threads(config["threads"])
    system: System = instantiate({**config["system"], "relax": False})
    parameters = force_field_of(system.potential).parameters
    names, frames = _frames(config, system)
    terms, forces = _evaluated(system, frames, sum(n for _, n in names), bool(config["forces"]))
    rows = _checked(system, frames, int(config["check_frames"])) if config["check"] else []
    total = np.sum(list(terms.values()), axis=0)
    result = {
        "provenance": provenance(int(config["seed"])),
        "n_atoms": system.molecule.n_atoms,
        "coulomb_constant_kcal_angstrom": parameters.coulomb_constant / KCAL * 10,
        "frames": dict(names),
        "kJ_per_mol": {**terms, "total": total},
        "kcal_per_mol": {name: energy / KCAL for name, energy in {**terms, "total": total}.items()},
    }
    write_result(output, result, rows)
    if forces is not None:
        write_aside(output.with_name(f"{output.stem}_forces.npy"), partial(np.save, arr=forces))
    logger.info("%s", _table({**terms, "total": total}))
    if rows:
        logger.info("\n%s", acceptance_table(rows))
    logger.info("energy        %d frames of %r; %s", len(total), system.molecule, output)


def _require_elements(of_system: Molecule, of_frames: Molecule) -> None:
    """Raise unless the elements agree atom by atom; names may differ, as between AMBER and PDB."""
    if list(of_system.elements) == list(of_frames.elements):
        return
    told = f"the trajectories hold {of_frames!r}, but the system is {of_system!r}"
    if of_frames.n_atoms == of_system.n_atoms:
        index = [a == b for a, b in zip(of_system.elements, of_frames.elements, strict=True)].index(False)
        told = f"the trajectories have {of_frames.atom_label(index)} where the system has {of_system.atom_label(index)}"
    raise MdgenError(f"{told}; build the system from the trajectories' own topology")


def _frames(config: dict[str, Any], system: System) -> tuple[list[tuple[str, int]], _Frames]:
    """Where frames come from, with how many each, and the frames, in pieces that fit into memory."""
    if config["data"]["trajectories"] is None:
        return [("structure", 1)], lambda: iter([system.positions[None]])
    data = open_data(config["data"])
    _require_elements(system.molecule, data.molecule)
    per_block = max(1, _PAIRS_AT_ONCE // system.molecule.n_atoms**2)

    def frames() -> Iterator[Tensor]:
        for trajectory in range(len(data)):
            for block in data.blocks(trajectory, per_block):
                yield torch.from_numpy(np.array(block, dtype=np.float64))

    return list(zip(data.names, data.lengths, strict=True)), frames


def _evaluated(
    system: System, frames: _Frames, n_frames: int, want_forces: bool
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    field = force_field_of(system.potential)
    energies = EnergyTerms(field.parameters, system.molecule)
    found: dict[str, list[np.ndarray]] = {}
    forces: list[np.ndarray] = []
    progress, done = Progress("energy", n_frames), 0
    for x in frames():
        cell = None if system.cell is None else system.cell.expand(len(x), -1)
        with torch.no_grad():
            for name, energy in energies(x, cell).items():
                found.setdefault(name, []).append(energy.numpy())
        if want_forces:
            forces.append(field.energy_and_forces(x, cell)[1].numpy())
        done += len(x)
        progress.update(done)
    terms = {name: np.concatenate(parts) for name, parts in found.items()}
    return terms, np.concatenate(forces) if want_forces else None


def _checked(system: System, frames: _Frames, at_most: int) -> list[Acceptance]:
    """Largest differences from OpenMM's Reference platform over some frames."""
    n_frames = sum(len(x) for x in frames())
    wanted = set(np.linspace(0, n_frames - 1, min(at_most, n_frames)).round().astype(int).tolist())
    energy: dict[str, float] = {}
    force = 0.0
    for index, one in enumerate(frame for x in frames() for frame in x):
        if index in wanted:
            errors, mine, theirs = reference_errors(system, one[None])
            energy = {term: max(error, energy.get(term, 0.0)) for term, error in errors.items()}
            force = max(force, relative_error(mine, theirs))
    rows = [
        Acceptance.below(f"{term}_difference_kcal_per_mol", Estimate(error), ENERGY_BOUND_KCAL)
        for term, error in energy.items()
    ]
    return [*rows, Acceptance.below("forces_difference_relative", Estimate(force), FORCE_BOUND)]


def _table(terms: dict[str, np.ndarray]) -> str:
    """Terms with their mean over the frames."""
    lines = [f"{'term':<24}{'kJ/mol':>18}{'kcal/mol':>18}"]
    lines += [f"{name:<24}{energy.mean():>18.6f}{energy.mean() / KCAL:>18.6f}" for name, energy in terms.items()]
    return "\n".join(lines)
