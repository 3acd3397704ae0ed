"""`mdgen verify` and the mark of a finished run: what is missing or changed is noticed."""

from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.main import main
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.verification import verify
from mdgen.data.store import TrajectoryStore
from mdgen.documents import seal
from mdgen.errors import MdgenError
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.encoders.tica import TICA
from mdgen.molecule.topology import Molecule

CONFIG = {"seed": 0, "length_ns": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a store, a model and another run in it."""
    path = tmp_path / "run"
    with open_run(path, "simulate", CONFIG) as folder:
        with TrajectoryStore.create(path / "trajectories", Molecule.particles(["A"]), 0.5, 2) as store:
            for _ in range(2):
                store.append(np.zeros((2, 5, 1, 3), np.float32))
        save_model(path / "encoder.safetensors", TICA(3, lag_ps=2.0, n_modes=2))
        (path / "tables").mkdir()
        (path / "tables" / "losses.csv").write_text("1,2\n")
        with open_run(path / "inner", "train", {"seed": 1}) as inner:
            inner.finish({})
        folder.finish({"frames": 10})
    return path


FILES = [
    "DONE",
    "config.yaml",
    "provenance.json",
    "metrics.json",
    "encoder.safetensors",
    "tables/losses.csv",
    "trajectories/manifest.json",
    "trajectories/molecule.json",
    "trajectories/chunk-00000001.npy",
    "inner/DONE",
    "inner/metrics.json",
]


def test_a_whole_run_is_whole(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(run)]) == 0
    assert "all as they were written" in capsys.readouterr().err
    assert verify(run.parent).damage == verify(run / "trajectories").damage == ()
    with open_run(run, "simulate", CONFIG) as again:
        assert again.done


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_by_verify_and_by_the_same_command(
    run: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    (run / name).unlink()
    if name != "DONE":  # without its mark, the run is just not finished
        assert main(["verify", str(run)]) == 2
        assert Path(name).name.removesuffix("DONE") in capsys.readouterr().err
        with (
            pytest.raises(MdgenError, match=r"missing|lacks|holds files|cannot be read"),
            open_run(run, "simulate", CONFIG),
        ):
            pass


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_found(run: Path, name: str) -> None:
    path = run / name
    before = path.read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(before), 24).tolist():
        changed = bytearray(before)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert verify(run).damage, f"bit {bit}"
    path.write_bytes(before)
    assert not verify(run).damage


def test_a_damaged_model_is_not_loaded(run: Path) -> None:
    path = run / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(MdgenError, match="checksum is wrong"):
        load_model(path)


def test_a_mark_that_names_files_elsewhere_is_refused(run: Path) -> None:
    (run / "DONE").write_bytes(seal(b'{"crc32": "00000000", "files": {"../secret": [1, 2]}, "folders": []}'))
    assert "not in its folder" in verify(run).damage[0]


def test_what_mdgen_did_not_write_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", f"run={tmp_path}"]) == 2
    assert main(["verify", f"run={tmp_path / 'nowhere'}"]) == 2
    assert main(["verify"]) == 2
    shown = capsys.readouterr().err
    assert "holds nothing that mdgen wrote" in shown
    assert "is no folder" in shown
    assert "run was not given" in shown
