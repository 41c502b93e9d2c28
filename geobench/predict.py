"""Where was this photo taken? Predictions for single files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geobench.datasets import Dataset
from geobench.errors import GalleryError, ImageError
from geobench.evaluate import answer
from geobench.gallery import Gallery, get_gallery
from geobench.images import open_image
from geobench.models import Model

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

DEFAULT_GALLERY = "100k"


class _Photos(Dataset, kind="photos"):
    """Files named one by one, as a data set."""

    def read_image(self, image: str, purpose: str) -> Image.Image:
        return open_image(Path(image))

    def content_key(self, table: pd.DataFrame, purpose: str) -> str:
        from geobench import files
        from geobench.datasets import stamp

        return files.digest([[image, *stamp(Path(image))] for image in table["image"]])


def predict(model: Model, photos: Sequence[Path], gallery: str | None = None, top_k: int = 5) -> pd.DataFrame:
    """Return ``photo``, ``rank``, ``latitude``, ``longitude``, ``score``, ``error`` for each photo, best first.

    Args:
        model: ready to answer: ``get_model("geoclip")``.
        photos: files; one that cannot be read has one row, with what is wrong in ``error``.
        gallery: spec; by default all coordinates of the training set, at most 100,000.
        top_k: predictions for each photo.
    """
    import pandas as pd

    table = pd.DataFrame({"image": [str(path.resolve()) for path in photos]})
    shown = _Photos(name="photos", title="photos")
    predictions = answer(model, shown, table, _gallery(model, gallery), top_k)
    rows = []
    for path, failed, places, scores in zip(
        photos, predictions.failed, predictions.coordinates, predictions.scores, strict=True
    ):
        if failed:
            rows.append((str(path), 0, None, None, None, _why(path)))
        else:
            rows += [(str(path), rank, *place, score, "") for rank, (place, score) in enumerate(zip(places, scores), 1)]  # noqa: B905
    return pd.DataFrame(rows, columns=["photo", "rank", "latitude", "longitude", "score", "error"])


def _gallery(model: Model, spec: str | None) -> Gallery | None:
    if not model.uses_gallery:
        return None
    training = model.checkpoint.coordinates if model.checkpoint is not None else None
    if spec is None and training is None:
        raise GalleryError(
            f"{model.name} was not trained and has no coordinates of its own; name one: --gallery land:100k"
        )
    if spec is None and training is not None:
        spec = DEFAULT_GALLERY if len(training) > 100_000 else f"training:{len(training)}"
    return get_gallery(spec or DEFAULT_GALLERY, training)


def _why(path: Path) -> str:
    try:
        open_image(path)
    except ImageError as error:
        return str(error)
    return "it could not be read"
