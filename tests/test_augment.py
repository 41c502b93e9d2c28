"""Views made at random: repeatable, different, cached or live."""

import numpy as np
import pytest
import torch

from geobench import SettingError, get_dataset, get_encoder, get_model, train
from geobench.checkpoints import get_checkpoints
from geobench.images.augmentation import Augmentation

SMALL = {"batch_size": 16, "queue_length": 32, "hidden_dim": 16, "epochs": 2}
DATA = {"encoder": "tiny", "limit": 48}


@pytest.fixture(scope="module")
def image():
    return get_dataset("bluemarble").read_image("+45.00000+10.00000", "train")


def pixels(views):
    return [np.asarray(view.resize((16, 16))) for view in views]


@pytest.mark.parametrize("kind", ["simclr", "official"])
def test_views_differ_from_each_other_and_repeat_with_their_seed(image, kind):
    first, again = (pixels(Augmentation(4, kind)(image, "a")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({view.tobytes() for view in first}) == 4
    for other in (
        Augmentation(4, kind)(image, "b"),
        Augmentation(4, kind)(image, "a", 1),
        Augmentation(4, kind, 7)(image, "a"),
    ):
        assert (np.array(first) != np.array(pixels(other))).any()


def test_official_views_are_normalised_as_for_imagenet_whatever_the_encoder_does(image):
    from torchvision.transforms import functional

    encoder = get_encoder("efficientnet_lite0")
    augmentation = Augmentation(2, "official")
    for view, made in zip(augmentation(image, "a"), augmentation.inputs(image, "a", encoder), strict=True):
        pixels = (encoder.preprocess(view) + 1) / 2  # it scales to [−1, 1]
        expected = functional.normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        torch.testing.assert_close(made, expected)
    simclr = Augmentation(1)
    assert torch.equal(simclr.inputs(image, "a", encoder)[0], encoder.preprocess(simclr(image, "a")[0]))


def test_official_views_are_refused_for_an_encoder_of_unknown_normalisation(image):
    encoder = get_encoder("tiny")
    with pytest.raises(SettingError, match=r"the encoder tiny does not state.*the augmentation simclr"):
        Augmentation(2, "official").inputs(image, "a", encoder)


def test_views_take_nothing_from_the_global_random_state(image):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Augmentation(2)(image, "a")
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(SettingError, match=r"simclr or official, not 2 and 'cutmix'"):
        Augmentation(2, "cutmix")


def test_a_model_trains_on_cached_views_and_the_checkpoint_says_so(own_home):
    checkpoint = train("geoclip", settings=SMALL, views=3, **DATA)
    assert checkpoint.augmentation == {
        "views": 3,
        "kind": "simclr",
        "seed": 0,
        "normalisation": "the encoder's own",
        "live": False,
    }
    (features,) = (own_home / "features").glob("*/features.npy")
    assert np.load(features).shape == (48, 3, 48)


def test_live_views_are_new_in_every_epoch_and_the_same_seed_gives_the_same_weights():
    live = train("geoclip", settings=SMALL, views=2, live=True, **DATA)
    again = train("geoclip", settings=SMALL, views=2, live=True, force=True, **DATA)
    cached = train("geoclip", settings=SMALL, views=2, **DATA)
    assert live.weights == again.weights != cached.weights
    assert get_model(live.spec).checkpoint == again


def test_live_views_need_their_number(cli):
    assert (
        "live needs a number of random views, such as views=2" in cli("train", "geoclip", "--live", exit_code=2).output
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--augmentation", "official"), "augmentation='official' needs a number of random views, such as views=2"),
        (("--views", 2, "--augmentation", "cutmix"), "simclr or official, not 2 and 'cutmix'"),
        (("--views", 2, "--crops", 5), "crops and views exclude each other: give crops=5 or views=2, not both"),
        (("--epochs", 2, "--set", "epochs=3"), "epochs is given twice"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(cli, arguments, message):
    assert message in cli("train", "geoclip", "--limit", 48, "--encoder", "tiny", *arguments, exit_code=2).output


def test_what_a_variant_and_a_fraction_set_is_said(cli):
    cut = ("--limit", 600, "--encoder", "tiny", "--set", "hidden_dim=8", "--set", "head_dim=8", "--epochs", 1)
    output = cli(
        "train", "geoclip", "--variant", "official", "--fraction", "0.3", "--set", "batch_size=64", *cut
    ).output
    assert "geoclip: the variant official sets queue_start=origin, batch_noise_m=0.0" in output
    assert "its paper has no settings for the fraction 0.3 (only for 0.2, 0.1, 0.05)" in output


def test_a_variant_is_a_list_of_settings_that_the_checkpoint_records(cli):
    small = [f"{name}={value}" for name, value in SMALL.items()]
    arguments = ["--limit", 48, "--encoder", "tiny", *(word for text in small for word in ("--set", text))]
    cli("train", "geoclip", "--variant", "official", *arguments)
    cli("train", "geoclip", "--variant", "paper", *arguments, "--set", "hidden_layers=2")
    official, paper = get_checkpoints("geoclip")
    assert official.variant == "official" and official.config["queue_start"] == "origin"
    assert official.config["batch_noise_m"] == official.config["queue_noise_m"] == 0
    assert paper.variant == "paper" and paper.config["projection_scale"] == 180 and not paper.config["head_relu"]
    assert paper.config["hidden_layers"] == 2  # the user's own word goes before the variant's
    output = cli("train", "geoclip", "--variant", "papre", exit_code=2).output
    assert "unknown variant of geoclip 'papre'; did you mean paper?" in output


def test_a_fraction_brings_the_papers_batch_size():
    settings = {"queue_length": 256, "hidden_dim": 8, "epochs": 1}
    checkpoint = train("geoclip", encoder="tiny", limit=2600, fraction=0.05, settings=settings)
    assert (checkpoint.images, checkpoint.limit, checkpoint.config["batch_size"]) == (130, 130, 128)


def test_a_fraction_beyond_one_is_refused(cli):
    assert "greater than 0 and at most 1, not 1.5" in cli("train", "geoclip", "--fraction", "1.5", exit_code=2).output
