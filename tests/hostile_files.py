"""Files that are wrong in some way, made from whole ones: the inputs of the fuzz test."""

import copy
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch

from mdgen.apps.config.composition import compose, plain
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.training_runs import training_runs
from mdgen.apps.runs.verification import verify
from mdgen.apps.train import with_data_of_encoder
from mdgen.data.collection import open_molecules
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import TrajectorySet, open_trajectories, write_trajectory
from mdgen.documents import is_sealed, seal
from mdgen.errors import MdgenError
from mdgen.evaluation import read_metrics
from mdgen.evaluation.result import SCHEMA
from mdgen.generation.load import load
from mdgen.generation.stream import GenerationRecord, LatentStream
from mdgen.interfaces import LatentSpace
from mdgen.md.dynamics.checkpoint import Checkpoint, Stop, checkpoints, save_checkpoint
from mdgen.md.systems.yaml_force_field import load_yaml_force_field
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.encoders.srv import SRV
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.topology import Molecule

VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2**31, 10**9, 10**20, -(10**30), 1e308, 1e-308, float("nan"), float("inf"), 0.5),
    *(
        "",
        "abc",
        "nan",
        "1e308",
        "../../../etc/passwd",
        "/dev/null",
        "\x1b[2J\x1b[31m",
        "</script><b>",
        "\x00",
        "x" * 300,
    ),
    *([], {}, [[]], [None], [10**9], [-1, -1], {"": ""}, {"_target_": "os.system"}, "${oc.env:HOME}", "\u202egpj"),
]
_DEEP = "[" * 3_000

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of input: how a whole one is made in a folder, which of its files are spoilt, and what reads it."""

    name: str
    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Read
    reads_whole: bool = True


def molecule() -> Molecule:
    return Molecule.from_file(_PDB)


_PDB = Path(__file__).parents[1] / "mdgen" / "benchmarks" / "evaluation" / "ace_ala_nme.pdb"


def _positions(n_frames: int = 4) -> np.ndarray:
    (frame,) = mdtraj.load_pdb(str(_PDB)).xyz
    return frame + np.random.default_rng(0).normal(scale=0.01, size=(n_frames, *frame.shape)).astype(np.float32)


def _store(folder: Path) -> None:
    with TrajectoryStore.create(folder, molecule(), 0.5, 2, {"temperature_K": 300.0}) as store:
        store.append(np.stack([_positions(), _positions()]))
        store.append(_positions(2)[None], [1])


def _read_all(opened: TrajectorySet) -> None:
    for index in range(len(opened)):
        opened.positions(index, stride=2)
    _ = opened.temperatures_K, opened.trajectory(0)


def _models(folder: Path) -> None:
    save_model(folder / "encoder.safetensors", SRV(3, 2.0, n_modes=2, hidden=[7, 5]), {"data": [1]})
    save_model(folder / "propagator.safetensors", MDN(LatentSpace("slow_modes", 1, 2), 1.0, 3, [8]))


def _read_models(folder: Path) -> None:
    load_model(folder / "propagator.safetensors")
    load_model(folder / "encoder.safetensors")


def _checkpoint(folder: Path) -> None:
    engine = {"positions": torch.zeros(2, 3, 3), "step": torch.tensor(3)}
    save_checkpoint(folder, Checkpoint(engine, 5, 4, {"n_replicas": 2}, (Stop(1, 2, 3, "far"),)))


def _read_checkpoint(folder: Path) -> None:
    if not list(checkpoints(folder)):
        raise MdgenError("it is passed over")


_RECORD = {"n_trajectories": 2, "seed": 0}


def _record(folder: Path) -> None:
    _store(folder)
    GenerationRecord(folder, _RECORD, 9).save(LatentStream(torch.zeros(2, 1, 2), 4, 1))


def _resume(folder: Path) -> None:
    record = GenerationRecord(folder, _RECORD, 9)
    with record.open_store(molecule(), 0.5, {}) as store:
        record.resume(store)


_CONFIG = {"seed": 0, "length_ns": 1.0, "model": {"hidden": [8, 8]}, "output": "x", "threads": None}


def _run(folder: Path) -> None:
    with open_run(folder / "run", "simulate", _CONFIG) as run:
        _store(run.path / "trajectories")
        run.finish({"n": 1})


def _open(folder: Path) -> None:
    damage = verify(folder / "run").damage
    for length_ns in (1.0, 2.0):
        with open_run(folder / "run", "simulate", {**_CONFIG, "length_ns": length_ns}):
            pass
    if damage:
        raise MdgenError(damage[0])


@functools.cache
def _train_config(option: str) -> dict[str, Any]:
    return dict(plain(compose("train", [option])))


def _encoder_run(folder: Path) -> None:
    config = copy.deepcopy(_train_config("encoder=srv"))
    config["data"]["trajectories"] = "nowhere"
    with open_run(folder / "run", "train", config):
        (folder / "run" / "encoder.safetensors").write_bytes(b"")


def _simulator(folder: Path) -> None:
    (folder / "simulator.json").write_text(json.dumps(dict.fromkeys(("encoder", "propagator", "decoder"), "a")))


def _read_simulator(folder: Path) -> None:
    training_runs({"generated": {"trajectories": [str(folder)]}, "seeds": None})
    load(folder)


def _metrics(folder: Path) -> None:
    number = {"value": 0.1, "low": 0.0, "high": None}
    row = {"label": "model", "frames": 3, "length_ns": 0.1, "metrics": {"a": number, "b": number}}
    document = {"schema": SCHEMA, "molecule": {"fingerprint": "x"}, "settings": {}, "rows": {"generated": row}}
    (folder / "metrics.json").write_text(json.dumps(document))


def _foreign(suffix: str) -> Kind:
    def make(folder: Path) -> None:
        if suffix == "npy":
            np.save(folder / "a.npy", np.stack([_positions(), _positions()]))
        else:
            write_trajectory(folder / f"a.{suffix}", _positions(), molecule(), 0.5)

    def read(folder: Path) -> None:
        _read_all(open_trajectories(folder / f"a.{suffix}", molecule(), None if suffix in ("xtc", "h5") else 0.5))

    return Kind(suffix, make, (f"a.{suffix}",), read)


_TABLE = b"trajectories,topology,frame_spacing_ps,temperature_K,name\na.npy,a.pdb,0.5,300,one\n"
_FORCE_FIELD = b"""atomtypes: [CA, CB]
masses: {CA: 12.0, CB: 12.0}
electrostatics: {CA: {charge: 0.1}, CB: {charge: -0.1}}
lj: {CA: {sigma: 3.0, epsilon: 0.1}, CB: {sigma: 3.0, epsilon: 0.1}}
bonds: {"(CA, CB)": {k0: 100.0, req: 1.5}}
"""


def _table(folder: Path) -> None:
    np.save(folder / "a.npy", _positions())
    (folder / "a.pdb").write_bytes(_PDB.read_bytes())
    (folder / "table.csv").write_bytes(_TABLE)


def _structure(folder: Path) -> None:
    (folder / "a.pdb").write_bytes(_PDB.read_bytes())


def _force_field(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(_FORCE_FIELD)


def _read_force_field(folder: Path) -> None:
    load_yaml_force_field(folder / "a.yaml", Molecule.particles(["CA", "CB"], [(0, 1)]), ["CA", "CB"])


def _read_encoder_run(folder: Path) -> None:
    with_data_of_encoder({**_train_config("propagator=mdn"), "encoder_run": str(folder / "run")})


_OF_STORE = ("manifest.json", "manifest.json", "molecule.json", "chunk-00000000.npy")
_OF_RUN = ("run/config.yaml", "run/provenance.json", "run/DONE", "run/metrics.json")

KINDS = [
    Kind("store", _store, _OF_STORE, lambda folder: _read_all(open_trajectories(folder))),
    Kind("models", _models, ("encoder.safetensors", "propagator.safetensors"), _read_models),
    Kind("checkpoint", _checkpoint, ("checkpoint.safetensors",), _read_checkpoint),
    Kind("record", _record, ("generation.safetensors",), _resume),
    Kind("run", _run, _OF_RUN, _open),
    Kind("encoder_run", _encoder_run, ("run/config.yaml",), _read_encoder_run),
    Kind("simulator", _simulator, ("simulator.json",), _read_simulator, False),
    Kind("metrics", _metrics, ("metrics.json",), read_metrics),
    *map(_foreign, ("xtc", "dcd", "h5", "npy", "pdb")),
    Kind("topology", _structure, ("a.pdb",), lambda folder: Molecule.from_file(folder / "a.pdb").masses),
    Kind("table", _table, ("table.csv",), lambda folder: open_molecules(folder / "table.csv")),
    Kind("force_field", _force_field, ("a.yaml",), _read_force_field),
]


def spoilt(content: bytes, rng: np.random.Generator) -> bytes:
    """The content of a file with something wrong."""
    ways: list[Callable[[bytes, np.random.Generator], bytes]] = [_flipped, _cut, _filled, _replaced]
    document = _document(content)
    if document is not None:
        ways += 4 * [lambda content, rng: _rewritten(content, document, rng)]
    changed = ways[rng.integers(len(ways))](content, rng)
    resealable = is_sealed(content) and rng.random() < 0.7
    try:
        return seal(changed) if resealable else changed
    except AssertionError:  # its checksum is gone
        return changed


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for bit in rng.integers(0, 8 * min(len(content), int(rng.choice([96, 400, 10**9]))), rng.integers(1, 5)).tolist():
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def _filled(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 40))) + content[at + int(rng.integers(0, 40)) :]


def _replaced(content: bytes, rng: np.random.Generator) -> bytes:
    bombs = [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        _DEEP.encode(),
        b"{" * 3_000,
        b"\x80\x04.",
        ALIAS_BOMB,
    ]
    return bombs[rng.integers(len(bombs))]


ALIAS_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)


def _document(content: bytes) -> tuple[Any, bytes | None] | None:
    """A JSON document, or the one in the header of a safetensors file with the bytes after it."""
    try:
        if content[:1] in b"{[":
            return json.loads(content), None
        length = int.from_bytes(content[:8], "little")
        return json.loads(content[8 : 8 + length]), content[8 + length :]
    except (ValueError, OverflowError):
        return None


def _rewritten(content: bytes, document: tuple[Any, bytes | None], rng: np.random.Generator) -> bytes:
    """One value of the document replaced, or left out."""
    changed, rest = copy.deepcopy(document[0]), document[1]
    inner = changed["__metadata__"] if rest is not None else None
    tree = json.loads(inner["mdgen"]) if inner else changed
    places = [place for place in _places(tree) if place[1] != "crc32"]
    if places:
        holder, key = places[rng.integers(len(places))]
        if rng.random() < 0.15:
            del holder[key]
        else:
            holder[key] = VALUES[rng.integers(len(VALUES))]
    if inner is None or rest is None:
        return json.dumps(changed).encode()
    inner["mdgen"] = json.dumps(tree)
    head = json.dumps(changed, separators=(",", ":")).encode()
    return len(head).to_bytes(8, "little") + head + rest


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
