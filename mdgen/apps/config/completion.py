"""Shell completion of verbs, keys, options and choices, read from the config files without importing any part.

`eval "$(mdgen --shell-completion install=bash)"` switches it on; zsh and fish have theirs.
"""

import shlex
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from mdgen.apps.config.flags import KINDS, OPTIONS
from mdgen.apps.config.help import included
from mdgen.apps.config.search_path import config_file, is_group, option_names
from mdgen.apps.sweeps.launchers import LAUNCHERS
from mdgen.apps.verbs import VERBS
from mdgen.errors import MdgenError

SHELLS = {
    # Bash splits words at `=` where COMP_WORDBREAKS says so, and then takes only what follows it.
    "bash": r"""_mdgen() {
  local line="${COMP_LINE:0:COMP_POINT}" word each prefix=""
  word="${line##* }"
  [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]] && prefix="${word%=*}="
  COMPREPLY=()
  while IFS= read -r each; do COMPREPLY+=("${each#"$prefix"}"); done \
    < <(mdgen --shell-completion query="$line" 2>/dev/null)
}
complete -o nospace -o default -F _mdgen mdgen
""",
    "zsh": r"""_mdgen() {
  local -a found
  found=("${(@f)$(mdgen --shell-completion query="$LBUFFER" 2>/dev/null)}")
  [[ -n "$found" ]] && compadd -Q -S '' -- $found || _files
}
compdef _mdgen mdgen
""",
    "fish": r"""complete -c mdgen -a '(mdgen --shell-completion query=(commandline -cp) 2>/dev/null)'
""",
}
"""What each shell evaluates."""


def shell_completion(argument: str) -> str:
    """The text of `mdgen --shell-completion ARGUMENT`: a shell's code, or the completions of a line.

    Args:
        argument: `install=bash`, `install=zsh`, `install=fish`, or `query=LINE`.

    Raises:
        MdgenError: for another one.
    """
    kind, _, value = argument.partition("=")
    if kind == "query":
        return "".join(f"{each}\n" for each in completions(value))
    if kind != "install" or value not in SHELLS:
        raise MdgenError(
            f"--shell-completion {argument}: expected install={'|'.join(SHELLS)}, as in "
            'eval "$(mdgen --shell-completion install=bash)"'
        )
    return SHELLS[value]


def completions(line: str) -> list[str]:
    """What the last word of a command line may become.

    >>> completions("mdgen simu")
    ['simulate ']
    >>> completions("mdgen train encoder=s")
    ['encoder=se3_tokens ', 'encoder=srv ']
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is still open
        return []
    word = words.pop() if words and not line.endswith(" ") else ""
    if len(words) < 2:
        return [f"{each} " for each in (*VERBS, "--help", "--version") if each.startswith(word)] if words else []
    verb, given = words[1], words[2:]
    if verb not in VERBS:
        return []
    if given and given[-1] in KINDS:
        return [f"{each} " for each in KINDS[given[-1]] if each.startswith(word)]
    if word.startswith("-"):
        return [f"{each} " for each in OPTIONS if each.startswith(word)]
    key, equals, value = word.partition("=")
    if equals:
        return [f"{key}={each} " for each in _values(verb, key) if each.startswith(value)]
    chosen = dict(each.partition("=")[::2] for each in given)
    return sorted(dict.fromkeys(_cut(each, word) for each in _keys(verb, chosen) if each.startswith(word)))


def _cut(key: str, word: str) -> str:
    """A key down to the next dot after what is written, so that a list of hundreds stays short."""
    rest, dot, _ = key[len(word) :].partition(".")
    return f"{word}{rest}." if dot and "@" not in rest else f"{key}="


def _keys(verb: str, chosen: dict[str, str], prefix: str = "") -> Iterator[str]:
    """Every key that the configs of a verb list, with the options that were chosen."""
    yield from (f"{prefix}{key}" for key in _leaves(config_file(verb)))
    for each in included(verb):
        if each.name in VERBS:
            yield from _keys(each.name, {}, f"{prefix}{each.key}.")
            continue
        group = each.name if each.name == f"{prefix}{each.key}" else f"{each.name}@{prefix}{each.key}"
        yield group
        option = chosen.get(group, each.default)
        if option in option_names(each.name) and each.name != "experiment":
            yield from (f"{prefix}{each.key}.{key}" for key in _leaves(config_file(f"{each.name}/{option}")))
    if not prefix:
        yield from ("debug", "plugins", "hydra/launcher")


def _leaves(file: Any) -> Iterator[str]:
    """Dotted keys of a config file, without those that name code."""

    def walk(node: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{key}.")
            elif not key.startswith("_") and key != "defaults":
                yield f"{prefix}{key}"

    document = yaml.safe_load(file.read_text())
    yield from walk(document if isinstance(document, dict) else {}, "")


def _values(verb: str, key: str) -> Sequence[str]:
    """Options of a group, or choices of a key."""
    group = key.partition("@")[0]
    if group == "hydra/launcher":
        return LAUNCHERS
    if is_group(group):
        optional = any(each.name == group and each.default is None for each in included(verb))
        return [*option_names(group), *(["null"] if optional else [])]
    from mdgen.apps.config.key_types import OWN

    annotation = OWN.get(key.rpartition(".")[2])
    members = [annotation, *typing.get_args(annotation)]
    return [
        str(each)
        for member in members
        if typing.get_origin(member) is typing.Literal
        for each in typing.get_args(member)
    ]
