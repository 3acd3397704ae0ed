"""The protocol of MDGen for peptides: forward simulation and interpolation.

Jing, Stark, Jaakkola and Berger, Generative Modeling of Molecular Dynamics Trajectories, NeurIPS 2024
(arXiv:2409.17808), as its text and its public analysis (github.com/bjing2016/mdgen, scripts/analyze_peptide_sim.py and
analyze_peptide_tps.py, commit 642b95b) define it:

- torsions phi, psi and chi, without omega; the reference on every frame, the generated trajectories at their own
  spacing;
- Jensen-Shannon distance (`scipy.spatial.distance.jensenshannon`) of each torsion over 100 bins of [-pi, pi], of phi
  and psi over 50 x 50, of TICA-0 over 100 and of TICA-0,1 over 50 x 50 bins of the range of both sets together;
- TICA of sines and cosines, fitted to the reference at 100 ps, with the kinetic map;
- 100 k-means states of the slow modes, PCCA+ to 10, and reversible Markov models of these at 100 ps for both sets;
- fluxes `T_ij pi_j` (not `pi_i T_ij`) and their Spearman correlation;
- decorrelation times of torsions and of TICA-0, to 1/e within 10 ns;
- for interpolations, paths every 100 ps against bridges of the reference's model.

What they leave open, or what was decided otherwise, and how:

- *Several trajectories.* The original has one; here neither lags nor counts cross from one to the next.
- *Modes for k-means.* Four; `modes: null` keeps 95 % of the kinetic variance, PyEMMA's default, as the code does.
- *Pairs.* phi and psi of one residue. The code takes neighbouring columns, which in PyEMMA are phi of one residue and
  psi of the one before it where the ends are not capped.
- *Occupancy.* `occupancy_jsd/frames` compares shares of frames, `occupancy_jsd/stationary` stationary distributions.
- *Flux correlation.* Between different states, and `/all` with the diagonal.
- *Unconnected k-means states* join the nearest; the original leaves such peptides out.
- *Ends of paths* (`path_ends`) are the states of lowest flux `pi_i T_ij`, which is the same both ways.
- *Fixed numbers of random draws* (bridges) are replaced by their expectation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.equivalent_length import equivalent_length_ns
from mdgen.evaluation.protocols.correlations import pearson, spearman
from mdgen.evaluation.protocols.interpolation_paths import (
    LARGEST_JSD,
    PathEnds,
    path_statistics,
    rarest_ends,
    replica_paths,
)
from mdgen.evaluation.protocols.metastable_states import (
    CoarseModel,
    MetastableStates,
    coarse_model,
    kinetic_map,
    project,
)
from mdgen.evaluation.protocols.peptide_torsions import TorsionSeries, peptide_torsions, read_torsions
from mdgen.evaluation.protocols.protocol import ProtocolResult, ProtocolRow, bounded_interval
from mdgen.evaluation.protocols.torsion_relaxation import mode_relaxation_time, relaxation_times
from mdgen.evaluation.statistics.distributions import jensen_shannon
from mdgen.evaluation.statistics.intervals import MINIMUM_UNITS, bootstrap_weights
from mdgen.molecule.torsions import Torsion
from mdgen.registry import register
from mdgen.results import Estimate

LEAST_PATHS = 10
"""Fewer trajectories with common ends are no ensemble of interpolations, but chance."""
SHORTENED = {"replicate": 1, "tenth": 10, "hundredth": 100}
"""Rows of dynamics, and how many such stretches the replicate holds."""

Counts = Float[np.ndarray, "unit bin"]


@register
@dataclass(frozen=True)
class MdgenProtocol:
    """Numbers comparable with the tables of MDGen.

    Args:
        lag_ps: lag of TICA, of the Markov models and of paths.
        modes: slow modes that k-means clusters; None for as many as hold 95 % of the kinetic variance.
        n_states: k-means states.
        n_macrostates: metastable states.
        longest_lag_ps: longest lag of autocorrelations.
        resamples: resamples of the bootstrap over trajectories; the states and modes of the reference stay.
        seed: seed of k-means and of the bootstrap.

    Raises:
        MdgenError: for numbers out of range.
    """

    lag_ps: float = 100.0
    modes: int | None = 4
    n_states: int = 100
    n_macrostates: int = 10
    longest_lag_ps: float = 10_000.0
    resamples: int = 200
    seed: int = 137

    def __post_init__(self) -> None:
        for name, least in (("modes", 2), ("n_states", 2), ("n_macrostates", 2), ("resamples", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise MdgenError(f"protocol.{name}={value} is too few; give at least {least}")
        for name in ("lag_ps", "longest_lag_ps"):
            if not getattr(self, name) > 0:
                raise MdgenError(f"protocol.{name}={getattr(self, name)} cannot be; give a time above zero")

    def require_applicable(self, reference: TrajectorySet) -> None:
        """Raise unless the molecule has torsions to judge."""
        peptide_torsions(reference.molecule)

    def judge(self, reference: TrajectorySet, others: Mapping[str, TrajectorySet]) -> ProtocolResult:
        """Measure each of the others against the reference."""
        chosen = peptide_torsions(reference.molecule)
        series = {name: read_torsions(each, chosen, f"torsions of {name}") for name, each in others.items()}
        target = _Target(self, read_torsions(reference, chosen, "torsions of reference"), chosen)
        measured = {name: target.measure(each) for name, each in series.items()}
        rows = {name: ProtocolRow(series[name].n_frames, metrics) for name, (metrics, _) in measured.items()}
        ends = next((ends for name, (_, ends) in measured.items() if ends is not None and name != "replicate"), None)
        if ends is not None and "replicate" in rows:
            rows = target.with_replica_paths(rows, series["replicate"], ends)
        target.notes += rounded({"reference": target.series, **series}, self.lag_ps)
        missing = [name for name, row in rows.items() if not any(metric.startswith("path") for metric in row.metrics)]
        notes = list(target.notes)
        if missing:
            notes.append(
                f"No path statistics for {' and '.join(missing)}: they are for interpolations, 10 trajectories or "
                "more of one length that all start in one metastable state of the reference and end in another."
            )
        return ProtocolResult("mdgen", rows, tuple(notes))

    def path_ends(
        self, reference: TrajectorySet, n_paths: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "path atom 3"], Float[np.ndarray, "path atom 3"]]:
        """Frames (nm) of the two metastable states with the lowest flux above zero, the ends of interpolations.

        Args:
            reference: dynamics that the states are those of, and the frames from.
            n_paths: pairs of frames, each drawn among all frames of its state.
            rng: random numbers.

        Raises:
            MdgenError: if the dynamics have no such states, or torsions.
        """
        chosen = peptide_torsions(reference.molecule)
        target = _Target(self, read_torsions(reference, chosen, "torsions of reference"), chosen)
        pair = None if target.states is None else rarest_ends(target.model)
        if pair is None:
            why = " ".join(target.notes) or "No two metastable states exchange."
            raise MdgenError(f"these dynamics tell no ends of paths: {why} Give longer ones, or structures as ends")
        first, last = (reference.frames(rng.choice(np.flatnonzero(target.labels == end), n_paths)) for end in pair)
        return first, last


class _Target:
    """The reference: its histograms, modes, states and times."""

    def __init__(self, protocol: MdgenProtocol, series: TorsionSeries, chosen: tuple[Torsion, ...]) -> None:
        self.protocol, self.series, self.chosen = protocol, series, chosen
        self.notes: list[str] = []
        every = kinetic_map(series, protocol.lag_ps, protocol.modes)
        self.tica, self.modes = every, project(every, series)
        rng = np.random.default_rng(protocol.seed)
        self.times = relaxation_times(series, protocol.longest_lag_ps, over_trajectories(series, protocol, rng))
        self.mode_time = mode_relaxation_time(self.modes[:, 0], series, protocol.longest_lag_ps)
        self.states: MetastableStates | None = None
        try:
            self.states = MetastableStates(
                self.modes, series, protocol.lag_ps, protocol.n_states, protocol.n_macrostates, protocol.seed
            )
        except MdgenError as error:
            self.notes.append(f"No metastable states: {error}.")
        if self.states is not None:
            self.labels = self.states.assign(self.modes)
            self.transitions = self.states.counts(self.labels, series)
            self.model = coarse_model(self.transitions.sum(0))

    def measure(self, series: TorsionSeries) -> tuple[dict[str, Estimate], PathEnds | None]:
        """Every number of one set, and the ends that its interpolations share; None where it holds none."""
        rng = np.random.default_rng(self.protocol.seed)
        weights = _Weights(self.series, series, self.protocol.resamples, rng)
        modes = project(self.tica, series)
        found = self._torsion_distances(series, weights) | self._mode_distances(series, modes, weights)
        found |= self._relaxation(series, modes, rng)
        if self.states is None:
            return found, None
        labels = self.states.assign(modes)
        found |= self._kinetics(series, labels, weights)
        paths = path_statistics(labels, series, self.protocol.lag_ps, self.model)
        if paths is None or len(paths.visits) < LEAST_PATHS:
            return found, None
        return found | paths.estimates(self.protocol.resamples, rng), paths.ends

    def with_replica_paths(
        self, rows: dict[str, ProtocolRow], replicate: TorsionSeries, ends: PathEnds
    ) -> dict[str, ProtocolRow]:
        """The rows with what stretches of the replicate make of the same interpolations, and what these are worth."""
        assert self.states is not None
        states, protocol = self.states.assign(project(self.tica, replicate)), self.protocol
        rng, rows = np.random.default_rng(protocol.seed), dict(rows)
        for name, part in SHORTENED.items():
            frames = replicate.n_frames // part
            if frames > replicate.lag_frames(protocol.lag_ps):
                found = replica_paths(
                    states, replicate, protocol.lag_ps, part, self.model, ends, protocol.resamples, rng
                )
                before = rows.get(name, ProtocolRow(frames, {}))
                rows[name] = replace(before, metrics=before.metrics | found)
        lengths_ns = {name: rows[name].frames * replicate.frame_spacing_ps / 1e3 for name in SHORTENED if name in rows}
        worth = equivalent_length_ns({name: row.metrics for name, row in rows.items()}, lengths_ns, "path_jsd")
        if worth is not None:
            self.notes.append(
                f"Path JSD: the interpolations are worth {worth:.3g} ns of dynamics, of which a Markov model's bridges "
                f"are as far from the reference's ({min(lengths_ns.values()):.3g} to {max(lengths_ns.values()):.3g} ns "
                "were tried)."
            )
        return rows

    def _torsion_distances(self, series: TorsionSeries, weights: "_Weights") -> dict[str, Estimate]:
        edges = (-np.pi, np.pi)
        each = np.array(
            [
                weights.distances(histogram(self.series, (a,), (edges,), 100), histogram(series, (b,), (edges,), 100))
                for a, b in zip(self.series.angles.T, series.angles.T, strict=True)
            ]
        )
        samples = {f"torsion_jsd/{torsion.name}": row for torsion, row in zip(self.chosen, each, strict=True)}
        kinds = np.array([torsion.kind for torsion in self.chosen])
        for kind in ("backbone", "side_chain"):
            if (kinds == kind).any():
                samples[f"torsion_jsd/{kind}"] = each[kinds == kind].mean(0)
        samples["torsion_jsd/all"] = each.mean(0)
        pairs = {}
        for residue, (phi, psi) in phi_psi_pairs(self.chosen).items():
            counts = [histogram(s, s.angles.T[[phi, psi]], (edges, edges), 50) for s in (self.series, series)]
            pairs[f"torsion_pair_jsd/{residue}"] = weights.distances(*counts)
        if pairs:
            samples |= pairs | {"torsion_pair_jsd/all": np.mean(list(pairs.values()), axis=0)}
        return distance_estimates(samples)

    def _mode_distances(self, series: TorsionSeries, modes: np.ndarray, weights: "_Weights") -> dict[str, Estimate]:
        both = (self.modes[:, :2].T, modes[:, :2].T)
        ranges = tuple((min(a.min(), b.min()), max(a.max(), b.max())) for a, b in zip(*both, strict=True))
        samples = {}
        for name, number, bins in (("0", 1, 100), ("0,1", 2, 50)):
            counts = [
                histogram(each, values[:number], ranges[:number], bins)
                for each, values in zip((self.series, series), both, strict=True)
            ]
            samples[f"tica_jsd/{name}"] = weights.distances(*counts)
        return distance_estimates(samples)

    def _kinetics(self, series: TorsionSeries, labels: np.ndarray, weights: "_Weights") -> dict[str, Estimate]:
        assert self.states is not None
        number = self.states.number
        mine, theirs = occupations(self.labels, self.series, number), occupations(labels, series, number)
        found = distance_estimates({"occupancy_jsd/frames": weights.distances(mine, theirs)})
        transitions = self.states.counts(labels, series)
        if transitions.sum() == 0:
            return found
        models = [(self.model, coarse_model(transitions.sum(0)))]
        if len(transitions) > 1:
            models += [
                (coarse_model(a), coarse_model(b))
                for a, b in zip(*weights.resampled(self.transitions, transitions), strict=True)
            ]
        samples = np.array([compared(*pair) for pair in models]).T
        found["occupancy_jsd/stationary"] = bounded_interval(samples[0, 0], samples[0, 1:], 0.0, LARGEST_JSD)
        found["flux_spearman"] = bounded_interval(samples[1, 0], samples[1, 1:], -1.0, 1.0)
        found["flux_spearman/all"] = bounded_interval(samples[2, 0], samples[2, 1:], -1.0, 1.0)
        return {name: estimate for name, estimate in found.items() if np.isfinite(estimate.value)}

    def _relaxation(self, series: TorsionSeries, modes: np.ndarray, rng: np.random.Generator) -> dict[str, Estimate]:
        """Decorrelation times against the reference's; torsions slower than the longest lag in either are left out."""
        longest, found = self.protocol.longest_lag_ps, {}
        times = relaxation_times(series, longest, over_trajectories(series, self.protocol, rng))
        mode_time = mode_relaxation_time(modes[:, 0], series, longest)
        if np.isfinite(mode_time) and np.isfinite(self.mode_time):
            found["decorrelation_log10_error/TICA-0"] = Estimate(abs(np.log10(mode_time / self.mode_time)))
        both = np.isfinite(times[0]) & np.isfinite(self.times[0])
        kinds = np.array([torsion.kind for torsion in self.chosen])
        for kind in ("backbone", "side_chain"):
            counted = both & (kinds == kind)
            if not counted.any():
                continue
            mine, theirs = np.log10(self.times[:, counted]), np.log10(times[:, counted])
            errors = np.abs(mine - theirs).mean(1)
            found[f"decorrelation_log10_error/{kind}"] = bounded_interval(errors[0], errors[1:], 0.0)
            if counted.sum() > 2:
                r = np.array([pearson(*pair) for pair in zip(mine, theirs, strict=True)])
                if np.isfinite(r[0]):
                    found[f"decorrelation_pearson/{kind}"] = bounded_interval(r[0], r[1:], -1.0, 1.0)
        if not both.all():
            self.notes.append(
                f"{int((~both).sum())} of {len(both)} torsions do not decorrelate within {longest:g} ps in the "
                "reference or in the set compared with it; decorrelation times leave them out."
            )
        return found


class _Weights:
    """Bootstrap weights of the units of two sets, the plain sum first."""

    def __init__(self, first: TorsionSeries, second: TorsionSeries, resamples: int, rng: np.random.Generator) -> None:
        self._pair = [
            np.vstack([np.ones((1, units)), bootstrap_weights(units, resamples, rng)])
            for units in (len(first.unit_slices()), len(second.unit_slices()))
        ]

    def distances(
        self, first: Float[np.ndarray, "unit bin"], second: Float[np.ndarray, "other_unit bin"]
    ) -> Float[np.ndarray, "resample"]:
        """Jensen-Shannon distance of two histograms, and of their resamples."""
        return jensen_shannon(self._pair[0] @ first, self._pair[1] @ second)

    def resampled(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Resampled sums over units, without the plain sum."""
        mine, theirs = (np.tensordot(w[1:], sums, axes=1) for w, sums in zip(self._pair, (first, second), strict=True))
        return mine, theirs


def over_trajectories(
    series: TorsionSeries, protocol: MdgenProtocol, rng: np.random.Generator
) -> Float[np.ndarray, "draw trajectory"]:
    """Weights of whole trajectories, all once first; too few to resample keep that weight in every draw."""
    number = len(series.lengths)
    if number < MINIMUM_UNITS:
        return np.ones((1 + protocol.resamples, number))
    return np.vstack([np.ones((1, number)), bootstrap_weights(number, protocol.resamples, rng)])


def rounded(sets: Mapping[str, TorsionSeries], lag_ps: float) -> list[str]:
    """Sentences on sets whose frame spacing is no divisor of the lag."""
    lags = {name: series.lag_frames(lag_ps) * series.frame_spacing_ps for name, series in sets.items()}
    return [
        f"{name}: the lag of {lag_ps:g} ps is {used:g} ps, a whole number of its frames."
        for name, used in lags.items()
        if abs(used / lag_ps - 1) > 1e-6
    ]


def histogram(
    series: TorsionSeries,
    values: tuple[np.ndarray, ...] | np.ndarray,
    ranges: tuple[tuple[float, float], ...],
    bins: int,
) -> Counts:
    """`numpy.histogramdd` of each bootstrap unit, flat; values outside the ranges are not counted."""
    counts = []
    for piece in series.unit_slices():
        cut = [column[piece] for column in values]
        if len(cut) == 1:
            counts.append(np.histogram(cut[0], bins=bins, range=ranges[0])[0])
        else:
            counts.append(np.histogram2d(cut[0], cut[1], bins=bins, range=ranges)[0].ravel())
    return np.array(counts, dtype=np.float64)


def occupations(labels: np.ndarray, series: TorsionSeries, number: int) -> Counts:
    """Frames in each metastable state, by bootstrap unit."""
    return np.array([np.bincount(labels[piece], minlength=number) for piece in series.unit_slices()], dtype=np.float64)


def compared(first: CoarseModel, second: CoarseModel) -> tuple[float, float, float]:
    """JSD of stationary distributions; Spearman correlation of fluxes between different states, and of all entries."""
    different: np.ndarray = ~np.eye(len(first.matrix), dtype=bool)
    return (
        float(jensen_shannon(first.stationary, second.stationary)),
        spearman(first.flux[different], second.flux[different]),
        spearman(first.flux.ravel(), second.flux.ravel()),
    )


def phi_psi_pairs(chosen: tuple[Torsion, ...]) -> dict[str, tuple[int, int]]:
    """Columns of phi and psi of each residue that has both, by the residue's name."""
    columns = {torsion.name: index for index, torsion in enumerate(chosen)}
    return {
        name.removeprefix("phi "): (column, columns["psi " + name.removeprefix("phi ")])
        for name, column in columns.items()
        if name.startswith("phi ") and "psi " + name.removeprefix("phi ") in columns
    }


def distance_estimates(samples: Mapping[str, Float[np.ndarray, "resample"]]) -> dict[str, Estimate]:
    """Estimates of Jensen-Shannon distances from arrays that hold the value first, then its resamples."""
    return {
        name: bounded_interval(values[0], values[1:], 0.0, LARGEST_JSD)
        for name, values in samples.items()
        if np.isfinite(values[0])
    }
