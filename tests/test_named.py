"""One name means the same results in every command; runs that differ in the number kept alone are one result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geobench import Predictions, UnknownNameError
from geobench.errors import ResultError
from geobench.named import find_result, find_results, newest
from geobench.report.rows import rows
from geobench.results import FOLDER, read_results

ONE = ("compare", "replay", "samples")
COMMANDS = {
    "breakdown": [],
    "calibration": [],
    "compare": ["other"],
    "replay": [],
    "samples": ["--output", "page.png"],
}


@pytest.fixture
def saved(make_result):
    """Save results of knn on two sets, and one of another model; return the first."""
    first = make_result(dataset="one", model="knn", checkpoint="mine-s0-0a0b0c0d", trained_on="mine")
    first.save()
    make_result(dataset="two", model="knn", checkpoint="mine-s0-0a0b0c0d", trained_on="mine").save()
    make_result(latitudes=(0.0, 0.0, 0.0, 1.0), dataset="one", model="other").save()
    return first


def kept(result, k):
    """Return ``result`` as if ``k`` predictions had been kept of each image."""
    of = result.predictions
    places, scores = (np.repeat(values, k, axis=1) for values in (of.coordinates, of.scores))
    return replace(result, top_k=k, predictions=Predictions(places, scores, of.failed))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_model_a_checkpoint_a_training_set_digits_or_a_file(command, saved, cli, monkeypatch):
    if command == "samples":  # needs photos; its name is looked up first
        monkeypatch.setattr("geobench.report.samples.sample_page", lambda detailed, *rest: print(detailed.name))
    record = FOLDER / f"{saved.stem}.json"
    names = ["knn", "knn@mine-s0-0a0b0c0d", "knn@mine", saved.key[:6], record, record.with_suffix(".predictions.csv")]
    shown = {cli(command, name, *COMMANDS[command], "--dataset", "one").stdout for name in names}
    assert len(shown) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_name_in_the_same_words(command, saved, cli):
    more = COMMANDS[command]
    said = cli(command, "knm", *more, exit_code=2).stderr
    assert "unknown result in results 'knm'; did you mean knn" in said
    assert "nowhere.json: no such file." in cli(command, "nowhere.json", *more, exit_code=1).stderr
    said = cli(command, "other", *more, "--dataset", "two", exit_code=2).stderr
    assert "other has no result on two in results; it has on: one." in said
    said = cli(command, "knn", *more, "--results", "empty", exit_code=1).stderr
    assert "no results in empty; to make some: geobench demo" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_of_several_results_is_refused_where_one_is_needed_and_shows_all_elsewhere(command, saved, cli):
    done = cli(command, "knn", *COMMANDS[command], exit_code=int(command in ONE))
    if command in ONE:
        assert "knn matches 2 results; name one by the first digits of its key" in done.stderr
    else:
        assert "seed 0 on one, " in done.stdout and "seed 0 on two, " in done.stdout


def test_a_file_on_another_set_than_asked_for_is_refused(saved):
    with pytest.raises(ResultError, match=r"is a result on one, not on two\."):
        find_results(FOLDER / f"{saved.stem}.json", dataset="two")


def test_runs_that_differ_in_the_number_kept_alone_are_one_row_and_never_change_who_is_best(make_result):
    better = make_result(latitudes=[0.0] * 60 + [9.0] * 40, model="better", created="2026-01-01T00:00:00Z")
    worse = make_result(latitudes=[0.0] * 50 + [9.0] * 50, model="worse", created="2026-01-01T00:00:00Z")
    again = [replace(kept(better, k), created=f"2026-01-0{k}T00:00:00Z") for k in (2, 3)]
    alone, repeated = rows([better, worse], "none"), rows([better, again[1], worse, again[0]], "none")
    assert [row.results[0].model for row in repeated] == ["better", "worse"]
    assert [row.best for row in repeated] == [row.best for row in alone]
    assert not any(row.superseded for row in repeated), "keeping more is not measuring again"
    assert repeated[0].results[0].top_k == 3, "that which tells most, though it is the oldest but one"


def test_seeds_join_whatever_number_of_predictions_each_kept(make_result):
    gallery = {"gallery": "land:3", "training_seed": 0}
    seeds = [make_result(**gallery, gallery_hash=f"{seed}" * 16, seed=seed) for seed in range(3)]
    (row,) = rows([seeds[0], kept(seeds[1], 4), seeds[2]], "none")
    assert len(row.results) == 3


def test_a_newer_result_of_other_code_counts_even_if_it_kept_fewer(make_result):
    old = replace(kept(make_result(), 5), created="2026-01-01T00:00:00Z", code={"source": "old"})
    new = replace(make_result(), created="2026-01-02T00:00:00Z", code={"source": "new"})
    (counting,), older = newest([old, new])
    assert counting is new and older[new.key] == [old]


def test_a_name_takes_the_result_that_kept_most(make_result):
    for k in (4, 1):
        kept(make_result(), k).save()
    assert find_result(make_result().model).top_k == 4
    assert len(read_results(Path(FOLDER))[0]) == 2


def test_an_unknown_test_set_is_named_with_those_there_are(saved):
    with pytest.raises(UnknownNameError, match="unknown data set among the results 'onee'; did you mean one"):
        find_results("nobody", dataset="onee")
