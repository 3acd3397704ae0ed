import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from mdgen import __version__
from mdgen.evaluation import Evaluation, verdict_table, write_report
from mdgen.evaluation.metrics.catalogue import METRICS, label
from mdgen.evaluation.metrics.structure_checks import CHECKS, fit_checks
from mdgen.evaluation.report import canvas
from mdgen.evaluation.report.canvas import cut_note
from mdgen.evaluation.report.html_report import report
from mdgen.evaluation.report.tables import beyond_floor, markdown
from mdgen.evaluation.result import save_metrics
from mdgen.results import Acceptance, Estimate
from tests.evaluation.alanine import molecule, trajectory


@pytest.fixture(scope="module")
def folder(three_seeds: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    assert write_report(three_seeds, path) == path / "report.html"
    return path


def test_metrics_are_json_that_ends_in_the_acceptance(three_seeds: Evaluation, folder: Path) -> None:
    document = json.loads((folder / "metrics.json").read_text())
    assert list(document)[-1] == "acceptance"
    assert document["schema"] == "mdgen.evaluation/2"
    for row in document["rows"].values():
        assert set(row) == {"label", "meaning", "frames", "length_ns", "metrics"}
        for estimate in row["metrics"].values():
            assert set(estimate) == {"value", "low", "high"}


def test_every_metric_has_its_meaning_written_down(three_seeds: Evaluation) -> None:
    assert {name.partition("/")[0] for row in three_seeds.rows.values() for name in row.metrics} <= set(METRICS)


def test_the_report_is_one_whole_file_without_the_network(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"'](https?:)?//", text)
    assert "@import" not in text
    assert len(list((folder / "plots").glob("*.svg"))) == text.count("</figure>")
    tags: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br", "link", "input"):
                tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert tags.pop() == tag

    Balance().feed(text)
    assert not tags


def test_text_of_the_data_is_escaped(three_seeds: Evaluation) -> None:
    text = report(
        dataclasses.replace(three_seeds, notes=("a <b> & c",), molecule={**three_seeds.molecule, "residues": "<i>"}), []
    )
    assert "<li>a &lt;b&gt; &amp; c</li>" in text
    assert "<title>&lt;i&gt;: generated" in text


def test_the_page_names_what_it_was_made_from(three_seeds: Evaluation) -> None:
    text = report(three_seeds, [], {"reference": "md/*.xtc", "command": "mdgen evaluate <x>"})
    top = text[: text.index('<span class="verdict')]
    for name, told in (
        ("reference", "md/*.xtc"),
        ("command", "mdgen evaluate &lt;x&gt;"),
        ("version", f"mdgen {__version__}"),
    ):
        assert f"<dt>{name}</dt><dd>{told}</dd>" in top


@pytest.mark.parametrize(
    ("flags", "holds", "verdict"),
    [((), True, "undecided"), (("copies!",), True, "flagged"), (("copies!",), False, "fails")],
)
def test_pill_file_and_terminal_say_the_same(
    three_seeds: Evaluation, tmp_path: Path, flags: tuple[str, ...], holds: bool, verdict: str
) -> None:
    bound = Acceptance("four_well_srv", 0.1, None, None, "<= 0.2", holds)
    result = dataclasses.replace(three_seeds, flags=flags, acceptance=(bound,))
    save_metrics(result, tmp_path / "metrics.json")
    document, text, table = (
        json.loads((tmp_path / "metrics.json").read_text()),
        report(result, []),
        verdict_table(result),
    )
    assert document["verdict"] == result.verdict == verdict
    assert f'<span class="verdict {verdict}">{result.headline}</span>' in text
    assert result.headline in table.splitlines()[0]
    assert [line["metric"] for line in document["criteria"]] == [line.metric for line in result.criteria]
    for line in result.criteria:
        (told,) = [each for each in table.splitlines() if f"  {label(line.metric)}  " in each]
        assert told.lower().startswith(line.verdict)
        assert (
            f'<td>{label(line.metric)}<small></small></td><td class="words"><span class="{line.verdict}-text">' in text
        )
    places = [text.index(each) for each in ("</h1>", *(f">{flag}<" for flag in flags), "<h2>Criteria</h2>")]
    assert places == sorted(places)
    assert all(caveat in table for caveat in (*flags, *result.notes))


def test_cells_beyond_the_floor_are_marked(three_seeds: Evaluation) -> None:
    floor, shuffled = (three_seeds.rows[row].metrics["step_log10_error/all"] for row in ("md_floor", "shuffled"))
    assert shuffled.value > floor.high
    assert beyond_floor(three_seeds, "shuffled", "step_log10_error/all") == "beyond"
    assert beyond_floor(three_seeds, "md_floor", "step_log10_error/all") == ""
    assert beyond_floor(three_seeds, "shuffled", "timescale_ps/1") == ""
    assert '<td class="beyond">' in report(three_seeds, [])


def test_what_is_not_drawn_is_told(three_seeds: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(three_seeds.curves["torsion_names"])
    assert cut_note(three_seeds, "Distributions") == ""
    monkeypatch.setattr(canvas, "MOST_TORSIONS", 2)
    metrics = three_seeds.rows["generated"].metrics
    furthest = sorted(names, key=lambda name: -metrics[f"torsion_jsd/{name}"].value)[:2]
    assert [names[i] for i in canvas.drawn_torsions(three_seeds)] == [name for name in names if name in furthest]
    assert f"2 of {len(names)} torsions" in cut_note(three_seeds, "Distributions")


def shown_title(page: Path, script: str, folder: Path, width: int = 1280) -> object:
    """What `script`, run in headless Chromium once the page is loaded, leaves as JSON in the page's title."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium installed: the report is not looked at in a browser")
    probe = folder / "probe.html"
    probe.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=4000", "--dump-dom", probe.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r"<title>(.*?)</title>", dumped)
    assert match
    return json.loads(match[1])


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(folder: Path, width: int, tmp_path: Path) -> None:
    script = """addEventListener('load', () => {
        const plots = [...document.querySelectorAll('figure svg')];
        const boxes = [...document.querySelectorAll('main .card')].map(card => card.getBoundingClientRect());
        const overlaps = boxes.some((a, i) => boxes.slice(i + 1).some(b => a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 1 && b.top < a.bottom - 1));
        const table = document.querySelector('.criteria').parentElement;
        document.title = JSON.stringify({ content: document.documentElement.scrollWidth, window: innerWidth, overlaps,
            hidden: table.scrollWidth - table.clientWidth,
            plots: plots.length, small: plots.filter(s => s.getBoundingClientRect().width < 200).length }); });"""
    found = shown_title(folder / "report.html", script, tmp_path, width)
    assert isinstance(found, dict)
    assert found["content"] <= found["window"]
    assert found["hidden"] <= 0
    assert found["plots"] > 10
    assert found["small"] == 0
    assert not found["overlaps"]


def test_criteria_stand_in_full_on_a_narrow_screen(three_seeds: Evaluation, folder: Path) -> None:
    """Below 600 px a criterion is a block of three columns that no width overflows, each number under its heading."""
    text = (folder / "report.html").read_text()
    style = re.sub(r"\s+", " ", text[text.index("@media (max-width: 600px)") : text.index("</style>")])
    assert ".criteria tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr))" in style
    assert ".criteria td[data-heading]::before { content: attr(data-heading)" in style
    for heading in ("value", "MD itself", "excess", "tolerance", "p", "to decide"):
        assert text.count(f'<td data-heading="{heading}">') == len(three_seeds.criteria)


def test_timescales_below_the_lag_read_so(three_seeds: Evaluation) -> None:
    row = three_seeds.rows["generated"]
    fast = dataclasses.replace(row, metrics={**row.metrics, "timescale_ps/1": Estimate(0.0)})
    result = dataclasses.replace(three_seeds, rows={**three_seeds.rows, "generated": fast})
    lag = f"< {three_seeds.settings['lag_ps']:g}"
    (line,) = [each for each in markdown(result, ["timescale_ps/1"]).splitlines() if each.startswith("| generated |")]
    assert line.endswith(f"| {lag} |")
    assert lag.replace("<", "&lt;") in report(result, [])


def test_the_player_turns_and_plays(folder: Path, tmp_path: Path) -> None:
    script = """addEventListener('load', () => {
        const canvas = document.querySelector('#player canvas'), picture = () => canvas.toDataURL();
        const pointer = (kind, x) => canvas.dispatchEvent(
            new PointerEvent(kind, { pointerId: 1, clientX: x, clientY: 50, bubbles: true }));
        const drawn = new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size > 50;
        const before = picture();
        pointer('pointerdown', 50); pointer('pointermove', 120); pointer('pointerup', 120);
        const turned = picture() !== before;
        document.querySelector('#player button').click();
        setTimeout(() => { document.title = JSON.stringify(
            { drawn, turned, frame: Number(document.getElementById('player').dataset.frame) }); }, 1500); });"""
    found = shown_title(folder / "report.html", script, tmp_path)
    assert isinstance(found, dict)
    assert found["drawn"]
    assert found["turned"]
    assert found["frame"] > 0


def test_the_animation_is_not_mirrored(three_seeds: Evaluation) -> None:
    checks = fit_checks(molecule(), torch.from_numpy(trajectory(200, 0)))
    for name in ("reference", "generated"):
        animation = torch.from_numpy(three_seeds.curves[f"animation/{name}"])
        assert checks.measure(animation)[:, CHECKS.index("chirality_errors")].sum() == 0
