"""The house keeps its rules: imports run one way, frameworks stay in their rooms, only the registry resolves names."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mdgen"
FLOOR = {"units", "results", "files", "documents", "tensor_files", "progress", "errors", "registry", "mdgen"}
LAYERS = [
    {"apps", "__main__"},
    {"benchmarks"},
    {"evaluation", "generation", "training", "enhanced_sampling"},
    {"models", "md"},
    {"data"},
    {"interfaces"},
    {"molecule"},
    {"geometry", "simd"},
    FLOOR,
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FRAMEWORKS = {
    "hydra": {"apps"},
    "omegaconf": {"apps"},
    "pydantic": {"apps", "documents"},
    "wandb": {"apps"},
    "lightning": {"training", "apps"},
    "jinja2": {"evaluation"},
    "openmm": {"md", "benchmarks", "apps"},
    "numba": {"simd", "md", "data", "models", "benchmarks"},
    "matplotlib": {"evaluation", "benchmarks", "apps"},
}
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "v2", "misc"}
MOST_FILES = 16
IMPORTERS = {"__init__", "registry", "apps", "benchmarks"}
"""Rooms that import modules by name: our public face, the registry, verbs, and the workers of the speed suite."""

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "mdgen" else [module]


IMPORTS = [(path, name) for path in FILES for name in imported(path)]


def offenders(breaks: list[tuple[Path, str]]) -> list[str]:
    return [f"{path.relative_to(PACKAGE)}: {what}" for path, what in breaks]


def climbs(room: str, name: str) -> bool:
    """Whether an import leads to a room that is not below; `mdgen/__init__.py` reaches upwards, lazily."""
    if not name.startswith("mdgen."):
        return name.startswith(".")
    other = name.split(".")[1]
    other = other if other in LEVEL else "mdgen"
    return room != "__init__" and other != room and LEVEL[other] <= LEVEL[room] and not {other, room} <= FLOOR


def test_a_file_imports_only_rooms_below_its_own() -> None:
    above = [(path, name) for path, name in IMPORTS if climbs(room_of(path), name) and room_of(path) != "__main__"]
    assert offenders(above) == []


def test_what_is_imported_is_there() -> None:
    # The type checker takes modules that it does not find as they come, ours too.
    ours = [(path, name) for path, name in IMPORTS if name.startswith("mdgen.")]
    files = {".".join(("mdgen", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in FILES}
    modules = files | {name.removesuffix(".__init__") for name in files}
    assert offenders([(path, name) for path, name in ours if name not in modules and name.count(".") > 1]) == []


def test_a_framework_stays_in_its_room() -> None:
    strays = [
        (path, name)
        for path, name in IMPORTS
        if room_of(path) not in FRAMEWORKS.get(name.split(".")[0], {room_of(path)})
    ]
    assert offenders(strays) == []


def test_evaluation_knows_neither_models_nor_engines() -> None:
    rooms = ("mdgen.models", "mdgen.md", "mdgen.generation", "mdgen.training")
    known = [(path, name) for path, name in IMPORTS if room_of(path) == "evaluation" and name.startswith(rooms)]
    assert offenders(known) == []


def test_parts_do_not_import_each_other() -> None:
    """An encoder, propagator, decoder or potential stands alone: what two share lies in a file that registers none."""
    families = ("models/encoders", "models/propagators", "models/decoders", "md/force_field")
    parts = {
        "mdgen." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in FILES
        if str(path.parent.relative_to(PACKAGE)) in families and "\n@register\n" in path.read_text()
    }
    assert len(parts) > 6
    assert offenders([(path, name) for path, name in IMPORTS if path in parts.values() and name in parts]) == []
    own = {family.replace("/", ".") for family in families[:3]}
    across = [
        (path, name)
        for path, name in IMPORTS
        for family in own
        if name.startswith(f"mdgen.{family}.")
        and room_of(path) == "models"
        and str(path.parent.relative_to(PACKAGE)).replace("/", ".") in own - {family}
    ]
    assert offenders(across) == []


def test_only_the_registry_resolves_names() -> None:
    """No config, file or message chooses what is imported or called but by `mdgen.registry.resolve`."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            by_name = called.split(".")[-1] in ("import_module", "exec_module") and room_of(path) not in IMPORTERS
            if by_name or called in (
                "eval",
                "exec",
                "__import__",
                "pickle.load",
                "pickle.loads",
                "hydra.utils.instantiate",
            ):
                found.append((path, called))
    assert offenders(found) == []


def test_files_have_names_of_their_own_in_folders_of_a_size() -> None:
    assert [path for path in PACKAGE.rglob("*") if path.stem in BANNED_NAMES] == []
    named = Counter((room_of(path), path.name) for path in FILES if path.name != "__init__.py")
    assert [each for each, count in named.items() if count > 1] == []
    sizes = Counter(str(path.parent.relative_to(PACKAGE)) for path in FILES)
    assert {folder: n for folder, n in sizes.items() if n > MOST_FILES} == {}


def test_the_rules_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("import hydra\nfrom mdgen.apps import main\nfrom . import sibling\n")
    assert list(imported(file)) == ["hydra", "mdgen.apps", "."]
    assert climbs("geometry", "mdgen.apps")
    assert climbs("models", "mdgen.md.engines")
    assert climbs("apps", ".")
    assert not climbs("apps", "mdgen.geometry")
