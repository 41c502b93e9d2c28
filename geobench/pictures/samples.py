"""A page of test images by error level: the photo, where it was taken, the prediction and its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geobench.geo import FloatArray
from geobench.pictures.canvas import LINE, WIDTH_INCHES, new_figure
from geobench.pictures.palette import error_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

ROW_INCHES = 1.75
LETTERS = 24  # of a name beside so small a picture


@dataclass(frozen=True)
class Sample:
    """One test image on the page.

    Attributes:
        name: of the image.
        photo: None for one that cannot be read.
        truth: (2,) where it was taken, in degrees.
        place: (2,) where the best prediction is.
        error_km: between the two.
    """

    name: str
    photo: Image.Image | None
    truth: FloatArray
    place: FloatArray
    error_km: float


def draw_samples(levels: Sequence[tuple[str, Sequence[Sample]]], columns: int, title: str) -> Figure:
    """Draw a row of ``columns`` places for each of ``levels``, right to wrong: its heading and the images in it."""
    figure = new_figure(ROW_INCHES * len(levels) + 0.35, WIDTH_INCHES)
    axes = figure.subplots(len(levels), columns, squeeze=False)
    colours = error_colours(max(1, len(levels) - 1))
    for line, (heading, samples), colour in zip(axes, levels, colours, strict=False):
        for ax in line[len(samples) :]:
            ax.set_axis_off()
        for ax, sample in zip(line, samples, strict=False):
            _draw(ax, sample, colour)
        line[0].text(-0.06, 0.5, heading, transform=line[0].transAxes, rotation=90, ha="right", va="center", fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def _draw(ax: Axes, sample: Sample, colour: str) -> None:
    ax.set(xticks=[], yticks=[], anchor="N")
    if sample.photo is None:
        ax.text(0.5, 0.5, "cannot be read", transform=ax.transAxes, ha="center", va="center", fontsize=6, color=LINE)
        ax.set_aspect(1, adjustable="box")
    else:
        ax.imshow(sample.photo)
    edge: Any = {"edgecolor": colour, "linewidth": 1.5}
    for spine in ax.spines.values():
        spine.set(visible=True, **edge)
    name = sample.name if len(sample.name) <= LETTERS else "…" + sample.name[1 - LETTERS :]
    lines = [
        name,
        f"true {position(sample.truth)}",
        f"found {position(sample.place)}",
        f"{distance(sample.error_km)} off",
    ]
    ax.set_xlabel("\n".join(lines), fontsize=5.5, labelpad=2)


def position(place: FloatArray) -> str:
    """Return a position to 0.01°, about a kilometre.

    >>> position((-33.868, 151.209))
    '33.87° S, 151.21° E'
    """
    latitude, longitude = (float(value) for value in place)
    return (
        f"{abs(latitude):.2f}° {'N' if latitude >= 0 else 'S'}, {abs(longitude):.2f}° {'E' if longitude >= 0 else 'W'}"
    )


def distance(km: float) -> str:
    """Return a distance in metres below 1 km, with three digits below 100 km.

    >>> distance(0.1234), distance(1.2345), distance(1234.5)
    ('123 m', '1.23 km', '1,234 km')
    """
    return f"{1000 * km:.0f} m" if km < 0.9995 else f"{km:.3g} km" if km < 99.95 else f"{km:,.0f} km"
