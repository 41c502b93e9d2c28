import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geobench import Dataset, DatasetError, DatasetNotFoundError, ImageError, get_dataset, get_datasets
from geobench.datasets import STATUSES, limited, missing_images, own_datasets
from geobench.tables import read_table


@pytest.fixture
def mine(photos, own_home):
    """A data set of 12 photos, in the place where a bundled one is looked for."""
    photos(12, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


def test_a_data_set_that_is_not_there_says_where_it_was_looked_for_its_status_and_how_to_get_it(own_home):
    dataset = get_dataset("im2gps3k")
    assert not dataset.present
    with pytest.raises(DatasetNotFoundError) as caught:
        dataset.table("test")
    message = str(caught.value)
    assert "\n" not in message
    assert "im2gps3k is not on this machine" in message
    assert str(own_home / "data" / "im2gps3k" / "metadata.csv") in message
    assert str(own_home / "data" / "im2gps3k" / "images") in message
    assert "Status: available" in message
    assert dataset.obtain in message


def test_only_what_is_missing_is_named(mine, own_home):
    (own_home / "data" / "mine" / "metadata.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"looked for \S+metadata\.csv\. Status: own"):
        mine.table("test")


def test_a_folder_of_images_and_a_table_are_a_data_set(mine):
    assert mine.present
    assert len(mine.table("test")) == 12
    image = mine.read_image("photo-3.jpg", "test")
    assert (image.size, image.mode) == ((60, 40), "RGB")


def test_a_limit_draws_the_same_images_each_time_and_keeps_their_order(mine):
    drawn = mine.table("test", 5)["image"].to_list()
    assert drawn == mine.table("test", 5)["image"].to_list() == mine.table("train", 5)["image"].to_list()
    assert len(set(drawn)) == 5
    everything = mine.table("test")["image"].to_list()
    assert drawn == [image for image in everything if image in drawn]
    assert drawn != everything[:5]


def test_a_larger_limit_holds_the_smaller_ones_images(mine):
    assert set(mine.table("test", 3)["image"]) < set(mine.table("test", 7)["image"])


def test_a_limit_beyond_the_table_changes_nothing(mine):
    table = mine.table("test")
    assert limited(table, 100) is table
    assert limited(table, None) is table


def test_an_image_without_its_suffix_is_found(mine, own_home):
    Image.new("RGB", (8, 8)).save(own_home / "data" / "mine" / "images" / "1234.png")
    assert mine.read_image("1234", "test").size == (8, 8)
    assert mine.read_image("photo-0", "test").size == (60, 40)


def test_an_image_that_is_not_there_is_named(mine):
    with pytest.raises(ImageError, match=r"nowhere\.jpg: there is no such file"):
        mine.read_image("nowhere.jpg", "test")


def test_images_that_are_listed_but_not_on_disk_are_found_out(mine, own_home):
    (own_home / "data" / "mine" / "images" / "photo-7.jpg").unlink()
    assert missing_images(mine, mine.table("test"), "test") == ["photo-7.jpg"]


def test_the_content_key_follows_names_sizes_and_times_of_the_images(mine, own_home):
    table = mine.table("test")
    key = mine.content_key(table, "test")
    assert key == mine.content_key(mine.table("test"), "test")
    assert mine.content_key(table.head(11), "test") != key
    photo = own_home / "data" / "mine" / "images" / "photo-2.jpg"
    os.utime(photo, (1, 1))
    touched = mine.content_key(table, "test")
    photo.write_bytes(photo.read_bytes() + b"more")
    os.utime(photo, (1, 1))
    longer = mine.content_key(table, "test")
    photo.unlink()
    assert len({key, touched, longer, mine.content_key(table, "test")}) == 4


def test_a_split_is_chosen_by_purpose_and_a_set_without_splits_serves_both():
    split = Dataset("s", "S", splits={"train": {"images": "a", "metadata": "a.csv"}, "test": {}})
    assert (split.split_for("train"), split.split_for("test")) == ("train", "test")
    whole = Dataset("w", "W")
    assert whole.split_for("train") == whole.split_for("test") == "all"


def test_training_on_a_set_that_has_only_a_test_split_is_refused():
    with pytest.raises(DatasetError, match="shadedrelief has no train split; it has test"):
        get_dataset("shadedrelief").table("train")


def test_splits_have_their_own_folders_and_tables(photos, own_home):
    for split in ("train", "test"):
        photos(2 if split == "test" else 4, own_home / "data" / "s" / split)
    splits = {split: {"images": f"{split}/images", "metadata": f"{split}/metadata.csv"} for split in ("train", "test")}
    dataset = Dataset("s", "S", splits=splits)
    assert dataset.present
    assert (len(dataset.table("train")), len(dataset.table("test"))) == (4, 2)


def definition(text):
    Path("d.toml").write_text(text, encoding="utf-8")
    return Path("d.toml")


def test_a_toml_is_a_data_set():
    dataset = Dataset.from_toml(
        definition('name = "d"\ntitle = "Dées"\nstatus = "gated"\ncount = 7\n[columns]\nlatitude = "breite"\n')
    )
    assert (dataset.name, dataset.title, dataset.status, dataset.count) == ("d", "Dées", "gated", 7)
    assert dataset.columns == {"latitude": "breite"}
    assert dataset.default_gallery == "100k"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name = "d"', "missing keys ['title']"),
        ('name = "d"\ntitle = "D"\ncolour = "red"', "unknown keys ['colour']"),
        ('name = "d"\ntitle = "D"\nstatus = "lost"', "status 'lost'"),
        ('name = "d"\ntitle = "D"\nkind = "video"', "unknown kind 'video'; there are "),
        ('name = "d"\ntitle', "is no data set definition"),
    ],
)
def test_a_toml_that_does_not_fit_names_file_and_key(text, expected):
    with pytest.raises(DatasetError, match=r"^d\.toml") as caught:
        Dataset.from_toml(definition(text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_toml_of_the_users_own_is_found_and_one_that_is_still_being_written_is_not(own_home):
    for folder in ("mine", ".other.x1y2z3"):
        (own_home / "data" / folder).mkdir(parents=True)
        (own_home / "data" / folder / "dataset.toml").write_text(f'name = "{folder}"\ntitle = "T"\n')
    assert [dataset.name for dataset in own_datasets()] == ["mine"]
    assert "mine" in get_datasets()


@pytest.mark.parametrize("name", ["bluemarble", "gws15k", "im2gps", "im2gps3k", "mp16", "osv5m", "yfcc26k", "yfcc4k"])
def test_a_bundled_data_set_says_what_a_researcher_must_know(name):
    dataset = get_dataset(name)
    assert dataset.title
    assert dataset.citation
    assert dataset.licence
    assert dataset.status in STATUSES
    assert dataset.count > 0
    assert dataset.present == (dataset.status == "embedded")
    assert dataset.present or dataset.obtain


def test_the_images_of_the_papers_test_sets_are_counted_as_in_the_papers():
    counts = {name: get_dataset(name).count for name in ("im2gps", "im2gps3k", "yfcc4k", "yfcc26k", "gws15k")}
    assert counts == {"im2gps": 237, "im2gps3k": 2997, "yfcc4k": 4536, "yfcc26k": 25600, "gws15k": 14955}


def test_the_table_of_a_data_set_is_that_of_its_file(mine, own_home):
    expected = read_table(own_home / "data" / "mine" / "metadata.csv")
    np.testing.assert_array_equal(mine.table("test").to_numpy(), expected.to_numpy())
