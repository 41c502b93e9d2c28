"""Predictions for single photos and for texts, and a map of how similar every place is to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.data.dataset import Dataset
from geobench.errors import EncoderError, GeobenchError, ImageError, PluginError, SettingError, as_plugin_error
from geobench.evaluate import Options, encoder_for, locate, rows_in_training
from geobench.features.cache import extract
from geobench.gallery import Gallery, choose_gallery, warn_if_small
from geobench.geo import EARTH_RADIUS_KM, FloatArray, unit_vectors
from geobench.images.decoding import open_image
from geobench.images.reading import file_bytes
from geobench.models import Model, TestSet
from geobench.pictures.maps import Panel, check_map, draw_similarity
from geobench.pictures.worldmap import land_grid
from geobench.plugins import who
from geobench.predictions import UNREADABLE, Predictions
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

DEFAULT_GALLERY = "100k"
MAP_COLUMNS = 540  # grid points along the equator: 74 km apart, some 45,000 of them on land
BLOCK = 8192  # places compared with the queries at a time
THUMBNAIL_PIXELS = 300
MOST_SETTINGS = 2  # that tell models apart in the title of a map
PAINTED_KM = 150.0  # around a prediction, on the map of a model that has scores and no similarity
MOST_PAINTED = 5000  # predictions of a query on such a map
COSINE, SCORE = "cosine similarity", "score"
NOWHERE = np.empty((0, 2))


class _Photos(Dataset, kind="photos"):
    """Single files as a data set."""

    def image_bytes(self, image: str, purpose: str) -> bytes:
        return file_bytes(Path(image), image)

    def content_key(self, table: pd.DataFrame, purpose: str, progress: Progress = SILENT) -> str:
        return files.digest([[image, *files.stamp(Path(image))] for image in table["image"]])

    def contents(self, table: pd.DataFrame, purpose: str, *, fresh: bool = True) -> None:
        return None


PHOTOS = _Photos(name="photos", title="photos")


def predict(
    model: Model,
    photos: Sequence[Path] = (),
    gallery: str | None = None,
    top_k: int = 5,
    *,
    texts: Sequence[str] = (),
    map_to: Path | None = None,
    beside: Sequence[Model] = (),
    distinct: bool = True,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Return ``query``, ``rank``, ``latitude``, ``longitude``, ``score``, ``error`` for each query, best first.

    Args:
        model: ready to locate: ``get_model("geoclip")``.
        photos: files; an unreadable one has one row with the reason in ``error``.
        gallery: spec; by default all coordinates of the training set, at most 100,000.
        top_k: predictions for each query.
        texts: queries in words, such as ``Desert``; they follow the photos.
        map_to: PNG, PDF or SVG file for a map of the similarity of all land to each readable query, one panel each.
        beside: other models whose maps are drawn after that of ``model``, such as ones of fewer hierarchies.
        distinct: list a place once that the gallery has several times, with the score of its first, and others instead.
            False lists what the model returns, as the package ``geoclip`` does.
        progress: reports the work.

    Raises:
        EncoderError: there are ``texts`` and the model's encoder has no text tower.
        GeobenchError: a map is asked for and the model has neither :meth:`Model.similarity` nor scores of a query.
    """
    import pandas as pd

    photos, texts = list(dict.fromkeys(photos)), list(dict.fromkeys(texts))
    if map_to is not None:
        for each in (model, *beside):
            _check_map(each, map_to, (len(photos) + len(texts)) * (1 + len(beside)))
    elif beside:
        raise SettingError("models are compared on a map; say where to save it (map_to).")
    words = text_features(model, texts, progress)
    chosen, _ = choose_gallery(model, gallery, DEFAULT_GALLERY)
    warn_if_small(chosen, top_k, progress)
    rows: list[tuple[object, ...]] = []
    if photos:
        queries, options = TestSet(PHOTOS, _table(photos)), Options(top_k=top_k)
        again = distinct and model.input != "images"  # such a model would look at every photo again
        predictions = _enough(lambda k: locate(model, queries, chosen, Options(top_k=k), progress), top_k, again)
        _warn_of_training(model, queries, options, progress)
        rows += _rows([str(photo) for photo in photos], predictions, top_k, distinct)
    if texts:
        with as_plugin_error(who(model), "on texts"):
            predictions = _enough(
                lambda k: model.locate(words, chosen, k).check(len(texts), who(model)), top_k, distinct
            )
        rows += _rows(texts, predictions, top_k, distinct)
    table = pd.DataFrame(rows, columns=["query", "rank", "latitude", "longitude", "score", "error"])
    if map_to is not None:
        failed = set(table.loc[table["error"] != "", "query"])
        readable = [photo for photo in photos if str(photo) not in failed]
        if readable or texts:
            _draw((model, *beside), table, readable, texts, map_to, chosen, progress)
    return table


def _enough(place: Callable[[int], Predictions], top_k: int, distinct: bool) -> Predictions:
    """Return what ``place`` returns for as many predictions as give ``top_k`` places, none twice if ``distinct``."""
    k = top_k
    while True:
        found = place(k)
        answers = found.coordinates[~found.failed]
        fewest = min((len(np.unique(places, axis=0)) for places in answers), default=top_k)
        if not distinct or fewest >= top_k or found.coordinates.shape[1] < k:
            return found
        k *= 4


def text_features(model: Model, texts: Sequence[str], progress: Progress = SILENT) -> npt.NDArray[np.float32]:
    """Return features (n, 1, d) of ``texts`` by the text tower of the encoder that ``model`` was trained with.

    They are in the same space as the features of images, so that a model can locate them like an image's.

    Raises:
        EncoderError: the encoder has no text tower, or the model uses no features.
    """
    if not texts:
        return np.empty((0, 1, 0), dtype=np.float32)
    encoder = encoder_for(model, PHOTOS.default_encoder)
    if encoder is None:
        raise EncoderError(f"{model.name} does not use the features of an encoder, so it cannot locate texts.")
    progress.say(f"loading the encoder {encoder.name}.")
    with as_plugin_error(f"the encoder {encoder.name}", "on texts"):
        encoder.load(model.device)
        # One by one: features never depend, to the last bit, on the other texts of the call.
        features = [encoder.encode_texts([text]).float().cpu().numpy() for text in texts]
    return np.stack(features)


def _warn_of_training(model: Model, photos: TestSet, options: Options, progress: Progress) -> None:
    """Report which of ``photos`` the model was trained on; one that uses no images has seen none of them."""
    learnt = rows_in_training(model, photos, options) if model.input != "none" else None
    for photo in photos.images[learnt] if learnt is not None else ():
        assert model.checkpoint is not None
        progress.say(
            f"{Path(photo).name}: {model.checkpoint.spec} was trained on this photo, so the prediction shows what it "
            "remembers."
        )


def _check_map(model: Model, output: Path, n: int) -> None:
    if type(model).similarity is Model.similarity and model.input != "features":
        raise GeobenchError(
            f"{model.name} has neither a similarity between a query and a place nor scores that a query decides, so "
            "there is nothing to map."
        )
    check_map(output, n)


def _draw(
    models: Sequence[Model],
    table: pd.DataFrame,
    photos: Sequence[Path],
    texts: Sequence[str],
    output: Path,
    gallery: Gallery | None,
    progress: Progress,
) -> None:
    """Draw a panel for each of ``photos`` and ``texts`` by each model, the first one with its predictions."""
    grid = land_grid(MAP_COLUMNS)
    maps = [_map(model, photos, texts, grid.coordinates, gallery, progress) for model in models]
    labels = [SCORE if type(model).similarity is Model.similarity else COSINE for model in models]
    names = [""] if len(models) == 1 else [f", {name}" for name in told_apart(models)]
    panels = [
        Panel(title + name, values[number], _places(table, query) if first else NOWHERE, photo, label)
        for number, (title, query, photo) in enumerate(_shown(photos, texts))
        for first, name, values, label in zip([True] + [False] * len(models), names, maps, labels, strict=False)
    ]
    of = f", {_spec(models[0])}" if len(models) == 1 else ""
    what = {COSINE: "Similarity of places to the query", SCORE: f"Scores of places within {PAINTED_KM:.0f} km"}
    draw_similarity(panels, grid, output, f"{', '.join(what[label] for label in dict.fromkeys(labels))}{of}")


def _map(
    model: Model,
    photos: Sequence[Path],
    texts: Sequence[str],
    places: FloatArray,
    gallery: Gallery | None,
    progress: Progress,
) -> npt.NDArray[np.float32]:
    parts = (_photo_features(model, photos), text_features(model, texts, progress))
    features = np.concatenate([part for part in parts if len(part)])
    if type(model).similarity is Model.similarity:
        return _scores(model, features, places, gallery if model.uses_gallery else None)
    return _similarity(model, features, places, progress)


def _scores(
    model: Model, features: npt.NDArray[np.float32], coordinates: FloatArray, gallery: Gallery | None
) -> npt.NDArray[np.float32]:
    """Return (n, m) for each of ``coordinates`` (m, 2) the best score of a prediction within ``PAINTED_KM`` of it.

    It is 0 where there is none, or the lowest score if that is negative.
    """
    from scipy.spatial import cKDTree

    with as_plugin_error(who(model), "on a map"):
        found = model.locate(features, gallery, MOST_PAINTED).check(len(features), who(model))
    grid = cKDTree(unit_vectors(coordinates))
    chord = 2 * np.sin(PAINTED_KM / EARTH_RADIUS_KM / 2)
    painted = np.full((len(features), len(coordinates)), min(0.0, float(np.nanmin(found.scores))), dtype=np.float32)
    for row, places, scores in zip(painted, found.coordinates, found.scores, strict=True):
        for near, score in zip(grid.query_ball_point(unit_vectors(places), chord), scores, strict=True):
            row[near] = np.maximum(row[near], np.float32(score))
    return painted


def told_apart(models: Sequence[Model]) -> list[str]:
    """Return a name for each of ``models``: the settings in which checkpoints of one model differ, else its spec."""
    configs = [dict(model.checkpoint.config) if model.checkpoint is not None else {} for model in models]
    keys = sorted({key for config in configs for key in config})
    differ = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
    if len({model.name for model in models}) > 1 or not all(configs) or not 0 < len(differ) <= MOST_SETTINGS:
        return [_spec(model) for model in models]
    return [", ".join(f"{key} {config.get(key)}" for key in differ) for config in configs]


def _spec(model: Model) -> str:
    return model.checkpoint.spec if model.checkpoint is not None else model.name


def _shown(photos: Sequence[Path], texts: Sequence[str]) -> Iterator[tuple[str, str, Image.Image | None]]:
    """Yield title, query and thumbnail."""
    for path in photos:
        photo = open_image(path)
        photo.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        yield path.name, str(path), photo
    for text in texts:
        yield f"“{text}”", text, None


def _photo_features(model: Model, photos: Sequence[Path]) -> npt.NDArray[np.float32]:
    if not photos:
        return np.empty((0, 1, 0), dtype=np.float32)
    encoder = encoder_for(model, PHOTOS.default_encoder)
    assert encoder is not None  # a model with a similarity uses features
    return np.asarray(extract(PHOTOS, _table(photos), encoder, device=model.device).array)


def _similarity(
    model: Model, features: npt.NDArray[np.float32], coordinates: FloatArray, progress: Progress
) -> npt.NDArray[np.float32]:
    """Return ``model.similarity`` (n, m), computed block by block and checked."""
    similarity = np.empty((len(features), len(coordinates)), dtype=np.float32)
    with progress.track("map of similarity", len(coordinates), "places") as advance:
        for start in range(0, len(coordinates), BLOCK):
            block = coordinates[start : start + BLOCK]
            with as_plugin_error(who(model), "on a map"):
                found = np.asarray(model.similarity(features, block))
            if found.shape != (len(features), len(block)) or not np.isfinite(found).all():
                raise PluginError(
                    f"{who(model)} returned a similarity of shape {found.shape}, or with NaN; it must be finite and "
                    f"({len(features)}, {len(block)})."
                )
            similarity[:, start : start + len(block)] = found
            advance(len(block))
    return similarity


def _places(table: pd.DataFrame, query: str) -> FloatArray:
    rows = table[table["query"] == query]
    return rows[["latitude", "longitude"]].to_numpy(np.float64)


def _table(photos: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"image": [str(path.resolve()) for path in photos]})


def _rows(queries: Sequence[str], predictions: Predictions, top_k: int, distinct: bool) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table of :func:`predict`."""
    for row, query in enumerate(queries):
        if predictions.failed[row]:
            yield query, 0, None, None, None, _why(predictions, row) or _unread(Path(query))
        else:
            places, scores = predictions.coordinates[row], predictions.scores[row]
            kept = np.sort(np.unique(places, axis=0, return_index=True)[1]) if distinct else np.arange(len(places))
            for rank, number in enumerate(kept[:top_k], 1):
                yield query, rank, *places[number], scores[number], ""


def _why(predictions: Predictions, row: int) -> str:
    """Return why a service gave no position; empty if it was not asked."""
    if predictions.answers is None or predictions.status[row] == UNREADABLE:
        return ""
    return f"{predictions.status[row]}, {predictions.answers['reason'][row]}"


def _unread(path: Path) -> str:
    try:
        open_image(path)
    except ImageError as error:
        return str(error)
    return "cannot be read"
