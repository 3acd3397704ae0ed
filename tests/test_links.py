"""Links of the documents lead somewhere; the table of conventions leads each row to the place where it is met."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "notebooks/docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *DOCS.glob("how_to/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")


def is_there(page: Path, target: str) -> bool:
    path = page.parent / target
    if path.parent == DOCS / "tutorials":
        return path.stem == "index" or (ROOT / f"notebooks/tutorials/{path.stem}.ipynb").is_file()
    if path.parent == DOCS / "generated":
        kind, _, name = path.stem.partition("_")
        return path.stem == "index" or (ROOT / "conf" / (f"{name}.yaml" if kind == "verb" else name)).exists()
    return path.exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [each for each in LINK.findall(page.read_text()) if "://" not in each]
    assert [each for each in links if not is_there(page, each)] == []


def test_every_convention_is_met_somewhere_or_named_as_other() -> None:
    rows = re.findall(r"^\| (?!habit|---)(.*?) \| (.*) \|$", (DOCS / "conventions.md").read_text(), flags=re.MULTILINE)
    assert len(rows) > 30
    for habit, here in rows:
        assert LINK.search(here) or habit.startswith("*otherwise:*"), habit
