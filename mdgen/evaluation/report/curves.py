"""The arrays behind the plots, measured once for the rows that are drawn."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdgen.evaluation.metrics.decorrelation import DecorrelationMetrics
from mdgen.evaluation.metrics.kinetics import KineticMetrics, lumped_counts
from mdgen.evaluation.metrics.slow_modes import inner_range, range_histogram
from mdgen.evaluation.metrics.structure_checks import CHECKS
from mdgen.evaluation.metrics.subframe import SubframeMetrics
from mdgen.evaluation.metrics.target import MetricFamily, Target
from mdgen.evaluation.metrics.torsion_distances import pair_bins, ramachandran_pairs
from mdgen.evaluation.statistics.distributions import angle_bins, free_energy, linear_bins
from mdgen.evaluation.statistics.markov import count_matrices, slowest_timescales
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.transition_paths import first_transition, rarest_pair

DRAWN = ("reference", "replicate", "generated", "generated_all", "shuffled")
"""Rows that are drawn, where there are such."""

LAGS_IN_FRAMES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)

Rows = Mapping[str, Observables]
Curves = dict[str, np.ndarray]


def curves(rows: Rows, target: Target, metrics: Mapping[type, MetricFamily]) -> Curves:
    """All curves of the rows that are drawn, by `KIND/ROW` or `KIND/ROW/RESIDUE`, and their axes by `KIND_axis`."""
    found = _torsion_curves(rows, target)
    found |= _coordinate_curves(rows, target)
    for check in ("bond_rms_nm", "angle_rms_deg", "closest_nm", "radius_of_gyration_nm"):
        column = CHECKS.index(check)
        densities = _densities({name: row["structure"][:, column] for name, row in rows.items()}, 0.0005, 60)
        found |= {f"{check}_{kind}": values for kind, values in densities.items()}
    for column, term in enumerate(target.energy_terms):
        densities = _densities({name: row["energy"][:, column] for name, row in rows.items()}, 0.005, 40)
        found |= {f"energy_{kind}/{term}": values for kind, values in densities.items()}
    correlation: Any = metrics.get(DecorrelationMetrics)
    if correlation is not None:
        found["autocorrelation_axis"] = correlation.lags_ps
        found |= {f"autocorrelation/{name}": correlation.curve(row) for name, row in rows.items()}
    subframe: Any = metrics.get(SubframeMetrics)
    if subframe is not None:
        found["subframe_axis"] = subframe.lags_ps
        found |= {f"subframe/{name}": subframe.curve(row) for name, row in rows.items()}
    kinetics: Any = metrics.get(KineticMetrics)
    if kinetics is not None:
        found |= {**_timescale_curves(rows, target), **_state_curves(rows, kinetics), **_path_curves(rows, kinetics)}
    return found


def _torsion_curves(rows: Rows, target: Target) -> Curves:
    torsions, bins, cells = target.torsions, target.settings.torsion_bins, target.settings.free_energy_pair_bins
    found: Curves = {"torsion_names": np.array([torsion.name for torsion in torsions])}
    for name, row in rows.items():
        counts = [np.bincount(angle_bins(row["torsions"][:, i], bins), minlength=bins) for i in range(len(torsions))]
        if counts:
            found[f"torsion_density/{name}"] = np.stack(counts) / row.n_frames * bins / (2 * np.pi)
        for residue, pair in ramachandran_pairs(torsions):
            found[f"ramachandran_kT/{name}/{residue}"] = _free_energy_map(pair_bins(row, pair, cells), cells)
    return found


def _coordinate_curves(rows: Rows, target: Target) -> Curves:
    reference, settings = rows["reference"], target.settings
    found: Curves = {}
    if "psi" in reference:
        bins = settings.free_energy_bins
        low, high = inner_range(reference["psi"][:, 0])
        found["psi_1_axis"] = (np.arange(bins) + 0.5) * (high - low) / bins + low
        for name, row in rows.items():
            counts = range_histogram(row, low, high, bins)
            energy = free_energy(counts.sum(0))
            energy = _aligned(energy, found.get("psi_1_kT/reference", energy))
            samples = _aligned(free_energy(target.weights(len(counts)) @ counts), energy)
            found[f"psi_1_kT/{name}"] = energy
            found[f"psi_1_interval_kT/{name}"] = np.quantile(samples, [0.025, 0.975], axis=0, method="nearest")
    if "tica" in reference and reference["tica"].shape[1] == 2:
        bins, ends = settings.pair_bins, [(row["tica"].min(0), row["tica"].max(0)) for row in rows.values()]
        low, high = np.min([end[0] for end in ends], axis=0), np.max([end[1] for end in ends], axis=0)
        found["tica_axis"] = np.stack([low, high])
        for name, row in rows.items():
            first, second = (linear_bins(row["tica"][:, i], float(low[i]), float(high[i]), bins) for i in range(2))
            found[f"tica_kT/{name}"] = _free_energy_map(first * bins + second, bins)
    return found


def _free_energy_map(cells: np.ndarray, bins: int) -> np.ndarray:
    """Free energy over `bins` x `bins` cells, given the cell of each frame."""
    return free_energy(np.bincount(cells, minlength=bins**2).astype(np.float64)).reshape(bins, bins)


def _densities(values: dict[str, np.ndarray], tail: float, bins: int) -> Curves:
    """Densities of each row over the range that holds all rows but their tails; empty where a row has no values."""
    values = {name: value[np.isfinite(value)] for name, value in values.items()}
    if any(len(value) == 0 for value in values.values()):
        return {}
    low, high = (f([np.quantile(v, q) for v in values.values()]) for f, q in ((min, tail), (max, 1 - tail)))
    if not high > low:
        return {}
    edges = np.linspace(low, high, bins + 1)
    densities = {f"density/{n}": np.histogram(v, edges)[0] / len(v) / (edges[1] - edges[0]) for n, v in values.items()}
    return {"axis": (edges[1:] + edges[:-1]) / 2, **densities}


def _state_curves(rows: Rows, kinetics: KineticMetrics) -> Curves:
    """Populations of the lumped states, the Markov test, and the flux between each pair of states."""
    found: Curves = {}
    for name, row in rows.items():
        counts, lumped = kinetics.counts(row), lumped_counts(kinetics.target, row)
        if counts is None or lumped is None or counts.sum() == 0:
            continue
        total = lumped.sum(0)
        found[f"populations/{name}"] = kinetics.visits(row).sum(0) / row.n_frames
        found[f"flux_per_ns/{name}"] = (total + total.T) / 2 / total.sum() / kinetics.lag_ps * 1000
        tested = kinetics.markov_test(counts.sum(0), kinetics.markov_test_counts(row).sum(0))
        found[f"markov_test/{name}"] = np.stack(tested)
    return found


def _path_curves(rows: Rows, kinetics: KineticMetrics) -> Curves:
    """The first transition of each row between the two lumped states of lowest flux, in the plane of TICA."""
    reference, found = rows["reference"], {}
    counts = lumped_counts(kinetics.target, reference)
    ends = None if counts is None else rarest_pair(counts.sum(0) + counts.sum(0).T)
    if ends is None or "tica" not in reference or reference["tica"].shape[1] < 2:
        return {}
    for name, row in rows.items():
        crossing = first_transition(kinetics.states.macrostate[row["states"]], row.trajectory, ends)
        if crossing is not None:
            found[f"path/{name}"] = row["tica"][crossing, :2]
    return found


def _timescale_curves(rows: Rows, target: Target) -> Curves:
    assert target.states is not None
    spacing, shortest = rows["reference"].frame_spacing_ps, min(max(row.lengths) for row in rows.values())
    lags = [lag for lag in LAGS_IN_FRAMES if lag < shortest / 2]
    if not lags:
        return {}
    found = {"timescales_axis": np.array(lags) * spacing}
    for name, row in rows.items():
        table = []
        for lag in lags:
            counts = count_matrices(row["states"], row.trajectory, row.units, lag, target.states.number).sum(0)
            table.append(slowest_timescales(counts, lag * spacing, target.settings.n_timescales))
        found[f"timescales_ps/{name}"] = np.array(table)
    return found


def _aligned(energy: np.ndarray, to: np.ndarray) -> np.ndarray:
    """`energy` less the constant by which it lies above `to`, over the bins that both know and `to` has below 5 kT."""
    with np.errstate(invalid="ignore"):
        difference = np.where(np.isfinite(energy) & (to < 5), energy - to, 0.0)
        shared = (np.isfinite(energy) & (to < 5)).sum(-1, keepdims=True)
        return energy - difference.sum(-1, keepdims=True) / np.maximum(shared, 1)
