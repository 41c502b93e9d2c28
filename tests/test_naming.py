"""Which training a name stands for: never a toy, never silently one of several that differ."""

import json
from pathlib import Path

import pytest

from geobench import CheckpointError, SettingError, get_model, run, train
from geobench.checkpoints import find_checkpoint, get_checkpoints
from geobench.experiments import demo
from geobench.naming import LABEL
from geobench.progress import Progress
from geobench.results import read_results

FULL = {"data": "bluemarble", "encoder": "tiny", "workers": 0}
TOY = FULL | {"limit": 10}


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def mine(cli, photos, own_home):
    """Add nine photos as the data set ``mine``."""
    images, table = photos(9, own_home / "own" / "mine")
    cli("datasets", "add", "mine", "--images", images, "--metadata", table, "--encoder", "tiny")
    return "mine"


def test_a_training_on_a_part_stands_for_no_model():
    full = train("knn", **FULL)
    toy = train("knn", **TOY)
    part = train("knn", fraction=0.5, **FULL)
    assert find_checkpoint("knn") == find_checkpoint("knn@bluemarble") == full
    assert (toy.aside, part.aside, full.aside) == (*["on 10 of 20 images of bluemarble"] * 2, "")
    assert find_checkpoint(toy.spec) == toy


def test_a_limit_that_leaves_nothing_out_makes_no_toy():
    assert train("random", data="bluemarble", limit=500).aside == ""


def test_without_a_full_training_a_name_is_refused_and_the_toys_are_listed():
    toys = [train("random", data="bluemarble", limit=limit) for limit in (4, 5, 6, 7)]
    with pytest.raises(CheckpointError) as refused:
        get_model("random", "cpu")
    assert str(refused.value) == (
        "random alone stands for a full training, and there is none; make one (geobench train random), or name "
        f"another: {toys[3].spec} (on 7 of 20 images of bluemarble), {toys[2].spec} (on 6 of 20 images of bluemarble), "
        f"{toys[1].spec} (on 5 of 20 images of bluemarble) and 1 more (geobench models)"
    )
    with pytest.raises(CheckpointError, match="there is no full training of random on bluemarble; make one: geobench"):
        find_checkpoint("random@bluemarble")


def test_what_run_trains_by_itself_serves_that_run_alone_until_it_is_asked_for():
    train("knn", **FULL)
    said = Lines()
    first = run(["knn", "random"], "bluemarble", limit=5, progress=said)
    assert find_checkpoint("random") is None and get_checkpoints("random")[0].aside == "made for a run"
    again = run(["knn", "random"], "bluemarble", limit=5)
    assert [r.key for r in again.results] == [r.key for r in first.results], "it is found again"
    assert any("random has no checkpoint: training it first, on bluemarble, like knn@" in line for line in said.lines)
    asked = train("random", progress=(said := Lines()), **FULL)
    assert any("it was made for a run, and counts as asked for from now on" in line for line in said.lines)
    assert find_checkpoint("random") == asked and len(get_checkpoints("random")) == 1
    run(["knn", "random"], "bluemarble", limit=5)
    assert find_checkpoint("random") == asked, "once asked for, it stays so"


def test_training_again_by_force_keeps_names_and_purpose():
    made = train("random", name="floor", purpose="a run", **FULL)
    again = train("random", purpose="a run", force=True, **FULL)
    assert again.label == made.label and again.label.names == ("floor",)
    assert train("random", force=True, **FULL).aside == ""


def test_run_says_what_it_takes_and_what_else_could_be_meant(mine):
    old = train("knn", **FULL)
    other = train("knn", mine, workers=0)
    new = train("knn", settings={"k": 3}, seed=1, **FULL)
    said = Lines()
    run("knn", "bluemarble", limit=5, progress=said)
    (line,) = [line for line in said.lines if line.startswith(f"knn is {new.spec}, trained on 20 images of bluemarble")]
    assert f": the newest of 3 full trainings; not {other.spec} (mine, seed 0, k=50, sigma_km=" in line
    assert line.endswith(f", {old.spec} (seed 0, k=10).")


def test_models_trained_on_different_data_are_not_compared_unless_told(cli, mine):
    knn, floor = train("knn", mine, workers=0), train("random", **FULL)
    arguments = ("run", "--models", "knn,random", "--datasets", "bluemarble", "--limit", 5)
    refused = cli(*arguments, exit_code=2)
    assert (
        "these models were trained on different data, so a table would compare that too: "
        f"{knn.spec} on 9 images of mine; {floor.spec} on 20 images of bluemarble." in refused.stderr
    )
    assert "--trained-on mine" in refused.stderr and "--allow-mixed" in refused.stderr
    assert not Path("results").exists()
    assert "random@bluemarble" in cli(*arguments, "--allow-mixed").stdout
    assert cli(*arguments, "--trained-on", "mine").stdout.count("random@mine") == 1, "trained like knn"
    toy = train("knn", **TOY)
    with pytest.raises(SettingError, match="different data"):
        run([toy.spec, "random"], "bluemarble")  # another part of the same set


def test_models_with_different_encoders_are_not_compared_unless_told(tiny_encoder, monkeypatch):
    train("knn", **FULL)
    monkeypatch.setattr(type(tiny_encoder), "weights_key", lambda self: "tiny-2")
    train("geoclip", settings={"batch_size": 8, "queue_length": 16, "hidden_dim": 16, "epochs": 1}, **FULL)
    with pytest.raises(SettingError, match=r"different encoders \(other weights\), so .* knn@\S+ with tiny; geoclip@"):
        run(["knn", "geoclip"], "bluemarble", limit=5)


def test_a_model_is_not_trained_like_one_whose_training_set_has_changed(cli, mine, own_home):
    train("random", mine, workers=0)
    table = own_home / "own" / "mine" / "metadata.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(SettingError, match=r"mine has changed since random@mine-s0-.* was trained, so another model"):
        run(["random", "most-frequent"], "bluemarble", limit=5)


def test_trained_on_takes_and_makes_trainings_on_that_set(cli, mine):
    for model in ("random", "most-frequent"):
        train(model, **FULL)
    train("random", mine, workers=0, limit=3)
    summary = run(["random", "most-frequent"], "bluemarble", limit=5, trained_on="mine", galleries=["5"])
    assert [(r.trained_on, r.training_images) for r in summary.results] == [("mine", 9)] * 2
    with pytest.raises(SettingError, match=r"was trained on bluemarble, and trained_on .--trained-on. asks for mine"):
        run("random@bluemarble", "bluemarble", trained_on="mine")
    with pytest.raises(CheckpointError, match="random has no full training on mine; make one: geobench train random"):
        run("random", "bluemarble", trained_on="mine", train_missing=False)


def test_two_names_of_one_checkpoint_are_evaluated_once():
    train("random", name="floor", **FULL)
    summary = run(["random", "random@floor", "random@bluemarble"], "bluemarble", limit=5)
    assert len(summary.results) == 1


def test_a_training_has_a_name_for_people(cli):
    toy = train("random", **TOY)
    cli("train", "random", "--encoder", "tiny", "--limit", 10, "--name", "small")
    assert find_checkpoint("random@small") == toy and find_checkpoint(toy.spec).label.names == ("small",)
    for name, reason in {
        "small": f"random@small is {toy.spec}, trained on 10 of 20 images of bluemarble",
        "bluemarble": "is the newest training on that data set",
        "a@b": "'a@b' cannot be the name of a training",
    }.items():
        refused = cli("train", "random", "--encoder", "tiny", "--limit", 9, "--name", name, exit_code=2)
        assert reason in refused.stderr and len(get_checkpoints("random")) == 1


def test_a_name_that_has_become_that_of_a_data_set_is_refused(cli, photos, own_home):
    named = train("random", name="mine", **FULL)
    images, table = photos(9, own_home / "own" / "mine")
    cli("datasets", "add", "mine", "--images", images, "--metadata", table)
    assert find_checkpoint("random@mine") == named, "there is no training on it yet"
    on_set = train("random", "mine", workers=0)
    with pytest.raises(
        CheckpointError, match=rf"may be {named.spec} \(given this name\) or {on_set.spec} \(trained on"
    ):
        find_checkpoint("random@mine")


def test_a_damaged_label_is_named(cli):
    made = train("random", name="small", **FULL)
    (made.folder / LABEL).write_text("{")
    with pytest.raises(CheckpointError, match=rf"{LABEL} is not readable .*; delete it, then name the"):
        get_model("random", "cpu")


@pytest.mark.parametrize("model", ["random", "knn", "geoclip", "most-frequent"])
def test_what_does_not_exist_is_an_error_for_every_model(cli, model):
    done = cli("run", "--models", f"{model}@nonsense", "--datasets", "bluemarble", exit_code=1)
    assert f"Error: there is no checkpoint {model}@nonsense; existing ones: " in done.stderr
    assert not get_checkpoints() and not Path("results").exists()


def test_the_demo_runs_what_it_made_and_leaves_names_alone(own_home, monkeypatch):
    monkeypatch.setattr(demo, "MODELS", ("most-frequent", "random"))
    Path("1k").write_text("latitude,longitude\n1,1\n")
    mine = [train(model, seed=1, data="bluemarble", limit=300) for model in demo.MODELS]
    monkeypatch.setattr(demo, "GALLERIES", ("training:20",))
    results = demo.demo().results
    assert {result.training_seed for result in results} == {0} and len(results) == 4
    assert [find_checkpoint(model) for model in demo.MODELS] == mine
    assert all(spec.startswith(("training:", "land:")) for spec in demo.GALLERIES), "not a file called 1k"


def test_models_lists_every_training_and_what_a_name_stands_for(cli):
    toy = train("knn", name="small", **TOY)
    full = train("knn", settings={"k": 3}, **FULL)
    shown = cli("models").stdout
    (row,) = [line for line in shown.splitlines() if line.startswith(full.spec)]
    assert all(part in row for part in (full.created[:10], "bluemarble", " 20 ", "tiny", "k=3", "NAME alone"))
    (row,) = [line for line in shown.splitlines() if line.startswith(toy.spec)]
    assert "10 of 20" in row and "NAME alone" not in row and "knn@small" in shown
    rows = {row["model"]: row for row in json.loads(cli("models", "--json").stdout)}
    newest, older = rows["knn"]["trainings"]
    assert (newest["training"], newest["candidate"], newest["chosen"]) == (full.spec, True, True)
    assert (older["names"], older["candidate"], older["aside"]) == (
        ["small"],
        False,
        "on 10 of 20 images of bluemarble",
    )
    assert newest["bytes"] > 1000 and newest["settings"]["k"] == 3


EVENING = """
title = "A toy"
source = "nobody"
model = "knn"
data = "mine"
datasets = ["exam"]
encoder = "tiny"

[[rows]]
title = "k = {k}"
vary = { k = [1, 2] }
"""


def test_a_careless_evening_ends_in_the_right_table(cli, photos, own_home):
    """README's example, toys and an experiment first, then the three commands of every day on photos of one's own."""
    for seed, name in enumerate(("mine", "exam")):
        images, table = photos(12, own_home / "own" / name, seed=seed)
        cli("datasets", "add", name, "--images", images, "--metadata", table, "--encoder", "tiny")
    example = train("knn", settings={"k": 5}, **TOY)  # README, from Python
    run([example.spec, "random"], "bluemarble", galleries=["land:1k"], limit=5, folder="elsewhere")
    Path("toy.toml").write_text(EVENING)
    cli("experiment", "run", "toy.toml")
    alone = ("--workers", 0)
    small = (*alone, "--set", "batch_size=4", "--set", "queue_length=8", "--set", "hidden_dim=16", "--epochs", 1)
    cli("train", "geoclip", "--data", "mine", "--limit", 6, *small)
    cli("train", "knn", "--data", "mine", "--limit", 6, *alone)
    toys = {one.id for one in get_checkpoints()}
    assert len(toys) == 6

    cli("train", "geoclip", "--data", "mine", *small)
    said = cli("run", "--models", "geoclip,knn,random", "--datasets", "exam", "--results", "table", *alone).stderr
    results = read_results(Path("table"))[0]
    assert {(r.model, r.trained_on, r.training_images) for r in results} == {
        (model, "mine", 12) for model in ("geoclip", "knn", "random")
    }
    assert not toys.intersection(r.checkpoint for r in results)
    assert "geoclip is geoclip@mine-s0-" in said and "knn has no full training: training it first, on mine" in said
    report = cli("report", "--format", "markdown", "--results", "table").stdout
    assert report.count("@mine-s0-") >= 3 and "Trained on a part" not in report

    old = cli("train", "knn", "--encoder", "tiny", *alone).stdout.strip()  # of a map, and newer than all others
    again = ("run", "--models", "geoclip,knn", "--datasets", "exam", "--results", "table", *alone)
    refused = cli(*again, exit_code=2).stderr
    assert f"{old} on 20 images of bluemarble" in refused and "--trained-on mine" in refused
    assert old not in cli(*again, "--trained-on", "mine").stdout
