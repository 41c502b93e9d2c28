"""Colours, dashes and markers that every colour vision tells apart, for any number of lines and levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
"""The colours of Okabe and Ito 2008 without yellow, which is too light for a line."""
RIGHT_TO_WRONG = ("#313695", "#4575b4", "#91bfdb", "#fee090", "#fc8d59", "#d73027")
"""From blue to red by way of yellow, after ColorBrewer's RdYlBu, which is safe for colour-blind readers."""


def between(colours: Sequence[str], n: int) -> list[str]:
    """Return ``n`` colours evenly spaced along ``colours``, the first and the last among them.

    >>> between(["#000000", "#ffffff"], 3)
    ['#000000', '#808080', '#ffffff']
    """
    points = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours], dtype=np.float64)
    places = np.linspace(0, len(colours) - 1, n)
    channels = [np.interp(places, np.arange(len(colours)), channel) for channel in points.T]
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in np.stack(channels, axis=1).tolist()]


def error_colours(thresholds: int) -> list[str]:
    """Return a colour for each level of error: within each of so many thresholds, and beyond the last."""
    return between(RIGHT_TO_WRONG, thresholds + 1)
