"""What ``gpu.py`` measures: steps, systems, pixels, features, extraction. On a CPU in sizes that take seconds."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import peer
import torch
from torch.utils.flop_counter import FlopCounterMode

from geobench import Dataset, Features, TrainingSet, extract, get_encoder
from geobench.features.half import HalfArray
from geobench.features.live import PixelLoader
from geobench.features.loaders import ResidentFeatures
from geobench.plugins import get_model_class
from geobench.progress import SILENT
from geobench.settings import configure
from geobench.training.engine import Training
from geobench_plugins.geoclip import contrast
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

PEER_STEPS = 40
DISTINCT = 2048  # JPEG files; more images are links to them


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        batch: of a training step.
        geoclip: settings of GeoCLIP besides the batch.
        systems: settings of each other system.
        tokens: of an image and width of each, for systems that read tokens.
        few, many: photos of a short training, and of an epoch.
        paper_steps: of the paper's whole training.
        side: of a square matrix whose product shows the limit; ``copied``: numbers in an array whose copy does.
        jpegs: photos to extract features of; ``side_px``: their width.
        architecture: of open_clip, with random weights; without one it is efficientnet_lite0.
        pixel_batch, pixel_photos: of a training from pixels.
        accuracy: arguments of the trainings that are compared.
    """

    device: str = "cuda"
    batch: int = 512
    width: int = 768
    geoclip: Mapping = field(default_factory=dict)
    systems: Mapping = field(default_factory=dict)
    tokens: tuple[int, int] = (256, 1024)
    few: int = 512 * 1000
    many: int = 512 * 9219
    paper_steps: int = 92_190
    side: int = 8192
    copied: int = 512 << 20
    jpegs: int = 20_480
    side_px: int = 640
    architecture: str = "ViT-L-14"
    encoded_at_once: int = 256
    pixel_batch: int = 128
    pixel_photos: int = 2560
    accuracy: Mapping = field(default_factory=dict)


PAPER = {"min_images": 50}
OF_SYSTEMS = {
    "planet": PAPER,
    "cplanet": {},
    "isn": PAPER | {"scene_epochs": 1},
    "translocator": {"min_images": 1, "scenes": 3, "dim": 768, "depth": 12, "attention_heads": 12},
    "geodecoder": {
        "min_images": 1, "dim": 768, "shared_layers": 8, "own_layers": 2, "attention_heads": 12, "feed_forward": 1024,
    },
}  # fmt: skip
"""Those of the papers; of those that read tokens, which take 0.5 MB a photo, with few photos."""
GPU = Sizes(systems=OF_SYSTEMS)
QUICK = Sizes(systems=OF_SYSTEMS, few=512 * 100, many=512 * 500, jpegs=2048, pixel_photos=512)
_FEW_CELLS = {"min_images": 1, "max_images": [60, 30]}
TINY = Sizes(
    device="cpu",
    batch=16,
    width=32,
    geoclip={"queue_length": 32, "hidden_dim": 16, "dim": 8, "head_dim": 8, "fourier_rows": 4},
    systems={
        "planet": {"min_images": 1, "max_images": 30},
        "cplanet": {"cell_images": 4, "classes": [6, 8], "min_images": 1, "max_images": 30},
        "isn": _FEW_CELLS | {"scene_epochs": 1},
        "translocator": _FEW_CELLS | {"dim": 8, "depth": 1, "attention_heads": 2, "loss_weights": [0.6, 0.4]},
        "geodecoder": _FEW_CELLS
        | {"dim": 8, "shared_layers": 1, "own_layers": 1, "attention_heads": 2, "feed_forward": 8},
    },
    tokens=(4, 8),
    few=16 * 6,
    many=16 * 12,
    paper_steps=24,
    side=128,
    copied=1 << 16,
    jpegs=8,
    side_px=64,
    architecture="",
    encoded_at_once=4,
    pixel_batch=4,
    pixel_photos=8,
    accuracy={"limit": 32, "epochs": 1, "images": 10},
)


class RandomFeatures:
    """A loader of random half-precision features on the device: 7.2 GB for 4.72 million photos."""

    def __init__(self, n: int, width: int, device: str) -> None:
        self.features = torch.empty((n, 1, width), dtype=torch.float16, device=device).normal_()
        self.width = width

    batches = ResidentFeatures.batches


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work, device: str, repeats: int = 20) -> float:
    """Return the seconds that ``work`` takes, by the mean of several."""
    for _ in range(3):
        work()
    wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - started) / repeats


def ceilings(sizes: Sizes) -> tuple[float, float]:
    """Return the limits of the device: bf16 FLOP/s of a large matrix product (float32 on a CPU), bytes/s of a copy."""
    kind = torch.bfloat16 if sizes.device == "cuda" else torch.float32
    a = torch.randn(sizes.side, sizes.side, device=sizes.device, dtype=kind)
    b = torch.randn(sizes.copied, device=sizes.device)
    target = torch.empty_like(b)
    product, copy = timed(lambda: a @ a, sizes.device), timed(lambda: target.copy_(b), sizes.device)
    return 2 * sizes.side**3 / product, 2 * b.nbytes / copy


def geoclip_training(sizes: Sizes, n: int, **settings) -> Training:
    """Return a training run of GeoCLIP on ``n`` synthetic photos."""
    config = GeoClipConfig(batch_size=sizes.batch, **sizes.geoclip, **settings)
    torch.manual_seed(0)
    network = contrast.Contrast(GeoClip(config, sizes.width), config, seed=0).to(sizes.device)
    if config.compiles(sizes.device):
        network.compile_for_training()
    coordinates = (torch.rand(n, 2, device=sizes.device) - 0.5) * torch.tensor([180.0, 360.0], device=sizes.device)
    return Training(
        what="bench",
        network=network,
        loss=network.loss,
        loader=RandomFeatures(n, sizes.width, sizes.device),
        indices=np.arange(n),
        targets=coordinates,
        schedule=config,
        seed=0,
        device=sizes.device,
    )


def _one_epoch(run: Training) -> None:
    run._epoch(threading.Event(), lambda *given, **figures: None)


def seconds_of(sizes: Sizes, n: int, **settings) -> tuple[float, float, float]:
    """Return the seconds to prepare and compile, of an epoch over ``n`` photos, and of one of its steps."""

    def epoch():
        started = time.perf_counter()
        _one_epoch(run)
        wait(sizes.device)
        return time.perf_counter() - started

    started = time.perf_counter()
    run = geoclip_training(sizes, n, epochs=2, **settings)
    run._prepare()
    prepared = time.perf_counter() - started
    first, second = epoch(), epoch()
    return prepared + max(0, first - second), second, second / run.per_epoch


def flop_of_step(sizes: Sizes) -> float:
    """Return the floating-point operations of a step of GeoCLIP."""
    run = geoclip_training(sizes, sizes.batch, epochs=1, compiled="no")
    run._prepare()
    with FlopCounterMode(display=False) as counter:
        _one_epoch(run)
    return counter.get_total_flops()


def peer_step(sizes: Sizes) -> float:
    """Return the seconds of a step of the released code: its own loop, eager, float32, without backbone."""
    queue = GeoClipConfig(batch_size=sizes.batch, **sizes.geoclip).queue_length
    steps, times = peer.training_steps(sizes.batch, queue, 768, sizes.device, PEER_STEPS), []
    for _ in range(6 if sizes.device == "cuda" else 2):
        wait(sizes.device)
        started = time.perf_counter()
        steps()
        wait(sizes.device)
        times.append((time.perf_counter() - started) / PEER_STEPS)
    return statistics.median(times[1:])


def gathered(sizes: Sizes) -> tuple[float, float, int]:
    """Return bytes moved and seconds for batches of features in half precision, and the bytes that a photo takes."""
    half = np.random.default_rng(0).normal(size=(sizes.few, 1, sizes.width)).astype(np.float16)
    loader = ResidentFeatures(HalfArray(half), sizes.device)
    rows = np.random.default_rng(1).integers(0, sizes.few, (50, sizes.batch))

    def work():
        for _ in loader.batches(rows, 0):
            pass

    moved = rows.size * sizes.width * (2 + 2 + 2 + 4)  # gathered: read and written; then made float32
    return moved, timed(work, sizes.device, 3), loader.features.element_size() * sizes.width


class Tokens:
    """In place of an encoder of tokens."""

    def __init__(self, tokens: int, width: int) -> None:
        self.tokens, self.dim = tokens, tokens * width


def training_set(sizes: Sizes, n: int, reads: str) -> TrainingSet:
    """Return ``n`` synthetic photos with features in half precision, and columns of scenes."""
    rng = np.random.default_rng(0)
    tokens, width = sizes.tokens
    tokens *= 2 if reads == "tokens+map" else 1
    d = sizes.width if reads == "pooled" else tokens * width
    half = HalfArray(rng.standard_normal((n, 1, d), dtype=np.float32).astype(np.float16))
    features = Features(half, np.ones(n, dtype=bool), "bench")
    table = pd.DataFrame(rng.uniform(-80, 80, (n, 2)), columns=["latitude", "longitude"])
    table["S3_Label"], table["S16_Label"] = rng.integers(0, 3, n), rng.integers(0, 16, n)
    return TrainingSet(Dataset("bench", "bench"), table, lambda: features, encoder=Tokens(tokens, width))


def fitted(name: str, sizes: Sizes, photos: TrainingSet, batch: int, **settings) -> dict:
    """Fit a system and return the last line of its log."""
    model_class = get_model_class(name)
    given = sizes.systems[name] | {"batch_size": batch} | settings
    model = model_class(configure(model_class.Config, given, name), sizes.device)
    with tempfile.TemporaryDirectory() as scratch:
        model.fit(photos, scratch=Path(scratch), progress=SILENT)
        log = next(path for path in (Path(scratch) / "base/log.jsonl", Path(scratch) / "log.jsonl") if path.exists())
        return json.loads(log.read_text().splitlines()[-1])


def system(name: str, sizes: Sizes) -> tuple[float, float]:
    """Return the photos per second on which ``name`` trains from features, and operations for each."""
    reads = get_model_class(name).reads
    n = sizes.few if reads == "pooled" else 4 * sizes.batch  # 0.5 to 1 MB a photo
    photos = training_set(sizes, n, reads)
    rate = fitted(name, sizes, photos, sizes.batch, epochs=2)["images_per_s"]
    alone = {"scene_networks": False} if name == "isn" else {}
    with FlopCounterMode(display=False) as counter:
        fitted(name, sizes, photos, sizes.batch, epochs=1, compiled="no", **alone)
    return rate, counter.get_total_flops() / (n - n % sizes.batch)


def jpegs(folder: Path, n: int, side: int) -> Dataset:
    """Write ``n`` photos and return the data set of them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    for number in range(min(n, DISTINCT)):
        size = (side, side * 3 // 4)
        photo = Image.fromarray(np.roll(noise, number, axis=1)).resize(size, Image.Resampling.BICUBIC)
        photo.save(folder / f"{number}.jpg", quality=90)
    for number in range(DISTINCT, n):
        os.link(folder / f"{number % DISTINCT}.jpg", folder / f"{number}.jpg")
    return Dataset("bench", "bench", splits={"all": {"images": str(folder), "metadata": str(folder)}})


def from_pixels(sizes: Sizes, backbone: str) -> tuple[float, float, float]:
    """Return photos per second of PlaNet trained from JPEG files, share of time waited, operations for each photo."""
    workers = 16 if sizes.device == "cuda" else 0
    with tempfile.TemporaryDirectory() as name:
        n = sizes.pixel_photos
        dataset, encoder = jpegs(Path(name), n, sizes.side_px), get_encoder("efficientnet_lite0")
        encoder.load(sizes.device)
        photos = training_set(sizes, n, "pooled")
        names = [f"{number}.jpg" for number in range(n)]

        def of(rows):
            loader = PixelLoader(dataset, names[:rows], encoder, None, sizes.device, workers)
            features = Features(photos.features.array, np.arange(n) < rows, "bench")
            return TrainingSet(dataset, photos.table, lambda: features, encoder=encoder, read_pixels=lambda: loader)

        settings = {"backbone": backbone, "min_images": 1, "max_images": 30}
        line = fitted("planet", sizes, of(n), sizes.pixel_batch, epochs=2, **settings)
        with FlopCounterMode(display=False) as counter:
            fitted("planet", sizes, of(sizes.pixel_batch), sizes.pixel_batch, epochs=1, **settings)
        return line["images_per_s"], line["waited"], counter.get_total_flops() / sizes.pixel_batch


def extraction(sizes: Sizes) -> tuple[float, float, float, str]:
    """Return photos per second from JPEG files and from memory, the encoder's busy share, and what is stored.

    The first excludes reading the weights and joining the shards.
    """
    from geobench.features.encoders import encode
    from geobench.features.half import stored

    with tempfile.TemporaryDirectory() as name:
        folder, n = Path(name), sizes.jpegs
        dataset, spec = jpegs(folder, n, sizes.side_px), "efficientnet_lite0"
        if sizes.architecture:
            import open_clip

            torch.save(open_clip.create_model(sizes.architecture, pretrained=None).state_dict(), folder / "random.pt")
            spec = f"{sizes.architecture}/{folder / 'random.pt'}"
        table = pd.DataFrame({"image": [f"{number}.jpg" for number in range(n)]})
        encoder = get_encoder(spec)
        encoder.load(sizes.device)
        batch = torch.randn(sizes.encoded_at_once, 3, 224, 224, device=sizes.device)
        repeats = 10 if sizes.device == "cuda" else 1
        memory = len(batch) / timed(lambda: encode(encoder, batch), sizes.device, repeats)
        workers = 16 if sizes.device == "cuda" else 0
        how = {"device": sizes.device, "batch_size": sizes.encoded_at_once, "workers": workers}
        extract(dataset, table[: n // 2], encoder, **how)  # files in the page cache
        features = extract(dataset, table, encoder, **how)
        about = features.about
        return about["images_per_second_of_each"], memory, about["encoder_busy"], str(stored(features.array).dtype)


def accuracies(sizes: Sizes, **settings) -> dict[str, float]:
    """Return the scores of GeoCLIP trained on bluemarble with ``settings``."""
    from geobench import run, train

    how = dict(sizes.accuracy)
    images = how.pop("images", None)
    small = dict(sizes.geoclip) | {"batch_size": sizes.batch} if how else {}
    checkpoint = train("geoclip", settings=small | settings, device=sizes.device, **how)
    with tempfile.TemporaryDirectory() as folder:
        few = {"galleries": ["training:20"], "limit": images} if how else {}
        (result,) = run([checkpoint.spec], ["bluemarble"], folder=Path(folder), device=sizes.device, **few).results
    return {name: value for name, value in result.scores.items() if name.startswith("acc")}


def tests() -> tuple[str, bool]:
    """Return the last line of the tests that need a GPU, and whether all passed."""
    path = Path(__file__).parents[1] / "test_gpu.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.stdout.strip().splitlines()[-1], not done.returncode
