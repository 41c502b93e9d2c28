"""A stand-in for semantic segmentation where there is no network for it: classes of land cover by their colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

CLASSES = ("water", "vegetation", "bare ground", "snow and cloud", "other")
COLOURS = np.array([(0, 0, 255), (0, 160, 0), (230, 180, 80), (255, 255, 255), (128, 128, 128)], dtype=np.uint8)
STAND_IN = "colour classes, a stand-in for segmentation"


def classes_by_colour(image: Image.Image) -> np.ndarray:
    """Return the class (h, w) of each pixel: an index into :data:`CLASSES`.

    The thresholds were set on the embedded maps (Blue Marble): blue water, green or dark vegetation, ochre ground, and
    bright grey snow. On photos they say little more than the colour.
    """
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=np.int16), 2, 0)
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    classes = np.full(red.shape, CLASSES.index("other"), dtype=np.uint8)
    classes[(red >= green) & (red > blue + 15)] = CLASSES.index("bare ground")
    classes[(green >= red) & (green > blue)] = CLASSES.index("vegetation")
    classes[(blue > red + 10) & (blue >= green)] = CLASSES.index("water")
    classes[(darkest > 170) & (brightest - darkest < 40)] = CLASSES.index("snow and cloud")
    return classes


def map_by_colour(image: Image.Image) -> Image.Image:
    """Return a picture of :func:`classes_by_colour` of the size of ``image``, a colour for each class."""
    from PIL import Image as Images

    return Images.fromarray(COLOURS[classes_by_colour(image)])
