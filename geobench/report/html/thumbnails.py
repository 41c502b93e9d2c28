"""Small pictures for the cards: of the most informative images, as many as the page has room for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
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
"""Pictures in a page by default: about 4 MB."""


def informative_images(errors: Sequence[FloatArray], most: int) -> list[int]:
    """Return the numbers of up to ``most`` of n images, the most informative about the rows of ``errors`` (n,) first.

    In turn: the worst and the best of each row, those on which the rows disagree most, and a random sample.
    """
    n = len(errors[0])
    orders = [order for error in errors for order in (np.argsort(-error, kind="stable"), np.argsort(error))]
    near = np.log1p(np.stack(errors))
    orders.append(np.argsort(near.min(axis=0) - near.max(axis=0), kind="stable"))
    orders.append(np.random.default_rng(0).permutation(n))
    return list(islice(_in_turn(orders), max(0, most)))


def _in_turn(orders: Sequence[np.ndarray]) -> Iterator[int]:
    yielded: set[int] = set()
    for several in zip_longest(*(order.tolist() for order in orders)):
        for image in several:
            if image not in yielded:
                yielded.add(image)
                yield image


def thumbnails(
    dataset: str,
    names: Sequence[str],
    wanted: Sequence[int],
    room: int,
    progress: Progress = SILENT,
    *,
    keys: Collection[str] = (),
) -> tuple[dict[int, str], str]:
    """Return pictures as data URIs by the number of their image, and a note on those that are missing.

    Args:
        dataset: the test set.
        names: of all images (n,).
        wanted: numbers of the images, see :func:`informative_images`. A name that the set does not list is not
            opened: a file of results may come from anyone.
        room: characters that the pictures may take; the first ones that fit are kept.
        progress: reports how many are read.
        keys: of the images that were looked at, of each result that states one; there are no pictures of others.
    """
    if not wanted:
        return {}, ""
    try:
        there = get_dataset(dataset)
        if not there.present:
            return (
                {},
                f"The images of {dataset} are not on the machine that wrote this page, so its cards have no pictures.",
            )
        there.prepare("test", progress)
        whole = there.positions("test")["image"].tolist()
        listed = set(whole) if there.stored else set(names)
        if set(keys) - _keys_now(there, (whole, list(names)), progress):
            return {}, (
                f"The images of {dataset} are not the ones that these results are of, as far as names, sizes and times "
                "of the files tell, so its cards have no pictures."
            )
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
        return {}, f"The cards of {dataset} have no pictures: {error}"
    return found, f"{unread:,} images of {dataset} could not be read for a picture." if unread else ""


def _keys_now(dataset: Dataset, tables: Sequence[list[str]], progress: Progress) -> set[str]:
    """Return the keys that tables of images have now: a result is of a whole test set, or of those that it names."""
    import pandas as pd

    named = [names for number, names in enumerate(tables) if names not in tables[:number]]
    return {dataset.content_key(pd.DataFrame({"image": names}), "test", progress) for names in named}


def _uri(dataset: Dataset, name: str) -> str:
    """Return the picture of the image called ``name``; empty if it cannot be read."""
    try:
        picture = dataset.read_image(name, "test", side=SIDE)
    except ImageError:
        return ""
    picture.thumbnail((SIDE, SIDE))
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + b64encode(file.getvalue()).decode("ascii")
