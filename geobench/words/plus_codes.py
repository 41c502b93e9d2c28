"""Plus codes (Open Location Code): ``8FVC9G8F+6X``, or the short ``9G8F+6X Zürich``.

Source: the specification at github.com/google/open-location-code. The package ``openlocationcode`` is of 2019 and is no
longer maintained.
"""

from __future__ import annotations

import re

DIGITS = "23456789CFGHJMPQRVWX"
_CODE = re.compile(rf"(?<![A-Za-z0-9])(?:[{DIGITS}]{{2}}){{2,4}}\+(?:[{DIGITS}]{{2,7}})?(?![A-Za-z0-9])", re.I)
"""At least four digits before the plus: ``22+33`` is a sum."""
_PAIRS = 10  # digits of the code that are pairs; those after them are cells of a grid of 4 columns and 5 rows


def find_code(text: str) -> tuple[str, str] | None:
    """Return the plus code in ``text`` and the text around it; None if there is none.

    >>> find_code("9G8F+6X Zürich"), find_code("8FVC9G8F+6X"), find_code("C++")
    (('9G8F+6X', 'Zürich'), ('8FVC9G8F+6X', ''), None)
    """
    found = _CODE.search(text)
    if found is None:
        return None
    rest = (text[: found.start()] + " " + text[found.end() :]).strip(" ,;")
    return found[0].upper(), rest


def is_full(code: str) -> bool:
    """Return whether ``code`` needs no place beside it: eight digits stand before its plus."""
    return code.index("+") == 8


def decode(code: str) -> tuple[float, float] | None:
    """Return the centre of the full ``code`` in degrees; None if it is on no globe.

    >>> [round(value, 4) for value in decode("8FVC9G8F+6X")]
    [47.3656, 8.5249]
    """
    digits = [DIGITS.index(letter) for letter in code.replace("+", "")]
    latitude, longitude, step = -90.0, -180.0, 400.0
    for row, column in zip(digits[:_PAIRS:2], digits[1:_PAIRS:2], strict=False):
        step /= 20
        latitude, longitude = latitude + row * step, longitude + column * step
    height = width = step
    for digit in digits[_PAIRS:]:
        height, width = height / 5, width / 4
        latitude, longitude = latitude + digit // 4 * height, longitude + digit % 4 * width
    latitude, longitude = latitude + height / 2, longitude + width / 2
    return (latitude, longitude) if latitude < 90 and longitude < 180 else None


def recover(code: str, near: tuple[float, float]) -> tuple[float, float] | None:
    """Return the centre of the place with the short ``code`` that is nearest to the point ``near``.

    >>> [round(value, 4) for value in recover("9G8F+6X", (47.4, 8.6))]
    [47.3656, 8.5249]
    """
    missing = 8 - code.index("+")
    size = 20.0 ** (2 - missing / 2)  # degrees after which the digits that are there repeat
    found = decode(encode(near)[:missing] + code)
    if found is None:
        return None
    latitude, longitude = (
        value + size * round((there - value) / size) for value, there in zip(found, near, strict=True)
    )
    return latitude if -90 < latitude < 90 else found[0], (longitude + 180) % 360 - 180


def encode(point: tuple[float, float]) -> str:
    """Return the first eight digits of the code of ``point``.

    >>> encode((47.3656, 8.5249))
    '8FVC9G8F'
    """
    rows, columns = min(int((point[0] + 90) * 400), 180 * 400 - 1), int((point[1] + 180) % 360 * 400)
    pairs = [(rows // 20**power % 20, columns // 20**power % 20) for power in (3, 2, 1, 0)]
    return "".join(DIGITS[digit] for pair in pairs for digit in pair)
