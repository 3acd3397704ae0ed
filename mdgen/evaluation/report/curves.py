"""The arrays behind the plots: what the rows look like, measured once and drawn elsewhere."""

from collections.abc import Mapping, Sequence

import numpy as np

from mdgen.evaluation.metrics.autocorrelation_metrics import CorrelationMetrics
from mdgen.evaluation.metrics.kinetic_metrics import KineticMetrics
from mdgen.evaluation.metrics.observables import Observables
from mdgen.evaluation.metrics.slow_mode_metrics import inner_range, range_counts
from mdgen.evaluation.metrics.structure import CHECKS
from mdgen.evaluation.metrics.subframe_metrics import SubframeMetrics
from mdgen.evaluation.metrics.torsion_metrics import pair_histograms, ramachandran_pairs
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.distributions import angle_bins, linear_bins
from mdgen.evaluation.statistics.free_energy import free_energy
from mdgen.evaluation.statistics.intervals import bootstrap_weights
from mdgen.evaluation.statistics.markov import count_matrices, slowest_timescales
from mdgen.evaluation.statistics.states import States
from mdgen.evaluation.statistics.transition_paths import first_transition, rarest_pair
from mdgen.molecule.torsions import Torsion

DRAWN = ("reference", "replicate", "generated", "generated_all", "shuffled")
"""Rows that are drawn, where there are such."""

LAGS_IN_FRAMES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)


def curves(
    rows: Mapping[str, Observables],
    torsions: Sequence[Torsion],
    kinetics: KineticMetrics | None,
    correlation: CorrelationMetrics,
    subframe: SubframeMetrics | None,
    energy_terms: tuple[str, ...],
    settings: Settings,
) -> dict[str, np.ndarray]:
    """All curves of the rows that are drawn, by `KIND/ROW` or `KIND/ROW/RESIDUE`, and their axes by `KIND_axis`."""
    found = _torsion_curves(rows, torsions, settings)
    found |= _coordinate_curves(rows, settings)
    found |= _structure_curves(rows)
    found |= _correlation_curves(rows, torsions, correlation)
    found |= _energy_curves(rows, energy_terms)
    if subframe is not None:
        found["subframe_axis"] = subframe.lags_ps
        found |= {f"subframe/{name}": subframe.curve(row) for name, row in rows.items()}
    if kinetics is not None:
        found |= _timescale_curves(rows, kinetics.states, settings)
        found |= _state_curves(rows, kinetics)
        found |= _path_curves(rows, kinetics)
    return found


def _torsion_curves(
    rows: Mapping[str, Observables], torsions: Sequence[Torsion], settings: Settings
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {"torsion_names": np.array([torsion.name for torsion in torsions])}
    bins, pair_bins = settings.torsion_bins, settings.free_energy_pair_bins
    for name, row in rows.items():
        counts = [np.bincount(angle_bins(row["torsions"][:, i], bins), minlength=bins) for i in range(len(torsions))]
        if counts:
            found[f"torsion_density/{name}"] = np.stack(counts) / row.n_frames * bins / (2 * np.pi)
        for residue, pair in ramachandran_pairs(torsions):
            flat = pair_histograms(row, pair, pair_bins).sum(0)
            found[f"ramachandran_kT/{name}/{residue}"] = free_energy(flat).reshape(pair_bins, pair_bins)
    return found


def _coordinate_curves(rows: Mapping[str, Observables], settings: Settings) -> dict[str, np.ndarray]:
    reference = rows["reference"]
    found: dict[str, np.ndarray] = {}
    if "psi" in reference:
        bins, values = settings.free_energy_bins, reference["psi"][:, 0]
        low, high = inner_range(values)
        found["psi_1_axis"] = (np.arange(bins) + 0.5) * (high - low) / bins + low
        for name, row in rows.items():
            counts = range_counts(row["psi"][:, 0], row.units, low, high, bins)
            weights = bootstrap_weights(len(counts), settings.resamples, np.random.default_rng(settings.seed))
            energy = free_energy(counts.sum(0))
            energy = _aligned(energy, found.get("psi_1_kT/reference", energy))
            samples = _aligned(free_energy(weights @ counts), energy)
            found[f"psi_1_kT/{name}"] = energy
            found[f"psi_1_interval_kT/{name}"] = np.quantile(samples, [0.025, 0.975], axis=0, method="nearest")
    if "tica" in reference and reference["tica"].shape[1] == 2:
        found |= _tica_curves(rows, settings.pair_bins)
    return found


def _tica_curves(rows: Mapping[str, Observables], bins: int) -> dict[str, np.ndarray]:
    ends = [(row["tica"].min(0), row["tica"].max(0)) for row in rows.values()]
    low, high = np.min([end[0] for end in ends], axis=0), np.max([end[1] for end in ends], axis=0)
    found = {"tica_axis": np.stack([low, high])}
    for name, row in rows.items():
        first, second = (
            linear_bins(row["tica"][:, mode], float(low[mode]), float(high[mode]), bins) for mode in range(2)
        )
        counts = np.bincount(first * bins + second, minlength=bins * bins).reshape(bins, bins)
        found[f"tica_kT/{name}"] = free_energy(counts.astype(np.float64).reshape(-1)).reshape(bins, bins)
    return found


def _structure_curves(rows: Mapping[str, Observables]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for check in ("bond_rms_nm", "angle_rms_deg", "closest_nm", "radius_of_gyration_nm"):
        column = CHECKS.index(check)
        values = {name: row["structure"][:, column] for name, row in rows.items()}
        values = {name: value[np.isfinite(value)] for name, value in values.items()}
        if any(len(value) == 0 for value in values.values()):
            continue
        low, high = (f([np.quantile(v, q) for v in values.values()]) for f, q in ((min, 0.0005), (max, 0.9995)))
        if not high > low:
            continue
        edges = np.linspace(low, high, 61)
        found[f"{check}_axis"] = (edges[1:] + edges[:-1]) / 2
        for name, value in values.items():
            found[f"{check}_density/{name}"] = np.histogram(value, edges)[0] / len(value) / (edges[1] - edges[0])
    return found


def _energy_curves(rows: Mapping[str, Observables], terms: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Histograms of each term over the range that holds all rows but stray frames."""
    found: dict[str, np.ndarray] = {}
    if "energy" not in rows["reference"]:
        return found
    for column, term in enumerate(terms):
        values = {name: row["energy"][:, column] for name, row in rows.items()}
        values = {name: value[np.isfinite(value)] for name, value in values.items()}
        if any(len(value) == 0 for value in values.values()):
            continue
        low, high = (f([np.quantile(v, q) for v in values.values()]) for f, q in ((min, 0.005), (max, 0.995)))
        if not high > low:
            continue
        edges = np.linspace(low, high, 41)
        found[f"energy_axis/{term}"] = (edges[1:] + edges[:-1]) / 2
        for name, value in values.items():
            found[f"energy_density/{name}/{term}"] = np.histogram(value, edges)[0] / len(value) / (edges[1] - edges[0])
    return found


def _correlation_curves(
    rows: Mapping[str, Observables], torsions: Sequence[Torsion], correlation: CorrelationMetrics
) -> dict[str, np.ndarray]:
    if not torsions:
        return {}
    found = {"autocorrelation_axis": correlation.lags_ps}
    return found | {f"autocorrelation/{name}": correlation.curve(row) for name, row in rows.items()}


def _state_curves(rows: Mapping[str, Observables], kinetics: KineticMetrics) -> dict[str, np.ndarray]:
    """Populations of the lumped states, the Markov test, and the flux between each pair of states."""
    states, found = kinetics.states, {}
    for name, row in rows.items():
        counts, lumped = kinetics.counts(row), kinetics.lumped_counts(row)
        if counts is None or lumped is None or counts.sum() == 0:
            continue
        visits = np.bincount(states.macrostate[row["states"]], minlength=states.n_macrostates)
        total = lumped.sum(0)
        found[f"populations/{name}"] = visits / row.n_frames
        found[f"flux_per_ns/{name}"] = (total + total.T) / 2 / total.sum() / kinetics.lag_ps * 1000
        tested = kinetics.markov_test(counts.sum(0), kinetics.markov_test_counts(row).sum(0))
        found[f"markov_test/{name}"] = np.stack(tested)
    return found


def _path_curves(rows: Mapping[str, Observables], kinetics: KineticMetrics) -> dict[str, np.ndarray]:
    """The first transition of each row between the two lumped states of lowest flux, in the plane of TICA."""
    reference, found = rows["reference"], {}
    counts = kinetics.lumped_counts(reference)
    ends = None if counts is None else rarest_pair(counts.sum(0) + counts.sum(0).T)
    if ends is None or "tica" not in reference or reference["tica"].shape[1] < 2:
        return {}
    for name, row in rows.items():
        crossing = first_transition(kinetics.states.macrostate[row["states"]], row.trajectory, ends)
        if crossing is not None:
            found[f"path/{name}"] = row["tica"][crossing, :2]
    return found


def _timescale_curves(rows: Mapping[str, Observables], states: States, settings: Settings) -> dict[str, np.ndarray]:
    spacing, shortest = rows["reference"].frame_spacing_ps, min(max(row.lengths) for row in rows.values())
    lags = [lag for lag in LAGS_IN_FRAMES if lag < shortest / 2]
    if not lags:
        return {}
    found = {"timescales_axis": np.array(lags) * spacing}
    for name, row in rows.items():
        table = []
        for lag in lags:
            counts = count_matrices(row["states"], row.trajectory, row.units, lag, states.number).sum(0)
            table.append(slowest_timescales(counts, lag * spacing, settings.n_timescales))
        found[f"timescales_ps/{name}"] = np.array(table)
    return found


def _aligned(energy: np.ndarray, to: np.ndarray) -> np.ndarray:
    """`energy` less the constant by which it lies above `to`, over the bins that both know and `to` has below 5 kT."""
    with np.errstate(invalid="ignore"):
        difference = np.where(np.isfinite(energy) & (to < 5), energy - to, 0.0)
        shared = (np.isfinite(energy) & (to < 5)).sum(-1, keepdims=True)
        return energy - difference.sum(-1, keepdims=True) / np.maximum(shared, 1)
