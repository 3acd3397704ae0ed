"""Rejection sampling over the rows of a batch: what is refused is drawn again, the rest is left alone."""

from collections.abc import Callable

from torch import Tensor

Rows = slice | Tensor
"""Which rows of a batch: all of them, or a tensor of their numbers."""


def rejection_sample(draw: Callable[[Rows], tuple[Tensor, Tensor]], redraws: int) -> tuple[Tensor, Tensor]:
    """Draw every row, and those refused again, at most `redraws` times.

    Args:
        draw: values (row, ...) of the rows that it is given, and for each whether it is refused.
        redraws: how often a row may be drawn again.

    Returns:
        Values: those drawn last, of all rows.
        Refused: which rows were refused to the last.
    """
    values, refused = draw(slice(None))
    for _ in range(redraws):
        rows = refused.nonzero()[:, 0]
        if not len(rows):
            break
        values[rows], refused[rows] = draw(rows)
    return values, refused
