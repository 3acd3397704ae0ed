"""Opening the trajectories that a config names."""

from dataclasses import replace
from typing import Any

import torch

from mdgen.apps.config.instantiation import instantiate, required
from mdgen.data.collection import TrajectoryCollection, open_molecules
from mdgen.data.loading import WindowLoader, WindowLoaders
from mdgen.data.splits import split_collection, take_fraction
from mdgen.data.trajectories import STORE, TrajectorySet, open_trajectories
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError

__all__ = ["STORE", "open_collection", "open_data", "open_windows"]


def open_data(config: dict[str, Any], what: str = "data") -> TrajectorySet:
    """The trajectories of one molecule that a `data` config names: files or stores, and the fraction of their frames.

    Args:
        config: `trajectories`, `topology`, `frame_spacing_ps`, `temperature_K`, `fraction`.
        what: name of the config, for messages.

    Raises:
        MdgenError: if none are named, or they cannot be read as asked.
    """
    named = config.get("trajectories")
    if config.get("molecules") is not None:
        raise MdgenError(f"{what}.molecules names many molecules where one is needed; name {what}.trajectories instead")
    if named is None or named == []:
        raise MdgenError(f"no trajectories were named: give {what}.trajectories=FILES (a run folder, files or a glob)")
    opened = open_trajectories(named, config.get("topology"), *_known(config))
    return take_fraction(opened, *_fraction(config, what))


def open_collection(config: dict[str, Any], what: str = "data") -> TrajectoryCollection:
    """The trajectories of many molecules that a `data` config names as `molecules`, or of one as `trajectories`.

    Raises:
        MdgenError: if none are named, or they cannot be read as asked.
    """
    if config.get("molecules") is None:
        return TrajectoryCollection([open_data(config, what)])
    if config.get("trajectories") is not None:
        raise MdgenError(f"{what}.molecules and {what}.trajectories were both given; name the data once")
    opened = open_molecules(config["molecules"], *_known(config))
    kept = [take_fraction(each, *_fraction(config, what)) for each in opened]
    return TrajectoryCollection(kept, opened.names)


def open_windows(config: dict[str, Any], seed: int) -> WindowLoaders:
    """Loaders of the training, validation and test windows that a config `data=molecules` describes.

    Args:
        config: what `open_collection` reads, and `frames`, `window_spacing_ps`, `hop_ps`, `split_by`,
            `validation_molecules`, `validation_share`, `test_share` and `loader`, the arguments of `WindowLoader`.
        seed: seed of the split and of the order of the batches.

    Raises:
        MdgenError: if the data cannot be opened, split, cut into windows or batched as asked, or a molecule to validate
            on is one to learn from.
    """
    required({"data.frames": config["frames"]}, "data.frames")
    shares = float(config["validation_share"]), float(config["test_share"])
    generator = torch.Generator().manual_seed(seed)
    collection, named = open_collection(config), config.get("validation_molecules")
    known = None if named is None else open_collection({**config, "molecules": named, "trajectories": None})
    for each in (*collection, *(known or ())):
        each.verify()
    if known is None:
        split = split_collection(collection, *shares, generator, config["split_by"])
    else:
        _require_others(known, collection)
        split = split_collection(collection, 0.0, shares[1], generator, config["split_by"])
        split = replace(split, validation=known)

    def loader(part: TrajectoryCollection, shuffle: bool) -> WindowLoader:
        windows = WindowDataset(part, int(config["frames"]), config["window_spacing_ps"], config["hop_ps"])
        made: WindowLoader = instantiate(config["loader"], dataset=windows, shuffle=shuffle, seed=seed)
        return made

    kept_back = [None if part is None else loader(part, False) for part in (split.validation, split.test)]
    return WindowLoaders(loader(split.training, True), *kept_back)


def _require_others(validation: TrajectoryCollection, others: TrajectoryCollection) -> None:
    learnt = {each.molecule.fingerprint: name for each, name in zip(others, others.names, strict=True)}
    for each, name in zip(validation, validation.names, strict=True):
        same = learnt.get(each.molecule.fingerprint)
        if same is not None:
            raise MdgenError(
                f"{name} of data.validation_molecules is {same} of data.molecules as well; name molecules there that "
                "nothing learns from"
            )


def _known(config: dict[str, Any]) -> list[float | None]:
    """What the config says of files that do not say it: the frame spacing and the temperature."""
    found = [config.get(key) for key in ("frame_spacing_ps", "temperature_K")]
    return [None if value is None else float(value) for value in found]


def _fraction(config: dict[str, Any], what: str) -> tuple[float, float]:
    ends = config["fraction"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise MdgenError(f"{what}.fraction is {ends}; expected two numbers, such as [0.0, 0.5]")
    return float(ends[0]), float(ends[1])
