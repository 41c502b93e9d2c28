import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from geobench import ResultError, UnknownNameError, get_metrics
from geobench.named import find_result
from geobench.statistics.compare import aligned, compare

FOLDER = Path("results")


def degrees(hits, n=100):
    """Return the latitudes of answers: the rows of ``hits`` are right, the rest are 80° away."""
    return [0.0 if row in hits else 80.0 for row in range(n)]


@pytest.fixture
def pair(make_result):
    """A is right on images 0 to 29, B on 20 to 74: 45 gained, 20 lost, 10 right by both."""
    a = make_result(degrees(range(30)), key="a" * 16, model="old", checkpoint="")
    b = make_result(degrees(range(20, 75)), key="b" * 16, model="new", checkpoint="")
    a.save(FOLDER)
    b.save(FOLDER)
    return a, b


def test_gained_lost_and_difference_are_counted_by_hand(pair):
    found = compare(*pair)
    assert [line.score for line in found.lines] == [metric.name for metric in get_metrics(pair[0].dataset)]
    for line in found.lines[:5]:
        assert (line.a, line.b, line.gained, line.lost) == (30.0, 55.0, 45, 20)
        assert line.difference.value == pytest.approx(25.0)
        assert line.difference.low < 25 < line.difference.high
        assert line.difference.p == pytest.approx(binomtest(20, 65).pvalue)
        assert line.adjusted == pytest.approx(5 * line.difference.p)
    median = found.lines[5]
    assert (median.gained, median.lost, median.threshold_km) == (None, None, None)
    assert median.difference.value == pair[1].scores["median_km"] - pair[0].scores["median_km"]
    assert not found.worse
    assert compare(pair[1], pair[0]).worse


def test_one_threshold_needs_no_adjustment_and_may_be_any_distance(pair):
    (line, *_) = compare(*pair, thresholds_km=[8000]).lines
    assert (line.score, line.a, line.b) == ("acc_8000km", 30.0, 55.0)
    assert line.adjusted == line.difference.p
    assert compare(*pair, thresholds_km=[20_000]).lines[0].b == 100.0


def test_images_are_matched_by_name_not_by_row(pair):
    a, b = pair
    turned = np.arange(100)[::-1]
    predictions = b.predictions[turned]
    shuffled = replace(b, predictions=predictions, names=b.names[turned], truth=b.truth[turned])
    assert compare(a, shuffled).lines == compare(a, b).lines
    assert aligned(a, shuffled).names.tolist() == a.names.tolist()


def test_images_of_a_photographer_are_exchanged_together(pair):
    a, b = (replace(each, extra=pd.DataFrame({"AUTHOR": [str(row // 10) for row in range(100)]})) for each in pair)
    found = compare(a, b, [25])
    # Seven photographers differ, six by 10 images and one by 5: |sum| ≥ 25 in 58 of the 128 exchanges.
    assert found.clusters.by == "AUTHOR"
    assert found.lines[0].difference.p == pytest.approx(58 / 128)


def test_results_on_other_images_are_refused_with_how_many(make_result, pair):
    fewer = make_result(degrees(range(5), n=90))
    with pytest.raises(
        ResultError, match=r"90 are in both, 10 only in the first, 0 only in the second, such as photo-9"
    ):
        compare(pair[0], fewer)


def test_results_against_other_true_places_are_refused_with_how_many(pair):
    a, b = pair
    truth = b.truth.copy()
    truth[7:9, 1] += 0.001
    with pytest.raises(ResultError, match="different true places for 2 of 100 images, such as photo-7"):
        compare(a, replace(b, truth=truth))


def test_a_record_without_predictions_cannot_be_compared(pair):
    a, b = pair
    path = b.save(FOLDER)
    path.with_suffix(".predictions.csv").unlink()
    with pytest.raises(ResultError, match="is a record without its predictions"):
        compare(a, find_result("new", FOLDER))


def test_a_result_goes_by_model_checkpoint_digits_or_file(make_result, pair):
    made = make_result(key="c0ffee" + "0" * 10, model="geoclip", checkpoint="mine-s0-1234")
    path = made.save(FOLDER)
    for name in ("geoclip", "geoclip@mine-s0-1234", "c0ff", str(path), str(path.with_suffix(".predictions.csv"))):
        found = find_result(name, FOLDER)
        assert found == made
        assert found.predictions is not None
    with pytest.raises(UnknownNameError, match="unknown result in results 'geoklip'; did you mean geoclip"):
        find_result("geoklip", FOLDER)
    with pytest.raises(UnknownNameError):
        find_result("c0f", FOLDER)
    with pytest.raises(ResultError, match=r"nowhere\.json: no such file"):
        find_result("nowhere.json", FOLDER)


def test_a_name_that_fits_several_results_asks_for_digits(make_result):
    for number, changes in enumerate(({"dataset": "one"}, {"dataset": "two"}, {"dataset": "two", "seed": 1})):
        make_result(key=f"{number}" * 16, **changes).save(FOLDER)
    said = r"knn matches 3 results; name one by the first digits of its key: 00000000 \(knn@mine"
    with pytest.raises(ResultError, match=said):
        find_result("knn", FOLDER)
    with pytest.raises(ResultError, match="knn matches 2 results"):
        find_result("knn", FOLDER, "two")
    assert find_result("knn", FOLDER, "one").key == "0" * 16


def test_of_a_cell_measured_twice_the_newest_is_taken(make_result):
    for number in (2, 1):
        make_result(key=f"{number}" * 16, created=f"2024-01-0{number}T00:00:00+00:00").save(FOLDER)
    assert find_result("knn", FOLDER).key == "2" * 16


def test_an_edited_result_is_not_compared(pair):
    (path,) = FOLDER.glob("*aaaa.json")
    path.write_text(path.read_text().replace("30.0", "31.0"))
    with pytest.raises(ResultError, match="no longer yield its scores"):
        find_result("old", FOLDER)


def test_the_command_shows_a_line_per_score(cli, pair):
    lines = cli("compare", "old", "new").stdout.splitlines()
    (city,) = (line for line in lines if line.startswith("Within 25 km"))
    assert city.split()[4:7] == ["30.00", "55.00", "+25.00"]
    assert city.split()[-2:] == ["45", "20"]
    assert any(line.startswith("Median km") for line in lines)


def test_distances_below_ten_kilometres_keep_a_decimal(cli, make_result):
    for model, latitude in (("near", 0.003), ("far", 0.025)):  # 0.3 and 2.8 km
        make_result([latitude] * 12, key=model[0] * 16, model=model, checkpoint="").save(FOLDER)
    (mean,) = (line for line in cli("compare", "near", "far").stdout.splitlines() if line.startswith("Mean km"))
    assert mean.split()[2:5] == ["0.3", "2.8", "+2.4"]


def test_the_command_fails_only_where_b_is_worse_and_it_is_asked_to(cli, pair):
    cli("compare", "old", "new", "--fail-if-worse")
    cli("compare", "new", "old")
    told = cli("compare", "new", "old", "--fail-if-worse", exit_code=1)
    assert "Error: B, old, is significantly worse than A, new, at 1 km, 25 km" in told.stderr
    assert "Within 25 km" in told.stdout
    cli("compare", "new", "old", "--fail-if-worse", "--thresholds", "20000")


def test_json_holds_both_results_and_every_score(cli, pair):
    told = json.loads(cli("compare", "old", "new", "--json", "--thresholds", "25,0.5").stdout)
    assert (told["a"]["key"], told["b"]["model"], told["n"], told["worse"]) == ("a" * 16, "new", 100, False)
    assert [line["score"] for line in told["scores"]] == ["acc_0.5km", "acc_25km", "median_km", "mean_km", "geoscore"]
    assert told["scores"][1]["gained"] == 45
    assert told["scores"][0]["p_holm"] == pytest.approx(2 * told["scores"][0]["p"])


def test_the_images_gained_and_lost_are_written(cli, pair):
    cli("compare", "old", "new", "--thresholds", "25", "--output", "out/changed.csv")
    changed = list(csv.DictReader(Path("out/changed.csv").read_text().splitlines()))
    assert [row["image"] for row in changed if row["change"] == "lost"] == [f"photo-{row}.jpg" for row in range(20)]
    assert [row["image"] for row in changed if row["change"] == "gained"] == [f"photo-{r}.jpg" for r in range(30, 75)]
    first = changed[0]
    assert (first["threshold_km"], first["error_km_a"], first["latitude"]) == ("25.0", "0.0", "0.0")
    assert float(first["error_km_b"]) == pytest.approx(8895.6, abs=0.1)  # 80° of latitude


def test_a_result_is_not_compared_with_itself(cli, pair):
    done = cli("compare", "old", "aaaa", exit_code=2)
    assert "A and B are the same result" in done.stderr and "name two that differ" in done.stderr


def test_where_nothing_changed_the_file_has_its_header(cli, pair):
    pair[0].save(Path("elsewhere"))
    cli("compare", "old", str(next(Path("elsewhere").glob("*.json"))), "--output", "same.csv")
    assert Path("same.csv").read_text().startswith("image,score,threshold_km,change,")
    assert len(Path("same.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("value", ["near", "0", "-1", "25,,1", "inf", "nan", "", "20016"])
def test_thresholds_that_are_not_distances_are_wrong_usage(cli, pair, value):
    assert "is not a list of distances in km" in cli("compare", "old", "new", "--thresholds", value, exit_code=2).stderr


def test_other_images_are_one_line(cli, make_result, pair):
    make_result(degrees(range(5), n=90), key="c" * 16, model="part").save(FOLDER)
    told = cli("compare", "old", "part", exit_code=1).stderr
    assert told.count("\n") == 1
    assert "were not run on the same images" in told
