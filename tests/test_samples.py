"""Pages of sample queries, and maps of the right predictions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from geobench import DatasetError, Predictions, SettingError
from geobench.analysis.details import DetailedResult, load_detailed
from geobench.pictures.canvas import styled
from geobench.pictures.hits import draw_hits
from geobench.pictures.samples import Sample, draw_samples
from geobench.predict import told_apart
from geobench.report.samples import choose, sample_page


def test_a_page_draws_from_each_level_only_images_of_it_and_no_failed_one():
    errors = np.array([0.5, 1.0, 1.1, 30.0, 20.0, 9000.0, 12000.0, 700.0])
    failed = np.array([False] * 6 + [True, False])
    levels = dict(choose(errors, failed, [1, 25], 2))
    assert list(levels) == ["≤ 1 km\n2 images", "≤ 25 km\n2 images", "> 25 km\n3 images"]
    within, city, beyond = levels.values()
    assert sorted(within) == [0, 1] and sorted(city) == [2, 4]
    assert len(set(beyond)) == 2 and set(beyond) < {3, 5, 7}
    draws = {tuple(dict(choose(errors, failed, [1, 25], 2, seed))["> 25 km\n3 images"]) for seed in range(20)}
    assert len(draws) > 1


def test_a_page_states_truth_prediction_and_error_of_each_image():
    sample = Sample("a.jpg", None, np.array([-33.868, 151.209]), np.array([51.5, -0.126]), 16994.0)
    with styled():
        figure = draw_samples([("> 25 km", [sample])], 3, "mine")
    ax, *empty = figure.axes
    assert ax.get_xlabel().splitlines() == [
        "a.jpg",
        "true 33.87° S, 151.21° E",
        "found 51.50° N, 0.13° W",
        "16,994 km off",
    ]
    assert [text.get_text() for text in ax.texts] == ["cannot be read", "> 25 km"]
    assert not any(other.axison for other in empty)


def test_the_map_of_right_predictions_marks_those_within_each_threshold(make_result):
    truth = np.array([[0.0, 0], [0, 10], [0, 20], [0, 30]])
    place = truth + np.array([[0.0, 0], [0.1, 0], [5, 0], [np.nan, np.nan]])
    failed = np.isnan(place[:, 0])
    predictions = Predictions(place[:, None], np.where(failed, np.nan, 1.0)[:, None], failed)
    result = replace(make_result(n=4, failed=1), predictions=predictions, truth=truth, names=np.array(list("abcd")))
    with styled():
        figure = draw_hits(result, "knn", [1, 25, 750])
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == [
        "within 1 km: 1 of 4 (25.0 %)",
        "within 25 km: 2 of 4 (50.0 %)",
        "within 750 km: 3 of 4 (75.0 %)",
    ]
    for ax, right in zip(figure.axes[:3], (1, 2, 3), strict=True):
        missed, marked = (len(dots.get_offsets()) for dots in ax.collections[-2:])
        assert (missed, marked) == (4 - right, right)
    assert "1 failed" in figure.get_suptitle()
    with styled():
        figure = draw_hits(result, "knn", [float(DetailedResult(result).errors[1])])
    assert ": 2 of 4" in figure.axes[0].get_title()  # an error of exactly a threshold is within it


def test_a_page_has_the_photos_that_were_tested_and_is_refused_of_others(cli, own_home, tmp_path):
    cli("run", "--models", "random", "--datasets", "bluemarble", "--limit", 20)
    (record,) = Path("results").glob("*.json")
    cli("samples", record, "--output", "page.png", "--per-level", 2)
    with Image.open("page.png") as page:
        assert page.width > 1000 and len(page.getcolors(1 << 24)) > 1000
    detailed = load_detailed(record)
    other = DetailedResult(replace(detailed.result, images_key="0" * 16))
    with pytest.raises(DatasetError, match="not the ones that the result is of"):
        sample_page(other, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()
    assert "ends in .png" in cli("samples", record, "--output", "page.txt", exit_code=2).output


def test_models_side_by_side_are_told_apart_by_the_settings_in_which_they_differ():
    class One:
        name = "geoclip"

        def __init__(self, **config):
            self.checkpoint = SimpleNamespace(config={"dim": 8, **config}, spec=f"geoclip@{len(config)}")

    assert told_apart([One(sigma_list=[1]), One(sigma_list=[1, 16])]) == ["sigma_list [1]", "sigma_list [1, 16]"]
    assert told_apart([One(), One()]) == ["geoclip@0", "geoclip@0"]


def test_another_models_map_needs_a_file(cli):
    told = cli("predict", "--text", "x", "--beside", "geoclip", exit_code=2).output
    assert "add --map FILE" in told


@pytest.mark.parametrize("count", [0, 9])
def test_a_page_has_one_to_eight_images_of_a_level(count, cli):
    assert "--per-level" in cli("samples", "x.json", "--output", "a.png", "--per-level", count, exit_code=2).output
    with pytest.raises(SettingError, match=f"room for 1 to 8 images of a level, not {count}"):
        sample_page(SimpleNamespace(), Path("a.png"), count)
