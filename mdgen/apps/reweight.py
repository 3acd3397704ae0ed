"""`mdgen reweight`: trajectories of one ensemble as weighted samples of another, by the energies of both.

Frames are taken to be samples of `exp(-U_A / kT_A)`: those of dynamics are, those of a model are as far as the model
is right. What is corrected is the difference between that ensemble and the one asked for, in temperature, in force
field or by an added potential, and exactly so. What is not corrected is the model's own error: how probable it makes a
frame is not known for a decoder such as the cWGAN, so no weight can undo it, and a state that it never makes stays
empty.
"""

import glob
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.potentials import potential_for
from mdgen.apps.runs.reweighting_files import draw_reweighting, observed
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import STORE, open_data
from mdgen.data.store import is_store
from mdgen.data.trajectories import TrajectorySet
from mdgen.documents import read_yaml
from mdgen.enhanced_sampling.reweighting import (
    effective_sample_size,
    log_weights,
    normalised_weights,
    reachable_share,
)
from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.evaluation.statistics.distributions import linear_bins
from mdgen.evaluation.statistics.intervals import bootstrap_weights, unit_ids
from mdgen.files import write_aside
from mdgen.interfaces import Potential
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.progress import Progress
from mdgen.results import Acceptance, Estimate

logger = logging.getLogger("mdgen")

_ATOMS_AT_ONCE = 100_000
"""Atoms of all frames whose energies are taken at a time."""


def run(config: dict[str, Any]) -> None:
    """Take both energies of every frame, weigh, and write weights, free energies and a drawing."""
    use_threads(config["threads"])
    if config["seed"] < 0:
        raise MdgenError(f"seed={config['seed']}: expected at least 0")
    if config["bins"] < 2 or config["resamples"] < 2:
        raise MdgenError(f"bins={config['bins']} and resamples={config['resamples']}: expected at least 2 of each")
    with open_run(config["output"], "reweight", config) as folder:
        if folder.done:
            logger.info("reweight      done already: %s", folder.path)
            return
        _require_plain_runs(config["generated"]["trajectories"])
        data = open_data(config["generated"], "generated")
        sampled_K, target_K = _temperatures(config, data)
        target = potential_for(config["system"], data.molecule)
        other = config.get("sampled_system")
        sampled = target if other is None else potential_for(other, data.molecule, "sampled_system")
        if config.get("potential") is not None:
            target = SumOfPotentials([target, instantiate(config["potential"])])
        energies = _energies(data, [sampled] if target is sampled else [sampled, target])
        logarithms = log_weights(energies[0], sampled_K, energies[-1], target_K)
        weights = normalised_weights(logarithms)
        _require_overlap(weights, logarithms, float(config["least_effective"]))
        units = unit_ids(data.lengths)
        shares = np.bincount(units, weights=weights)
        figures = {
            "sampled_temperature_K": sampled_K,
            "temperature_K": target_K,
            "n_frames": data.n_frames,
            "lengths": data.lengths,
            "effective_share": effective_sample_size(weights) / data.n_frames,
            "effective_units": effective_sample_size(shares),
            "n_units": len(shares),
            "largest_weight": weights.max(),
            "frames_without_energy": int((~np.isfinite(logarithms)).sum()),
            "mean_energy_kJ_mol": {
                "sampled": np.mean(energies[0][np.isfinite(energies[0])]),
                "reweighted": weights @ np.where(weights > 0, energies[-1], 0.0),
            },
            "free_energies": _free_energies(data, weights, units, config),
        }
        write_aside(folder.path / "weights.npy", partial(np.save, arr=weights))
        write_png(folder.path / "reweighted.png", lambda: draw_reweighting(figures))
        effective = Estimate(effective_sample_size(weights))
        folder.finish(figures, [Acceptance.above("effective_frames", effective, float(config["least_effective"]))])
        logger.info("reweight      %s", folder.path / "weights.npy")


def _require_plain_runs(trajectories: str | list[str]) -> None:
    """Raise where a run was sampled under an added potential, of which the energies here know nothing."""
    named = [trajectories] if isinstance(trajectories, str) else trajectories
    for path in [Path(match) for name in named for match in glob.glob(name, recursive=True) or [name]]:
        # The run that a path belongs to: its folder, its store, or a file in one of them.
        run = next((each for each in (path, *path.resolve().parents[:2]) if is_store(each / STORE)), None)
        if run is not None and (run / "config.yaml").is_file():
            stored = read_yaml(run / "config.yaml", "make that run again, or copy its trajectories to another folder")
            if isinstance(stored, dict) and stored.get("potential") is not None:
                raise MdgenError(
                    f"{path} was sampled under an added potential, and would be weighed as if it had none; give frames "
                    "of the force field alone"
                )


def _temperatures(config: dict[str, Any], data: TrajectorySet) -> tuple[float, float]:
    """The temperature of the frames and the one that is asked for."""
    sampled_K = data.temperature_K
    if sampled_K is None:
        raise MdgenError("the frames do not say their temperature; give generated.temperature_K")
    target_K = sampled_K if config["temperature_K"] is None else float(config["temperature_K"])
    if not 0 < target_K < np.inf:
        raise MdgenError(f"temperature_K={target_K:g}: expected a positive number of kelvin")
    same = target_K == sampled_K and config.get("sampled_system") is None and config.get("potential") is None
    if same:
        raise MdgenError(
            f"the frames are of this very ensemble ({sampled_K:g} K) already; ask for another temperature_K, name "
            "their own force field as sampled_system, or add a potential"
        )
    return sampled_K, target_K


@torch.no_grad()
def _energies(data: TrajectorySet, potentials: list[Potential]) -> list[Float[np.ndarray, "frame"]]:
    """Energy of every frame by each potential in kJ/mol."""
    progress, done = Progress("reweight", data.n_frames), 0
    found: list[list[np.ndarray]] = [[] for _ in potentials]
    for trajectory in range(len(data)):
        for block in data.blocks(trajectory, max(1, _ATOMS_AT_ONCE // data.molecule.n_atoms)):
            positions = torch.from_numpy(np.array(block, dtype=np.float64))
            for energies, potential in zip(found, potentials, strict=True):
                energies.append(potential.energy(positions).numpy())
            done += len(block)
            progress.update(done)
    return [np.concatenate(each) for each in found]


def _require_overlap(weights: Float[np.ndarray, "frame"], logarithms: Float[np.ndarray, "frame"], least: float) -> None:
    """Raise where too few frames count for the ensemble that is asked for."""
    effective = effective_sample_size(weights)
    if effective < least:
        share = reachable_share(logarithms, least)
        raise MdgenError(
            f"the ensembles hardly overlap: {len(weights)} frames count as {effective:.3g}, fewer than "
            f"least_effective={least:g}; give more frames, or go {share:.0%} of the way there (in energy over kT) and "
            "sample anew from it"
        )


def _free_energies(
    data: TrajectorySet, weights: np.ndarray, units: np.ndarray, config: dict[str, Any]
) -> list[dict[str, Any]]:
    """Free energy in kT of each torsion, or coordinate of a particle, as sampled and reweighted, with intervals."""
    n_bins, n_units = config["bins"], int(units.max()) + 1
    drawn = bootstrap_weights(n_units, config["resamples"], np.random.default_rng(config["seed"]))
    result = []
    for name, values, (low, high) in observed(data):
        flat = units * n_bins + linear_bins(values, low, high, n_bins)
        counts, weighted = (
            np.bincount(flat, weights=each, minlength=n_units * n_bins).reshape(n_units, n_bins)
            for each in (np.ones(len(flat)), weights)
        )
        resamples = drawn @ weighted
        with np.errstate(divide="ignore", invalid="ignore"):
            sampled, reweighted = (-np.log(each.sum(0) / each.sum()) for each in (counts, weighted))
            spread = -np.log(resamples / resamples.sum(1, keepdims=True))
            ends = np.quantile(spread, [0.025, 0.975], axis=0, method="inverted_cdf")
        width = (high - low) / n_bins
        result.append(
            {
                "name": name,
                "centres": low + width * (np.arange(n_bins) + 0.5),
                "sampled_kT": sampled - sampled.min(),
                "reweighted_kT": reweighted - reweighted.min(),
                "low_kT": ends[0] - reweighted.min(),
                "high_kT": ends[1] - reweighted.min(),
            }
        )
    return result
