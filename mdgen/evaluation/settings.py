"""Settings of an evaluation."""

from dataclasses import dataclass

from mdgen.errors import MdgenError
from mdgen.registry import register

LEAST = {"torsion_bins": 2, "pair_bins": 2, "free_energy_bins": 2, "free_energy_pair_bins": 2, "n_states": 2,
         "n_macrostates": 2, "n_timescales": 1, "resamples": 2, "permutations": 99,
         "energy_frames": 1, "player_frames": 1}  # fmt: skip
"""Lower bound of each whole number."""

POSITIVE = ("lag_ps", "tica_lag_ps", "free_energy_below_kT", "broken_bond_nm", "broken_angle_deg", "structure_work",
            "key_frame_ps")  # fmt: skip


@register
@dataclass(frozen=True)
class Settings:
    """How the evaluation measures; the defaults follow the field's protocol.

    Args:
        lag_ps: lag of the Markov state model; ten frames where None.
        tica_lag_ps: lag of TICA.
        n_states: k-means states of the Markov state model; 100, or 50 for less than 50 ns of reference, where None.
        n_macrostates: lumped states; 10, or 5 with fewer than 100 states, where None.
        n_timescales: number of slowest timescales reported.
        torsion_bins: bins of each torsion, over [-pi, pi].
        pair_bins: bins along each axis of pairs of torsions and of TICA components.
        free_energy_bins: bins of the slow coordinate.
        free_energy_pair_bins: bins along phi and along psi.
        free_energy_below_kT: depth to which free energies are compared.
        broken_bond_nm: deviation from its ideal length beyond which a bond is broken.
        broken_angle_deg: deviation from its ideal value beyond which an angle is broken.
        structure_work: most distances and angles measured for structure; beyond it every k-th frame is checked.
        energy_frames: frames of each set whose energy is computed, where a potential is given.
        key_frame_ps: spacing of the key frames from which the generated trajectories were upsampled; lags below it are
            judged apart.
        player_frames: frames of each set that the report's player shows.
        resamples: resamples of every bootstrap.
        permutations: random assignments of blocks behind the verdict.
        verdict_only: whether baselines, floors, curves, the player and the rows' distances, which the verdict takes
            from blocks, are left out; the verdict is the same.
        seed: seed of the bootstrap, of k-means and of the random rows.

    Raises:
        MdgenError: for numbers out of range.
    """

    lag_ps: float | None = None
    tica_lag_ps: float = 100.0
    n_states: int | None = None
    n_macrostates: int | None = None
    n_timescales: int = 3
    torsion_bins: int = 100
    pair_bins: int = 50
    free_energy_bins: int = 50
    free_energy_pair_bins: int = 36
    free_energy_below_kT: float = 5.0
    broken_bond_nm: float = 0.03
    broken_angle_deg: float = 30.0
    structure_work: float = 2e8
    energy_frames: int = 2000
    key_frame_ps: float | None = None
    player_frames: int = 150
    resamples: int = 200
    permutations: int = 499
    verdict_only: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise MdgenError(f"{name}={value} is too few to evaluate with; give at least {least}")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise MdgenError(f"{name}={value} cannot be; give a number above zero")
