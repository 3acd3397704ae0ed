"""Elementary functions of lane values.

Numba finds no vector mathematics library on a plain installation and would call the scalar one sixteen times. In single
precision these are minimax polynomials (fitted by Lawson's iteration) on the bit pattern, good to about two units of
rounding; double precision, which exists for tests, calls the scalar library.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import overload

from mdgen.md.engines.lanes.jit import lane_function
from mdgen.md.engines.lanes.lane_instructions import (
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
    round_to_even,
    select_less,
    square_root,
)

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
HALF_PI = 1.5707963267948966


@lane_function
def _exp2_single(x: Any) -> Any:
    x = maximum(minimum(x, 126.0), -126.0)
    whole = round_to_even(x)
    f = x - whole
    p = 1.53458020e-04 * f + 1.33999311e-03
    p = p * f + 9.61848899e-03
    p = p * f + 5.55032878e-02
    p = p * f + 2.40226469e-01
    p = p * f + 6.93147206e-01
    p = p * f + 1.0
    pattern = bits(p)
    return from_bits(pattern + (converted(whole, pattern) << 23), p)


@lane_function
def _log_single(x: Any) -> Any:
    # x = 2^e m with m between sqrt(1/2) and sqrt(2); 0x3f3504f3 is sqrt(1/2).
    pattern = bits(x)
    e = (pattern - 0x3F3504F3) >> 23
    f = from_bits(pattern - (e << 23), x) - 1.0
    p = -0.07859457 * f + 0.12881588
    p = p * f - 0.13128785
    p = p * f + 0.14181202
    p = p * f - 0.16624552
    p = p * f + 0.20002286
    p = p * f - 0.2500081
    p = p * f + 0.33333317
    p = p * f - 0.5
    return (p * f) * f + f + converted(e, x) * LN_2


@lane_function
def _arccos_single(x: Any) -> Any:
    a = minimum(absolute(x), 1.0)
    p = -1.26279906e-03 * a + 6.67118285e-03
    p = p * a - 1.70896608e-02
    p = p * a + 3.08929524e-02
    p = p * a - 5.01746806e-02
    p = p * a + 8.89790442e-02
    p = p * a - 2.14598803e-01
    p = p * a + 1.57079630e00
    angle = square_root(1.0 - a) * p
    return select_less(x, 0.0, 2.0 * HALF_PI - angle, angle)


@lane_function
def _sine_cosine_single(quarter_turns: Any) -> Any:
    u = quarter_turns * quarter_turns
    sine = ((-0.00460218 * u + 0.07968023) * u - 0.64596348) * u + 1.57079632
    cosine = ((-0.02040835 * u + 0.25359864) * u - 1.23369701) * u + 0.99999997
    return sine * quarter_turns, cosine


@lane_function
def _arccos_double(x: Any) -> Any:
    return library_acos(maximum(minimum(x, 1.0), -1.0))


@lane_function
def _sine_cosine_double(quarter_turns: Any) -> Any:
    angle = quarter_turns * HALF_PI
    return library_sin(angle), library_cos(angle)


def _by_precision(function: Callable, single: Callable, double: Callable) -> None:
    # Numba wants the two signatures alike to the letter, so neither is annotated.
    def choose(x):  # type: ignore[no-untyped-def]
        implementation = double if x.dtype == types.float64 else single
        return lambda x: implementation(x)

    overload(function)(choose)


def exp2(x: Any) -> Any:
    """2 to the power `x`, which is clamped to +-126."""
    raise NotImplementedError


def log(x: Any) -> Any:
    """Natural logarithm of a positive normal number."""
    raise NotImplementedError


def arccos(x: Any) -> Any:
    """Angle in radians whose cosine is `x`, which is clamped to +-1."""
    raise NotImplementedError


def sine_cosine(quarter_turns: Any) -> Any:
    """Sine and cosine of an angle given in quarter turns, between -1/2 and 1/2."""
    raise NotImplementedError


@lane_function
def _exp2_double(x: Any) -> Any:
    return library_exp2(maximum(minimum(x, 126.0), -126.0))


_by_precision(exp2, _exp2_single, _exp2_double)
_by_precision(log, _log_single, library_log)
_by_precision(arccos, _arccos_single, _arccos_double)
_by_precision(sine_cosine, _sine_cosine_single, _sine_cosine_double)
