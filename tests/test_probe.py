"""The probe: location features, average precision, a split that keeps neighbours apart, NUS-WIDE's files, the table."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from geobench import DatasetError, SettingError, UnknownNameError
from geobench.data.land import sample_land
from geobench.geo import nearest_km, sample_sphere
from geobench.probe.classifier import ProbeConfig, average_precisions, interval, mean_average_precision, predict
from geobench.probe.locations import BANDS, KINDS, harmonics, location_features, utm_zones, wrap
from geobench.probe.probe import VISUAL, probe
from geobench.probe.tasks import APART_KM, Task, embedded, nus_wide, spatial_split

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


def test_the_interval_holds_the_value_and_narrows_with_images():
    rng = np.random.default_rng(1)
    widths = []
    for n in (100, 1600):
        labels = rng.random((n, 3)) < 0.3
        scores = rng.normal(size=(n, 3)) + labels
        low, high = interval(scores, labels)
        assert low < mean_average_precision(scores, labels) < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # the square root of 16 is 4


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


def test_unknown_features_and_models_without_embeddings_are_one_line():
    with pytest.raises(UnknownNameError, match="unknown location feature 'rew'; did you mean raw"):
        location_features("rew", np.zeros((1, 2)))
    from geobench import train

    spec = train("knn", encoder="tiny", limit=20, settings={"k": 3}, device="cpu", workers=0).spec
    with pytest.raises(SettingError, match="knn has no location embeddings; models that do: geoclip"):
        location_features(spec, np.zeros((1, 2)))


def test_no_training_image_is_near_a_test_image():
    places = sample_land(3000, np.random.default_rng(4))
    training, testing = spatial_split(places, 0)
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
    training, testing = spatial_split(places, seed)
    return Task("planted", places, labels, ("east", "north"), training, testing, visual)


def test_locations_and_photos_together_are_better_than_either_where_they_tell_different_things():
    task = planted()
    noise = Task(**(vars(task) | {"coordinates": sample_sphere(1200, np.random.default_rng(9))}))
    rows = {row.features: row for row in probe(task, ["raw", "wrap"], seeds=[0, 1], config=SMALL)}
    assert list(rows) == ["raw", "wrap", VISUAL, f"raw + {VISUAL}", f"wrap + {VISUAL}"]
    assert rows["raw"].mean > 0.95
    assert rows[VISUAL].mean < 0.85 < rows[f"raw + {VISUAL}"].mean
    assert all(row.low < row.high and len(row.values) == 2 for row in rows.values())
    blind = probe(noise, ["raw"], seeds=[0], config=SMALL)[0]
    assert blind.mean < 0.7


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
    assert task.visual.shape == (9, 5)
    shown = cli("probe", "--nus-wide", folder, "--positions", positions, "--features", "raw", "--seeds", "0",
                "--set", "epochs=2", "--set", "hidden=8")  # fmt: skip
    assert "9 of 12 images have a position in geo.csv; the paper has 68,574" in shown.stdout
    assert "GeoCLIP + V 0.362" in shown.stdout


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("ConceptsList/Concepts81.txt", None, "there is no such file; NUS-WIDE's public files"),
        ("Groundtruth/AllLabels/Labels_car.txt", "1\n0\n", "2 labels for 12 images"),
        ("Groundtruth/AllLabels/Labels_car.txt", "2\n" * 12, "or others than 0 and 1"),
        ("Low_Level_Features/BoW_int.dat", "1 2\n", "has 1 rows for 12 images"),
        ("geo.csv", "image,latitude,longitude\nx.jpg,1,2\n", "none of its images is in"),
    ],
)
def test_files_of_nus_wide_that_do_not_fit_are_one_line(nus, file, content, says):
    folder, positions, _ = nus
    path = folder / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DatasetError, match=says):
        nus_wide(folder, positions)


def test_the_command_prints_the_table_and_json(cli, tiny_encoder):
    small = ["--limit", 300, "--visual", "tiny", "--seeds", "0,1", "--set", "epochs=2", "--set", "hidden=16"]
    shown = cli("probe", "--features", "raw,onehot", *small).stdout
    assert "onehot + visual" in shown and "* the highest" in shown
    found = json.loads(cli("probe", "--features", "raw", *small, "--json").stdout)
    assert [row["features"] for row in found] == ["raw", "visual", "raw + visual"]
    assert all(0 < row["95 %"][0] <= row["95 %"][1] < 1 for row in found)
    assert "go together" in cli("probe", "--nus-wide", "x", exit_code=2).stderr
