import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from typing_extensions import TypedDict

from geobench import Dataset, DatasetError, DatasetNotFoundError, ImageError, get_dataset, get_datasets
from geobench.data.dataset import limited
from geobench.data.definitions import Status
from geobench.data.own import own_datasets
from geobench.data.registration import add_dataset, locate_images
from geobench.data.tables.rows import read_table


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
    with pytest.raises(DatasetNotFoundError, match=r"looked for \S+metadata\.csv\. Status: own\. Bring the files"):
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
    assert locate_images(mine, mine.table("test")).missing == ["photo-7.jpg"]


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


HEAD = 'name = "d"\ntitle = "D"\n'
RASTER = HEAD + 'kind = "raster"\n[splits.test]\nseed = 0\ncount = 3\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "d"', "the key title is missing."),
        (HEAD + 'titel = "red"', "unknown key 'titel'; did you mean title?"),
        ('name = "d"\ntitel = "D"', "unknown key 'titel'; did you mean title?"),
        (HEAD + 'kind = "video"', "unknown kind 'video'; there are folder, raster"),
        (HEAD + "kind = 3", "unknown kind 3; there are folder, raster"),
        (
            HEAD + 'status = "lost"',
            "status must be embedded, available, gated, withdrawn, never-released or own, not 'lost'.",
        ),
        ('name = "d"\ntitle = 7', "title must be a string, not 7."),
        ('name = "d"\ntitle = 2024-05-06', "title must be a string, not datetime.date(2024, 5, 6)."),
        (HEAD + 'count = "7"', "count must be an integer of at least 0, not '7'."),
        (HEAD + "count = true", "count must be an integer of at least 0, not True."),
        (HEAD + "count = -1", "count must be an integer of at least 0, not -1."),
        (HEAD + 'header = "no"', "header must be true or false, not 'no'."),
        (HEAD + 'columns = "image"', "columns must be a table, not 'image'."),
        (HEAD + "[columns]\nimage = 1.5", "columns.image must be a string or an integer, not 1.5."),
        (HEAD + '[tables."a.csv"]\nheadr = true', "tables.a.csv: unknown key 'headr'; did you mean header?"),
        (HEAD + 'splits = ["train"]', "splits must be a table, not ['train']."),
        (HEAD + '[splits]\nall = "images"', "splits.all must be a table, not 'images'."),
        (HEAD + "[splits.all]\nimages = 1", "splits.all.images must be a string, not 1."),
        (HEAD + '[splits.all]\nimage = "i"', "splits.all: unknown key 'image'; did you mean images?"),
        (HEAD + "thresholds = [1, 0]", "thresholds[2] must be a number above 0, not 0."),
        (HEAD + "thresholds = 25", "thresholds must be a list of numbers above 0, not 25."),
        (HEAD + 'metrics = "median_km"', "metrics must be a list of strings, not 'median_km'."),
        (HEAD + '[settings]\nknn = "k=3"', "settings.knn must be a table, not 'k=3'."),
        (HEAD + 'sources = "u"', "sources must be a list of tables, not 'u'."),
        (HEAD + 'sources = ["u"]', "sources[1] must be a table, not 'u'."),
        (HEAD + '[[sources]]\nfile = "a"\n[[sources]]\npage = "u"', "sources[2]: the key file is missing."),
        (HEAD + '[[sources]]\nfile = "a"\nurl = "u"', "sources[1]: unknown key 'url'; did you mean urls?"),
        (RASTER + 'image = "i"', "splits.test: unknown key 'image'; available: count, seed."),
        (RASTER.replace("3", '"3"'), "splits.test.count must be an integer of at least 1, not '3'."),
        (RASTER.replace("count = 3\n", ""), "splits.test: the key count is missing."),
        (RASTER.replace("[splits", 'crop_km = "far"\n[splits'), "crop_km must be a number above 0, not 'far'."),
        (RASTER.replace("[splits", "south = -91\n[splits"), "south must be a number of at least -90 and at most 90, "),
        (RASTER.replace("[splits", "south = 80\n[splits"), "south must be below north, 75.0, not 80.0."),
        (HEAD + 'kind = "raster"', "there are no splits; write one or more, such as [splits.test] with count and seed"),
    ],
)
def test_a_toml_that_does_not_fit_names_file_key_and_what_is_valid(text, line):
    with pytest.raises(DatasetError) as caught:
        Dataset.from_toml(definition(text))
    assert str(caught.value).startswith(f"d.toml: {line}")


def test_a_file_that_is_not_toml_is_named():
    with pytest.raises(DatasetError, match=r"^d\.toml is not a data set definition: "):
        Dataset.from_toml(definition('name = "d"\ntitle'))


def test_a_data_set_made_in_python_is_checked_as_well():
    with pytest.raises(DatasetError, match=r"^Dataset: splits\.all: unknown key 'image'; did you mean images\?"):
        Dataset("d", "D", splits={"all": {"image": "i"}})
    with pytest.raises(DatasetError, match=r"^Dataset: count must be an integer of at least 0, not '7'\."):
        replace(Dataset("d", "D"), count="7")


def test_a_kind_of_its_own_declares_the_keys_of_its_splits():
    class Where(TypedDict):
        server: str

    @dataclass(frozen=True)
    class Remote(Dataset, kind="remote"):
        splits: Mapping[str, Where] = field(default_factory=dict)

    try:
        text = HEAD + 'kind = "remote"\n[splits.test]\n'
        assert Dataset.from_toml(definition(text + 'server = "a"')).splits == {"test": {"server": "a"}}
        with pytest.raises(DatasetError, match=r"splits\.test: unknown key 'images'; available: server"):
            Dataset.from_toml(definition(text + 'images = "a"'))
    finally:
        del Dataset.kinds["remote"]


def test_a_toml_of_the_users_own_is_found_and_one_that_is_still_being_written_is_not(own_home):
    for folder in ("mine", ".other.x1y2z3"):
        (own_home / "data" / folder).mkdir(parents=True)
        (own_home / "data" / folder / "dataset.toml").write_text(f'name = "{folder}"\ntitle = "T"\n')
    assert [dataset.name for dataset in own_datasets()] == ["mine"]
    assert "mine" in get_datasets()


def test_the_definition_in_the_documents_is_one():
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(name = \"mine\".*?)^```", text, re.MULTILINE | re.DOTALL)
    dataset = Dataset.from_toml(definition(example))
    assert dataset.split_for("train") == "train"
    assert dataset.tables["list.txt"]["columns"] == {"image": 2, "longitude": 13, "latitude": 14}


def test_a_whole_number_does_where_a_number_is_wanted():
    text = 'name = "d"\ntitle = "D"\nkind = "raster"\ncrop_km = 100\n[splits.test]\ncount = 3\nseed = 0\n'
    assert Dataset.from_toml(definition(text)).crop_km == 100


def test_a_broken_definition_of_ones_own_is_told_and_left_out_and_all_else_works(own_home, cli, photos):
    broken = own_home / "data" / "broken" / "dataset.toml"
    broken.parent.mkdir(parents=True)
    broken.write_text('name = "broken"\ntitle = 3')
    add_dataset("mine", *photos(2))
    listed = cli("datasets", "list", "--json")
    names = {row["dataset"] for row in json.loads(listed.stdout)}
    assert "mine" in names and "bluemarble" in names and "broken" not in names
    warning = f"Warning: your data set broken is skipped: {broken}: title must be a string, not 3.\n"
    assert listed.stderr == warning
    assert cli("models").stderr == warning
    told = cli("datasets", "show", "broken", exit_code=1)
    assert told.stderr == f"Error: {broken}: title must be a string, not 3.\n"


@pytest.mark.parametrize("name", ["bluemarble", "gws15k", "im2gps", "im2gps3k", "mp16", "osv5m", "yfcc26k", "yfcc4k"])
def test_a_bundled_data_set_says_what_a_researcher_must_know(name):
    dataset = get_dataset(name)
    assert dataset.title
    assert dataset.citation
    assert dataset.licence
    assert dataset.status in get_args(Status)
    assert dataset.count > 0
    assert dataset.present == (dataset.status == "embedded")
    assert dataset.present or dataset.obtain


def test_the_images_of_the_papers_test_sets_are_counted_as_in_the_papers():
    counts = {name: get_dataset(name).count for name in ("im2gps", "im2gps3k", "yfcc4k", "yfcc26k", "gws15k")}
    assert counts == {"im2gps": 237, "im2gps3k": 2997, "yfcc4k": 4536, "yfcc26k": 25600, "gws15k": 14955}


def test_the_table_of_a_data_set_is_that_of_its_file(mine, own_home):
    expected = read_table(own_home / "data" / "mine" / "metadata.csv")
    np.testing.assert_array_equal(mine.table("test").to_numpy(), expected.to_numpy())


# -- the tables that researchers have

SHARED = Path(__file__).parents[2] / "shared" / "metadata"
PLACES365 = "IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban"


@pytest.mark.parametrize(
    ("name", "file"),
    [("im2gps", "im2gps"), ("im2gps3k", "im2gps3k"), ("yfcc26k", "yfcc25600")],
)
def test_the_tables_of_the_papers_load_with_all_their_rows(name, file, own_home):
    source = SHARED / f"{file}_places365.csv"
    if not source.is_file():
        pytest.skip(f"the folder ../shared with {source.name} is not beside this checkout")
    folder = own_home / "data" / name
    (folder / "images").mkdir(parents=True)
    shutil.copy(source, folder / "metadata.csv")
    dataset = get_dataset(name)
    table = dataset.table("test")
    assert len(table) == dataset.count == {"im2gps": 237, "im2gps3k": 2997, "yfcc26k": 25600}[name]
    assert list(table)[:4] == ["image", "latitude", "longitude", "AUTHOR"]
    assert table["image"].is_unique
    assert np.abs(table["latitude"]).max() <= 90 < np.abs(table["longitude"]).max() <= 180


def test_a_table_with_the_header_of_those_finds_photos_under_either_form_of_their_names(own_home):
    folder = own_home / "data" / "yfcc26k"
    (folder / "images" / "2e").mkdir(parents=True)
    rows = [
        "45/77/3228511372.jpg,43@N00,46.5,23.25,0,5,21,0.9,0.1,0",
        "2e/b5/4325164013.jpg,22@N02,40,-116,2,1,2,0,0,1",
    ]
    (folder / "metadata.csv").write_text("\n".join([PLACES365, *rows]) + "\n")
    Image.new("RGB", (9, 5)).save(folder / "images" / "45_77_3228511372.jpg")
    (folder / "images" / "2e" / "b5").mkdir()
    Image.new("RGB", (7, 5)).save(folder / "images" / "2e" / "b5" / "4325164013.jpg")
    dataset = get_dataset("yfcc26k")
    table = dataset.table("test")
    assert [dataset.read_image(image, "test").size for image in table["image"]] == [(9, 5), (7, 5)]
    located = locate_images(dataset, table)
    assert (located.missing, located.left_out) == ([], set())
    assert located.renamed == {"45/77/3228511372.jpg": "45_77_3228511372.jpg"}
    assert table["AUTHOR"].to_list() == ["43@N00", "22@N02"]


def test_the_list_of_yfcc4k_without_a_header_is_read_where_no_other_table_is_there(own_home):
    folder = own_home / "data" / "yfcc4k"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (9, 5)).save(folder / "images" / "3228511372.jpg")
    line = [
        "0",
        "3228511372",
        "a0b1",
        "43@N00",
        "Ann",
        "2009",
        "1234",
        "Canon",
        "A+title",
        "",
        "tags",
        "",
        "23.25",
        "46.5",
    ]
    other = ["1", "4325164013", *line[2:12], "-116.5", "40.125"]
    listed = folder / "0aaaa.r.imagedata.txt"
    listed.write_text("".join("\t".join([*fields, "16", "http://x/y.jpg"]) + "\n" for fields in (line, other)))
    dataset = get_dataset("yfcc4k")
    assert dataset.present
    table = dataset.table("test")
    assert table["image"].to_list() == ["3228511372", "4325164013"]
    assert table[["latitude", "longitude"]].to_numpy().tolist() == [[46.5, 23.25], [40.125, -116.5]]
    assert dataset.read_image("3228511372", "test").size == (9, 5)
    (folder / "metadata.csv").write_text("image,latitude,longitude\n3228511372.jpg,1,2\n")
    assert len(dataset.table("test")) == 1  # the table that the definition names goes first
