"""What cannot run is known before anything is trained or extracted, and the rest runs."""

from dataclasses import dataclass

import numpy as np
import pytest

from geobench import (
    DatasetError,
    EncoderError,
    Model,
    Options,
    Predictions,
    SettingError,
    UnknownNameError,
    evaluate,
    run,
    train,
)
from geobench.checkpoints import get_checkpoints
from geobench.plugins import registry
from geobench.progress import Progress

KNN = {"data": "bluemarble", "encoder": "tiny", "limit": 200}
SMALL = {"limit": 20, "options": Options(workers=0)}


@dataclass(frozen=True)
class PromptConfig:
    """A setting that no training fixes."""

    prompt: str = "Where is this?"
    latitude: float = 0.0


class Prompted(Model):
    """Learns nothing: predicts a latitude that depends on its prompt."""

    name = "prompted"
    Config = PromptConfig
    input = "none"
    uses_gallery = False
    trainable = False

    def locate(self, features, gallery=None, top_k=1):
        places = np.tile([self.config.latitude + len(self.config.prompt), 0.0], (len(features), 1, 1))
        return Predictions.of(places, np.ones((len(features), 1)))


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def nothing_was_computed(home):
    return not get_checkpoints() and not (home / "features").exists()


def test_a_test_set_without_images_is_reported_and_nothing_is_trained(cli, own_home):
    done = cli("run", "--models", "geoclip", "--datasets", "im2gps3k", exit_code=1)
    assert "cannot run: im2gps3k is not on this machine: looked for" in done.stderr
    assert "training" not in done.stderr.partition("Failed")[0].replace("--metadata", "")
    assert nothing_was_computed(own_home)


def test_an_unknown_metric_in_a_definition_is_reported_before_anything_is_extracted(cli, photos, own_home):
    for seed, name in enumerate(("mine", "other")):
        images, table = photos(6, own_home / "own" / name, seed=seed)
        cli("datasets", "add", name, "--images", images, "--metadata", table, "--encoder", "tiny")
    definition = own_home / "data" / "mine" / "dataset.toml"
    definition.write_text(f'metrics = ["geoscor"]\n{definition.read_text()}')
    told = "the definition of mine cannot be used: unknown metric 'geoscor'; did you mean geoscore"
    assert f"{told}" in cli("datasets", "check", "mine", exit_code=1).stdout
    trained = train("knn", "other", workers=0).spec
    extracted = set((own_home / "features").rglob("*"))
    with pytest.raises(DatasetError, match=told):
        evaluate(trained, "mine", options=Options(workers=0))
    done = cli("run", "--models", trained, "--datasets", "mine,other", "--workers", 0, exit_code=1)
    assert f"cannot run: {told}" in done.stderr and trained in done.stdout, "the other set runs"
    assert set((own_home / "features").rglob("*")) == extracted, "the features of the other set were there"


def test_what_cannot_run_is_said_first_and_the_rest_runs():
    train("knn", **KNN)
    said = Lines()
    summary = run(["knn", "random"], ["im2gps3k", "bluemarble"], progress=said, **SMALL)
    assert [(result.model, result.dataset) for result in summary.results] == [
        ("knn", "bluemarble"),
        ("random", "bluemarble"),
    ]
    assert len(summary.failures) == 1 and summary.failures[0].startswith("im2gps3k is not on this machine")
    first = next(n for n, line in enumerate(said.lines) if line.startswith("cannot run: im2gps3k"))
    trained = next(n for n, line in enumerate(said.lines) if "training it first" in line)
    assert first < trained


@pytest.mark.parametrize(
    ("gallery", "reason"),
    [
        ("30k", "larger than its source, which has 20;"),
        ("land:many", "'many' is not a valid gallery size"),
        ("nowhere.csv", "nowhere.csv"),
        ("moon:100", "unknown gallery 'moon:100'"),
    ],
)
def test_a_gallery_that_cannot_be_drawn_is_known_before_the_model_is_trained(own_home, gallery, reason):
    summary = run("random", "bluemarble", galleries=[gallery], **SMALL)
    assert not summary.results and nothing_was_computed(own_home)
    (failure,) = summary.failures
    assert failure.startswith(f"random × bluemarble × {gallery}: ") and reason in failure


def test_the_galleries_that_can_be_drawn_are_run():
    train("random", **KNN)
    summary = run("random", "bluemarble", galleries=["1M", "50"], seeds=[0, 1], **SMALL)
    assert [result.gallery for result in summary.results] == ["training:50"] * 2
    assert len(summary.failures) == 1 and "which has 200; ask for at most 200" in summary.failures[0]


def test_weights_that_are_not_available_are_known_before_anything_is_trained(own_home, tiny_encoder, monkeypatch):
    def missing():
        raise EncoderError("the weights of tiny are not available")

    train("knn", **KNN)
    monkeypatch.setattr(tiny_encoder, "check", missing)
    failures = run(["knn", "classifier"], "bluemarble", **SMALL).failures  # one is trained, the other would be
    assert failures == [f"{model}: the weights of tiny are not available" for model in ("knn", "classifier")]
    assert not get_checkpoints("classifier")


def test_weights_are_not_needed_where_the_features_are_cached(tiny_encoder, monkeypatch):
    def missing():
        raise EncoderError("the weights of tiny are not available")

    train("knn", **KNN)
    assert not run("knn", "bluemarble", **SMALL).failures
    monkeypatch.setattr(tiny_encoder, "check", missing)
    assert not run("knn", "bluemarble", folder="elsewhere", **SMALL).failures
    (failure,) = run("knn", "bluemarble", force=True, **SMALL).failures  # which extracts them again
    assert failure == "knn: the weights of tiny are not available"


def test_a_device_or_a_results_folder_that_cannot_be_used_is_refused_at_once(own_home, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SettingError, match="the device 'cuda:7' is not available"):
        run("random", "bluemarble", device="cuda:7")
    with pytest.raises(SettingError, match=f"the folder {file}/results cannot be written to"):
        run("random", "bluemarble", folder=file / "results")
    assert nothing_was_computed(own_home)


def test_settings_are_those_of_models_without_training():
    with pytest.raises(SettingError, match="settings apply to models that need no training; those of knn are chosen"):
        run("knn", "bluemarble", settings={"k": 3})


def test_a_setting_that_no_model_of_the_run_declares_is_refused(register):
    register("model", Prompted)
    with pytest.raises(UnknownNameError, match="unknown setting of these models 'promt'; did you mean prompt"):
        run(["prompted", "knn"], "bluemarble", settings={"promt": "?"}, **SMALL)


def test_settings_are_given_on_the_command_line(cli, register):
    register("model", Prompted)
    cli("run", "--models", "prompted", "--datasets", "bluemarble", "--limit", 5, "--set", "prompt=Which city?")
    (result,) = run("prompted", "bluemarble", limit=5, settings={"prompt": "Which city?"}).results
    assert result.config["prompt"] == "Which city?"
    arguments = ("run", "--models", "prompted", "--datasets", "bluemarble", "--limit", 5, "--set", "latitude=north")
    assert "latitude" in cli(*arguments, exit_code=2).stderr


def test_every_kind_of_gallery_of_our_own_is_reserved():
    from geobench.gallery import SOURCES
    from geobench.plugins import OWN_GALLERIES

    assert set(SOURCES) == set(OWN_GALLERIES)
    assert not set(registry().galleries) & set(OWN_GALLERIES)


def test_kept_results_need_no_weights_of_the_model(monkeypatch):
    from geobench.checkpoints import Checkpoint

    train("knn", **KNN)
    (result,) = run("knn", "bluemarble", **SMALL).results
    monkeypatch.setattr(Checkpoint, "restored", lambda *_: pytest.fail("the model was restored"))
    (kept,) = run("knn", "bluemarble", **SMALL).results
    assert kept.key == result.key
    np.testing.assert_array_equal(kept.errors, result.errors)
