"""A demo that is killed again and again ends in the report of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mdgen.data.store import TrajectoryStore
from tests.apps.small_demo import SMALL_DEMO

COMMAND = [
    *(sys.executable, "-m", "mdgen", "demo", "threads=1", "four_wells=null", *SMALL_DEMO),
    *(f"train_{part}.{part}.training.n_steps=300" for part in ("encoder", "propagator", "decoder")),
]
MADE = [
    "simulate/trajectories/manifest.json",
    "encoder/encoder.ckpt",
    "propagator/propagator.ckpt",
    "decoder/decoder.ckpt",
    "generate/trajectories/manifest.json",
    "generate/DONE",
]
"""What each run has begun to make when it is killed, a moment later."""


@pytest.mark.slow
def test_a_killed_demo_ends_in_the_same_report(tmp_path: Path) -> None:
    kept, killed = tmp_path / "kept", tmp_path / "killed"
    subprocess.run([*COMMAND, f"output={kept}"], check=True, capture_output=True)
    moments = random.Random(0)
    for number, made in enumerate(MADE):
        process = subprocess.Popen([*COMMAND, f"output={killed}"], stderr=subprocess.DEVNULL, start_new_session=True)
        while not (killed / made).exists():
            assert process.poll() is None, f"it ended without {made}"
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.5))
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL) if number % 2 else process.kill()
        process.wait()
        time.sleep(0 if number % 2 else 3)  # in which steps that outlive it see that, and end
    subprocess.run([*COMMAND, f"output={killed}"], check=True, capture_output=True)
    for step in ("simulate", "generate"):
        one, other = (TrajectoryStore.open(folder / step / "trajectories") for folder in (kept, killed))
        assert one.lengths == other.lengths
        for index in range(len(one.lengths)):
            np.testing.assert_array_equal(one.positions(index), other.positions(index))
    for part in ("encoder", "propagator", "decoder"):
        one, other = (load_file(folder / part / f"{part}.safetensors") for folder in (kept, killed))
        assert [name for name in one if not torch.equal(one[name], other[name])] == [], part
    assert _figures(kept) == _figures(killed)
    assert not list(killed.rglob("*.tmp*"))


def _figures(folder: Path) -> dict[str, Any]:
    """What the report says, but for its notes, some of which are by the clock."""
    metrics = json.loads((folder / "metrics.json").read_text())
    return {key: metrics[key] for key in ("verdict", "criteria", "rows", "blocks", "flags", "acceptance")}
