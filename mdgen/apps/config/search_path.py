"""Where configs lie: those of this package, those that plug-ins carry, and the folders of `--config-dir`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import mdgen
from mdgen.errors import MdgenError
from mdgen.registry import load_plugins

_ADDED: list[Path] = []


def config_folder() -> Path:
    """The folder of configs: inside the package when it was installed from a wheel, beside it in a checkout."""
    package = Path(mdgen.__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "demo.yaml").is_file():
            return folder
    raise FileNotFoundError(f"the configs are missing beside {package}; the installation is broken")


def search_folders() -> tuple[Path, ...]:
    """All folders of configs, those of this package first."""
    return (config_folder().resolve(), *_ADDED)


def add_to_search_path(plugins: Sequence[str] = (), folders: Sequence[str] = ()) -> None:
    """Load plug-ins and let the search path be: our own configs, the `conf` beside each plug-in, and `folders`.

    Args:
        plugins: names of modules, importable from PYTHONPATH or the folder that one runs in.
        folders: a user's own folders of configs.

    Raises:
        MdgenError: if a plug-in cannot be imported, or a folder does not exist.
    """
    if plugins and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    found = [Path(file).parent / "conf" for name in load_plugins(plugins) if (file := sys.modules[name].__file__)]
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise MdgenError(f"--config-dir {folder} is no folder; name one that holds configs such as encoder/my.yaml")
    existing = [each.resolve() for each in [*found, *map(Path, folders)] if each.is_dir()]
    _ADDED[:] = [each for each in dict.fromkeys(existing) if each != config_folder().resolve()]


def is_group(name: str) -> bool:
    """Whether a name is a config group: one of our own, or one that a config of the user's has in its defaults list.

    Any other folder beside a user's configs, such as `output`, is none, and leaves the key of that name alone.
    """
    if (config_folder() / name).is_dir():
        return True
    entry = re.compile(rf"^ *- (?:override )?/{re.escape(name)}(?:@[\w.]+)?:", flags=re.MULTILINE)
    return is_folder(name) and any(
        entry.search(path.read_text()) for folder in _ADDED for path in sorted(folder.glob("*/*.yaml"))
    )


def is_folder(name: str) -> bool:
    """Whether a user's folder of configs has a folder of that name, which Hydra takes for a group."""
    return any((folder / name).is_dir() for folder in _ADDED)


def option_names(group: str) -> list[str]:
    """The options of a config group, by name."""
    return sorted({path.stem for folder in search_folders() for path in (folder / group).glob("*.yaml")})


def config_file(name: str) -> Path:
    """The first file `name`.yaml on the search path."""
    return next(path for folder in search_folders() if (path := folder / f"{name}.yaml").is_file())


def experiment_verbs(name: str) -> list[str]:
    """The verbs that an experiment is for: those of the commands in the comments of its file."""
    text = config_file(f"experiment/{name}").read_text()
    return sorted(set(re.findall(r"^# +mdgen (\w+) ", text, flags=re.MULTILINE)))
