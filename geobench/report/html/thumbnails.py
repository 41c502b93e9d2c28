"""Small pictures for the cards: of those images that tell most, as many as the page has room for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import islice, zip_longest

import numpy as np

from geobench.data.dataset import Dataset
from geobench.errors import GeobenchError, ImageError
from geobench.geo import FloatArray
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress

SIDE = 128
QUALITY = 60
MOST = 1000
"""Pictures in a page where nobody asks for another number: some 4 MB."""


def telling_images(errors: Sequence[FloatArray], most: int) -> list[int]:
    """Return the numbers of up to ``most`` of n images, those first that tell most about the rows of ``errors`` (n,).

    In turn: the worst and the best of each row, the ones on which the rows disagree most, and an even sample.
    """
    n = len(errors[0])
    orders = [order for error in errors for order in (np.argsort(-error, kind="stable"), np.argsort(error))]
    near = np.log1p(np.stack(errors))
    orders.append(np.argsort(near.min(axis=0) - near.max(axis=0), kind="stable"))
    orders.append(np.random.default_rng(0).permutation(n))
    return list(islice(_in_turn(orders), max(0, most)))


def _in_turn(orders: Sequence[np.ndarray]) -> Iterator[int]:
    seen: set[int] = set()
    for several in zip_longest(*(order.tolist() for order in orders)):
        for image in several:
            if image not in seen:
                seen.add(image)
                yield image


def thumbnails(
    dataset: str, names: Sequence[str], wanted: Sequence[int], room: int, progress: Progress = SILENT
) -> tuple[dict[int, str], str]:
    """Return pictures as data URIs, by the number of their image, and what to say of those that are not there.

    Args:
        dataset: whose images they are.
        names: of all images (n,).
        wanted: numbers of the images, see :func:`telling_images`. A name that the set does not list is not looked for:
            a file of results may come from anyone.
        room: letters that the pictures may take; the first ones that fit are kept.
        progress: told of the work.
    """
    if not wanted:
        return {}, ""
    try:
        there = get_dataset(dataset)
        if not there.present:
            return (
                {},
                f"The images of {dataset} are not on the machine that wrote this page: its cards have no picture.",
            )
        there.prepare("test", progress)
        listed = set(there.positions("test")["image"]) if there.stored else set(names)
        found: dict[int, str] = {}
        unread = 0
        with progress.track("pictures", len(wanted), "images") as advance:
            for image in wanted:
                uri = _uri(there, names[image]) if names[image] in listed else ""
                room -= len(uri)
                if room < 0:
                    break
                if uri:
                    found[image] = uri
                unread += not uri
                advance(1)
    except GeobenchError as error:
        return {}, f"The cards of {dataset} have no picture: {error}"
    return found, f"{unread:,} images of {dataset} could not be read for a picture." if unread else ""


def _uri(dataset: Dataset, name: str) -> str:
    """Return the picture of the image called ``name``, empty where it cannot be read."""
    try:
        picture = dataset.read_image(name, "test", side=SIDE)
    except ImageError:
        return ""
    picture.thumbnail((SIDE, SIDE))
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + b64encode(file.getvalue()).decode("ascii")
