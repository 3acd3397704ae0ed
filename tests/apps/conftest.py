"""What tests of commands share: how one that must fail says why."""

from collections.abc import Callable

import pytest

from mdgen.apps.main import main
from tests.isolated_registry import isolated


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one sentence of a command that must fail."""

    def of(*words: str) -> str:
        capsys.readouterr()
        with isolated():
            assert main(list(words)) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("mdgen: "))
        return line

    return of
