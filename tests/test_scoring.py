import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from geobench import DatasetNotFoundError, Predictions, ResultError, SettingError, UnknownNameError, get_dataset
from geobench.progress import Progress
from geobench.published.matching import match_ids
from geobench.published.scoring import score_file
from geobench.results import load_result, read_results

FILE = Path("theirs.csv")
ONE_DEGREE_KM = 111.195080


class Notes(Progress):
    """Keeps what the user is told."""

    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


@pytest.fixture
def im2gps(own_home):
    """Return a function that writes the table of the registered set im2gps, and no image: (id, latitude, longitude)."""

    def write(rows):
        folder = own_home / "data" / "im2gps"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("IMG_ID", "AUTHOR", "LAT", "LON"), *((i, "someone", *p) for i, *p in rows)])

    write([("a.jpg", 0, 0), ("b/c.jpg", 0, 0), ("d_1@N00.jpg", 0, 0), ("e.jpg", 0, 0)])
    return write


def theirs(text, path=FILE):
    path.write_text(text.strip() + "\n", encoding="utf-8")
    return path


def scored(text, path=FILE, **options):
    """Return the error in degrees of latitude of each image, or None, and what was said."""
    notes = Notes()
    result = score_file(theirs(text, path), "im2gps", progress=notes, **options)
    degrees = (result.predictions.errors_km(result.truth) / ONE_DEGREE_KM).round(3).tolist()
    return [None if failed else d for d, failed in zip(degrees, result.predictions.failed, strict=True)], notes.said


def test_a_csv_file_is_scored_on_a_set_whose_images_are_not_here(im2gps):
    assert scored("id,latitude,longitude\na.jpg,1,0\nb/c.jpg,2,0\nd_1@N00.jpg,0,4\ne.jpg,0,3") == ([1, 2, 4, 3], [])


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_recognised(im2gps, separator):
    text = "id,lat,lon\na.jpg,1,0\nb/c.jpg,2,0\nd_1@N00.jpg,0,0\ne.jpg,0,3".replace(",", separator)
    assert scored(text)[0] == [1, 2, 0, 3]


def test_json_lines_are_scored(im2gps):
    lines = [
        {"id": "a.jpg", "lat": 1, "lon": 0},
        {"id": "e.jpg", "lat": "2.5", "lon": "0"},
        {"id": "b/c.jpg", "lat": 0},
    ]
    text = "\n".join(map(json.dumps, lines[:2])) + "\n\n"
    assert scored(text, Path("theirs.jsonl"))[0] == [1, None, None, 2.5]
    half, said = scored(text + json.dumps(lines[2]), Path("half.jsonl"))
    assert half == [1, None, None, 2.5]
    assert "(1): line 4: '0': a latitude or a longitude, not both." in said[0]


def test_a_result_says_that_it_is_foreign_and_of_which_file(im2gps):
    result = score_file(theirs("id,lat,lon\na.jpg,1,0\nnobody.jpg,0,0"), "im2gps", "Theirs")
    assert (result.model, result.dataset, result.n, result.failed, result.expected) == ("Theirs", "im2gps", 4, 0, 237)
    assert (result.checkpoint, result.gallery, result.encoder, result.trained_on, result.device) == ("",) * 5
    assert (result.crops, result.training_images, result.top_k) == (0, 0, 1)
    sha256 = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert result.config == {
        "foreign_file": "theirs.csv",
        "sha256": sha256,
        "columns": {"image": "id", "latitude": "lat", "longitude": "lon"},
        "unknown_ids": 1,
    }
    assert sha256[:16] in result.preprocessing
    assert result.scores["acc_200km"] == 25.0
    assert result.statuses == {"ok": 1, "not asked": 3}
    assert list(result.extra) == ["AUTHOR"]


def test_a_result_is_named_after_its_file_and_another_file_is_another_result(im2gps):
    first = score_file(theirs("id,lat,lon\na.jpg,1,0"), "im2gps")
    again = score_file(FILE, "im2gps")
    other = score_file(theirs("id,lat,lon\na.jpg,2,0"), "im2gps")
    assert first.model == "theirs"
    assert first.key == again.key != other.key
    assert first.key != score_file(FILE, "im2gps", "x").key


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\tb"])
def test_a_name_that_is_not_a_line_of_text_is_refused(im2gps, name):
    with pytest.raises(SettingError, match=r"cannot be the name of a model.*such as PIGEOTTO"):
        score_file(theirs("id,lat,lon\na.jpg,1,0"), "im2gps", name)


def test_images_without_an_answer_are_misses_and_counted(im2gps):
    text = "id,lat,lon\na.jpg,1,0\ne.jpg,,\nb/c.jpg,nan,NaN\nd_1@N00.jpg,None,null"
    errors, said = scored(text)
    assert errors == [1, None, None, None]
    assert said == ["3 of 4 images of im2gps have no prediction; they count as misses: 3 unparseable."]
    errors, said = scored("id,lat,lon\na.jpg,1,0")
    assert errors == [1, None, None, None]
    assert said == [
        "partial: 3 of 4 images of im2gps were not asked for; they count as misses, and the result is not ranked with "
        "those of whole sets."
    ]


def test_ids_that_are_no_image_of_the_set_are_left_out_and_said(im2gps):
    errors, said = scored("id,lat,lon\na.jpg,1,0\nx.jpg,0,0\ny.jpg,0,0\nz.jpg,0,0\nw.jpg,0,0")
    assert errors == [1, None, None, None]
    assert "ids that are not in im2gps are left out (4): 'x.jpg', 'y.jpg', 'z.jpg', …." in said


def test_a_file_of_another_set_is_refused(im2gps):
    with pytest.raises(
        ResultError, match=r"none of its 2 ids is an image of im2gps: 'x', 'y' there, 'a\.jpg', .* here"
    ):
        score_file(theirs("id,lat,lon\nx,1,0\ny,2,0"), "im2gps")


def test_ids_without_suffix_or_folder_or_with_an_underscore_for_a_slash_fit(im2gps):
    errors, said = scored("id,lat,lon\na,1,0\nb_c.jpg,2,0\nimages/d_1@N00.JPG,3,0\ntest\\e.png,4,0")
    assert errors == [1, 2, 3, 4]
    assert said == [
        "ids matched without suffix or folder, or with _ for / (4): 'a', 'b_c.jpg', 'images/d_1@N00.JPG', …."
    ]


def test_an_id_that_could_be_two_images_fits_none():
    images = ["x/1.jpg", "y/1.jpg", "2.jpg"]
    assert match_ids(["1", "x_1", "x/1.jpg", "2.png"], images).rows.tolist() == [-1, 0, 0, 2]
    assert match_ids(["a.b"], ["a.c"]).rows.tolist() == [-1]  # .b is no suffix of an image


def test_the_columns_of_the_isns_authors_are_recognised(im2gps):
    # As in results/im2gps/ISNs_M-fstar-S3.csv of TIBHannover/GeoEstimation, where truth and answer alternate.
    im2gps([("Connecticut_00004.jpg", 41.387237, -72.984205)])
    text = (
        "img_id,gt_lat,predicted_lat,gt_long,predicted_long,great_circle_distance\n"
        "Connecticut_00004.jpg,41.387237,37.254961,-72.984205,-79.871593,749.34"
    )
    result = score_file(theirs(text), "im2gps")
    assert result.scores["median_km"] == pytest.approx(749.34, abs=0.01)
    assert result.scores["acc_750km"] == 100.0


def test_predicted_columns_go_before_the_true_ones_beside_them(im2gps):
    # As G3 writes them: a copy of the set's table with two columns more.
    assert scored("IMG_ID,LAT,LON,LAT_pred,LON_pred\na.jpg,0,0,1,0")[0][0] == 1


def test_columns_can_be_named(im2gps):
    text = "who,lat,lon,northing,easting\na.jpg,0,0,1,0\ne.jpg,0,0,2,0"
    columns = {"image": "who", "latitude": "northing", "longitude": "Easting"}
    assert scored(text, columns=columns)[0] == [1, None, None, 2]


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        (
            {},
            ResultError,
            r"has no recognised column for image; it has who, lat, lon\. Name it \(columns\): image=NAME",
        ),
        ({"image": "whom"}, ResultError, r"has no column 'whom' for the image; it has who, lat, lon"),
        (
            {"lat": "lat"},
            SettingError,
            "columns: unknown role lat; valid are image, latitude, longitude, position, rank, score",
        ),
    ],
)
def test_a_column_that_is_not_there_is_named(im2gps, columns, error, match):
    with pytest.raises(error, match=match):
        score_file(theirs("who,lat,lon\na.jpg,1,0"), "im2gps", columns=columns)


def test_an_id_with_two_answers_needs_to_say_which_is_better(im2gps):
    with pytest.raises(
        ResultError, match=r"lines 2 and 4 are both for 'a\.jpg', and nothing says which is better; .* rank .* or score"
    ):
        score_file(theirs("id,lat,lon\na.jpg,1,0\ne.jpg,0,0\na.jpg,2,0"), "im2gps")
    with pytest.raises(ResultError, match=r"lines 2 and 3, 'a\.jpg' and 'a', are both for the image 'a\.jpg'"):
        score_file(theirs("id,lat,lon\na.jpg,1,0\na,2,0"), "im2gps")
    with pytest.raises(ResultError, match="lines 2 and 3 are both for"):
        score_file(theirs("id,lat,lon,rank\na.jpg,1,0,1\na.jpg,2,0,1"), "im2gps")


def test_a_rank_orders_the_answers_to_an_image(im2gps):
    text = "id,lat,lon,rank\na.jpg,3,0,3\na.jpg,1,0,1\na.jpg,2,0,2\ne.jpg,5,0,0\nb/c.jpg,7,0,1\nb/c.jpg,8,0,2"
    result = score_file(theirs(text), "im2gps")
    assert result.top_k == 3
    assert result.predictions.coordinates[0, :, 0].tolist() == [1, 2, 3]
    assert result.predictions.coordinates[1, :, 0].tolist() == [7, 8, 8]  # the last one stands for what is missing
    assert result.predictions.coordinates[3, :, 0].tolist() == [5, 5, 5]
    assert result.predictions.failed.tolist() == [False, False, True, False]


def test_a_score_orders_the_answers_and_of_equal_ones_below_the_best_the_first_is_the_better(im2gps):
    text = "id,lat,lon,confidence\na.jpg,3,0,0.1\na.jpg,1,0,0.7\na.jpg,2,0,0.1\ne.jpg,5,0,0.5\ne.jpg,6,0,0.4"
    predictions = score_file(theirs(text), "im2gps").predictions
    assert predictions.coordinates[0, :, 0].tolist() == [1, 3, 2]
    assert predictions.scores[0].tolist() == [0.7, 0.1, 0.1]
    assert predictions.coordinates[3, :2, 0].tolist() == [5, 6]


def test_a_predictions_file_of_ours_gives_the_same_predictions_again(im2gps, own_home):
    text = "id,lat,lon,score\na.jpg,3,0,0.1\na.jpg,1,0,0.7\ne.jpg,5,0,0.5\ne.jpg,6,0,0.4"
    ours = score_file(theirs(text), "im2gps")
    again = score_file(ours.save().with_suffix(".predictions.csv"), "im2gps")
    np.testing.assert_array_equal(again.predictions.coordinates, ours.predictions.coordinates)
    np.testing.assert_array_equal(again.predictions.scores, ours.predictions.scores)
    assert again.scores == ours.scores


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (",1,0", "line 3 names no image"),
        ("e.jpg,1,0,7", "line 3 has 4 values, the header 3"),
        ("e.jpg,1", "line 3 has 2 values, the header 3"),
        ('"e.jpg,1,0', "line 3"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(im2gps, row, match):
    with pytest.raises(ResultError, match=match) as caught:
        score_file(theirs(f"id,lat,lon\na.jpg,1,120\n{row}"), "im2gps")
    assert str(FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"id": "e.jpg", "lat": 1', "line 3 is not JSON"),
        ('["e.jpg", 1, 0]', "line 3 is a JSON list, not an object"),
    ],
)
def test_a_wrong_line_of_json_is_named_by_its_number(im2gps, line, match):
    text = f'{{"id": "a.jpg", "lat": 1, "lon": 0}}\n\n{line}'
    with pytest.raises(ResultError, match=match):
        score_file(theirs(text, Path("theirs.jsonl")), "im2gps")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,lat,lon\n", b"\xff\xfe\x00", b"PK\x03\x04zip", b"{\xff}"])
def test_what_is_no_table_is_refused(im2gps, content):
    FILE.write_bytes(content)
    with pytest.raises(ResultError, match=r"theirs\.csv"):
        score_file(FILE, "im2gps")


def test_columns_of_one_name_are_refused(im2gps):
    with pytest.raises(ResultError, match="several columns called lat"):
        score_file(theirs("id,lat,lat,lon\na.jpg,1,2,0"), "im2gps")


@pytest.fixture
def world(im2gps):
    """Return twenty places of the set, (name, latitude, longitude), all on land within ±80° of longitude."""
    rng = np.random.default_rng(0)
    places = [(f"{i}.jpg", *rng.uniform((-50, -80), (60, 80)).round(4)) for i in range(20)]
    im2gps(places)
    return places


def as_csv(places, *, shift=0.0, swap=False):
    rows = [(name, *((lon, lat + shift) if swap else (lat + shift, lon))) for name, lat, lon in places]
    return "id,lat,lon\n" + "\n".join(",".join(map(str, row)) for row in rows)


def test_swapped_columns_are_told_by_how_much_better_they_fit_the_other_way_round(world):
    told = r"have latitude and longitude swapped: the median error is .*: latitude=lon,longitude=lat; .* --as-given$"
    as_they_are = {"latitude": "lat", "longitude": "lon"}
    theirs(as_csv(world, shift=0.5, swap=True))
    for columns in ({}, {"image": "id"}, as_they_are):  # naming columns does not make them plausible
        with pytest.raises(ResultError, match=told):
            score_file(FILE, "im2gps", columns=columns)
    named = score_file(FILE, "im2gps", columns={"latitude": "lon", "longitude": "lat"})
    assert named.scores["median_km"] == pytest.approx(ONE_DEGREE_KM / 2, rel=1e-3)
    assert score_file(FILE, "im2gps", columns=as_they_are, as_given=True).scores["median_km"] > 1000


def test_swapped_columns_are_told_by_a_latitude_beyond_90(im2gps):
    with pytest.raises(ResultError, match="they look swapped: name the columns latitude=lon,longitude=lat"):
        score_file(theirs("id,lat,lon\na.jpg,151.2,-33.9\ne.jpg,2.3,48.9"), "im2gps")


def test_a_file_that_holds_the_truth_is_not_scored_as_an_answer(world):
    theirs(as_csv(world))
    for columns in ({}, {"image": "id"}, {"latitude": "lat", "longitude": "lon"}):
        with pytest.raises(ResultError, match="20 of 20 positions in lat and lon are the true ones, to 10 m"):
            score_file(FILE, "im2gps", columns=columns)
    notes = Notes()
    assert score_file(FILE, "im2gps", as_given=True, progress=notes).scores["acc_1km"] == 100.0
    assert "20 of 20 positions are the true ones, to 10 m." in notes.said
    assert score_file(theirs(as_csv(world, shift=1e-4)), "im2gps").scores["acc_1km"] == 100.0


def test_answers_at_0_0_are_scored_as_given_and_said(im2gps):
    assert scored("id,lat,lon\na.jpg,0,0\ne.jpg,1,0")[1][1] == (
        "predictions exactly at 0, 0, which some use for a failure, are scored as given: 1."
    )


def test_a_set_whose_table_is_not_here_is_named():
    theirs("id,lat,lon\na.jpg,1,0")
    with pytest.raises(DatasetNotFoundError, match="im2gps3k is not on this machine"):
        score_file(FILE, "im2gps3k")
    with pytest.raises(UnknownNameError, match="did you mean im2gps"):
        score_file(FILE, "im2gpss")


def test_an_embedded_set_can_be_scored():
    theirs("id,lat,lon\n+45.76000+4.84000,1,0")
    with pytest.raises(ResultError, match="none of its 1 ids is an image of bluemarble"):
        score_file(FILE, "bluemarble")
    image = get_dataset("bluemarble").table("test")["image"][0]
    result = score_file(theirs(f"id,lat,lon\n{image},1,0"), "bluemarble")
    assert (result.n, result.answered, result.failed, result.asked) == (2000, 1, 0, 1)


def test_the_command_saves_a_result_that_stands_in_the_tables(cli, im2gps):
    theirs("id,lat,lon\na.jpg,1,0\ne.jpg,2,0")
    told = cli("score", FILE, "--dataset", "im2gps", "--name", "Theirs")
    assert "Theirs" in told.stdout
    assert "partial: 2 of 4 images of im2gps were not asked for" in told.stderr
    ((result,), _) = read_results(Path("results"))
    assert (result.model, result.failed, result.asked) == ("Theirs", 0, 2)
    predictions, table = Predictions.load(next(Path("results").glob("*.predictions.csv")))
    assert table["image"].to_list() == ["a.jpg", "b/c.jpg", "d_1@N00.jpg", "e.jpg"]
    assert predictions.failed.tolist() == [False, True, True, False]


def test_the_command_takes_columns_and_prints_json(cli, im2gps):
    theirs("who,y_hat,x_hat\na.jpg,1,0")
    columns = "image=who, latitude=y_hat,longitude=x_hat"
    told = json.loads(cli("score", FILE, "--dataset", "im2gps", "--columns", columns, "--json").stdout)
    assert told["scores"]["acc_200km"] == 25.0
    assert load_result(next(Path("results").glob("*.json"))).record() == told


@pytest.mark.parametrize("columns", ["latitude", "latitude=", "=lat", "lat=y"])
def test_columns_that_name_nothing_are_wrong_usage(cli, im2gps, columns):
    theirs("id,lat,lon\na.jpg,1,0")
    told = cli("score", FILE, "--dataset", "im2gps", "--columns", columns, exit_code=2)
    assert "--columns" in told.stderr


def test_a_file_that_cannot_be_used_is_one_line_and_leaves_no_result(cli, im2gps):
    theirs("id,lat,lon\na.jpg,95,200")
    told = cli("score", FILE, "--dataset", "im2gps", exit_code=1)
    assert told.stderr.count("\n") == 1
    assert not Path("results").exists()
    assert (
        "nowhere.csv: there is no such file" in cli("score", "nowhere.csv", "--dataset", "im2gps", exit_code=1).stderr
    )


def test_a_status_that_was_edited_is_refused_like_a_score(im2gps):
    result = score_file(theirs("id,status,lat,lon\na.jpg,ok,1,0\ne.jpg,refused,,"), "im2gps")
    path = result.save()
    again = load_result(path, predictions=True)
    assert again.statuses == {"ok": 1, "refused": 1, "not asked": 2}
    assert (again.failed, again.asked, again.answered) == (1, 2, 1)
    beside = path.with_suffix(".predictions.csv")
    beside.write_text(beside.read_text().replace("refused", "service error"))
    with pytest.raises(ResultError, match="images refused 1 in the record, 0 from the predictions"):
        load_result(path, predictions=True)


def test_a_record_of_a_run_has_no_statuses_and_one_of_before_is_read(make_result):
    path = make_result().save()
    record = json.loads(path.read_text())
    assert "statuses" not in record, "it is what earlier versions wrote"
    assert (load_result(path).statuses, load_result(path).asked, load_result(path).answered) == ({}, 4, 3)
