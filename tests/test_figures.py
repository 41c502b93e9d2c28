"""Pictures: each is drawn, as wide as it says, with its letters inside; what stands in them is what was measured."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geobench import Predictions, ResultError, get_metrics
from geobench.analysis.details import DetailedResult
from geobench.data.land import sample_land
from geobench.geo import FARTHEST_KM
from geobench.metrics import ScoredImages, scores_of, thresholds_of
from geobench.pictures.bars import draw_breakdown
from geobench.pictures.canvas import save, styled
from geobench.pictures.curves import COLUMN_INCHES, PRINT_DPI, _spread, draw_cdf, draw_frontier
from geobench.pictures.error_maps import draw_error_map
from geobench.pictures.palette import error_colours
from geobench.report.figures import STYLE, SUFFIXES, _settled, draw, labels
from geobench.report.rows import rows
from geobench.statistics.intervals import share_interval

LEVELS = thresholds_of(get_metrics())
TRUTH = sample_land(80, np.random.default_rng(0), -55, 70)


@pytest.fixture
def result(make_result):
    """Return a function that makes a result over 80 places of the world, off by some km to the north."""

    def make(off_km=100.0, n=80, seed=0, **changes):
        rng = np.random.default_rng(seed)
        truth = TRUTH[:n]
        predicted = truth + np.stack([off_km * rng.exponential(size=n) / 111.2, np.zeros(n)], axis=1)
        failed = np.arange(n) == 3
        predicted[failed] = np.nan
        predicted = np.clip(predicted, -90, 90)
        predictions = Predictions(predicted[:, None], np.where(failed, np.nan, 0.5)[:, None], failed)
        names = np.array([f"photo-{number}.jpg" for number in range(n)], dtype=object)
        scores = scores_of(ScoredImages(predictions.errors_km(truth)), get_metrics())
        made = make_result(n=n, failed=1, expected=n, scores=scores, **changes)
        return replace(made, predictions=predictions, truth=truth, names=names)

    return make


def drawn(make):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with styled(**STYLE):
        figure = _settled(make())
        FigureCanvasAgg(figure).draw()
    return figure


def texts_inside(figure):
    """Return the visible texts of ``figure``; fail where one is cut off at its edge."""
    from matplotlib.text import Text

    width, height = figure.canvas.get_width_height()
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
    renderer = figure.canvas.get_renderer()
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    }  # those beyond the limits are there and are not drawn
    for text in set(shown) - ticks:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()
    return [t.get_text() for t in shown]


def named(*results):
    found = rows(results, "none")
    return dict(zip(labels(found), found, strict=True))


def test_every_picture_is_drawn_in_every_format_and_a_second_time_byte_for_byte(result, tmp_path):
    extra = pd.DataFrame({"S3_Label": [str(number % 3) for number in range(80)]})
    bare = {"predictions": None, "truth": None, "names": None, "model": "geoclip"}
    small, large = (result(off, key=key * 16) for off, key in ((300, "b"), (90, "c")))
    made = [
        replace(result(100, key="a" * 16), extra=extra),
        replace(small, gallery="training:100", gallery_size=100, **bare),  # the record alone has a frontier
        replace(large, gallery="training:5000", gallery_size=5000, **bare),
    ]
    paths = draw(made, tmp_path / "one")
    stems = {"mine-cdf", "mine-continent", "mine-scene", "mine-map-knn", "mine-hits-knn", "mine-frontier-geoclip"}
    assert {path.stem for path in paths} == stems and {path.suffix for path in paths} == set(SUFFIXES)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(path.name for path in paths)
    for suffix in reversed(SUFFIXES):
        again = tmp_path / f"again{suffix}"
        with styled(**STYLE):
            save(_settled(draw_cdf(named(*made[:1]))), again, tight=False)
        assert again.read_bytes() == (tmp_path / "one" / f"mine-cdf{suffix}").read_bytes()
    with Image.open(tmp_path / "one" / "mine-cdf.png") as picture:
        assert picture.width == round(COLUMN_INCHES * PRINT_DPI)
    root = ET.parse(tmp_path / "one" / "mine-scene.svg").getroot()
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(7 * 72)
    assert not root.findall(".//{http://www.w3.org/2000/svg}text")  # letters are outlines: no font is needed
    pdf = (tmp_path / "one" / "mine-cdf.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_the_curve_is_the_share_of_images_within_each_distance(result):
    first, second = result(50, key="a" * 16), result(900, key="b" * 16, model="geoclip", gallery="")
    figure = drawn(lambda: draw_cdf(named(first, second)))
    (ax,) = figure.axes
    for line, made in zip(ax.get_lines()[:2], sorted((first, second), key=lambda r: r.model), strict=True):
        distances, share = line.get_data()
        expected = [100 * np.mean(made.errors <= km) for km in distances]
        assert share == pytest.approx(expected) and distances[-1] == pytest.approx(FARTHEST_KM) and share[-1] == 100
    shown = texts_inside(figure)
    assert {"1", "25", "200", "750", "2,500", "knn", "geoclip", "mine, n = 80"} <= set(shown)
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()[:2]}
    assert len({color for color, _ in styles}) == len({dash for _, dash in styles}) == 2


def test_the_bars_are_the_shares_of_each_group_with_their_intervals(result):
    made = result(200)
    figure = drawn(lambda: draw_breakdown(named(made), "continent"))
    ax = figure.axes[1]  # 200 km
    assert ax.get_xlabel() == "Within 200 km (%)"
    widths = [patch.get_width() for patch in ax.patches]
    assert widths[-1] == pytest.approx(made.scores["acc_200km"])
    low, high = share_interval(made.errors <= 200, DetailedResult(made).clusters)
    segment = ax.collections[0].get_segments()[-1]
    assert segment[:, 0] == pytest.approx([100 * low, 100 * high])
    assert any(text.startswith("all images (80)") for text in texts_inside(figure))


def test_the_map_has_every_image_in_the_colour_of_its_error(result):
    from matplotlib.colors import to_hex

    made = result(150)
    figure = drawn(lambda: draw_error_map(made, "knn", LEVELS))
    points = next(c for c in figure.axes[0].collections if len(c.get_offsets()) == 80)
    colours = [to_hex(colour) for colour in points.get_facecolors()]
    edges = (1, 25, 200, 750, 2500)
    for level, colour in enumerate(error_colours(len(LEVELS))):
        low, high = (0, *edges)[level], (*edges, np.inf)[level]
        inside = (made.errors > low) & (made.errors <= high) | ((level == 0) & (made.errors == 0))
        assert colours.count(colour) == inside.sum()
    shown = texts_inside(figure)
    assert any("1 failed" in text for text in shown)
    assert f"> 2,500 km ({100 * np.mean(made.errors > 2500):.1f} %)" in shown


def test_many_images_are_drawn_as_medians_of_hexagons(result, monkeypatch):
    monkeypatch.setattr("geobench.pictures.error_maps.MOST_POINTS", 50)
    figure = drawn(lambda: draw_error_map(result(150), "knn", LEVELS))
    cells = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    assert 0 < len(cells.get_array()) <= 80
    assert any(text.startswith("Median error in the hexagon") for text in texts_inside(figure))


def test_the_frontier_has_accuracy_time_and_memory_by_size_and_seeds_are_averaged(result):
    sizes = {100: (2.0, 4.0), 1000: (3.0, 5.0), 20_000: (9.0, 11.0)}
    made = [
        result(
            30_000 / size,
            seed=seed,
            key=f"{size}-{seed}".rjust(16, "0"),
            model="geoclip",
            gallery=f"training:{size}",
            gallery_size=size,
            seconds=seconds[seed],
            training_seed=0,
        )
        for size, seconds in sizes.items()
        for seed in (0, 1)
    ]
    made = [replace(each, seed=number % 2) for number, each in enumerate(made)]
    found = rows(made, "none")
    figure = drawn(lambda: draw_frontier(found, "geoclip"))
    accuracy, time, memory = figure.axes
    assert time.get_lines()[0].get_xdata().tolist() == list(sizes)
    assert time.get_lines()[0].get_ydata().tolist() == [3.0, 4.0, 10.0]
    assert memory.get_lines()[0].get_ydata().tolist() == [100.0] * 3
    line = accuracy.get_lines()[1]
    means = [np.mean([r.scores["acc_25km"] for r in made if r.gallery_size == size]) for size in sizes]
    assert line.get_ydata() == pytest.approx(means)
    assert {"100", "1k", "20k", "2,500 km"} <= set(texts_inside(figure))


def test_names_at_the_end_of_lines_keep_clear_of_each_other():
    heights = _spread([98.0, 99.0, 99.5, 99.6, 100.0], 6.5)
    assert heights[-1] == 100 and np.diff(heights).min() >= 6.5 - 1e-9
    assert _spread([1.0, 30.0, 60.0], 6.5) == [1.0, 30.0, 60.0]


def test_names_are_as_short_as_they_can_be_and_never_alike(result):
    made = [
        result(key="1" * 16),
        result(key="2" * 16, model="geoclip", gallery="training:100", gallery_size=100, checkpoint="a-s0-00000001"),
        result(key="3" * 16, model="geoclip", gallery="land:5000", gallery_size=5000, checkpoint="a-s0-00000001"),
        result(key="4" * 16, model="geoclip", gallery="land:5000", gallery_size=5000, checkpoint="b-s0-00000002"),
    ]
    given = labels(rows(made, "none"))
    assert len(set(given)) == 4 and "knn" in given and "geoclip, training 100" in given
    assert "geoclip, land 5,000, b-s0-00000002" in given


def test_long_names_and_many_models_fit_into_the_picture(result):
    made = [
        result(50 * (number + 1), key=str(number) * 16, model=f"a-model-of-a-rather-long-name-{number}")
        for number in range(9)
    ]
    found = named(*made)
    for make in (lambda: draw_cdf(found), lambda: draw_breakdown(found, "continent")):
        assert sum("rather-long-name" in text for text in texts_inside(drawn(make))) == 9


def test_without_predictions_there_is_nothing_to_draw_and_nothing_is_left(result, tmp_path):
    bare = replace(result(), predictions=None, truth=None, names=None)
    with pytest.raises(ResultError, match="nothing to draw"):
        draw([bare], tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_the_report_draws_beside_its_table(result, cli, tmp_path):
    made = result()
    made.save()
    told = cli("report", "--published", "none", "--figures", tmp_path / "figures").output
    assert "Median" in told and "wrote 12 files" in told
    assert (tmp_path / "figures" / "mine-map-knn.svg").is_file()


def test_the_figures_of_a_report_have_its_thresholds(result, cli):
    result().save()
    for folder, thresholds in (("five", []), ("two", ["--thresholds", "50,500"])):
        cli("report", "--published", "none", "--figures", folder, *thresholds)
    for name in ("mine-map-knn.png", "mine-cdf.png", "mine-continent.png"):
        assert Path("five", name).read_bytes() != Path("two", name).read_bytes(), name


def test_the_modules_of_figures_load_no_matplotlib_before_they_draw():
    code = "import sys, geobench.report.figures; print({'matplotlib', 'pandas', 'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_there_is_a_colour_for_any_number_of_thresholds_and_none_twice():
    assert error_colours(5) == ["#313695", "#4575b4", "#91bfdb", "#fee090", "#fc8d59", "#d73027"]
    assert error_colours(1) == ["#313695", "#d73027"]
    for thresholds in range(1, 40):
        assert len(set(error_colours(thresholds))) == thresholds + 1


@pytest.mark.parametrize("thresholds", [[100], [0.5, 1, 2, 5, 10, 25, 50, 100, 200, 500, 1000, 2000, 5000]])
def test_every_figure_is_drawn_for_any_number_of_thresholds(result, tmp_path, thresholds):
    made = [
        result(50),
        *(result(30_000 / size, model="geoclip", gallery=f"land:{size}", gallery_size=size) for size in (100, 1000)),
    ]
    assert len(draw(made, tmp_path, thresholds_km=thresholds)) == 27
    found = rows(made, "none", thresholds_km=thresholds)
    shown = texts_inside(drawn(lambda: draw_error_map(made[0], "knn", thresholds)))
    assert [text.partition(" (")[0] for text in shown if text.startswith(("≤", ">"))] == [
        *(f"≤ {km:,g} km" for km in thresholds), f"> {thresholds[-1]:,g} km"
    ]  # fmt: skip
    bars = drawn(lambda: draw_breakdown(named(made[0]), "continent"))
    assert [ax.get_xlabel() for ax in bars.axes] == ["Within 25 km (%)", "Within 200 km (%)", "Within 750 km (%)"]
    frontier = drawn(lambda: draw_frontier(found[:2], "geoclip"))
    assert {f"{km:,g} km" for km in thresholds} <= set(texts_inside(frontier))


def test_a_frontier_without_some_scores_is_drawn_without_their_lines(result):
    made = [
        replace(result(key=f"{size}" * 4, gallery=f"land:{size}", gallery_size=size), predictions=None, truth=None)
        for size in (1000, 2000)
    ]
    figure = drawn(lambda: draw_frontier(rows(made, "none", thresholds_km=[25, 100]), "knn"))
    assert [text for text in texts_inside(figure) if text.endswith(" km")] == ["25 km"]


def test_pictures_and_analysis_are_layers_below_the_report():
    code = (
        "import sys, geobench.analysis.tables, geobench.pictures.bars, geobench.pictures.error_maps\n"
        "import geobench.pictures.curves; print([name for name in sys.modules if name.startswith('geobench.report')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
