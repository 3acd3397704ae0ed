"""A million windows of many molecules: what a process holds does not grow with frames, files or windows drawn."""

import itertools
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdgen.data.collection import open_molecules
from mdgen.data.loading import WindowLoader
from mdgen.data.store import TrajectoryStore
from mdgen.data.windows import WindowDataset

from .conftest import argon, walk

ROOT = Path(__file__).parents[2]
N_MOLECULES, N_CHUNKS, N_FRAMES = 8, 20, 6_400
"""Each molecule has one trajectory of `N_CHUNKS` files of `N_FRAMES` frames."""

FRAMES = 16
N_FILES = 150
"""Files that the process may have open: fewer than the chunks."""

MIB = 2**20


def anonymous_bytes() -> int:
    """Memory of this process that is no page of a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def drawn(loader: WindowLoader) -> Iterator[float]:
    """The batches' first coordinates, epoch after epoch."""
    while True:
        for batch in loader:
            yield float(batch.positions[0, 0, 0, 0])


def draw(folder: str) -> None:
    """Open the stores in a process of few files and draw from them; prints windows and bytes: at rest, late."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (N_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    before = anonymous_bytes()
    dataset = WindowDataset(open_molecules(folder), FRAMES)
    batches = drawn(WindowLoader(dataset, batch_size=32, seed=1))
    found = list(itertools.islice(batches, 30))
    held = anonymous_bytes()
    found += itertools.islice(batches, 150)
    assert np.isfinite(found).all()
    sys.stdout.write(f"{len(dataset)} {held - before} {anonymous_bytes() - held}\n")


def test_a_million_windows(tmp_path: Path) -> None:
    block = walk(N_FRAMES, 1, n_atoms=3)[None]
    for number in range(N_MOLECULES):
        with TrajectoryStore.create(tmp_path / f"m{number}", argon(block.shape[2]), 0.2, 1) as store:
            for _ in range(N_CHUNKS):
                store.append(block)
    code = f"from tests.data.test_many_windows import draw; draw({str(tmp_path)!r})"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    n_windows, held, grown = map(int, ran.stdout.split())
    assert n_windows == N_MOLECULES * (N_CHUNKS * N_FRAMES - FRAMES + 1) > 1_000_000
    laid_out = n_windows * FRAMES * block[0, 0].nbytes
    assert held < 40 * n_windows < laid_out / 10  # the order of an epoch, and nothing else
    assert grown < 4 * MIB
