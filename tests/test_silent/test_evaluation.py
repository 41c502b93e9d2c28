"""Stories of evaluations in Python, galleries and metrics whose numbers would be another's, without a word."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import (
    DatasetError,
    Gallery,
    GeobenchError,
    Options,
    PluginError,
    SettingError,
    TestSet,
    TrainingSet,
    evaluate,
    extract,
    get_dataset,
    get_encoder,
    get_gallery,
    get_metric,
    get_model,
    get_models,
    run,
    train,
)
from geobench.experiments.frontier import frontier
from geobench.report.formats import report
from geobench.report.rows import rows
from geobench.results import read_results

pytestmark = pytest.mark.usefixtures("one_thread")
ONE_PROCESS = Options(workers=0)


@pytest.fixture
def sets(cli, photos, tmp_path):
    """Register ``exam`` to test on, ``lessons`` and ``others`` to train on."""
    for seed, name in enumerate(("exam", "lessons", "others")):
        images, table = photos(20, tmp_path / name, seed=seed)
        cli("datasets", "add", name, "--images", images, "--metadata", table, "--encoder", "tiny")


# -- models and test sets from Python


def fitted(name):
    """Return kNN fitted to a data set by hand, without a checkpoint."""
    dataset, model = get_dataset(name), get_models()["knn"]()
    table = dataset.table("train")
    model.fit(TrainingSet(dataset, table, lambda: extract(dataset, table, get_encoder("tiny"), workers=0)))
    return model


def test_models_fitted_by_hand_to_other_photos_do_not_overwrite_each_others_results(sets):
    found = [evaluate(fitted(name), "exam", options=ONE_PROCESS) for name in ("lessons", "others", "lessons")]
    for result in found:
        result.save()
    assert found[0].scores["mean_km"] != found[1].scores["mean_km"]
    assert found[0].key == found[2].key != found[1].key
    results, _ = read_results(Path("results"))
    assert {row.model: row.scores["mean_km"] for row in rows(results, "none")} == {
        f"knn (weights={result.weights[:4]})": result.scores["mean_km"] for result in found[:2]
    }


def test_a_table_that_was_changed_after_it_was_read_is_refused(sets):
    test_set = TestSet.of(get_dataset("exam"))
    spec = train("random", "lessons").spec
    evaluate(spec, test_set, "training:5")
    test_set.table["latitude"] = 0.0
    with pytest.raises(DatasetError, match="table of exam was changed after it was read; make a new test set"):
        evaluate(spec, test_set, "training:5")
    corrected = evaluate(spec, TestSet(test_set.dataset, test_set.table), "training:5")
    assert (corrected.truth[:, 0] == 0).all()


def test_a_limit_on_a_test_set_that_is_already_read_is_refused(sets):
    spec, test_set = train("random", "lessons").spec, TestSet.of(get_dataset("exam"), limit=7)
    with pytest.raises(SettingError, match=r"limit=3 has no effect on a test set that is already read; .*limit=3\)"):
        evaluate(spec, test_set, "training:5", limit=3)
    assert evaluate(spec, test_set, "training:5", limit=7).n == 7


def test_what_only_python_can_ask_for_is_refused_as_on_the_command_line(sets):
    knn, random = train("knn", "lessons", workers=0).spec, train("random", "lessons").spec
    dataset = get_dataset("exam")
    table = dataset.table("test")
    for told, ask in {
        "limit must be at least 1, not -5": lambda: evaluate(knn, "exam", options=ONE_PROCESS, limit=-5),
        "limit must be at least 1, not 0": lambda: run(knn, "exam", options=ONE_PROCESS, limit=0),
        "limit must be at least 1, not -3": lambda: train("knn", "lessons", limit=-3, workers=0),
        "top_k must be at least 1, not -1": lambda: Options(top_k=-1),
        "batch_size must be at least 1, not 0": lambda: Options(batch_size=0),
        "crops must be one of 1, 5, 10, not 2": lambda: Options(crops=2),
        "exam has no images to test on": lambda: evaluate(knn, TestSet(dataset, table[:0]), options=ONE_PROCESS),
        "exam has 'photo-0.jpg' twice": lambda: evaluate(knn, TestSet(dataset, pd.concat([table, table[:2]]))),
        "seeds is empty": lambda: run(random, "exam", seeds=[]),
        "galleries is empty": lambda: run(random, "exam", galleries=[]),
        "'5.5' is not a valid gallery size": lambda: get_gallery("land:5.5"),
        r"the shape \(m, 2\), latitude and longitude, not \(4, 3\)": lambda: Gallery(np.zeros((4, 3)), "mine"),
    }.items():
        failures = []
        with pytest.raises(GeobenchError, match=told):
            failures = getattr(ask(), "failures", [])
            raise GeobenchError(" ".join(failures))
    assert len(get_gallery("land:0.3k")) == 300


def test_the_points_of_a_gallery_cannot_be_changed_behind_its_hash(sets):
    points = np.array([[10.0, 20.0], [30.0, 40.0]])
    gallery = Gallery(points, "mine")
    points[:] = 0.0
    assert gallery.coordinates.tolist() == [[10.0, 20.0], [30.0, 40.0]]
    for each in (gallery, get_gallery("land:3")):
        with pytest.raises(ValueError, match="read-only"):
            each.coordinates[0] = 0.0
    model = get_model(train("random", "lessons").spec)
    assert evaluate(model, "exam", gallery).gallery_hash == gallery.hash


# -- code of a plugin's model that was edited

NOTEBOOK = """
import numpy as np
from geobench import Model, Predictions


class Mine(Model):
    name = "mine"
    input = "none"
    uses_gallery = False
    trainable = {trainable}

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        self.latitude = training_set.coordinates[:, 0].{summary}()

    def locate(self, features, gallery=None, top_k=1):
        latitude = {latitude}
        return Predictions.of(np.tile([latitude, 0.0], (len(features), 1, 1)), np.ones((len(features), 1)))

    def state(self):
        return {{"latitude": np.array([self.latitude])}}

    def restore(self, state):
        self.latitude = float(state["latitude"][0])
"""


def mine(trainable=False, summary="mean", latitude="10.0"):
    space = {"__name__": "notebook"}
    exec(NOTEBOOK.format(trainable=trainable, summary=summary, latitude=latitude), space)
    return space["Mine"]


def means(summary):
    assert not summary.failures
    return [result.scores["mean_km"] for result in summary.results]


def test_a_model_without_training_is_evaluated_again_when_its_code_was_edited(sets, register):
    register("model", mine())
    before = means(run("mine", "exam"))
    register("model", mine(latitude="-60.0"))
    assert means(run("mine", "exam")) != before
    register("model", mine())
    assert means(run("mine", "exam")) == before
    (row,) = rows(read_results(Path("results"))[0], "none")
    assert len(row.superseded) == 1, "the other code's result is named as older"


def test_a_trained_model_is_evaluated_and_trained_again_when_its_code_was_edited(sets, register):
    register("model", mine(True, latitude="self.latitude"))
    first = train("mine", "lessons")
    before = means(run(first.spec, "exam"))
    register("model", mine(True, latitude="-self.latitude"))
    assert means(run(first.spec, "exam")) != before, "the same weights, another way to use them"
    (told,) = [line for line in report("markdown").splitlines() if "was edited" in line]
    assert told.startswith(f"- The code of the model was edited between training and evaluation: {first.spec}")
    register("model", mine(True, summary="max", latitude="self.latitude"))
    other = train("mine", "lessons")
    assert other.id != first.id and other.weights != first.weights
    assert train("mine", "lessons") == other


# -- galleries


def test_a_gallery_of_the_true_positions_is_not_the_smallest_that_is_good_enough(sets, tmp_path):
    lines = [",".join(line.split(",")[1:]) for line in (tmp_path / "exam" / "metadata.csv").read_text().splitlines()]
    Path("oracle.csv").write_text("\n".join(lines) + "\n")
    spec = train("random", "lessons").spec
    found = frontier([spec], ["exam"], ["5", "oracle.csv", "15"])
    by_gallery = {point.gallery: point for point in found.points}
    assert by_gallery["oracle.csv"].oracle and not by_gallery["training:5"].oracle
    assert by_gallery["oracle.csv"].scores["acc_2500km"] > 0
    assert all(point.gallery != "oracle.csv" for _, _, best in found.smallest() for point in best.values())


def test_the_first_prediction_of_the_random_model_is_one_however_many_are_kept(sets):
    spec = train("random", "lessons").spec
    first, *others = (evaluate(spec, "exam", "training:15", Options(top_k=k)).predictions for k in (1, 2, 15))
    for other in others:
        assert other.coordinates[:, 0].tolist() == first.coordinates[:, 0].tolist()


# -- metrics of a plugin

METRICS = """
import numpy as np
from geobench import Metric, hookimpl


def off(images):
    return np.abs(images.predictions.coordinates[:, 0, 0] - images.truth[:, 0])


def off_or_worst(images):
    return np.where(images.predictions.failed, 180.0, off(images))


def off_in_the_north(images):
    return np.where(images.truth[:, 0] > 0, off_or_worst(images), np.nan)


@hookimpl
def register_metrics(register):
    for name, values in (("off", off), ("worst", off_or_worst), ("north", off_in_the_north)):
        register(Metric(name, name, values, higher_is_better=False, needs="predictions", listed=False))
"""


def test_a_metric_that_leaves_out_failed_images_is_refused(make_result, metrics_plugin):
    metrics_plugin(METRICS)
    images = make_result((1.0, 3.0, None, None)).scored  # truly at latitude 0
    with pytest.raises(PluginError, match="the metric off is NaN for 2 images because they failed, which would leave"):
        get_metric("off").score(images)
    assert get_metric("worst").score(images) == (1 + 3 + 180 + 180) / 4
    assert np.isnan(get_metric("north").score(images)), "it applies to no image, failed or not"
    assert get_metric("off").score(make_result((1.0, 3.0)).scored) == 2
