"""The house keeps its rules: imports run one way, frameworks stay in their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mdgen"
FLOOR = {"units", "results", "files", "progress", "errors", "registry", "mdgen"}
LAYERS = [
    {"apps"},
    {"benchmarks"},
    {"evaluation", "generation", "training", "enhanced_sampling"},
    {"models", "md"},
    {"data"},
    {"interfaces"},
    {"molecule"},
    {"geometry"},
    FLOOR,
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FRAMEWORKS = {
    "hydra": {"apps"},
    "omegaconf": {"apps"},
    "wandb": {"apps"},
    "lightning": {"training", "apps"},
    "openmm": {"md", "benchmarks", "apps"},
    "numba": {"md", "data", "models", "benchmarks"},
    "matplotlib": {"evaluation", "benchmarks", "apps"},
}
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "v2", "misc"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "mdgen" if parts == ("__init__",) else parts[0]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "mdgen" else [module]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_rooms_below_its_own(path: Path) -> None:
    room = room_of(path)
    if path == PACKAGE / "__init__.py":
        return  # the public face: it reaches upwards, lazily
    for name in imported(path):
        if not name.startswith("mdgen."):
            continue
        other = name.split(".")[1]
        other = other if other in LEVEL else "mdgen"
        assert other == room or LEVEL[other] > LEVEL[room] or {other, room} <= FLOOR, f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_framework_stays_in_its_room(path: Path) -> None:
    for name in imported(path):
        rooms = FRAMEWORKS.get(name.split(".")[0])
        assert rooms is None or room_of(path) in rooms, f"{path.relative_to(PACKAGE)} imports {name}"


def test_families_of_models_do_not_import_each_other() -> None:
    families = {"encoders", "propagators", "decoders", "coarse"}
    for path in (PACKAGE / "models").rglob("*.py"):
        family = path.parent.name
        for name in imported(path):
            parts = name.split(".")
            if family in families and parts[:2] == ["mdgen", "models"] and len(parts) > 2:
                assert parts[2] not in families - {family}, f"{path.name} imports {name}"


def test_no_room_is_named_after_no_subject() -> None:
    for path in PACKAGE.rglob("*"):
        assert path.stem not in BANNED_NAMES, f"{path} is named after no subject"


def test_the_rules_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("import hydra\nfrom mdgen.apps import main\n")
    assert list(imported(file)) == ["hydra", "mdgen.apps"]
    assert LEVEL["apps"] < LEVEL["geometry"]
