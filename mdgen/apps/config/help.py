"""Help a newcomer understands; what a verb's keys mean is read from the comments of its config files."""

import re
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from textwrap import indent

import yaml

from mdgen.apps.config.search_path import config_file, experiment_verbs, is_group, option_names
from mdgen.apps.verbs import RUN_FOLDER_VERBS, VERBS


@dataclass(frozen=True)
class Included:
    """What a verb's config includes: a group of options, or another verb's config, under a key of its own."""

    name: str
    key: str
    default: str | None


def included(verb: str) -> list[Included]:
    """What `conf/<verb>.yaml` includes, in order."""
    document = yaml.safe_load(config_file(verb).read_text())
    found = []
    for entry in document.get("defaults", []):
        text, option = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        if text == "_self_" or text.startswith("override "):
            continue
        name, _, key = text.removeprefix("optional ").partition("@")
        found.append(Included(name, key or name, option))
    return found


def overview() -> str:
    """The text of `mdgen --help`."""
    width = max(map(len, VERBS))
    lines = [f"  {name.ljust(width)}   {verb.summary}" for name, verb in VERBS.items()]
    return (
        "mdgen learns from molecular dynamics trajectories and generates new ones.\n\n"
        "usage: mdgen VERB [key=value ...]\n\n"
        + "\n".join(lines)
        + "\n\nmdgen VERB --help                   what a verb does, its keys with their defaults, examples\n"
        "mdgen VERB --cfg job                the config that a command would run with, without running it\n"
        "mdgen VERB --info                   the same, with the files and parts that it comes from\n"
        "mdgen VERB debug=fast ...           tiny settings, to see whether a command works\n"
        "mdgen VERB --multirun key=A,B ...   a run for each value, or each line of a file: key=@FILE\n"
        "mdgen VERB plugins=[MODULE] ...     with parts of your own: encoders, propagators, decoders, potentials\n"
        'eval "$(mdgen --shell-completion install=bash)"   completion of verbs, keys and options (or zsh, fish)\n\n'
        "A first run:        mdgen demo\n"
        "Units:              every key that has one carries it: lag_ps, temperature_K, length_ns, timestep_fs\n"
    )


def verb_help(name: str) -> str:
    """The text of `mdgen VERB --help`."""
    verb = VERBS[name]
    parts = [f"mdgen {name}: {verb.summary}\n\n{cleandoc(verb.explanation)}\n"]
    parts.append(f"Examples\n{indent(cleandoc(verb.examples), '  ')}\n")
    parts.append(f"Keys of conf/{name}.yaml, with their defaults\n" + _body(config_file(name)))
    first: dict[str, str] = {}
    for each in included(name):
        same = first.setdefault(each.name, each.key)
        parts.append(_section(each, name) if same == each.key else f"{each.key}.KEY=...  as for {same}\n")
    parts += [_SWEEPS if name in RUN_FOLDER_VERBS else "", _OWN_PARTS]
    return "\n".join(part for part in parts if part)


_SWEEPS = """--multirun (-m)  several runs by one command, each in a folder of its own in `output`
  key=A,B,C                 a run for each value; with several such keys, for each combination
  key=@FILE                 a run for each line of a file, such as a file of sequences; lines of # are passed over
  hydra/launcher=basic      one after another; joblib: in processes of this machine (hydra.launcher.n_jobs=4);
                            submitit_slurm: as jobs of a cluster (hydra.launcher.cpus_per_task=8 ...), submitit_local
  The same command again continues: what is done is left alone. Runs that fail are named at the end. All runs end in
  summary.csv, a line for each, and summary.svg, every metric against every key that has several values.
"""

_OWN_PARTS = """--cfg job             the config that this command would run with; --package KEY shows a part of it
--info                the same, with the folders, files and parts that it comes from
debug=fast            tiny settings of conf/debug/fast.yaml, into runs/debug, to see whether a command works
plugins=[MODULE,...]  modules of your own, on PYTHONPATH or in this folder, that register parts with
                      mdgen.registry.register; a folder `conf` beside one holds its configs, conf/encoder/mine.yaml
--config-dir FOLDER   configs of your own, such as FOLDER/experiment/mine.yaml
"""


def _section(part: Included, verb: str) -> str:
    """The options of a group with their keys, or a word on which verb's keys these are."""
    if not is_group(part.name):
        return f"{part.key}.KEY=...  any key of `mdgen {part.name} --help`\n"
    options = option_names(part.name)
    if part.name == "experiment":
        options = [name for name in options if verb in (experiment_verbs(name) or [verb])]
    if not options:
        return ""
    if len(options) == 1 and part.default is not None:
        return f"{part.key}.KEY=...\n" + _body(config_file(f"{part.name}/{options[0]}"))
    group = part.key if part.key == part.name else f"{part.name}@{part.key}"
    default = "none is the default" if part.default is None else f"{part.default} is the default"
    bodies = [
        f"\n  {group}={option}\n{indent(_body(config_file(f'{part.name}/{option}')), '  ')}" for option in options
    ]
    return f"{group}=...  one of {', '.join(options)}; {default}\n{''.join(bodies)}"


def _body(path: Path) -> str:
    """The lines of a config, without what includes others or names our own classes."""
    lines, in_defaults = [], False
    for line in path.read_text().splitlines():
        if line.startswith("defaults:"):
            in_defaults = True
        elif in_defaults and line and not line.startswith((" ", "-")):
            in_defaults = False
        ours = re.search(r"_target_: (?!\?)|_partial_|@package", line)
        if not in_defaults and line.strip() and not ours:
            lines.append(f"  {line}\n")
    return "".join(lines)
