"""The kernels' cache on disk depends on every source that is compiled into them."""

from pathlib import Path

import mdgen
from mdgen.simd import jit


def test_functions_that_are_inlined_lie_where_the_digest_looks() -> None:
    # Numba's cache sees the file of an entry point itself; the digest sees this room and the folders that are named.
    package = Path(mdgen.__file__).parent
    seen = (Path(jit.__file__).parent, package / "md/engines/lanes")
    sources = {path: path.read_text() for path in package.rglob("*.py")}
    users = [path for path, text in sources.items() if "lane_function" in text or "part_of_caller" in text]
    assert len(users) > 10
    entries = [text for path, text in sources.items() if seen[1] in path.parents and "@entry_point" in text]
    assert len(entries) == 3
    assert all("source_digest(Path(__file__).parents[1])" in text for text in entries)
    elsewhere = [path for path in users if not set(seen) & set(path.parents)]
    assert all("@entry_point" in sources[path] for path in elsewhere)
    inlined = [f"from mdgen.{'.'.join(path.relative_to(package).with_suffix('').parts)} import" for path in elsewhere]
    callers = [path for path, text in sources.items() if any(each in text for each in inlined)]
    assert not set(callers) & set(users)


def test_the_digest_changes_with_any_source(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "simd").mkdir()
    for name in ("simd/jit.py", "simd/lanes.py", "box/laws.py", "box/step.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "simd/jit.py"))
    digests = [jit.source_digest(tmp_path / "box")]
    for name in ("simd/lanes.py", "box/laws.py", "box/step.py"):
        (tmp_path / name).write_text("# another law")
        digests.append(jit.source_digest(tmp_path / "box"))
    assert len(set(digests)) == 4
