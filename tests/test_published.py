import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import UnknownNameError
from geobench.published import rows as rows_module
from geobench.published import verdicts as verdicts_module
from geobench.published.agreement import first_sources
from geobench.published.rows import SELECTIONS, published_rows
from geobench.published.verdicts import close_name, judge, repeated_rows, verdict
from geobench.report.formats import report
from geobench_published import FOLDER

ACCURACIES = ["acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km"]
SHARED = Path(__file__).parents[2] / "shared"
SETS = ("im2gps", "im2gps3k", "yfcc4k", "yfcc26k", "gws15k", "osv5m")
PAPERS_GEOCLIP = {"acc_1km": 14.11, "acc_25km": 34.47, "acc_200km": 50.65, "acc_750km": 69.67, "acc_2500km": 83.82}
PROTOCOL = {
    "dataset": "im2gps3k",
    "n": 2997,
    "expected": 2997,
    "model": "geoclip",
    "checkpoint": "mp16-s0-0a0b0c0d",
    "gallery": "training:100000",
    "gallery_size": 100_000,
    "crops": 10,
    "encoder": "ViT-L-14/openai",
    "trained_on": "mp16",
    "training_images": 4_700_000,
    "config": {"sigma_min": 1.0, "sigma_max": 256.0, "hierarchies": 3, "sigma_list": [], "queue_length": 4096},
}


@pytest.fixture
def geoclip(make_result):
    """Return a function that makes a result with the protocol of GeoCLIP's Table 1a, changed as told."""
    return lambda **changes: make_result(**(PROTOCOL | changes))


def intervals(half=1.0, shift=0.0, **shifts):
    """Return intervals of ``half`` points around the paper's figures, moved by ``shift``, or by name."""
    moved = {name: value + shifts.get(name, shift) for name, value in PAPERS_GEOCLIP.items()}
    return {name: (value - half, value + half) for name, value in moved.items()}


def row_of(model, source, dataset="im2gps3k"):
    rows = published_rows(dataset)
    (row,) = rows[(rows["model"] == model) & rows["source"].str.endswith(source)].to_dict("records")
    return row


def figures(row):
    return [None if pd.isna(row[name]) or row[name] == "" else float(row[name]) for name in ACCURACIES]


def shared(path):
    if not (SHARED / path).is_file():
        pytest.skip(f"the shared file {path} is not beside this checkout")
    with (SHARED / path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("path", ["paper/tables.csv", "published/later-methods.csv"])
def test_every_row_of_the_shared_files_is_there_with_its_figures_and_its_source(path):
    rows = shared(path)
    for dataset in {row["dataset"] for row in rows}:
        wanted = sorted((r["method"], figures(r), source_of(r)) for r in rows if r["dataset"] == dataset)
        ours = [(r["model"], figures(r), r["source"]) for r in published_rows(dataset).to_dict("records")]
        for row in wanted:
            assert ours.count(row) == 1, row


OF_OUR_OWN = {"nicolas-dufour/plonk issue 3", "lingli1996/GLOBE issue 3"}
"""Sources that were read later than the shared files were made."""


def source_of(row):
    """Return how a row of the shared files names its source here."""
    if "table" in row:
        return f"GeoCLIP (NeurIPS 2023), table {row['table']}"
    return row["source"].removeprefix("list: ").partition(", which says")[0]


def test_there_are_as_many_rows_as_in_the_shared_files():
    wanted = shared("paper/tables.csv") + shared("published/later-methods.csv")
    found = [row["source"] for dataset in SETS for row in published_rows(dataset).to_dict("records")]
    assert len(found) == len(wanted) + sum(source in OF_OUR_OWN for source in found)


@pytest.mark.parametrize("dataset", SETS)
def test_a_report_of_all_published_rows_holds_each_of_them_and_its_source(make_result, dataset):
    make_result(dataset=dataset).save()
    text = report("markdown", published="all")
    rows = published_rows(dataset)
    shown = re.findall(r"^\| (.+?) \S+ \[\d+\] +\|", text, re.MULTILINE)  # model, mark, number of the source
    assert shown == rows["model"].to_list()
    for row in rows.to_dict("records"):
        assert row["source"] in text


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.stem)
def test_a_committed_file_explains_itself_and_every_row_says_where_it_is_from(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert len(rows) > 1
    for row in rows:
        assert row["dataset"] in SETS
        assert row["source"]
        assert row["how"] in ("copied", "re-run")
        assert row["kind"] in ("method", "ablation")
        reported = [float(row[name]) for name in ACCURACIES if row[name]]
        assert reported == sorted(reported), row
        assert all(0 < value < 100 for value in reported)


def test_the_committed_files_hold_123_rows():
    counts = {dataset: len(published_rows(dataset)) for dataset in SETS}
    assert counts == {"im2gps": 6, "im2gps3k": 70, "yfcc4k": 17, "yfcc26k": 9, "gws15k": 17, "osv5m": 4}


def test_what_was_not_reported_is_missing_and_never_zero():
    street = row_of("StreetCLIP", "03adf17")
    assert np.isnan(street["acc_1km"])
    assert street["acc_25km"] == 22.4
    assert all(not (published_rows(dataset)[ACCURACIES] == 0).any(axis=None) for dataset in SETS)


def test_a_row_states_its_protocol_as_far_as_its_source_does():
    ours = row_of("GeoCLIP", "table 1a")
    assert ours["n"] == 2997
    assert ours["protocol"] == (
        "10 crops, gallery training:100000 or official:100000, trained on mp16, ViT-L-14/openai"
    )
    listed = row_of("Pinpoint", "03adf17")
    assert pd.isna(listed["n"])
    assert listed["protocol"] == ""


def test_a_row_is_a_copy_of_the_authors_figure_or_somebody_elses_run():
    assert row_of("GeoCLIP", "table 1a")["how"] == "copied"
    assert row_of("GeoCLIP, official weights, one crop", "2e5423a")["how"] == "re-run"
    assert row_of("PlaNet", "03adf17")["how"] == "re-run"  # as reproduced by CPlaNet


def test_two_sources_that_differ_are_both_kept_and_say_so():
    in_2a, in_s3 = row_of("+EEP +RFF +DQ", "table 2a"), row_of("queue length 4096", "table S3")
    assert (in_2a["acc_200km"], in_s3["acc_200km"]) == (49.28, 49.32)
    assert "49.32 at 200 km, 83.30 at 2500 km in GeoCLIP (NeurIPS 2023), table S3" in in_2a["note"]
    assert "49.28 at 200 km, 83.35 at 2500 km in GeoCLIP (NeurIPS 2023), table 2a" in in_s3["note"]
    assert "GeoSURGE's table has 10.9 at 1 km" in row_of("PIGEOTTO", "03adf17")["note"]


def test_a_rounded_figure_is_no_conflict():
    assert row_of("GeoCLIP", "03adf17")["acc_1km"] == 14.1
    assert row_of("GeoCLIP", "table 1a")["conflict"] == row_of("GeoCLIP", "03adf17")["conflict"] == ""


def test_a_selection_leaves_out_what_it_says():
    assert [len(published_rows("im2gps3k", which)) for which in ("all", "methods", "paper", "none")] == [70, 26, 7, 0]
    assert set(published_rows("im2gps3k", "paper")["source"]) == {"GeoCLIP (NeurIPS 2023), table 1a"}
    assert list(published_rows("im2gps3k", "none")) == list(published_rows("im2gps3k"))
    with pytest.raises(UnknownNameError, match="selection of published rows 'papers'; did you mean paper"):
        published_rows("im2gps3k", "papers")
    assert set(SELECTIONS) == {"all", "methods", "paper", "none"}


def test_a_system_that_two_sources_give_the_same_figures_is_one_row_which_names_both(make_result):
    rows = published_rows("im2gps3k", "methods")
    assert rows["model"].str.lower().is_unique
    translocator = rows[rows["model"].str.lower() == "translocator"].iloc[0]
    assert translocator["source"] == "GeoCLIP (NeurIPS 2023), table 1a"
    assert len(translocator["also"]) == 1
    assert "03adf17" in translocator["also"][0]
    make_result(dataset="im2gps3k").save()
    assert "| PlaNet § [1, 2] " in report("markdown")


def test_only_the_same_figures_of_the_same_run_are_one_row():
    row = {"dataset": "d", "kind": "method", "model": "A-b", "source": "one", "how": "copied"}
    row |= dict.fromkeys(["n", "crops", "gallery", "trained_on", "encoder", *ACCURACIES], "") | {"acc_1km": "14.11"}
    other = row | {"source": "two", "model": "AB", "acc_1km": "14.1"}
    assert first_sources([row, other]) == ["", "one"]
    differ = [{"acc_1km": "14.2"}, {"acc_25km": "30.0"}, {"how": "re-run"}, {"source": "one"}, {"kind": "ablation"}]
    for change in [*differ, {"dataset": "e"}, {"model": "ABC"}]:
        assert first_sources([row, other | change]) == ["", ""], change
    assert first_sources([row | {"n": "10"}, other | {"n": "9"}]) == ["", ""]


def test_a_set_that_nobody_published_on_has_no_rows():
    assert published_rows("bluemarble").empty


def test_the_table_that_is_returned_can_be_changed_without_changing_the_next():
    changed = published_rows("gws15k")
    changed["acc_1km"] = 99.0
    assert published_rows("gws15k")["acc_1km"].max() < 3


def test_a_result_whose_intervals_hold_every_figure_is_within_them_and_says_how_wide_they_are(geoclip):
    reached = verdict(geoclip(), intervals(half=1.6), row_of("GeoCLIP", "table 1a"))
    assert reached.word == "within the confidence interval"
    assert reached.reason == "within at 1, 25, 200, 750, 2500 km, in intervals up to 3.2 points wide"


@pytest.mark.parametrize(
    ("off", "word"),
    [(0.0, "equal to rounding"), (0.004, "equal to rounding"), (0.02, "within the confidence interval")],
)
def test_only_what_rounds_to_the_figures_printed_is_equal(geoclip, off, word):
    """The table prints two decimals: 14.114 is 14.11, and 14.13 is another figure."""
    ours = geoclip(scores={name: value + off for name, value in PAPERS_GEOCLIP.items()})
    reached = verdict(ours, intervals(), row_of("GeoCLIP", "table 1a"))
    assert reached.word == word
    if off < 0.01:
        assert reached.reason == "the same figures at 1, 25, 200, 750, 2500 km"
    assert verdict(geoclip(), intervals(), row_of("GeoCLIP", "table 1a"), ours.scores).word == word, "the mean of seeds"


def test_a_figure_printed_without_decimals_beside_others_is_as_exact_as_they_are(make_result):
    """The list has 28 % at 25 km for the ISNs beside 36.6 % at 200 km: 28.0, and 28.4 is another figure."""
    row = row_of("ISNs", "03adf17")
    figures_ = {name: float(row[name]) for name in ACCURACIES}
    changes = {"model": "ISNs", "checkpoint": "", "gallery": "", "dataset": "im2gps3k", "n": 2997, "expected": 2997}
    ends = dict.fromkeys(ACCURACIES, (0.0, 100.0))
    assert verdict(make_result(**changes, scores=figures_), ends, row).word == "equal to rounding"
    other = figures_ | {"acc_25km": 28.4}
    assert verdict(make_result(**changes, scores=other), ends, row).word == "within the confidence interval"


def test_another_model_of_the_same_authors_is_held_against_nothing_and_told_whose_name_is_close(make_result):
    """On 237 images an interval is 12 points wide: whatever is called ISNs would be within it at all five levels."""
    changes = {"checkpoint": "", "gallery": "", "dataset": "im2gps", "config": {}}
    for known in ("ISNs", "ISNs_M-fstar-S3", "ISN (M, f*, S3)"):
        assert "ISNs" in set(repeated_rows(make_result(**changes, model=known))["model"]), known
        assert close_name(make_result(**changes, model=known)) == ""
    other = make_result(**changes, model="ISNs_base-M")
    assert repeated_rows(other).empty
    assert close_name(other) == "ISNs"
    assert close_name(make_result(**changes, model="PlaNett")) == "PlaNet"
    assert close_name(make_result(**changes, model="gpt-5")) == ""
    assert close_name(make_result(dataset="im2gps")) == "", "a model of ours is no name of theirs"
    other.save()
    assert "ISNs_base-M is held against no published row; if it is the published ISNs, name it so." in report(
        "markdown"
    )


def test_a_part_of_the_images_is_not_comparable(geoclip):
    part = geoclip(statuses={"ok": 1000, "not asked": 1997})
    reached = verdict(part, intervals(), row_of("GeoCLIP", "table 1a"))
    assert (reached.word, reached.reason) == ("not comparable", "ours was asked for 1,000 of 2,997 images")


def test_the_ends_of_an_interval_belong_to_it(geoclip):
    ends = {name: (value, value) for name, value in PAPERS_GEOCLIP.items()}
    assert verdict(geoclip(), ends, row_of("GeoCLIP", "table 1a")).word == "within the confidence interval"


@pytest.mark.parametrize(("shift", "word"), [(-5.0, "below"), (5.0, "above")])
def test_a_planted_lower_or_higher_result_is_below_or_above_at_every_threshold(geoclip, shift, word):
    reached = verdict(geoclip(), intervals(shift=shift), row_of("GeoCLIP", "table 1a"))
    assert reached.word == word
    assert reached.reason == f"{word} at 1, 25, 200, 750, 2500 km"


def test_one_threshold_below_is_below_even_where_another_is_above(geoclip):
    mixed = intervals(shift=0.0, acc_1km=-3.0, acc_2500km=3.0)
    reached = verdict(geoclip(), mixed, row_of("GeoCLIP", "table 1a"))
    assert reached.word == "below"
    assert reached.reason == "below at 1 km; above at 2500 km; within at 25, 200, 750 km"


def test_one_threshold_above_and_none_below_is_above(geoclip):
    reached = verdict(geoclip(), intervals(acc_25km=2.0), row_of("GeoCLIP", "table 1a"))
    assert (reached.word, reached.reason) == ("above", "above at 25 km; within at 1, 200, 750, 2500 km")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n": 2912}, "n 2,912, published 2,997"),
        ({"crops": 1}, "crops 1, published 10"),
        ({"gallery": "land:100000"}, "gallery land:100000, published training:100000 or official:100000"),
        ({"gallery_size": 21000}, "gallery training:21000, published training:100000 or official:100000"),
        ({"trained_on": "osv5m"}, "training data osv5m, published mp16"),
        ({"training_images": 470_000}, "trained on 470,000 images, published 4,723,695"),
        ({"encoder": "ViT-B-32/openai"}, "encoder ViT-B-32/openai, published ViT-L-14/openai"),
        ({"subset": "clean"}, "ours is the subset 'clean'"),
    ],
)
def test_an_incomparable_result_is_not_compared_and_says_why(geoclip, changes, reason):
    reached = verdict(geoclip(**changes), intervals(), row_of("GeoCLIP", "table 1a"))
    assert (reached.word, reached.reason) == ("not comparable", reason)


def test_every_difference_is_named(geoclip):
    reached = verdict(geoclip(n=10, crops=1, failed=0), intervals(), row_of("GeoCLIP", "table 1a"))
    assert reached.reason == "n 10, published 2,997; crops 1, published 10"


def test_a_row_without_n_is_held_against_the_size_that_the_sets_authors_state(geoclip):
    row = row_of("SwC", "03adf17")
    assert verdict(geoclip(n=2900), intervals(), row).reason == "n 2,900, published 2,997"
    assert verdict(geoclip(), intervals(), row).word != "not comparable"


def test_what_is_not_known_of_a_protocol_is_said(geoclip):
    reached = verdict(geoclip(), intervals(half=50), row_of("SwC", "03adf17"))
    assert reached.reason == (
        "within at 1, 25, 200, 750, 2500 km, in intervals up to 100.0 points wide (not known: n, crops, training data, "
        "encoder)"
    )


def test_predictions_of_others_are_judged_and_their_protocol_is_called_unknown(make_result):
    unknown = {"checkpoint": "", "gallery": "", "encoder": "", "trained_on": "", "crops": 0, "config": {}}
    foreign = make_result(**(PROTOCOL | unknown | {"model": "GeoCLIP", "training_images": 0}))
    reached = verdict(foreign, intervals(), row_of("GeoCLIP", "table 1a"))
    assert reached.word == "within the confidence interval"
    assert reached.reason.endswith("(not known: crops, gallery, training data, encoder)")


def test_only_thresholds_that_were_reported_count(geoclip):
    narrow = intervals(half=0.01) | {"acc_1km": (16.5, 16.5), "acc_2500km": (88.6, 88.6)}
    listed = row_of("GeoCLIP", "03adf17", "im2gps")
    reached = verdict(geoclip(dataset="im2gps", n=237, expected=237), narrow, listed)
    assert reached.reason.startswith("within at 1, 2500 km")


def test_the_spelling_of_a_training_set_is_no_difference(geoclip):
    assert (
        verdict(geoclip(trained_on="MP-16"), intervals(), row_of("GeoCLIP", "table 1a")).word
        == "within the confidence interval"
    )


def test_a_result_repeats_the_rows_of_its_settings(geoclip):
    assert set(repeated_rows(geoclip())["source"].str.rpartition(" ")[2]) >= {"1a", "2b", "S2", "S6"}
    one = geoclip(config=PROTOCOL["config"] | {"sigma_list": [16.0]})
    assert set(repeated_rows(one)["model"]) == {
        *("+EEP +RFF +DQ", "GeoCLIP (Medium)", "queue length 4096", "batch GPS noise 150 m"),
        *("dynamic queue + noise 1000 m", "1 hierarchies"),
    }
    short = geoclip(config=PROTOCOL["config"] | {"sigma_list": [16.0], "queue_length": 512})
    assert repeated_rows(short)["model"].to_list() == ["queue length 512"]


def test_a_result_with_settings_that_nobody_published_repeats_no_row(geoclip):
    assert repeated_rows(geoclip(config=PROTOCOL["config"] | {"sigma_max": 8.0})).empty
    assert repeated_rows(geoclip(model="most-frequent")).empty
    assert repeated_rows(geoclip(dataset="bluemarble")).empty


def test_rows_of_another_gallery_give_way_to_the_rows_of_the_same(geoclip):
    models = repeated_rows(geoclip(gallery="training:21000", gallery_size=21000))["model"].to_list()
    assert "GeoCLIP, gallery 21k" in models
    assert "GeoCLIP, gallery 100k" not in models


def test_released_weights_repeat_the_run_of_them_too(geoclip):
    ours = geoclip(checkpoint="official", gallery="official:100000", crops=1, training_images=0)
    verdicts = {judged.model: judged.verdict.word for judged in judge(ours, intervals(half=100))}
    assert verdicts["GeoCLIP, official weights, one crop"] == "within the confidence interval"
    assert verdicts["GeoCLIP"] == "not comparable"
    assert "GeoCLIP, official weights, one crop" not in set(repeated_rows(geoclip())["model"])


def test_predictions_of_others_repeat_the_rows_of_their_name(make_result):
    foreign = make_result(model="translocator", checkpoint="", gallery="", dataset="im2gps3k", config={})
    assert repeated_rows(foreign)["model"].to_list() == ["Translocator", "TransLocator"]


def test_sources_with_the_same_verdict_are_told_together(geoclip):
    (judged,) = [one for one in judge(geoclip(), intervals()) if one.model == "GeoCLIP"]
    assert judged.verdict.word == "within the confidence interval"
    assert len(judged.sources) == 2  # the paper, and the list that copies it rounded


@pytest.fixture
def other_files(tmp_path, monkeypatch):
    """Return a function that writes a file of published rows, the only one: its columns of scores, and two rows."""
    caches = [rows_module._all_rows, rows_module._all_files, rows_module.score_metrics, rows_module.published_metrics]
    caches.append(verdicts_module._switches)

    def write(scores, *figures):
        about = {"dataset": "im2gps3k", "model": "A", "kind": "method", "how": "copied"}
        nothing = dict.fromkeys(
            ["n", "crops", "gallery", "trained_on", "training_images", "encoder", "repeats", "note"], ""
        )
        lines = [
            about | {"source": f"paper {k}"} | dict(zip(scores, f, strict=True)) | nothing
            for k, f in enumerate(figures)
        ]
        pd.DataFrame(lines).to_csv(tmp_path / "their.csv", index=False)
        monkeypatch.setattr("geobench_published.FOLDER", tmp_path)
        for cached in caches:
            cached.cache_clear()

    yield write
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_published_figures_may_be_of_any_metric(other_files, make_result):
    other_files(["acc_100km", "median_km", "geoscore@2000"], ("50.0", "80.0", ""), ("50.04", "81.0", "3000"))
    first, second = published_rows("im2gps3k").to_dict("records")
    assert (first["acc_100km"], first["median_km"]) == (50.0, 80.0) and np.isnan(first["geoscore@2000"])
    assert first["conflict"] == "conflict: 81.0 at Median km in paper 1", "50.04 rounds to 50.0"
    changes = {"checkpoint": "", "gallery": "", "expected": None, "config": {}, "failed": 0}
    result = make_result(model="A", dataset="im2gps3k", **changes)
    ends = {"acc_100km": (49.0, 51.0), "median_km": (85.0, 99.0), "geoscore@2000": (2000.0, 2500.0)}
    reached = verdict(result, ends, first)
    assert (reached.word, reached.reason.partition(" (")[0]) == ("below", "below at Median km; within at 100 km")
    assert verdict(result, ends | {"median_km": (60.0, 70.0)}, first).word == "above", "a smaller median is better"
    assert verdict(result, ends, second).reason.startswith("below at Median km, GeoScore 2,000 km; within at 100 km")
    assert verdict(result, {}, first).reason == "no score was reported"


def test_a_verdict_does_not_depend_on_the_thresholds_that_are_shown(geoclip):
    geoclip(latitudes=[0.0] * 1000 + [80.0] * 1997).save()
    every, few = report("markdown"), report("markdown", thresholds_km=[5])
    word = re.search(r"geoclip@mp16-s0-0a0b0c0d: (.*), GeoCLIP \(", every)[1]
    reason = re.search(r"geoclip@mp16.*table 1a.*", every)[0]
    assert word and reason in few
    row = next(line for line in few.splitlines() if "| GeoCLIP †" in line)
    assert row.split("|")[6].strip() == "", "nobody published an accuracy at 5 km"


def test_a_column_that_is_not_a_metric_is_an_error(other_files):
    other_files(["acc_1mk"], ("1.0",))
    with pytest.raises(UnknownNameError, match="unknown metric 'acc_1mk'; did you mean acc_1km"):
        published_rows("im2gps3k")
