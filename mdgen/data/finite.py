"""Rejection of coordinates that are not finite: NaN, infinity, and the numbers that formats store for them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from mdgen.errors import MdgenError

LARGEST_NM = 1e5
"""No molecule diffuses this far; an xtc file stores NaN as 2147483.75 nm."""


def require_finite(
    positions: Float[np.ndarray, "*leading frame atom 3"], place: Callable[[tuple[int, ...]], str], advice: str
) -> None:
    """Raise unless every coordinate is a sensible number.

    Args:
        positions: coordinates in nm.
        place: function that names a frame, as `frame 7 of trajectory x`, from its index into the axes before `atom`.
        advice: end of the message, which says what to do.

    Raises:
        MdgenError: naming the first bad frame and atom.
    """
    with np.errstate(invalid="ignore"):
        good = np.abs(positions) < LARGEST_NM  # false for NaN
    if good.all():
        return
    *index, atom, axis = (int(i) for i in np.argwhere(~good)[0])
    value = positions[(*index, atom, axis)]
    what = "is not finite" if not np.isfinite(value) else f"is absurd ({value:.7g} nm; xtc files store NaN so)"
    raise MdgenError(f"the position of atom {atom} in {place(tuple(index))} {what}; {advice}")
