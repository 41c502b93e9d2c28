"""Stories of data that would give a wrong table without a word: columns, names, orientation, disks, units."""

import csv
import errno
import io
import json
import shutil
import struct
import zipfile
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image, ImageOps, features

from geobench import (
    Dataset,
    DatasetError,
    Gallery,
    GalleryError,
    PluginError,
    Predictions,
    ResultError,
    StorageError,
    extract,
    get_dataset,
    get_gallery,
    get_results,
)
from geobench.audits.check import check
from geobench.audits.fingerprints import fingerprints
from geobench.audits.overlap import same_photographer
from geobench.audits.positions import check_positions
from geobench.data.land import is_open_sea, sample_land
from geobench.data.places import find_places, gazetteer, settlements
from geobench.data.plausibility import at_sea, evidence
from geobench.data.registration import add_dataset
from geobench.data.stores.layouts import open_store
from geobench.data.tables.coordinates import RADIANS, other_unit
from geobench.data.tables.rows import Rows, read_coordinates, read_table
from geobench.features import shards as feature_shards
from geobench.images import reading
from geobench.images.decoding import checksum_error, open_image
from geobench.images.reading import is_passing, retried
from geobench.models import TestSet
from geobench.progress import Progress
from geobench.published.scoring import score_file
from geobench.report.html.thumbnails import thumbnails
from geobench.statistics.intervals import clusters_of


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def place_of(number):
    """Return where photo ``number`` was taken: somewhere in North America."""
    return round(35 + 0.2317 * number, 4), round(-118 + 0.7013 * number, 4)


# -- which column names the image


@pytest.fixture
def numbered(tmp_path):
    """Forty photos 1.jpg … 40.jpg, listed in another order, with row numbers as ids: (images, table, place by file)."""
    images = tmp_path / "numbered"
    images.mkdir()
    order = np.random.default_rng(0).permutation(40) + 1
    rows, places = [], {}
    for row, number in enumerate(order.tolist(), start=1):
        Image.new("RGB", (8, 8), (6 * number, 255 - 6 * number, 90)).save(images / f"{number}.jpg")
        places[f"{number}.jpg"] = place_of(row)
        rows.append((row, f"{number}.jpg", *place_of(row)))
    table = tmp_path / "numbered.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "filename", "lat", "lon"), *rows])
    return images, table, places


def wrong_positions(dataset, places):
    """Return how many rows of a data set have the position of another photo than the one that is read for them."""
    table, store = dataset.table("test"), dataset.store("test")
    rows = table[["image", "latitude", "longitude"]].itertuples(index=False)
    return sum(Path(store.find(image).name).name not in places or places[Path(store.find(image).name).name] != position
               for image, *position in rows for position in [tuple(position)])  # fmt: skip


def test_row_numbers_under_id_give_no_photo_the_position_of_another_one(cli, numbered):
    images, table, places = numbered
    said = cli("datasets", "add", "mine", "--images", images, "--metadata", table, "--encoder", "tiny").stderr
    assert said.startswith("The column 'filename' names the images (40 of 40 rows looked at), not 'id'.\n")
    assert wrong_positions(get_dataset("mine"), places) == 0
    assert get_dataset("mine").columns == {"image": "filename"}


def test_in_an_archive_too_the_column_that_names_its_files_counts(numbered, tmp_path):
    images, table, places = numbered
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in images.iterdir():
            archive.write(path, f"photos/{path.name}")
    add_dataset("mine", tmp_path / "photos.zip", table)
    assert wrong_positions(get_dataset("mine"), places) == 0


def test_a_definition_written_by_hand_is_read_by_the_column_that_names_files_and_says_so(numbered, own_home):
    images, table, places = numbered
    (own_home / "data" / "mine").mkdir(parents=True)
    shutil.copytree(images, own_home / "data" / "mine" / "images")
    shutil.copy(table, own_home / "data" / "mine" / "metadata.csv")
    dataset, told = Dataset("mine", "My photos"), Told()
    assert wrong_positions(dataset, places) == 0
    TestSet.of(dataset, progress=told)
    assert told.said == ["mine: the column 'filename' names the images (40 of 40 rows looked at), not 'id'."]


def test_check_says_which_of_two_columns_names_the_images(numbered, register):
    images, table, _ = numbered
    register("dataset", Dataset("mine", "Mine", splits={"all": {"images": str(images), "metadata": str(table)}}))
    (finding,) = check("mine", workers=0).findings
    assert (finding.kind, finding.is_error) == ("columns", False)
    assert "'filename' names the images" in finding.text


def test_two_columns_that_both_name_files_are_asked_for(cli, numbered):
    images, table, places = numbered
    table.write_text(table.read_text().replace(",", ".jpg,", 1).replace("\n", "\n", 1))
    rows = list(csv.reader(table.open()))
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "filename", "lat", "lon"), *([f"{r[0]}.jpg", *r[1:]] for r in rows[1:])])
    given = ["datasets", "add", "mine", "--images", images, "--metadata", table, "--encoder", "tiny"]
    told = cli(*given, exit_code=1).stderr
    assert "'image' and 'filename' may each be the column of the image" in told
    assert "columns={'image': 'filename'} in Python, or geobench datasets add NAME … --image-column filename" in told
    assert len(told.splitlines()) == 1
    cli(*given, "--image-column", "filename")
    assert wrong_positions(get_dataset("mine"), places) == 0
    added = add_dataset("again", images, table, columns={"image": "image"})
    assert added.missing == [] and wrong_positions(added.dataset, places) > 30


def test_without_images_to_tell_by_two_columns_are_asked_for(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,filename,lat,lon\n1,a.jpg,1,2\n")
    with pytest.raises(DatasetError, match="and there are no images here to tell by; name the right one"):
        read_table(table)
    assert read_table(table, {"image": "filename"})["image"].to_list() == ["a.jpg"]
    table.write_text("id,filename,lat,lon\na.jpg,a.jpg,1,2\n")
    assert read_table(table)["image"].to_list() == ["a.jpg"]


def test_a_title_beside_the_file_names_is_no_second_name(photos):
    images, metadata = photos(6)
    lines = metadata.read_text().splitlines()
    metadata.write_text("\n".join([f"name,{lines[0]}", *(f"Sunset {n},{line}" for n, line in enumerate(lines[1:]))]))
    added = add_dataset("mine", images, metadata)
    assert added.missing == []
    assert added.notes[0] == "the column 'image' names the images (6 of 6 rows looked at), not 'name'"


def test_names_that_are_found_under_another_spelling_are_said(cli, numbered):
    images, table, _ = numbered
    table.write_text("\n".join(",".join(line.split(",")[:1] + line.split(",")[2:]) for line in table.open()))
    said = cli("datasets", "add", "mine", "--images", images, "--metadata", table, "--encoder", "tiny").stderr
    assert said.startswith(
        "40 images found under another name than the table gives: 1 = 1.jpg, 2 = 2.jpg, 3 = 3.jpg, …\n"
    )
    (finding,) = check("mine", workers=0).findings
    assert (finding.kind, finding.is_error, len(finding.items)) == ("renamed", False, 40)
    assert finding.text == ("40 images are found under another name than the table gives them, such as 1 = 1.jpg")


def test_two_rows_of_one_file_are_refused_and_found_by_check(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name in ("a/1.jpg", "2.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    table = tmp_path / "t.csv"
    table.write_text("image,lat,lon\n2.jpg,1,50\na/1.jpg,2,51\n")
    add_dataset("mine", tmp_path / "images", table)
    table.write_text("image,lat,lon\n2.jpg,1,50\na/1.jpg,2,51\n1.jpg,40,51\n")
    with pytest.raises(DatasetError, match=r"the rows of 'a/1\.jpg' and '1\.jpg' are both the image 'a/1\.jpg' in "):
        add_dataset("again", tmp_path / "images", table)
    findings = {finding.kind: finding for finding in check("mine", workers=0).findings}
    assert findings["same file"].is_error and findings["same file"].items == ["a/1.jpg = 1.jpg"]


# -- which column is the latitude


def test_two_columns_of_latitudes_that_differ_are_asked_for():
    text = "image,latitude,lat,lon\na.jpg,48.85,48.85,2.35\nb.jpg,-33.86,-33.9,151.2\n"
    Path("t.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_table(Path("t.csv"))
    assert "'latitude' and 'lat' may both be the column of the latitude, and they differ in 1 of 2 rows" in str(
        caught.value
    )
    assert "such as line 3: -33.86 and -33.9; name the right one: columns={'latitude': 'lat'} in Python" in str(
        caught.value
    )
    assert read_table(Path("t.csv"), {"latitude": "lat"})["latitude"].to_list() == [48.85, -33.9]
    Path("t.csv").write_text(text.replace("-33.9,", "-33.86004,").replace("48.85,48.85", "48.85,"))
    assert read_table(Path("t.csv"))["latitude"].to_list() == [48.85, -33.86]  # rounded differently, or empty


def test_pixels_beside_degrees_are_no_second_position():
    Path("t.csv").write_text("image,x,y,lat,lon\na.jpg,200,100,48.85,2.35\n")
    assert read_table(Path("t.csv"))[["latitude", "longitude"]].to_numpy().tolist() == [[48.85, 2.35]]
    Path("t.csv").write_text("image,x,y\na.jpg,2.35,48.85\n")
    assert read_table(Path("t.csv"))[["latitude", "longitude"]].to_numpy().tolist() == [[48.85, 2.35]]
    Path("t.csv").write_text("image,lat,x\na.jpg,48.85,200\n")
    with pytest.raises(DatasetError, match="no longitude column"):
        read_table(Path("t.csv"))


def test_a_gallery_file_with_two_longitudes_that_differ_is_refused():
    Path("g.csv").write_text("lat,lon,longitude\n1,2,2\n3,4,5\n")
    with pytest.raises(
        GalleryError, match=r"'longitude' and 'lon' .* differ in 1 of 2 rows.*; rename or remove all but"
    ):
        get_gallery("g.csv")


@pytest.fixture
def eurasia():
    """Positions on land whose longitude could be a latitude."""
    places = sample_land(400, np.random.default_rng(0)).round(4)
    return places[(np.abs(places[:, 1]) < 90)]


def test_a_gallery_whose_header_is_swapped_is_refused_although_every_number_is_in_range(eurasia):
    for header, axes in (("lon,lat", (1, 0)), ("lat,lon", (1, 0))):
        Path("g.csv").write_text("\n".join([header, *(f"{row[axes[0]]},{row[axes[1]]}" for row in eurasia)]) + "\n")
        if header == "lon,lat":
            np.testing.assert_allclose(get_gallery("g.csv").coordinates, eurasia)
    told = "g.csv: latitude and longitude look swapped: .* positions are on the open sea; with the columns swapped, 0 "
    with pytest.raises(GalleryError, match=told):
        get_gallery("g.csv")


def test_a_table_of_photos_whose_header_is_swapped_is_doubted_by_train_and_by_every_table(cli, photos, eurasia):
    images, table = photos(60)
    lines = [f"photo-{n}.jpg,{latitude},{longitude}" for n, (latitude, longitude) in enumerate(eurasia[:60])]
    for name, header in (("right", "image,lat,lon"), ("wrong", "image,lon,lat")):
        table.write_text("\n".join([header, *lines]) + "\n")
        cli("datasets", "add", name, "--images", images, "--metadata", table, "--encoder", "tiny")
        told = f"{name}: latitude and longitude look swapped"
        done = cli("train", "knn", "--data", name, "--workers", 0)
        assert (told in done.stderr) == (name == "wrong")
        done = cli("run", "--models", done.stdout.strip(), "--datasets", name, "--workers", 0)
        assert (told in done.stdout) == (name == "wrong")


def test_a_gallery_is_one_however_the_path_of_its_file_is_written():
    Path("g.csv").write_text("latitude,longitude\n10,20\n30,40\n")
    assert {get_gallery(str(path)).spec for path in ("g.csv", "./g.csv", Path("g.csv").absolute())} == {"g.csv"}


# -- which column of predictions names the image


@pytest.fixture
def world(own_home):
    """A registered set of thirty places without its images: 0.jpg … 29.jpg, in an order of their own."""
    folder = own_home / "data" / "im2gps"
    folder.mkdir(parents=True)
    places = sample_land(30, np.random.default_rng(1), -50, 70).round(5)
    names = [f"{number}.jpg" for number in np.random.default_rng(2).permutation(30)]
    pd.DataFrame({"IMG_ID": names, "LAT": places[:, 0], "LON": places[:, 1]}).to_csv(
        folder / "metadata.csv", index=False
    )
    return names, places


def scored(table, **options):
    """Return the median error in km of a table of predictions, and what was said."""
    table.to_csv("theirs.csv", index=False)
    told = Told()
    return score_file(Path("theirs.csv"), "im2gps", progress=told, **options).scores["median_km"], told.said


def test_predictions_are_matched_by_the_column_that_names_images_not_by_row_numbers(world):
    names, places = world
    table = pd.DataFrame({"id": range(30), "filename": names, "lat": places[:, 0] + 0.5, "lon": places[:, 1]})
    median, said = scored(table)
    assert median == pytest.approx(55.6, abs=0.1)
    assert said == ["the column 'filename' names the images (30 of 30 rows looked at), not 'id'."]
    with pytest.raises(ResultError, match=r"more than one of them names.*--columns image=filename"):
        scored(table.assign(id=[f"{number}.jpg" for number in range(30)]))


def test_naming_the_image_column_leaves_swapped_columns_recognised(world):
    names, places = world
    table = pd.DataFrame({"key": names, "lat": places[:, 1] / 2.1, "lon": places[:, 0]})
    table["lat"], table["lon"] = places[:, 1].clip(-80, 80), places[:, 0]
    with pytest.raises(ResultError, match="have latitude and longitude swapped"):
        scored(table, columns={"image": "key"})


def test_predictions_in_radians_are_recognised_by_how_much_better_they_fit_as_degrees(world):
    names, places = world
    radians = np.radians(places + 0.1)
    table = pd.DataFrame({"id": names, "lat": radians[:, 0], "lon": radians[:, 1]})
    with pytest.raises(
        ResultError, match=r"positions seem to be radians: the median error is [0-9,]+ km as they are, 1"
    ):
        scored(table)


def test_a_truth_that_was_rounded_is_no_prediction(world):
    names, places = world
    table = pd.DataFrame({"id": names, "lat": places[:, 0].round(4), "lon": places[:, 1].round(4)})
    with pytest.raises(ResultError, match="30 of 30 positions in lat and lon are the true ones, to 10 m"):
        scored(table)


def test_two_ids_of_one_image_are_refused_whatever_their_scores(world):
    names, places = world
    ids = [f"val/{name}" for name in names]
    table = pd.DataFrame({"id": ids, "lat": places[:, 0] + 1, "lon": places[:, 1], "score": 0.5})
    of_training = table.head(3).assign(id=[f"train/{name}" for name in names[:3]], score=0.9)
    with pytest.raises(ResultError, match=rf"'val/{names[0]}' and 'train/{names[0]}', are both for the image"):
        scored(pd.concat([table, of_training]))


@pytest.mark.parametrize("column", ["model", "Seed"])
def test_predictions_of_several_models_in_one_file_are_no_top_k_of_one(world, column):
    names, places = world
    table = pd.DataFrame({"id": names, "lat": places[:, 0] + 1, "lon": places[:, 1], "score": 0.5, column: "1"})
    both = pd.concat([table, table.assign(lat=-places[:, 0], score=0.9, **{column: "2"})])
    with pytest.raises(ResultError, match=f"has the predictions of 2 models: {column} 1, {column} 2; use score_models"):
        scored(both)
    assert scored(table)[0] == pytest.approx(111.2, abs=0.1), "one alone"
    halves = table.assign(**{column: ["1", "2"] * 15})
    assert scored(halves)[0] == pytest.approx(111.2, abs=0.1), "each image once, such as by an ensemble"


def test_two_scores_that_order_predictions_differently_are_asked_for(world):
    names, places = world
    rows = [(name, lat + k, lon, k, 1 - k) for name, (lat, lon) in zip(names, places, strict=True) for k in (0, 1)]
    table = pd.DataFrame(rows, columns=["id", "lat", "lon", "score", "similarity"])
    with pytest.raises(ResultError, match="'score' and 'similarity' order the predictions of an image differently"):
        scored(table)
    assert scored(table, columns={"score": "score"})[0] == pytest.approx(111.2, abs=0.1)
    assert scored(table.assign(similarity=2 * table["score"]))[0] == pytest.approx(111.2, abs=0.1)


# -- orientation

UPRIGHT = Image.fromarray(
    np.array([[[220, 30, 40], [30, 200, 60]], [[40, 60, 210], [230, 220, 50]]], dtype=np.uint8)
).resize((640, 400), Image.Resampling.BILINEAR)
TURNED_BY = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""The member of Image.Transpose that undoes each orientation."""
KINDS = {
    "JPEG": {"quality": 95},
    "MPO": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF, compressed": {"compression": "tiff_lzw"},
    **({"AVIF": {"quality": 95}} if features.check("avif") else {}),
}


def turned(kind, orientation):
    """Return the file of a photo taken with a turned camera."""
    way = TURNED_BY[orientation]
    image = UPRIGHT if way is None else UPRIGHT.transpose(Image.Transpose(way))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = KINDS[kind] | ({"save_all": True, "append_images": [image]} if kind == "MPO" else {})
    file = io.BytesIO()
    image.save(file, kind.partition(",")[0], exif=exif, **options)
    return file.getvalue()


def apart(one, other):
    assert one.size == other.size
    return np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_stands_upright_once_in_every_orientation_of_every_format(kind):
    for orientation in TURNED_BY:
        content = turned(kind, orientation)
        with Image.open(io.BytesIO(content)) as image:
            assert apart(open_image(content), ImageOps.exif_transpose(image)) == 0
        assert apart(open_image(content), UPRIGHT) < 2


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_reduced_jpeg_stands_upright_in_every_orientation(kind):
    for orientation in TURNED_BY:
        reduced = open_image(turned(kind, orientation), side=50)
        assert apart(reduced, UPRIGHT.resize((160, 100), Image.Resampling.BOX)) < 2


def test_the_pictures_of_a_report_stand_upright(tmp_path, own_home):
    folder = own_home / "data" / "mine" / "images"
    folder.mkdir(parents=True)
    names = [f"{number}.tif" for number in TURNED_BY]
    for name, orientation in zip(names, TURNED_BY, strict=True):
        (folder / name).write_bytes(turned("TIFF", orientation))
    add_dataset("photos", folder, write(tmp_path / "t.csv", [(name, 1, 50) for name in names]))
    found, note = thumbnails("photos", names, range(8), 10**6)
    assert note == "" and len(found) == 8
    for uri in found.values():
        with Image.open(io.BytesIO(b64decode(uri.partition(",")[2]))) as image:
            assert apart(image, UPRIGHT.resize((128, 80), Image.Resampling.BOX)) < 6


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "latitude", "longitude"), *rows])
    return path


# -- photographers

PLACEHOLDERS = (
    "unknown",
    "None",
    "N/A",
    "anonymous",
    "0",
    "-",
    "nan",
    "<unknown>",
    " Unknown ",
    "null",
    "?",
    "no author",
)


@pytest.mark.parametrize("who", PLACEHOLDERS)
def test_a_placeholder_is_no_photographer_of_fifty_photos(who):
    places = np.random.default_rng(0).uniform(-60, 60, (52, 2))
    clusters = clusters_of(places, pd.DataFrame({"author": [who] * 50 + ["Ann", "Bob"]}))
    assert len(clusters.sizes) == 52
    ours = pd.DataFrame({"image": [f"a{n}" for n in range(51)], "author": [who] * 50 + ["Ann"]})
    theirs = pd.DataFrame({"image": [f"b{n}" for n in range(51)], "author": [who] * 50 + ["Ann"]})
    assert same_photographer(ours, theirs).leaking.sum() == 1


def test_a_column_of_placeholders_leaves_it_to_flickrs_file_names():
    table = pd.DataFrame({"image": ["1_ab_1_7@N00.jpg", "2_ab_1_7@N00.jpg"], "author": ["unknown", "n/a"]})
    other = pd.DataFrame({"image": ["3_ab_1_7@N00.jpg"]})
    assert same_photographer(table, other).leaking.tolist() == [True, True]


# -- disks

BROKEN_DISK = Path("/proc/self/mem")
"""A regular file whose first bytes cannot be read: EIO, as of a failing disk."""
on_linux = pytest.mark.skipif(not BROKEN_DISK.exists(), reason="needs a file that cannot be read")


@pytest.fixture
def hasty(monkeypatch):
    """Read again at once, not after a pause; a function that is set to ``.while_waiting`` is called instead."""

    class Hasty:
        def __init__(self):
            self.pauses = []
            self.while_waiting = lambda: None

        def sleep(self, seconds):
            self.pauses.append(seconds)
            self.while_waiting()

    hasty = Hasty()
    monkeypatch.setattr(reading.time, "sleep", hasty.sleep)
    return hasty


class FailingDisk:
    """A photo of the data set ``mine`` that the disk does not give."""

    def __init__(self, path):
        self.path, self.aside = path, path.with_name("aside")
        path.rename(self.aside)
        path.symlink_to(BROKEN_DISK)

    def mend(self):
        self.path.unlink()
        self.aside.rename(self.path)


@pytest.fixture
def mine(photos):
    """Eight photos of North America as the data set ``mine``; returns the folder of their images."""
    images, metadata = photos(8)
    write(metadata, [(f"photo-{n}.jpg", *place_of(n)) for n in range(8)])
    add_dataset("mine", images, metadata, encoder="tiny")
    return images


@on_linux
def test_a_disk_that_fails_stops_the_extraction_and_fails_no_image(mine, hasty, tiny_encoder, monkeypatch):
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 2)
    dataset = get_dataset("mine")
    table = dataset.table("test")
    key = dataset.content_key(table, "test")
    disk = FailingDisk(mine / "photo-5.jpg")  # after the run had begun
    with pytest.raises(StorageError) as caught:
        extract(dataset, table, tiny_encoder, batch_size=2, images_key=key)
    assert str(caught.value).startswith(f"{mine / 'photo-5.jpg'} cannot be read: Input/output error. This says nothing")
    assert "\n" not in str(caught.value)
    assert hasty.pauses == [0.1, 0.5, 2.0]
    disk.mend()
    views = []
    preprocess = type(tiny_encoder).preprocess
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, view: views.append(1) or preprocess(self, view))
    features = extract(dataset, table, tiny_encoder, batch_size=2, images_key=key)
    assert features.ok.all()
    assert len(views) < 8  # it resumed


@on_linux
def test_an_error_that_passes_while_it_is_waited_for_is_not_noticed(mine, hasty, tiny_encoder):
    disk = FailingDisk(mine / "photo-5.jpg")
    hasty.while_waiting = disk.mend
    dataset = get_dataset("mine")
    assert extract(dataset, dataset.table("test"), tiny_encoder).ok.all()
    assert hasty.pauses == [0.1]


@on_linux
def test_a_run_on_a_failing_disk_is_one_line_and_leaves_no_result(cli, mine, hasty):
    cli("train", "knn", "--data", "mine", "--device", "cpu")
    shutil.copytree(mine, mine.with_name("copies"))
    write(mine.with_name("copies.csv"), [(f"photo-{n}.jpg", *place_of(n)) for n in range(8)])
    add_dataset("other", mine.with_name("copies"), mine.with_name("copies.csv"), encoder="tiny")
    disk = FailingDisk(mine.with_name("copies") / "photo-2.jpg")
    given = ("run", "--models", "knn", "--datasets", "other", "--galleries", "training:8", "--device", "cpu")
    told = cli(*given, exit_code=1)
    assert "photo-2.jpg cannot be read: Input/output error" in told.output
    assert "could not be read and count as failed" not in told.output
    disk.mend()
    cli(*given)
    (result,) = get_results("results").itertuples()
    assert (result.n, result.failed) == (8, 0)


def test_a_folder_that_became_empty_is_a_disk_that_was_unmounted(mine, tiny_encoder):
    dataset = get_dataset("mine")
    table = dataset.table("test")
    dataset.store("test").prepare()
    key = dataset.content_key(table, "test")
    mine.rename(mine.with_name("elsewhere"))
    mine.mkdir()
    with pytest.raises(StorageError, match=r"images is empty; is its disk mounted\?"):
        extract(dataset, table, tiny_encoder, images_key=key)
    mine.rmdir()
    with pytest.raises(StorageError, match="No such file or directory"):
        extract(dataset, table, tiny_encoder, images_key=key)
    mine.with_name("elsewhere").rename(mine)
    assert extract(dataset, table, tiny_encoder, images_key=key).ok.all()


def test_one_photo_that_is_missing_still_counts_as_failed(mine, tiny_encoder):
    (mine / "photo-5.jpg").unlink()
    dataset = get_dataset("mine")
    assert np.flatnonzero(~extract(dataset, dataset.table("test"), tiny_encoder).ok).tolist() == [5]


@on_linux
def test_check_goes_on_after_a_photo_that_the_disk_does_not_give(mine, hasty):
    FailingDisk(mine / "photo-5.jpg")
    (mine / "photo-3.jpg").write_bytes(b"no image")
    found = check("mine", workers=0)
    kinds = {finding.kind: finding.items for finding in found.findings if finding.is_error}
    assert list(kinds) == ["unreadable", "not read"]
    assert [item.partition(":")[0] for item in kinds["unreadable"]] == ["photo-3.jpg"]
    assert "photo-5.jpg cannot be read: Input/output error" in kinds["not read"][0]
    assert (found.found, found.readable) == (8, 6)


@on_linux
def test_fingerprints_of_a_failing_disk_are_not_kept(mine, hasty, own_home):
    disk = FailingDisk(mine / "photo-5.jpg")
    dataset = get_dataset("mine")
    table = dataset.table("test")
    with pytest.raises(StorageError):
        fingerprints(dataset, table, "test", workers=0)
    assert not list((own_home / "fingerprints").glob("*"))
    disk.mend()
    assert (fingerprints(dataset, table, "test", workers=0)[:, 2] == 0).all()


@on_linux
def test_a_photo_that_the_disk_does_not_give_is_not_left_out_of_a_set_by_exif(mine, hasty, own_home):
    FailingDisk(mine / "photo-5.jpg")
    with pytest.raises(StorageError, match=r"photo-5\.jpg cannot be read"):
        add_dataset("again", mine, exif=True)
    assert not (own_home / "data" / "again").exists()


@pytest.mark.parametrize("code", ["EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "EACCES", "EINTR", "ENOTCONN"])
def test_what_the_system_says_is_no_property_of_an_image(code, hasty):
    error = OSError(getattr(errno, code), "no")
    assert is_passing(error)

    def read():
        raise error

    with pytest.raises(StorageError, match=r"^a\.jpg cannot be read: no\. This says nothing about the image"):
        retried(read, "a.jpg")
    assert len(hasty.pauses) == (0 if code == "EACCES" else 3)


@pytest.mark.parametrize("code", ["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "EISDIR"])
def test_a_name_that_leads_to_no_file_is_one(code):
    assert not is_passing(OSError(getattr(errno, code), "no"))
    assert not is_passing(OSError("image file is truncated"))  # what decoders raise


# -- units


def test_positions_in_radians_are_refused_by_every_reader_and_reported_by_check(cli, photos):
    images, metadata = photos(30)
    places = sample_land(30, np.random.default_rng(0), -50, 70)
    write(metadata, [(f"photo-{n}.jpg", *place) for n, place in enumerate(places.tolist())])
    add_dataset("mine", images, metadata)
    assert check("mine", quick=True).ok
    write(metadata, [(f"photo-{n}.jpg", *place) for n, place in enumerate(np.radians(places).tolist())])
    found = check("mine", quick=True)
    (finding,) = found.findings
    assert (finding.kind, finding.is_error, found.scored) == ("unit", True, 0)
    assert finding.text.startswith("latitude and longitude look like radians: all 30 positions are on the open sea")
    for read in (lambda: get_dataset("mine").table("test"), lambda: read_coordinates(metadata)):
        with pytest.raises(DatasetError, match=r"metadata\.csv: latitude and longitude look like radians"):
            read()
    told = cli("datasets", "add", "again", "--images", images, "--metadata", metadata, exit_code=1).stderr
    assert told.count("\n") == 1 and "write degrees, 180/π times as much" in told


def test_the_box_that_radians_fill_is_open_sea_in_degrees():
    axes = [np.linspace(-bound, bound, 100) for bound in RADIANS]
    assert is_open_sea(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)).all()


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (np.array([[0.5, 1.2]]) + np.random.default_rng(0).normal(0, 0.02, (300, 2)), False),  # one made-up town
        (np.random.default_rng(0).uniform(-1, 1, (100, 2)), False),  # scaled to ±1: anything but radians
        (np.radians(sample_land(12, np.random.default_rng(0), -50, 70)), False),  # few
        (sample_land(300, np.random.default_rng(0)), None),
        (np.zeros((50, 2)), None),
        (np.array([[0.3, 1.1], [0.4, 1.2]]), None),
    ],
)
def test_what_may_be_degrees_is_not_refused(positions, expected):
    unit = other_unit(positions)
    assert (unit if unit is None else unit.is_certain) is expected


# -- hemispheres and swapped columns


@pytest.mark.parametrize(
    "names",
    [
        ("gps_latitude_ref", "gps_longitude_ref"),
        ("GPSLatitudeRef", "GPSLongitudeRef"),
        ("N/S", "E/W"),
        ("lat dir", "lon_dir"),
    ],
)
def test_a_column_of_hemispheres_gives_unsigned_degrees_their_signs(tmp_path, names):
    """94 of 150 photos of a table as EXIF tools write it were scored in the wrong hemisphere."""
    rows = [("a", 38.1, "S", 144.3, "E"), ("b", 48.9, "North", 2.4, "east"), ("c", 33.9, "s", 70.6, "W")]
    frame = pd.DataFrame(rows, columns=["image", "latitude", names[0], "longitude", names[1]])
    frame.to_csv(tmp_path / "t.csv", index=False)
    expected = [[-38.1, 144.3], [48.9, 2.4], [-33.9, -70.6]]
    assert read_table(tmp_path / "t.csv")[["latitude", "longitude"]].to_numpy().tolist() == expected
    assert read_coordinates(tmp_path / "t.csv").tolist() == expected
    frame[names[0]] = ""  # the exporter knows the column and does not fill it
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv")["latitude"].tolist() == [38.1, 48.9, 33.9]


@pytest.mark.parametrize(
    ("latitude", "reference", "said"),
    [
        (-38.1, "S", ""),
        (38.1, "", "latitude has the hemisphere '' (column 'lat_ref'), which is neither N nor S"),
        (38.1, "K", "which is neither N nor S"),
        (-38.1, "N", "which contradicts its sign"),
    ],
)
def test_a_hemisphere_that_says_nothing_or_contradicts_the_sign_is_a_problem_of_its_row(
    tmp_path, latitude, reference, said
):
    rows = [("a", latitude, reference, 2.4), ("b", 48.9, "N", 2.4)]
    pd.DataFrame(rows, columns=["image", "lat", "lat_ref", "lon"]).to_csv(tmp_path / "t.csv", index=False)
    if not said:
        assert read_table(tmp_path / "t.csv")["latitude"].tolist() == [-38.1, 48.9]
        return
    with pytest.raises(DatasetError) as caught:
        read_table(tmp_path / "t.csv")
    assert "1 of 2 rows cannot be used: line 2" in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
    ("names", "minutes", "seconds"),
    [
        (("lat_min", "lon_min"), (47.976, 58.05), None),
        (("GPSLatitudeMinutes", "GPSLongitudeMinutes"), (47, 58), ("GPSLatitudeSeconds", "GPSLongitudeSeconds")),
        (("minutes latitude", "Minutes Longitude"), (47, 58), ("lat sec", "lng secs")),
    ],
)
def test_minutes_and_seconds_in_columns_of_their_own_are_added_to_the_degrees(tmp_path, names, minutes, seconds):
    """Whole degrees alone were read: 1.3 % in place of 38.0 % within 25 km, and "Nothing is wrong."."""
    columns = ["image", "lat", names[0], "lat_ref", "lon", names[1]]
    rows = [("a", 43, minutes[0], "N", 131, minutes[1]), ("b", 0, minutes[0], "S", "-0", minutes[1])]
    frame = pd.DataFrame(rows, columns=columns)
    for name, value in zip(seconds or (), (58.56, 3.0), strict=False):
        frame[name] = value
    frame.to_csv(tmp_path / "t.csv", index=False)
    # 47' 58.56" are 47.976', 0.7996 degrees; 58' 3" are 58.05', 0.9675 degrees
    expected = np.array([[43.7996, 131.9675], [-0.7996, -0.9675]])
    np.testing.assert_allclose(read_table(tmp_path / "t.csv")[["latitude", "longitude"]], expected, atol=1e-12)
    np.testing.assert_allclose(read_coordinates(tmp_path / "t.csv"), expected, atol=1e-12)
    frame[["lat", "lat_ref", "lon"]] = [(43.7996, "N", 131.9675), (0.7996, "S", -0.9675)]  # complete without them
    frame.to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_allclose(read_coordinates(tmp_path / "t.csv"), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("latitude", "minutes", "said"),
    [
        (43, "75", "latitude has the minutes '75' (column 'lat_min'), which are not from 0 to below 60"),
        (43, "", "latitude has the minutes '' (column 'lat_min')"),
        (43.5, "47.9", "latitude 43.5 has decimals that are not the minutes in the column 'lat_min'; give whole"),
    ],
)
def test_minutes_that_are_none_or_others_than_the_decimals_are_a_problem_of_their_row(
    tmp_path, latitude, minutes, said
):
    rows = [("a", latitude, minutes, 2.4), ("b", 48, 51, 2.4), ("c", 48, 52, 2.4), ("d", 48, 53, 2.4)]
    pd.DataFrame(rows, columns=["image", "lat", "lat_min", "lon"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DatasetError) as caught:
        read_table(tmp_path / "t.csv")
    assert "1 of 4 rows cannot be used: line 2" in str(caught.value) and said in str(caught.value)


def test_decimals_of_minutes_beside_other_seconds_are_a_problem_of_their_row(tmp_path):
    rows = [("a", 48, 51.5, 30, 2.4), ("b", 48, 51.5, 0, 2.4)]  # half a minute is thirty seconds
    pd.DataFrame(rows, columns=["image", "lat", "lat_min", "lat_sec", "lon"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DatasetError, match="1 of 2 rows cannot be used: line 3: latitude 48 has decimals that are not"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("edge", [{"lat_min": 43.2, "lat_max": 43.9}, {"lat_min": -43.2}, {"lat_min": ""}])
def test_the_edge_of_a_box_is_no_column_of_minutes(tmp_path, edge):
    frame = pd.DataFrame({"image": ["a", "b"], "lat": [-43, 44], "lon": [2.5, 3.5]}).assign(**edge)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv")["latitude"].tolist() == [-43, 44]


def test_swapped_columns_are_told_when_they_are_added_and_under_the_table(cli, photos, tmp_path):
    """Only ``datasets check`` said it; add, run and report printed a median of 11,711 km."""
    images, metadata = photos(60)
    places = sample_land(200, np.random.default_rng(0), -50, 70)
    places = places[np.abs(places[:, 1]) < 90][:60]
    write(metadata, [(f"photo-{n}.jpg", lon, lat) for n, (lat, lon) in enumerate(places.tolist())])
    told = cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny").stderr
    assert "atitude and longitude look swapped" in told and "geobench datasets check mine" in told
    table = cli("run", "--models", "random", "--datasets", "mine", "--galleries", "land:50").stdout
    assert "mine: latitude and longitude look swapped" in table
    with pytest.raises(GalleryError, match="look swapped"):
        get_gallery(str(metadata))
    write(metadata, [(f"photo-{n}.jpg", lat, lon) for n, (lat, lon) in enumerate(places.tolist())])
    assert len(get_gallery(str(metadata))) == 60


CITIES = settlements()[0][np.argsort(-settlements()[1])[:400]]  # the largest, all over the world
FIVE = (1.0, 25.0, 200.0, 750.0, 2500.0)


def evaluated(cli, photos, positions):
    """Register photos at ``positions`` (n, 2) as ``mine`` and evaluate a random model on them.

    Returns:
        What adding, checking and the table said.
    """
    images, metadata = photos(len(positions))
    write(metadata, [(f"photo-{n}.jpg", *place) for n, place in enumerate(positions.tolist())])
    given = ("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    added = cli(*given).stderr
    found = check("mine", workers=0)
    table = cli("run", "--models", "random", "--datasets", "mine", "--galleries", "land:50", "--workers", 0).stdout
    return added, {finding.kind: finding for finding in found.findings}, table


def test_positions_without_the_sign_of_the_west_are_told_as_photos_on_the_open_sea(cli, photos):
    """36 of 150 photos lay on the open sea; check: "Nothing is wrong."."""
    positions = CITIES[:60].copy()
    positions[:20, 1] = [-150, -130, -140, -30, -35] * 4  # five places in mid-ocean
    positions[:20, 0] = [30, 10, -40, 20, -10] * 4
    added, found, table = evaluated(cli, photos, positions)
    text = "20 of 60 positions are on the open sea, 25 km or more from any land, where hardly any photo is taken"
    assert f"mine: {text}; are signs or columns wrong?" in table
    assert f"{text}; are signs or columns wrong; look at them: geobench datasets check mine" in added
    assert (found["at sea"].text, found["at sea"].is_error) == (f"{text}; are signs or columns wrong?", True)
    assert found["at sea"].items == [f"line {n + 2}: photo-{n}.jpg" for n in range(20)]


def test_a_photo_from_a_ship_is_a_note_of_check_and_no_doubt():
    positions = np.concatenate([CITIES[:150], [[30.0, -140.0], [20.0, -30.0]]])
    assert at_sea(positions).sum() == 2 and not evidence(positions, FIVE)
    table = pd.DataFrame(positions, columns=["latitude", "longitude"]).assign(image=[str(n) for n in range(152)])
    rows = Rows(table, [])
    findings = {finding.kind: finding for finding in check_positions(rows, FIVE)}
    assert (findings["at sea"].is_error, findings["at sea"].items) == (False, ["line 150: 150", "line 151: 151"])
    islands = np.array([[4.17, 73.51], [-27.11, -109.35], [21.3, -157.86], [-54.42, 3.36]])  # Malé is in no land mask
    assert is_open_sea(islands).sum() == 1 and not at_sea(islands).any()


def test_positions_at_zero_are_told_under_the_table(cli, photos):
    """11 of 150 positions were unknown, and each a miss; only check said it."""
    positions = CITIES[:30].copy()
    positions[:11] = 0
    added, found, table = evaluated(cli, photos, positions)
    text = "11 of 30 positions are at (0, 0), which usually means that the position is unknown"
    assert f"mine: {text}." in table and f"{text}; look at them" in added
    assert (found["zero"].text, len(found["zero"].items)) == (text, 11) and "at sea" not in found


def test_whole_degrees_are_told_where_accuracies_at_short_distances_are_shown(cli, photos):
    """A spreadsheet's number format had cut the decimals off: City 1.3 % in place of 38.0 %, with an interval."""
    added, found, table = evaluated(cli, photos, np.trunc(CITIES[:60]))
    text = "all 60 true positions are rounded to about 56 km, so that accuracies at 1 and 25 km mean little"
    assert f"mine: {text}." in table and f"A{text[1:]}; look at them: geobench datasets check mine" in added
    assert (found["rounded"].text, found["rounded"].is_error) == (text, True)


@pytest.mark.parametrize(
    ("positions", "thresholds", "said"),
    [
        (
            np.round(CITIES[:60], 1),
            FIVE,
            "all 60 true positions are rounded to about 5.6 km, so that accuracies at 1 km",
        ),
        (np.round(CITIES[:60] * 2) / 2, FIVE, "rounded to about 28 km, so that accuracies at 1 and 25 km mean little"),
        (np.round(CITIES[:60]), (200.0, 750.0), ""),
        (
            np.concatenate([np.round(CITIES[:40]), CITIES[40:60]]),
            FIVE,
            "40 of 60 true positions are rounded to about 56",
        ),
        (np.concatenate([np.round(CITIES[:25]), CITIES[25:60]]), FIVE, ""),
        (np.round(CITIES[:300], 2), FIVE, ""),  # half a kilometre
        (CITIES, FIVE, ""),
        (np.round(CITIES[:9]), FIVE, ""),  # so few may be by chance, or an example
    ],
)
def test_only_what_is_rounded_for_the_distances_of_a_table_is_said_to_be(positions, thresholds, said):
    found = evidence(positions, thresholds).get("rounded positions", "")
    assert said in found and bool(said) == bool(found)


def test_minutes_after_the_point_are_refused(cli, photos):
    """43.48 for 43°48': 25 km 11.3 % in place of 38.0 %, and "Nothing is wrong."."""
    positions = CITIES[:60]
    minutes = np.trunc(np.abs(positions) % 1 * 60)
    written = np.round(np.sign(positions) * (np.trunc(np.abs(positions)) + minutes / 100), 2)
    images, metadata = photos(60)
    write(metadata, [(f"photo-{n}.jpg", *place) for n, place in enumerate(written.tolist())])
    told = cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, exit_code=1).stderr
    assert "look like degrees with minutes after the point, such as 43.48 for 43°48'" in told
    with pytest.raises(GalleryError, match="minutes after the point"):
        get_gallery(str(metadata))
    assert [other_unit(each) for each in (positions, np.round(positions, 2), np.trunc(positions))] == [None] * 3
    grid = np.stack(np.meshgrid(np.arange(-60, 60, 0.5), np.arange(-170, 170, 0.5)), axis=-1).reshape(-1, 2)
    london = np.array([[51.5, -0.1]]) + np.random.default_rng(0).uniform(-0.09, 0.09, (300, 2))
    assert other_unit(grid) is None and other_unit(london) is None


def test_copies_of_a_photo_in_the_test_set_are_told_under_the_table(cli, mine):
    """Copies at positions that other spreadsheets rounded: intervals half as wide, and a "best" by them."""
    for number in range(3):
        shutil.copy(mine / f"photo-{number}.jpg", mine / f"photo-{number} (1).jpg")
    rows = [(f"photo-{n}.jpg", *place_of(n)) for n in range(8)]
    rows += [(f"photo-{n} (1).jpg", *(x + 1e-5 for x in place_of(n))) for n in range(3)]
    add_dataset("twice", mine, write(mine.parent / "twice.csv", rows), encoder="tiny")
    cli("train", "knn", "--data", "mine")
    said = "3 of the 11 images of twice are copies of others under other names"
    assert said in cli("run", "--models", "knn", "--datasets", "twice", "--workers", 0).stdout
    assert "are copies of others" not in cli("run", "--models", "knn", "--datasets", "mine", "--workers", 0).stdout


# -- scores and galleries


def predictions(scores):
    return Predictions.of(np.zeros((2, 2, 2)), np.array(scores, dtype=float))


def test_scores_that_are_nan_or_out_of_order_are_refused():
    predictions([[0.5, 0.5], [1, -np.inf]]).check(2, "a model")
    with pytest.raises(
        PluginError, match=r"a model returned 1 images with an invalid score: .* number 1 at rank 2, nan, is"
    ):
        predictions([[2, 1], [1, np.nan]]).check(2, "a model")
    with pytest.raises(
        PluginError, match=r"number 0 at rank 2, 2\.0, is higher than that of the rank before; the best"
    ):
        predictions([[1, 2], [2, 1]]).check(2, "a model")
    failed = Predictions(np.full((1, 1, 2), np.nan), np.full((1, 1), np.nan), np.array([True]))
    assert failed.check(1, "a model").failed.all()


@pytest.mark.parametrize("row", [(np.nan, np.nan), (np.nan, 3), (91, 0), (0, np.inf)])
def test_a_gallery_with_a_point_that_is_not_on_earth_is_refused(row):
    with pytest.raises(GalleryError, match=r"the gallery by hand has 1 points that are NaN or out of range .* row 1"):
        Gallery(np.array([(1.0, 2.0), row]), "by hand")


# -- land without people


@pytest.mark.parametrize(
    ("place", "country", "continent"),
    [
        ((-80.02, -119.53), "AQ", "Antarctica"),  # Byrd station in Marie Byrd Land, which no state claims
        ((-77.9, -34.6), "AQ", "Antarctica"),  # Coats Land: the old Belgrano II
        ((-53.1, 73.5), "HM", "Antarctica"),
        ((-54.42, 3.36), "BV", "Antarctica"),
        ((10.3, -109.22), "FR", "North America"),  # Clipperton
        ((-65.0, -150.0), "", ""),  # the Southern Ocean
        ((-53.1, 76.0), "", ""),  # 170 km east of Heard
    ],
)
def test_land_without_people_is_not_at_sea(place, country, continent):
    found = find_places(np.array([place]))
    assert (found.countries[0], found.continents[0], found.regions[0]) == (country, continent, "")


def test_no_populated_place_lies_in_what_counts_as_uninhabited():
    from geobench.data.places import _uninhabited

    known = gazetteer()
    at_sea = np.array([zone.startswith("Etc/") for zone in known.zones])
    assert (_uninhabited(known.coordinates[at_sea]) == "").all()


# -- checksums


def png(pixels, checked=None):
    """Return a PNG of ``pixels`` (h, w, 3) whose checksum is that of the picture ``checked``."""

    def packed(array):
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in array), 0)

    def chunk(kind, payload, of=None):
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + (of or payload)))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", packed(pixels), packed(pixels if checked is None else checked))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_check_finds_a_png_with_a_changed_byte_that_decoding_does_not_notice(mine, cli):
    pixels = np.asarray(UPRIGHT)[::10, ::10].copy()
    changed = pixels.copy()
    changed[20, 20, 0] ^= 64
    whole, damaged = png(pixels), png(changed, checked=pixels)
    assert (checksum_error(whole), open_image(damaged).tobytes()) == ("", changed.tobytes())
    (mine / "photo-2.jpg").write_bytes(whole)
    (mine / "photo-4.jpg").write_bytes(damaged)
    found = check("mine", workers=0)
    (finding,) = found.findings
    assert (finding.kind, finding.is_error, found.readable) == ("damaged", True, 8)
    assert finding.items[0].startswith("photo-4.jpg: broken PNG file")
    assert (
        "WRONG  damaged: 1 images can be decoded, but a checksum"
        in cli("datasets", "check", "mine", exit_code=1).stdout
    )


def test_a_parquet_file_with_checksums_gives_no_image_of_a_damaged_page(tmp_path):
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(4)]
    table = pa.table({"image": [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate(images)]})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=2, compression="none", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[content.index(images[2]) + 100] ^= 1
    path.write_bytes(content)
    store = open_store(path)
    for name in ("2.png", "3.png", "2.png"):
        with pytest.raises(Exception, match=rf"{name}: row \d of x\.parquet is damaged .*CRC") as caught:
            store.image_file(name)
        assert type(caught.value).__name__ == "ImageError"
    assert store.image_file("0.png") == images[0]


def test_what_was_found_is_in_the_record_of_check(mine, cli):
    (mine / "photo-2.jpg").rename(mine / "photo_2.jpg")
    record = json.loads(cli("datasets", "check", "mine", "--json", "--workers", 0, exit_code=1).stdout)
    assert [finding["kind"] for finding in record["findings"]] == ["missing", "unlisted"]
