"""Every file format: what is written is read back exactly, and a damaged file raises one of geobench's errors."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from geobench import (
    GeobenchError,
    Predictions,
    extract,
    get_dataset,
    get_encoder,
    get_gallery,
    get_model,
    train,
)
from geobench.checkpoints import get_checkpoints
from geobench.data.tables.rows import read_coordinates, read_rows, read_table
from geobench.geo import as_coordinates, from_vectors, invalid_rows, mean_position, unit_vectors
from geobench.images.decoding import open_image
from geobench.images.exif import exif_position
from geobench.report.formats import report
from geobench.results import load_result

FILE = Path("file")
SEPARATORS = [",", ";", "\t", "|"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
POINT = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
ANY_POINT = st.tuples(st.floats(), st.floats())
# No control characters, no lone halves of a pair: what a cell of a table may hold.
CELL = st.text(st.characters(exclude_categories=["C"]), max_size=12)
IMAGE = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), max_size=12).map("i{}".format)
SNIPPETS = [
    b"",
    b"\0",
    b"\xff",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"nan",
    b"-1e999",
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"..",
    b"9" * 30,
    "−é\u2028".encode(),
]
on_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw, whole):
    """Return ``whole`` with a few pieces of it cut out, replaced or put elsewhere."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 4, 40, len(data)])))
        data[start:end] = draw(st.sampled_from(SNIPPETS) | st.binary(max_size=8))
    return bytes(data)


def survives(read, *arguments):
    """Return what ``read`` returns, None where it raises an error of geobench's own, of one line."""
    try:
        return read(*arguments)
    except GeobenchError as error:
        assert str(error) and len(str(error).splitlines()) == 1, str(error)
        return None


@given(
    st.lists(st.tuples(IMAGE, POINT, CELL, CELL), min_size=1, max_size=6, unique_by=lambda row: row[0]),
    st.sampled_from(SEPARATORS),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_a_table_in_any_dialect_is_read_exactly(rows, separator, encoding, line_end, quote_all):
    with FILE.open("w", newline="", encoding=encoding) as file:
        quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=separator, lineterminator=line_end, quoting=quoting)
        writer.writerows([("image", "lat", "lon", "a", "b"), *((image, *point, a, b) for image, point, a, b in rows)])
    table = read_table(FILE)
    assert [tuple(row) for row in table[["image", "latitude", "longitude"]].to_numpy(object)] == [
        (image, *point) for image, point, _, _ in rows
    ]
    # Blanks that follow a separator are left out, unless they stand in quotes.
    kept = str if quote_all else str.lstrip
    assert [(kept(a), kept(b)) for a, b in table[["a", "b"]].to_numpy(object)] == [
        (kept(a), kept(b)) for *_, a, b in rows
    ]


@given(st.lists(POINT, min_size=1, max_size=20))
def test_a_gallery_file_is_read_exactly(points):
    FILE.with_suffix(".csv").write_text("LON,LAT\n" + "".join(f"{lon!r},{lat!r}\n" for lat, lon in points))
    gallery = get_gallery("file.csv")
    assert gallery.coordinates.tolist() == [list(point) for point in points]


@given(st.lists(st.tuples(IMAGE, ANY_POINT), min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_usable_rows_are_returned_and_the_others_named_whatever_the_coordinates(rows):
    with FILE.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "lat", "lon"), *((image, *point) for image, point in rows)])
    bad = set(invalid_rows(np.array([point for _, point in rows])).tolist())
    found = read_rows(FILE)
    assert {problem.line for problem in found.problems} == {row + 2 for row in bad}
    assert found.table.index.tolist() == [row + 2 for row in range(len(rows)) if row not in bad]
    assert (survives(read_table, FILE) is None) == bool(bad)


@given(st.lists(ANY_POINT, min_size=1, max_size=8))
def test_coordinates_are_finite_and_in_range_or_an_error(points):
    got = survives(as_coordinates, points)
    if got is not None:
        assert np.isfinite(got).all() and (np.abs(got) <= (90, 180)).all()
        assert (np.abs(from_vectors(unit_vectors(got))) <= (90, 180)).all()
        assert (np.abs(mean_position(got)) <= (90, 180)).all()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_table_or_an_error(data):
    FILE.write_bytes(data)
    survives(read_table, FILE)
    survives(read_coordinates, FILE)


@pytest.mark.parametrize("separator", SEPARATORS)
@given(data=st.data())
def test_a_damaged_table_is_read_within_range_or_an_error(separator, data):
    rows = ["image,latitude,longitude,note", 'a.jpg,48.8,2.3,"one, two"', "b.jpg,-33.9,151.2,é", "c.jpg,1e1,0,"]
    FILE.write_bytes(data.draw(damaged("\r\n".join(rows).replace(",", separator).encode())))
    table = survives(read_table, FILE)
    if table is not None:
        assert not len(invalid_rows(table[["latitude", "longitude"]].to_numpy(np.float64)))
        assert table["image"].is_unique
    survives(read_table, FILE, {"image": 1, "latitude": 2, "longitude": 3}, False)


@given(st.data())
def test_a_damaged_predictions_file_is_read_or_an_error(data):
    coordinates = np.array([[[1.5, 2.5], [3.25, -4.0]], [[np.nan, np.nan]] * 2])
    Predictions(coordinates, np.array([[0.5, 0.25], [np.nan, np.nan]]), np.array([False, True])).save(
        FILE, ["a.jpg", "b.jpg"], np.zeros((2, 2))
    )
    FILE.write_bytes(data.draw(damaged(FILE.read_bytes())))
    got = survives(Predictions.load, FILE)
    if got is not None:
        assert not len(invalid_rows(got[0].coordinates[~got[0].failed].reshape(-1, 2)))


@given(st.data())
@on_disk
def test_a_damaged_result_is_read_and_reported_or_an_error(make_result, data):
    shutil.rmtree("results", ignore_errors=True)
    path = make_result().save(Path("results"))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    survives(load_result, path)
    survives(report, "table")


@given(st.data())
@on_disk
def test_a_damaged_definition_of_a_data_set_is_read_or_an_error(own_home, data):
    path = own_home / "data" / "mine" / "dataset.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = (
        b'name = "mine"\ntitle = "Mine"\nstatus = "own"\ncount = 3\n[splits.all]\nimages = "i"\nmetadata = "m.csv"\n'
    )
    path.write_bytes(data.draw(damaged(whole)))
    dataset = survives(get_dataset, "mine")
    if dataset is not None:
        survives(dataset.table, "test")


@pytest.fixture
def trained(photos, cli, one_thread):
    """Train a small model; return its checkpoint."""
    images, metadata = photos(6)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    return train("knn", "mine", device="cpu")


@pytest.mark.parametrize("name", ["checkpoint.json", "weights.safetensors", "coordinates.npy"])
@given(data=st.data())
@on_disk
def test_a_damaged_checkpoint_is_read_or_an_error(trained, name, data):
    whole = trained.folder / f"{name}.whole"
    if not whole.exists():
        shutil.copy(trained.folder / name, whole)
    (trained.folder / name).write_bytes(data.draw(damaged(whole.read_bytes())))
    survives(get_checkpoints)
    model = survives(get_model, trained.spec, "cpu")
    if model is not None:
        survives(lambda: get_gallery("training:3", training=model.checkpoint.coordinates))


@given(st.data())
@on_disk
def test_damaged_features_are_read_or_an_error(trained, own_home, data):
    (features,) = (path for path in (own_home / "features").iterdir() if path.is_dir())
    files = sorted(path for path in features.iterdir() if path.suffix == ".npy")
    for path in files:
        if not path.with_suffix(".whole").exists():
            shutil.copy(path, path.with_suffix(".whole"))
        path.write_bytes(
            data.draw(
                st.just(path.with_suffix(".whole").read_bytes()) | damaged(path.with_suffix(".whole").read_bytes())
            )
        )
    dataset = get_dataset("mine")
    got = survives(
        extract,
        dataset,
        dataset.table("train"),
        get_encoder("tiny"),
    )
    if got is not None:
        assert len(got) == 6


def images():
    """Yield an image of each kind with a position in its EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 8.0)})
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(file, kind, exif=exif)
        yield file.getvalue()


@pytest.mark.parametrize("whole", list(images()), ids=["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
@given(data=st.data())
def test_a_damaged_image_is_read_or_an_error_and_its_position_is_on_earth(whole, data):
    FILE.write_bytes(data.draw(damaged(whole)))
    image = survives(open_image, FILE)
    assert image is None or image.mode == "RGB"
    position = exif_position(FILE)
    assert position is None or not len(invalid_rows(np.array([position])))
