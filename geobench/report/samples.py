"""Sample queries of a result by error level, with the photos that were tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from geobench import files
from geobench.analysis.details import DetailedResult
from geobench.data.dataset import Dataset
from geobench.errors import DatasetError, ImageError, ResultError, SettingError
from geobench.metrics import thresholds_of
from geobench.pictures.canvas import save, styled
from geobench.pictures.maps import SUFFIXES
from geobench.pictures.samples import Sample, draw_samples
from geobench.plugins import get_dataset, get_metrics

SIDE = 300
MOST_COLUMNS = 8


def sample_page(
    detailed: DetailedResult,
    output: Path,
    per_level: int = 5,
    seed: int = 0,
    thresholds_km: Sequence[float] | None = None,
) -> list[tuple[str, list[int]]]:
    """Draw images of each error level of a result, and save the page as ``output`` (PNG, PDF or SVG).

    Args:
        detailed: the result; its test set's photos must be on this machine, and the ones that were tested.
        output: the file.
        per_level: images of each level, drawn at random; a level that has fewer shows them all.
        seed: of the draw.
        thresholds_km: distances that separate the levels, in place of the test set's own.

    Returns:
        The heading of each level, and the row numbers of its images in the predictions.

    Raises:
        DatasetError: the photos are not here, or are not the ones that the result is of.
        SettingError: the file or a number cannot be.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a page is saved as a file that ends in {', '.join(SUFFIXES)}, not as {output.name!r}.")
    if not 1 <= per_level <= MOST_COLUMNS:
        raise SettingError(f"a page has room for 1 to {MOST_COLUMNS} images of a level, not {per_level}.")
    files.check_writable(output)
    result = detailed.result
    there = _same_photos(detailed)
    limits = thresholds_km if thresholds_km is not None else thresholds_of(get_metrics(result.dataset))
    levels = list(choose(detailed.errors, detailed.predictions.failed, sorted(limits), per_level, seed))
    drawn = [(heading, [_sample(detailed, there, row) for row in rows]) for heading, rows in levels]
    test_set = f"{result.dataset} ({result.subset})" if result.subset else result.dataset
    with styled():
        title = f"{detailed.name} on {test_set}, drawn at random from each level of error"
        save(draw_samples(drawn, per_level, title), output)
    return levels


def choose(
    errors_km: npt.NDArray[np.float64],
    failed: npt.NDArray[np.bool_],
    limits_km: Sequence[float],
    per_level: int,
    seed: int = 0,
) -> Iterator[tuple[str, list[int]]]:
    """Yield for each level between the rising ``limits_km`` its heading and up to ``per_level`` rows of it, at random.

    Images that ``failed`` are in none.
    """
    level = np.searchsorted(np.asarray(limits_km), errors_km)  # an error of exactly a threshold is within it
    order = np.random.default_rng(seed).permutation(len(errors_km))
    names = [f"≤ {km:,g} km" for km in limits_km] + [f"> {max(limits_km):,g} km"]
    for number, name in enumerate(names):
        of_level = order[(level[order] == number) & ~failed[order]]
        yield f"{name}\n{len(of_level):,} images", of_level[:per_level].tolist()


def _same_photos(detailed: DetailedResult) -> Dataset:
    """Return the test set of a result if its photos are here, and the ones that it is of."""
    result = detailed.result
    there = get_dataset(result.dataset)
    if there.stored and not there.has_photos(there.split_for("test")):
        raise DatasetError(f"{result.dataset} is a table of positions without photos, so there are none to show.")
    there.prepare("test")
    table = there.table("test")
    if result.names is None:
        raise ResultError(f"the predictions of {result.stem} are not next to their record; run the model again.")
    if there.stored and (unknown := set(result.names) - set(table["image"])):
        raise DatasetError(
            f"{result.dataset} lists no image {sorted(unknown)[0]!r}, which the result has: it has changed since, so "
            "its photos are not shown; run the model again."
        )
    now = {there.content_key(pd.DataFrame({"image": list(of)}), "test") for of in (table["image"], result.names)}
    if result.images_key and result.images_key not in now:
        raise DatasetError(
            f"the photos of {result.dataset} are not the ones that the result is of, as far as names, sizes and times "
            "of the files tell; run the model again."
        )
    return there


def _sample(detailed: DetailedResult, there: Dataset, row: int) -> Sample:
    assert detailed.result.names is not None
    name = str(detailed.result.names[row])
    try:
        photo = there.read_image(name, "test", side=SIDE)
        photo.thumbnail((SIDE, SIDE))
    except ImageError:
        photo = None
    place = detailed.predictions.coordinates[row, 0]
    return Sample(name, photo, detailed.truth[row], place, float(detailed.errors[row]))
