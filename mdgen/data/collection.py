"""Trajectories of many molecules: sets side by side, opened from a list, a table or a folder."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mdgen.data.formats.zarr_array import is_zarr
from mdgen.data.store import is_store
from mdgen.data.trajectories import STORE, TrajectorySet, open_trajectories
from mdgen.errors import MdgenError

_TRAJECTORIES = (".xtc", ".dcd", ".h5", ".hdf5", ".npy")
_STRUCTURES = (".pdb", ".prmtop", ".psf", ".gro", ".cif")


class TrajectoryCollection(Sequence[TrajectorySet]):
    """Sets of trajectories, each of one molecule; one molecule may have several, as at different temperatures.

    Args:
        sets: sets of trajectories, at least one.
        names: name of each set in messages; None for the name of its first trajectory.

    Raises:
        MdgenError: if there is no set, or one trajectory stands in it twice.
    """

    def __init__(self, sets: Sequence[TrajectorySet], names: Sequence[str] | None = None) -> None:
        if not sets:
            raise MdgenError("a collection of no molecules is empty; name at least one with its trajectories")
        self._sets = tuple(sets)
        self.names = tuple(names or (each.names[0] for each in sets))
        seen: set[str] = set()
        for name in (name for each in sets for name in each.names):
            if name in seen and not name.startswith("array "):
                raise MdgenError(f"{name} stands in this collection twice; name every trajectory once")
            seen.add(name)

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, index: int) -> TrajectorySet:  # type: ignore[override]
        return self._sets[index]

    def __repr__(self) -> str:
        n_trajectories = sum(map(len, self))
        return f"TrajectoryCollection({len(self)} sets, {n_trajectories} trajectories, {self.n_frames} frames)"

    @property
    def n_frames(self) -> int:
        """Frames of all sets together."""
        return sum(each.n_frames for each in self)

    @property
    def knows_temperatures(self) -> bool:
        """Whether the temperature of every trajectory is known."""
        return all(temperature is not None for each in self for temperature in each.temperatures_K)

    def select(self, chosen: Sequence[tuple[int, int]]) -> "TrajectoryCollection":
        """Some of the trajectories, each given as the number of its set and its number in it.

        Raises:
            MdgenError: if none is chosen.
        """
        by_set: dict[int, list[int]] = {}
        for number, trajectory in sorted(chosen):
            by_set.setdefault(number, []).append(trajectory)
        return TrajectoryCollection(
            [self[number].select(trajectories) for number, trajectories in by_set.items()],
            [self.names[number] for number in by_set],
        )


@dataclass(frozen=True)
class _Entry:
    """What a table or a list says of one molecule."""

    trajectories: str | Path | Sequence[str | Path]
    topology: str | Path | None = None
    frame_spacing_ps: float | None = None
    temperature_K: float | None = None
    name: str = ""


def open_molecules(
    named: str | Path | Sequence[Mapping[str, Any]],
    frame_spacing_ps: float | None = None,
    temperature_K: float | None = None,
) -> TrajectoryCollection:
    """Open the trajectories of many molecules.

    Args:
        named: list of entries with `trajectories` and, where they need it, `topology`, `frame_spacing_ps`,
            `temperature_K` and `name`; a csv table with these columns, whose paths are relative to its folder; or a
            folder with one folder a molecule, each a run, a store, or files with a structure beside them.
        frame_spacing_ps: time between frames of entries that do not say theirs.
        temperature_K: temperature of entries that do not say theirs.

    Raises:
        MdgenError: naming the molecule whose trajectories cannot be opened.
    """
    if isinstance(named, (str, Path)):
        path = Path(named)
        if not path.exists():
            raise MdgenError(f"molecules={path} does not exist; name a folder, a csv table or a list of entries")
        entries = _entries_of_folder(path) if path.is_dir() else _entries_of_table(path)
    else:
        entries = [_entry(each, f"entry {number} of molecules") for number, each in enumerate(named)]
    sets = []
    for entry in entries:
        spacing, temperature = entry.frame_spacing_ps or frame_spacing_ps, entry.temperature_K or temperature_K
        try:
            sets.append(open_trajectories(entry.trajectories, entry.topology, spacing, temperature))
        except MdgenError as error:
            raise MdgenError(f"molecule {entry.name or entry.trajectories}: {error}") from error
    names = [entry.name or opened.names[0] for entry, opened in zip(entries, sets, strict=True)]
    return TrajectoryCollection(sets, names)


def _entry(given: Mapping[str, Any], what: str, folder: Path | None = None) -> _Entry:
    kept = {key: value for key, value in given.items() if value not in (None, "")}
    unknown = sorted(set(map(str, kept)) - {each.name for each in fields(_Entry)})
    if unknown or "trajectories" not in kept:
        lacking = f"has no key {unknown[0]!r}" if unknown else "lacks trajectories"
        raise MdgenError(f"{what} {lacking}; expected {', '.join(each.name for each in fields(_Entry))}")
    for key in ("frame_spacing_ps", "temperature_K"):
        if key in kept:
            try:
                kept[key] = float(kept[key])
            except (TypeError, ValueError):
                raise MdgenError(f"{what} says {key} is {kept[key]!r}; expected a number") from None
    if folder is not None:
        kept |= {key: folder / kept[key] for key in ("trajectories", "topology") if key in kept}
    return _Entry(**kept)


def _entries_of_table(path: Path) -> list[_Entry]:
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, restkey="more columns than its first line"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MdgenError(f"{path} is no csv table ({error}); give one with a column trajectories") from error
    return [_entry(row, f"line {number} of {path}", path.parent) for number, row in enumerate(rows, start=2)]


def _entries_of_folder(path: Path) -> list[_Entry]:
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise MdgenError(f"molecules={path} holds no folders; expected one a molecule, each with its trajectories")
    return [_entry_of_folder(folder) for folder in folders]


def _entry_of_folder(folder: Path) -> _Entry:
    if is_store(folder) or is_store(folder / STORE):
        return _Entry(folder, name=folder.name)
    files = sorted(each for each in folder.iterdir() if each.is_file() or is_zarr(each))
    trajectories = [each for each in files if each.suffix.lower() in _TRAJECTORIES or is_zarr(each)]
    structures = [each for each in files if each.suffix.lower() in _STRUCTURES]
    if not trajectories:
        raise MdgenError(
            f"{folder} holds no trajectories; expected a run, a store, or files {', '.join(_TRAJECTORIES)}"
        )
    if len(structures) > 1:
        raise MdgenError(f"{folder} holds {len(structures)} structures; keep the one that its trajectories belong to")
    return _Entry(trajectories, structures[0] if structures else None, name=folder.name)
