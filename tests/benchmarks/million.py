"""Embed and search a gallery of a million: time, peak memory, correctness. python tests/benchmarks/million.py [N]"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from geobench import get_gallery, get_model, search

WIDTH, QUERIES, TOP = 768, 20, 5
LIMIT_GB = 3.0


def peak_gb():
    """Return the peak memory of this process; getrusage would include that of its parent."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e9


def main(n):
    """Search a gallery of ``n`` points; print time and memory, then compare with the unblocked computation."""
    model = get_model("geoclip@official", "cpu")
    gallery = get_gallery(f"sphere:{n}")
    photos = torch.randn(QUERIES, 1, WIDTH, generator=torch.Generator().manual_seed(0)).numpy()
    started = time.perf_counter()
    whole = model.locate(photos, gallery, TOP)
    print(f"gallery of {n:,}: embedded and searched for {QUERIES} queries in {time.perf_counter() - started:.1f} s")
    times = []
    for photo, places in zip(photos, whole.coordinates, strict=True):
        started = time.perf_counter()
        alone = model.locate(photo[None], gallery, TOP)
        times.append(time.perf_counter() - started)
        assert np.array_equal(alone.coordinates[0], places)
    print(f"a query: {statistics.median(times):.4f} s, one at a time; at most {peak_gb():.2f} GB resident")
    assert peak_gb() <= LIMIT_GB

    embeddings = search.gallery_embeddings(gallery, model.embed, model.config.dim, model._key)
    sample = np.arange(0, n, max(1, n // 500))
    assert np.array_equal(model.embed(gallery.coordinates[sample]), embeddings[sample])
    with torch.inference_mode():
        unit = model.network.embed_images(torch.from_numpy(photos[:3, 0])).double().numpy()
        logits = float(model.network.logit_scale.exp()) * unit @ np.asarray(embeddings, dtype=np.float64).T
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    best = np.argsort(-probabilities, axis=1)[:, :TOP]
    assert np.array_equal(whole.coordinates[:3], gallery.coordinates[best])
    assert np.allclose(whole.scores[:3], np.take_along_axis(probabilities, best, 1), rtol=1e-4)
    print("equal to the unblocked computation in float64 on three queries, and to embeddings of a sample alone")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["GEOBENCH_HOME"] = home
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
