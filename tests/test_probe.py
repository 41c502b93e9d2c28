"""The probe: location features, average precision, a split that keeps neighbours apart, NUS-WIDE's files, the table."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from geobench import DatasetError, SettingError, UnknownNameError
from geobench.data.land import sample_land
from geobench.geo import nearest_km, sample_sphere
from geobench.probe.classifier import ProbeConfig, predict
from geobench.probe.locations import BANDS, KINDS, harmonics, location_features, utm_zones, wrap
from geobench.probe.measure import average_precisions, interval, mean_average_precision, resampled
from geobench.probe.nus_wide import nus_wide
from geobench.probe.paper import PUBLISHED, published
from geobench.probe.probe import VISUAL, learnt_nearby, measured, probe
from geobench.probe.tasks import APART_KM, Task, embedded, spatial_split

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ProbeConfig(hidden=64, epochs=8, batch_size=64)


def test_average_precision_is_that_of_scikit_learn_and_ties_count_together():
    rng = np.random.default_rng(0)
    labels = rng.random((300, 5)) < [0.5, 0.1, 0.02, 0.9, 0.3]
    scores = rng.normal(size=(300, 5)) + labels
    scores[:, 4] = scores[:, 4].round()  # many equal scores
    expected = [average_precision_score(labels[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_allclose(average_precisions(scores, labels), expected, rtol=1e-12)
    labels[:, 2] = False
    found = average_precisions(scores, labels)
    assert np.isnan(found[2])
    assert mean_average_precision(scores, labels) == pytest.approx(np.mean(np.delete(found, 2)))
    np.testing.assert_allclose(average_precisions(np.zeros((4, 1)), np.array([[1], [0], [0], [0]], dtype=bool)), [0.25])


def test_an_image_that_is_drawn_twice_counts_as_two_rows_do():
    rng = np.random.default_rng(6)
    labels = rng.random((40, 3)) < 0.4
    scores = rng.integers(0, 9, (40, 3)).astype(float) + labels  # with equal scores
    rows = rng.integers(40, size=(5, 40))
    weights = np.stack([np.bincount(sample, minlength=40) for sample in rows]).astype(np.int32)
    expected = [average_precisions(scores[sample], labels[sample]) for sample in rows]
    np.testing.assert_allclose(average_precisions(scores, labels, weights), expected, rtol=1e-12)
    nowhere = np.zeros((1, 40), np.int32)
    nowhere[0, ~labels[:, 0]] = 1
    assert np.isnan(average_precisions(scores, labels, nowhere)[0, 0])


def test_the_interval_holds_the_value_and_narrows_with_images():
    rng = np.random.default_rng(1)
    widths = []
    for n in (100, 1600):
        labels = rng.random((n, 3)) < 0.3
        scores = [rng.normal(size=(n, 3)) + labels for _ in range(2)]
        low, high = interval(resampled(scores, labels, np.arange(n)))
        assert low < np.mean([mean_average_precision(each, labels) for each in scores]) < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # the square root of 16 is 4


def test_copies_of_images_in_one_group_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    labels = rng.random((60, 2)) < 0.4
    scores = rng.normal(size=(60, 2)) + labels
    once = resampled([scores], labels, np.arange(60))
    many = resampled([np.repeat(scores, 9, axis=0)], np.repeat(labels, 9, axis=0), np.repeat(np.arange(60), 9))
    np.testing.assert_allclose(many, once, rtol=1e-12)
    alone = resampled([np.repeat(scores, 9, axis=0)], np.repeat(labels, 9, axis=0), np.arange(540))
    assert np.subtract(*interval(alone)) > 0.6 * np.subtract(*interval(once))  # both negative: narrower


def test_there_is_no_interval_of_fewer_than_ten_groups():
    labels = np.arange(40)[:, None] % 2 == 0
    scores = [np.random.default_rng(3).normal(size=(40, 1))]
    assert resampled(scores, labels, np.arange(40) % 9) is None
    assert resampled(scores, labels, np.arange(40) % 10).shape == (200,)
    assert np.isnan(interval(None)).all()


def test_wrapped_coordinates_meet_at_the_date_line():
    east, west = wrap(np.array([[10.0, 180.0]]), 0), wrap(np.array([[10.0, -180.0]]), 0)
    np.testing.assert_allclose(east, west, atol=1e-12)


def test_utm_zones_are_those_of_the_grid():
    places = np.array([[48.85, 2.35], [-33.86, 151.2], [0.0, -180.0], [83.9, 0.0], [-85.0, 10.0]])
    zones = utm_zones(places, 0)
    named = [divmod(int(row.argmax()), len(BANDS)) for row in zones]
    assert [f"{strip + 1}{BANDS[band]}" for strip, band in named[:4]] == ["31U", "56H", "1N", "31X"]
    assert zones.sum(axis=1).tolist() == [1, 1, 1, 1, 0]


def test_harmonics_are_orthonormal_on_the_sphere():
    places = sample_sphere(200_000, np.random.default_rng(2))
    found = harmonics(places, 0)
    assert found.shape[1] == 100
    gram = 4 * np.pi * found.T @ found / len(places)
    assert np.abs(gram - np.eye(100)).max() < 0.06
    np.testing.assert_allclose(found[:5, 0], np.sqrt(1 / (4 * np.pi)))


@pytest.mark.parametrize("kind", KINDS)
def test_features_do_not_depend_on_the_other_rows(kind):
    places = sample_land(50, np.random.default_rng(3))
    whole = location_features(kind, places)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(location_features(kind, places[7:9]), whole[7:9])
    lengths = np.linalg.norm(whole, axis=1)
    nowhere = places[:, 0] < -80 if kind == "onehot" else np.zeros(50, bool)  # no UTM zone
    assert not lengths[nowhere].any()
    assert np.ptp(lengths) > 0.1 if kind == "raw" else np.abs(lengths[~nowhere] - 1).max() < 1e-6


def test_unknown_features_and_models_without_embeddings_are_one_line():
    with pytest.raises(UnknownNameError, match="unknown location feature 'rew'; did you mean raw"):
        location_features("rew", np.zeros((1, 2)))
    from geobench import train

    spec = train("knn", encoder="tiny", limit=20, settings={"k": 3}, device="cpu", workers=0).spec
    with pytest.raises(SettingError, match="knn has no location embeddings; models that do: geoclip"):
        location_features(spec, np.zeros((1, 2)))


def test_no_training_image_is_near_a_test_image():
    places = sample_land(3000, np.random.default_rng(4))
    training, testing, blocks = spatial_split(places, 0)
    assert not np.isin(blocks[testing], blocks[~testing]).any() and len(set(blocks)) > 100
    assert not (training & testing).any()
    assert nearest_km(places[training], places[testing]).min() > APART_KM
    assert 0.15 < testing.mean() < 0.45 and training.mean() > 0.3
    other = spatial_split(places, 1)[1]
    assert (other != testing).any()


def planted(seed=0):
    """A task whose labels are east and north, of which visual features tell the second alone."""
    rng = np.random.default_rng(seed)
    places = sample_sphere(1200, rng)
    labels = np.stack([places[:, 1] > 0, places[:, 0] > 0], axis=1)
    visual = np.stack([labels[:, 1] + rng.normal(0, 0.3, 1200), rng.normal(size=1200)], axis=1).astype(np.float32)
    training, testing, blocks = spatial_split(places, seed)
    concepts, kinds = ("east", "north"), ("longitude", "latitude")
    return Task("planted", places, labels, concepts, kinds, blocks, training, testing, visual)


def test_locations_and_photos_together_are_better_than_either_where_they_tell_different_things():
    task = planted()
    noise = Task(**(vars(task) | {"coordinates": sample_sphere(1200, np.random.default_rng(9))}))
    rows = {row.features: row for row in probe(task, ["raw", "wrap"], seeds=[0, 1], config=SMALL)}
    assert list(rows) == ["raw", "wrap", VISUAL, f"raw + {VISUAL}", f"wrap + {VISUAL}"]
    assert rows["raw"].mean > 0.95
    assert rows[VISUAL].mean < 0.85 < rows[f"raw + {VISUAL}"].mean
    assert all(row.low < row.high and len(row.values) == 2 for row in rows.values())
    assert all(row.low < row.mean < row.high for row in rows.values())
    assert rows["raw"].by_kind.keys() == {"longitude", "latitude"}
    assert rows["raw"].mean == pytest.approx(np.mean(list(rows["raw"].by_kind.values())))
    assert rows[VISUAL].by_kind["longitude"] < 0.7
    assert rows[VISUAL].by_kind["latitude"] > 0.9
    gain, low, high = rows[f"raw + {VISUAL}"].gain
    assert gain == pytest.approx(rows[f"raw + {VISUAL}"].mean - rows[VISUAL].mean) and 0 < low < gain < high
    assert rows["raw"].gain is None and rows[VISUAL].gain is None
    blind = probe(noise, ["raw"], seeds=[0], config=SMALL)[0]
    assert blind.mean < 0.7


def test_rows_that_cannot_be_told_apart_from_the_best_lead_with_it():
    task = planted()
    rows = {row.features: row for row in probe(task, ["raw", "wrap", "onehot"], seeds=[0], config=SMALL)}
    best = max(rows["raw"], rows["wrap"], key=lambda row: row.mean)
    assert best.leads and not rows["onehot"].leads
    assert rows[VISUAL].leads and best.minus(rows["onehot"])[1] > 0
    # differences are paired by test images: narrower than what two independent intervals would say
    joined, visual = rows[f"onehot + {VISUAL}"], rows[VISUAL]
    independent = np.hypot(joined.high - joined.low, visual.high - visual.low)
    assert joined.gain[2] - joined.gain[1] < 0.9 * independent


@pytest.mark.parametrize(
    ("change", "how", "says"),
    [
        ({}, {"seeds": [0, 0]}, "seeds are different whole numbers from 0 on, not 0, 0"),
        ({}, {"seeds": [-1]}, "from 0 on, not -1"),
        ({}, {"features": []}, "at least one location feature"),
        ({"testing": np.zeros(1200, bool)}, {}, "no images to train or none to test on"),
        ({"labels": np.zeros((1200, 2), bool)}, {}, "no test image of planted shows any"),
        ({"visual": np.full((1200, 2), np.nan, np.float32)}, {}, "scores are not finite numbers with lr=0.001"),
    ],
)
def test_probes_that_cannot_be_measured_are_one_line(change, how, says):
    task = Task(**(vars(planted()) | change))
    with pytest.raises(SettingError, match=says):
        probe(task, **({"features": ["raw"], "seeds": [0], "config": SMALL} | how))


def test_too_few_images_for_a_split_are_one_line():
    with pytest.raises(DatasetError, match="1 images within a block of about 600 km cannot be split"):
        embedded(1)


def test_the_papers_rows_stand_beside_the_same_features():
    assert len(PUBLISHED) == 16
    found = [published(name) for name in ("onehot", VISUAL, f"onehot + {VISUAL}", f"geoclip@official + {VISUAL}")]
    assert found == [0.066, 0.234, 0.238, 0.362]
    assert published("raw") is None and published(f"geoclip@mine + {VISUAL}") is None


def test_a_model_that_learnt_the_places_of_the_test_is_named():
    from geobench import train

    task = embedded(300)
    spec = train("geoclip", encoder="tiny", limit=400, settings={"epochs": 1}, device="cpu", workers=0).spec
    (said,) = learnt_nearby(task, ["raw", spec])
    assert spec in said and "learnt from 400 images of bluemarble" in said
    assert "of the test images have a place it learnt within 100 km" in said


def test_the_same_seed_gives_the_same_scores_and_another_does_not():
    task = planted()
    given = location_features("raw", task.coordinates)
    how = (given, task.labels, task.training, task.testing, SMALL)
    first, again, other = (predict(*how, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_embedded_task_has_labels_of_every_kind(tiny_encoder):
    task = embedded(400, "tiny")
    assert task.visual.shape == (400, 48)
    kinds = dict(zip(task.concepts, task.kinds, strict=True))
    assert kinds["Africa"] == "continent" and kinds["tropical"] == "climate" and kinds["vegetation"] == "land cover"
    assert all((kind == "country") == concept.startswith("in ") for concept, kind in kinds.items())
    assert {"Africa", "Asia", "tropical", "temperate", "vegetation", "bare ground"} <= set(task.concepts)
    assert any(concept.startswith("in ") for concept in task.concepts)
    assert (task.labels[:, [task.concepts.index(n) for n in ("Africa", "Asia", "Europe")]].sum(axis=1) <= 1).all()
    for concept in range(len(task.concepts)):
        assert task.labels[task.training, concept].any() and task.labels[task.testing, concept].any()


@pytest.fixture
def nus(tmp_path):
    """NUS-WIDE's files in small: 12 images, 3 concepts, 9 of them with a position."""
    rng = np.random.default_rng(5)
    for folder in ("ImageList", "ConceptsList", "Groundtruth/AllLabels", "Low_Level_Features"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"actor\\{n:04d}_{n}.jpg" for n in range(12)]
    (tmp_path / "ImageList/Imagelist.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "ImageList/TrainImagelist.txt").write_text("\n".join(names[::2]) + "\n")
    (tmp_path / "ImageList/TestImagelist.txt").write_text("\n".join(names[1::2]) + "\n")
    (tmp_path / "ConceptsList/Concepts81.txt").write_text("sky\nbeach\ncar\n")
    labels = rng.integers(0, 2, (12, 3))
    for number, concept in enumerate(("sky", "beach", "car")):
        text = "\n".join(map(str, labels[:, number]))
        (tmp_path / f"Groundtruth/AllLabels/Labels_{concept}.txt").write_text(text + "\n")
    np.savetxt(tmp_path / "Low_Level_Features/BoW_int.dat", rng.integers(0, 9, (12, 5)), fmt="%d")
    positions = tmp_path / "geo.csv"
    rows = "".join(f"{n:04d}_{n}.jpg,{n * 5.0},{n * 7.0}\n" for n in range(9))
    positions.write_text("image,latitude,longitude\n" + rows)
    return tmp_path, positions, labels


def test_nus_wides_public_files_are_read_where_they_lie(nus, cli):
    folder, positions, labels = nus
    task = nus_wide(folder, positions)
    assert task.concepts == ("sky", "beach", "car")
    np.testing.assert_array_equal(task.labels, labels[:9].astype(bool))
    np.testing.assert_allclose(task.coordinates[3], [15, 21])
    assert task.training.tolist() == [True, False] * 4 + [True]
    assert task.testing.tolist() == [False, True] * 4 + [False]
    assert task.visual.shape == (9, 5) and nus_wide(folder, positions, with_visual=False).visual is None
    shown = cli("probe", "--nus-wide", folder, "--positions", positions, "--features", "raw", "--seeds", "0",
                "--set", "epochs=2", "--set", "hidden=8")  # fmt: skip
    assert "9 of 12 images have a position in geo.csv; the paper has 68,574" in shown.stdout
    assert "GeoCLIP + V 0.362" in shown.stdout
    assert "Visual features: bags of SIFT words." in shown.stdout and f"raw + {VISUAL}" in shown.stdout
    assert (
        f"{measured(task)} of 3 concepts have a test image and count; 5 training images, 4 test images" in shown.stdout
    )


def test_a_concept_that_no_test_image_shows_is_out_of_the_mean_and_said(nus):
    folder, positions, labels = nus
    (folder / "Groundtruth/AllLabels/Labels_car.txt").write_text("1\n0\n" * 6)  # of training images alone
    task = nus_wide(folder, positions)
    assert measured(task) == sum(labels[:9][1::2, concept].any() for concept in (0, 1))


def test_options_that_say_nothing_about_nus_wide_are_refused(nus, cli):
    folder, positions, _ = nus
    there = ["probe", "--nus-wide", folder, "--positions", positions]
    assert "--limit is of the embedded task" in cli(*there, "--limit", 5, exit_code=2).stderr
    assert "visual features are those of its files" in cli(*there, "--visual", "tiny", exit_code=2).stderr
    (folder / "Low_Level_Features/BoW_int.dat").unlink()
    positions.write_text(positions.read_text() + "stranger.jpg,1,2\n")
    small = ["--features", "raw", "--seeds", 0, "--set", "epochs=1", "--set", "hidden=4"]
    shown = cli(*there, *small).stdout
    assert "No visual features: there is no" in shown and "1 of its 10 names are no image of NUS-WIDE" in shown
    assert "No visual features." in cli(*there, *small, "--visual", "none").stdout


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("ConceptsList/Concepts81.txt", None, "there is no such file; NUS-WIDE's public files"),
        ("Groundtruth/AllLabels/Labels_car.txt", "1\n0\n", "2 labels for 12 images"),
        ("Groundtruth/AllLabels/Labels_car.txt", "2\n" * 12, "or others than 0 and 1"),
        ("Low_Level_Features/BoW_int.dat", "1 2\n", "has 1 rows for 12 images"),
        ("Low_Level_Features/BoW_int.dat", "1 a\n" * 12, "is not a table of numbers"),
        ("Low_Level_Features/BoW_int.dat", "1 nan\n" * 12, "or numbers that are not finite"),
        ("ConceptsList/Concepts81.txt", "\n", "it is empty"),
        ("ConceptsList/Concepts81.txt", b"\xe9\xff\n", "cannot be read as text"),
        ("ImageList/Imagelist.txt", "a.jpg\n\nb.jpg\n", "line 2 is blank"),
        ("ImageList/Imagelist.txt", "a/1.jpg\nb/1.jpg\n", "2 images are called 1.jpg"),
        ("ImageList/TrainImagelist.txt", "x.jpg\n", "5 images with a position are not in exactly one .* is in neither"),
        ("ImageList/TestImagelist.txt", "0001_1.jpg\n0000_0.jpg\n", "0000_0.jpg is in both"),
        ("geo.csv", "image,latitude,longitude\n0001_1.jpg,1,2\na/0001_1.jpg,3,2\n", "0001_1.jpg has two positions"),
        ("geo.csv", "image,latitude,longitude\nx.jpg,1,2\n", "none of its images is in"),
    ],
)
def test_files_of_nus_wide_that_do_not_fit_are_one_line(nus, file, content, says):
    folder, positions, _ = nus
    path = folder / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=says):
        nus_wide(folder, positions)


def test_the_command_prints_the_table_and_json(cli, tiny_encoder):
    small = ["--limit", 300, "--visual", "tiny", "--seeds", "0,1", "--set", "epochs=2", "--set", "hidden=16"]
    shown = cli("probe", "--features", "raw,onehot", *small).stdout
    assert "onehot + visual" in shown and "* the highest" in shown
    found = json.loads(cli("probe", "--features", "raw", *small, "--json").stdout)
    assert [row["features"] for row in found] == ["raw", "visual", "raw + visual"]
    assert all(0 < row["95 %"][0] <= row["mAP"] <= row["95 %"][1] < 1 for row in found)
    assert found[1]["paper"] == 0.234 and found[0]["paper"] is None and found[0]["over visual"] is None
    assert found[2]["over visual 95 %"][0] <= found[2]["over visual"] <= found[2]["over visual 95 %"][1]
    one = cli("probe", "--features", "raw", *small[:4], "--seeds", "0", *small[6:], "--json").stdout
    assert "NaN" not in one and json.loads(one)[0]["sd over seeds"] is None
    assert "go together" in cli("probe", "--nus-wide", "x", exit_code=2).stderr


def test_an_unknown_feature_is_refused_before_any_photo_is_encoded(cli):
    done = cli("probe", "--features", "rew,onehot", exit_code=2)
    assert "unknown location feature 'rew'; did you mean raw" in done.stderr
    assert "images" not in done.stderr
