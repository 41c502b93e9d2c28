"""Profile of a report of 25,600 predictions × 5 models: python tests/benchmarks/report.py [N]

Reading the CSV files, checks, scores, intervals, tie groups and tables take at most 10 s in total.
"""

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from geobench import Predictions, Result, get_metrics
from geobench.metrics import ScoredImages, scores_of
from geobench.report import formats
from geobench.report.rows import rows as make_rows
from geobench.results import read_results

MODELS, LIMIT_S = 5, 10.0


@contextmanager
def timed(what):
    """Print the seconds that the block took."""
    started = time.perf_counter()
    yield
    print(f"{what:<44}{time.perf_counter() - started:7.2f} s")


def write_results(folder, n):
    """Write results of models with correlated errors, with the extra columns of the YFCC tables."""
    rng = np.random.default_rng(0)
    truth = np.stack([rng.uniform(-60, 70, n), rng.uniform(-180, 180, n)], axis=1)
    who = np.sort(rng.integers(0, max(2, n // 2), n))
    extra = pd.DataFrame({"AUTHOR": [f"{w:08d}@N00" for w in who], "S16_Label": rng.integers(0, 16, n).astype(str)})
    for column in ("S3_Label", "S365_Label", "Prob_indoor", "Prob_natural", "Prob_urban"):
        extra[column] = rng.random(n).astype(str)
    hard = 0.5 * rng.normal(size=who.max() + 1)[who] + 0.8 * rng.normal(size=n)
    for model in range(MODELS):
        degrees = np.minimum(np.exp(1.2 + 0.05 * model + 2.4 * (0.8 * hard + 0.5 * rng.normal(size=n))), 60)
        angle = rng.uniform(0, 2 * np.pi, n)
        latitude = np.clip(truth[:, 0] + degrees * np.sin(angle), -90, 90)
        longitude = (truth[:, 1] + degrees * np.cos(angle) + 180) % 360 - 180
        predictions = Predictions.of(np.stack([latitude, longitude], axis=1)[:, None], rng.random((n, 1)))
        images = ScoredImages(predictions.errors_km(truth), truth, predictions)
        Result(
            dataset="yfcc25600",
            model=f"model-{model}",
            code={},
            n=n,
            failed=0,
            expected=n,
            scores=scores_of(images, get_metrics()),
            crops=1,
            images="made up",
            config={},
            created="2024-05-06T07:08:09+00:00",
            versions={"geobench": "0.1.0"},
            seconds=1.0,
            peak_memory_mb=1.0,
            predictions=predictions,
            names=np.array([f"{number:06d}.jpg" for number in range(n)], dtype=object),
            truth=truth,
            extra=extra,
        ).save(folder)


def main(n):
    """Time the parts, then the whole report as the command builds it."""
    with tempfile.TemporaryDirectory() as folder:
        write_results(Path(folder), n)
        with timed("import scipy and tabulate"):
            import scipy.special
            import scipy.stats  # noqa: F401
            import tabulate  # noqa: F401
        with timed(f"read and check {MODELS} × {n:,} predictions"):
            found, damaged = read_results(Path(folder))
        with timed("intervals, tie groups, verdicts"):
            rows = make_rows(found)
        for name, style in formats.FORMATS.items():
            with timed(f"write {name}"):
                style.write(rows, damaged)
        started = time.perf_counter()
        text = formats.report("table", folder)
        seconds = time.perf_counter() - started
    print(f"\n{text}\n\nwhole report, table: {seconds:.2f} s; at most {LIMIT_S} s")
    assert seconds <= LIMIT_S


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25_600)
