"""Help a newcomer understands; what a verb's keys mean is read from the comments of its config file."""

from pathlib import Path

from mdgen.apps.config_folder import config_folder, option_names
from mdgen.apps.verbs import VERBS


def overview() -> str:
    """The text of `mdgen --help`."""
    width = max(map(len, VERBS))
    lines = [f"  {name.ljust(width)}   {verb.summary}" for name, verb in VERBS.items()]
    return (
        "mdgen learns from molecular dynamics trajectories and generates new ones.\n\n"
        "usage: mdgen VERB [key=value ...]\n\n"
        + "\n".join(lines)
        + "\n\nmdgen VERB --help   what a verb does, its keys with their defaults, examples\n"
        "mdgen VERB --cfg    the config that a command would run with, without running it\n\n"
        "A first run:        mdgen demo\n"
        "Units:              every key that has one carries it: lag_ps, temperature_K, length_ns, timestep_fs\n"
    )


def verb_help(name: str) -> str:
    """The text of `mdgen VERB --help`."""
    verb, folder = VERBS[name], config_folder()
    parts = [f"mdgen {name}: {verb.summary}\n\n{verb.explanation}\n"]
    parts.append("Examples\n" + "".join(f"  {example}\n" for example in verb.examples))
    parts.append(f"Keys of conf/{name}.yaml, with their defaults\n" + _body(folder / f"{name}.yaml"))
    for group in verb.groups:
        options = option_names(group)
        parts.append(f"{group}=...  one of: {', '.join(options)}\n")
        parts.extend(f"  {group}={option}\n" + _body(folder / group / f"{option}.yaml", "  ") for option in options)
    return "\n".join(parts)


def _body(path: Path, indent: str = "") -> str:
    lines, in_defaults = [], False
    for line in path.read_text().splitlines():
        if line.startswith("defaults:"):
            in_defaults = True
        elif in_defaults and line and not line.startswith((" ", "-")):
            in_defaults = False
        if not in_defaults and line.strip() and "_target_" not in line:
            lines.append(f"{indent}  {line}\n")
    return "".join(lines)
