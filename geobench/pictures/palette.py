"""Colours that every colour vision tells apart, for any number of lines and levels."""

from __future__ import annotations

import numpy as np

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
"""The colours of Okabe and Ito 2008 without yellow, which is too light for a line."""
RIGHT_TO_WRONG = {
    0.0: "#313695",
    0.2: "#4575b4",
    0.4: "#91bfdb",
    0.5: "#ffffbf",
    0.6: "#fee090",
    0.8: "#fc8d59",
    1.0: "#d73027",
}
"""From blue to red by way of yellow, after ColorBrewer's RdYlBu, which is safe for colour-blind readers."""


def error_colours(thresholds: int) -> list[str]:
    """Return a colour for each level of error: within each of so many thresholds, and beyond the last.

    >>> error_colours(2)
    ['#313695', '#ffffbf', '#d73027']
    """
    known = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in RIGHT_TO_WRONG.values()]
    places = np.linspace(0, 1, thresholds + 1)
    channels = [np.interp(places, list(RIGHT_TO_WRONG), channel) for channel in np.array(known).T]
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in np.stack(channels, axis=1).tolist()]
