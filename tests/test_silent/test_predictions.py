"""Wrong numbers from files of others, once without a word: the truth as an answer, parts as wholes, words as misses."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from geobench.data.land import sample_land
from geobench.report.formats import report
from geobench.results import read_results

ONE_DEGREE_KM = 111.195080


@pytest.fixture
def places(cli):
    """Return forty true positions, (image, latitude, longitude), registered as the set ``places`` without photos."""
    rows = [(f"{number}.jpg", *place) for number, place in enumerate(on_land(40, 0))]
    write("truth.csv", [("image", "latitude", "longitude"), *rows])
    cli("datasets", "add", "places", "--metadata", "truth.csv")
    return rows


def on_land(n, seed):
    """Return n places (latitude, longitude) whose longitudes may be latitudes."""
    places = sample_land(10 * n, np.random.default_rng(seed), -50, 60)
    return places[np.abs(places[:, 1]) < 80][:n].round(4).tolist()


def write(path, rows):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def flat():
    """Return the rows of the report by the name of the model."""
    return {row["model"]: row for row in json.loads(report("json"))}


def cells(model):
    """Return the entries of a model in the Markdown table by heading."""
    lines = [line.strip("|").split("|") for line in report("markdown").splitlines() if line.startswith("|")]
    heads = [cell.strip() for cell in lines[0]]
    (row,) = [line for line in lines[2:] if line[0].strip().startswith(model)]
    return dict(zip(heads, (cell.strip() for cell in row), strict=True))


def test_three_shapes_of_the_same_answers_go_the_whole_way_to_one_table(cli, places):
    """Each answers one degree north of the truth; in every shape one image is not answered, for a reason of its own."""
    import openpyxl

    nested = [
        {"image_file": n, "text": "a\u2028b", "answer": {"coordinates": {"latitude": str(a + 1), "longitude": str(b)}}}
        for n, a, b in places
    ]
    nested[0] |= {"answer": None, "error": "HTTP 503"}
    Path("nested.jsonl").write_text(
        "\n".join(json.dumps(each, ensure_ascii=False) for each in nested), encoding="utf-8"
    )
    book = openpyxl.Workbook()
    book.active.append(("id", "position"))
    for number, (name, latitude, longitude) in enumerate(places):
        north = f"{abs(latitude + 1):.4f}° {'N' if latitude > -1 else 'S'}"
        book.active.append((f"{name}.jpg", "I'm sorry." if number == 0 else f"{north}, {longitude}"))
    book.save("sheet.xlsx")
    wide = [(n, *(("Unknown", "Unknown") if n == "0.jpg" else (a + 1, b)), a + 1, b) for n, a, b in places]
    write("wide.csv", [("id", "pred_lat_one", "pred_lon_one", "pred_lat_two", "pred_lon_two"), *wide])
    for file in ("nested.jsonl", "sheet.xlsx", "wide.csv"):
        cli("score", file, "--dataset", "places")
    ((*results,), damaged) = read_results(Path("results"))
    assert not damaged
    assert {result.model: (result.statuses, round(result.scores["acc_200km"], 1)) for result in results} == {
        "nested": ({"ok": 39, "service error": 1}, 97.5),
        "sheet": ({"ok": 39, "refused": 1}, 97.5),
        "one": ({"ok": 39, "unparseable": 1}, 97.5),
        "two": ({"ok": 40}, 100.0),
    }
    for result in results:
        answered = ~result.predictions.failed
        assert result.errors[answered] == pytest.approx(ONE_DEGREE_KM, abs=0.02)
    assert cells("one")["Region 200 km"].strip("*").startswith("97.5 (100.0)")
    assert cells("two")["Region 200 km"].strip("*").startswith("100.0")
    assert "sheet: 39 answered, 1 refused." in report("markdown")
    assert (flat()["one"]["asked"], flat()["one"]["answered"], flat()["one"]["acc_200km_answered"]) == (40, 39, 100.0)


def test_who_asked_for_the_easy_half_alone_is_not_ranked_against_who_asked_for_all(cli, places):
    """The half is right everywhere, the whole at half of the images; the table marked the half's row as no worse."""
    write("half.csv", [("id", "lat", "lon"), *((n, a + 0.1, b) for n, a, b in places[:20])])
    write("whole.csv", [("id", "lat", "lon"), *((n, a + 0.1 + 9 * (k % 2), b) for k, (n, a, b) in enumerate(places))])
    write("other.csv", [("id", "lat", "lon"), *((n, a + 20, b) for n, a, b in places)])
    for name in ("half", "whole", "other"):
        cli("score", f"{name}.csv", "--dataset", "places")
    found = flat()
    assert found["half"]["acc_25km"] == found["whole"]["acc_25km"] == 50.0
    assert found["half"]["acc_25km_answered"] == 100.0
    assert "acc_25km" in found["whole"]["best"] and found["half"]["best"] == []
    assert (found["half"]["failed"], found["half"]["asked"]) == (0, 20)
    shown = cells("half")
    assert shown["Model"] == "half (partial)"
    assert (shown["n"], shown["Failed"], shown["Not asked"]) == ("40", "0", "20")
    assert "Partial: half (asked for 20 of 40)" in found["half"]["doubts"]["partly asked"]
    (half,) = [path for path in Path("results").glob("*.json") if "_half_" in path.name]
    assert cli("breakdown", half, "--by", "continent").stdout.startswith("half (partial) on places")
    told = cli("compare", "half", "whole", "--dataset", "places", exit_code=1).stderr
    assert "half was asked for 20 and whole for 40 of 40 images" in told


@pytest.mark.parametrize("columns", ["", "image=id", "latitude=lat,longitude=lon", "image=id,latitude=lat"])
def test_a_file_that_holds_the_truth_is_refused_whatever_columns_are_named(cli, places, columns):
    write("theirs.csv", [("id", "lat", "lon"), *places])
    named = ("--columns", columns) if columns else ()
    told = cli("score", "theirs.csv", "--dataset", "places", *named, exit_code=1).stderr
    assert "40 of 40 positions in lat and lon are the true ones, to 10 m" in told
    assert not Path("results").exists()


def test_the_clean_subset_is_scored_with_both_checks_on(cli, places):
    write("train.csv", [("image", "latitude", "longitude"), ("x.jpg", *places[0][1:]), ("y.jpg", 1, 1)])
    cli("datasets", "add", "trained", "--metadata", "train.csv")
    told = cli("datasets", "audit", "places", "--against", "trained").stderr
    assert "geobench score FILE --dataset places --subset clean" in told
    write("theirs.csv", [("id", "lat", "lon"), *((n, a + 0.1 + 9 * (n == "0.jpg"), b) for n, a, b in places)])
    cli("score", "theirs.csv", "--dataset", "places", "--subset", "clean")
    ((*results,), _) = read_results(Path("results"))
    assert {(r.subset, r.n, r.scores["acc_25km"], r.statuses["ok"]) for r in results} == {
        ("", 40, 97.5, 40),
        ("clean", 39, 100.0, 39),
    }
    write("truth2.csv", [("id", "lat", "lon"), *places])
    assert (
        "are the true ones"
        in cli("score", "truth2.csv", "--dataset", "places", "--subset", "clean", exit_code=1).stderr
    )


def test_a_score_made_from_the_truth_is_told(cli, places):
    """Confidence = −distance: its AUROC is 1, and no model can know it."""
    rng = np.random.default_rng(1)
    off = rng.uniform(0, 20, len(places))
    rows = [(n, a + d, b, -d, c) for (n, a, b), d, c in zip(places, off, rng.uniform(0, 1, len(places)), strict=True)]
    write("told.csv", [("id", "lat", "lon", "confidence"), *(row[:4] for row in rows)])
    write("fair.csv", [("id", "lat", "lon", "confidence"), *((*row[:3], row[4]) for row in rows)])
    told = cli("score", "told.csv", "--dataset", "places").stderr
    assert "the column 'confidence' is taken for the score" in told
    assert re.search(r"the score in 'confidence' tells answers within \d+ km .* \(AUROC 1\.000\)", told)
    assert "AUROC" not in cli("score", "fair.csv", "--dataset", "places").stderr


def test_a_distance_that_stands_in_for_a_score_is_told_too(cli, places):
    rows = [(n, a + k / 2, b, k / 2) for k, (n, a, b) in enumerate(places)]
    write("told.csv", [("id", "lat", "lon", "score"), *rows])
    assert "the wrong way round (AUROC 0.000)" in cli("score", "told.csv", "--dataset", "places").stderr


def test_truth_in_the_file_makes_a_test_set_and_other_truth_another(cli, places):
    rows = [(n, a, b, a + 1, b) for n, a, b in places]
    write("theirs.csv", [("id", "gt_lat", "gt_lon", "pred_lat", "pred_lon"), *rows])
    told = cli("score", "theirs.csv").stderr
    assert "theirs: a test set of 40 true positions, without photos" in told
    ((result,), _) = read_results(Path("results"))
    assert (result.dataset, result.n, round(result.scores["median_km"], 1)) == ("theirs", 40, 111.2)
    again = cli("score", "theirs.csv").stderr
    assert "a test set of" not in again, "the same positions are the same set"
    rows[0] = (rows[0][0], 0.0, 0.0, *rows[0][3:])
    write("theirs.csv", [("id", "gt_lat", "gt_lon", "pred_lat", "pred_lon"), *rows])
    told = cli("score", "theirs.csv", exit_code=1).stderr
    assert "theirs is a test set of others: another version is another set; name it: --dataset NAME" in told
    cli("score", "theirs.csv", "--truth", "truth.csv", "--dataset", "places")
    told = cli("score", "theirs.csv", "--truth", "theirs.csv", "--dataset", "places", exit_code=1).stderr
    assert "places is a test set of others" in told


def test_a_file_without_truth_needs_a_test_set(cli):
    write("theirs.csv", [("id", "city"), ("a.jpg", "Paris")])
    told = cli("score", "theirs.csv", exit_code=1).stderr
    assert "name a test set (--dataset NAME), or a file of them (--truth FILE)" in told
    write("bare.csv", [("id", "pred_lat", "pred_lon"), ("a.jpg", 1, 2)])
    assert "--truth FILE" in cli("score", "bare.csv", exit_code=1).stderr


def test_one_set_of_rows_with_a_column_of_models_is_a_result_for_each(cli, places):
    rows = [(n, model, a + step, b) for model, step in (("GPT", 1), ("LLaVA", 2)) for n, a, b in places]
    write("long.csv", [("id", "model", "lat", "lon"), *rows])
    cli("score", "long.csv", "--dataset", "places", "--name", "run 1")
    found = flat()
    assert {name: round(row["median_km"]) for name, row in found.items()} == {"run 1 GPT": 111, "run 1 LLaVA": 222}


def doubts(model):
    return flat()[model]["doubts"]


def test_two_names_with_nearly_the_same_predictions_are_told(cli, places):
    """The same file under another name, rounded, and three of its rows edited."""
    write("first.csv", [("id", "lat", "lon"), *((n, a + 1, b) for n, a, b in places)])
    write(
        "second.csv",
        [("id", "lat", "lon"), *((n, round(a + 1 + 9 * (k < 3), 3), b) for k, (n, a, b) in enumerate(places))],
    )
    write("third.csv", [("id", "lat", "lon"), *((n, a - 1, b) for n, a, b in places)])
    for name in ("first", "second", "third"):
        cli("score", f"{name}.csv", "--dataset", "places")
    said = "first and second have the same position, to 0.001°, for 37 of the 40 images that both answered"
    assert said in doubts("first")["same predictions"]
    assert "same predictions" not in doubts("third")
    assert said in report("markdown")


def test_one_answer_for_many_images_is_told(cli, places):
    rows = [(n, *((40.7128, -74.006) if k < 12 else (a + 1, b))) for k, (n, a, b) in enumerate(places)]
    write("theirs.csv", [("id", "lat", "lon"), *rows])
    cli("score", "theirs.csv", "--dataset", "places")
    said = "theirs answers 40.7128, -74.006 for 12 of 40 images, most of which are more than 25 km from there."
    assert doubts("theirs") == {"one answer": said}


def test_answers_that_are_city_centres_are_told(cli, places):
    """Paris, Tokyo, New York, Sydney, as language models write them."""
    cities = [(48.8566, 2.3522), (35.6895, 139.6917), (40.7128, -74.006), (-33.8688, 151.2093)]
    rows = [(n, *(cities[k % 4] if k < 24 else (a + 1, b))) for k, (n, a, b) in enumerate(places)]
    write("theirs.csv", [("id", "lat", "lon"), *rows])
    cli("score", "theirs.csv", "--dataset", "places")
    assert (
        "theirs: 60% of its answers are within 1 km of the centre of a city of 100,000 or more, of the images 0%"
        in (doubts("theirs")["city centres"])
    )


def test_answers_that_are_true_positions_of_other_images_are_told(cli, places):
    """Its gallery is the truth of the test set, shifted by one image: no answer is right, each is a true position."""
    write("theirs.csv", [("id", "lat", "lon"), *((n, *places[k - 1][1:]) for k, (n, _, _) in enumerate(places))])
    cli("score", "theirs.csv", "--dataset", "places")
    assert doubts("theirs") == {
        "points of the truth": "theirs: 40 of its 40 answers are true positions of this test set, to 10 m."
    }


def test_answers_that_are_points_of_a_gallery_here_are_told(cli, photos):
    from geobench import get_gallery

    images, metadata = photos(12)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    cli("run", "--models", "random", "--datasets", "mine", "--galleries", "land:50")
    points = get_gallery("land:50").coordinates
    write("theirs.csv", [("id", "lat", "lon"), *((f"photo-{k}.jpg", *points[k].round(5)) for k in range(12))])
    cli("score", "theirs.csv", "--dataset", "mine")
    assert "12 of its 12 answers are points of the gallery land:50, to 10 m" in doubts("theirs")["points of a gallery"]
    assert "points of a gallery" not in doubts("random"), "of our own runs the gallery is known"


def test_a_result_of_another_release_says_which(cli, own_home):
    """Im2GPS3k goes around with 2,912 of its 2,997 images, and GWS15k as 14,955 positions, 8,181 of them distinct."""
    rng = np.random.default_rng(0)
    for name, n, distinct in (("im2gps3k", 2912, 2912), ("gws15k", 14955, 8181)):
        places = rng.uniform((-50, -80), (60, 80), (distinct, 2)).round(4)[np.arange(n) % distinct]
        folder = own_home / "data" / name
        folder.mkdir(parents=True)
        write(
            folder / "metadata.csv",
            [("image", "lat", "lon"), *((f"{k}.jpg", *place) for k, place in enumerate(places))],
        )
        write("theirs.csv", [("id", "lat", "lon"), *((f"{k}.jpg", a + 1, b) for k, (a, b) in enumerate(places))])
        cli("score", "theirs.csv", "--dataset", name)
    known = {row["dataset"]: row["doubts"].get("known variant", "") for row in json.loads(report("json"))}
    assert "2,912 images of im2gps3k are the images that a re-run of GLOBE scored" in known["im2gps3k"]
    assert "14,955 images of gws15k are one of two public tables of 14,955 positions; only 8,181" in known["gws15k"]


def test_whole_sets_of_two_sizes_under_one_name_are_told_apart(cli, places, make_result):
    """The set was registered anew with fewer images; each result's n is what its set was said to have."""
    for n, model in ((4, "old"), (3, "new")):
        make_result(
            (0.0, 1.0, 10.0, 20.0)[:n], dataset="gone", model=model, checkpoint="", table_hash=f"{n:016d}"
        ).save()
    text = report("markdown")
    said = "Measured on different numbers of images, each said to be the whole set; they are not compared: "
    assert f"{said}new (3) | old (4)." in text


def test_other_positions_in_the_file_are_said_not_to_be_read(cli, places):
    """The models' columns are called neither predicted nor guessed, and the bare ones beside them were scored."""
    rows = [(n, a + 1, b, a + 2, b) for n, a, b in places]
    write("theirs.csv", [("id", "lat", "lon", "gpt4_lat", "gpt4_lon"), *rows])
    told = cli("score", "theirs.csv", "--dataset", "places").stderr
    assert "positions are read from lat and lon, not from gpt4_lat and gpt4_lon" in told
    told = cli("score", "theirs.csv", "--dataset", "places", "--columns", "latitude=gpt4_lat,longitude=gpt4_lon").stderr
    assert "positions are read" not in told


def test_an_answer_that_is_logged_twice_is_one_and_a_failed_try_before_it_none(cli, places):
    rows = [(n, "", "", "timeout") for n, _, _ in places[:5]]
    rows += [(n, a + 1, b, "") for n, a, b in (*places, *places[:3])]
    write("log.csv", [("id", "lat", "lon", "error"), *rows])
    cli("score", "log.csv", "--dataset", "places")
    assert (flat()["log"]["answered"], flat()["log"]["failed"]) == (40, 0)


def test_a_model_of_a_wide_file_that_answers_nothing_has_a_row(cli, places):
    rows = [(n, a + 1, b, "Unknown", "Unknown") for n, a, b in places]
    write("wide.csv", [("id", "pred_lat_one", "pred_lon_one", "pred_lat_two", "pred_lon_two"), *rows])
    cli("score", "wide.csv", "--dataset", "places")
    assert {name: (row["answered"], row["failed"]) for name, row in flat().items()} == {"one": (40, 0), "two": (0, 40)}


def test_a_published_set_that_is_not_here_does_not_take_other_truth(cli, places):
    told = cli("score", "truth.csv", "--truth", "truth.csv", "--dataset", "im2gps3k", exit_code=1).stderr
    assert "im2gps3k is a published test set whose table is not here; name another" in told


def test_who_is_right_about_photos_of_one_city_is_not_doubted_for_it(cli):
    """Twenty photos of the middle of Paris, twenty elsewhere: the middle of Paris is no habit of the model."""
    paris, rng = (48.8534, 2.3488), np.random.default_rng(3)
    about = rng.normal(paris, 0.003, (20, 2)).round(5)
    elsewhere = on_land(40, 3)
    truth = [(f"{k}.jpg", *(about[k] if k < 20 else elsewhere[k])) for k in range(40)]
    write("truth.csv", [("image", "latitude", "longitude"), *truth])
    cli("datasets", "add", "city", "--metadata", "truth.csv")
    off = [(n, *(paris if k < 20 else (a + 1, b))) for k, (n, a, b) in enumerate(truth)]
    write("theirs.csv", [("id", "lat", "lon"), *off])
    cli("score", "theirs.csv", "--dataset", "city")
    assert doubts("theirs") == {}
