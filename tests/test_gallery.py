import numpy as np
import pytest

from geobench import Gallery, GalleryError, PluginError, UnknownNameError, get_gallery
from geobench.data.land import is_land, sample_land
from geobench.gallery import choose_gallery, default_gallery, is_oracle, needs_training, parse_size
from geobench.geo import METRES_PER_DEGREE, invalid_rows, nearest_km, sample_sphere, unit_vectors
from geobench.plugins import Plugin, get_model_class, registry

TRAINING = sample_sphere(3000, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "size"),
    [("21k", 21_000), ("1M", 1_000_000), ("5000", 5_000), ("1.5k", 1_500), ("0.1M", 100_000), ("1", 1)],
)
def test_sizes_are_written_as_the_papers_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "0", "0k", "-5", "1K", "1m", "1e3", "many", "1 k", "1G", "٣k5"])
def test_what_is_no_size_is_refused_with_examples(text):
    with pytest.raises(GalleryError, match="is not a valid gallery size; use a number such as 5000, 21k, 100k or 1M"):
        parse_size(text)


def test_a_bare_size_draws_from_the_training_coordinates_without_replacement():
    gallery = get_gallery("2k", TRAINING)
    assert (len(gallery), gallery.distinct, gallery.source, gallery.spec) == (2000, 2000, "training", "training:2000")
    assert set(map(tuple, gallery.coordinates)) <= set(map(tuple, TRAINING))
    assert get_gallery("training:2000", TRAINING).hash == gallery.hash


def test_a_gallery_of_all_training_coordinates_is_them():
    np.testing.assert_array_equal(get_gallery("3k", TRAINING).coordinates, TRAINING)


def test_a_gallery_larger_than_its_source_states_the_maximum():
    with pytest.raises(GalleryError, match="larger than its source, which has 3,000; ask for at most 3000"):
        get_gallery("3001", TRAINING)


def test_training_coordinates_without_a_model_are_refused():
    with pytest.raises(GalleryError, match="needs a trained model; use land:100k"):
        get_gallery("100k")


@pytest.mark.parametrize("spec", ["100", "land:100", "sphere:100"])
def test_the_seed_decides_the_draw(spec):
    first, again, other = (get_gallery(spec, TRAINING, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert first.hash == again.hash != other.hash
    assert (first.seed, other.seed) == (1, 2)


def test_a_negative_seed_is_refused():
    with pytest.raises(GalleryError, match="must be at least 0, not -1"):
        get_gallery("sphere:100", seed=-1)


def test_a_sphere_gallery_is_uniform_by_area():
    gallery = get_gallery("sphere:20k")
    sines = np.sin(np.radians(gallery.coordinates[:, 0]))
    # The sine of the latitude is uniform: each tenth of its range holds 2000 ± 42 points.
    counts, _ = np.histogram(sines, bins=10, range=(-1, 1))
    assert np.abs(counts - 2000).max() < 5 * 42
    assert np.abs(unit_vectors(gallery.coordinates).mean(axis=0)).max() < 0.02
    assert not len(invalid_rows(gallery.coordinates))


def test_a_land_gallery_is_on_land_and_two_thirds_of_it_in_the_north():
    gallery = get_gallery("land:20k")
    assert len(gallery) == 20_000
    assert is_land(gallery.coordinates).all()
    # 68 % of the land is north of the equator, 9 % is Antarctica (14.2 of 148.9 million km², lakes apart).
    assert np.mean(gallery.coordinates[:, 0] > 0) == pytest.approx(0.68, abs=0.02)
    assert np.mean(gallery.coordinates[:, 0] < -60) == pytest.approx(0.09, abs=0.02)


def test_a_larger_land_gallery_begins_with_the_points_of_its_own_seed_only():
    assert get_gallery("land:50").hash != get_gallery("land:50", seed=1).hash
    assert get_gallery("land:50").spec == "land:50"


def test_a_csv_file_is_a_gallery_and_its_spec_makes_it_again(tmp_path):
    path = tmp_path / "places.csv"
    path.write_text("town,lat,lon\nParis,48.86,2.35\nLima,-12.05,-77.04\nParis,48.86,2.35\n")
    gallery = get_gallery(str(path))
    assert gallery.coordinates.tolist() == [[48.86, 2.35], [-12.05, -77.04], [48.86, 2.35]]
    assert (len(gallery), gallery.distinct, gallery.source) == (3, 2, str(path))
    assert get_gallery(gallery.spec).hash == gallery.hash


@pytest.mark.parametrize(
    ("text", "expected"),
    [("lat,lon\n", "no rows"), ("lat,lon\n95,0\n", "line 2"), ("lat,town\n1,x\n", "no longitude column")],
)
def test_a_csv_file_that_cannot_be_used_is_a_gallery_error_that_names_it(tmp_path, text, expected):
    (tmp_path / "places.csv").write_text(text)
    with pytest.raises(GalleryError, match=rf"places\.csv.*{expected}"):
        get_gallery(str(tmp_path / "places.csv"))


def test_a_csv_file_that_is_not_there_is_named():
    with pytest.raises(GalleryError, match=r"nowhere\.csv: there is no such file"):
        get_gallery("nowhere.csv")


def test_an_unknown_source_gets_the_nearest_name_and_the_way_to_write_one():
    with pytest.raises(UnknownNameError, match=r"unknown gallery 'lnd:5k'; .*land.* Use SOURCE:SIZE"):
        get_gallery("lnd:5k")


def test_the_default_gallery_of_a_large_training_set_is_as_asked_for_and_says_nothing():
    gallery, note = default_gallery("2k", TRAINING)
    assert (len(gallery), note) == (2000, "")
    assert default_gallery("land:10", TRAINING)[0].source == "land"


@pytest.mark.parametrize("spec", ["100k", "training:100k"])
def test_the_default_gallery_of_a_small_training_set_is_all_of_it_and_says_so(spec):
    gallery, note = default_gallery(spec, TRAINING)
    np.testing.assert_array_equal(gallery.coordinates, TRAINING)
    assert f"the default gallery {spec} is larger than the training set of the model; using all of its" in note
    assert "3,000 coordinates" in note


def test_a_model_that_was_not_trained_needs_a_gallery_by_name():
    model = get_model_class("random")()
    with pytest.raises(GalleryError, match="random was not trained and has no training coordinates; name a gallery"):
        choose_gallery(model, None, "100k")
    gallery, note = choose_gallery(model, "land:5", "100k")
    assert (gallery.spec, note) == ("land:5", "")
    assert choose_gallery(model, None, "sphere:7")[0].spec == "sphere:7"


def test_a_model_that_uses_no_gallery_gets_none():
    assert choose_gallery(get_model_class("most-frequent")(), "land:5", "100k") == (None, "")


@pytest.fixture
def plugin_gallery(monkeypatch):
    """Return a function that registers what ``make()`` returns as the gallery ``ports``."""

    def add(make):
        monkeypatch.setitem(registry().galleries, "ports", make)
        owner = Plugin("test", "test-distribution", "1.0", "tests")
        monkeypatch.setitem(registry().owners, ("gallery", "ports"), owner)

    return add


def test_a_gallery_of_a_plugin_is_drawn_without_replacement(plugin_gallery):
    plugin_gallery(lambda: TRAINING)
    np.testing.assert_array_equal(get_gallery("ports:3k").coordinates, TRAINING)
    drawn = get_gallery("ports:100", seed=1)
    assert drawn.distinct == 100
    assert set(map(tuple, drawn.coordinates)) <= set(map(tuple, TRAINING))
    assert drawn.hash == get_gallery(drawn.spec, seed=1).hash != get_gallery(drawn.spec, seed=2).hash
    with pytest.raises(GalleryError, match="the gallery ports has only 3,000 coordinates; ask for at most 3000"):
        get_gallery("ports:3001")


def test_a_gallery_of_a_plugin_that_fails_is_one_line_that_names_its_distribution(plugin_gallery):
    plugin_gallery(lambda: 1 / 0)
    with pytest.raises(PluginError, match=r"the gallery ports \(test-distribution 1\.0\) failed .*ZeroDivisionError"):
        get_gallery("ports:10")


def test_the_hash_follows_every_coordinate():
    one, other = TRAINING.copy(), TRAINING.copy()
    other[-1, -1] += 1e-12
    assert Gallery(one, "a").hash == Gallery(TRAINING, "b").hash != Gallery(other, "a").hash


def towns(n, rng, count=400):
    """Return ``n`` coordinates as photos have them: around ``count`` towns, at lognormal distances of median 1 km."""
    centres = sample_sphere(count, np.random.default_rng(1), south=-60, north=60)
    places, angle = centres[rng.integers(0, count, n)], rng.uniform(0, 2 * np.pi, n)
    metres = 1000 * np.exp(1.5 * rng.normal(size=n))
    moved = places + np.stack([np.cos(angle), np.sin(angle)], axis=1) * metres[:, None] / METRES_PER_DEGREE
    return moved.clip((-90, -180), (90, 180))


TEST = towns(500, np.random.default_rng(2))
OTHERS = towns(100_000, np.random.default_rng(3))
ROUNDED = {
    "exact": TEST,
    "float32": TEST.astype(np.float32).astype(np.float64),
    "five decimals": TEST.round(5),
    "four decimals": TEST.round(4),
    "three decimals": TEST.round(3),
    "cut to four decimals": np.trunc(TEST * 1e4) / 1e4,
}


@pytest.mark.parametrize("written", ROUNDED)
def test_a_gallery_of_the_test_coordinates_is_an_oracle_however_they_were_rounded(written):
    assert Gallery(ROUNDED[written], "a").count_of(TEST) > 0.85 * len(TEST)
    assert is_oracle(Gallery(np.concatenate([OTHERS[:2000], ROUNDED[written]]), "a").count_of(TEST), len(TEST))


@pytest.mark.parametrize("decimals", [8, 5, 4, 3])
def test_other_photos_of_the_same_towns_are_no_oracle_although_they_are_near(decimals):
    dense = OTHERS.round(decimals)
    assert np.mean(nearest_km(TEST, dense) <= 0.1) > 0.3
    assert Gallery(dense, "a").count_of(TEST) < 0.05 * len(TEST)


def near_zero(*metres):
    """Return coordinates so many metres north of 0, 0."""
    return np.array([(north / METRES_PER_DEGREE, 0.0) for north in metres])


@pytest.mark.parametrize(
    ("points", "held"),
    [
        ((0.1,), True),  # one position written twice, whatever else is near
        ((0.1, 0.6), True),
        ((0.3, 2.9), False),  # not ten times nearer than the next
        ((0.3, 3.4), True),
        ((99.0,), True),
        ((99.0, 99.0), True),  # the same point twice is one
        ((101.0,), False),
        ((99.0, 980.0), False),
        ((99.0, 1010.0), True),
    ],
)
def test_a_point_is_held_within_100_metres_if_it_is_ten_times_nearer_than_the_next(points, held):
    assert Gallery(near_zero(*points), "a").count_of(near_zero(0.0)) == held


def test_an_empty_gallery_or_test_set_holds_nothing():
    assert Gallery(np.empty((0, 2)), "a").count_of(TEST) == 0
    assert Gallery(TEST, "a").count_of(np.empty((0, 2))) == 0


def test_a_rounded_point_is_held_across_the_antimeridian():
    across = Gallery(np.array([[10.0, 179.99999]]), "a")
    assert across.count_of(np.array([[10.0, -180.0]])) == 1


ASHORE = sample_land(200, np.random.default_rng(3))
WHERE = np.array([(-33.8568, 151.2153), (48.8566, 2.3522), (0.5, -78.5)])


def text(rows=WHERE, header="latitude,longitude", separator=","):
    return "\n".join([header, *(separator.join(f"{value:.4f}" for value in row) for row in rows)]) + "\n"


def array(path, values):
    np.save(path, values)


def parquet(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)


FILES = {
    "a CSV file": ("g.csv", text()),
    "a CSV file in capitals": ("G.CSV", text()),
    "a text file": ("g.txt", text()),
    "tabs": ("g.tsv", text(header="lat\tlon", separator="\t")),
    "another suffix": ("g.data", text()),
    "no suffix, in a folder": ("runs/g", text()),
    "commas in the path": ("a, b,c.csv", text()),
    "cells of the ISN authors": (
        "cells.csv",
        "class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean\n"
        + "".join(f"{n},4{n},60,{a},{b}\n" for n, (a, b) in enumerate(WHERE)),
    ),
    "decimal commas": ("g.csv", text(header="latitude;longitude", separator=";").replace(".", ",")),
    "sep=;": ("g.csv", "sep=;\n" + text(header="latitude;longitude", separator=";")),
    "a title above and a remark below": ("g.csv", "My places\n" + text() + "\nthree places\n"),
    "columns named behind it": ("g.csv#breite:laenge", text(header="breite,laenge")),
    "columns named in another order": (
        "g.csv#breite:laenge",
        text(WHERE[:, ::-1], header="laenge,breite"),
    ),
    "an array of float64": ("g.npy", lambda path: array(path, WHERE)),
    "an array of float32": ("g.npy", lambda path: array(path, WHERE.astype(np.float32))),
    "parquet": ("g.parquet", lambda path: parquet(path, lat=WHERE[:, 0], lon=WHERE[:, 1])),
    "parquet with its columns named": ("g.parquet#b:l", lambda path: parquet(path, l=WHERE[:, 1], b=WHERE[:, 0])),
}


def written(spec, content, folder):
    path = folder / (spec.rpartition("#")[0] or spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    content(path) if callable(content) else path.write_text(content)
    return f"{path.parent}/{spec.rpartition('/')[2]}"


@pytest.mark.reliability("galleries")
@pytest.mark.parametrize("what", FILES)
def test_a_gallery_is_read_from_a_file(what, tmp_path, cli):
    spec = written(*FILES[what], tmp_path / "files")
    gallery = get_gallery(spec)
    np.testing.assert_allclose(gallery.coordinates, WHERE, atol=1e-4)
    assert (gallery.drawn, gallery.spec) == (False, spec)
    assert not needs_training(spec)
    seen = cli("ceiling", "--datasets", "bluemarble", "--galleries", f"land:50,{spec},sphere:60")
    assert f"  {spec} " in seen.stdout


WRONG = {
    "a file that is not there": ("places.csv", None, "there is no such file"),
    "an array that is not there": ("places.npy", None, "there is no such file"),
    "a path that is not there": ("runs/places", None, "there is no such file"),
    "a folder": ("places.d", lambda path: path.mkdir(), "is a folder; a gallery is a table"),
    "an empty file": ("places.csv", "", "has no rows"),
    "a table without positions": ("places.txt", "a,b\n1,2\n", "has no latitude column"),
    "no header": ("places.txt", "48.8566,2.3522\n1,2\n", "looks like a row of data; add a header"),
    "an image called .csv": ("places.csv", lambda path: path.write_bytes(b"\x89PNG\r\n"), "is a PNG image"),
    "an array of three columns": ("g.npy", lambda path: array(path, np.zeros((4, 3))), r"holds float64 \(4, 3\)"),
    "an array of text": ("g.npy", lambda path: array(path, np.array([["1", "2"]])), "a gallery is numbers"),
    "an array of objects": ("g.npy", lambda path: array(path, np.array([[None, 2]])), "is not a readable array"),
    "no array in .npy": ("g.npy", text(), "is not a readable array"),
    "an empty array": ("g.npy", lambda path: array(path, np.zeros((0, 2))), "holds no positions"),
    "NaN in an array": ("g.npy", lambda path: array(path, np.array([[1, np.nan]])), "NaN or out of range"),
    "a swapped array": ("g.npy", lambda path: array(path, WHERE[:, ::-1]), "look swapped"),
    "an array in radians": ("g.npy", lambda path: array(path, np.radians(ASHORE)), "look like radians"),
    "a table in radians": ("g.csv", text(np.radians(ASHORE)), "look like radians"),
    "parquet without positions": ("g.parquet", lambda path: parquet(path, a=[1.0], b=[2.0]), "has no latitude column"),
    "a column that is not there": ("g.csv#north:east", text(), "no latitude column .looked for 'north'"),
    "one column named": ("g.csv#north", text(), "name both columns"),
    "damaged parquet": ("g.parquet", "PAR1", "is not a readable parquet file"),
}


@pytest.mark.reliability("galleries")
@pytest.mark.parametrize("what", WRONG)
def test_a_gallery_that_cannot_be_read_says_so(what, tmp_path):
    name, content, says = WRONG[what]
    spec = written(name, content, tmp_path / "files") if content is not None else str(tmp_path / name)
    with pytest.raises(GalleryError, match=says) as told:
        get_gallery(spec)
    assert "\n" not in str(told.value)


def test_a_size_and_a_source_are_no_files(tmp_path, monkeypatch):
    assert all(needs_training(spec) for spec in ("1.5k", "100k", "training:21k", "5000"))
    assert not any(needs_training(spec) for spec in ("land:1.5k", "x.npy", "~/x", "x.txt"))
    with pytest.raises(UnknownNameError, match="unknown gallery 'lnd:100k'"):
        get_gallery("lnd:100k")
    (tmp_path / "5000").write_text("latitude,longitude\n1,2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "g.csv").write_text(text())
    assert len(get_gallery("~/g.csv")) == 3


@pytest.mark.parametrize("how", ["float32", "four decimals", "three decimals", "float64"])
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_a_gallery_that_holds_the_test_positions_is_an_oracle_however_they_are_rounded(how, suffix, tmp_path):
    truth = sample_sphere(500, np.random.default_rng(4))
    rounded = {"float32": truth.astype(np.float32), "float64": truth}
    rounded |= {"four decimals": truth.round(4), "three decimals": truth.round(3)}
    places = np.concatenate([rounded[how].astype(np.float64), TRAINING])
    path = tmp_path / f"g{suffix}"
    if suffix == ".npy":
        np.save(path, places.astype(np.float32) if how == "float32" else places)
    else:
        np.savetxt(path, places, delimiter=",", header="latitude,longitude", comments="", fmt="%.9g")
    gallery = get_gallery(str(path))
    assert gallery.count_of(truth) >= 495
    assert is_oracle(gallery.count_of(truth), len(truth))
    assert gallery.count_of(sample_sphere(500, np.random.default_rng(5))) == 0
