"""A lag that is left open is chosen from the data, written down and drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mdgen.apps.config.composition import compose, plain
from mdgen.apps.runs.lag_scan_files import write_lag_scan
from mdgen.errors import MdgenError
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.encoders.tica import TICA
from mdgen.training.train import train
from tests.models.parts import FEATURES, trajectories


def test_the_command_line_takes_auto_and_nothing_else_for_a_lag() -> None:
    config: dict[str, Any] = plain(compose("train", ["encoder=srv", "encoder.model.lag_ps=auto"]))
    assert config["encoder"]["model"]["lag_ps"] == "auto"
    with pytest.raises(MdgenError, match="lag_ps"):
        compose("train", ["encoder=srv", "encoder.model.lag_ps=automatic"])


def test_a_trained_encoder_says_by_what_its_lag_was_chosen(tmp_path: Path) -> None:
    encoder = TICA(FEATURES, "auto", n_modes=2)
    scan = train(encoder, trajectories())["lag_scan"]
    assert encoder.lag_ps == scan["lag_ps"]
    assert torch.isfinite(encoder.timescales_ps[0])
    write_lag_scan(tmp_path, scan)
    assert json.loads((tmp_path / "lag_scan.json").read_text()) == scan
    assert (tmp_path / "lag_scan.png").read_bytes()[:4] == b"\x89PNG"
    save_model(tmp_path / "encoder.safetensors", encoder)
    assert load_model(tmp_path / "encoder.safetensors").lag_ps == scan["lag_ps"]
