"""The kernels' cache on disk depends on every source that is compiled into them."""

from pathlib import Path

import mdgen
from mdgen.md.engines.lanes import jit


def test_functions_that_are_inlined_lie_where_the_digest_looks() -> None:
    folder = Path(jit.__file__).parent
    sources = {path: path.read_text() for path in Path(mdgen.__file__).parent.rglob("*.py")}
    users = [path for path, text in sources.items() if "lane_function" in text or "part_of_caller" in text]
    assert len(users) > 10
    assert all(folder in path.parents for path in users)


def test_the_digest_changes_with_any_source(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "box").mkdir()
    for name in ("jit.py", "laws.py", "box/step.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    digests = [jit.source_digest()]
    for name in ("laws.py", "box/step.py"):
        (tmp_path / name).write_text("# another law")
        digests.append(jit.source_digest())
    assert len(set(digests)) == 3
