"""What strangers' files and bad luck can do, counted, with a result file (`COMMAND`)."""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mdgen import registry
from mdgen.apps.main import main
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.runs.verification import verify
from mdgen.benchmarks.validation.interruptions import check_kills
from mdgen.data.trajectories import open_trajectories
from mdgen.documents import read_yaml
from mdgen.errors import MdgenError
from mdgen.generation.load import load
from mdgen.models.checkpoint import load_model
from mdgen.results import Acceptance, Estimate, write_result
from tests.apps.test_hostile_files import fuzz
from tests.apps.test_strangers_runs import Payload, data_of, encoder_run, hostile
from tests.apps.test_verify import FILES, run  # noqa: F401 (a fixture)
from tests.hostile_files import _PDB as PDB
from tests.hostile_files import KINDS, Kind, molecule

COMMAND = "HARDENING_OUTPUT={output} pytest -m slow tests/apps/test_hardening.py"
"""What writes the result file; it stands in it."""

Attempt = Callable[[Path, Path], Any]
"""Opens something hostile in a folder that would make the second path, if it ran."""

N_FUZZED, N_FLIPPED, N_KILLS = 2_000, 200, 20
FOREIGN = ("xtc", "dcd", "h5", "npy", "pdb")

TARGETS = {
    "os.mkdir": {"path": "MADE"},
    "os.system": {"command": "touch MADE"},
    "subprocess.run": {"args": ["touch", "MADE"]},
    "shutil.copy": {"src": "/dev/null", "dst": "MADE"},
    "io.open": {"file": "MADE", "mode": "w"},
}
"""Functions that leave something behind when they are called by name, with what they are told."""
GROUPS = {
    "simulate": ("system", "integrator", "potential", "tempering"),
    "train": ("encoder", "propagator", "decoder", "logger"),
    "benchmark": ("suite",),
}
"""Groups of configs of which a stranger's folder may bring one, by the verb that takes it."""


def _pickled(name: str, read: Callable[[Path], Any]) -> Attempt:
    def attempt(folder: Path, made: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Payload(made)))
        read(folder / name)

    return attempt


def _torch_saved(folder: Path, made: Path) -> None:
    torch.save({"weights": Payload(made)}, folder / "encoder.safetensors")
    load_model(folder / "encoder.safetensors")


def _objects(folder: Path, made: Path) -> None:
    np.save(folder / "a.npy", np.array([Payload(made)], dtype=object), allow_pickle=True)
    open_trajectories(folder / "a.npy", molecule(), 0.5).positions(0)


def _h5(folder: Path, made: Path) -> None:
    opened = open_trajectories(hostile(folder / "a.h5", made))
    opened.positions(0)


def _h5_of_encoder_run(folder: Path, made: Path) -> None:
    file = str(hostile(folder / "a.h5", made))
    open_trajectories(data_of(encoder_run(folder / "run", trajectories=file, topology=file))["trajectories"])


def _yaml(tag: str) -> Attempt:
    def attempt(folder: Path, made: Path) -> None:
        (folder / "a.yaml").write_text(f"a: !!python/{tag}\n- {made}\n")
        read_yaml(folder / "a.yaml", "write it again")

    return attempt


def _config(verb: str, group: str, target: str) -> Attempt:
    def attempt(folder: Path, made: Path) -> None:
        (folder / "conf" / group).mkdir(parents=True)
        told = json.dumps({"_target_": target, **TARGETS[target]}).replace("MADE", str(made))
        if group in ("encoder", "propagator", "decoder"):
            told = json.dumps({"model": json.loads(told), "training": {}})
        (folder / "conf" / group / "theirs.yaml").write_text(told)
        given = [f"--config-dir={folder / 'conf'}", f"{group}=theirs", f"output={folder / 'run'}"]
        if verb == "train":
            np.save(folder / "a.npy", np.zeros((9, molecule().n_atoms, 3), np.float32))
            (folder / "a.pdb").write_bytes((PDB).read_bytes())
            given += [f"data.trajectories={folder / 'a.npy'}", f"data.topology={folder / 'a.pdb'}"]
            given += ["data.frame_spacing_ps=1.0", *(["encoder=tica"] if group == "logger" else [])]
        assert main([verb, *given]) == 2

    return attempt


def _python_force(folder: Path, made: Path) -> None:
    content = pickle.dumps(Payload(made)).hex()
    (folder / "system.xml").write_text(
        '<?xml version="1.0" ?><System openmmVersion="8.4" type="System" version="1"><Forces>'
        f'<Force type="PythonForce" version="1" computation="{content}"/></Forces></System>'
    )
    main(["simulate", "system=openmm_xml", f"system.xml={folder / 'system.xml'}", f"output={folder / 'run'}"])


def _simulator(folder: Path, made: Path) -> None:
    (folder / "simulator.json").write_text('{"encoder": "e", "propagator": "../p", "decoder": "d"}')
    for name in "ed":
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(f"_target_: os.mkdir\n_args_: [{made}]\n")
    load(folder)


def attempts() -> Iterator[tuple[str, Attempt]]:
    """Everything hostile, by name."""
    for name in ("encoder.safetensors", "propagator.ckpt"):
        yield f"pickle as {name}", _pickled(name, load_model)
    for suffix in FOREIGN:
        yield f"pickle as {suffix}", _pickled(f"a.{suffix}", lambda file: open_trajectories(file, molecule(), 0.5))
    yield "torch.save as a model", _torch_saved
    yield "objects in npy", _objects
    yield "attributes of h5", _h5
    yield "h5 of an encoder's run", _h5_of_encoder_run
    yield "a simulator's folders", _simulator
    yield "PythonForce", _python_force
    for tag in ("object/apply:os.mkdir", "object/new:os.mkdir"):
        yield f"yaml {tag}", _yaml(tag)
    for target in TARGETS:
        for verb, groups in GROUPS.items():
            for group in groups:
                yield f"{verb} {group} {target}", _config(verb, group, target)


def _flips(kind: Kind, folder: Path, rng: np.random.Generator) -> tuple[int, int, int]:
    """Single flipped bits of a foreign file: how many are refused, read as before, and read as other numbers."""

    def content(place: Path) -> Any:
        opened = open_trajectories(place / kind.files[0], molecule(), None if kind.name in ("xtc", "h5") else 0.5)
        return [opened.positions(index) for index in range(len(opened))]

    folder.mkdir()
    kind.make(folder)
    before, expected = (folder / kind.files[0]).read_bytes(), content(folder)
    refused = same = 0
    for bit in rng.integers(0, 8 * len(before), N_FLIPPED).tolist():
        changed = bytearray(before)
        changed[bit // 8] ^= 1 << bit % 8
        (folder / kind.files[0]).write_bytes(changed)
        try:
            found = content(folder)
        except MdgenError:
            refused += 1
            continue
        same += len(found) == len(expected) and all(
            np.array_equal(one, other) for one, other in zip(found, expected, strict=True)
        )
    return refused, same, N_FLIPPED - refused - same


def _own_flips(folder: Path, rng: np.random.Generator) -> tuple[int, int]:
    """Flipped bits of the files of a run: how many there were, and how many `mdgen verify` did not notice."""
    missed = tried = 0
    for name in FILES:
        before = (folder / name).read_bytes()
        for bit in rng.integers(0, 8 * len(before), N_FLIPPED // 4).tolist():
            changed = bytearray(before)
            changed[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(changed)
            tried += 1
            missed += not verify(folder).damage
        (folder / name).write_bytes(before)
    return tried, missed


@pytest.mark.parametrize("target", TARGETS)
def test_without_the_guard_a_config_would_run_code(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the attempts below name is what does harm, where anything may be called."""

    monkeypatch.setitem(registry._PARTS, target, None)
    with suppress(Exception):
        _config("simulate", "system", target)(tmp_path, tmp_path / "made")
    assert (tmp_path / "made").exists()


@pytest.mark.slow
def test_nothing_runs_breaks_or_is_lost(run: Path, tmp_path: Path) -> None:  # noqa: F811 (the fixture)
    rng, figures = np.random.default_rng(0), {}
    tried, ran = list(attempts()), []
    for number, (name, attempt) in enumerate(tried):
        folder = tmp_path / f"hostile-{number}"
        folder.mkdir()
        with suppress(MdgenError):  # any other error is a traceback
            attempt(folder, folder / "made")
        ran += [name] * (folder / "made").exists()
    faults, n_fuzzed = [], 0
    for kind in KINDS:
        n = N_FUZZED // len(KINDS) + 1
        (tmp_path / "fuzz" / kind.name).mkdir(parents=True)
        faults += fuzz(kind, tmp_path / "fuzz" / kind.name, n, 2)[0]
        n_fuzzed += n
    own, missed = _own_flips(run, rng)
    foreign = {kind.name: _flips(kind, tmp_path / f"flips-{kind.name}", rng) for kind in KINDS if kind.name in FOREIGN}
    noticed = sum(refused for refused, *_ in foreign.values()) / (N_FLIPPED * len(foreign))
    kills, kill_rows = check_kills(N_KILLS)
    figures = {
        "hostile_inputs": [name for name, _ in tried],
        "fuzzed_inputs": n_fuzzed,
        "bits_flipped_in_files_of_a_run": own,
        "bits_flipped_in_foreign_files": {
            name: dict(zip(("refused", "read_alike", "read_as_other_numbers"), counts, strict=True))
            for name, counts in foreign.items()
        },
        **kills,
    }
    rows = [
        Acceptance.below(f"code_run_by_{len(tried)}_hostile_inputs", Estimate(len(ran)), 0),
        Acceptance.below(f"tracebacks_of_{n_fuzzed}_fuzzed_inputs", Estimate(len(faults)), 0),
        Acceptance.below(f"missed_of_{own}_bits_flipped_in_runs", Estimate(missed), 0),
        Acceptance.judged("share_noticed_in_foreign_files", Estimate(noticed), "no bound: most have no checksum", True),
        *kill_rows,
    ]
    if "HARDENING_OUTPUT" in os.environ:
        output = os.environ["HARDENING_OUTPUT"]
        told = {**provenance(0), "command": COMMAND.format(output=output)}
        write_result(Path(output), {"provenance": told, **figures}, rows)
    assert not ran
    assert not faults, "\n".join(faults[:20])
    assert all(row.holds for row in rows)
    shutil.rmtree(tmp_path, ignore_errors=True)
