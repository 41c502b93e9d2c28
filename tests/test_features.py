import json
import os
import shutil
from threading import Thread

import numpy as np
import pytest
import torch

from geobench import (
    Dataset,
    FeatureError,
    ScoredImages,
    SettingError,
    extract,
    get_dataset,
    get_encoder,
    get_metric,
)
from geobench.features.cache import is_cached
from geobench.features.wrappers import wrapped
from geobench.files import locked
from geobench.geo import errors_km
from geobench.progress import Progress


@pytest.fixture
def mine(photos, own_home):
    photos(10, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


@pytest.fixture
def folder(own_home):
    """Return a function that returns the only folder of features."""

    def find():
        (found,) = (path for path in (own_home / "features").iterdir() if path.is_dir())
        return found

    return find


@pytest.fixture
def counting(tiny_encoder):
    """An encoder that counts the views it is given."""

    class Counting(type(tiny_encoder)):
        views = 0

        def preprocess(self, image):
            self.views += 1
            return super().preprocess(image)

    return Counting


def photo(dataset, number):
    return dataset.folder / "images" / f"photo-{number}.jpg"


def expected(dataset, encoder, number):
    return encoder.encode_images(encoder.preprocess(dataset.read_image(f"photo-{number}.jpg", "test"))[None])[0].numpy()


def test_features_are_what_the_encoder_makes_of_each_image(mine, tiny_encoder):
    features = extract(mine, mine.table("test"), tiny_encoder)
    assert (features.array.shape, features.array.dtype, len(features)) == ((10, 1, 48), np.float32, 10)
    assert features.ok.all()
    for number in range(10):
        np.testing.assert_array_equal(features.array[number, 0], expected(mine, tiny_encoder, number))


@pytest.mark.parametrize("crops", [1, 10])
def test_features_of_the_real_encoder_are_the_same_to_the_last_bit_for_every_batch_size(
    crops, tmp_path, monkeypatch, one_thread
):
    dataset, encoder = get_dataset("bluemarble"), get_encoder("efficientnet_lite0")
    table = dataset.table("test", 36 if crops == 1 else 4)
    arrays = []
    for batch_size in (1, 7, 64, 512):
        monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / str(batch_size)))
        arrays.append(np.array(extract(dataset, table, encoder, crops=crops, batch_size=batch_size).array))
    assert arrays[0].shape == (len(table), crops, 1280)
    assert len(np.unique(arrays[0].reshape(-1, 1280), axis=0)) == len(table) * crops
    for other in arrays[1:]:
        np.testing.assert_array_equal(arrays[0], other)


@pytest.mark.parametrize(("n", "encoded"), [(1, 4), (4, 4 + 4), (10, 12 + 4)])
def test_a_photo_is_encoded_in_a_tile_of_the_encoders_size_and_costs_no_more(mine, tiny_encoder, n, encoded):
    """The first of several is encoded once more, among blank ones."""
    sizes = []

    class Noticing(type(tiny_encoder)):
        def encode_images(self, batch):
            sizes.append(len(batch))
            return super().encode_images(batch)

    extract(mine, mine.table("test", n), Noticing())
    assert (set(sizes), sum(sizes)) == ({4}, encoded)


def test_a_large_tower_has_a_small_tile_and_so_has_what_is_made_of_it():
    assert [get_encoder(name).tile for name in ("ViT-L-14/openai", "ViT-B-32/openai", "RN50/openai")] == [2, 4, 4]
    assert wrapped(get_encoder("ViT-L-14/openai"), "tokens").tile == 2


def test_features_do_not_depend_on_which_process_decodes(tmp_path, monkeypatch, one_thread):
    dataset, encoder = get_dataset("bluemarble"), get_encoder("efficientnet_lite0")
    table = dataset.table("test", 8)
    alone = np.array(extract(dataset, table, encoder).array)
    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "other"))
    np.testing.assert_array_equal(alone, extract(dataset, table, encoder, workers=2, batch_size=3).array)


def test_features_are_extracted_once(mine, counting):
    first, second = counting(), counting()
    key = extract(mine, mine.table("test"), first).key
    again = extract(mine, mine.table("test"), second)
    assert (first.views, second.views, again.key) == (10, 0, key)


@pytest.mark.parametrize("crops", [5, 10])
def test_crops_are_views_and_the_last_five_are_of_the_mirror_image(mine, tiny_encoder, crops):
    features = extract(mine, mine.table("test"), tiny_encoder, crops=crops).array
    assert features.shape == (10, crops, 48)
    if crops == 10:
        pixels = np.array(features).reshape(10, 10, 3, 4, 4)
        mirrored = pixels[:, [1, 0, 3, 2], :, :, ::-1]  # the left corner of the mirror image is the right one
        np.testing.assert_allclose(pixels[:, 5:9], mirrored, atol=0.005)  # a pixel value is 1/255
        assert np.abs(pixels[:, 5:] - pixels[:, :5]).max() > 0.05


def test_five_crops_are_the_first_five_of_ten(mine, tiny_encoder):
    five, ten = (extract(mine, mine.table("test"), tiny_encoder, crops=crops).array for crops in (5, 10))
    np.testing.assert_array_equal(five, ten[:, :5])


def test_an_invalid_number_of_crops_is_refused(mine, tiny_encoder):
    with pytest.raises(SettingError, match="crops must be one of 1, 5, 10, not 3"):
        extract(mine, mine.table("test"), tiny_encoder, crops=3)


def test_images_that_cannot_be_read_are_recorded_with_the_reason_and_counted(mine, tiny_encoder, folder):
    photo(mine, 1).write_bytes(photo(mine, 1).read_bytes()[:700])
    photo(mine, 5).unlink()
    features = extract(mine, mine.table("test"), tiny_encoder, batch_size=3)
    assert np.flatnonzero(~features.ok).tolist() == [1, 5]
    assert len(features) == len(features.array) == 10
    assert not features.array[[1, 5]].any()
    for number in np.flatnonzero(features.ok):
        np.testing.assert_array_equal(features.array[number, 0], expected(mine, tiny_encoder, number))
    lines = [json.loads(line) for line in (folder() / "failures.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["photo-1.jpg", "photo-5.jpg"]
    assert "truncated" in lines[0]["reason"]
    assert "there is no such file" in lines[1]["reason"]
    about = json.loads((folder() / "about.json").read_text())
    assert (about["images"], about["failed"], about["encoder"]) == (10, 2, "tiny")


def test_a_failed_image_is_a_miss_in_the_scores(mine, tiny_encoder):
    photo(mine, 0).unlink()
    ok = extract(mine, mine.table("test"), tiny_encoder).ok
    truth = mine.table("test")[["latitude", "longitude"]].to_numpy()
    assert get_metric("acc_1km").score(ScoredImages(errors_km(truth, truth, ~ok))) == 90.0


def test_images_that_all_fail_are_still_features(mine, tiny_encoder):
    for number in range(10):
        photo(mine, number).write_text("no image")
    features = extract(mine, mine.table("test"), tiny_encoder)
    assert (features.array.shape, features.ok.sum()) == ((10, 1, 48), 0)


@pytest.mark.parametrize("name", ["features.npy", "ok.npy"])
@pytest.mark.parametrize("size", [0, 100, 200])
def test_truncated_features_name_the_folder_and_the_remedy(mine, tiny_encoder, folder, name, size):
    extract(mine, mine.table("test"), tiny_encoder)
    path = folder() / name
    os.truncate(path, min(size, path.stat().st_size - 1))
    with pytest.raises(FeatureError, match=r"are damaged .*; delete the folder and run again") as caught:
        extract(mine, mine.table("test"), tiny_encoder)
    assert str(caught.value).startswith(str(folder()))
    shutil.rmtree(folder())
    assert extract(mine, mine.table("test"), tiny_encoder).ok.all()


def test_features_of_another_number_of_images_are_refused(mine, tiny_encoder, folder):
    extract(mine, mine.table("test"), tiny_encoder)
    np.save(folder() / "features.npy", np.zeros((9, 1, 48), dtype=np.float32))
    with pytest.raises(FeatureError, match="9 features instead of 10; delete the folder"):
        extract(mine, mine.table("test"), tiny_encoder)


def test_a_changed_image_changes_the_key_and_the_features(mine, tiny_encoder):
    before = extract(mine, mine.table("test"), tiny_encoder)
    photo(mine, 4).write_bytes(photo(mine, 7).read_bytes())
    after = extract(mine, mine.table("test"), tiny_encoder)
    assert after.key != before.key
    np.testing.assert_array_equal(after.array[4], before.array[7])


def changed(name, value):
    """Return a change of an encoder by which one of the things that it states has another value."""
    return lambda encoder, patch: patch.setattr(encoder, name, value)


KEY = {
    "name": changed("name", "other"),
    "weights": changed("weights_key", lambda: "tiny-2"),
    "preprocessing": changed("describe", lambda: "5×5 pixels"),
    "normalisation": changed("normalisation", ((0.5,) * 3, (0.5,) * 3)),
    "precision": changed("precision", lambda device: "bfloat16"),
}


@pytest.mark.parametrize("change", KEY.values(), ids=KEY)
def test_whatever_an_encoder_states_of_itself_is_part_of_the_key(mine, tiny_encoder, monkeypatch, change):
    before = extract(mine, mine.table("test"), tiny_encoder).key
    change(tiny_encoder, monkeypatch)
    assert not is_cached(mine, mine.table("test"), tiny_encoder, crops=1, device="cpu")
    assert extract(mine, mine.table("test"), tiny_encoder).key != before


def test_crops_and_rows_are_part_of_the_key(mine, tiny_encoder):
    table = mine.table("test")
    ways = [(table, 1), (table, 5), (table.head(9), 1)]
    assert len({extract(mine, rows, tiny_encoder, crops=crops).key for rows, crops in ways}) == 3


def test_an_extraction_waits_for_another_one_of_the_same_features(mine, counting, own_home):
    class Noting(Progress):
        def __init__(self):
            self.lines = []

        def say(self, message):
            self.lines.append(message)

    first, second, progress = counting(), counting(), Noting()
    key = extract(mine, mine.table("test"), first).key
    kept = own_home / "features" / key
    kept.rename(own_home / "kept")
    with locked(kept, print):
        waiting = Thread(target=extract, args=(mine, mine.table("test"), second), kwargs={"progress": progress})
        waiting.start()
        while waiting.is_alive() and not progress.lines:
            waiting.join(0.01)
        (own_home / "kept").rename(kept)  # what the first one does at its end
    waiting.join(10)
    assert "another process is working on" in progress.lines[0]
    assert second.views == 0


def test_features_are_memory_mapped(mine, tiny_encoder):
    assert isinstance(extract(mine, mine.table("test"), tiny_encoder).array, np.memmap)


def test_encoding_records_no_gradients(mine):
    class Differentiable(type(get_encoder("tiny"))):
        def encode_images(self, batch):
            assert not torch.is_grad_enabled()
            return super().encode_images(batch)

    assert extract(mine, mine.table("test"), Differentiable()).ok.all()
