"""Links of the documents lead somewhere; the table of conventions leads each row to the place where it is met."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "notebooks/docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *DOCS.glob("how_to/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")


def is_there(page: Path, target: str) -> bool:
    path = (page.parent / target).resolve()
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


@pytest.mark.parametrize(
    ("page", "least"), [(DOCS / "conventions.md", 30), (ROOT / "README.md", 15)], ids=["conventions", "README"]
)
def test_every_convention_is_met_somewhere_or_named_as_other(page: Path, least: int) -> None:
    text = page.read_text().split("# Conventions\n")[1].split("\n## References")[0]
    rows = re.findall(r"^\| (?!habit|of|---)(.*) \| (.*) \|$", text, flags=re.MULTILINE)
    assert len(rows) > least
    for habit, here in rows:
        assert LINK.search(here) or habit.startswith("*otherwise:*"), habit


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    table = (ROOT / "README.md").read_text().split("## What it can do\n")[1].split("\n## ")[0]
    results = ROOT / "data/results"
    assert {name for name in re.findall(r"`(\w+\.json)`", table) if not (results / name).is_file()} == set()

    def read(name: str) -> Any:
        return json.loads((results / f"{name}.json").read_text())

    def verdicts(of: dict) -> Counter[str]:
        return Counter(each["verdict"] for each in of["criteria"])

    speed, tokens, charges = read("benchmark_md")["ratios"], read("tokens_alanine_dipeptide"), read("charge_recovery")
    designs = read("tokens_design")["unseen"]["means"]["flow"]
    right, least, most = (100 * each for each in designs["recovery"])
    of_seeds = [Counter(run["criteria"].values()) for run in read("demo_seeds")["runs"].values()]
    held = sorted(each["holds"] for each in of_seeds)
    curve = [line["equivalent_length_ns"]["torsion_jsd/all"]["value"] for line in read("learning_curve")["lines"]]
    protein, chignolin = read("tokens_protein")["criteria"], read("chignolin")["runs"]["chig"]["criteria"]
    unseen = read("tokens_transfer_small")
    worth, rows = unseen["equivalent_length_ns"]["torsion_jsd/all"], unseen["rows"]
    clashes = [100 * rows[row]["clash_share"]["value"] for row in ("generated", "reference")]
    fails = [len(each["relaxed"]["fails"]) for each in unseen["molecules"].values()]
    assert (len(fails), min(fails), max(fails)) == (6, 1, 5)
    one, paths = read("tokens_tetrapeptide"), read("tokens_paths")["rows"]
    times = [one["rows"][row]["timescale_ps/1"] for row in ("generated", "reference")]
    assert paths["generated"]["path_jsd"]["high"] < paths["replicate"]["path_jsd"]["low"]
    assert one["fails"] == []
    demo, own = verdicts(read("demo")), verdicts(read("own_trajectories"))
    faults = [each for each in read("evaluation")["acceptance"] if each["name"].startswith("fault/")]
    assert all("fails" not in each for each in of_seeds)
    assert (len(of_seeds), protein["fails"], chignolin["fails"]) == (4, 2, 5)
    assert demo["fails"] == own["fails"] == 0
    for figure in (
        f"{speed['alanine_dipeptide_obc2']:.0f} times OpenMM's best",
        f"chignolin {speed['chignolin_obc2']:.0f} times",
        f"no criterion of {demo.total()} fails",
        f"{demo['holds']} hold, {demo['undecided']} is undecided",
        f"over four seeds none fails and {held[0]} to {held[-1]} hold",
        f"{own['undecided']} are undecided (`own",
        f"{one['undecided']} of 38 are undecided; timescales {times[0]['value']:.0f} ps",
        f"for {times[1]['value']:.0f} ({times[1]['low']:.0f} to {times[1]['high']:.0f})",
        f"as {worth['value']:.1f} ns of dynamics ({worth['low']:.1f} to {worth['high']:.1f}); clashes",
        "clashes {:.1f} % for {:.1f} %; six peptides fail by one to five".format(*clashes),
        "{:.1f}, {:.1f}, {:.1f} and {:.1f} ns (`learning_curve".format(*curve),
        f"of pairs), {protein['undecided']} are undecided (`tokens_protein",
        f"{chignolin['undecided']} of {sum(chignolin.values())} criteria are undecided",
        f"{tokens['speed']['ratio']} times the engine's speed",
        f"{sum(each['value'] == 1 for each in faults)} of {len(faults)} faults",
        f"{right:.1f} % are told right ({least:.1f} to {most:.1f}), by frequencies alone",
        f"after {charges['iterations_until_within_bound_for_good']} iterations",
    ):
        assert figure in table, figure
