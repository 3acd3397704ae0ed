import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mdgen.evaluation import Evaluation, Settings, evaluate, write_report
from mdgen.evaluation.names import METRICS
from tests.evaluation.alanine import toy_set


@pytest.fixture(scope="module")
def result() -> Evaluation:
    settings = Settings(lag_ps=2.0, tica_lag_ps=5.0, n_states=20, resamples=20)
    return evaluate(toy_set(4, 800, seed=1), toy_set(6, 800, seed=2), settings=settings)


@pytest.fixture(scope="module")
def folder(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    assert write_report(result, path) == path / "report.html"
    return path


def test_metrics_are_json_that_ends_in_the_acceptance(result: Evaluation, folder: Path) -> None:
    document = json.loads((folder / "metrics.json").read_text())
    assert list(document)[-1] == "acceptance"
    assert document["schema"] == "mdgen.evaluation/1"
    for row in document["rows"].values():
        assert set(row) == {"label", "meaning", "frames", "length_ns", "metrics"}
        for estimate in row["metrics"].values():
            assert set(estimate) == {"value", "low", "high"}


def test_every_metric_has_its_meaning_written_down(result: Evaluation) -> None:
    assert {name.partition("/")[0] for row in result.rows.values() for name in row.metrics} <= set(METRICS)


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


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(folder: Path, width: int, tmp_path: Path) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium installed: the report is not looked at in a browser")
    page = tmp_path / "probe.html"
    probe = (
        "<script>addEventListener('load', () => { const svgs = [...document.querySelectorAll('figure svg')];"
        "document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth, svgs.length,"
        "svgs.filter(s => s.getBoundingClientRect().width < 200).length]); });</script></body>"
    )
    page.write_text((folder / "report.html").read_text().replace("</body>", probe))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r"<title>(\[.*?\])</title>", shown)
    assert match
    content, window, plots, small = json.loads(match[1])
    assert content <= window
    assert plots > 10
    assert small == 0
