"""Where the configs lie and what options they offer."""

import re
from pathlib import Path

import mdgen


def config_folder() -> Path:
    """The folder of configs: inside the package when it was installed from a wheel, beside it in a checkout."""
    package = Path(mdgen.__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "demo.yaml").is_file():
            return folder
    raise FileNotFoundError(f"the configs are missing beside {package}; the installation is broken")


def option_names(group: str) -> list[str]:
    """The options of a config group, by name."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def experiment_verbs(name: str) -> list[str]:
    """The verbs that an experiment is for: those of the commands in the comments of its file."""
    text = (config_folder() / "experiment" / f"{name}.yaml").read_text()
    return sorted(set(re.findall(r"^# +mdgen (\w+) ", text, flags=re.MULTILINE)))
