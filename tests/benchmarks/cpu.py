"""GeoCLIP on a CPU compared with the package ``geoclip``: python tests/benchmarks/cpu.py [--full]

Both run alternately in one process, so that other load slows both; prints medians and their ratio. The peer is the
package's own code without its CLIP backbone, as ``peer.py`` loads it (pip install --no-deps geoclip; pip install
geopy).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import peer
import torch

from geobench import get_gallery, get_metrics, get_model
from geobench.geo import errors_km
from geobench.metrics import ScoredImages, accuracies, scores_of, thresholds_of
from geobench.training.steps import EagerStep
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast
from geobench_plugins.geoclip.network import GeoClip

BATCH, QUEUE, WIDTH, PHOTOS = 512, 4096, 768, 25_600
MILLION = Path(__file__).with_name("million.py")


def seconds(work):
    """Return the seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(what, ours, theirs, turns=5):
    """Print the medians of both, measured alternately after one warm-up of each, and their ratio."""
    if turns > 1:
        ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(turns)]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    show(what, mine, other)


def show(what, mine, other):
    print(f"{what:62s} {mine:10.4f} s {other:10.4f} s {other / mine:9.1f} ×", flush=True)


def training_step():
    """One Adam step on features: forward, loss, backward, update, queue. Both start from random weights."""
    theirs = peer.training_steps(BATCH, QUEUE, WIDTH)
    for compiled, note in (("no", ""), ("yes", ", compiled=yes")):
        if compiled == "yes" and shutil.which("g++") is None:
            print("training step, compiled: skipped, torch.compile needs a C++ compiler")
            continue
        compare(f"training step, batch {BATCH}, queue {QUEUE}, float32{note}", our_step(compiled), theirs)


def our_step(compiled):
    """Return a function that takes one of our steps, as training on a CPU does."""
    config = GeoClipConfig(batch_size=BATCH, queue_length=QUEUE, compiled=compiled)
    contrast = Contrast(GeoClip(config, WIDTH), config, seed=0).train()
    if config.compiles("cpu"):
        contrast.compile_for_training()
    optimiser = torch.optim.Adam(contrast.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    step = EagerStep(contrast, contrast.loss, optimiser, torch.Generator().manual_seed(0), "fp32")
    features, places = torch.randn(BATCH, 1, WIDTH), torch.rand(BATCH, 2) * 90
    return lambda: step(features, places)


def gallery_encoding(ours, n=16_384):
    """Embed part of the released gallery: the peer as released, then with its subnormal weights set to zero."""
    places = get_gallery("official:100k").coordinates[:n]
    given, theirs = torch.tensor(places, dtype=torch.float32), peer.geoclip().eval()
    for note in ("", ", its subnormal weights set to zero"):
        with torch.no_grad():
            compare(
                f"encoding {n:,} places{note}", lambda: ours.embed(places), lambda: theirs.location_encoder(given), 3
            )
        peer.flush(theirs)


def queries(ours, turns):
    """Process queries one by one against the released gallery; the peer embeds the gallery for each query."""
    gallery, theirs = get_gallery("official:100k"), peer.geoclip().eval()
    photos = torch.randn(20, 1, WIDTH).numpy()
    first = seconds(lambda: ours.locate(photos[:1], gallery, 5))
    mine = statistics.median(seconds(lambda row=row: ours.locate(row[None], gallery, 5)) for row in photos)

    def answer(places):
        with torch.no_grad():
            return theirs(torch.from_numpy(photos[0]), places).softmax(dim=-1).topk(5, dim=1)

    for note in ("", ", its subnormal weights set to zero"):
        other = statistics.median(seconds(lambda: answer(theirs.gps_gallery)) for _ in range(turns))
        show(f"a query, gallery of 100k{note}", mine, other)
        peer.flush(theirs)
    print(f"    the first query embeds the gallery, once: {first:.1f} s")
    return other


def evaluation():
    """Score predictions at the levels of the field's tables."""
    metrics = accuracies(get_metrics())
    rng = np.random.default_rng(0)
    gallery = get_gallery("sphere:21k").coordinates
    chosen, truth = rng.integers(0, len(gallery), PHOTOS), get_gallery(f"sphere:{PHOTOS}", seed=1).coordinates
    failed = np.zeros(PHOTOS, dtype=bool)
    distance_accuracy = peer.load("train.eval").distance_accuracy

    def theirs():
        for km in thresholds_of(metrics):
            distance_accuracy(truth, chosen, km, gallery)

    compare(
        f"scores of {PHOTOS:,} predictions",
        lambda: scores_of(ScoredImages(errors_km(gallery[chosen], truth, failed)), metrics),
        theirs,
        3,
    )


def million(per_100k):
    """Embed and search a gallery of a million in a separate process; the peer takes ten times that of 100k."""
    done = subprocess.run([sys.executable, MILLION], capture_output=True, text=True, check=True)
    print(done.stdout.strip())
    mine = float(done.stdout.partition("a query: ")[2].split()[0])
    show("a query, gallery of 1M (peer: ten times the previous row)", mine, 10 * per_100k)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full", action="store_true", help="repeat slow measurements three times, and add a gallery of a million"
    )
    full = parser.parse_args().full
    if peer.find() is None:
        sys.exit("skipped: the package geoclip is not installed (pip install --no-deps geoclip; pip install geopy)")
    with tempfile.TemporaryDirectory() as home:  # an empty cache
        os.environ["GEOBENCH_HOME"] = home
        measure(full)


def measure(full):
    """Print the table."""
    ours = get_model("geoclip@official", "cpu")
    print(f"{'':62s} {'geobench':>12s} {'geoclip':>12s} {'ratio':>11s}")
    training_step()
    evaluation()
    gallery_encoding(ours)
    per_100k = queries(ours, 3 if full else 1)
    if full:
        million(per_100k)


if __name__ == "__main__":
    main()
