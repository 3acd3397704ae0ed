"""Lag scan: implied timescales over a ladder of lags, with intervals, and the lag and dimension that they recommend.

A timescale that is implied at too short a lag is too short, as the features do not tell all that decides the next
frame; at too long a lag nothing is left to estimate it from. Modes are time-lagged independent components, in closed
form at every lag (Prinz et al., J. Chem. Phys. 134, 174105 (2011), on implied timescales; Perez-Hernandez et al., J.
Chem. Phys. 139, 015102 (2013), on the modes).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.models.batches import PairBatch
from mdgen.models.blocks.spectrum import implied_timescales, slow_modes

N_COMPONENTS = 20
"""Components in which all lags are compared: the slowest of a solution at a middle lag, over all features."""
N_MODES = 6
"""Modes that are shown, and after the last but one of which the spectral gap may lie."""
N_RESAMPLES = 200
LEAST_UNITS = 20
"""Trajectories that are resampled as they are; fewer are cut into at least as many blocks."""
LEAST_LENGTHS = 10
"""Lags that fit at least into the longest trajectory, and into a block."""
TOLERANCE = 0.05
"""Share by which a timescale may still rise with the lag."""
LEAST_EIGENVALUE = 0.01
"""Correlation at the lag below which a mode counts as gone."""
RELATIVE_JITTER = 1e-8

Table = Float[Tensor, "_frame _feature"]


@dataclass(frozen=True)
class LagScan:
    """Implied timescales in ps, one list a lag and one number a mode, NaN where a mode is gone at that lag.

    Args:
        lags_ps: lags, ascending.
        timescales_ps: timescales of all data.
        low_ps: lower end of the bootstrap's 95 % interval of each.
        high_ps: upper end.
        lag_ps: recommended lag.
        n_modes: recommended number of modes, those before the spectral gap.
        converged: whether the timescales no longer rise from that lag on.
        reason: a sentence that says what was recommended, and why.
    """

    lags_ps: list[float]
    timescales_ps: list[list[float]]
    low_ps: list[list[float]]
    high_ps: list[list[float]]
    lag_ps: float
    n_modes: int
    converged: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, None in place of NaN."""
        plain = asdict(self)
        for key in ("timescales_ps", "low_ps", "high_ps"):
            plain[key] = [[value if math.isfinite(value) else None for value in row] for row in plain[key]]
        return plain


@torch.no_grad()
def scan_lags(tables: Sequence[Table], frame_spacing_ps: float, generator: torch.Generator) -> LagScan:
    """Recommend a lag and a number of modes.

    The lag is the shortest from which on no timescale before the spectral gap rises by more than `TOLERANCE` beyond
    doubt: the bootstrap's interval of its ratio to that of each longer lag reaches down to less. Resampled are whole
    trajectories, or long blocks where there are few, the same ones at every lag.

    Args:
        tables: features of every frame, one table a trajectory.
        frame_spacing_ps: time between two frames.
        generator: random stream of the bootstrap.

    Raises:
        MdgenError: if the trajectories are too short for two lags, or nothing in them is slow.
    """
    lags = lag_ladder(max(len(table) for table in tables))
    if len(lags) < 2:
        raise MdgenError(
            f"the longest trajectory has {max(len(table) for table in tables)} frames, too few for a lag scan; "
            "give the encoder's lag_ps as a number"
        )
    units = _units(_reduced(tables, lags[len(lags) // 2]), lags[-1])
    counts = torch.ones(1, len(units), dtype=torch.float64)
    drawn = torch.randint(len(units), (N_RESAMPLES, len(units)), generator=generator)
    resampled = torch.zeros(N_RESAMPLES, len(units), dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
    )
    weights = torch.cat([counts, resampled])
    eigenvalues = torch.stack([_eigenvalues(units, lag, weights) for lag in lags])
    lags_ps = torch.tensor(lags, dtype=torch.float64) * frame_spacing_ps
    gone = eigenvalues < LEAST_EIGENVALUE
    timescales = torch.stack(
        [implied_timescales(each, float(lag)) for each, lag in zip(eigenvalues, lags_ps, strict=True)]
    )
    timescales[gone] = torch.nan
    return _recommended(lags_ps, timescales)


def lag_ladder(longest: int) -> list[int]:
    """Lags in frames, 1, 2, 5, 10 and so on, of which the longest trajectory holds at least `LEAST_LENGTHS`.

    >>> lag_ladder(300)
    [1, 2, 5, 10, 20]
    """
    steps = (base * 10**power for power in range(12) for base in (1, 2, 5))
    return [lag for lag in steps if lag * LEAST_LENGTHS < longest]


def _reduced(tables: Sequence[Table], lag: int) -> list[Table]:
    """The slowest components at a lag, of unit variance: what all lags are compared in."""
    frames = torch.cat(list(tables))
    mean, spread = frames.double().mean(0), frames.double().std(0)
    varies = spread > 1e-6 * (mean.abs() + 1e-6)
    standard = ((frames - mean) / spread)[:, varies]
    firsts, begin = [], 0
    for table in tables:
        firsts.append(torch.arange(begin, begin + max(0, len(table) - lag)))
        begin += len(table)
    first = torch.cat(firsts)
    n = min(N_COMPONENTS, standard.shape[1])
    centre, projection, _ = slow_modes(standard, PairBatch(standard, first, first + lag), n, RELATIVE_JITTER)
    components = (standard.double() - centre) @ projection
    return list(components.split([len(table) for table in tables]))


def _units(tables: Sequence[Table], longest_lag: int) -> list[tuple[Table, int]]:
    """What is resampled: stretches of frames, and how many of them begin a pair of the unit.

    The frames beyond these, up to the longest lag, belong to the pairs only.
    """
    n_blocks = 1 if len(tables) >= LEAST_UNITS else -(-LEAST_UNITS // len(tables))
    units = []
    for table in tables:
        size = -(-len(table) // n_blocks)
        for begin in range(0, len(table), size):
            units.append((table[begin : begin + size + longest_lag], size))
    return units


def _eigenvalues(
    units: Sequence[tuple[Table, int]], lag: int, weights: Float[Tensor, "resample unit"]
) -> Float[Tensor, "resample mode"]:
    """Autocorrelations of the slowest modes at a lag, of units that count as often as `weights` says."""
    sums: list[list[Tensor]] = [[], [], [], []]
    for frames, n_begin in units:
        now, later = frames[: max(0, min(n_begin, len(frames) - lag))], frames[lag : lag + n_begin]
        for total, value in zip(
            sums,
            (
                torch.tensor(float(len(now)), dtype=torch.float64),
                (now.sum(0) + later.sum(0)) / 2,
                (now.T @ now + later.T @ later) / 2,
                (now.T @ later + later.T @ now) / 2,
            ),
            strict=True,
        ):
            total.append(value)
    count, first, instantaneous, lagged = (torch.tensordot(weights, torch.stack(each), 1) for each in sums)
    share = count.clamp_min(1.0)
    mean = first / share[:, None]
    outer = mean[:, :, None] * mean[:, None, :]
    c0 = instantaneous / share[:, None, None] - outer
    c1 = lagged / share[:, None, None] - outer
    scale = c0.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    empty = count == 0  # no trajectory that was drawn is as long as the lag
    identity = torch.eye(c0.shape[1], dtype=c0.dtype)
    factor = torch.linalg.cholesky(torch.where(empty[:, None, None], identity, c0 + 1e-6 * scale * identity))
    left = torch.linalg.solve_triangular(factor, c1, upper=False)
    symmetric = torch.linalg.solve_triangular(factor, left.mT, upper=False)
    values = torch.linalg.eigvalsh((symmetric + symmetric.mT) / 2).flip(1)[:, :N_MODES]
    return torch.where(empty[:, None], torch.nan, values)


def _recommended(lags_ps: Float[Tensor, "lag"], timescales: Float[Tensor, "lag resample mode"]) -> LagScan:
    """The recommendation; the first resample is all of the data."""
    whole = timescales[:, 0]
    low, high = (torch.nanquantile(timescales[:, 1:], q, dim=1) for q in (0.025, 0.975))
    usable = [i for i in range(len(lags_ps)) if bool(whole[i, 0] > lags_ps[i])]
    if not usable:
        raise MdgenError(
            f"no mode of these features outlives a lag of {float(lags_ps[0]):g} ps; save frames more often, or give "
            "the encoder other features"
        )
    chosen, n_modes = usable[-1], spectral_gap(whole[usable[-1]])
    converged = False
    for index in usable:
        n_modes_here = spectral_gap(whole[index])
        if not _rises(lags_ps, timescales, index, n_modes_here):
            # Nothing rises after the last lag because nothing follows it.
            chosen, n_modes, converged = index, n_modes_here, index < usable[-1]
            break
    modes = "mode" if n_modes == 1 else f"{n_modes} modes"
    shown = ", ".join(f"{float(each):.4g}" for each in whole[chosen, :n_modes])
    why = (
        f"the shortest from which on the slowest {modes} ({shown} ps) no longer grow beyond their intervals"
        if converged
        else f"the longest that the slowest mode outlives: the timescales ({shown} ps) still grow with the lag"
    )
    reason = f"lag {float(lags_ps[chosen]):g} ps, {why}; the spectral gap lies after mode {n_modes}"
    return LagScan(
        lags_ps.tolist(),
        whole.tolist(),
        low.tolist(),
        high.tolist(),
        float(lags_ps[chosen]),
        n_modes,
        converged,
        reason,
    )


def spectral_gap(timescales: Float[Tensor, "mode"]) -> int:
    """How many modes come before the largest ratio of one timescale to the next; those that are gone come after it.

    >>> spectral_gap(torch.tensor([200.0, 150.0, 9.0, 6.0, float("nan")]))
    2
    """
    known = timescales[: int(torch.isfinite(timescales).long().cumprod(0).sum())]
    if len(known) < 3:
        return 1
    return 1 + int((known[:-1] / known[1:]).argmax())


def _rises(
    lags_ps: Float[Tensor, "lag"], timescales: Float[Tensor, "lag resample mode"], index: int, n_modes: int
) -> bool:
    """Whether a timescale of a longer lag, at which its mode is not over, is longer beyond doubt."""
    for mode in range(n_modes):
        for later in range(index + 1, len(lags_ps)):
            if not bool(timescales[later, 0, mode] > lags_ps[later]):
                break
            ratio = timescales[later, 1:, mode] / timescales[index, 1:, mode]
            if float(torch.nanquantile(ratio, 0.025)) > 1 + TOLERANCE:
                return True
    return False
