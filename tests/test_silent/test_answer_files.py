"""Files of answers that were once misread without a word: every case has the accuracy worked out by hand.

There are forty images. The first twenty answers are one degree north of the truth (111 km), the others nine (1,001 km):
50 % are within 200 km. A case in which the first ten are no answers has 25 %.
"""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from geobench.data.land import sample_land
from geobench.data.registration import add_positions
from geobench.errors import ResultError
from geobench.progress import Progress
from geobench.published.scoring import Options, score_models


def on_land():
    places = sample_land(800, np.random.default_rng(0), -50, 60)
    return places[np.abs(places[:, 1]) < 80][:40].round(4).tolist()


TRUTH = [(f"{k}.jpg", a, b) for k, (a, b) in enumerate(on_land())]
ANSWERS = [(name, round(a + (1 if k < 20 else 9), 4), b) for k, (name, a, b) in enumerate(TRUTH)]
HEAD = ("id", "latitude", "longitude")
BOTH = [(*truth, *answer[1:]) for truth, answer in zip(TRUTH, ANSWERS, strict=True)]


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def score(tmp_path):
    """Return a function that scores a file: accuracies at 200 km by model, numbers answered, and what was said."""
    add_positions("places", pd.DataFrame(TRUTH, columns=["image", "latitude", "longitude"]), "test")

    def run(content, name="theirs.csv", columns=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        told = Told()
        results = score_models(path, "places", None, Options(columns), progress=told)
        found = {result.model: (round(result.scores["acc_200km"], 1), result.statuses["ok"]) for result in results}
        return found, "\n".join(told.lines)

    return run


def table(*rows, head=HEAD, separator=","):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def lines(records):
    return "\n".join(map(json.dumps, records))


def swapped(name, text):
    """Return a table with positions in one column, written by ``text`` from latitude and longitude."""
    return table(*((n, text(a, b)) for n, a, b in ANSWERS), head=("id", name))


def flagged(name, bad, good):
    rows = [(n, bad if k < 10 else good, a, b) for k, (n, a, b) in enumerate(ANSWERS)]
    return table(*rows, head=("id", name, *HEAD[1:]))


def hemisphere(value, letters):
    return abs(value), letters[value < 0]


HALF, QUARTER = {"theirs": (50.0, 40)}, {"theirs": (25.0, 30)}
READ = {
    "a GeoJSON point in JSON Lines": (lines({"id": n, "at": {"type": "Point", "coordinates": [b, a]}} for n, a, b in ANSWERS), HALF),
    "a GeoJSON collection of features": (json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"id": n}, "geometry": {"type": "Point", "coordinates": [b, a]}} for n, a, b in ANSWERS]}), HALF),
    "a GeoJSON point as text": (swapped("geometry", lambda a, b: json.dumps({"type": "Point", "coordinates": [b, a]})), HALF),
    "well-known text with a height": (swapped("geometry", lambda a, b: f"POINT Z ({b} {a} 0)"), HALF),
    "a column called lonlat": (swapped("lonlat", lambda a, b: f"{b}, {a}"), HALF),
    "a column called lng_lat": (swapped("pred_lng_lat", lambda a, b: f"[{b}, {a}]"), HALF),
    "a column called lon, lat": (swapped("lon, lat", lambda a, b: f"{b} {a}"), HALF),
    "a column called latlon": (swapped("latlon", lambda a, b: f"{a}, {b}"), HALF),
    "a list called lnglat": (lines({"id": n, "lnglat": [b, a]} for n, a, b in ANSWERS), HALF),
    "digits of full width": (table(*((n, *(str(x).translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789.-"}) for x in xy)) for n, *xy in ANSWERS)), HALF),
    "JSON Lines in UTF-16": (lines(dict(zip(HEAD, row, strict=True)) for row in ANSWERS).encode("utf-16"), HALF),
    "a flag refused": (flagged("refused", True, False), QUARTER),
    "a flag is_valid": (flagged("is_valid", 0, 1), QUARTER),
    "a flag failed, nested": (lines({"id": n, "lat": a, "lon": b, "meta": {"failed": k < 10}} for k, (n, a, b) in enumerate(ANSWERS)), QUARTER),
    "codes of HTTP as status": (flagged("status", 503, 200), QUARTER),
    "ranks in a list of JSON, the best last": (lines({"id": n, "predictions": [{"rank": 2, "lat": 0, "lon": 0}, {"rank": 1, "lat": a, "lon": b}]} for n, a, b in ANSWERS), None),
    "the best ten in columns, the tenth first": (table(*((n, 0, 0, a, b, *[0] * 16) for n, a, b in ANSWERS), head=("id", *(f"pred_{axis}_{k}" for k in (10, *range(1, 10)) for axis in ("lat", "lon")))), HALF),
    "scores beside the best two, counted from 0": (table(*((n, a, b, 0.9, 0, 0, 0.1) for n, a, b in ANSWERS), head=("id", "pred_lat_0", "pred_lon_0", "score_0", "pred_lat_1", "pred_lon_1", "score_1")), HALF),
    "a predicted latitude with a hemisphere of its own": (table(*((n, *hemisphere(a, "NS"), *hemisphere(b, "EW")) for n, a, b in ANSWERS), head=("id", "pred_lat", "pred_lat_ref", "pred_lon", "pred_lon_ref")), HALF),
    "a true latitude with a hemisphere, and a signed answer": (table(*((n, *hemisphere(s, "NS"), *hemisphere(t, "EW"), a, b) for n, s, t, a, b in BOTH), head=("id", "lat", "lat_ref", "lon", "lon_ref", "pred_lat", "pred_lon")), HALF),
    "hemispheres called NS and EW": (table(*((n, *hemisphere(a, "NS"), *hemisphere(b, "EW")) for n, a, b in ANSWERS), head=("id", "pred_lat", "NS", "pred_lon", "EW")), HALF),
    "the header in the middle of joined files": (table(*ANSWERS[:20]) + table(*ANSWERS[20:]), HALF),
    "temperatures": (table(*(row for n, a, b in ANSWERS for row in ((n, 0, a, b), (n, 1, a + 20, b))), head=("id", "temperature", "lat", "lon")), {"temperature 0": (50.0, 40), "temperature 1": (0.0, 40)}),
    "answers of a column llm with confidences": (table(*(row for n, a, b in ANSWERS for row in ((n, "x", a, b, 0.5), (n, "y", a + 20, b, 0.9))), head=("id", "llm", "lat", "lon", "confidence")), {"x": (50.0, 40), "y": (0.0, 40)}),
    "a flag of each of two models": (table(*((n, a, b, k < 10, a, b, False) for k, (n, a, b) in enumerate(ANSWERS)), head=("id", "pred_lat_x", "pred_lon_x", "refused_x", "pred_lat_y", "pred_lon_y", "refused_y")), {"x": (25.0, 30), "y": (50.0, 40)}),
    "a status of each of two models": (lines({"id": n, "x": {"pred": {"lat": a, "lon": b}, "status": "refused" if k < 10 else "ok"}, "y": {"pred": {"lat": a, "lon": b}, "status": "ok"}} for k, (n, a, b) in enumerate(ANSWERS)), {"x": (25.0, 30), "y": (50.0, 40)}),
}  # fmt: skip


@pytest.mark.parametrize("what", READ)
def test_it_is_read_as_it_is_meant(score, what):
    content, expected = READ[what]
    found, _ = score(content, "theirs.json" if not isinstance(content, str) or content[:1] in "{[" else "theirs.csv")
    assert found == (expected or HALF)


def test_whole_degrees_beside_minutes_are_not_the_position(score):
    parts = [(n, int(a), abs(a) % 1 * 60, int(b), abs(b) % 1 * 60) for n, a, b in ANSWERS if min(abs(a), abs(b)) >= 1]
    for affix in ("", "pred_"):
        names = ("id", *(f"{affix}{name}" for name in ("lat", "lat_min", "lon", "lon_min")))
        path_says = score(table(*parts, head=names))[1]
        assert "not from" not in path_says
    exact = [(n, a, b) for n, a, b in ANSWERS if min(abs(a), abs(b)) >= 1]
    assert score(table(*parts, head=names))[0] == score(table(*exact))[0]


SAID = {
    "a status of unknown words": (flagged("status", "refused_by_policy", "ok"), "the column 'status' is not taken for the status: line 2: 'refused_by_policy' is none known"),
    "a flag of other words": (flagged("valid", "train", "test"), "the column 'valid' is not taken for one of yes and no: it has 'train'"),
    "a flag against positions": (flagged("refused", "yes", "no"), "the column 'refused' says of 10 lines with a position that they are no answer (refused)"),
    "a status against positions": (flagged("status", "refused", "ok"), "the column 'status' says of 10 lines with a position that they are no answer"),
    "models that no image has two of": (table(*((n, "xy"[k % 2], a, b) for k, (n, a, b) in enumerate(ANSWERS)), head=("id", "model", "lat", "lon")), "rows of several models are scored as one: the column 'model' has x 20, y 20"),
    "rows of training and test": (table(*((n, "train" if k < 9 else "test", a, b) for k, (n, a, b) in enumerate(ANSWERS)), head=("id", "split", "lat", "lon")), "rows of several parts are scored as one: the column 'split' has train 9, test 31"),
    "a distance of other positions": (table(*((*row, 3.5) for row in ANSWERS), head=("id", "lat", "lon", "distance_km")), "the column 'distance_km' has other distances than those from the positions read to the true ones (line 2: 3.5, not 111.2 km)"),
    "an answer at -1, -1": (table(*((n, -1, -1) if k < 10 else (n, a, b) for k, (n, a, b) in enumerate(ANSWERS))), "predictions exactly at -1, -1, which some use for a failure, are scored as given: 10."),
    "a refusal after an answer": (table(*ANSWERS, *((n, "", "") for n, _, _ in ANSWERS[:5])), "those without a position, such as failed tries, do not count (5 images): '0.jpg'"),
    "a table cut off in a number": (table(*ANSWERS).rstrip()[:-3], "line 41 ends without a line break, in '-37.0'"),
    "the header again": (table(*ANSWERS[:20]) + table(*ANSWERS[20:]), "the header stands again on line 22"),
    "several positions of a row": (table(*((n, a, b, 0, 0) for n, a, b in ANSWERS), head=("id", "pred_lat_1", "pred_lon_1", "pred_lat_2", "pred_lon_2")), "the 2 positions of a row are taken for the best of one model, the best in pred_lat_1 and pred_lon_1"),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_what_it_may_hide_is_said(score, what):
    content, said = SAID[what]
    assert said in score(content)[1]


@pytest.mark.parametrize("unit", [1, 1000, 1 / 1.609344])
def test_nothing_is_said_of_true_distances_in_any_unit(score, unit):
    rows = [(*row, 111.195 * unit * (1 if k < 20 else 9)) for k, row in enumerate(ANSWERS)]
    assert "other distances" not in score(table(*rows, head=("id", "lat", "lon", "distance")))[1]


def test_nothing_is_said_of_a_whole_file_without_a_last_line_break_or_of_one_part(score):
    whole = table(*((*row, "test", "12.5") for row in ANSWERS), head=(*HEAD, "split", "seconds")).rstrip()
    assert score(whole)[1] == ""


def test_kilometres_in_a_column_error_are_no_errors_of_a_service(score):
    rows = [(n, "" if k == 0 else a, "" if k == 0 else b, 20015.1) for k, (n, a, b) in enumerate(ANSWERS)]
    _, said = score(table(*rows, head=("id", "lat", "lon", "error")))
    assert "1 unparseable" in said and "service" not in said


REFUSED = {
    "shares of the range": (table(*((n, (a + 90) / 180, (b + 180) / 360) for n, a, b in ANSWERS)), "be scaled to 0 to 1.*write degrees"),
    "shares from -1 to 1": (table(*((n, a / 90, b / 180) for n, a, b in ANSWERS)), "be scaled to −1 to 1.*write degrees"),
    "longitudes from 0 to 360": (table(*((n, a, b % 360) for n, a, b in ANSWERS)), "subtract 360 from those above 180"),
    "thousandths of degrees with commas": (table(*((n, f"{round(a * 1e4):,}", f"{round(b * 1e4):,}") for n, a, b in ANSWERS)), "not in degrees"),
    "no hemispheres": (table(*((n, abs(a), abs(b)) for n, a, b in ANSWERS)), "lost their hemispheres.*a minus sign"),
    "hemispheres of the truth alone": (table(*((n, *hemisphere(s, "NS"), *hemisphere(t, "EW"), abs(a), abs(b)) for n, s, t, a, b in BOTH), head=("id", "lat", "lat_ref", "lon", "lon_ref", "pred_lat", "pred_lon")), "lost their hemispheres"),
    "the header in another order further down": (table(*ANSWERS[:20]) + table(*((n, b, a) for n, a, b in ANSWERS[20:]), head=("id", "longitude", "latitude")), "line 22 is another header.*split the file"),
    "a name twice in an object": ('{"id": "0.jpg", "lat": 1, "lat": 2, "lon": 3}\n' + lines({"id": n, "lat": a, "lon": b} for n, a, b in ANSWERS), "line 1 has 'lat' twice"),
    "an image twice in an object": ("{" + ", ".join(f'"{n}": [{a + 20 * k}, {b}]' for k in (1, 0) for n, a, b in ANSWERS) + "}", "has '0.jpg' twice"),
    "attempts that a confidence would choose from": (table(*(row for k, (n, a, b) in enumerate(ANSWERS) for row in ((n, 1, a, b, k % 2), (n, 2, 0, 0, 0.5))), head=("id", "attempt", "lat", "lon", "confidence")), "for every value of 'attempt'.*model=attempt.*score=confidence"),
    "prompts that a confidence would choose from": (table(*(row for n, a, b in ANSWERS for row in ((n, "p", a, b, 0.1), (n, "q", 0, 0, 0.5))), head=("id", "prompt", "lat", "lon", "confidence")), "for every value of 'prompt'"),
    "scores in a list of JSON, the best last": (lines({"id": n, "predictions": [{"score": 0.1, "lat": 0, "lon": 0}, {"score": 0.9, "lat": a, "lon": b}]} for n, a, b in ANSWERS), "rank and score order the predictions"),
    "minutes above 59": (table(*((n, int(a), 61 if k == 3 else 5, int(b), 5) for k, (n, a, b) in enumerate(ANSWERS)), head=("id", "pred_lat", "pred_lat_min", "pred_lon", "pred_lon_min")), "line 5: latitude has the minutes '61' .column 'pred_lat_min'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_one_line(score, what):
    content, match = REFUSED[what]
    with pytest.raises(ResultError, match=match) as raised:
        score(content)
    assert "\n" not in str(raised.value)


def test_the_advice_of_refusals_works(score):
    content, _ = REFUSED["scores in a list of JSON, the best last"]
    assert score(content, columns={"score": "predictions.0.score"})[0] == HALF
    content, _ = REFUSED["attempts that a confidence would choose from"]
    assert score(content, columns={"model": "attempt"})[0] == {"attempt 1": (50.0, 40), "attempt 2": (0.0, 40)}
    # the confidence chooses the first attempt of every second image: of ten of the first twenty
    assert score(content, columns={"score": "confidence"})[0] == {"theirs": (25.0, 40)}


def test_a_rank_by_another_name_and_one_value_for_failures_are_no_reason_to_refuse(score):
    rows = [row for n, a, b in ANSWERS for row in ((n, 0, a, b, 0.9), (n, 1, 0, 0, 0.1))]
    assert score(table(*rows, head=("id", "candidate", "lat", "lon", "score")))[0] == HALF
    rows = [(n, 9999, 9999) if k >= 15 else (n, a, b) for k, (n, a, b) in enumerate(ANSWERS)]
    assert score(table(*rows))[0] == {"theirs": (37.5, 15)}
    rows = [(n, 9999, 9999) if k else (n, a, b) for k, (n, a, b) in enumerate(ANSWERS)]
    assert score(table(*rows))[0] == {"theirs": (2.5, 1)}


def test_a_number_with_an_underscore_is_no_position(score):
    rows = [(n, "4_8" if k == 0 else a, b) for k, (n, a, b) in enumerate(ANSWERS)]
    assert score(table(*rows))[0] == {"theirs": (47.5, 39)}


def test_a_flag_says_what_became_of_an_answer_and_a_column_of_other_words_does_nothing(score):
    assert "they count as misses: 10 refused" in score(flagged("refused", "yes", "no"))[1]
    assert "they count as misses: 10 unparseable" in score(flagged("is_valid", "no", "yes"))[1]
    words = [(n, "yes" if k < 10 else "perhaps", a, b) for k, (n, a, b) in enumerate(ANSWERS)]
    assert score(table(*words, head=("id", "refused", "lat", "lon")))[0] == HALF


@pytest.mark.parametrize("called", ["{}_pred_ref", "{}_ref_pred"])
def test_of_two_columns_of_hemispheres_each_is_of_its_own_position(score, called):
    """The truth has its own, here the opposite of the answer's."""
    rows = [(n, s, "SN"[a < 0], t, "WE"[b < 0], *hemisphere(a, "NS"), *hemisphere(b, "EW")) for n, s, t, a, b in BOTH]
    names = ("lat_pred", called.format("lat"), "lon_pred", called.format("lon"))
    assert score(table(*rows, head=("id", "lat", "lat_ref", "lon", "lon_ref", *names)))[0] == HALF
