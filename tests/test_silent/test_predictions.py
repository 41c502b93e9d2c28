"""Wrong numbers from files of others, once without a word: the truth as an answer, parts as wholes, words as misses."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from geobench.report.formats import report
from geobench.results import read_results

ONE_DEGREE_KM = 111.195080


@pytest.fixture
def places(cli):
    """Return forty true positions, (image, latitude, longitude), registered as the set ``places`` without photos."""
    rng = np.random.default_rng(0)
    rows = [(f"{number}.jpg", *rng.uniform((-50, -80), (60, 80)).round(4)) for number in range(40)]
    write("truth.csv", [("image", "latitude", "longitude"), *rows])
    cli("datasets", "add", "places", "--metadata", "truth.csv")
    return rows


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
