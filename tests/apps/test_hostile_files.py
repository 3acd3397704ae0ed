"""Fuzzed files: whatever is in them, they are read, or refused in one sentence, and soon."""

import logging
import shutil
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from mdgen.apps.runs.screen import show_on_screen
from mdgen.documents import read_yaml
from mdgen.errors import MdgenError
from tests.hostile_files import ALIAS_BOMB, KINDS, Kind, spoilt

SLOWEST_S = 5.0
"""Of one input, on a machine that others use; what is refused takes milliseconds."""


def fuzz(kind: Kind, folder: Path, n_inputs: int, seed: int) -> tuple[list[str], int]:
    """Read spoilt inputs of a kind: what went wrong with which of them, and how many were refused in one sentence."""
    whole, place = folder / "whole", folder / "spoilt"
    whole.mkdir()
    kind.make(whole)
    shutil.copytree(whole, place)
    if kind.reads_whole:
        kind.read(place)  # and kernels are compiled, modules imported
    rng, faults, refused = np.random.default_rng(seed), [], 0
    for number in range(n_inputs):
        shutil.rmtree(place)
        shutil.copytree(whole, place)
        file = place / kind.files[rng.integers(len(kind.files))]
        file.write_bytes(spoilt(file.read_bytes(), rng))
        begin, said = time.monotonic(), ""
        try:
            kind.read(place)
        except MdgenError as error:
            said = str(error)
        except Exception:  # noqa: BLE001 (whatever it is, it is a fault)
            faults.append(f"input {number} ({file.name}): {traceback.format_exc()}")
        refused += bool(said)
        if "\n" in said or len(said) >= 2_000:
            faults.append(f"input {number} ({file.name}) is refused in more than a sentence: {said[:2_000]}")
        seconds = time.monotonic() - begin
        if seconds >= SLOWEST_S:
            faults.append(f"input {number} ({file.name}) takes {seconds:.1f} s")
    return faults, refused


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_few_hundred_inputs(kind: Kind, tmp_path: Path) -> None:
    faults, refused = fuzz(kind, tmp_path, 25, 0)
    assert not faults, "\n".join(faults)
    assert refused > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_two_thousand_inputs(kind: Kind, tmp_path: Path) -> None:
    faults, refused = fuzz(kind, tmp_path, 2_000 // len(KINDS) + 1, 1)
    assert not faults, "\n".join(faults)
    assert refused > 0


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_bytes(ALIAS_BOMB)
    begin = time.monotonic()
    with pytest.raises(MdgenError, match="alias"):
        read_yaml(tmp_path / "bomb.yaml", "write it again")
    assert time.monotonic() - begin < 1


def test_signs_that_steer_a_terminal_are_spelled_out(capsys: pytest.CaptureFixture) -> None:
    show_on_screen()
    logging.getLogger("mdgen").error("atom %s", "\x1b[2J\x07\u202egpj\x9b")
    assert capsys.readouterr().err == "atom \\x1b[2J\\x07\\u202egpj\\x9b\n"
