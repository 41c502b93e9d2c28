"""The compact data behind the page's map, curves and cards: the predictions of all models for the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from geobench import predictions
from geobench.analysis.details import DetailedResult
from geobench.analysis.groupings import AT_SEA
from geobench.data.countries import country_name
from geobench.geo import EARTH_RADIUS_KM
from geobench.metrics import Metric, headings, thresholds_of
from geobench.pictures.palette import error_colours
from geobench.progress import SILENT, Progress
from geobench.report.figures import labels
from geobench.report.html.atlas import atlas
from geobench.report.html.page_data import PageData, as_json
from geobench.report.html.regions import regions, shares_among
from geobench.report.html.thumbnails import informative_images, thumbnails
from geobench.report.rows import Row, images_of

MOST_RANKS = 5
ROOM = 18_000_000
"""Characters for predictions: with 6 MB of pictures, the plotting library and the tables, the file is below 30 MB."""
ROOM_FOR_PICTURES = 6_000_000
FAILED = 255
"""Level of a failed image; the others count the thresholds that the error exceeds."""
ANSWER_CHARACTERS = 1000
"""Of a raw answer, so many are on its card; the predictions file has it whole."""
MOST_LEVELS = FAILED - 1


@dataclass(frozen=True)
class ImageSet:
    """Rows with predictions for the same images.

    Attributes:
        title: the test set, with its subset, number of images or version if the name alone is ambiguous.
        named: the rows by a short name.
    """

    title: str
    named: dict[str, Row]

    @cached_property
    def detailed(self) -> DetailedResult:
        """Return the result of the first row: its names, true positions and clusters are those of all."""
        return DetailedResult(next(iter(self.named.values())).results[0])

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the images."""
        assert self.detailed.result.names is not None
        return [str(name) for name in self.detailed.result.names]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of all rows."""
        return next(iter(self.named.values())).metrics

    @property
    def thresholds_km(self) -> list[float]:
        """Return the distances that part the levels of error, as many as a byte can tell apart."""
        return thresholds_of(self.metrics)[:MOST_LEVELS]


def image_sets(rows: Sequence[Row]) -> list[ImageSet]:
    """Return the image sets of ``rows``, without published rows and those without predictions."""
    groups: dict[bytes, list[Row]] = {}
    for row in rows:
        if row.results and not row.recorded_only:
            groups.setdefault(row.dataset.encode() + b"\0" + images_of(row.results[0]), []).append(row)
    firsts = [group[0].results[0] for group in groups.values()]
    titles = []
    for first in firsts:
        alike = [other for other in firsts if (other.dataset, other.subset) == (first.dataset, first.subset)]
        name = f"{first.dataset} ({first.subset})" if first.subset else first.dataset
        name += f", n = {first.n:,}" if len({other.n for other in alike}) > 1 else ""
        versions = {other.test_hash for other in alike if other.n == first.n}
        titles.append(f"{name}, table {first.test_hash[:4]}" if len(versions) > 1 else name)
    return [
        ImageSet(
            title if titles.count(title) == 1 else f"{title} ({number})", dict(zip(labels(group), group, strict=True))
        )
        for number, (title, group) in enumerate(zip(titles, groups.values(), strict=True), 1)
    ]


def explorer(sets: Sequence[ImageSet], data: PageData, pictures: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Return what the page's scripts start from; arrays and pictures are added to ``data``.

    Args:
        sets: see :func:`image_sets`.
        data: of the page.
        pictures: at most so many thumbnails.
        progress: reports the reading of pictures.
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
        found.append(_image_set(number, images, kept, ranks, data))
        if kept:
            share = pictures // len(sets), ROOM_FOR_PICTURES // len(sets)
            found[-1] |= _pictures(number, images, *share, data, progress)
            found[-1]["notes"] += _notes(images, kept, ranks)
    return {"radius": EARTH_RADIUS_KM, "failed": FAILED, "atlas": atlas(data), "sets": found}


def statuses(sets: Sequence[ImageSet]) -> list[str]:
    """Return which statuses say more of an image than that it failed, in the order of their definition."""
    results = [row.results[0] for images in sets for row in images.named.values()]
    there = {status for result in results for status in _reasons(DetailedResult(result)).values()}
    return [status for status in predictions.STATUSES if status in there]


def _ranks(sets: Sequence[ImageSet]) -> int:
    """Return for how many predictions of each image there is room."""
    rows = [row for images in sets for row in images.named.values()]
    fitting = (k for k in range(MOST_RANKS, 1, -1) if sum(_size(row, k) for row in rows) <= ROOM)
    return next(fitting, 1)


def _size(row: Row, ranks: int) -> int:
    """Return the characters of the predictions of ``row``: 12 bytes per rank, 5 for error and level; its answers."""
    detailed = DetailedResult(row.results[0])
    n, k = detailed.predictions.scores.shape
    return int(n * (12 * min(k, ranks) + 5) * 4 / 3) + len(as_json(_answers(detailed)))


def _image_set(number: int, images: ImageSet, kept: dict[str, Row], ranks: int, data: PageData) -> dict[str, Any]:
    detailed = images.detailed
    codes, countries = np.unique(detailed.places.countries.astype(str), return_inverse=True)
    prefix = f"set-{number}"
    found: dict[str, Any] = {
        "title": images.title,
        "dataset": detailed.result.dataset,
        "n": len(detailed),
        "levels": images.thresholds_km,
        "colours": error_colours(len(images.thresholds_km)),
        "shares": _share_names(images.metrics),
        "labels": list(images.named),
        "regions": data.json(f"{prefix}-regions", regions(list(images.named.values()), detailed)),
        "notes": [],
        "rows": [],
    }
    if kept:
        found |= {
            "names": data.json(f"{prefix}-names", images.names),
            "truth": data.array(f"{prefix}-truth", detailed.truth, "<f4"),
            "countries": [country_name(code) if code else AT_SEA for code in codes.tolist()],
            "country": data.array(f"{prefix}-country", countries, "<u2"),
            "rows": [_row(f"{prefix}-row-{row}", label, images, ranks, data) for row, label in enumerate(kept)],
        }
    return found


def _share_names(metrics: Sequence[Metric]) -> list[str]:
    """Return what the page calls the shares among ``metrics``: accuracies go by their distance."""
    heads = headings(metrics)
    return [
        f"{metric.threshold_km:,g} km" if metric.threshold_km is not None else heads[metric.name]
        for metric in shares_among(metrics)
    ]


def _row(prefix: str, label: str, images: ImageSet, ranks: int, data: PageData) -> dict[str, Any]:
    """Return the arrays of a row, of several seeds those of the first; positions of failed images are NaN."""
    results = images.named[label].results
    detailed = DetailedResult(results[0])
    k = min(ranks, detailed.predictions.scores.shape[1])
    levels = np.searchsorted(np.array(images.thresholds_km), detailed.errors)
    return {
        "label": label,
        "seed": results[0].seed if len(results) > 1 else None,
        "k": k,
        "places": data.array(f"{prefix}-places", detailed.predictions.coordinates[:, :k], "<f4"),
        "scores": data.array(f"{prefix}-scores", detailed.predictions.scores[:, :k], "<f4"),
        "errors": data.array(f"{prefix}-errors", detailed.errors, "<f4"),
        "reasons": data.json(f"{prefix}-reasons", _reasons(detailed)),
        "answers": data.json(f"{prefix}-answers", _answers(detailed)),
        "level": data.array(f"{prefix}-level", np.where(detailed.predictions.failed, FAILED, levels), "u1"),
    }


def _reasons(detailed: DetailedResult) -> dict[int, str]:
    """Return the status of each failed image whose status says more than that, by its number."""
    stated = enumerate(detailed.predictions.status.tolist())
    return {image: status for image, status in stated if status not in (predictions.OK, predictions.FAILED)}


def _answers(detailed: DetailedResult) -> dict[int, list[str]]:
    """Return the raw answer of a service to each image, by its number, and how it was read or why it was not."""
    columns = detailed.predictions.answers or {}
    if "text" not in columns:
        return {}
    found = {}
    for image, text in enumerate(columns["text"]):
        read = [str(columns[name][image]) for name in ("reason", "rule", "level") if name in columns]
        if text or any(read):
            cut = text[:ANSWER_CHARACTERS] + ("…" if len(text) > ANSWER_CHARACTERS else "")
            found[image] = [cut, "; ".join(filter(None, read))]
    return found


def _pictures(
    number: int, images: ImageSet, most: int, room: int, data: PageData, progress: Progress
) -> dict[str, Any]:
    """Return the name of the thumbnails' data, and notes on them."""
    errors = [row.results[0].errors for row in images.named.values()]
    wanted = informative_images(errors, most)
    keys = {result.images_key for row in images.named.values() for result in row.results} - {""}
    found, note = thumbnails(images.detailed.result.dataset, images.names, wanted, room, progress, keys=keys)
    notes = [note] if note else []
    if 0 < len(found) < len(images.names) - bool(note):
        notes.append(
            f"{len(found):,} of the {len(images.names):,} images have a picture, to keep the file below 30 MB: in turn "
            "the worst and the best of each model, those on which models differ most, and a random sample."
        )
    return {"pictures": data.json(f"set-{number}-pictures", found), "notes": notes}


def _notes(images: ImageSet, kept: dict[str, Row], ranks: int) -> list[str]:
    notes = []
    deepest = max(DetailedResult(row.results[0]).predictions.scores.shape[1] for row in kept.values())
    if deepest > ranks:
        notes.append(f"The cards show the best {ranks} of up to {deepest} predictions of each model.")
    if any(len(row.results) > 1 for row in kept.values()):
        notes.append("For a row that joins several seeds, map and cards show the first; the curves pool them.")
    out = [label for label in images.named if label not in kept]
    if out:
        notes.append(
            f"No room below 30 MB for the predictions of {', '.join(out)}: they are in tables and curves only."
        )
    return notes
