"""Every stage at MP-16's size, on one machine: time, memory, growth. python tests/benchmarks/mp16.py [--sizes 10k,1M]

Builds a table of 4.72 million rows and their features by code, 7.4 GB in a temporary folder, and no photo. Each stage
runs in a process of its own; its time and memory are those of the stage alone, without what it needs before. The limit
is the time that its bytes take to copy, or its floating-point operations in a large matrix product, on this machine
with as many threads; the exponent is that with which CPU time grows between the two largest sizes.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SIZES = (10_000, 100_000, 1_000_000, 4_723_695)
WIDTH, BLOCK, STEPS, QUERIES, GALLERY = 768, 65_536, 200, 3_000, 1_000_000
GEOCLIP = {"batch_size": 32, "queue_length": 128}  # on a CPU a step of the paper's sizes takes seconds
LOCATION = 2 * 3 * (512 * 1024 + 2 * 1024**2 + 1024 * 512)  # operations that a location costs, forwards
ROW = "{folder:03x}/{hash:08x}_{n}.jpg,{user}@N0{digit},{latitude:.6f},{longitude:.6f}\n"


def build_table(folder: Path, n: int) -> None:
    """Write a table as MP-16's: name, photographer, position; photos crowd in towns, as they do."""
    rng = np.random.default_rng(0)
    towns = np.degrees(np.arcsin(rng.uniform(-0.8, 0.95, 20_000))), rng.uniform(-180, 180, 20_000)
    with (folder / "metadata.csv").open("w") as file:
        file.write("IMG_ID,AUTHOR,LAT,LON\n")
        for start in range(0, n, BLOCK):
            m = min(BLOCK, n - start)
            town = (20_000 * rng.random(m) ** 3).astype(int)
            latitude = np.clip(towns[0][town] + rng.normal(0, 0.2, m), -90, 90)
            longitude = (towns[1][town] + rng.normal(0, 0.2, m) + 180) % 360 - 180
            users = rng.integers(10**7, 10**7 + n // 20 + 1, m)
            rows = zip(range(start, start + m), users.tolist(), latitude.tolist(), longitude.tolist(), strict=True)
            file.writelines(
                ROW.format(
                    folder=i % 4096, hash=i * 2654435761 % 2**32, n=i, user=u, digit=u % 9, latitude=y, longitude=x
                )
                for i, u, y, x in rows
            )


def build_features(path: Path, n: int) -> None:
    """Write features (n, 1, 768) in half precision, no two alike: one block over and over, its columns rotated."""
    block = np.random.default_rng(1).normal(size=(BLOCK, WIDTH)).astype(np.float16)
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, 1, WIDTH)}
        np.lib.format.write_array_header_1_0(file, header)
        for number, start in enumerate(range(0, n, BLOCK)):
            file.write(np.roll(block, number, axis=1)[: n - start].data)


class Scale:
    """What a stage of ``n`` images works on."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n

    @property
    def scratch(self) -> Path:
        """Return a new folder, removed with the others."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def table(self):
        """Return the table."""
        from geobench.data.tables.rows import read_table

        return read_table(self.folder / "metadata.csv")

    def coordinates(self):
        """Return random positions (n, 2), crowded as the table's."""
        rng = np.random.default_rng(2)
        towns = np.stack([np.degrees(np.arcsin(rng.uniform(-0.8, 0.95, 20_000))), rng.uniform(-179, 179, 20_000)], 1)
        return towns[(20_000 * rng.random(self.n) ** 3).astype(int)] + rng.uniform(-0.5, 0.5, (self.n, 2))

    def training_set(self):
        """Return the training set with its mapped features."""
        import pandas as pd

        from geobench import Dataset, Features, TrainingSet
        from geobench.features.cache import _mapped
        from geobench.features.loaders import MappedFeatures

        root = Path(os.environ["GEOBENCH_HOME"]) / "features"
        features = Features(_mapped(root / "key" / "features.npy"), np.ones(self.n, dtype=bool), "key", root)
        table = pd.DataFrame(self.coordinates(), columns=["latitude", "longitude"])
        mapped = MappedFeatures(features.array, "cpu")  # whatever memory is free
        return TrainingSet(Dataset("mp16-bench", "by code"), table, lambda: features, live=lambda: mapped)


# Each stage prepares what it needs, yields, and is measured from then on until it ends. It returns the least bytes that
# it moves, and its floating-point operations.


def table(scale):
    """Read the table, all checks and messages included."""
    yield
    assert len(scale.table()) == scale.n
    return (scale.folder / "metadata.csv").stat().st_size, 0


def identity(scale):
    """Digest names and positions, as for the key of a training."""
    from geobench.models import hash_table

    rows = scale.table()
    yield
    hash_table(rows)
    return 48 * scale.n, 0


def mapped_features(scale):
    """Read 200 batches of 512 random rows from the memory map."""
    from geobench.features.loaders import MappedFeatures

    features = scale.training_set().features.array
    rows = np.random.default_rng(0).integers(0, scale.n, (STEPS, 512))
    yield
    for _ in MappedFeatures(features, "cpu").batches(rows, 0):
        pass
    return 2 * STEPS * 512 * WIDTH, 0


def partitions(scale):
    """Divide the sphere three times, as the classifier does."""
    from geobench.partitions import nested

    coordinates = scale.coordinates()
    yield
    nested(coordinates, (5000, 2000, 1000), min(50, scale.n // 2000))
    return 24 * scale.n, 0


def _two_hundred_steps(training, scale):
    """Take 200 steps, stop as on SIGTERM, and resume from what was saved."""
    stop = threading.Event()

    def advance(steps, **figures):
        if steps and training.step >= min(STEPS, training.per_epoch - 1):
            stop.set()

    training._prepare()
    with contextlib.suppress(KeyboardInterrupt):
        training._epoch(stop, advance)
    taken = training.step
    training._prepare()
    assert training.step == taken
    return taken


def _training(network, loss, loader, targets, config, scale):
    from geobench.training.engine import Training

    return Training(
        what="bench",
        network=network,
        loss=loss,
        loader=loader,
        indices=np.arange(scale.n),
        targets=targets,
        schedule=config,
        seed=0,
        device="cpu",
        scratch=scale.scratch,
    )


def geoclip(scale):
    """Prepare, train 200 steps, save and resume; small batches on a CPU."""
    import torch

    from geobench.features.loaders import MappedFeatures
    from geobench_plugins.geoclip.config import GeoClipConfig
    from geobench_plugins.geoclip.contrast import Contrast
    from geobench_plugins.geoclip.network import GeoClip

    training_set, config = scale.training_set(), GeoClipConfig(**GEOCLIP)
    yield
    contrast = Contrast(GeoClip(config, WIDTH), config, 0)
    targets = torch.tensor(training_set.coordinates, dtype=torch.float32)
    loader = MappedFeatures(training_set.features.array, "cpu")
    steps = _two_hundred_steps(_training(contrast, contrast.loss, loader, targets, config, scale), scale)
    return 0, steps * 3 * LOCATION * sum(GEOCLIP.values())


def classifier(scale):
    """Partition, train 200 steps of 512, save and resume."""
    import torch

    from geobench_plugins.classifier import Classifier

    training_set = scale.training_set()
    model = Classifier(Classifier.Config(min_images=min(50, scale.n // 2000)), "cpu")
    steps = []

    def train(training_set, loader, targets, **how):
        given = torch.from_numpy(targets)
        steps.append(
            _two_hundred_steps(_training(model.network, model.network.loss, loader, given, model.config, scale), scale)
        )

    model.train = train
    yield
    model.fit(training_set)
    return 0, 4 * steps[0] * model.config.batch_size * WIDTH * sum(model.parts.sizes)  # features need no gradient


def checkpoint(scale):
    """Save what a checkpoint holds of its training images, and open it."""
    from geobench import files
    from geobench.features.digests import sorted_digests
    from geobench.provenance import weights_digest

    coordinates, folder = scale.coordinates(), scale.scratch
    digests = np.random.default_rng(0).integers(0, 2**63, (scale.n, 2)).astype(np.uint64)
    yield
    files.write_array(folder / "coordinates.npy", coordinates)
    files.write_array(folder / "digests.npy", sorted_digests(digests))
    weights_digest({"coordinates": files.read_array(folder / "coordinates.npy", np.float64, (None, 2))})
    files.read_array(folder / "digests.npy", np.uint64, (2, None), mapped=True)
    return 3 * 32 * scale.n, 0


def knn(scale):
    """Fit kNN, which refers to the features, and place 3,000 photos."""
    from geobench_plugins.knn import Knn, KnnConfig

    training_set, model = scale.training_set(), Knn(KnnConfig())
    queries = np.random.default_rng(0).normal(size=(QUERIES, 1, WIDTH)).astype(np.float32)
    yield
    model.fit(training_set)
    model.locate(queries, top_k=5)
    assert model.state()["features"].nbytes < 5000
    return 2 * scale.n * WIDTH, 2 * QUERIES * scale.n * WIDTH


def gallery(scale):
    """Draw a gallery of a million training positions, embed it to disk, and search it for 20 photos."""
    from geobench import get_gallery, search
    from geobench_plugins.geoclip import GeoClipModel
    from geobench_plugins.geoclip.config import GeoClipConfig
    from geobench_plugins.geoclip.network import GeoClip

    coordinates, size = scale.coordinates(), min(scale.n, GALLERY)
    model = GeoClipModel(GeoClipConfig(), "cpu")
    model.network = GeoClip(model.config, WIDTH).eval()
    yield
    drawn = get_gallery(f"training:{size}", coordinates)
    embeddings = search.gallery_embeddings(drawn, model.embed, model.config.dim, f"geoclip@bench-{scale.n}")
    import torch

    search.top_k(torch.randn(20, model.config.dim), embeddings, 5)
    return 4 * size * model.config.dim, size * LOCATION


def _rows_dataset():
    """Return a data set of rows without photos, all of them to test on."""
    from geobench import Dataset

    class RowsDataset(Dataset, kind="rows-bench"):
        stored = False

        def prepare(self, purpose, progress=None):
            pass

    return RowsDataset("mp16-bench", "by code")


def _evaluated(scale, rows):
    from geobench import Model, Predictions, TestSet, evaluate

    class Near(Model):
        """Predicts a place near the truth."""

        name, input, uses_gallery, trainable = "near-bench", "none", False, False

        def locate(self, features, gallery=None, top_k=1):
            found = rows[["latitude", "longitude"]].to_numpy() * 0.99
            return Predictions.of(found[:, None], np.ones((len(found), 1)))

    return evaluate(Near(), TestSet(_rows_dataset(), rows))


def evaluation(scale):
    """Evaluate a model on as many test images: identity, errors, scores, and the files of the result."""
    rows = scale.table()
    yield
    _evaluated(scale, rows).save(scale.folder / "results")
    return 200 * scale.n, 0


def report(scale):
    """Read the result of the evaluation and print its table, with confidence intervals."""
    from geobench.report.formats import report as make_report

    yield
    assert "near-bench" in make_report("markdown", scale.folder / "results")
    return 100 * scale.n, 0


def twins(scale):
    """Look for 3,000 photos among all by perceptual hash, and for photographers, ids and places in common."""
    from geobench.audits import overlap

    rng = np.random.default_rng(0)
    theirs = rng.integers(0, 2**63, (scale.n, 3)).astype(np.uint64)
    theirs[:, 2] = 0
    ours = theirs[:: max(1, scale.n // QUERIES)][:QUERIES].copy()
    ours[:, 0] ^= np.uint64(0b1011)
    training = scale.table().rename(columns={"AUTHOR": "author"})
    test = training.iloc[:QUERIES].reset_index(drop=True)
    yield
    assert overlap.twins(ours, theirs, 16, "twins").leaking.all()
    overlap.same_id(test, training)
    overlap.same_coordinate(test, training)
    overlap.same_photographer(test, training)
    return 16 * scale.n, 0


def control(scale):
    """Look n names up among n, in random order: linear by construction, so what is above n^1 here is the memory's."""
    names = [f"{i:08x}.jpg" for i in range(scale.n)]
    known = dict.fromkeys(names)
    asked = [names[i] for i in np.random.default_rng(0).permutation(scale.n)]
    yield
    assert all(name in known for name in asked)
    return 100 * scale.n, 0


STAGES = (
    control,
    table,
    identity,
    mapped_features,
    partitions,
    geoclip,
    classifier,
    checkpoint,
    knn,
    gallery,
    twins,
    evaluation,
    report,
)


class Memory:
    """The most memory that this process has had since the block began, in GB: its own, and mapped files in it."""

    def __enter__(self):
        self.own = self.mapped = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while True:
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            own, mapped = (int(lines[name].split()[0]) * 1024 / 1e9 for name in ("RssAnon", "RssFile"))
            self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)
            if self._ended.wait(0.01):
                return


def measured(name: str, folder: Path, n: int) -> dict:
    """Run a stage in this process and return its figures."""
    import pandas  # noqa: F401  no stage is measured with the import of libraries
    import pyarrow.csv  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    work = globals()[name](Scale(folder, n))
    next(work)
    with Memory() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            next(work)
        except StopIteration as end:
            moved, operations = end.value
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    figures = {"seconds": wall, "cpu": cpu, "own_gb": memory.own, "mapped_gb": memory.mapped}
    return figures | {"bytes": moved, "flop": operations}


def limits() -> dict:
    """Return bytes per second of a large copy, and operations per second of a large matrix product."""
    import torch

    a, b = torch.randn(2048, 2048), torch.randn(1 << 26)
    target = torch.empty_like(b)

    def best(work):
        times = []
        for _ in range(7):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return min(times)

    return {"bytes": 2 * b.nbytes / best(lambda: target.copy_(b)), "flop": 2 * 2048**3 / best(lambda: a @ a)}


def child(*arguments: str, home: Path) -> dict:
    """Run this file in a process of its own and return what it prints."""
    environment = os.environ | {"GEOBENCH_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run(sizes, names, limit) -> dict:
    """Measure every stage at every size."""
    found = {name: {} for name in names}
    for n in sizes:
        folder = Path(tempfile.mkdtemp(prefix="geobench-mp16-"))
        try:
            home = folder / "home"
            (home / "features" / "key").mkdir(parents=True)
            build_table(folder, n)
            build_features(home / "features" / "key" / "features.npy", n)
            (home / "features" / "key" / "about.json").write_text("{}")
            for name in names:
                figures = child("--stage", name, "--folder", str(folder), "--n", str(n), home=home)
                found[name][n] = figures | {"limit_s": at_least(figures, limit)}
                print(f"{name} {n:,}: {line(found[name][n])}", flush=True)
        finally:
            shutil.rmtree(folder)
    return found


def at_least(figures: dict, limit: dict) -> float:
    """Return the seconds that the bytes or the operations of a stage take at the machine's limit."""
    return max(figures["bytes"] / limit["bytes"], figures["flop"] / limit["flop"])


def line(figures: dict) -> str:
    """Return the figures of a stage at one size."""
    return f"{figures['seconds']:.2f} s ({figures['cpu']:.2f} CPU), {figures['own_gb']:.2f} GB"


def exponent(of_sizes: dict) -> float:
    """Return the exponent with which the CPU time of a stage grows between the two largest sizes."""
    if len(of_sizes) < 2:
        return math.nan
    (n, before), (m, after) = sorted(of_sizes.items())[-2:]
    return math.log(after["cpu"] / before["cpu"]) / math.log(m / n)


def as_table(found: dict) -> str:
    """Return the figures in Markdown: CPU time, which on a quiet machine is the time, and memory with libraries."""
    sizes = sorted({n for of_sizes in found.values() for n in of_sizes})
    heads = ["Stage", *(f"{n:,}" for n in sizes), "Growth", "Memory", "Limit", "Share of it"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for name, of_sizes in found.items():
        largest = of_sizes[max(of_sizes)]
        kind = f"{largest['flop']:.1e} FLOP" if largest["flop"] else f"{largest['bytes'] / 1e9:.2f} GB"
        times = [f"{of_sizes[n]['cpu']:.2f} s" if n in of_sizes else "–" for n in sizes]
        limit, share = largest["limit_s"], 100 * largest["limit_s"] / largest["cpu"]
        cells = [name.replace("_", " "), *times, f"n^{exponent(of_sizes):.2f}", f"{largest['own_gb']:.2f} GB"]
        lines.append(f"| {' | '.join(cells)} | {limit:.2f} s ({kind}) | {share:.1f} % |")
    return "\n".join(lines)


def parse(text: str) -> int:
    """Return a number of images such as ``10k`` or ``1M``."""
    return int(float(text.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(text[-1], 1))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of images")
    parser.add_argument("--only", default="", help="stages, separated by commas")
    parser.add_argument("--output", type=Path, help="also write the figures here, as JSON")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        print(json.dumps(limits() if given.stage == "limits" else measured(given.stage, given.folder, given.n)))
        return
    names = given.only.split(",") if given.only else [stage.__name__ for stage in STAGES]
    sizes = [parse(size) for size in given.sizes.split(",")]
    free, needed = shutil.disk_usage(tempfile.gettempdir()).free, max(sizes) * (2 * WIDTH + 300) + (4 << 30)
    if free < needed:
        raise SystemExit(
            f"{tempfile.gettempdir()} has {free / 1e9:.0f} GB free and {needed / 1e9:.0f} are needed; set TMPDIR, or "
            "give smaller --sizes."
        )
    limit = child("--stage", "limits", home=Path(tempfile.gettempdir()))
    found = run(sizes, names, limit)
    if given.output:
        given.output.write_text(json.dumps({"limits": limit, "load": os.getloadavg(), "stages": found}, indent=2))
    print(f"\n{limit['flop'] / 1e9:.0f} GFLOP/s, {limit['bytes'] / 1e9:.1f} GB/s; load {os.getloadavg()[0]:.1f}\n")
    print(as_table(found))


if __name__ == "__main__":
    main()
