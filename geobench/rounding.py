"""How a number is printed: one rounding for tables, breakdowns, comparisons and the page."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

SIGNIFICANT = 12
"""Digits that a score is exact to: sums in another order differ beyond them, and must not be printed differently."""


def shown(value: float, digits: int, sign: str = "") -> str:
    """Return ``value`` with ``digits`` decimals and separated thousands, rounded half to even; 0 has no sign.

    What is rounded is the decimal number that the value stands for, not its binary neighbour: 7 of 2,000 images are
    0.35 %, in whatever way that was computed, and halfway between 0.3 and 0.4.

    Args:
        value: NaN and infinite values are printed as Python does.
        digits: at least 0.
        sign: ``+`` for one before positive values too.

    >>> shown(0.25, 1), shown(0.35, 1), shown(100 * (7 / 2000), 1), shown(12345.5, 0), shown(-0.04, 1)
    ('0.2', '0.4', '0.4', '12,346', '0.0')
    """
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    rounded = Decimal(f"{value:.{SIGNIFICANT}g}").quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    return f"{rounded + 0:{sign},.{digits}f}" if rounded else f"{Decimal(0):{sign},.{digits}f}"
