"""What a refactoring changed: sizes, copies of physical laws, speed, and the edits that a new part needs.

python notebooks/refit.py BEFORE AFTER data/results/refit.json --laws notebooks/refit_laws.json \
    --speed BEFORE/speed.json AFTER/speed.json --suite-seconds 900 500

BEFORE and AFTER are checkouts. The speed files come from `mdgen benchmark suite=md` run in each; the seconds are the
wall time of the test suite in each. The laws are a table: each physical law with the functions that write it down,
before and after, as `path/to/file.py::function`; every one of them must exist in its tree.
"""

import argparse
import ast
import json
import logging
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from mdgen.errors import MdgenError
from mdgen.results import Acceptance, Estimate, acceptance_table, write_result

MOST_SUITE_S = 600.0
MOST_COPIES = 2
"""Bounds of the test suite's wall time and of the copies of a law."""

TOY_PARTS = "tests/plugins"
TOY_DECODER = "toy_decoder"
"""Folder of the parts that the tests add as a user would, and the stem of the decoder among them."""

SETUP = ("system", "engine", "replicas", "threads", "processes", "precision", "device")
"""Keys of a speed row that two results are matched by."""


def n_lines(path: Path) -> int:
    """Number of lines of a file, as `wc -l` counts them."""
    return path.read_bytes().count(b"\n")


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name (`Class.method` for methods) and number of lines of every function of a file, without its decorators."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield prefix + child.name, (child.end_lineno or child.lineno) - child.lineno + 1
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            yield from below(child, f"{prefix}{child.name}." if named else prefix)  # type: ignore[attr-defined]

    yield from below(ast.parse(path.read_text()), "")


def sizes(tree: Path) -> dict[str, Any]:
    """Lines and files of each room of the package, and the largest file, function and folder."""
    package = tree / "mdgen"
    files = sorted(package.rglob("*.py"))
    if not files:
        raise MdgenError(f"{tree} holds no mdgen/*.py; give a checkout of the project")
    lines = {path: n_lines(path) for path in files}
    rooms: Counter[str] = Counter()
    for path in files:
        rooms[path.relative_to(package).parts[0] if path.parent != package else "top level"] += lines[path]
    folders = Counter(path.parent for path in files if path.name != "__init__.py")
    longest = max(files, key=lambda path: lines[path])
    count, where = max((count, f"{_within(tree, path)}::{name}") for path in files for name, count in functions(path))
    folder, held = folders.most_common(1)[0]
    return {
        "lines": sum(lines.values()),
        "lines_per_room": dict(sorted(rooms.items())),
        "files": len(files),
        "test_lines": sum(n_lines(path) for path in (tree / "tests").rglob("*.py")),
        "longest_file": {"file": _within(tree, longest), "lines": lines[longest]},
        "longest_function": {"function": where, "lines": count},
        "fullest_folder": {"folder": _within(tree, folder), "files": held},
    }


def copies(tree: Path, laws: dict[str, list[str]]) -> dict[str, list[str]]:
    """The functions that write each law down.

    Raises:
        MdgenError: if one of them is not in the tree, or a law has none.
    """
    for law, places in laws.items():
        if not places:
            raise MdgenError(f"{law}: no function is named for {tree}; complete the table of laws")
        for place in places:
            file, _, name = place.partition("::")
            path = tree / file
            if not path.is_file() or name not in dict(functions(path)):
                raise MdgenError(f"{law}: there is no {place} in {tree}; correct the table of laws")
    return laws


def new_decoder(tree: Path) -> dict[str, Any]:
    """What a decoder takes: lines of its own file and config, and the lines of code that name it elsewhere.

    The first two are measured on the toy decoder of the tests, None where the tree has none. The third is measured on
    every decoder that has a config, since each needed the lines that the others have.
    """
    toys = sorted((tree / TOY_PARTS).rglob(f"{TOY_DECODER}.py"))
    configs = [path for path in sorted((tree / TOY_PARTS).rglob("*.yaml")) if TOY_DECODER in path.read_text()]
    return {
        "own_file_lines": n_lines(toys[0]) if toys else None,
        "config_lines": sum(n_lines(path) for path in configs) if configs else None,
        "named_elsewhere": {name: _lines_naming(tree, name) for name in _decoders(tree)},
    }


def _decoders(tree: Path) -> list[str]:
    """Class names of the decoders that configs offer."""
    texts = [path.read_text() for path in sorted((tree / "conf" / "decoder").glob("*.yaml"))]
    return [name for text in texts for name in re.findall(r"_target_: mdgen\.models\.decoders\.\w+\.(\w+)", text)]


def _lines_naming(tree: Path, name: str) -> dict[str, int]:
    """Number of lines of code that name a class, per file of the package outside `models/decoders`."""
    own, found = tree / "mdgen" / "models" / "decoders", {}
    for path in sorted((tree / "mdgen").rglob("*.py")):
        lines = {node.lineno for node in ast.walk(ast.parse(path.read_text())) if _names(node, name)}  # type: ignore[attr-defined]
        if lines and own not in path.parents:
            found[_within(tree, path)] = len(lines)
    return found


def _names(node: ast.AST, name: str) -> bool:
    """Whether a node is the name of a class, an import of it, or its (dotted) name as a string."""
    match node:
        case ast.Name(id=found) | ast.Attribute(attr=found) | ast.alias(name=found) | ast.Constant(value=str(found)):
            return found == name or (found.endswith(f".{name}") and " " not in found)
    return False


def speed(before: Path, after: Path) -> list[dict[str, Any]]:
    """Cost of a step after over before, for every setup that both results hold, with the range over turns."""
    first, second = (
        {tuple(row[key] for key in SETUP): row for row in json.loads(path.read_text())["rows"]}
        for path in (before, after)
    )
    return [
        {
            **dict(zip(SETUP, setup, strict=True)),
            "us_before": _with_range(row),
            "us_after": _with_range(second[setup]),
            "ratio": Estimate(
                second[setup]["us_per_step_per_replica"] / row["us_per_step_per_replica"],
                second[setup]["us_low"] / row["us_high"],
                second[setup]["us_high"] / row["us_low"],
            ),
        }
        for setup, row in first.items()
        if setup in second
    ]


def _with_range(row: dict[str, Any]) -> Estimate:
    return Estimate(row["us_per_step_per_replica"], row["us_low"], row["us_high"])


def speed_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Median ratio of each engine; those of other packages show by how much the machine itself has changed."""
    engines = sorted({row["engine"] for row in rows})
    return {name: median(row["ratio"].value for row in rows if row["engine"] == name) for name in engines}


def acceptance(result: dict[str, Any]) -> list[Acceptance]:
    """The rows that the refactoring must meet; those of arguments that were not given are left out."""
    before, after = result["before"], result["after"]
    rows = [Acceptance.below("lines", Estimate(after["size"]["lines"]), before["size"]["lines"] - 1)]
    rows += [
        Acceptance.below(f"copies_of_{law.replace(' ', '_')}", Estimate(len(places)), MOST_COPIES)
        for law, places in after["laws"].items()
    ]
    touched = sum(sum(found.values()) for found in after["new_decoder"]["named_elsewhere"].values())
    rows.append(Acceptance.below("lines_elsewhere_that_name_a_decoder", Estimate(touched), 0))
    if after["suite_seconds"] is not None:
        rows.append(Acceptance.below("suite_seconds", Estimate(after["suite_seconds"]), MOST_SUITE_S))
    own = [row for row in result["speed"] if row["engine"].startswith("mdgen")]
    if own:
        slower = sum(row["ratio"].low > 1 for row in own)
        rows.append(Acceptance.below("setups_slower_in_every_turn", Estimate(slower), 0))
    return rows


def provenance(before: Path, after: Path) -> dict[str, Any]:
    """The command, the commits of both trees, and the machine."""

    def commit(tree: Path) -> str | None:
        command = ["git", "-C", str(tree), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        return asked.stdout.strip() or None

    return {
        "command": " ".join(["python", *sys.argv]),
        "git_before": commit(before),
        "git_after": commit(after),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _within(tree: Path, path: Path) -> str:
    return str(path.relative_to(tree))


def main(arguments: argparse.Namespace) -> None:
    """Measure both trees and write the result."""
    laws = {} if arguments.laws is None else json.loads(arguments.laws.read_text())
    seconds = arguments.suite_seconds or (None, None)
    result: dict[str, Any] = {"provenance": provenance(arguments.before, arguments.after)}
    trees = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    for (when, tree), took in zip(trees.items(), seconds, strict=True):
        result[when] = {
            "size": sizes(tree),
            "laws": copies(tree, {law: places[when] for law, places in laws.items()}),
            "new_decoder": new_decoder(tree),
            "suite_seconds": took,
        }
    result["speed"] = [] if arguments.speed is None else speed(*arguments.speed)
    result["speed_median_ratio"] = speed_summary(result["speed"])
    rows = acceptance(result)
    write_result(arguments.output, result, rows)
    logging.info("%s", acceptance_table(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="checkout before")
    parser.add_argument("after", type=Path, help="checkout after")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--laws", type=Path, help="JSON table of laws: {law: {before: [place], after: [place]}}")
    parser.add_argument("--speed", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="results of suite=md")
    parser.add_argument("--suite-seconds", type=float, nargs=2, metavar=("BEFORE", "AFTER"), help="of the tests")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(parser.parse_args())
    except MdgenError as error:
        sys.exit(f"refit.py: {error}")
