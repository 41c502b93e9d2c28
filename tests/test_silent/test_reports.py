"""What a user did, and what the table must say: rows, seeds, versions of test sets and galleries, reasons to doubt."""

import json
from dataclasses import dataclass, replace
from importlib import util
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from geobench import ExperimentError, Model, Options, Predictions, run, train
from geobench.checkpoints import find_checkpoint
from geobench.experiments.definitions import read_experiment
from geobench.experiments.planning import Changes, make_plan
from geobench.plugins import get_encoder, registry
from geobench.report.doubts import doubts
from geobench.report.figures import frontiers
from geobench.report.formats import report
from geobench.report.rows import rows
from geobench.results import load_result, read_results
from geobench.statistics.compare import compare
from geobench_plugins.geoclip import official
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

pytestmark = pytest.mark.usefixtures("one_thread")
MODULES = {"pillow": "PIL", "open_clip_torch": "open_clip", "timm": "timm", "geoclip": "geoclip"}
ONE_PROCESS = Options(workers=0)


class Desk:
    """Two sets of photos, ``exam`` to test on and ``lessons`` to train on, and what a user does with them."""

    def __init__(self, cli, photos, folder):
        self.cli, self.photos, self.folder = cli, photos, folder
        self.tables = {}
        self.add("exam", 60, 1)
        self.add("lessons", 80, 2)

    def add(self, name, n, seed):
        images, self.tables[name] = self.photos(n, self.folder / name, seed=seed)
        self.cli("datasets", "add", name, "--images", images, "--metadata", self.tables[name], "--encoder", "tiny")

    def train(self, model="knn", **how):
        return train(model, "lessons", workers=0, **how)

    def run(self, model, *more):
        """Evaluate on ``exam``; return what the command prints."""
        done = self.cli("run", "--models", model, "--datasets", "exam", "--workers", 0, *more)
        return done.stdout, done.stderr

    def edit(self, change, name="exam"):
        """Rewrite a table with ``change``, which takes number and line; return a function that undoes it."""
        path = self.tables[name]
        before = path.read_text()
        head, *lines = before.splitlines()
        path.write_text("\n".join([head, *(change(number, line) for number, line in enumerate(lines))]) + "\n")
        return lambda: path.write_text(before)

    def photographers(self, each):
        """Give the exam a column: ``each`` photos by one photographer."""
        head, *lines = [",".join(line.split(",")[:3]) for line in self.tables["exam"].read_text().splitlines()]
        lines = [f"{line},p{number // each}" for number, line in enumerate(lines)]
        self.tables["exam"].write_text("\n".join([f"{head},photographer", *lines]) + "\n")

    def experiment(self, text, *arguments, exit_code=0):
        path = self.folder / "mine.toml"
        path.write_text(text)
        return self.cli("experiment", "run", path, *arguments, exit_code=exit_code)


@pytest.fixture
def desk(cli, photos, tmp_path):
    return Desk(cli, photos, tmp_path)


def all_results():
    found, damaged = read_results(Path("results"))
    assert not damaged
    return found


def shown(**how):
    """Return the rows of the report that were measured."""
    return [row for row in rows(all_results(), "none", **how) if row.results]


def kinds(found=None):
    return {doubt.kind for doubt in doubts(found if found is not None else shown())}


def texts(found=None):
    return " ".join(doubt.text for doubt in doubts(found if found is not None else shown()))


def moved(number, line):
    """Place the first half of the photos at 0, 0."""
    return f"{line.split(',')[0]},0,0" if number < 30 else line


def gallery_file(seed, n=40):
    rng = np.random.default_rng(seed)
    lines = [f"{a:.4f},{b:.4f}" for a, b in zip(rng.uniform(-60, 60, n), rng.uniform(-180, 180, n), strict=True)]
    Path("places.csv").write_text("\n".join(["latitude,longitude", *lines]) + "\n")


# What is joined as seeds


def test_one_crop_ten_crops_and_random_views_under_three_seeds_are_three_rows_that_say_so(desk):
    for seed, how in enumerate(({"crops": 1}, {"crops": 10}, {"views": 2})):
        run(desk.train(seed=seed, **how).spec, "exam", options=ONE_PROCESS)
    assert sorted(row.model.partition(" ")[2] for row in shown()) == [
        "(training crops=1, views=2 simclr)",
        "(training crops=1, views=none)",
        "(training crops=10, views=none)",
    ]
    assert all(not row.spread for row in shown()) and "±" not in report("markdown")


def test_seeds_of_one_training_on_random_views_are_one_row(desk):
    for seed in range(3):
        run(desk.train(seed=seed, views=2).spec, "exam", options=ONE_PROCESS)
    (row,) = shown()
    assert row.model == "knn@lessons"
    assert all(result.training == all_results()[0].training for result in all_results())
    assert row.spread["mean_km"] == pytest.approx(np.std([r.scores["mean_km"] for r in all_results()], ddof=1))


def test_seeds_trained_on_one_set_under_two_names_are_one_row_with_both(desk):
    images = desk.folder / "lessons" / "images"
    desk.cli("datasets", "add", "again", "--images", images, "--metadata", desk.tables["lessons"], "--encoder", "tiny")
    for seed, data in enumerate(("lessons", "again", "lessons")):
        run(train("random", data, seed=seed).spec, "exam", galleries=["training:30"])
    (row,) = shown()
    assert (row.model, len(row.results)) == ("random@again/lessons", 3)
    run(train("random", "again", seed=0).spec, "exam", galleries=["training:30"])  # that seed is there already
    assert [(row.model, len(row.results)) for row in shown()] == [("random@again", 2), ("random@lessons", 2)]


def test_photos_replaced_between_two_seeds_are_two_rows(desk):
    run(desk.train(seed=0).spec, "exam", options=ONE_PROCESS)
    images = desk.folder / "lessons" / "images"
    for number in range(40):
        (images / f"photo-{number}.jpg").write_bytes((images / f"photo-{number + 40}.jpg").read_bytes())
    run(desk.train(seed=1).spec, "exam", options=ONE_PROCESS)
    first, second = shown()
    assert "training files=" in first.model and "training files=" in second.model and first.model != second.model


def test_other_weights_of_the_encoder_between_two_seeds_are_two_rows(desk, tiny_encoder, monkeypatch):
    run(desk.train(seed=0).spec, "exam", options=ONE_PROCESS)
    monkeypatch.setattr(tiny_encoder, "weights_key", lambda: "tiny-2")
    run(desk.train(seed=1).spec, "exam", options=ONE_PROCESS)
    assert sorted(row.model.partition(" ")[2] for row in shown()) == [
        "(encoder weights=tiny-1)", "(encoder weights=tiny-2)"
    ]  # fmt: skip
    assert "tiny: the weights differ among rows (tiny-" in texts()


@pytest.mark.parametrize("name", ["columns_hash", "images_key", "preprocessing", "precision", "table_hash"])
def test_results_are_one_row_only_if_all_that_they_depend_on_is_equal(make_result, name):
    for seed, value in enumerate(("a" * 16, "b" * 16)):
        changes = {name: value, "training_seed": seed, "training": {"crops": 1}, "checkpoint": f"mine-s{seed}"}
        make_result([float(seed), 2.0], weights=f"{seed}" * 16, **changes).save()
    assert len(shown()) == 2
    for result in all_results():
        replace(result, **{name: "a" * 16}).save(Path("alike"))
    assert len([row for row in rows(read_results(Path("alike"))[0], "none") if row.spread]) == 1


def test_a_gallery_with_other_points_for_the_same_seed_is_not_joined(make_result):
    for seed, content in ((0, "a"), (1, "b")):
        for training in (0, 1):
            changes = {"seed": seed, "training_seed": training, "checkpoint": f"mine-s{training}"}
            hash_ = (content if training == 0 or seed else "c") * 16
            latitudes = [float(seed), 3.0 + training]
            make_result(latitudes, gallery="land:9", training={"crops": 1}, gallery_hash=hash_, **changes).save()
    # seed 0 stands for the points a and c, seed 1 for the points b alone
    assert sorted(len(row.results) for row in shown()) == [1, 1, 2]
    assert sorted(row.model.partition(" ")[2] for row in shown()) == ["", "(gallery=aaaa)", "(gallery=cccc)"]


def test_old_records_that_are_joined_say_what_is_not_known_of_them(make_result):
    for seed in (0, 1):
        changes = {"training_seed": seed, "checkpoint": f"mine-s{seed}", "table_hash": "", "encoder_weights": ""}
        make_result([float(seed), 2.0], key=f"{seed}" * 16, **changes).save()
    (row,) = shown()
    assert row.spread and "whether the results of knn@mine differ by seed only cannot be known" in texts()


def test_an_old_record_gives_way_to_a_newer_one_and_is_not_joined_with_it(make_result):
    old = {"key": "1" * 16, "table_hash": "", "images_key": "", "encoder_weights": "", "training_seed": 0}
    version = make_result([1.0, 2.0], **old).test_hash  # follows from the predictions
    make_result([1.0, 2.0], **old).save()
    later = {"training": {"crops": 1}, "created": "2025-01-01T00:00:00+00:00", "table_hash": version}
    make_result([3.0, 2.0], training_seed=0, **later).save()
    (row,) = shown()
    assert row.results[0].training and row.superseded == ("mine_knn_training-3_s0_11111111.json",)
    make_result([4.0, 2.0], **(old | {"key": "2" * 16, "training_seed": 1, "checkpoint": "mine-s1"})).save()
    assert sorted(row.model for row in shown()) == [
        "knn@mine-s0-0a0b0c0d",
        "knn@mine-s1 (record of form 1)",
    ]


def test_two_prompts_of_a_model_without_training_are_two_rows(make_result):
    for latitude in (1.0, 2.0):
        changes = {"config": {"latitude": latitude}, "checkpoint": "", "trained_on": "", "training_images": 0}
        make_result([latitude, 3.0], created=f"2024-01-0{latitude:.0f}", **changes).save()
    assert [row.model for row in shown()] == ["knn (latitude=1.0)", "knn (latitude=2.0)"]


# Experiments

VIEWS = """
title = "Views"
model = "knn"
data = "lessons"
datasets = ["exam"]
encoder = "tiny"
seeds = [0, 1, 2]
[[rows]]
title = "views {views}"
published = ""
vary = { views = [1, 2] }
"""


def test_a_row_of_an_experiment_is_the_mean_of_its_own_evaluations(desk):
    stdout = desk.experiment(VIEWS).stdout
    assert stdout.count("ours, 3 seeds") == 2
    (path,) = Path("results/experiments").glob("*.json")
    record = json.loads(path.read_text())
    for line in record["lines"]:
        own = [cell["result"] for cell in record["cells"] if cell["title"] == line["title"]]
        measured = [load_result(Path("results") / name).scores["mean_km"] for name in own]
        assert len(set(measured)) == 3
        specs = [cell["spec"] for cell in record["cells"] if cell["result"] in own]
        views = {find_checkpoint(spec).augmentation["views"] for spec in specs}
        assert views == {int(line["title"].split()[1])}
        assert line["mean_km"] == pytest.approx(np.mean(measured))
        assert line["mean_km_sd"] == pytest.approx(np.std(measured, ddof=1))


def test_rows_that_vary_views_and_seed_do_not_print_each_others_mean(desk):
    text = VIEWS.replace("seeds = [0, 1, 2]\n", "").replace("vary = { views = [1, 2] }", "views = 1\nseeds = [0]")
    text += '[[rows]]\ntitle = "views {views}"\npublished = ""\nviews = 2\nseeds = [1]\n'
    desk.experiment(text)
    (path,) = Path("results/experiments").glob("*.json")
    lines = json.loads(path.read_text())["lines"]
    own = {result.training_seed: result.scores["mean_km"] for result in all_results()}
    assert [line["mean_km"] for line in lines] == [own[0], own[1]]


@dataclass(frozen=True)
class Latitude:
    """A setting that no training fixes."""

    latitude: float = 0.0


class Prompted(Model):
    """Learns nothing, predicts a latitude."""

    name, input, uses_gallery, trainable, Config = "prompted", "none", False, False, Latitude

    def locate(self, features, gallery=None, top_k=1):
        places = np.tile([self.config.latitude, 0.0], (len(features), top_k, 1))
        return Predictions.of(places, np.ones((len(features), top_k)))


HEAD = 'title = "t"\nmodel = "{model}"\ndata = "lessons"\ndatasets = ["exam"]\n'
ROW = '[[rows]]\ntitle = "a row"\npublished = ""\n'


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("vary = { k = [1, 5] }", "k"),
        ("settings = { k = 1 }", "k"),
        ("vary = { views = [1, 2] }", "views"),
        ("seeds = [0, 1]", "seeds"),
        ("limit = 20", "limit"),
        ('encoder = "tiny"', "encoder"),
        ("on.lessons = { fraction = 0.5 }", "fraction"),
        ('vary = { gallery = ["land:5", "land:6"] }', "gallery"),
    ],
)
def test_a_choice_that_changes_nothing_about_a_checkpoint_is_refused(desk, row, name):
    spec = desk.train().spec
    output = desk.experiment(HEAD.format(model=spec) + ROW + row, exit_code=2).output
    reason = "knn@lessons" if name != "gallery" else f"{spec} uses no gallery"
    assert f"{name} has no effect, since {reason}" in output and len(output.strip().splitlines()) == 1


def test_choices_for_an_experiment_without_a_training_are_refused(desk):
    spec = desk.train().spec
    assert (
        "the experiment: seeds has no effect"
        in desk.experiment(HEAD.format(model=spec) + "seeds = [0, 1]\n" + ROW, exit_code=2).output
    )
    for option in (("--seeds", "0,1"), ("--set", "k=3"), ("--limit", 5)):
        output = desk.experiment(HEAD.format(model=spec) + ROW, *option, exit_code=2).output
        assert "this run: " in output and "has no effect, since knn@lessons" in output
    desk.experiment(HEAD.format(model="knn") + "seeds = [0]\n" + ROW + f'[[rows]]\ntitle = "b"\nmodel = "{spec}"\n')


def test_rows_of_a_model_without_training_have_the_settings_that_they_vary(desk, register):
    register("model", Prompted)
    desk.experiment(HEAD.format(model="prompted") + ROW + "vary = { latitude = [0.0, 60.0] }")
    (path,) = Path("results/experiments").glob("*.json")
    first, second = json.loads(path.read_text())["lines"]
    assert first["mean_km"] != second["mean_km"]
    with pytest.raises(ExperimentError, match="views has no effect, since prompted uses no features"):
        (desk.folder / "views.toml").write_text(HEAD.format(model="prompted") + ROW + "views = 2")
        make_plan(read_experiment(desk.folder / "views.toml"), Changes())


# Test sets and galleries that changed


def test_after_an_edit_of_the_table_and_its_undoing_each_version_has_its_row_and_the_kept_result_is_shown(desk):
    desk.train()
    desk.run("knn")
    undo = desk.edit(moved)
    changed, _ = desk.run("knn")
    assert "has changed since knn@lessons" in changed and "30 of 60 true positions differ" in changed
    undo()
    stdout, stderr = desk.run("knn")
    assert "kept the result" in stderr
    good, bad = sorted(shown(), key=lambda row: row.results[0].created)
    assert {row.model.partition(" ")[2][:7] for row in (good, bad)} == {"(table="}
    assert bad.changes == ("30 of 60 true positions differ",) and not good.changes
    for row in (good, bad):
        assert not row.spread and not row.superseded and row.model in stdout
    assert f"has changed since {bad.model} was measured: 30 of 60 true positions differ." in stdout
    assert (
        "different versions of the test set (names, true positions or their order differ; they are not compared)"
        in stdout
    )


def test_versions_of_a_test_set_are_never_ranked_together(desk):
    for seed in (0, 1):
        desk.train(seed=seed, views=1)
    specs = [f"knn@{path.parent.name}" for path in (desk.folder / "home/checkpoints/knn").glob("*/checkpoint.json")]
    desk.run(specs[0])
    desk.edit(moved)
    desk.run(specs[1])
    assert not any(row.best or row.spread for row in shown())  # two seeds, two versions: neither one row nor rivals


def test_after_an_edit_of_a_gallery_the_older_result_is_named_and_no_rival(desk):
    desk.train("random")
    for content in (0, 1):
        gallery_file(content)
        stdout, _ = desk.run("random", "--galleries", "places.csv", "--seeds", content)
    older, newer = sorted(shown(), key=lambda row: row.results[0].created)
    assert (older.outdated, newer.outdated) == (True, False)
    assert not older.spread and not older.best and not newer.best
    assert "places.csv (outdated)" in stdout and "(gallery=" in older.model and older.model != newer.model
    assert f"places.csv had other coordinates when {older.model} was measured" in stdout
    gallery_file(0)  # undone: the older one is in use again
    stdout, stderr = desk.run("random", "--galleries", "places.csv")
    assert "kept the result" in stderr and f"when {newer.model} was measured" in stdout


def test_corrected_photographers_reach_the_intervals_and_the_report_says_which_result_has_others(desk):
    desk.train()
    desk.photographers(1)
    desk.run("knn")
    (row,) = shown()
    assert row.clusters[1] == 60
    desk.photographers(6)
    (row,) = shown()
    assert row.changes == ("the column photographer",)
    assert "exam on this machine has changed since knn@lessons" in report("table")
    desk.run("knn")
    (row,) = shown()
    assert row.clusters == ("photographer", 10) and not row.changes and len(row.superseded) == 1
    newest = Path("results") / all_results()[-1].path.name
    groups = desk.cli("breakdown", newest, "--by", "photographer", "--smallest", 1).stdout
    assert all(f"\np{number} " in groups for number in range(10)) and "\np10 " not in groups
    desk.photographers(1)  # undone: the older result is kept, shown after the run, and in the report
    stdout, stderr = desk.run("knn")
    assert "kept the result" in stderr and "clustered" not in stdout
    (row,) = shown()
    assert row.clusters[1] == 60 and not row.changes


def test_what_a_run_kept_counts_in_its_table_even_if_there_is_a_newer_result(make_result):
    kept = make_result([0.0, 3.0], device="cpu", created="2024-01-01")
    newer = make_result([1.0, 3.0], created="2024-01-02", preprocessing="other")
    for result in (kept, newer):
        result.save()
    assert rows(all_results())[0].scores["acc_1km"] == 0.0
    assert rows(all_results(), shown={kept.key})[0].scores["acc_1km"] == 50.0
    assert f"shown is {newer.stem}" in report("table") and f"shown is {kept.stem}" in report("table", shown={kept.key})


def test_what_was_kept_is_what_run_prints_even_if_a_newer_result_has_the_same_name(desk, tiny_encoder, monkeypatch):
    desk.train()
    desk.run("knn")
    with monkeypatch.context() as other:
        other.setattr(tiny_encoder, "describe", lambda: "upside down")
        desk.run("knn")
    stdout, stderr = desk.run("knn")
    kept, newer = all_results()
    assert f"kept the result {kept.path.name}" in stderr
    assert f"shown is {kept.path.name}, not {newer.path.name}" in stdout


def test_a_name_that_fits_results_on_two_versions_of_a_set_asks_for_one(desk):
    desk.train()
    desk.run("knn")
    desk.edit(moved)
    desk.run("knn")
    message = desk.cli("compare", "knn", "random", exit_code=1).output
    assert "knn matches 2 results" in message and message.count("images, table ") == 2
    names = [result.key[:8] for result in all_results()]
    assert "different true places for 30 of 60 images" in desk.cli("compare", *names, exit_code=1).output


def test_a_comparison_uses_the_photographers_of_the_newer_result(desk):
    desk.train()
    desk.photographers(1)
    desk.run("knn")
    desk.photographers(6)
    desk.run("knn")
    older, newer = all_results()
    for pair in ((older, newer), (newer, older)):
        assert len(compare(*pair).clusters.sizes) == 10


def test_a_saved_table_of_an_experiment_and_a_replay_say_that_the_test_set_has_changed(desk):
    """``experiment report`` showed the notes of the day of the run, ``replay`` none."""
    desk.experiment(VIEWS)
    assert "has changed" not in desk.cli("experiment", "report", "mine").output
    desk.edit(moved)
    shown = desk.cli("experiment", "report", "mine", "--format", "markdown")
    said = "exam on this machine has changed since this table was made: 30 of 60 true positions differ"
    assert said in shown.stdout and said in shown.stderr
    path = all_results()[0].path
    assert "exam on this machine has changed since" in desk.cli("replay", path).stderr


def test_thresholds_that_agree_in_six_digits_are_columns_of_their_own(make_result):
    make_result([0.0, 0.0027]).save()  # 0.3002267 km
    row = json.loads(report("json", thresholds_km=[0.3002266, 0.3002268]))[0]
    assert (row["acc_0.3002266km"], row["acc_0.3002268km"]) == (50.0, 100.0)


# Seeds that draw nothing


def test_seeds_of_galleries_that_are_not_drawn_make_no_rows_and_no_spread(desk):
    for model in ("random", "knn"):
        desk.train(model)
    gallery_file(0)
    _, stderr = desk.run("random,knn", "--galleries", "80,places.csv,20", "--seeds", "0,1,2")
    assert stderr.count("evaluated once") == 4  # the whole training set and the file, seeds 1 and 2
    assert sorted((r.model, r.gallery, r.seed) for r in all_results()) == [
        ("knn", "", 0),
        ("random", "places.csv", 0),
        *(("random", "training:20", seed) for seed in (0, 1, 2)),
        ("random", "training:80", 0),
    ]
    assert [bool(row.spread) for row in shown()] == [False, True, False, False]


def test_the_ceiling_of_a_gallery_that_is_not_drawn_is_one_row(desk):
    gallery_file(0)
    arguments = ("--training", "lessons", "--galleries", "80,20,places.csv", "--seeds", "0,1", "--json")
    found = json.loads(desk.cli("ceiling", "--datasets", "exam", *arguments).stdout)
    assert [(row["gallery"], row["seed"]) for row in found] == [
        ("training:80", 0), ("training:20", 0), ("training:20", 1), ("places.csv", 0)
    ]  # fmt: skip


def test_old_results_with_several_seeds_of_one_gallery_are_one_row(make_result):
    for seed in (0, 1, 2):
        make_result([1.0, 2.0], key=f"{seed}" * 16, seed=seed, training_seed=0).save()
    (row,) = shown()
    assert not row.spread and len(row.repeats) == 2
    assert "Other seeds drew nothing new for knn@mine-s0-0a0b0c0d" in texts()


def test_trainings_whose_seed_changes_nothing_are_one_row_and_one_line_of_an_experiment(desk):
    for seed in (0, 1, 2):
        run(desk.train(seed=seed).spec, "exam", options=ONE_PROCESS)
    (row,) = shown()
    assert row.model.startswith("knn@lessons-s") and not row.spread and len(row.repeats) == 2
    stdout = desk.experiment(VIEWS.replace("vary = { views = [1, 2] }", "").replace("{views}", "")).stdout
    assert "±" not in stdout and "of 3 seeds" not in stdout and "Other seeds drew nothing new for views" in stdout


def test_random_varies_with_the_seed_of_its_training_and_of_the_draw(desk):
    gallery_file(0)
    for seed in (0, 1):
        desk.run(desk.train("random", seed=seed).spec, "--galleries", "places.csv")
    (row,) = shown()
    assert row.model == "random@lessons" and row.spread["mean_km"] > 0
    old = find_checkpoint(all_results()[0].spec)
    np.testing.assert_array_equal(old.restored().seed, old.seed)


# Reasons to doubt a table


def test_a_model_tested_on_its_training_images_is_marked_and_not_the_best(make_result):
    latitudes = [0.0] * 90 + [80.0] * 10
    make_result(latitudes, model="cheat", checkpoint="mine-s0-c", in_training=60).save()
    for model, right in (("good", 50), ("bad", 20)):
        make_result([0.0] * right + [80.0] * (100 - right), model=model, checkpoint=f"mine-s0-{model}").save()
    by_model = {row.results[0].model: row for row in shown()}
    assert not by_model["cheat"].best and "acc_1km" in by_model["good"].best
    for format in ("table", "markdown", "latex", "html"):
        text = report(format)
        assert "cheat@mine-s0-c (from 60 of 100)" in text and ("¶" in text or "mathparagraph" in text)
    record = {row["model"]: row for row in json.loads(report("json"))}
    assert record["cheat"]["in_training"] == 60 and "trained on test images" in record["cheat"]["doubts"]
    assert "Trained on images" in report("csv")


def test_the_curve_of_a_gallerys_size_leaves_out_galleries_that_hold_the_true_positions(make_result):
    for size in (3, 5, 9):
        make_result(gallery=f"training:{size}", gallery_size=size, in_gallery=4 if size == 9 else 0).save()
    assert [row.results[0].gallery_size for row in shown() if row.oracle] == [9]
    ((_, points),) = frontiers(shown())
    assert [row.results[0].gallery_size for row in points] == [3, 5]


@pytest.mark.parametrize(("remembered", "compared"), [(9, False), (2, False), (1, True)])
def test_one_percent_of_training_images_among_the_test_images_is_enough_to_leave_the_comparison(
    make_result, remembered, compared
):
    for model, right in (("cheat", 150), ("good", 120)):
        latitudes = [0.0] * right + [80.0] * (200 - right)
        make_result(latitudes, model=model, in_training=remembered if model == "cheat" else 0).save()
    by_model = {row.results[0].model: row for row in shown()}
    assert ("acc_1km" in by_model["cheat"].best, "acc_1km" in by_model["good"].best) == (compared, False)
    assert f"(from {remembered} of 200); from 1 % on not part of the comparison" in report("table")


def test_a_pair_of_photo_sets_without_an_audit_is_named_with_the_command(desk):
    desk.train()
    stdout, _ = desk.run("knn")
    command = "geobench datasets audit exam --against lessons"
    assert "Not audited for photos of exam that are also in lessons: knn@lessons-s0-" in stdout and command in stdout
    desk.cli("datasets", "audit", "exam", "--against", "lessons", "--kinds", "id")
    assert "Not audited" not in report("table")


def test_an_audit_of_other_photos_than_those_trained_on_is_no_audit(desk):
    desk.run(desk.train(limit=40).spec)
    desk.cli("datasets", "audit", "exam", "--against", "lessons", "--kinds", "id")
    assert "not audited" not in kinds()  # a part of what was audited
    desk.edit(moved, "lessons")
    desk.run(desk.train().spec)
    (doubt,) = [doubt for doubt in doubts(shown()) if doubt.kind == "not audited"]
    assert doubt.text.startswith(
        "The audit is of other images or positions for photos of exam that are also in lessons"
    )
    assert [row.results[0].training_images for row in doubt.rows] == [80]


def test_an_audit_of_the_set_as_it_is_now_is_not_one_of_the_part_that_was_trained_on_before(desk):
    desk.run(desk.train(limit=40).spec)
    desk.edit(moved, "lessons")
    desk.cli("datasets", "audit", "exam", "--against", "lessons", "--kinds", "id")
    (doubt,) = [doubt for doubt in doubts(shown()) if doubt.kind == "not audited"]
    assert doubt.text.startswith("The audit is of other images or positions for photos of exam that are also in")


def test_a_model_of_a_smoke_test_stands_for_no_model_and_is_said_to_be_trained_on_a_part(desk):
    """The row of 20 of 400 images looked like any other, and ``run --models knn`` took it after a full training."""
    whole = desk.train().spec
    part, half = desk.train(limit=20).spec, desk.train("random", fraction=0.5).spec
    stdout, stderr = desk.run("knn,random", "--galleries", "land:50")
    assert f"knn is {whole}, trained on 80 images of lessons on " in stderr and part not in stdout + stderr
    assert f"random has no full training: training it first, on lessons, like {whole}; to use another" in stderr
    assert f"name it: {half} (on 40 of 80 images of lessons)." in stderr
    stdout, _ = desk.run(f"{part},{half}", "--galleries", "land:50", "--allow-mixed")
    assert (
        f"Trained on a part of the training set: {part} (training images=20) on 20 of 80 images of lessons;" in stdout
    )
    (doubt,) = [doubt for doubt in doubts(shown()) if doubt.kind == "part of the training set"]
    assert whole not in doubt.text and "changed training set" not in kinds()


def test_a_training_set_that_changed_since_a_model_was_trained_is_said(desk):
    """A model of latitudes with the wrong sign was the newest, and its median of 10,714 km had no line."""
    undo = desk.edit(moved, "lessons")
    wrong = [desk.train(**how).spec for how in ({}, {"limit": 20}, {"limit": 40, "fraction": 0.5})]
    undo()
    right = [desk.train(**how).spec for how in ({}, {"limit": 20}, {"limit": 40, "fraction": 0.5})]
    for spec in (*wrong, *right):
        desk.run(spec)
    (doubt,) = [doubt for doubt in doubts(shown()) if doubt.kind == "changed training set"]
    assert {row.results[0].spec for row in doubt.rows} == set(wrong)
    assert doubt.text.startswith("lessons on this machine has changed since ") and "train it again" in doubt.text


def test_crops_of_a_map_need_no_audit(cli):
    train("knn", "bluemarble", encoder="tiny", limit=50, workers=0)
    stdout = cli("run", "--models", "knn", "--datasets", "bluemarble", "--limit", 20, "--workers", 0).stdout
    assert "Not audited" not in stdout and "n differs from the 2,000 images" in stdout


def test_the_rows_of_a_partial_set_are_named(desk):
    desk.train()
    desk.run("knn")
    stdout, _ = desk.run("knn", "--limit", 40)
    assert "n differs from the 60 images" in stdout
    (doubt,) = [doubt for doubt in doubts(shown()) if doubt.kind == "partial set"]
    assert [row.results[0].n for row in doubt.rows] == [40]
    assert "changed test set" not in kinds()  # a part of a set is not another version of it


def test_few_clusters_are_said(desk):
    desk.train()
    desk.photographers(20)
    stdout, _ = desk.run("knn")
    assert "rest on 3 clusters by photographer: rough estimates." in stdout


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("precision", ("float16", "float32"), "tiny: the precision differs among rows (float16: a@mine-s0-a"),
        ("preprocessing", ("squash", "crop"), "tiny: the preprocessing differs among rows (squash: a@mine-s0-a"),
        ("encoder_weights", ("1", "2"), "tiny: the weights differ among rows (1: a@mine-s0-a"),
        ("encoder_code", ("1", "2"), "tiny: the code differs among rows (1: a@mine-s0-a"),
        (
            "encoded_with",
            ({"pillow": "10.0", "torch": "2.4"}, {"pillow": "13.0", "torch": "2.4"}),
            "tiny: libraries differ among rows (pillow 10.0: a@mine-s0-a",
        ),
        ("versions", ({"geobench": "0.0.1"}, {}), "Recorded by geobench 0.0.1, and this is 0.1.0: a@mine-s0-a"),
    ],
)
def test_rows_measured_differently_are_named(make_result, name, values, said):
    for model, value in zip("ab", values, strict=True):
        make_result([1.0, 2.0], model=model, checkpoint=f"mine-s0-{model}", **{name: value}).save()
    assert said in report("table")
    for row in json.loads(report("json")):
        assert any(said in text for text in row["doubts"].values()) == (row["model"] == "a" or name != "versions")


def test_a_scored_file_beside_measured_results_renames_no_row(desk):
    """Each row got a suffix, "plain (files=70e4, columns=bbd8)", as if there were two versions of the test set."""
    desk.photographers(2)
    spec = desk.train().spec
    desk.run(spec)
    lines = [line.split(",")[:3] for line in desk.tables["exam"].read_text().splitlines()[1:]]
    Path("theirs.csv").write_text("\n".join(["image,latitude,longitude", *(f"{name},1.5,2.5" for name, *_ in lines)]))
    desk.cli("score", "theirs.csv", "--dataset", "exam", "--results", "results")
    assert [row.model for row in shown()] == [spec, "theirs"]
    other = desk.train(seed=1, settings={"k": 3}).spec
    desk.photographers(3)
    desk.run(other)  # two versions of the columns, beside what states none
    assert [("columns=" in row.model, "=," in row.model) for row in shown()] == [(True, False)] * 2 + [(False, False)]


def test_a_table_without_reasons_to_doubt_it_has_none(make_result):
    make_result([0.0, 1.0] * 5).save()
    assert not doubts(shown()) and json.loads(report("json"))[0]["doubts"] == {}


# Weights of the encoder


@pytest.fixture
def released(tmp_path, tiny_encoder, monkeypatch):
    """``geoclip@FOLDER`` with weights of the released shape, on an encoder with the real one's key of its weights."""
    folder = tmp_path / "released"
    folder.mkdir()
    torch.manual_seed(0)
    weights = GeoClip(GeoClipConfig(), 768).state_dict()
    for part, name in official.PTH.items():
        content = {key.removeprefix(f"{part}."): t for key, t in weights.items() if key.startswith(f"{part}.")}
        torch.save(content or weights[part], folder / name)
    encoder = get_encoder(official.ENCODER)
    tiny_encoder.name, tiny_encoder.dim, tiny_encoder.weights_key = official.ENCODER, 768, encoder.weights_key
    monkeypatch.setattr(tiny_encoder, "encode_images", lambda batch: batch.flatten(1).repeat(1, 16))
    monkeypatch.setitem(registry().encoders, official.ENCODER, lambda name: tiny_encoder)
    return f"geoclip@{folder}"


def test_other_weights_in_the_place_of_released_ones_are_refused_and_the_result_is_kept(desk, released, own_home):
    stdout, _ = desk.run(released, "--galleries", "land:40", "--device", "cpu")
    assert "not known to be those released" not in stdout and all_results()[0].encoder_weights == "openai"
    place = own_home / "weights/ViT-L-14/openai.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a random network")
    (failure,) = run(released, "exam", galleries=["land:40"], device="cpu", options=ONE_PROCESS).failures
    assert "trained on features of ViT-L-14/openai with other weights (openai" in str(failure)
    assert len(all_results()) == 1
    place.unlink()
    assert "kept the result" in desk.run(released, "--galleries", "land:40", "--device", "cpu")[1]


def test_what_an_encoder_says_of_its_weights_is_under_the_table_and_such_results_are_rows_of_their_own(make_result):
    for weights, caveat in (("openai", ""), ("0123456789abcdef", "the weights of X are not known to hold them.")):
        make_result([1.0, 2.0], encoder_weights=weights, encoder_caveat=caveat).save()
    assert sorted(row.model.partition(" ")[2] for row in shown()) == [
        "(encoder weights=0123)",
        "(encoder weights=openai)",
    ]
    told = "The weights of X are not known to hold them: knn@mine-s0-0a0b0c0d (encoder weights=0123)."
    for format in ("table", "markdown", "html", "json", "csv"):
        assert told in report(format)


def test_a_record_states_the_versions_of_what_decodes_encodes_and_brings_weights(desk):
    desk.train()
    desk.run("knn")
    (result,) = all_results()
    names = {name for name in ("pillow", "open_clip_torch", "timm", "geoclip") if util.find_spec(MODULES[name])}
    assert {name: version(name) for name in names}.items() <= result.versions.items() and "open_clip_torch" in names


def test_empty_places_and_awkward_names_of_columns_are_no_change(desk):
    desk.train()
    ends = ["status,scene", *(["a,", ",NA", "nan,None", "0.10,1e3"] * 15)]
    table = desk.tables["exam"]
    lines = [f"{line},{end}" for line, end in zip(table.read_text().splitlines(), ends, strict=True)]
    table.write_text("\n".join(lines) + "\n")
    stdout, _ = desk.run("knn")
    assert "has changed" not in stdout and not shown()[0].changes
    table.write_text("\n".join(lines[:-1]) + "\n")
    assert shown()[0].changes == ("1 of 60 images are not in it",)
