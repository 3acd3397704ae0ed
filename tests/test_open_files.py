"""The files that a process keeps open are bounded, whoever opened them, and the longest unused is closed."""

from mdgen.open_files import OpenFiles


class Owner:
    def __init__(self) -> None:
        self.closed: list[str] = []


def test_the_longest_unused_is_closed() -> None:
    opened, first, second = OpenFiles(most=3), Owner(), Owner()
    for owner, name in ((first, "a"), (second, "a"), (first, "b"), (first, "a"), (second, "b")):
        opened.use(owner, name, lambda owner, name=name: owner.closed.append(name))
    assert (first.closed, second.closed) == ([], ["a"])
    opened.use(second, "c", lambda owner: owner.closed.append("c"))
    assert (first.closed, second.closed) == (["b"], ["a"])


def test_an_owner_that_is_gone_is_not_kept_and_not_closed() -> None:
    opened, closed = OpenFiles(most=1), []
    opened.use(Owner(), "a", closed.append)
    kept = Owner()
    opened.use(kept, "b", closed.append)
    assert closed == []
    opened.use(kept, "c", closed.append)
    assert closed == [kept]
