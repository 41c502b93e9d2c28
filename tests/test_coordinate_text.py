"""Coordinates in the notations of people: never a wrong sign, and nothing is guessed."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geobench import GeobenchError
from geobench.data.registration import add_dataset
from geobench.published.scoring import Options, score_models
from geobench.words.coordinate_text import degrees, split_position

on_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
LETTERS = {"latitude": {1: ("N", "n", "north", "North"), -1: ("S", "s", "south")}}
LETTERS["longitude"] = {1: ("E", "e", "East"), -1: ("W", "w", "west")}
PARTS = st.tuples(st.integers(0, 89), st.integers(0, 59), st.integers(0, 5999).map(lambda n: n / 100))
NOTATIONS = [
    "{d}°{m}'{s}\"{h}",
    "{d}° {m}′ {s}″ {h}",
    "{h} {d}°{m}′{s}″",
    "{d} {m} {s} {h}",
    "{d}:{m}:{s} {h}",
    "{d},{m},{s}{h}",
    "{d}deg {m}min {s}sec {h}",
]


@given(
    PARTS, st.sampled_from(["latitude", "longitude"]), st.sampled_from([1, -1]), st.sampled_from(NOTATIONS), st.data()
)
def test_degrees_minutes_and_seconds_have_the_sign_of_their_letter(parts, axis, sign, notation, data):
    d, m, s = parts
    letter = data.draw(st.sampled_from(LETTERS[axis][sign]))
    found = degrees(notation.format(d=d, m=m, s=s, h=letter), axis)
    assert found == pytest.approx(sign * (d + m / 60 + s / 3600), abs=1e-9)
    other = "longitude" if axis == "latitude" else "latitude"
    assert degrees(notation.format(d=d, m=m, s=s, h=letter), other) is None, "the letter of the other axis"


@given(st.decimals(-90, 90, places=5), st.sampled_from(["{}", "{}°", "{} deg", " {} ", "+{}"]))
def test_decimal_degrees_are_what_they_say(value, notation):
    text = notation.format(value) if value >= 0 or "+" not in notation else f"{value}"
    assert degrees(text, "latitude") == pytest.approx(float(value), abs=1e-12)
    assert degrees(text.replace("-", "−"), "latitude") == pytest.approx(float(value), abs=1e-12), "a typographic minus"


@given(
    st.decimals(-89, 89, places=4),
    st.decimals(-179, 179, places=4),
    st.sampled_from(
        ["{a}, {b}", "({a}, {b})", "[{a},{b}]", "{a} {b}", "{a};{b}", "lat: {a}, lon: {b}", "POINT({b} {a})"]
    ),
)
def test_a_position_in_one_text_is_cut_where_it_says(a, b, notation):
    first, second = split_position(notation.format(a=a, b=b))
    assert (float(first), float(second)) == (float(a), float(b))


@given(st.text(max_size=30))
def test_any_other_text_is_no_error(text):
    for axis in ("latitude", "longitude"):
        assert degrees(text, axis) is None or abs(degrees(text, axis)) >= 0
    split_position(text)


KEYS = st.sampled_from(["lat", "lon", "id", "a.jpg", "pred"])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-200, 200) | st.floats(-200, 200) | st.text("abN°, 1.-", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@on_disk
@given(VALUE)
def test_a_json_file_of_anything_is_scored_or_one_of_our_errors(tmp_path, value):
    metadata = tmp_path / "truth.csv"
    if not metadata.exists():
        metadata.write_text("image,latitude,longitude\na.jpg,1,2\nb.jpg,3,4\n")
        add_dataset("places", None, metadata)
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(value))
    try:
        found = score_models(path, "places", "x", Options())
    except GeobenchError as error:
        assert "\n" not in str(error)
    else:
        for result in found:
            assert sum(result.statuses.values()) == result.n == 2
            assert result.failed == result.n - result.answered - result.statuses.get("not asked", 0)


def test_a_spreadsheet_without_its_package_is_one_line_that_names_it(cli, monkeypatch, tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(("id", "lat", "lon"))
    book.save("theirs.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    Path("truth.csv").write_text("image,latitude,longitude\na.jpg,1,2\n")
    told = cli("score", "theirs.xlsx", "--truth", "truth.csv", exit_code=1).stderr
    assert "needs the package openpyxl: pip install 'geobench-geolocalization[xlsx]'; or save it as CSV" in told
