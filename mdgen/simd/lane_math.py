"""Elementary functions of lane values.

Numba finds no vector mathematics library on a plain installation and would call the scalar one sixteen times. In single
precision these are minimax polynomials (fitted by Lawson's iteration) on the bit pattern, good to about two units of
rounding; double precision, which exists for tests, calls the scalar library.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import overload

from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import (
    absolute,
    bits,
    converted,
    from_bits,
    library_acos,
    library_cos,
    library_exp2,
    library_log,
    library_sin,
    maximum,
    minimum,
    polynomial,
    round_to_even,
    select_less,
    square_root,
)

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
HALF_PI = 1.5707963267948966

_EXP2 = 1.53458020e-04, 1.33999311e-03, 9.61848899e-03, 5.55032878e-02, 2.40226469e-01, 6.93147206e-01, 1.0
_LOG = -0.07859457, 0.12881588, -0.13128785, 0.14181202, -0.16624552, 0.20002286, -0.2500081, 0.33333317, -0.5
_ARCCOS = (
    -0.00126279906,
    0.00667118285,
    -0.0170896608,
    0.0308929524,
    -0.0501746806,
    0.0889790442,
    -0.214598803,
    1.5707963,
)


@lane_function
def _exp2_single(x: Any) -> Any:
    x = maximum(minimum(x, 126.0), -126.0)
    whole = round_to_even(x)
    f = x - whole
    p = polynomial(f, _EXP2)
    pattern = bits(p)
    return from_bits(pattern + (converted(whole, pattern) << 23), p)


@lane_function
def _log_single(x: Any) -> Any:
    # x = 2^e m with m between sqrt(1/2) and sqrt(2); 0x3f3504f3 is sqrt(1/2).
    pattern = bits(x)
    e = (pattern - 0x3F3504F3) >> 23
    f = from_bits(pattern - (e << 23), x) - 1.0
    p = polynomial(f, _LOG)
    return (p * f) * f + f + converted(e, x) * LN_2


@lane_function
def _arccos_single(x: Any) -> Any:
    a = minimum(absolute(x), 1.0)
    angle = square_root(1.0 - a) * polynomial(a, _ARCCOS)
    return select_less(x, 0.0, 2.0 * HALF_PI - angle, angle)


@lane_function
def _sine_cosine_single(quarter_turns: Any) -> Any:
    u = quarter_turns * quarter_turns
    sine = polynomial(u, (-0.00460218, 0.07968023, -0.64596348, 1.57079632))
    return sine * quarter_turns, polynomial(u, (-0.02040835, 0.25359864, -1.23369701, 0.99999997))


@lane_function
def _exp2_double(x: Any) -> Any:
    return library_exp2(maximum(minimum(x, 126.0), -126.0))


@lane_function
def _arccos_double(x: Any) -> Any:
    return library_acos(maximum(minimum(x, 1.0), -1.0))


@lane_function
def _sine_cosine_double(quarter_turns: Any) -> Any:
    angle = quarter_turns * HALF_PI
    return library_sin(angle), library_cos(angle)


def _by_precision(single: Callable, double: Callable) -> Callable:
    # Numba wants the two signatures alike to the letter, so neither is annotated.
    def function(x):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    @overload(function)
    def choose(x):  # type: ignore[no-untyped-def]
        implementation = double if x.dtype == types.float64 else single
        return lambda x: implementation(x)

    return function


exp2 = _by_precision(_exp2_single, _exp2_double)
"""2 to the power of a lane value, which is clamped to +-126."""
log = _by_precision(_log_single, library_log)
"""Natural logarithm of a positive normal number."""
arccos = _by_precision(_arccos_single, _arccos_double)
"""Angle in radians of a cosine, which is clamped to +-1."""
sine_cosine = _by_precision(_sine_cosine_single, _sine_cosine_double)
"""Sine and cosine of an angle given in quarter turns, between -1/2 and 1/2."""


@lane_function
def angle_of(cosine: Any, sine: Any) -> Any:
    """Angle in radians, -pi to pi, from its cosine and sine, by the one that is smaller: rounding harms it less."""
    across, along = absolute(cosine), absolute(sine)
    small = HALF_PI - arccos(minimum(across, along))
    acute = select_less(along, across, small, HALF_PI - small)
    upper = select_less(cosine, 0.0, 2.0 * HALF_PI - acute, acute)
    return select_less(sine, 0.0, -upper, upper)
