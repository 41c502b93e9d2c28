"""The HTML report of 25,600 predictions × 5 models: python tests/benchmarks/html_report.py [N] [--keep FILE]

Measures the seconds to build it, its size (below 30 MB), and the seconds until headless Chromium has loaded it and
drawn the map (below 3). The true positions are random points on land, each model makes five predictions per image, and
1,000 pictures are cut from Blue Marble.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from geobench import Predictions, Result, get_metrics
from geobench.data.land import sample_land
from geobench.metrics import ScoredImages, scores_of
from geobench.report.formats import report

MODELS, TOP_K = 5, 5
LIMIT_S, LIMIT_MB = 3.0, 30.0


def write_results(folder, n):
    """Write results of models with correlated errors, on crops of Blue Marble."""
    rng = np.random.default_rng(0)
    truth = sample_land(n, rng, -60, 75).round(5)
    hard = rng.normal(size=n)
    for model in range(MODELS):
        spread = 1.2 + 0.05 * model + 2.4 * (0.8 * hard[:, None] + 0.5 * rng.normal(size=(n, TOP_K)))
        degrees = np.minimum(np.exp(spread), 60)
        angle = rng.uniform(0, 2 * np.pi, (n, TOP_K))
        latitude = np.clip(truth[:, :1] + degrees * np.sin(angle), -90, 90)
        longitude = (truth[:, 1:] + degrees * np.cos(angle) + 180) % 360 - 180
        predictions = Predictions.of(np.stack([latitude, longitude], axis=2), -np.sort(-rng.random((n, TOP_K))))
        images = ScoredImages(predictions.errors_km(truth), truth, predictions)
        Result(
            dataset="bluemarble",
            model=f"model-{model}",
            code={},
            n=n,
            failed=0,
            expected=n,
            scores=scores_of(images, get_metrics()),
            crops=1,
            top_k=TOP_K,
            images="made up",
            config={},
            created="2024-05-06T07:08:09+00:00",
            versions={"geobench": "0.1.0"},
            device="cpu",
            seconds=1.0,
            peak_memory_mb=1.0,
            predictions=predictions,
            names=np.array([f"{latitude:+.5f}{longitude:+.5f}" for latitude, longitude in truth], dtype=object),
            truth=truth,
        ).save(folder)


def opened(page):
    """Return the seconds until the page is loaded, and until its map is drawn."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get("about:blank")
        driver.get(page.as_uri())
        while not driver.execute_script("return document.documentElement.dataset.map"):
            time.sleep(0.02)
        loaded, drawn = driver.execute_script(
            "const [page] = performance.getEntriesByType('navigation');"
            "return [page.loadEventEnd, performance.getEntriesByName('map')[0].startTime]"
        )
        return loaded / 1000, drawn / 1000
    finally:
        driver.quit()


def main(n, keep):
    """Build the page and open it."""
    with tempfile.TemporaryDirectory() as folder:
        write_results(Path(folder), n)
        started = time.perf_counter()
        text = report("html", folder)
        seconds = time.perf_counter() - started
        page = keep or Path(folder) / "report.html"
        page.write_text(text, encoding="utf-8")
        size = page.stat().st_size / 1e6
        loaded, drawn = np.median([opened(page) for _ in range(3)], axis=0)
    print(f"{MODELS} × {n:,} predictions, the best {TOP_K} of each")
    print(f"built in {seconds:.1f} s; {size:.1f} MB; loaded in {loaded:.2f} s, map drawn after {drawn:.2f} s")
    assert size < LIMIT_MB
    assert drawn < LIMIT_S


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=25_600)
    parser.add_argument("--keep", type=lambda path: Path(path).resolve(), metavar="FILE")
    arguments = parser.parse_args()
    main(arguments.n, arguments.keep)
