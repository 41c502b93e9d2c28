"""Metrics that a plugin brings, and those that a test set names: in every table, with confidence intervals."""

import csv
import io
import json
import re
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from geobench import DatasetError, PluginError, SettingError, get_metric, get_metrics, get_results
from geobench.analysis.breakdown import breakdown, to_rows
from geobench.analysis.details import load_detailed
from geobench.data.places import find_places
from geobench.report.formats import report
from geobench.report.html.page import html_page
from geobench.report.rows import rows
from geobench.results import load_result, read_results
from geobench.statistics.compare import compare
from geobench.statistics.intervals import clusters_of, share_interval

LAST_RELEASE = Path(__file__).parent / "last_release"
FOLDER = Path("results")
TWO_METRICS = '''
import numpy as np
from geobench import Metric, hookimpl
from geobench.metrics import accuracy


def right_country(images):
    """1 if the best prediction is in the right country, NaN for an image at sea."""
    true, predicted = images.places.countries, images.predicted_places.countries
    return np.where(true == "", np.nan, true == predicted)


@hookimpl
def register_metrics(register):
    register(accuracy(100))
    share = {"kind": "share", "unit": "%", "low": 0, "high": 100}
    register(Metric("right_country", "Right country", right_country, needs="predictions", **share))
'''


@pytest.fixture
def records():
    """Return the two results of the last release, copied to the results folder: their records have form 1."""
    shutil.copytree(LAST_RELEASE, FOLDER)
    assert {json.loads(path.read_text())["schema"] for path in FOLDER.glob("*.json")} == {1}
    return {result.model: result for result in read_results(FOLDER)[0]}


@pytest.fixture
def two_metrics(metrics_plugin, records):
    """Return the results of the last release, read where a plugin brings two metrics."""
    plugin = metrics_plugin(TWO_METRICS)
    assert (plugin.error, plugin.registers) == ("", ["metric acc_100km", "metric right_country"])
    return {result.model: result for result in read_results(FOLDER)[0]}


def by_hand(result):
    """Return hits within 100 km, hits of the country, and which images have a country."""
    true = find_places(result.truth).countries
    placed = find_places(result.predictions.coordinates[:, 0]).countries
    return result.errors <= 100, true == placed, true != ""


def ends_by_hand(result, hits, known=None):
    known = np.ones(result.n, dtype=bool) if known is None else known
    low, high = share_interval(hits[known], clusters_of(result.truth, result.extra).among(known))
    return 100 * float(low), 100 * float(high)


def test_records_of_the_last_release_gain_the_metrics_of_a_plugin(records, two_metrics):
    for model, result in two_metrics.items():
        near, country, known = by_hand(result)
        assert result.scores["acc_100km"] == 100 * near.mean()
        assert result.scores["right_country"] == pytest.approx(100 * country[known].mean())
        assert {name: result.scores[name] for name in records[model].scores} == records[model].scores
    assert {"acc_100km", "right_country"} < set(get_results(FOLDER))
    assert two_metrics["knn"].scores["acc_100km"] > 0 and two_metrics["knn"].scores["right_country"] > 0


def test_they_are_columns_of_the_tables_with_intervals(two_metrics):
    knn = two_metrics["knn"]
    near, country, known = by_hand(knn)
    for hits, mask, head in ((near, None, "Within 100 km"), (country, known, "Right country")):
        low, high = ends_by_hand(knn, hits, mask)
        text = f"{100 * hits[mask if mask is not None else slice(None)].mean():.1f}"
        for format in ("markdown", "html"):
            shown = report(format, FOLDER)
            assert head in shown
            assert re.search(rf"{text}\D*\[{low:.1f}, {high:.1f}\]", re.sub(r"<[^>]*>", "", shown)), (format, head)
        word, _, rest = head.partition(" ")
        latex = report("latex", FOLDER).splitlines()
        first, second = (latex[latex.index(r"\toprule") + step].rstrip("\\ ").split(" & ") for step in (1, 2))
        assert (first[second.index(rest)], rest) == (word, rest)
        (scores,) = (line for line in latex if line.startswith("knn@"))
        assert text in scores.replace(r"\textbf{", "").replace("}", "").rstrip("\\ ").split(" & ")
        assert f"{{[}}{low:.1f}, {high:.1f}]" in latex[latex.index(scores) + 1]
    terminal = report("table", FOLDER)
    assert re.search(r"City +Within +Region", terminal) and re.search(r"GeoScore +Right\n", terminal)
    assert [metric.name for metric in get_metrics()] == [
        *("acc_1km", "acc_25km", "acc_100km", "acc_200km", "acc_750km", "acc_2500km"),
        *("median_km", "mean_km", "geoscore", "right_country"),
    ]


@pytest.mark.parametrize("format", ["csv", "json"])
def test_they_are_columns_of_csv_and_json_with_both_ends(two_metrics, format):
    text = report(format, FOLDER)
    table = json.loads(text) if format == "json" else list(csv.DictReader(io.StringIO(text)))
    (row,) = (row for row in table if row["model"] == "knn")
    knn = two_metrics["knn"]
    near, country, known = by_hand(knn)
    assert float(row["acc_100km"]) == knn.scores["acc_100km"]
    assert (float(row["acc_100km_low"]), float(row["acc_100km_high"])) == pytest.approx(ends_by_hand(knn, near))
    ends = float(row["right_country_low"]), float(row["right_country_high"])
    assert ends == pytest.approx(ends_by_hand(knn, country, known))
    assert list(row)[:17] == [
        *("dataset", "model", "checkpoint", "gallery", "seed", "n", "failed", "acc_1km", "acc_25km", "acc_100km"),
        *("acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore", "right_country"),
    ]
    assert "right_country" in row["best"], "knn is compared with random, and better"


def test_they_are_in_a_breakdown_with_intervals(two_metrics, cli):
    path = two_metrics["knn"].path
    detailed = load_detailed(path)
    found = breakdown(detailed, "continent", 10)
    near, country, known = by_hand(two_metrics["knn"])
    whole = next(row for row in found.overall if row.name == "all images")
    assert whole.scores["acc_100km"] == 100 * near.mean()
    assert whole.intervals["right_country"] == pytest.approx(ends_by_hand(two_metrics["knn"], country, known))
    asia = next(row for row in found.groups if row.name == "Asia")
    inside = detailed.places.continents == "Asia"
    assert asia.scores["right_country"] == pytest.approx(100 * country[inside & known].mean())
    assert asia.scores["right_country"] == asia.scores["country"], "the same as geobench's own"
    assert asia.intervals["acc_100km"][0] < asia.scores["acc_100km"] < asia.intervals["acc_100km"][1]
    weighted = next(row for row in found.overall if row.name == "weighted by area")
    assert weighted.intervals["right_country"][0] < weighted.scores["right_country"]
    shown = cli("breakdown", path, "--smallest", 10).output
    assert "Within 100 km" in shown and "Right country" in shown
    assert json.loads(cli("breakdown", path, "--smallest", 10, "--json").stdout) == to_rows(found)


def test_they_are_compared_and_tested_as_the_accuracies_are(two_metrics, cli):
    lines = {line.score: line for line in compare(two_metrics["random"], two_metrics["knn"]).lines}
    for name, hits in (("acc_100km", 0), ("right_country", 1)):
        line, (a, b) = lines[name], [by_hand(two_metrics[model])[hits] for model in ("random", "knn")]
        known = by_hand(two_metrics["knn"])[2] if name == "right_country" else np.ones(len(a), dtype=bool)
        assert (line.gained, line.lost) == ((b & ~a & known).sum(), (a & ~b & known).sum())
        assert line.difference.value == pytest.approx(100 * (b[known].mean() - a[known].mean()))
        assert line.difference.low < line.difference.value < line.difference.high
        assert line.adjusted >= line.difference.p, "adjusted for seven shares"
    told = cli("compare", "random", "knn", "--output", "changed.csv").output
    assert re.search(r"^Right country, % .*\[\+?-?\d", told, re.MULTILINE) and "Within 100 km, %" in told
    changed = list(csv.DictReader(io.StringIO(Path("changed.csv").read_text())))
    assert {row["threshold_km"] for row in changed if row["score"] == "right_country"} == {""}
    gained = [row for row in changed if row["score"] == "right_country" and row["change"] == "gained"]
    assert len(gained) == lines["right_country"].gained > 0
    worse = cli("compare", "knn", "random", "--fail-if-worse", exit_code=1).stderr
    assert "Right country" in worse


def test_they_are_in_the_page_its_levels_and_its_regions(two_metrics):
    text = html_page(rows(list(two_metrics.values())))
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    (images,) = data["sets"]
    assert images["levels"] == [1, 25, 100, 200, 750, 2500] and len(images["colours"]) == 7
    assert images["shares"] == ["1 km", "25 km", "100 km", "200 km", "750 km", "2,500 km", "Right country"]
    regions = json.loads(re.search(rf'id="block-{images["regions"]}">(.*?)</script>', text, re.DOTALL)[1])
    everywhere = regions["continent"][-1]["shares"][[row["label"] for row in images["rows"]].index("knn")]
    near, country, known = by_hand(two_metrics["knn"])
    assert everywhere[2] == pytest.approx([100 * near.mean(), *ends_by_hand(two_metrics["knn"], near)], abs=0.006)
    score = two_metrics["knn"].scores["right_country"]
    assert everywhere[6] == pytest.approx([score, *ends_by_hand(two_metrics["knn"], country, known)], abs=0.006)


def rescored(path, **changes):
    """Change scores of a record; ``...`` removes one."""
    record = json.loads(path.read_text())
    record["scores"] = {name: score for name, score in (record["scores"] | changes).items() if score is not ...}
    path.write_text(json.dumps(record))


def test_a_record_with_fewer_or_more_scores_than_todays_metrics_is_read(records):
    path = records["knn"].path
    rescored(path, geoscore=..., acc_25km=..., acc_5000km=100 * float((records["knn"].errors <= 5000).mean()), loss=0.5)
    found = load_result(path, predictions=True)
    assert {name: found.scores[name] for name in records["knn"].scores} == records["knn"].scores
    assert "loss" not in found.scores, "nobody registers it"
    assert "acc_5000km" in found.scores
    assert report("csv", FOLDER).count("\n") == 2
    path.with_suffix(".predictions.csv").unlink()
    bare = report("markdown", FOLDER)
    (line,) = (line for line in bare.splitlines() if line.startswith("| knn"))
    entries = [entry.strip() for entry in line.split("|")[1:-1]]
    assert entries[5:7] == ["0.0", ""] and entries[-1] == "", "25 km and GeoScore are left empty"
    assert "‡ record without its predictions" in bare and "scores that it does not state are left empty" in bare
    (row,) = (row for row in json.loads(report("json", FOLDER)) if row["model"] == "knn")
    assert (row["geoscore"], row["geoscore_low"], row["acc_1km"]) == (None, None, 0.0)


def test_predictions_that_give_another_score_than_the_record_are_refused(records, two_metrics):
    path = records["knn"].path
    rescored(path, acc_100km=99.0)
    _, damaged = read_results(FOLDER)
    assert len(damaged) == 1 and "acc_100km 99 in the record" in damaged[0]
    rescored(path, acc_100km=..., geoscore=1.0)
    assert "geoscore 1 in the record" in read_results(FOLDER)[1][0]


def own_set(own_home, photos, extra):
    """Add a test set of ours whose definition has ``extra`` keys."""
    folder = own_home / "data" / "mine"
    photos(6, folder)
    toml = f'name = "mine"\ntitle = "Mine"\n{extra}'
    (folder / "dataset.toml").write_text(toml)


def test_a_test_set_names_its_thresholds_and_metrics(own_home, photos, make_result, cli):
    own_set(own_home, photos, 'thresholds = [10, 1000]\nmetrics = ["geoscore@2000", "country", "acc_50km"]')
    names = ["acc_10km", "acc_50km", "acc_1000km", "geoscore@2000", "country"]
    assert [metric.name for metric in get_metrics("mine")] == names
    assert [metric.name for metric in get_metrics("mine", [7])] == ["acc_7km", *names[1:2], *names[3:]]
    result = make_result((0.0, 0.3, 5.0, None), longitude=0.0)  # 0, 33.4, 556 km and a failed image, truly in the sea
    assert list(result.scores) == names
    assert [result.scores[name] for name in names[:3]] == [25.0, 50.0, 75.0]
    expected = (1 + np.exp(-33.358 / 2000) + np.exp(-555.975 / 2000)) * 5000 / 4
    assert result.scores["geoscore@2000"] == pytest.approx(expected, abs=0.3)
    assert np.isnan(result.scores["country"]), "0, 0 is at sea: it applies to no image"
    assert json.loads(result.save().read_text())["scores"]["country"] is None
    text = report("markdown")
    head = [entry.strip() for entry in text.splitlines()[2].split("|")[6:-1]]
    assert head == ["Within 10 km", "Within 50 km", "Within 1000 km", "GeoScore 2,000 km", "Country hit"]
    make_result(dataset="other").save()
    assert text.split("Images:")[0] in report("markdown"), "the other set has the field's metrics"
    assert "Street 1 km" in report("markdown")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ('metrics = ["geoscor"]', "definition of mine cannot be used: unknown metric 'geoscor'; did you mean geoscore"),
        ("thresholds = [30000]", "thresholds: 30000 is not a distance that an error can have"),
        ('metrics = ["geoscore@x"]', "'geoscore@x' is not a metric: its distance must be a number above 0"),
    ],
)
def test_a_test_set_with_an_unusable_metric_is_one_line(own_home, photos, make_result, cli, extra, told):
    make_result(dataset="other").save()
    own_set(own_home, photos, extra)
    with pytest.raises(DatasetError, match=re.escape(told)):
        get_metrics("mine")


# -- thresholds


def test_report_takes_thresholds_and_computes_them_from_the_predictions(records, cli):
    names = ["acc_0.5km", "acc_100km", "acc_1000km", "median_km", "mean_km", "geoscore"]
    table = json.loads(cli("report", "--format", "json", "--thresholds", "1000,0.5,100,100").stdout)
    assert list(table[0])[7:13] == names
    assert not {"acc_25km", "acc_25km_low"} & set(table[0])
    for row in table:
        errors = records[row["model"]].errors
        assert row["acc_1000km"] == pytest.approx(100 * (errors <= 1000).mean())
        assert row["acc_1000km_low"] < row["acc_1000km"] < row["acc_1000km_high"]
    assert "Within 0.5 km" in cli("report", "--format", "markdown", "--thresholds", "0.5").stdout
    cli("report", "--format", "html", "--output", "r.html", "--thresholds", "30,300", "--thumbnails", 0)
    assert '"levels":[30.0,300.0]' in Path("r.html").read_text()
    assert [m.name for m in rows(list(records.values()), thresholds_km=[25])[0].metrics][:2] == [
        "acc_25km",
        "median_km",
    ]


def test_a_record_without_predictions_has_no_other_thresholds(records, cli):
    records["knn"].path.with_suffix(".predictions.csv").unlink()
    told = cli("report", "--format", "markdown", "--thresholds", "25,100").stdout
    (line,) = (line for line in told.splitlines() if line.startswith("| knn"))
    assert [entry.strip() for entry in line.split("|")][6:8] == ["0.0", ""]
    assert "scores that it does not state are left empty" in told
    assert "scores that it does not state" not in cli("report").stdout, "all of them are stated"


def test_breakdown_calibration_and_compare_take_thresholds(records, cli):
    path = records["knn"].path
    lines = json.loads(cli("breakdown", path, "--json", "--thresholds", "300").stdout)
    (row,) = (line for line in lines if line["group"] == "all images")
    assert row["acc_300km"] == pytest.approx(100 * (records["knn"].errors <= 300).mean())
    assert "acc_25km" not in row and "country" in row
    levels = json.loads(cli("calibration", path, "--json", "--thresholds", "300,3000").stdout)
    assert [(line["metric"], line["level"], line["km"]) for line in levels] == [
        ("acc_300km", "Within 300 km", 300.0), ("acc_3000km", "Within 3000 km", 3000.0)
    ]  # fmt: skip
    assert levels[0]["accuracy"] == pytest.approx(row["acc_300km"])
    compared = json.loads(cli("compare", "knn", "random", "--json", "--thresholds", "300").stdout)
    assert compared["scores"][0]["a"] == row["acc_300km"]


def test_run_takes_thresholds_for_its_table(cli):
    run = ["run", "--models", "random", "--datasets", "bluemarble", "--galleries", "land:50", "--limit", 20]
    told = cli(*run, "--thresholds", "5000,20015").stdout
    assert re.search(r"Within +Within +Median", told) and re.search(r"5000 km +20015 km +km", told)
    record = json.loads(next(FOLDER.glob("*.json")).read_text())
    assert list(record["scores"])[:2] == ["acc_1km", "acc_25km"], "the record has the scores of the test set"


@pytest.mark.parametrize("command", ["report", "run", "compare", "breakdown", "calibration"])
@pytest.mark.parametrize("value", ["near", "0", "-5", "20016", "inf", "1,,25", ""])
def test_thresholds_that_are_not_distances_are_wrong_usage(cli, command, value):
    told = cli(command, "--thresholds", value, exit_code=2).stderr
    assert "'--thresholds'" in told and "is not a list of distances in km, above 0 and at most 20,015" in told
    assert told.splitlines()[-1].startswith("Error: Invalid value")


def test_thresholds_that_are_not_distances_are_named_by_the_functions(records):
    results = list(records.values())
    for thresholds in ([25, 0], [-1], [20016], [float("nan")], []):
        for call in (
            lambda t: report("table", FOLDER, thresholds_km=t),
            lambda t: rows(results, thresholds_km=t),
            lambda t: compare(*results, t),
            lambda t: breakdown(load_detailed(results[0].path), thresholds_km=t),
        ):
            with pytest.raises(SettingError, match="thresholds_km"):
                call(thresholds)


# -- other kinds of metrics


OTHER_KINDS = '''
import numpy as np
from geobench import Metric, hookimpl

def far(images):
    """NaN for every third image."""
    return np.where(np.arange(len(images)) % 3 == 0, np.nan, images.errors_km > 1000)

@hookimpl
def register_metrics(register):
    register(Metric("far", "Far", far, kind="share", higher_is_better=False))
    register(Metric("spread", "Spread", kind="whole", whole=lambda images: images.errors_km.std(), digits=3))
    register(Metric("odd", "n", per_image=lambda images: images.errors_km[::2].repeat(2), kind="median"))
    register(Metric("nobody", "Applies to nobody", per_image=lambda images: np.full(len(images), np.nan)))
'''


def test_metrics_that_do_not_apply_to_an_image_use_the_others_alone(metrics_plugin, records):
    assert metrics_plugin(OTHER_KINDS).error == ""
    results = {result.model: result for result in read_results(FOLDER)[0]}
    found = {row.results[0].model: row for row in rows(list(results.values()))}
    for model, row in found.items():
        errors = results[model].errors[np.arange(80) % 3 > 0]
        assert row.scores["far"] == pytest.approx(100 * (errors > 1000).mean())
        assert row.intervals["far"] == pytest.approx(ends_by_hand(results[model], results[model].errors > 1000,
                                                                   np.arange(80) % 3 > 0))  # fmt: skip
        assert np.isnan(row.scores["nobody"]) and "nobody" not in row.intervals and "spread" not in row.intervals
    assert "far" in found["knn"].best and "far" not in found["random"].best, "lower is better"
    assert not {"spread", "nobody"} & (found["knn"].best | found["random"].best)
    lines = {line.score: line for line in compare(results["knn"], results["random"]).lines}
    assert lines["far"].difference.value > 0 and lines["far"].worse
    assert np.isnan(lines["spread"].difference.p) and lines["spread"].difference.value > 0
    assert compare(results["knn"], results["random"]).to_record()["scores"][-3]["p"] is None


def test_metrics_of_every_kind_are_shown_and_a_heading_that_is_taken_has_the_name_behind_it(
    metrics_plugin, records, cli
):
    metrics_plugin(OTHER_KINDS)
    text = report("markdown", FOLDER)
    head = [entry.strip() for entry in text.splitlines()[2].split("|")]
    assert "n" in head and "n (odd)" in head and "Applies to nobody" in head
    spread = read_results(FOLDER)[0][0].scores["spread"]
    assert f"{spread:,.3f}" in text
    compared = cli("compare", "knn", "random").stdout
    assert re.search(r"^Spread .*\d$", compared, re.MULTILINE) and "nan" not in compared
    shown = cli("breakdown", next(FOLDER.glob("*knn*.json"))).stdout
    assert "Spread" in shown and "nan" not in shown
    for format in ("csv", "json", "latex", "table", "html"):
        report(format, FOLDER)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("Metric('m', 'M', lambda images: images.errors_km[:2])", r"the metric m returned values of the shape \(2,\)"),
        ("Metric('m', 'M', lambda images: images.errors_km, kind='share')", "the metric m is a share, so its values"),
        ("Metric('m', 'M', lambda images: 1 / 0)", "the metric m failed on 4 images: ZeroDivisionError"),
        ("Metric('m', 'M', whole=lambda images: [][0], kind='whole')", "the metric m failed on 4 images: IndexError"),
    ],
)
def test_a_metric_whose_code_fails_is_named_in_one_line(metrics_plugin, make_result, code, told):
    line = f"@hookimpl\ndef register_metrics(register):\n    register({code})\n"
    assert metrics_plugin(f"from geobench import Metric, hookimpl\n{line}").error == ""
    with pytest.raises(PluginError, match=told):
        make_result()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("register(Metric('m', 'M'))", "needs either per_image"),
        ("register(Metric('m', 'M', abs, kind='mode'))", "is of the kind 'mode'; use share, mean, median, whole"),
        ("register(Metric('a b', 'M', abs))", "cannot be the name of a metric"),
        ("register('acc_*miles')", "takes a geobench.Metric, or a pattern and its factory"),
    ],
)
def test_a_metric_that_cannot_be_used_leaves_its_plugin_out(metrics_plugin, code, told):
    line = f"@hookimpl\ndef register_metrics(register):\n    {code}\n"
    plugin = metrics_plugin(f"from geobench import Metric, hookimpl\n{line}")
    assert told in plugin.error
    assert get_metric("acc_25km").threshold_km == 25


def test_a_metric_named_like_a_column_of_every_result_is_refused(metrics_plugin, make_result):
    code = "register(Metric('seed', 'Seed', lambda images: images.errors_km))"
    metrics_plugin(f"from geobench import Metric, hookimpl\n@hookimpl\ndef register_metrics(register):\n    {code}\n")
    with pytest.raises(PluginError, match="the metric 'seed' has the name of a column of every result; rename"):
        make_result().row()


def test_a_metric_that_two_plugins_claim_names_both(metrics_plugin):
    code = "from geobench import hookimpl\nfrom geobench.metrics import accuracy\n"
    with pytest.raises(PluginError, match="the metric 'acc_25km' is registered by two plugins: geobench-metrics"):
        metrics_plugin(f"{code}@hookimpl\ndef register_metrics(register):\n    register(accuracy(25))\n")


def test_the_plugin_of_the_document_works(metrics_plugin, records):
    text = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^  ```python\n(.*?)^  ```$", text, re.MULTILINE | re.DOTALL)
    assert metrics_plugin(textwrap.dedent(code)).error == ""
    found = {result.model: result for result in read_results(FOLDER)[0]}["knn"]
    right = np.sign(found.predictions.coordinates[:, 0, 0]) == np.sign(found.truth[:, 0])
    assert found.scores["hemisphere"] == 100 * right.mean()
    assert "Right hemisphere" in report("markdown", FOLDER) and "Within 100 km" in report("markdown", FOLDER)
