"""What galleries share with test sets: python tests/benchmarks/oracles.py NAME=TABLE.csv [NAME=TABLE.csv …]

For each test set, the share of its coordinates with a gallery point within several distances, and the share that the
gallery holds by the rule of ``Gallery.count_of``: in galleries that come by it naturally (released, sampled from the
land, the other tables, half of a table for its other half, and the released one made ten times denser), then in
galleries of the test set's own coordinates, rounded, alone and among the released points.
"""

import sys
import time
from pathlib import Path

import numpy as np

from geobench.data.places import settlements
from geobench.data.tables.rows import read_coordinates
from geobench.gallery import Gallery, get_gallery, is_oracle
from geobench.geo import METRES_PER_DEGREE, nearest_km

METRES = (0.11, 1, 10, 100, 1000)
DECIMALS = (5, 4, 3, 2)


def denser(points, times=10, metres=200, seed=0):
    """Return ``points`` (n, 2) and ``times`` − 1 neighbours of each, at lognormal distances of this median."""
    rng = np.random.default_rng(seed)
    around = np.repeat(points, times - 1, axis=0)
    radius, angle = metres * np.exp(rng.normal(size=len(around))), rng.uniform(0, 2 * np.pi, len(around))
    step = np.stack([np.cos(angle), np.sin(angle) / np.cos(np.radians(around[:, 0]).clip(-1.5, 1.5))], axis=1)
    moved = around + step * (radius / METRES_PER_DEGREE)[:, None]
    return np.concatenate([points, np.stack([moved[:, 0].clip(-90, 90), (moved[:, 1] + 180) % 360 - 180], axis=1)])


def show(test, name, truth, points):
    """Print a row for the test set ``truth`` against the gallery ``points``."""
    started, gallery = time.perf_counter(), Gallery(points, name)
    found = gallery.count_of(truth)
    seconds = time.perf_counter() - started
    metres = nearest_km(truth, points) * 1000
    shares = "  ".join(f"{100 * np.mean(metres <= limit):6.2f}" for limit in METRES)
    oracle = "ORACLE" if is_oracle(found, len(truth)) else ""
    print(f"{test:10}{name:40}{shares}   {100 * found / len(truth):6.2f}  {seconds:4.1f} s  {oracle}", flush=True)


def rounded(truth):
    """Yield a name and the coordinates ``truth`` (n, 2) as other files may have them."""
    yield "float32", truth.astype(np.float32).astype(np.float64)
    for decimals in DECIMALS:
        yield f"{decimals} decimals", truth.round(decimals)
    yield "cut to 3 decimals", np.trunc(truth * 1000) / 1000


def main(tables):
    """Print everything for the test sets ``tables``, coordinates by name."""
    released = get_gallery("official:100k").coordinates
    natural = {
        spec: get_gallery(spec).coordinates for spec in ("official:10k", "official:100k", "land:100k", "land:1M")
    }
    natural |= {"official, ten times denser": denser(released), "settlements": settlements()[0]}
    heads = "  ".join(f"{limit:>4} m" for limit in METRES)
    print(f"{'test set':10}{'gallery':40}{heads}    held %")
    for test, truth in tables.items():
        for name, points in (natural | {other: table for other, table in tables.items() if other != test}).items():
            show(test, name, truth, points)
        half = np.random.default_rng(0).permutation(len(truth))
        show(test, "its other half", truth[half[::2]], truth[half[1::2]])
        for name, points in rounded(truth):
            show(test, f"itself, {name}", truth, points)
            show(test, f"official + itself, {name}", truth, np.concatenate([released, points]))
            show(
                test, f"denser + itself, {name}", truth, np.concatenate([natural["official, ten times denser"], points])
            )


if __name__ == "__main__":
    main({name: read_coordinates(Path(path)) for name, path in (argument.split("=", 1) for argument in sys.argv[1:])})
