import json
import re
import shutil
import time
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import Predictions, get_metrics
from geobench.analysis.breakdown import groups_of
from geobench.data.registration import add_dataset
from geobench.geo import haversine_km
from geobench.metrics import ScoredImages, accuracies, scores_of
from geobench.pictures.palette import error_colours
from geobench.pictures.worldmap import equal_earth
from geobench.report.formats import report
from geobench.report.html import explorer, page, thumbnails
from geobench.report.html.explorer import image_sets
from geobench.report.html.page import html_page
from geobench.report.html.regions import regions
from geobench.report.rows import rows
from geobench.rounding import shown
from geobench.statistics.compare import compare
from geobench.statistics.intervals import clusters_of, share_interval

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
in_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="neither Chromium nor chromedriver is installed")

CITIES = np.array([(48.85, 2.35), (-22.9, -43.2), (35.68, 139.69), (40.71, -74.0), (-33.9, 18.4), (-33.87, 151.2)])
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script> @{secret} & \"quoted\".jpg"
N = 60
SCORES = [metric.name for metric in get_metrics()]
ACCURACIES = [metric.name for metric in accuracies(get_metrics())]


@pytest.fixture
def answering(make_result):
    """Return a function that makes the result of a model which errs by so many degrees north; None is a failed image.

    Image 1 has a hostile name.
    """

    def make(model, degrees, top_k=2, **changes):
        n = len(degrees)
        truth = CITIES[np.arange(n) % len(CITIES)] + 0.001 * np.arange(n)[:, None]
        off = np.array([np.nan if step is None else step for step in degrees], dtype=float)
        failed = np.isnan(off)
        places = np.repeat(truth[:, None], top_k, axis=1)
        places[:, :, 0] += off[:, None] + np.arange(top_k)
        scores = np.where(failed[:, None], np.nan, 0.5 / (1 + np.arange(top_k)))
        predictions = Predictions(np.where(failed[:, None, None], np.nan, places), scores, failed)
        names = np.array([HOSTILE if image == 1 else f"photo-{image}.jpg" for image in range(n)], dtype=object)
        metrics = get_metrics(changes.get("dataset", "mine"))
        scores = scores_of(ScoredImages(predictions.errors_km(truth), truth, predictions), metrics)
        values = {"scores": scores, "n": n, "failed": int(failed.sum())}
        result = replace(make_result([0.0] * n), model=model, expected=n, top_k=top_k, **values)
        return replace(result, predictions=predictions, truth=truth, names=names, **changes)

    return make


@pytest.fixture
def two_models(answering):
    """Return two results on 60 images: image 0 is the worst of ``one``, image 2 failed; ``two`` is its mirror."""
    degrees = [30.0, 2.0, None, *np.linspace(0, 20, N - 3)]
    return answering("one", degrees), answering("two", degrees[:3] + degrees[:2:-1])


class Markup(HTMLParser):
    """What a page loads or links to, the text outside scripts and styles, and the cells of its tables."""

    def __init__(self, text):
        super().__init__()
        self.links, self.texts, self.values, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href", "action", "data") if name in attributes]
        if "data-value" in attributes:
            self.values.append(float(attributes["data-value"]))

    def handle_data(self, data):
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.texts.append(data)


def script(text, name):
    """Return the text of the data block ``name`` of a page."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    return found.group(1) if found else None


def array(text, name, kind):
    return np.frombuffer(b64decode(script(text, f"block-{name}")), dtype=kind)


# -- without a browser


def test_the_page_loads_nothing_from_elsewhere(two_models):
    text = html_page(rows(two_models))
    assert Markup(text).links
    assert [link for link in Markup(text).links if not link.startswith("#")] == []
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in text.replace(
        "&#39;", "'"
    )


def test_names_of_images_and_models_are_text_and_never_markup(answering):
    result = answering("<script>window.hacked=1</script>", [0.0, 1.0, 2.0])
    text = html_page(rows([result]))
    assert "<script>window" not in text
    assert "<img src=x" not in text
    assert "<script>window.hacked=1</script>@mine-s0-0a0b0c0d" in "".join(Markup(text).texts)
    assert json.loads(script(text, "block-set-0-names"))[1] == HOSTILE


def test_the_table_has_the_scores_unrounded(two_models):
    values = Markup(html_page(rows(two_models))).values
    expected = [row.scores[name] for row in rows(two_models) for name in SCORES]
    assert values == expected


def test_the_arrays_in_the_page_are_the_predictions_and_give_the_scores(two_models):
    text = html_page(rows(two_models))
    data = json.loads(script(text, "data"))
    (images,) = data["sets"]
    np.testing.assert_array_equal(array(text, images["truth"], "<f4").reshape(-1, 2), two_models[0].truth.astype("<f4"))
    for row, result in zip(images["rows"], two_models, strict=True):
        places = array(text, row["places"], "<f4").reshape(N, 2, 2)
        np.testing.assert_array_equal(places, result.predictions.coordinates.astype("<f4"))
        np.testing.assert_allclose(array(text, row["errors"], "<f4"), result.errors, rtol=1e-6)
        level = array(text, row["level"], "u1")
        for number, score in enumerate(ACCURACIES):
            assert 100 * np.mean(level <= number) == pytest.approx(result.scores[score])
        assert np.flatnonzero(level == 255).tolist() == [2]


def test_a_record_without_predictions_stands_in_the_table_alone(two_models):
    bare = replace(two_models[1], predictions=None, names=None, truth=None)
    text = html_page(rows([two_models[0], bare]))
    assert "two@mine-s0-0a0b0c0d ‡" in "".join(Markup(text).texts)
    assert [row["label"] for row in json.loads(script(text, "data"))["sets"][0]["rows"]] == ["one"]
    alone = html_page(rows([bare]))
    assert script(alone, "data") is None
    assert len(alone) < 100_000, "there is nothing to draw, so the plotting library is left out"
    assert "two@mine-s0-0a0b0c0d ‡" in "".join(Markup(alone).texts)


def test_published_rows_notes_and_damaged_results_are_in_the_page(answering):
    result = answering("one", [0.0, 1.0, 2.0], dataset="im2gps3k")
    text = html_page(rows([result]), ["results/broken.json is not a readable result"])
    words = " ".join("".join(Markup(text).texts).split())
    assert "GeoCLIP †" in words
    assert "Left out, because damaged or of another version: results/broken.json" in words
    assert words.count("GeoCLIP (NeurIPS 2023)") >= 1


def test_sets_of_other_images_are_told_apart(answering):
    many, few = answering("one", [0.0] * 9), answering("one", [0.0] * 6)
    sets = image_sets(rows([many, few, answering("two", [0.0] * 7, subset="clean")]))
    assert sorted(images.title for images in sets) == ["mine (clean)", "mine, n = 6", "mine, n = 9"]


def test_regions_are_those_of_the_breakdown_with_its_intervals(two_models):
    found = rows(two_models)
    (images,) = image_sets(found)
    by_continent = regions(found, images.detailed)["continent"]
    assert by_continent[-1]["name"] == "all images"
    everything = by_continent[-1]["shares"][0]
    for level, score in enumerate(ACCURACIES):
        share, low, high = everything[level]
        assert share == pytest.approx(found[0].scores[score], abs=5e-5)  # the page rounds it to one decimal, once
        assert (low, high) == pytest.approx(found[0].intervals[score], abs=5e-5)
    name, inside = groups_of(images.detailed, "continent", 30)[0]
    hits = two_models[1].errors[inside] <= 750
    low, high = share_interval(hits, clusters_of(two_models[1].truth).among(inside))
    assert (by_continent[0]["name"], by_continent[0]["n"]) == (name, int(inside.sum()))
    assert by_continent[0]["shares"][1][3] == pytest.approx([100 * hits.mean(), 100 * low, 100 * high], abs=0.005)


def test_scenes_are_a_grouping_where_the_set_has_labels(two_models):
    labelled = [replace(result, extra=pd.DataFrame({"S3_Label": ["0", "1"] * (N // 2)})) for result in two_models]
    found = rows(labelled)
    assert {group["name"] for group in regions(found, image_sets(found)[0].detailed)["scene"]} == {
        "indoor", "natural", "all images",
    }  # fmt: skip


def test_predictions_without_room_are_left_out_and_named(two_models, monkeypatch):
    text = html_page(rows(two_models))
    assert json.loads(script(text, "data"))["sets"][0]["rows"][0]["k"] == 2
    one_rank = N * (12 + 5) * 4 // 3
    base = 14 * N + len(json.dumps(two_models[0].names.tolist()))
    monkeypatch.setattr(explorer, "ROOM", 2 * one_rank + base)
    shallow = json.loads(script(html_page(rows(two_models)), "data"))["sets"][0]
    assert [row["k"] for row in shallow["rows"]] == [1, 1]
    assert "The cards show the best 1 of up to 2 predictions of each model." in shallow["notes"]
    monkeypatch.setattr(explorer, "ROOM", one_rank + base)
    half = json.loads(script(html_page(rows(two_models)), "data"))["sets"][0]
    assert [row["label"] for row in half["rows"]] == ["one"]
    assert "No room below 30 MB for the predictions of two: they are in tables and curves only." in half["notes"]
    assert half["labels"] == ["one", "two"]


def test_pictures_are_of_the_most_informative_images():
    one, two = np.array([5.0, 900.0, 10.0, 20.0]), np.array([5.0, 800.0, 4000.0, 1.0])
    # Worst and best of each in turn, then where they differ most: 1, 0, 2, 3.
    assert thumbnails.informative_images([one, two], 4) == [1, 0, 2, 3]
    assert thumbnails.informative_images([one, two], 2) == [1, 0]
    assert thumbnails.informative_images([one, two], 0) == []
    assert sorted(thumbnails.informative_images([np.zeros(50)], 99)) == list(range(50))


def test_cards_have_the_pictures_that_are_there_and_the_page_says_what_is_missing(two_models, photos):
    images, metadata = photos(6)
    add_dataset("mine", images, metadata)
    (images / "photo-3.jpg").unlink()
    two_models = [replace(result, images_key="") for result in two_models]  # as of the last release
    text = html_page(rows(two_models))
    pictures = json.loads(script(text, "block-set-0-pictures"))
    assert sorted(pictures) == ["0", "2", "4", "5"], "photo-3 is gone, and image 1 has a name of no file"
    assert all(uri.startswith("data:image/webp;base64,") for uri in pictures.values())
    notes = json.loads(script(text, "data"))["sets"][0]["notes"]
    assert notes[0] == "56 images of mine could not be read for a picture."
    none = json.loads(script(html_page(rows(two_models), thumbnails=0), "block-set-0-pictures"))
    assert none == {}
    few = json.loads(script(html_page(rows(two_models), thumbnails=1), "block-set-0-pictures"))
    assert len(few) <= 1


def test_a_result_cannot_have_files_shown_that_its_set_does_not_list(photos, tmp_path):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    outside = tmp_path / "photos" / "private.jpg"
    shutil.copy(images / "photo-0.jpg", outside)
    names = ["photo-0.jpg", "../private.jpg", str(outside)]
    found, note = thumbnails.thumbnails("mine", names, [0, 1, 2], 10_000)
    assert list(found) == [0]
    assert note == "2 images of mine could not be read for a picture."


def test_pictures_keep_within_their_room(photos):
    images, metadata = photos(6)
    add_dataset("mine", images, metadata)
    names = [f"photo-{number}.jpg" for number in range(6)]
    every, _ = thumbnails.thumbnails("mine", names, range(6), 1_000_000)
    room = sum(map(len, every.values())) - 1
    found, _ = thumbnails.thumbnails("mine", names, range(6), room)
    assert len(every) == 6
    assert 0 < len(found) < 6


def test_the_images_of_an_unknown_set_are_said_to_be_missing():
    found, note = thumbnails.thumbnails("nowhere", ["a.jpg"], [0], 1000)
    assert found == {}
    assert note.startswith("The cards of nowhere have no pictures: ")
    assert thumbnails.thumbnails("im2gps3k", ["a.jpg"], [0], 1000) == (
        {}, "The images of im2gps3k are not on the machine that wrote this page, so its cards have no pictures."
    )  # fmt: skip


def test_the_command_writes_the_page_and_wants_a_file_for_it(two_models, cli):
    for result in two_models:
        result.save()
    assert "--output report.html" in cli("report", "--format", "html", exit_code=2).output
    cli("report", "--format", "html", "--output", "report.html", "--thumbnails", "0")
    text = Path("report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert script(text, "data") == script(report("html", "results", thumbnails=0), "data")


def test_every_file_of_the_page_is_packaged():
    names = {path.name for path in page.FOLDER.iterdir() if path.suffix in (".html", ".css", ".js")}
    assert names == {"page.html", "page.css", *page.SCRIPTS}


@pytest.mark.parametrize("degrees", [[3.0], [None], [None, None, None]])
def test_few_images_and_failed_ones_alone_still_make_a_page(answering, degrees):
    data = json.loads(script(html_page(rows([answering("one", degrees, top_k=7)])), "data"))
    assert data["sets"][0]["n"] == len(degrees)
    assert data["sets"][0]["rows"][0]["k"] == 5


def test_galleries_of_several_sizes_make_a_frontier(answering):
    results = [
        answering("one", [0.0] * size + [9.0] * (9 - size), gallery=f"training:{size}", gallery_size=size)
        for size in (3, 6, 9)
    ]
    text = html_page(rows(results))
    assert script(text, "block-set-0-frontier-0").count('"name":"HoverTool"') == len(ACCURACIES)
    assert "Gallery frontier" in text
    assert "No model was run with galleries of several sizes" not in text


# -- in headless Chromium


@pytest.fixture(scope="module")
def chromium():
    """Start Chromium, without a display, and keep it for the module."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    offline = ("background-networking", "component-update", "sync", "quic")  # else it waits for hosts now and then
    for argument in ("headless=new", "no-sandbox", "no-first-run", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    for service in offline:
        options.add_argument(f"--disable-{service}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Browser:
    """A page that is open."""

    def __init__(self, driver, path):
        self.driver, self.path = driver, path

    def open(self, width=1440, height=900, fragment=""):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        return self.go(fragment)

    def go(self, fragment):
        """Load the page with the part of an address after the #."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.path.as_uri()}#{fragment}" if fragment else self.path.as_uri())
        self.until("return document.documentElement.dataset.map === 'drawn'")
        return self

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, code):
        end = time.monotonic() + 20
        while not self.js(code):
            assert time.monotonic() < end, code
            time.sleep(0.02)

    def texts(self, selector):
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())", selector)

    def cards(self):
        return self.js("return [...document.querySelectorAll('#card-list .card')].map((e) => +e.dataset.image)")

    def choose(self, name, value):
        self.js(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, { bubbles: true }))",
            name,
            str(value),
        )

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def screenshot(self, path):
        end = self.js("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": end[0], "height": end[1], "scale": 1}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(b64decode(taken["data"]))

    def on_screen(self, image):
        """Return where the point of an image is, in pixels of the window."""
        return self.js(
            """const figure = drawn.get(mapElement()); mapElement().scrollIntoView({block: 'center'});
            const {data} = source(figure, 'truth'); const at = data.image.indexOf(arguments[0]);
            const box = mapElement().firstElementChild.getBoundingClientRect();
            const {x_range: x, y_range: y} = figure;
            return [box.left + (data.x[at] - x.start) / (x.end - x.start) * figure.inner_width,
                    box.bottom - (data.y[at] - y.start) / (y.end - y.start) * figure.inner_height]""",
            image,
        )


@pytest.fixture
def opened(chromium, two_models, tmp_path):
    """Return a function that opens the page of some results, by default of two models."""

    def show(results=two_models, size=(1440, 900), fragment=""):
        path = tmp_path / "report.html"
        path.write_text(html_page(rows(results)), encoding="utf-8")
        return Browser(chromium, path).open(*size, fragment)

    return show


@in_browser
def test_the_page_opens_without_an_error_or_a_request(opened, two_models, photos, tmp_path):
    images, metadata = photos(6)
    add_dataset("mine", images, metadata)
    browser = opened([replace(result, images_key="") for result in two_models])
    assert browser.js("return document.querySelectorAll('#card-list img').length") > 0
    browser.screenshot(tmp_path / "desktop.png")
    messages = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert browser.path.as_uri() in asked
    assert [url for url in asked if not url.startswith("data:") and url != browser.path.as_uri()] == []
    assert [entry for entry in browser.driver.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")] == []
    assert browser.js("return window.hacked") is None
    assert (tmp_path / "desktop.png").stat().st_size > 50_000


@in_browser
def test_the_arithmetic_of_the_page_is_that_of_geobench(opened):
    browser = opened()
    places = np.array([(0.0, 0.0), (48.85, 2.35), (-77.1, -179.9), (89.9, 12.0), (-33.87, 151.2)])
    there = browser.js("return arguments[0].map((place) => equalEarth(...place))", places.tolist())
    np.testing.assert_allclose(there, equal_earth(places), atol=1e-12)
    kilometres = browser.js(
        "return arguments[0].map((place) => haversineKm(...place, ...arguments[0][1], DATA.radius))", places.tolist()
    )
    np.testing.assert_allclose(kilometres, haversine_km(places, np.tile(places[1], (5, 1))), atol=1e-9)
    numbers = [0.25, 0.35, 100 * (7 / 2000), 99.95, 2.5, 1234.5, 20015.0868, 0.0, -0.04, -12.35, 1e-9, 100 / 3]
    for digits in (0, 1, 3):
        printed = browser.js("return arguments[0].map((value) => shown(value, arguments[1]))", numbers, digits)
        assert printed == [shown(value, digits) for value in numbers]
    # From Sydney to New York the shortest way crosses the Pacific: cut once at 180°, north of Fiji, never by Africa.
    xs, _ = browser.js("return arc(-33.87, 151.2, 40.71, -74.0)")
    assert xs.count(None) == 1  # NaN comes back as None
    assert min(abs(x) for x in xs if x is not None) > 0.9


@in_browser
def test_tables_are_sorted_with_the_keyboard_and_filtered(opened, answering):
    from selenium.webdriver.common.keys import Keys

    browser = opened([answering(name, [0.0] * k + [9.0] * (9 - k), dataset="im2gps3k") for name, k in
                      (("aa", 3), ("bb", 7), ("cc", 5))])  # fmt: skip
    ours = "#results-1 tbody tr:not(.published):not([hidden]) th"
    browser.press(Keys.TAB)
    assert browser.js("return document.activeElement.className") == "skip"
    heads = browser.texts("#results-1 thead th")
    browser.js("document.querySelectorAll('#results-1 thead button')[arguments[0]].focus()", heads.index("City 25 km"))
    assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(Keys.ENTER)
    assert [text[:2] for text in browser.texts(ours)] == ["bb", "cc", "aa"]
    sorts = browser.js("return [...document.querySelectorAll('#results-1 thead th')].map((e) => e.ariaSort)")
    assert [sorts[heads.index("City 25 km")], set(sorts)] == ["descending", {"none", "descending"}]
    browser.press(Keys.SPACE)
    assert [text[:2] for text in browser.texts(ours)] == ["aa", "cc", "bb"]
    browser.js("document.querySelector('#results-1 thead button').click()")
    models = [text.lower() for text in browser.texts("#results-1 tbody th")]
    assert models == browser.js(
        "return arguments[0].toSorted((a, b) => a.localeCompare(b, 'en', {numeric: true}))", models
    )
    browser.js("document.querySelector('.table-filter').focus()")
    browser.press("CC@ training")
    assert browser.texts("#results-1 tbody tr:not([hidden]) th") == ["cc@mine-s0-0a0b0c0d"]
    browser.press(*[Keys.BACKSPACE] * 20)
    browser.js("document.querySelector('.table-published').click()")
    assert len(browser.texts("#results-1 tbody tr:not([hidden]) th")) == 3


@in_browser
def test_cards_follow_the_filter_and_show_truth_top_k_and_error(opened, two_models):
    one, two = two_models
    browser = opened()
    assert len(browser.cards()) == 24
    assert browser.cards() == np.argsort(-one.errors, kind="stable")[:24].tolist()
    first, second = browser.texts("#card-list .card")[:2]
    assert "photo-2.jpg" in first
    assert "one: failed" in first
    assert "photo-0.jpg" in second
    assert "France, 48.850° N, 2.350° E" in second
    # 30° of latitude are 30 · π / 180 · 6371.0088 km = 3335.9 km; the second prediction is a degree farther north.
    assert "one: 3,336 km" in second
    assert "1" + "78.850° N, 2.350° E" + "3,336 km" + "0.50" in second
    assert "2" + "79.850° N, 2.350° E" + "3,447 km" + "0.25" in second
    assert HOSTILE in "".join(browser.texts("#card-list h4") + [browser.js("return currentSet().names[1]")])
    browser.js("document.querySelector('.pages button:last-child').click()")
    assert browser.cards() == np.argsort(-one.errors, kind="stable")[24:48].tolist()
    browser.choose("level", 3)
    for which, images in (
        ("failed", one.predictions.failed),
        ("right", one.errors <= 750),
        ("lost", (one.errors > 750) & (two.errors <= 750)),
        ("gained", (one.errors <= 750) & (two.errors > 750)),
    ):
        browser.choose("which", which)
        expected = np.flatnonzero(images)
        assert browser.js("return state.images.toSorted((a, b) => a - b)") == expected.tolist()
        assert browser.texts("#count") == [f"{len(expected)} of 60 images"]
    gained = {line.threshold_km: line.lost for line in compare(one, two).lines}[750]
    assert len(expected) == gained > 0
    browser.choose("which", "all")
    browser.choose("name", "PHOTO-1")
    assert sorted(browser.cards()) == [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    browser.choose("model", 1)
    assert "two:" in browser.texts("#card-list .card")[0]


@in_browser
def test_a_point_of_the_map_shows_its_image_and_a_card_finds_its_point(opened, two_models):
    from selenium.webdriver.common.action_chains import ActionChains

    browser = opened()
    browser.choose("which", "right")
    browser.choose("level", 4)
    browser.choose("name", "photo-4.jpg")  # one image is left, in Cape Town
    x, y = browser.on_screen(4)
    pointer = ActionChains(browser.driver, duration=0)
    pointer.w3c_actions.pointer_action.move_to_location(int(x), int(y))
    pointer.perform()
    browser.until("return source(drawn.get(mapElement()), 'hover').data.xs.length === 1")
    way = browser.js("const {xs, ys} = source(drawn.get(mapElement()), 'hover').data; return [xs[0], ys[0]]")
    ends = np.array(way).T[[0, -1]]
    expected = np.stack([two_models[0].truth[4], two_models[0].predictions.coordinates[4, 0]])
    np.testing.assert_allclose(ends, equal_earth(expected), atol=1e-5)
    pointer.w3c_actions.pointer_action.click()
    pointer.perform()
    browser.until("return document.querySelector('#chosen .card') !== null")
    assert browser.texts("#chosen h4") == ["photo-4.jpg"]
    assert browser.texts("#chosen .ways li") == [
        f"{row.model}: {round(row.errors[4]):,} km" if row.errors[4] >= 10 else f"{row.model}: {row.errors[4]:.1f} km"
        for row in two_models
    ]
    browser.choose("name", "photo-5.jpg")
    browser.js("document.querySelector('.card[data-image=\"5\"] .on-map').click()")
    browser.until("return document.querySelector('#chosen h4').textContent === 'photo-5.jpg'")
    browser.until("return source(drawn.get(mapElement()), 'chosen').data.x.length === 3")
    marks = browser.js("const {x, y} = source(drawn.get(mapElement()), 'chosen').data; return [[...x], [...y]]")
    np.testing.assert_allclose(np.array(marks).T[-1], equal_earth(two_models[0].truth[5:6])[0], atol=1e-5)
    assert browser.js("return document.activeElement.id") == "chosen"


@in_browser
def test_the_map_shows_truth_predictions_or_both_with_lines(opened):
    browser = opened()
    count = (
        "return ['truth', 'prediction', 'lines']"
        ".map((name) => Object.values(source(drawn.get(mapElement()), name).data)[0].length)"
    )
    assert browser.js(count) == [N, 0, 0]
    browser.js("document.querySelector('input[name=place][value=prediction]').click()")
    assert browser.js(count) == [0, N - 1, 0], "an image failed and was placed nowhere"
    browser.js("document.querySelector('input[name=place][value=both]').click()")
    assert browser.js(count) == [N, N - 1, N - 1]


@in_browser
def test_on_a_phone_nothing_is_wider_than_the_screen_and_targets_are_large(opened, tmp_path):
    browser = opened(size=(390, 844))
    assert browser.js("return document.documentElement.scrollWidth") <= 390
    small = browser.js(
        "return [...document.querySelectorAll('button, select, input[type=search]')].filter((e) => e.offsetParent)"
        ".filter((e) => e.offsetHeight < 44).map((e) => e.outerHTML)"
    )
    assert small == []
    browser.screenshot(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 50_000


@in_browser
def test_regions_change_with_their_switches_and_dark_colours_reach_the_charts(opened, two_models):
    browser = opened()
    browser.choose("by-share", 3)
    share = browser.texts("#regions tfoot td")[1]
    assert share.startswith(f"{two_models[0].scores['acc_750km']:.1f}[")
    browser.choose("by", 1)
    assert browser.texts("#regions tbody th") == ["6 others"]
    before = browser.js("return [colour('paper'), drawn.get(mapElement()).renderers[0].glyph.fill_color.value]")
    browser.js("document.getElementById('theme').click()")
    after = browser.js("return [colour('paper'), drawn.get(mapElement()).renderers[0].glyph.fill_color.value]")
    assert before[0] != after[0]
    assert before[1] != after[1]


@in_browser
def test_several_test_sets_share_the_charts_and_the_map(opened, answering):
    browser = opened([answering("one", [0.0] * 9), answering("two", [5.0] * 6, dataset="other")])
    assert browser.texts("#set option") == ["mine", "other"]
    browser.choose("set", 1)
    assert browser.texts("#count") == ["6 of 6 images"]
    assert browser.texts("#model option") == ["two"]
    shown = browser.js("return source(drawn.get(mapElement()), 'truth').data.image.length")
    assert shown == 6


@pytest.fixture
def two_sets(own_home, answering):
    """Return results on two test sets: ``mine`` names two thresholds and a metric, ``other`` has the field's."""
    folder = own_home / "data" / "mine"
    folder.mkdir(parents=True)
    (folder / "dataset.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nthresholds = [300, 0.5]\nmetrics = ["country"]'
    )
    degrees = [0.0, 0.001, 2.0, 4.0, 30.0, None, *np.linspace(0, 9, 24)]
    galleries = {"gallery": "training:9", "gallery_size": 9}
    return [
        answering("one", degrees),
        answering("one", degrees[::-1], **galleries),
        answering("two", degrees, dataset="other"),
    ]


def test_every_test_set_of_a_page_has_its_own_levels(two_sets):
    text = html_page(rows(two_sets))
    mine, other = json.loads(script(text, "data"))["sets"]
    assert (mine["levels"], other["levels"]) == ([0.5, 300], [1, 25, 200, 750, 2500])
    assert (mine["shares"], other["shares"][1:3]) == (["0.5 km", "300 km", "Country hit"], ["25 km", "200 km"])
    assert [len(images["colours"]) for images in (mine, other)] == [3, 6]
    level = array(text, mine["rows"][0]["level"], "u1")
    exceeded = np.searchsorted([0.5, 300], two_sets[0].errors)
    assert level.tolist() == np.where(two_sets[0].predictions.failed, 255, exceeded).tolist()
    assert script(text, "block-set-0-frontier-0").count('"name":"HoverTool"') == 2
    assert script(text, "block-set-0-curves").count('"name":"Span"') == 2
    assert script(text, "block-set-1-curves").count('"name":"Span"') == 5
    words = " ".join("".join(Markup(text).texts).split())
    assert "● 0.5 km ■ 300 km" in words, "the legend of the frontier"
    assert "Within 0.5 km Within 300 km Country hit" in words and "Street 1 km City 25 km" in words


@in_browser
def test_the_levels_of_filter_legend_and_regions_change_with_the_test_set(opened, two_sets):
    browser = opened(two_sets)
    one = two_sets[0]
    legend = "#error-levels li"
    assert browser.texts("#level option") == ["0.5 km", "300 km"]
    assert browser.texts("#by-share option") == ["0.5 km", "300 km", "Country hit"]
    assert browser.js("return [at('level').value, at('by-share').value]") == ["1", "1"], "the middle distance"
    counts = [(one.errors <= 0.5).sum(), ((one.errors > 0.5) & (one.errors <= 300)).sum(), (one.errors > 300).sum()]
    texts = ["≤ 0.5 km", "≤ 300 km", "> 300 km"]
    assert browser.texts(legend) == [f"{text} ({n})" for text, n in zip(texts, counts, strict=True)]
    browser.choose("which", "right")
    assert browser.texts("#count") == [f"{(one.errors <= 300).sum()} of 30 images"]
    browser.choose("by-share", 2)
    assert browser.texts("#regions tfoot td")[1].startswith(f"{one.scores['country']:.1f}[")
    browser.choose("set", 1)
    assert browser.texts("#level option") == ["1 km", "25 km", "200 km", "750 km", "2,500 km"]
    assert len(browser.texts(legend)) == 6 and browser.texts(legend)[2].startswith("≤ 200 km (")
    assert browser.js("return [at('level').value, at('by-share').value]") == ["2", "2"]
    assert browser.texts("#count") == [f"{(one.errors <= 200).sum()} of 30 images"]
    browser.choose("which", "all")
    data = browser.js("const {image, colour} = source(drawn.get(mapElement()), 'truth').data; return [image, colour]")
    exceeded = np.searchsorted([1, 25, 200, 750, 2500], one.errors)
    assert data[1] == [error_colours(5)[exceeded[image]] for image in data[0]]
    assert [entry for entry in browser.driver.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")] == []


# -- a phone, and what leaves the page


def test_a_line_under_the_model_says_what_the_narrow_table_folds_in(answering):
    bare = answering("two", [0.0, 1.0], gallery="", gallery_size=0)
    text = html_page(rows([answering("one", [0.0, None], gallery="training:9", gallery_size=9), bare]))
    folded = [line.replace("\N{NO-BREAK SPACE}", " ") for line in re.findall(r'data-folded="(.*?)"', text)]
    assert folded == ["training:9 · seed 0 · n 2 · failed 1", "n 2"]
    assert all(head in text for head in ('folds">Gallery<', 'folds">Seed<', 'folds">Failed<'))


@in_browser
def test_the_first_screen_of_a_phone_shows_models_with_scores(opened, answering):
    names = [f"model-{number}-with-a-long-name" for number in range(4)]
    galleries = {"gallery": "training:100000", "gallery_size": 100000}
    browser = opened([answering(name, [0.0, 9.0, 0.5], **galleries) for name in names], (390, 844))
    seen = browser.js(
        "return [...document.querySelectorAll('#results-1 tbody tr')].map((row) => [...row.cells]"
        ".filter((cell) => cell.tagName === 'TH' || cell.dataset.value).map((cell) => cell.getBoundingClientRect())"
        ".filter((box) => box.width && box.right <= 378 && box.bottom <= 844).length)"
    )
    assert seen == [4] * 4, "the model and three scores of every row"
    shown = browser.js("return getComputedStyle(document.querySelector('#results-1 tbody th'), '::after').content")
    assert "training:100000 · seed" in shown
    browser.js("document.querySelector('.scroll').scrollLeft = 200")
    assert browser.js("return document.querySelector('#results-1 tbody th').getBoundingClientRect().left") >= 0, (
        "the model stays"
    )


@pytest.fixture
def downloaded(chromium, tmp_path):
    """Return a function that presses a button of a page and returns the file that it saves."""
    folder = tmp_path / "downloads"

    def press(browser, selector):
        before = set(folder.glob("*.csv"))
        chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        browser.js("document.querySelector(arguments[0]).click()", selector)
        end = time.monotonic() + 20
        while not (new := set(folder.glob("*.csv")) - before):
            assert time.monotonic() < end, selector
            time.sleep(0.02)
        return new.pop()

    return press


@in_browser
def test_tables_are_saved_as_csv_as_they_are_shown_but_unrounded(opened, answering, downloaded):
    names = (("aa", 3), ("bb", 7), ('cc, "quoted"', 5))
    results = [answering(name, [0.0] * k + [9.0] * (9 - k), dataset="im2gps3k") for name, k in names]
    browser = opened(results)
    heads = browser.texts("#results-1 thead th")
    browser.js("document.querySelectorAll('#results-1 thead button')[arguments[0]].click()", heads.index("City 25 km"))
    browser.js("document.querySelector('.table-published').click()")
    path = downloaded(browser, ".table-csv")
    assert path.name == "geobench-im2gps3k.csv"
    table = pd.read_csv(path)
    assert [model.split("@")[0] for model in table["Model"]] == ["bb", 'cc, "quoted"', "aa"], "sorted, ours alone"
    expected = {row.model: row for row in rows(results) if row.results}
    for _, line in table.iterrows():
        row = expected[line["Model"]]
        assert line["City 25 km"] == row.scores["acc_25km"]
        assert (line["City 25 km low"], line["City 25 km high"]) == row.intervals["acc_25km"]
    regions_csv = pd.read_csv(downloaded(browser, "#regions-csv"))
    assert regions_csv["Group"].iloc[-1] == "all images"
    assert "aa low" in regions_csv


@in_browser
def test_predictions_saved_from_the_page_are_a_predictions_file(opened, two_models, downloaded):
    one, two = two_models
    browser = opened()
    browser.choose("order", "listed")
    path = downloaded(browser, "#predictions-csv")
    assert path.name == "geobench-mine-one-predictions.csv"
    read, table = Predictions.load(path)
    assert table["image"].tolist() == one.names.tolist(), "a name with quotes, commas and tags is one field"
    np.testing.assert_allclose(read.coordinates, one.predictions.coordinates, atol=2e-5)
    np.testing.assert_allclose(read.scores, one.predictions.scores, rtol=1e-6)
    np.testing.assert_allclose(table["error_km"].astype(float), one.errors, rtol=1e-6)
    assert read.status.tolist() == one.predictions.status.tolist()
    browser.choose("model", 1)
    browser.choose("which", "wrong")
    browser.choose("level", 3)
    path = downloaded(browser, "#predictions-csv")
    wrong = two.names[two.errors > 750]
    assert path.name == f"geobench-mine-two-{len(wrong)}-of-60-images-predictions.csv"
    assert sorted(Predictions.load(path)[1]["image"]) == sorted(wrong)


@in_browser
def test_what_became_of_an_unanswered_image_is_in_the_saved_predictions(opened, two_models, downloaded):
    status = np.where(two_models[0].predictions.failed, "refused", "ok").astype(object)
    refusing = replace(two_models[0], predictions=replace(two_models[0].predictions, reasons=status))
    read, _ = Predictions.load(downloaded(opened([refusing]), "#predictions-csv"))
    assert sorted(read.status.tolist()) == sorted(status.tolist())
    assert "refused" in read.status


@in_browser
def test_an_answer_in_words_is_folded_on_its_card_and_its_status_is_a_filter(opened, two_models):
    one = two_models[0]
    n = len(one.names)
    texts = np.array([f"<b>It</b> is number {number}" for number in range(n)], dtype=object)
    status = np.where(one.predictions.failed, "unparseable", "ok").astype(object)
    refused = np.flatnonzero(one.predictions.failed)[0]
    status[refused] = "refused"
    texts[refused] = ""
    answers = {"text": texts, "reason": np.where(one.predictions.failed, "no position", "").astype(object)}
    said = replace(one.predictions, reasons=status, answers=answers)
    browser = opened([replace(one, predictions=said), two_models[1]])
    assert browser.js("return [...document.querySelectorAll('.card details.answer')].every((each) => !each.open)")
    assert browser.js("return document.querySelector('.card[data-image=\"0\"] .answer pre').textContent") == texts[0]
    browser.choose("which", "refused")
    assert browser.js("return state.images") == [refused]
    assert browser.texts(".card .answer summary") == ["No answer"]
    assert browser.js("return document.querySelector('.card .answer p').textContent") == "no position"
    assert browser.js("return document.querySelector('.card .error strong').textContent") == "refused"
    browser.choose("which", "unparseable")
    assert browser.js("return state.images.length") == int((status == "unparseable").sum())


@in_browser
def test_a_card_links_to_a_map_service_that_the_page_does_not_load(opened):
    browser = opened()
    link = "return document.querySelector('.card[data-image=\"0\"] a.place')[arguments[0]]"
    assert (
        browser.js(link, "href") == "https://www.openstreetmap.org/?mlat=48.85000&mlon=2.35000#map=10/48.85000/2.35000"
    )
    assert browser.js(link, "rel") == "noopener noreferrer"


@in_browser
def test_lines_of_many_images_are_some_of_them_evenly_chosen_and_the_page_says_so(opened, answering):
    browser = opened([answering("one", list(np.linspace(0, 30, 1000)))])
    browser.js("document.querySelector('input[name=place][value=both]').click()")
    assert browser.js("return source(drawn.get(mapElement()), 'lines').data.xs.length") == 800
    assert browser.texts("#map-note") == ["Lines of 800 of 1,000 images, evenly chosen in the order above."]
    lined = browser.js("return thinned(state.images)")
    ordered = browser.js("return state.images")
    assert lined[0] == ordered[0]
    assert lined[-1] in ordered[-3:], "the best are among them, too"
    browser.choose("name", "photo-99")
    assert browser.texts("#map-note") == [""]


@in_browser
def test_the_table_of_regions_scrolls_beside_its_groups_with_many_models(opened, answering):
    browser = opened([answering(f"model-{number}", [0.0, 9.0, 30.0]) for number in range(15)])
    box = "document.querySelector('.scroll.tall')"
    assert browser.js(f"return {box}.scrollWidth - {box}.clientWidth") > 0
    assert browser.js("return document.documentElement.scrollWidth") <= 1440
    assert (
        browser.js(
            "return Math.min(...[...document.querySelectorAll('#regions td:nth-child(n+3)')].map((e) => e.offsetWidth))"
        )
        >= 112
    )
    browser.js(f"{box}.scrollLeft = 10000")
    left = browser.js(
        "const [cell, box] = ['#regions tbody th', '.scroll.tall'].map((part) => document.querySelector(part));"
        "return cell.getBoundingClientRect().left - box.getBoundingClientRect().left"
    )
    assert 0 <= left <= 2


@in_browser
def test_an_address_names_every_choice_and_brings_it_back(opened, answering):
    degrees = [30.0, 2.0, None, *np.linspace(0, 20, N - 3)]
    results = [answering("one", degrees, dataset=name) for name in ("im2gps3k", "mine")]
    results += [answering(name, degrees[:3] + degrees[:2:-1], dataset="mine") for name in ("two", "three & more")]
    browser = opened(results)
    for control, value in (
        ("set", 1), ("model", 1), ("which", "wrong"), ("level", 1), ("other", 2), ("name", "photo"),
        ("order", "best"), ("by", 1), ("by-share", 3),
    ):  # fmt: skip
        browser.choose(control, value)
    browser.choose("country", browser.js("return currentSet().countries.indexOf('Brazil')"))
    browser.js("document.getElementById('beside').click()")
    browser.js("document.querySelector('input[name=place][value=both]').click()")
    browser.js("document.querySelector('.of-set:not([hidden]) .legend.curves input').click()")
    browser.js("document.querySelector('.table-published').click()")
    browser.js("document.querySelector('.table-filter').value = 'one'")
    browser.js("document.querySelector('.table-filter').dispatchEvent(new Event('input', {bubbles: true}))")
    browser.js("document.querySelectorAll('#results-2 thead button')[1].click()")
    image = browser.cards()[0]
    browser.js("document.querySelector('.on-map').click()")
    browser.until("return location.hash.includes('image=')")
    address = browser.js("return location.hash.slice(1)")
    assert address.count("=") == 17, "every choice, and nothing else"
    state = (
        "const texts = controls().map(([key, control]) => [key, textOf(control)]);"
        "return [texts, whereOnMap(), hiddenCurves().map(labelOf), state.chosen, state.images,"
        " [...document.querySelectorAll('#results-1 tbody tr:not([hidden])')].length,"
        " document.querySelectorAll('#results-2 thead th')[1].ariaSort]"
    )
    before = browser.js(state)
    assert before[3] == image
    browser.go(address)
    assert browser.js(state) == before
    browser.until("return document.querySelector('#chosen .card') !== null")
    browser.until(
        "const curve = drawn.get(document.querySelector('.of-set:not([hidden]) .chart'));"
        "return curve && curve.renderers[0].visible === false"
    )
    browser.js("location.hash = '#map?set=im2gps3k'")
    browser.until("return at('set').selectedOptions[0].textContent === 'im2gps3k'")
    rest = browser.js("return [at('which').value, at('name').value, state.chosen, whereOnMap(), at('beside').checked]")
    assert rest == ["all", "", None, "truth", False]


@in_browser
def test_the_link_of_a_card_opens_its_image_and_a_page_of_cards_is_linked(opened):
    browser = opened()
    browser.choose("model", 1)
    browser.js("document.querySelector('.pages button:last-child').click()")
    browser.until("return location.hash.includes('page=2')")
    shown = browser.cards()
    link = browser.js("return document.querySelectorAll('.card .link')[5].getAttribute('href')")
    browser.go(browser.js("return location.hash.slice(1)"))
    assert browser.cards() == shown
    browser.js("document.querySelectorAll('.card .link')[5].click()")
    browser.until("return document.querySelector('#chosen .card') !== null")
    there = browser.go(link[1:])
    there.until("return document.querySelector('#chosen .card') !== null")
    assert there.texts("#chosen h4") == [f"photo-{shown[5]}.jpg"]
    assert there.js("return at('model').selectedOptions[0].textContent") == "two"
    assert there.js("return document.getElementById('link-note').hidden")


@in_browser
def test_what_an_address_asks_for_and_the_page_lacks_is_said(opened):
    browser = opened(fragment="map?model=<img src=x onerror=hacked>&country=Brazil&page=9&image=none.jpg&map=nowhere")
    (note,) = browser.texts("#link-note")
    for lost in ("model “<img src=x onerror=hacked>”", "page “9”", "image “none.jpg”", "map “nowhere”"):
        assert lost in note
    assert "Brazil" not in note, "that one is there"
    assert browser.texts("#count") == ["10 of 60 images"]
    assert browser.js("return document.querySelector('#link-note img')") is None
    assert not browser.js("return document.getElementById('link-note').hidden")


@in_browser
def test_two_models_stand_side_by_side_on_cards_and_maps(opened, two_models):
    one, two = two_models
    browser = opened()
    assert browser.js("return at('other').disabled")
    browser.js("document.getElementById('beside').click()")
    browser.until("return [...document.querySelectorAll('.chart.map')].every((map) => drawn.has(map))")
    assert browser.texts(".map-title") == ["one", "two"]
    assert browser.texts("#card-list .card:nth-child(2) .error") == ["one: 3,336 km", "two: 3,336 km"]
    assert len(browser.texts("#card-list .card:nth-child(2) .predictions")) == 2
    browser.js("document.querySelector('input[name=place][value=prediction]').click()")
    maps = "[...document.querySelectorAll('.chart.map')].map((map) => source(drawn.get(map), arguments[0]).data)"
    for data, result in zip(
        browser.js(f"return {maps}.map(({{image, x, y}}) => [image, [...x], [...y]])", "prediction"),
        two_models,
        strict=True,
    ):
        images, *xy = data
        np.testing.assert_allclose(np.array(xy).T, equal_earth(result.predictions.coordinates[images, 0]), atol=1e-5)
    browser.js("choose(5, false)")
    browser.until(f"return {maps}.every(({{x}}) => x.length === 2)".replace("arguments[0]", "'chosen'"))
    assert browser.texts("#chosen .ways li") == [
        f"{result.model}: {round(result.errors[5]):,} km" for result in two_models
    ]
    levels = np.stack([np.searchsorted([1, 25, 200, 750, 2500], result.errors) for result in (one, two)])
    assert browser.texts("#error-levels li")[0] == "≤ 1 km ({} | {})".format(*(levels == 0).sum(axis=1))
    browser.js("drawn.get(mapElement()).x_range.setv({start: 0, end: 1})")
    ends = "return [...document.querySelectorAll('.chart.map')].map((map) => drawn.get(map).x_range.end)"
    assert browser.js(ends) == [1, 1], "the second map zooms with the first"
    browser.js("document.getElementById('beside').click()")
    assert browser.texts(".map-title") == ["", ""]
    assert browser.js("return document.querySelectorAll('.map-of')[1].hidden")


@in_browser
def test_countries_are_coloured_by_accuracy_or_median_and_those_of_few_images_marked(opened, answering, downloaded):
    # 35 images in France, the first 28 of them right; 3 in Monaco, which no map of the world can show.
    places = np.array([(46.0 + 0.01 * image, 2.5) for image in range(35)] + [(43.7325, 7.4189)] * 3)
    result = answering("one", [0.0] * 28 + [10.0] * 6 + [None] + [3.0] * 3)
    there = result.predictions.coordinates + (places - result.truth)[:, None]
    result = replace(result, truth=places, predictions=replace(result.predictions, coordinates=there))
    result = replace(result, scores=scores_of(ScoredImages(result.errors, places, result.predictions), get_metrics()))
    browser = opened([result])
    browser.choose("which", "wrong")
    browser.js("document.querySelector('input[name=place][value=accuracy]').click()")
    shapes = "const {colour, name, n, share, median} = source(drawn.get(mapElement()), arguments[0]).data;"
    one_of_each = "return [...new Set(name.map((_, i) => [name[i], colour[i], n[i], share[i], median[i]].join('; ')))]"
    large, small = (browser.js(shapes + one_of_each, name) for name in ("countries", "small-countries"))
    assert large == [f"France; {error_colours(4)[0]}; 35; 200 km: 80.0 %; 0.000 km"], "whatever the filter"
    # 3° of latitude are 333.6 km.
    assert small == [f"Monaco; {error_colours(4)[-1]}; 3, few; 200 km: 0.0 %; 334 km"]
    assert browser.js("return source(drawn.get(mapElement()), 'small-countries').data.fill[0] === colour('land')"), (
        "hollow"
    )
    assert browser.texts("#error-levels li")[-1] == "or a hollow dot: fewer than 30 images (1)"
    inside = browser.js(
        "const {left, right, top, bottom} = source(drawn.get(mapElement()), 'countries').data;"
        "const inside = (x, y, i) => left[i] <= x && x <= right[i] && bottom[i] <= y && y <= top[i];"
        "return arguments[0].map(([x, y]) => left.some((_, i) => inside(x, y, i)))",
        equal_earth(np.array([(48.85, 2.35), (44.8, -0.4), (51.5, -0.1), (40.4, -3.7)])).tolist(),
    )
    assert inside == [True, True, False, False], "Paris and Bordeaux, neither London nor Madrid"
    browser.js("document.querySelector('input[name=place][value=median]').click()")
    assert browser.js(shapes + "return colour[0]", "small-countries") == error_colours(5)[3], "200 to 750 km"
    browser.js("document.querySelector('#countries summary').click()")
    browser.until("return document.querySelectorAll('#country-table tbody tr').length === 2")
    table = pd.read_csv(downloaded(browser, "#countries-csv"))
    assert table["one: within 200 km (%)"].tolist() == [80.0, 0.0]
    browser.js("source(drawn.get(mapElement()), 'small-countries').selected.indices = [0]")
    assert browser.texts("#count") == ["3 of 38 images"], "a click on a country is a filter"


@in_browser
def test_countries_of_few_images_are_striped(opened, two_models):
    browser = opened()
    browser.js("document.querySelector('input[name=place][value=accuracy]').click()")
    widths = browser.js(
        "const {left, right, name} = source(drawn.get(mapElement()), 'countries').data;"
        "return name.flatMap((country, i) => country === 'Brazil' ? [right[i] - left[i]] : [])"
    )
    cell = browser.js("return 2 * DATA.atlas.size[0] / DATA.atlas.columns")
    assert len(widths) > 500
    assert max(widths) == pytest.approx(4 * cell, rel=1e-4), "10 images: no run without a gap"
    narrow = browser.js("return striped({cell: 0, length: 720}, 390).map((part) => part.length)")
    assert set(narrow[:-1]) == {12}, "on a phone stripes have as many pixels"
