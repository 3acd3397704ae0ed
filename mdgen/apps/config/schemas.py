"""Types of the keys that each verb has of its own; the keys of a part are typed by the part's signature."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

Path = Annotated[str, "path"]
"""Text that the messages call a path."""

Fractions = tuple[float, float]


@dataclass
class Loader:
    """How batches are loaded."""

    batch_size: int
    workers: int


@dataclass
class Data:
    """Trajectories that a verb reads, and where there are many molecules how windows are cut from them."""

    trajectories: Path | list[Path] | None
    topology: Path | None
    frame_spacing_ps: float | None
    temperature_K: float | None
    fraction: Fractions
    molecules: Path | list[dict[str, Any]] | None
    frames: int
    window_spacing_ps: float | None
    hop_ps: float | None
    split_by: Literal["molecule", "trajectory"]
    validation_share: float
    test_share: float
    loader: Loader


@dataclass
class Run:
    """What every verb that calculates has."""

    output: Path
    seed: int
    threads: int | None


@dataclass
class Simulate(Run):
    """Keys of `mdgen simulate`."""

    engine: str
    device: str
    pressure_bar: float | None
    precision: Literal["single", "double"]
    n_replicas: int
    length_ns: float
    equilibration_ns: float
    anneal_temperature_K: float | None
    save_ps: float


@dataclass
class Train(Run):
    """Keys of `mdgen train`."""

    encoder_run: Path | None
    data: Data


@dataclass
class Generate(Run):
    """Keys of `mdgen generate`."""

    encoder_run: Path
    propagator_run: Path
    decoder_run: Path
    device: str
    task: Literal["rollout", "interpolate", "upsample", "inpaint"]
    n_trajectories: int
    length_ns: float
    temperature_K: float | None
    frame_spacing_ps: float | None
    start: Path | None
    end: Path | None
    coarse: Path | list[Path] | None
    factor: int | None
    known: Path | list[Path] | None
    tokens: list[int] | None
    export: Literal["xtc", "dcd", "h5", "pdb"] | None


@dataclass
class Evaluate(Run):
    """Keys of `mdgen evaluate`."""

    encoder_run: Path | None
    pairs: Path | None
    seeds: list[Path] | None
    training_runs: Path | list[Path] | None
    reference: Data
    generated: Data
    replicate: Data


@dataclass
class Energy(Run):
    """Keys of `mdgen energy`."""

    data: Data
    forces: bool
    check: bool
    check_frames: int


@dataclass
class Compare:
    """Keys of `mdgen compare`."""

    first: Path
    second: Path
    row: str | None


@dataclass
class Demo(Run):
    """Keys of `mdgen demo`: its own, and those of the verbs that its steps are."""

    data: Data
    lag_ps: float
    training_fraction: Fractions
    reference_fraction: Fractions
    replicate_fraction: Fractions
    simulate: Simulate
    train_encoder: Train
    train_propagator: Train
    train_decoder: Train
    generate: Generate
    evaluate: Evaluate
    four_wells: Run


SCHEMAS: dict[str, Any] = {
    "simulate": Simulate,
    "train": Train,
    "generate": Generate,
    "evaluate": Evaluate,
    "energy": Energy,
    "compare": Compare,
    "benchmark": Run,
    "demo": Demo,
}
