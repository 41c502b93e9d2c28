import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import Predictions, ResultError, UnknownNameError, get_metrics
from geobench.metrics import ScoredImages, image_values, scores_of
from geobench.published.rows import published_rows
from geobench.report.formats import FORMATS, report
from geobench.report.rows import rows
from geobench.statistics.intervals import clusters_of, intervals

FOLDER = Path("results")
REFERENCE = Path(__file__).parents[1] / "results" / "reference"
COLUMNS = [
    "dataset", "model", "checkpoint", "gallery", "seed", "n", "failed",
    "acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore",
]  # fmt: skip


def entries(text, model):
    """Return the entries of the row of a Markdown table whose first one begins with ``model``."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {model}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.fixture
def three_of_four(make_result):
    """Errors 0, 111.195, 1111.95 km and a failed image: 20015.114 km."""
    result = make_result()
    result.save(FOLDER)
    return result


def degrees(hits, n=100):
    """Return the latitudes of answers of which the first ``hits`` are right and the rest half a world away."""
    return [0.0] * hits + [80.0] * (n - hits)


def test_csv_has_every_column_and_unrounded_scores(three_of_four):
    (row,) = csv.DictReader(io.StringIO(report("csv", FOLDER)))
    assert list(row)[:15] == COLUMNS
    assert [row[name] for name in COLUMNS[:7]] == ["mine", "knn", "mine-s0-0a0b0c0d", "training:3", "0", "4", "1"]
    assert {name: float(row[name]) for name in COLUMNS[7:]} == three_of_four.scores


def test_json_has_the_same_rows_with_intervals(three_of_four):
    (row,) = json.loads(report("json", FOLDER))
    assert list(row)[:15] == COLUMNS
    assert {name: row[name] for name in COLUMNS[7:]} == three_of_four.scores
    values = image_values(three_of_four.scored, get_metrics())
    ends = intervals(values, clusters_of(three_of_four.truth), get_metrics())
    for name in COLUMNS[7:]:
        if name != "median_km":
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(ends[name])
    assert row["median_km_low"] is None and "median_km" not in ends  # of four images
    assert (row["clustered_by"], row["clusters"], row["oracle"]) == ("image", 4, False)


def test_json_keeps_what_is_unknown_as_null(make_result):
    make_result(expected=None).save(FOLDER)
    assert json.loads(report("json", FOLDER))[0]["expected"] is None


def test_markdown_has_the_papers_columns_worked_out_by_hand(three_of_four):
    text = report("markdown", FOLDER)
    head, _, _ = (line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "Model", "Gallery", "Seed", "n", "Failed", "Street 1 km", "City 25 km", "Region 200 km", "Country 750 km",
        "Continent 2500 km", "Median km", "Mean km", "GeoScore",
    ]  # fmt: skip
    # Of 4 images: 1 within 1 and 25 km, 2 within 200 and 750, 3 within 2500. Median (111.195 + 1111.951) / 2 = 611.6,
    # mean (111.195 + 1111.951 + 20015.114) / 4 = 5309.6.
    # GeoScore: 5000 · (1 + e^(−0.0744926) + e^(−0.744926) + 0.0000015) / 4 = (5000 + 4641.1 + 2373.8) / 4 = 3003.7
    assert [cell.partition(" [")[0] for cell in entries(text, "knn@")] == [
        "knn@mine-s0-0a0b0c0d", "training:3", "0", "4", "1", "25.0", "25.0", "50.0", "50.0", "75.0", "612", "5,310",
        "3,004",
    ]  # fmt: skip
    assert text.startswith("### mine\n")


def test_the_terminal_table_has_the_same_figures_with_the_interval_below(make_result):
    make_result((0.0, 1.0, 10.0, None) * 2).save(FOLDER)
    text = report("table", FOLDER)
    assert text.startswith("mine\n")
    lines = text.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("knn@"))
    scores = lines[at].split()
    ends = [f"[{end}" for end in lines[at + 1].strip().strip("[").split("[")]
    assert [f"{score} {end.strip()}" for score, end in zip(scores[5:], ends, strict=True)] == entries(
        report("markdown", FOLDER), "knn@"
    )[5:]


def test_a_row_without_gallery_and_checkpoint_shows_none(make_result):
    make_result(gallery="", checkpoint="", model="coin").save(FOLDER)
    assert entries(report("markdown", FOLDER), "coin")[:3] == ["coin", "–", "–"]


def test_the_intervals_are_clustered_by_the_photographer_that_the_set_names(make_result):
    result = make_result(degrees(50))
    truth = np.stack([np.zeros(100), np.arange(100) / 1000], axis=1)
    answers = np.where(np.arange(100)[:, None] < 50, truth, 80.0)
    moved = Predictions.of(answers[:, None], np.ones((100, 1)))
    scores = scores_of(ScoredImages(moved.errors_km(truth)), get_metrics())
    result = replace(result, predictions=moved, truth=truth, scores=scores)
    result.save(FOLDER / "alone")
    replace(result, extra=pd.DataFrame({"AUTHOR": [f"user {k // 10}" for k in range(100)]})).save(FOLDER / "by")
    alone, by = (json.loads(report("json", FOLDER / name))[0] for name in ("alone", "by"))
    assert (alone["clustered_by"], alone["clusters"]) == ("coordinate", 100)
    assert (by["clustered_by"], by["clusters"]) == ("AUTHOR", 10)
    # Ten photographers, each right always or never: 50 ± 30, not 50 ± 10.
    assert by["acc_25km_low"] < 25
    assert 40 < alone["acc_25km_low"] < 50
    assert "clustered by AUTHOR (10 clusters)" in report("table", FOLDER / "by")


@pytest.mark.parametrize("format", ["table", "markdown", "latex"])
def test_published_rows_stand_beside_ours_with_their_source(make_result, format):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    text = report(format, FOLDER, published="all")
    assert text.count("†") + text.count("dagger$") > 10
    for source in set(published_rows("im2gps3k")["source"]):
        assert source.replace("_", "\\_" if format == "latex" else "_") in " ".join(text.split())


def test_every_published_row_has_its_figures_and_its_source(make_result):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    text = report("markdown", FOLDER, published="all")
    shown = [line for line in text.splitlines() if " † [" in line or " § [" in line]
    assert len([line for line in shown if line.startswith("|")]) == len(published_rows("im2gps3k"))
    # GeoCLIP, table 1a of the paper: 14.11, 34.47, 50.65, 69.67, 83.82
    ours = [line for line in shown if "GeoCLIP † [1]" in line]
    figures = ["14.11", "34.47", "50.65", "69.67", "83.82"]
    assert any(set(figures) < set(line.replace("|", " ").split()) for line in ours)
    assert "[1] GeoCLIP (NeurIPS 2023), table 1a" in text
    assert "none of them was run here" in text


def test_what_others_ran_again_has_another_mark_than_what_the_authors_printed(make_result):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    text = report("markdown", FOLDER, published="paper")
    assert entries(text, "PlaNet")[0].startswith("PlaNet §")
    assert entries(text, "ISNs")[0].startswith("ISNs †")


def test_published_rows_can_be_left_out_and_are_no_part_of_csv_and_json(make_result):
    make_result(dataset="im2gps3k").save(FOLDER)
    for format in FORMATS:
        assert "†" not in report(format, FOLDER, published="none")
    assert len(report("csv", FOLDER).splitlines()) == 2
    assert len(json.loads(report("json", FOLDER))) == 1
    with pytest.raises(UnknownNameError, match="unknown selection of published rows 'al'"):
        report("table", FOLDER, published="al")


def test_a_set_without_published_rows_has_no_mark(three_of_four):
    assert "†" not in report("table", FOLDER)


def test_a_row_that_repeats_a_published_one_has_a_verdict_with_its_reason(make_result):
    values = {"model": "geoclip", "checkpoint": "official", "gallery": "official:100000", "gallery_size": 100_000}
    make_result(dataset="im2gps3k", expected=2997, crops=10, **values).save(FOLDER)
    text = report("markdown", FOLDER)
    assert entries(text, "geoclip@official")[-1].startswith("not comparable [")
    assert "geoclip@official: not comparable, GeoCLIP (" in text
    assert "n 4, published 2,997" in text
    assert "not comparable: GeoCLIP" in json.loads(report("json", FOLDER))[0]["verdicts"]


def test_a_part_of_a_test_set_is_called_not_comparable(make_result):
    make_result(dataset="im2gps3k", expected=2997).save(FOLDER)
    assert "n differs from the 2,997 images" in report("table", FOLDER)
    assert "not comparable with published rows" in report("table", FOLDER)


def test_a_whole_test_set_is_not_called_so(three_of_four):
    assert "not comparable" not in report("table", FOLDER)


def test_no_results_says_which_command_makes_some(cli):
    with pytest.raises(ResultError, match=r"no results in results; to make some: geobench demo, or"):
        report("table", FOLDER)
    told = cli("report", exit_code=1)
    assert told.stderr.startswith("Error: no results in results; to make some: geobench demo")
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


def test_rows_are_ordered_by_model_and_gallery_size(make_result):
    cases = [("knn", 500, 0), ("geoclip", 1000, 1), ("geoclip", 1000, 0), ("geoclip", 200, 0)]
    for number, (model, size, seed) in enumerate(cases):
        make_result(key=f"{number}" * 16, model=model, gallery=f"land:{size}", gallery_size=size, seed=seed).save(
            FOLDER
        )
    text = report("table", FOLDER, join_seeds=False)
    shown = [line.split() for line in text.splitlines() if "@" in line]
    assert [(row[0].partition("@")[0], row[1], row[2]) for row in shown] == [
        ("geoclip", "land:200", "0"),
        ("geoclip", "land:1000", "0"),
        ("geoclip", "land:1000", "1"),
        ("knn", "land:500", "0"),
    ]


def of_seeds(make_result, *seeds, hits=(10, 20, 30), **changes):
    """Save results of 100 images by training and gallery seed: 10, 20, 30 … of them right."""
    for number, ((training, gallery), right) in enumerate(zip(seeds, hits, strict=False)):
        make_result(
            degrees(right),
            **{
                "key": f"{number}" * 16,
                "checkpoint": f"mine-s{training}-{training}{training}",
                "training_seed": training,
                "seed": gallery,
                "created": f"2024-05-06T07:08:0{number}+00:00",
            }
            | changes,
        ).save(FOLDER)


def test_results_that_differ_by_seed_only_are_one_row_of_mean_and_standard_deviation(make_result):
    of_seeds(make_result, (0, 0), (1, 0), (2, 0))
    (row,) = rows(all_results())
    assert row.scores["acc_25km"] == pytest.approx(20.0)
    assert row.spread["acc_25km"] == pytest.approx(10.0)  # of 10, 20, 30 with n − 1
    assert row.model == "knn@mine"
    found = entries(report("markdown", FOLDER), "knn@mine")
    assert found[2] == "3 training"
    assert found[6].startswith("20.0 ± 10.0 [")
    assert "differ only by seed" in report("markdown", FOLDER)


def test_the_interval_of_a_mean_over_seeds_is_the_mean_of_theirs(make_result):
    of_seeds(make_result, (0, 0), (1, 0), (2, 0))
    apart = rows(all_results(), join_seeds=False)
    (joined,) = rows(all_results())
    assert joined.intervals["acc_25km"] == pytest.approx(np.mean([row.intervals["acc_25km"] for row in apart], axis=0))


def all_results():
    from geobench.results import read_results

    return read_results(FOLDER)[0]


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [
        ([(0, 0), (0, 1)], ["2 gallery"]),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], ["2 training × 2 gallery"]),
        ([(0, 0)], ["0"]),
    ],
)
def test_seeds_of_training_and_gallery_are_told_apart(make_result, seeds, shown):
    of_seeds(make_result, *seeds, hits=(1, 2, 3, 4))
    found = [line for line in report("markdown", FOLDER).splitlines() if line.startswith("| knn")]
    assert [line.split("|")[3].strip() for line in found] == shown


def test_seeds_can_be_shown_apart_and_are_so_in_csv_and_json(make_result, cli):
    of_seeds(make_result, (0, 0), (1, 0), (2, 0))
    assert len([line for line in cli("report", "--seeds-apart").stdout.splitlines() if line.startswith("knn@")]) == 3
    assert len(json.loads(report("json", FOLDER))) == 3


def test_another_setting_is_another_row_that_says_which(make_result):
    of_seeds(make_result, (0, 0), (1, 0), hits=(10, 20))
    for seed in (0, 1):
        values = {"key": f"a{seed}" * 8, "config": {"k": 3, "sigma_km": 0.1}, "training_seed": seed}
        make_result(degrees(40 + seed), checkpoint=f"mine-s{seed}-ff", **values).save(FOLDER)
    assert [row.model for row in rows(all_results())] == ["knn@mine (k=10)", "knn@mine (k=3)"]


def test_a_training_repeated_with_the_same_seed_is_no_other_seed(make_result):
    of_seeds(make_result, (0, 0), hits=(10,))
    make_result(degrees(20), key="f" * 16, checkpoint="mine-s0-ff", training_seed=0).save(FOLDER)
    assert [row.model for row in rows(all_results())] == ["knn@mine-s0-00", "knn@mine-s0-ff"]


def test_results_of_a_time_when_training_seeds_were_not_kept_stay_apart(make_result):
    of_seeds(make_result, (0, 0), (1, 0), training_seed=None)
    assert len(rows(all_results())) == 2


def test_those_not_significantly_worse_than_the_best_share_its_mark(make_result):
    for number, (model, right) in enumerate((("best", 50), ("nearly", 48), ("worse", 20))):
        make_result(degrees(right), key=f"{number}" * 16, model=model, checkpoint="").save(FOLDER)
    text = report("markdown", FOLDER)
    assert [entries(text, model)[6][:2] == "**" for model in ("best", "nearly", "worse")] == [True, True, False]
    assert "Holm" in text
    terminal = [line.split() for line in report("table", FOLDER).splitlines()]
    assert [line[6] for line in terminal if line and line[0] in ("best", "nearly", "worse")] == [
        "50.0*",
        "48.0*",
        "20.0",
    ]


def test_a_model_without_a_rival_is_not_called_the_best(three_of_four):
    assert "*" not in report("markdown", FOLDER)
    assert rows([three_of_four])[0].best == frozenset()


def test_models_on_other_images_are_no_rivals(make_result):
    make_result(degrees(50), key="1" * 16, model="a").save(FOLDER)
    make_result(degrees(20, n=90), key="2" * 16, model="b").save(FOLDER)
    assert "*" not in report("markdown", FOLDER)


def test_an_oracle_gallery_is_named_as_such_and_takes_no_first_place(make_result):
    for number, (model, right) in enumerate((("cheat", 90), ("best", 50), ("worse", 20))):
        changes = {"in_gallery": 60} if model == "cheat" else {}
        make_result(degrees(right), key=f"{number}" * 16, model=model, checkpoint="", **changes).save(FOLDER)
    text = report("markdown", FOLDER)
    assert entries(text, "cheat")[1] == "training:3 (oracle)"
    assert "Oracle: training:3 holds 60 of the 100 test coordinates exactly" in text
    assert "**" not in "".join(entries(text, "cheat"))
    assert entries(text, "best")[6].startswith("**")
    assert [row["oracle"] for row in json.loads(report("json", FOLDER))] == [False, True, False]


def test_a_subset_has_rows_of_its_own(make_result):
    make_result(degrees(50), key="1" * 16).save(FOLDER)
    assert "Subset" not in report("markdown", FOLDER)
    make_result(degrees(40, n=80), key="2" * 16, subset="clean").save(FOLDER)
    text = report("markdown", FOLDER)
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| knn")] == ["all", "clean"]


def test_crops_are_shown_where_they_differ(make_result):
    make_result(key="1" * 16).save(FOLDER)
    assert "Crops" not in report("markdown", FOLDER)
    make_result(key="2" * 16, crops=10).save(FOLDER)
    assert [line.split("|")[3].strip() for line in report("markdown", FOLDER).splitlines() if "| knn" in line] == [
        "1",
        "10",
    ]


def test_of_two_results_for_one_entry_the_newest_is_shown_and_the_other_named(make_result):
    make_result(degrees(10), key="1" * 16, created="2024-01-01T00:00:00+00:00").save(FOLDER)
    make_result(degrees(20), key="2" * 16, created="2024-01-02T00:00:00+00:00").save(FOLDER)
    text = report("markdown", FOLDER)
    assert entries(text, "knn@")[6].startswith("20.0")
    assert (
        "measured more than once: shown is mine_knn_training-3_s0_22222222.json, not "
        "mine_knn_training-3_s0_11111111.json." in text
    )


def test_a_copied_file_is_named_too(three_of_four):
    shutil.copy(f"results/{three_of_four.stem}.json", "results/copy.json")
    text = report("markdown", FOLDER)
    assert entries(text, "knn@")[6].startswith("25.0")
    assert "copy.json" in text


def test_an_unknown_format_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="unknown format 'markdwon'; did you mean markdown"):
        report("markdwon", FOLDER)


def test_the_command_writes_a_file(cli, three_of_four):
    told = cli("report", "--format", "csv", "--output", "out/table.csv")
    assert "wrote out/table.csv" in told.stderr
    assert Path("out/table.csv").read_text() == report("csv", FOLDER) + "\n"


def test_all_damaged_results_are_named_and_the_others_shown(cli, make_result, three_of_four):
    Path("results/broken.json").write_text("{")
    Path("results/older.json").write_text('{"scores": {}}')
    told = cli("report", exit_code=1)
    assert "Failed: results/broken.json is not a readable result" in told.stderr
    assert "Failed: results/older.json does not fit this version" in told.stderr
    assert "knn@mine-s0-0a0b0c0d" in told.stdout
    assert "Left out, because damaged or of another version: results/broken.json, results/older.json." in told.stdout


def test_a_result_whose_predictions_were_edited_is_said_and_not_shown(cli, make_result, three_of_four):
    path = make_result(key="f" * 16, model="better").save(FOLDER)
    record = json.loads(path.read_text())
    record["scores"]["acc_25km"] = 99.0
    path.write_text(json.dumps(record))
    told = cli("report", "--format", "json", exit_code=1)
    assert f"Failed: {path}: its predictions no longer yield its scores" in told.stderr
    assert "acc_25km 99 in the record, 25 from the predictions" in told.stderr
    assert [row["model"] for row in json.loads(told.stdout)] == ["knn"]


def test_when_all_results_are_damaged_each_is_named():
    FOLDER.mkdir()
    for name in ("a", "b"):
        (FOLDER / f"{name}.json").write_text("{")
    with pytest.raises(ResultError, match=r"results/a\.json is not .* results/b\.json is not"):
        report("table", FOLDER)


def test_a_record_without_its_predictions_is_marked_and_has_no_interval(make_result):
    path = make_result().save(FOLDER)
    path.with_suffix(".predictions.csv").unlink()
    text = report("markdown", FOLDER)
    assert entries(text, "knn@")[0].endswith(" ‡")
    assert entries(text, "knn@")[6] == "25.0"
    assert "‡ record without its predictions" in text
    assert json.loads(report("json", FOLDER))[0]["acc_25km_low"] is None


@pytest.mark.parametrize("run", sorted(path.parent.name for path in REFERENCE.glob("*/bluemarble_knn*.json")))
def test_the_committed_records_are_shown(run):
    said = []
    text = report("markdown", REFERENCE / run, say=said.append)
    assert not said
    assert "| geoclip@bluemarble" in text and "‡" in text


def test_the_heads_are_the_papers():
    assert [metric.heading for metric in get_metrics()][:5] == [
        "Street 1 km", "City 25 km", "Region 200 km", "Country 750 km", "Continent 2500 km"
    ]  # fmt: skip


def test_predictions_whose_record_is_gone_and_a_folder_called_like_a_record_are_told(make_result, cli):
    make_result(key="a" * 16).save()
    make_result(key="b" * 16, model="gone").save().unlink()
    done = cli("report")
    assert done.stderr.count("is not shown: its record") == 1
    assert "gone" in done.stderr
    Path("results/d.json").mkdir()
    assert "Failed: results/d.json is a folder, not a result; move or rename it." in cli("report", exit_code=1).stderr


def test_a_name_with_a_line_break_or_a_bar_keeps_a_markdown_table_whole(make_result):
    make_result(model="a\nb|c", checkpoint="").save()
    (row,) = [line for line in report("markdown", published="none").splitlines() if line.startswith("| a")]
    assert row.startswith("| a b\\|c ")


def test_json_lists_what_a_row_is_best_at_and_csv_has_it_in_one_entry(make_result):
    for number, right in enumerate((50, 48)):
        latitudes = [0.0] * right + [80.0] * (100 - right)
        make_result(latitudes, key=f"{number}" * 16, model=f"m{number}").save()
    best = json.loads(report("json"))[0]["best"]
    assert "acc_1km" in best and isinstance(best, list)
    assert " ".join(best) in report("csv")


def test_a_model_without_features_does_not_bring_a_column_of_crops(make_result):
    for name, crops in (("knn", 1), ("random", 0)):
        make_result(model=name, crops=crops, gallery_hash=name).save(FOLDER)
    assert "Crops" not in report("markdown", FOLDER)
    make_result(model="geoclip", crops=10).save(FOLDER)
    assert "Crops" in report("markdown", FOLDER)
