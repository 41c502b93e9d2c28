import csv
import io
import json
from pathlib import Path

import pytest

from geobench import ResultError, UnknownNameError
from geobench.report import FORMATS, published_rows, report

FOLDER = Path("results")
COLUMNS = [
    "dataset", "model", "checkpoint", "gallery", "seed", "n", "failed",
    "acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore",
]  # fmt: skip


def cells(text, model):
    """Return the cells of the row of a Markdown table whose first cell begins with ``model``."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {model}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.fixture
def three_of_four(make_result):
    """Errors 0, 111.195, 1111.95 km and a failed image: 20015.114 km."""
    result = make_result()
    result.save(FOLDER)
    return result


def test_csv_has_every_column_and_unrounded_scores(three_of_four):
    (row,) = csv.DictReader(io.StringIO(report("csv", FOLDER)))
    assert list(row)[:15] == COLUMNS
    assert [row[name] for name in COLUMNS[:7]] == ["mine", "knn", "mine-s0-0a0b0c0d", "training:3", "0", "4", "1"]
    assert {name: float(row[name]) for name in COLUMNS[7:]} == three_of_four.scores


def test_json_has_the_same_rows(three_of_four):
    (row,) = json.loads(report("json", FOLDER))
    assert list(row)[:15] == COLUMNS
    assert [row[name] for name in COLUMNS[:7]] == ["mine", "knn", "mine-s0-0a0b0c0d", "training:3", 0, 4, 1]
    assert {name: row[name] for name in COLUMNS[7:]} == pytest.approx(three_of_four.scores, rel=1e-12)


def test_json_keeps_what_is_unknown_as_null(make_result):
    make_result(expected=None).save(FOLDER)
    assert json.loads(report("json", FOLDER))[0]["expected"] is None


def test_markdown_has_the_papers_columns_worked_out_by_hand(three_of_four):
    text = report("markdown", FOLDER)
    head, _, row = (line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "Model", "Gallery", "Seed", "n", "Failed", "Street 1 km", "City 25 km", "Region 200 km", "Country 750 km",
        "Continent 2500 km", "Median km", "GeoScore",
    ]  # fmt: skip
    # Of 4 images: 1 within 1 and 25 km, 2 within 200 and 750, 3 within 2500. Median (111.195 + 1111.951) / 2 = 611.6.
    # GeoScore: 5000 · (1 + e^(−0.0744926) + e^(−0.744926) + 0.0000015) / 4 = (5000 + 4641.1 + 2373.8) / 4 = 3003.7
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "knn@mine-s0-0a0b0c0d", "training:3", "0", "4", "1", "25.0", "25.0", "50.0", "50.0", "75.0", "612", "3,004",
    ]  # fmt: skip
    assert text.startswith("### mine\n")


def test_the_terminal_table_has_the_same_figures(three_of_four):
    text = report("table", FOLDER)
    assert text.startswith("mine\n")
    (row,) = (line.split() for line in text.splitlines() if line.startswith("knn@"))
    assert row == cells(report("markdown", FOLDER), "knn@")


def test_a_row_without_gallery_and_checkpoint_shows_none(make_result):
    make_result(gallery="", checkpoint="", model="coin").save(FOLDER)
    assert cells(report("markdown", FOLDER), "coin")[:3] == ["coin", "–", "–"]


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_published_rows_stand_beside_ours_and_are_marked(make_result, format):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    text = report(format, FOLDER)
    published = [line for line in text.splitlines() if "published: geoclip-2023" in line]
    assert len(published) > 10
    assert all(" † " in line for line in published)
    # GeoCLIP, table 1a of the paper: 14.11, 34.47, 50.65, 69.67, 83.82
    (ours,) = (line for line in published if "GeoCLIP †" in line and "table 1a" in line)
    assert ours.replace("|", " ").split()[-5:] == ["14.11", "34.47", "50.65", "69.67", "83.82"]
    assert "† copied from the paper named, not run here." in text
    assert "knn@" in text
    assert " † " not in next(line for line in text.splitlines() if "knn@" in line)


def test_published_rows_can_be_left_out_and_are_no_part_of_csv_and_json(make_result):
    make_result(dataset="im2gps3k").save(FOLDER)
    for format in FORMATS:
        assert "published: " not in report(format, FOLDER, published=False)
    assert len(report("csv", FOLDER).splitlines()) == 2
    assert len(json.loads(report("json", FOLDER))) == 1


def test_a_set_without_published_rows_has_no_mark(three_of_four):
    assert "†" not in report("table", FOLDER)
    assert published_rows("mine").empty


def test_the_papers_rows_are_the_papers_figures():
    rows = published_rows("gws15k").set_index("model")
    scores = ["acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km"]
    assert rows.loc["GeoCLIP", scores].to_list() == [0.6, 3.1, 16.9, 45.7, 74.1]
    assert rows.loc["GeoCLIP", "source"] == "geoclip-2023, table 1b"


def test_a_part_of_a_test_set_is_called_not_comparable(make_result):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    assert "n differs from the 2,997 images" in report("table", FOLDER)
    assert "not comparable with published rows" in report("table", FOLDER)


def test_a_whole_test_set_is_not_called_so(three_of_four):
    assert "not comparable" not in report("table", FOLDER)


def test_no_results_says_which_command_makes_some(cli):
    with pytest.raises(ResultError, match=r"no results in results; make some: geobench demo, or geobench run --models"):
        report("table", FOLDER)
    told = cli("report", exit_code=1)
    assert told.stderr.startswith("Error: no results in results; make some: geobench demo")
    assert told.stderr.count("\n") == 1


def test_every_test_set_has_a_table_of_its_own_and_can_be_chosen(make_result):
    make_result(dataset="one", key="1" * 16).save(FOLDER)
    make_result(dataset="two", key="2" * 16).save(FOLDER)
    assert report("markdown", FOLDER).count("### ") == 2
    chosen = report("markdown", FOLDER, ["two"])
    assert "### two" in chosen
    assert "### one" not in chosen
    with pytest.raises(UnknownNameError, match="unknown data set among the results 'tow'; did you mean two"):
        report("markdown", FOLDER, ["tow"])


def test_rows_are_ordered_by_model_gallery_size_and_seed(make_result):
    cases = [("knn", 500, 0), ("geoclip", 1000, 1), ("geoclip", 1000, 0), ("geoclip", 200, 0)]
    for number, (model, size, seed) in enumerate(cases):
        make_result(key=f"{number}" * 16, model=model, gallery=f"land:{size}", gallery_size=size, seed=seed).save(
            FOLDER
        )
    rows = [line.split() for line in report("table", FOLDER).splitlines() if "@" in line]
    assert [(row[0].partition("@")[0], row[1], row[2]) for row in rows] == [
        ("geoclip", "land:200", "0"),
        ("geoclip", "land:1000", "0"),
        ("geoclip", "land:1000", "1"),
        ("knn", "land:500", "0"),
    ]


def test_an_unknown_format_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="unknown format 'markdwon'; did you mean markdown"):
        report("markdwon", FOLDER)


def test_the_command_writes_a_file(cli, three_of_four):
    told = cli("report", "--format", "csv", "--output", "out/table.csv")
    assert "wrote out/table.csv" in told.stderr
    assert Path("out/table.csv").read_text() == report("csv", FOLDER) + "\n"


def test_a_damaged_result_stops_the_report_with_its_name(cli, three_of_four):
    Path("results/broken.json").write_text("{")
    told = cli("report", exit_code=1)
    assert "results/broken.json is no readable result" in told.stderr
