"""Doubts about the predictions of others: copies, one answer for all, centres of cities, points of the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from geobench.data.places import settlements
from geobench.errors import GeobenchError
from geobench.gallery import get_gallery, needs_training
from geobench.geo import FloatArray, nearest_km, place_keys
from geobench.report.doubts.doubt import Doubt
from geobench.report.rows import Row
from geobench.results import Result

FEWEST = 10
"""Fewer answers say nothing of their origin."""
SAME_DEGREES, SAME_SHARE = 1e-3, 0.9
"""Two systems have the same predictions if so large a share of their common answers differs by no more: 111 m."""
CONSTANT, ELSEWHERE_KM = 0.1, 25.0
"""Share of the answers that are one position, and how far from it most of these images are."""
INHABITANTS, CENTRE_KM, CENTRES = 100_000, 1.0, 0.5
"""Answers are centres of cities if this share of them is so near to one of so many inhabitants."""
POINT_KM, FROM_TRUTH, FROM_GALLERY = 0.01, 0.1, 0.5
"""Answers are points of the truth, or of a gallery, if these shares of them are so near to one."""


def _answers(row: Row) -> FloatArray:
    """Return the best positions of the predictions of others, those of the answered images; none for too few."""
    result = row.results[0]
    if not result.foreign or result.predictions is None:
        return np.empty((0, 2))
    found: FloatArray = result.predictions.coordinates[~result.predictions.failed, 0]
    return found if len(found) >= FEWEST else found[:0]


def same_predictions(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Pairs of systems of which one, at least, is of others, with nearly the same predictions."""
    for a, b in combinations([row for row in ours if not row.recorded_only], 2):
        one, other = a.results[0], b.results[0]
        if one.model != other.model and (one.foreign or other.foreign) and one.test_hash == other.test_hash:
            both, same = _in_common(one, other)
            if both >= FEWEST and same >= SAME_SHARE * both:
                text = f"{a.model} and {b.model} have the same position, to {SAME_DEGREES:g}°, for {same:,} of the "
                yield Doubt("same predictions", (a, b), f"{text}{both:,} images that both answered: is one the other?")


def _in_common(a: Result, b: Result) -> tuple[int, int]:
    """Return how many images both answered, and for how many of them the best positions are the same."""
    assert a.predictions is not None and b.predictions is not None
    if len(a.predictions) != len(b.predictions):
        return 0, 0
    both = ~(a.predictions.failed | b.predictions.failed)
    apart = np.abs(a.predictions.coordinates[both, 0] - b.predictions.coordinates[both, 0])
    return int(both.sum()), int((apart <= SAME_DEGREES).all(axis=1).sum())


def one_answer(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows with one position for many images that are elsewhere."""
    for row in ours:
        placed = _answers(row)
        if not len(placed):
            continue
        keys, counts = np.unique(place_keys(placed), return_counts=True)
        same = place_keys(placed) == keys[counts.argmax()]
        often = int(counts.max())
        predictions, errors = row.results[0].predictions, row.results[0].errors
        assert predictions is not None
        away = np.median(errors[~predictions.failed][same]) > ELSEWHERE_KM
        if often >= max(FEWEST, CONSTANT * len(placed)) and away:
            latitude, longitude = placed[same][0].tolist()
            text = f"{row.model} answers {latitude:g}, {longitude:g} for {often:,} of {len(placed):,} images"
            yield Doubt("one answer", (row,), f"{text}, most of which are more than {ELSEWHERE_KM:g} km from there.")


def _truth(row: Row) -> FloatArray:
    truth = row.results[0].truth
    assert truth is not None
    return truth


def city_centres(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose answers are centres of cities, where the images are not."""
    for row in ours:
        placed = _answers(row)
        if not len(placed):
            continue
        coordinates, inhabitants = settlements()
        cities = coordinates[inhabitants >= INHABITANTS]
        near, there = ((nearest_km(points, cities) <= CENTRE_KM).mean() for points in (placed, _truth(row)))
        if near >= max(CENTRES, 2 * there):
            text = f"{row.model}: {near:.0%} of its answers are within {CENTRE_KM:g} km of the centre of a city of "
            more = f"{INHABITANTS:,} or more, of the images {there:.0%}: it names cities, not positions"
            yield Doubt("city centres", (row,), f"{text}{more}.")


def points_of_the_truth(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose answers are true positions, of whichever image: the system has seen them, or chooses from them."""
    for row in ours:
        placed = _answers(row)
        if not len(placed):
            continue
        equal = int((nearest_km(placed, _truth(row)) <= POINT_KM).sum())
        if equal >= max(FEWEST, FROM_TRUTH * len(placed)):
            text = f"{row.model}: {equal:,} of its {len(placed):,} answers are true positions of this test set, to "
            yield Doubt("points of the truth", (row,), f"{text}{1000 * POINT_KM:g} m.")


def points_of_a_gallery(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose answers are points of a gallery that other rows of the table were run with."""
    galleries = {
        (r.gallery, r.seed) for row in ours for r in row.results if r.gallery and not needs_training(r.gallery)
    }
    for spec, seed in sorted(galleries):
        try:
            points = get_gallery(spec, seed=seed).coordinates
        except GeobenchError:
            continue
        for row in ours:
            placed = _answers(row)
            equal = int((nearest_km(placed, points) <= POINT_KM).sum()) if len(placed) else 0
            if len(placed) and equal >= FROM_GALLERY * len(placed):
                text = f"{row.model}: {equal:,} of its {len(placed):,} answers are points of the gallery {spec}"
                yield Doubt("points of a gallery", (row,), f"{text}, to {1000 * POINT_KM:g} m.")


KINDS: tuple[Callable[[Sequence[Row]], Iterator[Doubt]], ...] = (
    same_predictions,
    one_answer,
    city_centres,
    points_of_the_truth,
    points_of_a_gallery,
)
