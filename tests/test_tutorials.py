"""The tutorial notebooks run on small settings, and show what their code does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.module_from_file import module_from_file

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "notebooks/tutorials"
RUNNER = ROOT / "notebooks/run_tutorials.py"
NAMES = sorted(path.stem for path in TUTORIALS.glob("*.ipynb"))
MD = {"engine_name": "torch", "solvent": "vacuum"}
"""Of simulations that need no kernels to be compiled."""

SMALL: dict[str, dict[str, object]] = {
    "differentiable_dynamics": {"n_waters": 25, "edge_nm": 1.0, "cutoff_nm": 0.45, "warm_steps": 20, "n_frames": 3,
                                "n_iterations": 8, "longest": 20, "parting_steps": 40},
    "engine": {"engine_name": "torch", "n_replicas": 2, "length_ns": 0.004, "equilibration_ns": 0.0004,
               "save_ps": 0.04},
    "evaluation": {**MD, "n_replicas": 8, "length_ns": 0.004, "save_ps": 0.02, "resamples": 10, "permutations": 99},
    "latent_simulator": {**MD, "n_replicas": 8, "length_ns": 0.006, "lag_ps": 0.08, "encoder_epochs": 2,
                         "propagator_epochs": 2, "decoder_steps": 10, "n_generated": 2, "n_frames": 40},
    "trajectory_tokens": {"md_engine": "torch", "md_solvent": "vacuum", "md_replicas": 2, "md_length_ns": 0.004,
                          "md_save_ps": 0.04, "n_trajectories": 4, "n_frames": 48},
}  # fmt: skip
"""Parameters of each notebook with which it takes a minute at most."""

LARGEST_BYTES = 400_000


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        yield tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # of settings far too small to mean anything
def test_a_notebook_runs_from_its_first_cell_to_its_last(name: str, in_folder: Path) -> None:
    module = module_from_file(RUNNER)
    notebook = module.read_notebook(name)
    module.run_notebook(notebook, SMALL[name])
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [each for cell in cells for each in cell["outputs"] if "image/png" in each.get("data", {})]
    assert pictures


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_what_its_code_made(name: str) -> None:
    """Outputs are kept in git, so that a reader sees them without running anything; code changed since is noticed."""
    module = module_from_file(RUNNER)
    notebook = module.read_notebook(name)
    assert notebook["metadata"].get("code_digest") == module.code_digest(notebook), (
        f"the code of {name} was changed; run notebooks/run_tutorials.py {name}"
    )
    assert (TUTORIALS / f"{name}.ipynb").stat().st_size < LARGEST_BYTES
    outputs = [each for cell in notebook["cells"] for each in cell.get("outputs", [])]
    assert any("image/png" in each.get("data", {}) for each in outputs)
    assert not [each for each in outputs if each["output_type"] == "error"]


def test_every_notebook_is_linked_and_links_to_what_there_is() -> None:
    assert set(NAMES) == set(SMALL)
    readme = (ROOT / "README.md").read_text()
    for name in NAMES:
        assert f"notebooks/tutorials/{name}.ipynb" in readme
        text = (TUTORIALS / f"{name}.ipynb").read_text()
        assert set(re.findall(r"\((\w+)\.ipynb\)", text)) <= set(NAMES)


def test_a_parameter_that_the_notebook_does_not_have_is_refused() -> None:
    cell = {"cell_type": "code", "source": ["n = 1"], "metadata": {"tags": ["parameters"]}, "outputs": []}
    notebook = {"cells": [cell, {**cell, "source": ["m = 2 * n\n", "m"], "metadata": {}}], "metadata": {}}
    module = module_from_file(RUNNER)
    assert module.run_notebook(notebook, {"n": 3})["m"] == 6
    assert notebook["cells"][1]["outputs"][0]["data"]["text/plain"] == ["6"]
    with pytest.raises(KeyError, match="no parameters"):
        module.run_notebook(notebook, {"k": 3})
