"""All measurements that need a GPU: python tests/benchmarks/gpu.py [--quick] [--only WORD]

Runs the tests that need one, then prints a short table of figures. A figure that cannot be measured (no package
``geoclip``, no compiler, no embedded imagery) says why and does not stop the others.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import peer
import torch

from geobench.features.loaders import ResidentFeatures
from geobench.training.engine import Training
from geobench_plugins.geoclip import contrast
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

DIM, DEVICE = 768, "cuda"
PEER_STEPS = 40
VIT_BATCH = 256
DISTINCT = 2048  # JPEG files; more images are links to them
PAPER_STEPS = 92_190  # 4.72 M photos × 10 epochs / 512
FIRST, LATER = 3 * 512 * 1024, 3 * (2 * 1024**2 + 1024 * 512)  # weights that a location passes through
LOCATIONS = 512 + 4096
# Forward pass, gradients of weights, gradients of inputs; the first layers need no gradients of inputs.
FLOP_PER_STEP = LOCATIONS * (4 * FIRST + 6 * LATER) + 512 * (4 * 768 * 768 + 6 * 768 * 512) + 6 * 512 * LOCATIONS * 512


class RandomFeatures:
    """A loader of random half-precision features on the device: 7.2 GB for 4.72 million photos."""

    def __init__(self, n: int) -> None:
        self.features = torch.empty((n, 1, DIM), dtype=torch.float16, device=DEVICE).normal_()

    width = DIM
    batches = ResidentFeatures.batches


def training(n: int, **settings) -> Training:
    """Return a training run of the paper's sizes on ``n`` synthetic photos."""
    config = GeoClipConfig(**settings)
    torch.manual_seed(0)
    network = contrast.Contrast(GeoClip(config, DIM), config, seed=0).to(DEVICE)
    if config.compiles(DEVICE):
        network.compile_for_training()
    coordinates = (torch.rand(n, 2, device=DEVICE) - 0.5) * torch.tensor([180.0, 360.0], device=DEVICE)
    return Training(
        what="bench",
        network=network,
        loss=network.loss,
        loader=RandomFeatures(n),
        indices=np.arange(n),
        targets=coordinates,
        schedule=config,
        seed=0,
        device=DEVICE,
    )


def seconds_of(n: int, **settings) -> tuple[float, float, float]:
    """Return the seconds to prepare and compile, of an epoch over ``n`` photos, and of one of its steps."""

    def epoch():
        started = time.perf_counter()
        run._epoch(threading.Event(), lambda *given, **figures: None)
        torch.cuda.synchronize()
        return time.perf_counter() - started

    started = time.perf_counter()
    run = training(n, epochs=2, **settings)
    run._prepare()
    prepared = time.perf_counter() - started
    first, second = epoch(), epoch()
    return prepared + max(0, first - second), second, second / run.per_epoch


def peer_step() -> float:
    """Return the seconds of a step of the released code: its own loop on the GPU, eager, float32, without backbone."""
    steps, times = peer.training_steps(512, 4096, DIM, DEVICE, PEER_STEPS), []
    for _ in range(6):
        torch.cuda.synchronize()
        started = time.perf_counter()
        steps()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - started) / PEER_STEPS)
    return statistics.median(times[1:])


def ceilings() -> tuple[float, float]:
    """Return the limits of the GPU: bf16 TFLOP/s of a large matrix product, and TB/s of a large copy."""
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    b = torch.randn(512 << 20, device=DEVICE, dtype=torch.float32)

    def timed(work, repeats=20):
        for _ in range(3):
            work()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / repeats

    target = torch.empty_like(b)
    return 2 * 8192**3 / timed(lambda: a @ a) / 1e12, 2 * b.nbytes / timed(lambda: target.copy_(b)) / 1e12


def vit(images: int) -> tuple[float, float, float]:
    """Return photos per second of ViT-L/14 from JPEG files and from tensors in memory, and the encoder's busy share.

    The first excludes reading the weights and joining the shards.
    """
    import open_clip
    import pandas as pd
    from PIL import Image

    from geobench import extract, get_encoder
    from geobench.data.dataset import Dataset
    from geobench.features.encoders import encode

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = open_clip.create_model("ViT-L-14", pretrained=None)
        torch.save(model.state_dict(), folder / "random.pt")
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        for number in range(min(images, DISTINCT)):
            photo = Image.fromarray(np.roll(noise, number, axis=1)).resize((640, 480), Image.Resampling.BICUBIC)
            photo.save(folder / f"{number}.jpg", quality=90)
        for number in range(DISTINCT, images):
            os.link(folder / f"{number % DISTINCT}.jpg", folder / f"{number}.jpg")
        dataset = Dataset("vit", "vit", splits={"all": {"images": name, "metadata": name}})
        table = pd.DataFrame({"image": [f"{number}.jpg" for number in range(images)]})
        encoder = get_encoder(f"ViT-L-14/{folder / 'random.pt'}")
        encoder.load(DEVICE)
        batch = torch.randn(VIT_BATCH, 3, 224, 224, device=DEVICE)
        for repeats in (3, 10):  # the first to warm up
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(repeats):
                encode(encoder, batch)
            torch.cuda.synchronize()
        memory = VIT_BATCH * repeats / (time.perf_counter() - started)
        extract(
            dataset, table[:1024], encoder, device=DEVICE, batch_size=VIT_BATCH, workers=16
        )  # files in the page cache
        features = extract(dataset, table, encoder, device=DEVICE, batch_size=VIT_BATCH, workers=16)
        return features.about["images_per_second_of_each"], memory, features.about["encoder_busy"]


def accuracies(**settings) -> dict[str, float]:
    """Return the scores of GeoCLIP trained on bluemarble with ``settings``."""
    from geobench import run, train

    checkpoint = train("geoclip", settings=settings, device=DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        (result,) = run([checkpoint.spec], ["bluemarble"], folder=Path(folder), device=DEVICE).results
    return {name: value for name, value in result.scores.items() if name.startswith("acc")}


def tests() -> str:
    """Return the last line of the tests that need a GPU."""
    path = Path(__file__).parents[1] / "test_gpu.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.stdout.strip().splitlines()[-1]


AUTOTUNED = "bf16, compiled with max-autotune"
HOW = {  # ways to take a step, the default of training first
    "bf16, compiled, captured": {"precision": "bf16"},
    AUTOTUNED: {"precision": "bf16"},
    "float32, compiled, captured": {"precision": "fp32"},
    "bf16, eager": {"precision": "bf16", "compiled": "no"},
    "float32, eager": {"precision": "fp32", "compiled": "no"},
}


def figures(quick: bool):
    """Yield names of measurements and functions that return their text, in order: later ones use earlier results."""
    small, large = 512 * (100 if quick else 1000), 512 * (500 if quick else PAPER_STEPS // 10)
    steps: dict[str, float] = {}

    def floor():
        flops, bandwidth = ceilings()
        at_least = f"a step at least {1000 * FLOP_PER_STEP / flops / 1e12:.3f} ms ({FLOP_PER_STEP / 1e9:.0f} GFLOP)"
        return f"{flops:.0f} TFLOP/s bf16, {bandwidth:.2f} TB/s copy; {at_least}"

    def step(how):
        contrast.COMPILE_MODE = "max-autotune-no-cudagraphs" if how == AUTOTUNED else "default"
        torch.compiler.reset()
        begin, _, steps[how] = seconds_of(small, **HOW[how])
        contrast.COMPILE_MODE = "default"
        return f"{1000 * steps[how]:.3f} ms; {begin:.0f} s to start"

    def ratio():
        alone = peer_step()
        times = ", ".join(f"{alone / steps[how]:.1f} × {how}" for how in HOW if how in steps)
        return f"{1000 * alone:.3f} ms: {times}"

    def epoch():
        begin, seconds, _ = seconds_of(large, precision="bf16")
        return f"{begin:.0f} s to start, {seconds:.1f} s per epoch of {large:,}; ten: {10 * seconds / 60:.2f} min"

    def extraction():
        files, memory, busy = vit(2048 if quick else 20_480)
        share = f"{100 * files / memory:.0f} %, encoder busy {busy:.0%}"
        return f"{files:.0f} photos/s from JPEG, {memory:.0f}/s from memory: {share}"

    def compare():
        ours, plain = accuracies(precision="bf16"), accuracies(precision="fp32", compiled="no")
        return ", ".join(f"{name[4:]} {ours[name]:.1f} / {plain[name]:.1f}" for name in ours)

    yield "tests that need a GPU", tests
    yield "limits of the GPU", floor
    for how in HOW:
        yield f"step, batch 512, queue 4096, {how}", lambda how=how: step(how)
    yield "step of the package geoclip, eager, float32", ratio
    yield "training on 4.72 M cached features", epoch
    yield "ViT-L/14 features", extraction
    yield "bluemarble accuracy, bf16 compiled / float32 eager", compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer photos, to check that everything runs")
    parser.add_argument("--only", default="", help="only measurements with this in their name, such as step")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no GPU available")
        return
    rows = [("GPU", torch.cuda.get_device_name())]
    for what, work in figures(given.quick):
        if given.only not in what:
            continue
        try:
            rows.append((what, work()))
        except Exception as error:  # a figure that cannot be measured does not stop the others
            rows.append((what, f"not measured: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"))
        print(f"{rows[-1][0]}: {rows[-1][1]}", flush=True)
    print("\n" + "\n".join(f"{what:55s} {value}" for what, value in rows))


if __name__ == "__main__":
    main()
