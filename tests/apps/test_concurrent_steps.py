"""Steps side by side: where one fails, nobody waits for the others."""

from pathlib import Path

import pytest

from mdgen.apps.config.composition import complete, compose
from mdgen.apps.runs.concurrent_steps import run_concurrently
from mdgen.errors import MdgenError


def test_a_step_that_fails_stops_the_others(tmp_path: Path) -> None:
    long = complete(compose("benchmark", ["suite=four_wells", "threads=1", f"output={tmp_path}/wells.json"]))
    wrong = complete(compose("export", [f"run={tmp_path}/nowhere"]))
    with pytest.raises(MdgenError, match=r"^export \(exit status 2\) failed, as said above"):
        run_concurrently({"wells": ("benchmark", long), "export": ("export", wrong)}, [])
    assert not (tmp_path / "wells.json").exists()
