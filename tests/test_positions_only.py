"""Test sets without photos: a table of positions, to score predictions of others on."""

import json
import shutil
from pathlib import Path

import pytest

from geobench import DatasetError, DatasetNotFoundError, get_dataset
from geobench.data.registration import add_dataset, remove_dataset

TABLE = "image,AUTHOR,latitude,longitude\na.jpg,x,0,0\nb.jpg,y,48.0,2.0\nc.jpg,y,-33,151\n"


@pytest.fixture
def places(cli):
    """Register the set ``places`` by the command; return its table."""
    path = Path("truth.csv")
    path.write_text(TABLE, encoding="utf-8")
    cli("datasets", "add", "places", "--metadata", path)
    return path


def uses(cli):
    return {row["dataset"]: row["use"] for row in json.loads(cli("datasets", "--json").stdout)}


def test_a_table_alone_is_a_test_set_that_says_what_it_can_be_used_for(cli, places, photos, own_home):
    images, metadata = photos(3)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    found = uses(cli)
    assert (found["places"], found["mine"], found["im2gps3k"]) == ("score", "train, run, score", "")
    assert (found["bluemarble"], found["shadedrelief"]) == ("train, run, score", "run, score"), "as their splits say"
    folder = own_home / "data" / "im2gps3k"
    folder.mkdir(parents=True)
    shutil.copy(places, folder / "metadata.csv")
    assert uses(cli)["im2gps3k"] == "score", "of a published set, its table is here and its photos are not"
    assert "images none" in cli("datasets", "show", "places").stdout


def test_it_is_scored_capped_audited_broken_down_checked_drawn_and_reported(cli, places):
    Path("theirs.csv").write_text("id,lat,lon\na.jpg,1,0\nb.jpg,48,2.1\nc.jpg,0,0\n", encoding="utf-8")
    assert "33.3" in cli("score", "theirs.csv", "--dataset", "places").stdout
    (row,) = json.loads(
        cli("ceiling", "--datasets", "places", "--galleries", "land:50", "--limit", "2", "--json").stdout
    )
    assert row["n"] == 2
    rows = cli("breakdown", next(Path("results").glob("*.json")), "--by", "AUTHOR").stdout
    assert "theirs on places, by AUTHOR" in rows
    kinds = json.loads(cli("datasets", "audit", "places", "--against", "places", "--json").stdout)
    assert {each["kind"]: each["test_images"] for each in kinds} == {
        "photographer": 3,
        "id": 3,
        "coordinate": 3,
        "any": 3,
    }
    checked = json.loads(cli("datasets", "check", "places", "--json", exit_code=1).stdout)
    assert (checked["listed"], checked["found"], checked["readable"], checked["scored"]) == (3, 0, None, 3)
    assert {each["kind"] for each in checked["findings"]} == {"zero", "no photos"}, "0, 0 is as doubtful as elsewhere"
    cli("datasets", "map", "places", "--output", "map.svg")
    assert Path("map.svg").is_file()
    assert "theirs" in cli("report", "--format", "markdown").stdout
    cli("report", "--format", "html", "--output", "page.html")


def test_to_run_a_model_on_it_says_what_it_lacks_and_how_to_add_it(cli, places):
    told = cli("run", "--models", "random", "--datasets", "places", "--galleries", "land:50", exit_code=1).stderr
    assert "places is a table of positions, without photos" in told
    assert "geobench datasets add places --images DIR --metadata" in told
    with pytest.raises(DatasetNotFoundError, match="without photos"):
        get_dataset("places").store("test")
    with pytest.raises(DatasetNotFoundError, match="without photos"):
        get_dataset("places").table("train")


def test_its_photos_can_be_added_later(cli, places, photos):
    images, metadata = photos(3)
    cli("datasets", "add", "places", "--images", images, "--metadata", metadata, "--replace")
    assert uses(cli)["places"] == "train, run, score"


def test_a_set_needs_photos_or_a_table_and_leaves_nothing_where_the_table_is_wrong(cli, own_home):
    told = cli("datasets", "add", "nothing", exit_code=2).stderr
    assert "--images; a test set without photos needs --metadata CSV" in told
    assert "--images" in cli("datasets", "add", "nothing", "--exif", exit_code=2).stderr
    with pytest.raises(DatasetError, match="needs photos, or a table of positions"):
        add_dataset("nothing", None)
    Path("truth.csv").write_text("image,latitude,longitude\na.jpg,95,0\n", encoding="utf-8")
    assert (
        "line 2: latitude '95' is beyond ±90"
        in cli("datasets", "add", "wrong", "--metadata", "truth.csv", exit_code=1).stderr
    )
    assert not (own_home / "data" / "wrong").exists()


def test_removing_it_leaves_its_table(places):
    remove_dataset("places")
    assert places.is_file()
