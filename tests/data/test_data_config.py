"""The config of many molecules opens, splits, cuts and batches what it names."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from mdgen.apps.trajectories import open_data, open_windows
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError

from .conftest import argon, walk

CONF = Path(__file__).parents[2] / "conf" / "data"


@pytest.fixture
def config(tmp_path: Path) -> dict:
    for number in range(1, 6):
        with TrajectoryStore.create(tmp_path / f"{number}", argon(number), 0.2, 1, {"temperature_K": 300}) as store:
            store.append(walk(40, number, number)[None])
    files = [OmegaConf.load(CONF / name) for name in ("trajectories.yaml", "molecules.yaml")]
    return OmegaConf.to_container(OmegaConf.merge(*files, {"molecules": str(tmp_path), "frames": 4}))


def test_windows_of_a_config(config: dict) -> None:
    training, validation, test = open_windows({**config, "fraction": [0.0, 0.5], "window_spacing_ps": 0.4}, seed=3)
    loaders = [training, validation, test]
    assert sum(len(loader.dataset) for loader in loaders) == 5 * 14
    molecules = [each.molecule.n_atoms for loader in loaders for each in loader.dataset.collection]
    assert sorted(molecules) == [1, 2, 3, 4, 5]
    batches = list(training)
    assert max(map(len, batches)) == 16
    assert all(batch.positions.shape[1] == 4 and np.allclose(batch.context.temperature_K, 300) for batch in batches)


def test_one_molecule_is_a_collection_too(config: dict, tmp_path: Path) -> None:
    config |= {"molecules": None, "trajectories": str(tmp_path / "3"), "validation_share": 0, "test_share": 0}
    training, validation, test = open_windows(config, seed=3)
    assert len(training.dataset) == 37
    assert validation is test is None


def test_one_molecule_is_not_many(config: dict) -> None:
    with pytest.raises(MdgenError, match=r"data\.molecules names many molecules where one is needed"):
        open_data(config)
    with pytest.raises(MdgenError, match="both given"):
        open_windows({**config, "trajectories": "run"}, 0)


def test_molecules_to_validate_on_are_named(config: dict, tmp_path: Path) -> None:
    with TrajectoryStore.create(tmp_path / "validation/7", argon(7), 0.2, 1, {"temperature_K": 300}) as store:
        store.append(walk(40, 7, 7)[None])
    known = {
        **config,
        "validation_molecules": str(tmp_path / "validation"),
        "molecules": [{"trajectories": str(tmp_path / "1")}],
    }
    training, validation, test = open_windows({**known, "test_share": 0.0}, seed=3)
    assert [each.molecule.n_atoms for each in training.dataset.collection] == [1]
    assert [each.molecule.n_atoms for each in validation.dataset.collection] == [7]
    assert test is None
    with pytest.raises(MdgenError, match=r"of data\.validation_molecules is .* of data\.molecules as well"):
        open_windows({**known, "validation_molecules": [{"trajectories": str(tmp_path / "1")}]}, seed=3)
