"""What the page's map, curves and cards are made of: the answers of all models to the same images, compact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from geobench.analysis.details import Answers
from geobench.analysis.groupings import AT_SEA
from geobench.data.places import country_name
from geobench.geo import EARTH_RADIUS_KM
from geobench.metrics import LEVELS_KM
from geobench.pictures.error_maps import COLOURS
from geobench.pictures.figures import labels
from geobench.progress import SILENT, Progress
from geobench.report.html.blocks import Blocks, as_json
from geobench.report.html.regions import regions
from geobench.report.html.thumbnails import telling_images, thumbnails
from geobench.report.rows import Row, images_of

MOST_RANKS = 5
ROOM = 18_000_000
"""Letters for answers. With 6 MB of pictures, the plotting library and the tables the file stays below 30 MB."""
ROOM_FOR_PICTURES = 6_000_000


@dataclass(frozen=True)
class ImageSet:
    """Rows with predictions for the same images.

    Attributes:
        title: the test set, with its subset or number of images where the name alone would not tell.
        named: the rows by a short name.
    """

    title: str
    named: dict[str, Row]

    @cached_property
    def answers(self) -> Answers:
        """Return the first row's: names, true places and clusters are those of all."""
        return Answers(next(iter(self.named.values())).results[0])

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the images."""
        assert self.answers.result.names is not None
        return [str(name) for name in self.answers.result.names]


def image_sets(rows: Sequence[Row]) -> list[ImageSet]:
    """Return the image sets of ``rows``; published ones and those without predictions are in none."""
    groups: dict[bytes, list[Row]] = {}
    for row in rows:
        if row.results and not row.recorded_only:
            groups.setdefault(row.dataset.encode() + b"\0" + images_of(row.results[0]), []).append(row)
    firsts = [group[0].results[0] for group in groups.values()]
    titles = []
    for first in firsts:
        alike = [other for other in firsts if (other.dataset, other.subset) == (first.dataset, first.subset)]
        name = f"{first.dataset} ({first.subset})" if first.subset else first.dataset
        titles.append(f"{name}, n = {first.n:,}" if len(alike) > 1 else name)
    return [
        ImageSet(
            title if titles.count(title) == 1 else f"{title} ({number})", dict(zip(labels(group), group, strict=True))
        )
        for number, (title, group) in enumerate(zip(titles, groups.values(), strict=True), 1)
    ]


def explorer(sets: Sequence[ImageSet], blocks: Blocks, pictures: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Return what the page's scripts start from; arrays and pictures go to ``blocks``.

    Args:
        sets: see :func:`image_sets`.
        blocks: is added to.
        pictures: thumbnails at most.
        progress: told of the work.
    """
    ranks, left = _ranks(sets), ROOM
    found = []
    for number, images in enumerate(sets):
        base = 14 * len(images.names) + len(as_json(images.names))
        kept: dict[str, Row] = {}
        for label, row in images.named.items():
            size = _size(row, ranks) + (0 if kept else base)
            if size <= left:
                kept[label] = row
                left -= size
        found.append(_image_set(number, images, kept, ranks, blocks))
        if kept:
            share = pictures // len(sets), ROOM_FOR_PICTURES // len(sets)
            found[-1] |= _pictures(number, images, *share, blocks, progress)
            found[-1]["notes"] += _notes(images, kept, ranks)
    return {
        "levels": list(LEVELS_KM.values()),
        "colours": COLOURS,
        "radius": EARTH_RADIUS_KM,
        "sets": found,
    }


def _ranks(sets: Sequence[ImageSet]) -> int:
    """Return how many of each image's predictions there is room for."""
    rows = [row for images in sets for row in images.named.values()]
    fitting = (k for k in range(MOST_RANKS, 1, -1) if sum(_size(row, k) for row in rows) <= ROOM)
    return next(fitting, 1)


def _size(row: Row, ranks: int) -> int:
    """Return the letters of base64 that the answers of ``row`` take: 12 bytes a rank, 5 for error and level."""
    n, k = Answers(row.results[0]).predictions.scores.shape
    return int(n * (12 * min(k, ranks) + 5) * 4 / 3)


def _image_set(number: int, images: ImageSet, kept: dict[str, Row], ranks: int, blocks: Blocks) -> dict[str, Any]:
    answers = images.answers
    codes, countries = np.unique(answers.places.countries.astype(str), return_inverse=True)
    prefix = f"set-{number}"
    found: dict[str, Any] = {
        "title": images.title,
        "dataset": answers.result.dataset,
        "n": len(answers),
        "labels": list(images.named),
        "regions": blocks.json(f"{prefix}-regions", regions(list(images.named.values()), answers)),
        "notes": [],
        "rows": [],
    }
    if kept:
        found |= {
            "names": blocks.json(f"{prefix}-names", images.names),
            "truth": blocks.array(f"{prefix}-truth", answers.truth, "<f4"),
            "countries": [country_name(code) if code else AT_SEA for code in codes.tolist()],
            "country": blocks.array(f"{prefix}-country", countries, "<u2"),
            "rows": [
                _row(f"{prefix}-row-{row}", label, images.named[label], ranks, blocks) for row, label in enumerate(kept)
            ],
        }
    return found


def _row(prefix: str, label: str, row: Row, ranks: int, blocks: Blocks) -> dict[str, Any]:
    """Return a row's arrays; of several seeds those of the first. A place of a failed image is NaN, its level 255."""
    answers = Answers(row.results[0])
    k = min(ranks, answers.predictions.scores.shape[1])
    levels = np.searchsorted(np.array(list(LEVELS_KM.values())), answers.errors)
    return {
        "label": label,
        "seed": row.results[0].seed if len(row.results) > 1 else None,
        "k": k,
        "places": blocks.array(f"{prefix}-places", answers.predictions.coordinates[:, :k], "<f4"),
        "scores": blocks.array(f"{prefix}-scores", answers.predictions.scores[:, :k], "<f4"),
        "errors": blocks.array(f"{prefix}-errors", answers.errors, "<f4"),
        "level": blocks.array(f"{prefix}-level", np.where(answers.predictions.failed, 255, levels), "u1"),
    }


def _pictures(
    number: int, images: ImageSet, most: int, room: int, blocks: Blocks, progress: Progress
) -> dict[str, Any]:
    """Return the block of thumbnails, and notes on them."""
    errors = [row.results[0].errors for row in images.named.values()]
    wanted = telling_images(errors, most)
    found, note = thumbnails(images.answers.result.dataset, images.names, wanted, room, progress)
    notes = [note] if note else []
    if 0 < len(found) < len(images.names) - bool(note):
        notes.append(
            f"{len(found):,} of the {len(images.names):,} images have a picture, so that the file stays below 30 MB: "
            "in turn the worst and the best of each model, those on which models differ most, and a random sample."
        )
    return {"pictures": blocks.json(f"set-{number}-pictures", found), "notes": notes}


def _notes(images: ImageSet, kept: dict[str, Row], ranks: int) -> list[str]:
    notes = []
    deepest = max(Answers(row.results[0]).predictions.scores.shape[1] for row in kept.values())
    if deepest > ranks:
        notes.append(f"The cards show the best {ranks} of up to {deepest} predictions of each model.")
    if any(len(row.results) > 1 for row in kept.values()):
        notes.append("Of a row that joins several seeds, map and cards show the first; the curves pool them.")
    out = [label for label in images.named if label not in kept]
    if out:
        notes.append(f"No room below 30 MB for the answers of {', '.join(out)}: they are in tables and curves only.")
    return notes
