"""What ``predict`` answers people: names of places, folders and patterns, files for maps, each place once."""

import csv
import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from geobench import Model, Predictions, get_dataset
from geobench.answers import as_kml, in_words, with_names
from geobench.data.places import find_places, nearest_towns
from geobench.predict import PHOTOS, predict

PARIS, ATLANTIC, VADUZ = (48.8566, 2.3522), (40.0, -40.0), (47.14, 9.52)
ICE = (-85.0, -120.0)


class Everywhere(Model):
    """Places every photo at the same places, of which the first two are one."""

    name = "everywhere"
    trainable = False
    uses_gallery = False
    places = np.array([PARIS, PARIS, ATLANTIC, PARIS, VADUZ, ICE])

    def locate(self, features, gallery=None, top_k=1):
        k = min(top_k, len(self.places))
        scores = np.tile(1 / 2.0 ** np.arange(1, k + 1), (len(features), 1))
        return Predictions.of(np.tile(self.places[:k], (len(features), 1, 1)), scores)


@pytest.fixture
def folder(tmp_path, register, monkeypatch):
    """A folder of photos, some of them below, with other files."""
    register("model", Everywhere)
    monkeypatch.setattr("geobench.predict.PHOTOS", replace(PHOTOS, default_encoder="tiny"))
    folder = tmp_path / "work" / "trip"
    (folder / "day 2").mkdir(parents=True)
    photo = get_dataset("bluemarble").read_image("+28.00000+84.00000", "test")
    photo.save(folder / "b.jpg")
    photo.save(folder / "a.png")
    photo.save(folder / "day 2" / "c.jpg")
    (folder / "broken.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def rows(done):
    return json.loads(done.stdout)


def test_a_position_is_named_by_its_nearest_town_and_its_country():
    towns = nearest_towns(np.array([PARIS, ATLANTIC, VADUZ, ICE]))
    assert towns.names[0] == "Paris" and towns.names[2] == "Vaduz"
    assert towns.countries.tolist() == ["FR", "", "LI", "AQ"]
    assert towns.distances_km[0] < 3 and towns.distances_km[1] > 500
    assert in_words("Paris", 1.0, "France") == "Paris, France"
    assert in_words("Bergen", 41.7, "Norway") == "42 km from Bergen, Norway"
    assert in_words("Horta", 1812.3, "") == "at sea, 1,812 km from Horta"


def test_the_country_is_that_of_a_breakdown():
    rng = np.random.default_rng(0)
    land = get_dataset("bluemarble").positions("test")[["latitude", "longitude"]].to_numpy(float)
    chosen = land[rng.choice(len(land), 300, replace=False)]
    same = nearest_towns(chosen).countries == find_places(chosen).countries
    assert same.mean() > 0.99


def test_a_folder_is_its_images_and_what_else_is_there_is_counted(folder, cli):
    done = cli("predict", folder, "--model", "everywhere", "--json", "--top-k", 1, exit_code=1)
    assert [row["query"] for row in rows(done)] == [str(folder / name) for name in ("a.png", "b.jpg", "day 2/c.jpg")]
    assert f"{folder}: 4 images; 1 other files are left out." in done.stderr
    assert f"Failed: {folder / 'broken.jpg'}: " in done.stderr
    assert {(row["place"], row["country"], row["town"]) for row in rows(done)} == {("Paris, France", "France", "Paris")}


def test_a_pattern_is_what_it_matches_and_a_table_has_short_paths(folder, cli):
    (folder / "broken.jpg").unlink()
    done = cli("predict", "trip/**/*.jpg", folder / "b.jpg", "--model", "everywhere", "--top-k", 1)
    lines = [line.split("  ")[0].strip() for line in done.stdout.splitlines()[2:]]
    assert lines == ["b.jpg", "day 2/c.jpg", "b.jpg"]  # the last one was given by another path
    assert "Paris, France" in done.stdout
    assert "the pattern *.gif matches no file" in cli("predict", "*.gif", exit_code=2).stderr
    (folder / "none").mkdir()
    assert "has no images" in cli("predict", folder / "none", exit_code=2).stderr


@pytest.mark.parametrize("model_repeats", [1, 5])
def test_a_place_that_repeats_is_listed_once_and_others_fill_the_list(folder, monkeypatch, model_repeats):
    monkeypatch.setattr(Everywhere, "places", np.repeat(Everywhere.places, model_repeats, axis=0))
    table = predict(Everywhere(), [folder / "a.png"], top_k=3)
    assert table[["latitude", "longitude"]].values.tolist() == [list(PARIS), list(ATLANTIC), list(VADUZ)]
    assert table["rank"].tolist() == [1, 2, 3] and table["score"].is_monotonic_decreasing
    assert table["score"][0] == 0.5
    as_returned = predict(Everywhere(), [folder / "a.png"], top_k=3, distinct=False)
    assert as_returned[["latitude", "longitude"]].values.tolist() == Everywhere.places[:3].tolist()
    everything = predict(Everywhere(), [folder / "a.png"], top_k=50)
    assert len(everything) == 4  # there are no more


def test_answers_are_files_for_maps(folder, cli):
    (folder / "broken.jpg").unlink()
    ask = ("predict", folder / "a.png", folder / "b.jpg", "--model", "everywhere", "--top-k", 2)
    found = json.loads(cli(*ask, "--format", "geojson").stdout)
    assert found["type"] == "FeatureCollection" and len(found["features"]) == 4
    second = found["features"][1]
    assert second["geometry"] == {"type": "Point", "coordinates": [ATLANTIC[1], ATLANTIC[0]]}  # longitude first
    assert second["properties"]["query"] == str(folder / "a.png") and second["properties"]["rank"] == 2
    assert second["properties"]["place"].startswith("at sea, ") and second["properties"]["country"] == ""

    space = "{http://www.opengis.net/kml/2.2}"
    document = ElementTree.fromstring(cli(*ask, "--format", "kml").stdout)
    assert [f.find(f"{space}name").text for f in document.iter(f"{space}Folder")] == [
        str(folder / "a.png"),
        str(folder / "b.jpg"),
    ]
    assert [c.text for c in document.iter(f"{space}coordinates")][:2] == ["2.352200,48.856600", "-40.000000,40.000000"]

    table = list(csv.DictReader(io.StringIO(cli(*ask, "--format", "csv").stdout)))
    assert list(table[0]) == ["query", "rank", "latitude", "longitude", "score", "place", "country", "town", "town_km"]
    assert float(table[0]["latitude"]) == PARIS[0] and len(table) == 4


def test_names_are_escaped_in_kml(folder):
    table = with_names(predict(Everywhere(), [folder / "a.png"], top_k=1))
    table["query"], table["place"] = "<&>.jpg", "A & B"
    ElementTree.fromstring(as_kml(table))
    assert "&lt;&amp;&gt;.jpg" in as_kml(table)
