"""Maps: projection and coastlines against independent figures, pictures by the pixels they must show."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geobench import PluginError, SettingError, get_dataset, get_gallery, get_model, train
from geobench.data.land import is_land
from geobench.geo import EARTH_RADIUS_KM, haversine_km, sample_sphere
from geobench.pictures.canvas import MARK, shore
from geobench.pictures.maps import MOST_PANELS, Panel, draw_positions, draw_similarity
from geobench.pictures.worldmap import (
    LAND_KINDS,
    X_MAX,
    Y_MAX,
    _lines,
    borders,
    coastlines,
    equal_earth,
    inverse_equal_earth,
    land_grid,
)
from geobench.predict import predict
from geobench_plugins.geoclip.network import equal_earth as equal_earth_of_geoclip

RNG = np.random.default_rng(0)
LISBON, SYDNEY, LIMA = (38.7, -9.1), (-33.9, 151.2), (-12.0, -77.0)
GRID = land_grid(120)
SMALL = {"batch_size": 8, "queue_length": 16, "hidden_dim": 16, "fourier_rows": 8, "head_dim": 24, "dim": 12}


pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_projection_is_the_one_that_geoclip_has_in_torch():
    points = sample_sphere(200, RNG)
    ours, torchs = equal_earth(points), equal_earth_of_geoclip(torch.tensor(points), scale=180.0).numpy()
    assert np.abs(ours - torchs).max() < 1e-12
    assert equal_earth(np.array([[0.0, 180.0], [90.0, 0.0]])) == pytest.approx(np.array([[X_MAX, 0], [0, Y_MAX]]))


def test_the_inverse_leads_back_to_the_coordinates():
    points = np.array([[latitude, longitude] for latitude in (-89.0, -33.0, 0.0, 71.5) for longitude in (-179.0, 12.0)])
    projected = equal_earth(points)
    back = [inverse_equal_earth(x, y)[0, 0] for x, y in projected[:, :, None]]
    assert np.allclose(back, points, atol=1e-9)


def test_what_is_outside_the_map_has_longitudes_beyond_180_and_is_not_wrapped_around():
    x, y = equal_earth(np.array([[60.0, 180.0]])).T
    found = inverse_equal_earth(x * np.array([0.5, 1.5]), y)[0]
    assert np.allclose(found, [[60, 90], [60, 270]])
    assert np.allclose(equal_earth(found)[:, 0], x * [0.5, 1.5])


@pytest.mark.parametrize(
    "stated", [50654050.6945, 29220969.727, 20154740.09, 17534164.0668, 7592691.58283, 13919140.5654]
)
def test_the_projected_areas_of_the_continents_are_those_that_the_coastline_file_states(stated):
    # What crosses ±180° comes in two parts, and both state the area of the whole.
    parts = [line for _, area, line in _lines("gshhs", "c") if area == stated]
    assert len(parts) == (2 if stated > 5e7 or stated == 13919140.5654 else 1)  # Eurasia and Antarctica
    area = 0.0
    for part in parts:
        x, y = equal_earth(part).T
        area += abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2 * EARTH_RADIUS_KM**2
    assert area == pytest.approx(stated, rel=0.02)


def test_small_islands_are_left_out_and_borders_are_lines_on_the_globe():
    assert len(coastlines(LAND_KINDS, 0)) > len(coastlines(LAND_KINDS, 1000)) > 100
    found = np.concatenate(borders())
    assert len(borders()) > 400 and (np.abs(found) <= (90, 180)).all()
    # Points of the border of Portugal and Spain.
    assert haversine_km(found, np.full_like(found, (38.9, -7.05))).min() < 30


def test_no_shore_is_drawn_where_the_file_cuts_land_at_180_degrees_and_at_the_pole():
    drawn = [part for line in coastlines(LAND_KINDS, 0) for part in shore(line)]
    for part in drawn:
        cut = (np.abs(part[:, 1]) == 180) | (part[:, 0] == -90)
        assert not (cut[1:] & cut[:-1]).any()
        assert np.abs(np.diff(part[:, 1])).max() < 20
    n = sum(len(line) for line in coastlines(LAND_KINDS, 0))
    assert n - 50 < sum(len(part) for part in drawn) <= n


def test_the_grid_covers_the_land_in_cells_of_one_area():
    grid = land_grid(360)
    cell_km2 = (2 * X_MAX / 360 * EARTH_RADIUS_KM) ** 2
    # 149 million km² of land; cells that a coast cuts, and their neighbours, come on top.
    assert 149e6 < cell_km2 * len(grid.coordinates) < 149e6 * 1.4
    assert is_land(grid.coordinates).mean() > 0.7
    for place, near in ((LISBON, True), (SYDNEY, True), ((0.0, -150.0), False), ((-85.0, 10.0), True)):
        distance = haversine_km(grid.coordinates, np.full_like(grid.coordinates, place)).min()
        assert (distance < 80) == near, place


def test_an_image_of_the_grid_has_north_above_and_east_on_the_right():
    latitude, longitude = (GRID.image(GRID.coordinates[:, axis]) for axis in (0, 1))
    assert latitude.shape == (round(120 * Y_MAX / X_MAX), 120)
    assert np.isnan(latitude).sum() == latitude.size - len(GRID.coordinates)
    rows = np.nanmean(latitude, axis=1)
    assert (np.diff(rows[~np.isnan(rows)]) < 0).all()
    for row in longitude:
        assert (np.diff(row[~np.isnan(row)]) > 0).all() and not np.abs(row[~np.isnan(row)]).max(initial=0) > 180


def near(place):
    """A similarity that falls with the distance to ``place``."""
    return np.exp(-haversine_km(GRID.coordinates, np.full_like(GRID.coordinates, place)) / 500)


def middle(path, wanted):
    """The middle (x, y) of the pixels for which ``wanted(r, g, b)``, as shares of the picture's size."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    pixels[:, int(0.88 * pixels.shape[1]) :] = pixels[int(0.92 * pixels.shape[0]) :] = 255  # colour bar and legend
    rows, columns = np.nonzero(wanted(*np.moveaxis(pixels, 2, 0)))
    assert len(rows) > 20
    return np.array([np.median(columns) / pixels.shape[1], np.median(rows) / pixels.shape[0]])


def dark_brown(r, g, b):
    return (r > 90) & (r < 200) & (g < 90) & (b < 20)


def marked(r, g, b):
    return abs(r - int(MARK[1:3], 16)) + abs(g - int(MARK[3:5], 16)) + abs(b - int(MARK[5:7], 16)) < 12


def test_the_heat_is_where_the_similarity_is_and_the_star_where_the_prediction_is(tmp_path):
    draw = {}
    for name, hot, star in (("a", LISBON, SYDNEY), ("b", LIMA, LISBON)):
        draw_similarity([Panel("x", near(hot), np.array([star]))], GRID, tmp_path / f"{name}.png", "title")
        draw[name] = middle(tmp_path / f"{name}.png", dark_brown), middle(tmp_path / f"{name}.png", marked)
    (hot_a, star_a), (hot_b, star_b) = draw["a"], draw["b"]
    shift = equal_earth(np.array([LISBON, LIMA, SYDNEY]))
    width = (hot_a - hot_b)[0] / (shift[0] - shift[1])[0]
    assert width == pytest.approx(1 / (2 * X_MAX) * 0.88, rel=0.12)  # the map takes nearly nine tenths of the width
    assert (star_a - star_b)[0] == pytest.approx(width * (shift[2] - shift[0])[0], rel=0.12)
    assert hot_a[1] < hot_b[1] and star_b[1] < star_a[1]


def test_a_panel_for_each_query_a_photo_beside_it_and_a_title_as_it_was_typed(tmp_path):
    photo = Image.new("RGB", (40, 30), (255, 0, 255))
    panels = [
        # Not mathematics, not markup.
        Panel("$x_1$ costs $5 & <b>", near(LIMA), np.array([LIMA, LISBON])),
        Panel("photo.jpg", near(SYDNEY), np.array([SYDNEY]), photo),
        Panel("a text far too long for a panel " * 9, near(LISBON), np.array([LISBON])),
    ]
    draw_similarity(panels, GRID, tmp_path / "map.png", "title")
    magenta = middle(tmp_path / "map.png", lambda r, g, b: (r == 255) & (g == 0) & (b == 255))
    assert magenta[0] > 0.5 and magenta[1] < 0.5  # of the second of two columns, in the first row
    draw_similarity(panels, GRID, tmp_path / "map.svg", "title")
    drawn = (tmp_path / "map.svg").read_text()
    assert "a text far too long for a panel a text far t…" in drawn
    assert "$x_1$ costs $5 &amp; &lt;b&gt;" in drawn and drawn.count("cosine similarity") >= 3
    assert "best prediction" in drawn and "prediction 2" in drawn
    assert "60° N" in drawn and "120° W" in drawn


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_a_map_is_written_as_its_name_says_and_is_the_same_each_time(tmp_path, suffix, start):
    written = []
    for name in ("a", "b"):
        draw_similarity([Panel("x", near(LIMA), np.array([LIMA]))], GRID, tmp_path / f"{name}{suffix}", "title")
        written.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert written[0].startswith(start) and written[0] == written[1]


def test_letters_that_the_font_has_not_are_no_warning(tmp_path, recwarn):
    draw_similarity(
        [Panel("\u6771\u4eac \U0001f3d4", near(LIMA), np.array([LIMA]))], GRID, tmp_path / "map.png", "title"
    )
    assert not list(recwarn)


def test_a_constant_similarity_is_a_map_of_one_colour(tmp_path):
    flat = np.full(len(GRID.coordinates), 0.25)
    draw_similarity([Panel("x", flat, np.array([LIMA]))], GRID, tmp_path / "map.png", "title")
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_more_queries_than_fit_are_refused(tmp_path):
    panels = [Panel("x", near(LIMA), np.array([LIMA]))] * (MOST_PANELS + 1)
    with pytest.raises(SettingError, match="room for 40 queries, not 41"):
        draw_similarity(panels, GRID, tmp_path / "map.png", "title")


@pytest.fixture
def geoclip():
    """GeoCLIP trained for a moment on features of the tiny encoder."""
    checkpoint = train(
        "geoclip",
        data="bluemarble",
        encoder="tiny",
        limit=16,
        epochs=1,
        settings=SMALL,
        workers=0,
        device="cpu",
        name="small",
    )
    return checkpoint.restored()


@pytest.fixture
def crops(tmp_path):
    """Two photos and a file that is none."""
    paths = [tmp_path / name for name in ("himalaya.png", "sahara.png", "broken.jpg")]
    for path, name in zip(paths, ("+28.00000+84.00000", "+23.00000+10.00000"), strict=False):
        get_dataset("bluemarble").read_image(name, "test").save(path)
    paths[2].write_bytes(b"<html>")
    return paths


def test_predict_draws_the_photos_that_it_can_read(geoclip, crops, cli):
    done = cli(
        "predict",
        *crops,
        "--model",
        "geoclip@small",
        "--gallery",
        "land:30",
        "--map",
        "out/map.svg",
        "--json",
        exit_code=1,
    )
    assert len(json.loads(done.stdout)) == 10 and "wrote out/map.svg" in done.stderr
    drawn = Path("out/map.svg").read_text()
    assert "himalaya.png" in drawn and "sahara.png" in drawn and "broken.jpg" not in drawn
    assert geoclip.checkpoint.spec in drawn


def test_maps_of_two_models_lie_side_by_side_told_apart_and_the_first_has_the_predictions(geoclip, crops, monkeypatch):
    settings = SMALL | {"hidden_dim": 8}
    how = {"encoder": "tiny", "limit": 16, "epochs": 1, "workers": 0, "device": "cpu", "name": "narrow"}
    other = train("geoclip", data="bluemarble", settings=settings, **how).restored()
    drawn = []

    def keep(panels, *rest):
        drawn.extend(panels)
        return draw_similarity(panels, *rest)

    monkeypatch.setattr("geobench.predict.draw_similarity", keep)
    predict(geoclip, crops[:2], "land:30", map_to=Path("map.svg"), beside=[other])
    assert [panel.title for panel in drawn] == [
        f"{name}, hidden_dim {width}" for name in ("himalaya.png", "sahara.png") for width in (16, 8)
    ]
    assert [len(panel.places) for panel in drawn] == [5, 0, 5, 0]
    assert not np.allclose(drawn[0].similarity, drawn[1].similarity)
    with pytest.raises(SettingError, match="models are compared on a map; say where to save it"):
        predict(geoclip, crops[:1], "land:30", beside=[other])


def test_with_no_readable_photo_there_is_no_map(geoclip, crops, cli, tmp_path):
    done = cli(
        "predict",
        crops[2],
        "--model",
        "geoclip@small",
        "--gallery",
        "land:30",
        "--map",
        tmp_path / "map.png",
        exit_code=1,
    )
    assert "wrote" not in done.stderr and not (tmp_path / "map.png").exists()


def test_geoclip_is_most_similar_to_the_place_that_it_predicts(geoclip):
    gallery, features = get_gallery("land:200"), RNG.normal(size=(5, 3, 48)).astype(np.float32)
    similarity = geoclip.similarity(features, gallery.coordinates)
    assert similarity.shape == (5, 200) and np.abs(similarity).max() <= 1 + 1e-6
    found = geoclip.locate(features, gallery, top_k=200)
    for row, places in zip(similarity, found.coordinates, strict=True):
        assert np.allclose(gallery.coordinates[np.argsort(-row)][:3], places[:3])


def test_a_model_that_looks_at_no_photo_says_so_before_it_computes_anything(crops, cli):
    spec = train("most-frequent", data="bluemarble", limit=16, workers=0).spec
    done = cli("predict", crops[0], "--model", spec, "--map", "map.png", exit_code=1)
    assert done.stderr.splitlines()[-1] == (
        "Error: most-frequent has neither a similarity between a query and a place nor scores that a query decides, so "
        "there is nothing to map."
    )


def test_a_model_with_scores_alone_has_them_painted_around_its_predictions(crops, cli, monkeypatch):
    drawn = []
    monkeypatch.setattr("geobench.predict.draw_similarity", lambda *given: drawn.append(given))
    knn = get_model(train("knn", data="bluemarble", encoder="tiny", limit=16, workers=0).spec, "cpu")
    table = predict(knn, [crops[0]], top_k=16, map_to=Path("map.png"))
    ((panel,), grid, _, title) = drawn[0]
    assert title == f"Scores of places within 150 km, {knn.checkpoint.spec}"
    places, scores = table[["latitude", "longitude"]].to_numpy(float), table["score"].to_numpy(float)
    expected = np.zeros(len(grid.coordinates))
    for place, score in zip(places, scores, strict=True):
        near = haversine_km(grid.coordinates, np.tile(place, (len(expected), 1))) <= 150
        expected[near] = np.maximum(expected[near], score)
    np.testing.assert_allclose(panel.similarity, expected, rtol=1e-6)
    assert 0 < (panel.similarity > 0).sum() < len(expected) / 10 and panel.label == "score"


def test_a_file_of_another_kind_is_refused_with_those_that_there_are(geoclip, crops, cli):
    done = cli("predict", crops[0], "--model", "geoclip@small", "--map", "map.gif", exit_code=2)
    assert "a map is saved as a file that ends in .png, .pdf, .svg, not as 'map.gif'." in done.stderr


@pytest.mark.parametrize("wrong", [lambda n, m: np.zeros((m, n)), lambda n, m: np.full((n, m), np.nan)])
def test_a_similarity_of_the_wrong_shape_or_not_finite_names_the_model(geoclip, crops, tmp_path, wrong):
    geoclip.similarity = lambda features, coordinates: wrong(len(features), len(coordinates))
    with pytest.raises(PluginError, match="returned a similarity of shape"):
        predict(geoclip, crops[:1], "land:30", map_to=tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


def test_a_map_of_a_data_set_shows_its_images(cli, register, tmp_path):
    few = replace(get_dataset("bluemarble"), name="few", title="A few", south=-40, north=-10)
    register("dataset", replace(few, splits={"train": {"count": 3500, "seed": 0}, "test": {"count": 60, "seed": 1}}))
    for split, count in (("test", 60), ("train", 3500)):
        done = cli("datasets", "map", "few", "--split", split, "--output", f"{split}.svg")
        assert done.stderr == f"wrote {split}.svg\n"
        drawn = Path(f"{split}.svg").read_text()
        assert f"A few, {split}: {count:,} images" in drawn
        assert ("images per hexagon of 46,000 km²" in drawn) == (split == "train")


def test_positions_one_by_one_and_counted_are_drawn_where_they_are(tmp_path):
    for n, wanted in ((400, marked), (4000, lambda r, g, b: (r > 90) & (g < 190) & (b < 60))):
        places = {}
        for name, place in (("west", LIMA), ("east", SYDNEY)):
            spread = np.array(place) + RNG.normal(scale=1.5, size=(n, 2))
            draw_positions(spread, tmp_path / "map.png", "title")
            places[name] = middle(tmp_path / "map.png", wanted)
        assert 0.1 < places["west"][0] < 0.4 and 0.7 < places["east"][0] < 0.95
        assert places["west"][1] < places["east"][1]


def test_a_data_set_that_is_not_here_is_one_line(cli):
    done = cli("datasets", "map", "im2gps3k", "--output", "map.png", exit_code=1)
    assert done.stderr.startswith("Error: im2gps3k is not on this machine")


def test_the_modules_of_maps_load_no_matplotlib_and_no_pyproj_before_they_draw():
    modules = "geobench.predict, geobench.pictures.maps, geobench.pictures.worldmap"
    code = f"import sys, {modules}; print({{'matplotlib', 'pyproj'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
