"""Every figure that needs a GPU, in one go: python tests/benchmarks/gpu.py [--quick]

Prints a short table; skips with a reason what cannot be had (no GPU, no package ``geoclip``, no embedded imagery).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import peer
import torch
from torch.nn import functional

from geobench.training.engine import Training
from geobench.training.sources import Resident
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast
from geobench_plugins.geoclip.network import GeoClip, LocationEncoder

DIM, DEVICE = 768, "cuda"
PAPER_STEPS = 92_190  # 4.72 M photos × 10 epochs / 512
WIDTHS = 3 * (512 * 1024 + 2 * 1024**2 + 1024 * 512)  # weights that every location passes through
FLOP_PER_STEP = 6 * (512 + 4096) * WIDTHS + 6 * 512 * (768 * 768 + 768 * 512) + 6 * 512 * (512 + 4096) * 512


class Random:
    """Half-precision features made on the device: what training at 4.72 million photos reads."""

    def __init__(self, n: int) -> None:
        self.features = torch.empty((n, 1, DIM), dtype=torch.float16, device=DEVICE).normal_()

    width = DIM
    batches = Resident.batches


def training(n: int, **settings) -> Training:
    """Return a training of the paper's sizes on ``n`` synthetic photos."""
    config = GeoClipConfig(**settings)
    torch.manual_seed(0)
    contrast = Contrast(GeoClip(config, DIM), config, seed=0).to(DEVICE)
    contrast.compile_for(DEVICE)
    coordinates = (torch.rand(n, 2, device=DEVICE) - 0.5) * torch.tensor([180.0, 360.0], device=DEVICE)
    return Training(
        what="bench",
        network=contrast,
        loss=contrast.loss,
        source=Random(n),
        rows=np.arange(n),
        targets=coordinates,
        schedule=config,
        seed=0,
        device=DEVICE,
    )


def seconds_of(n: int, **settings) -> tuple[float, float]:
    """Return seconds of one epoch over ``n`` photos after a first one that compiles, and of a step."""
    run = training(n, epochs=2, **settings)
    run._prepare()
    import threading

    run._epoch(threading.Event(), lambda *a, **k: None)
    torch.cuda.synchronize()
    started = time.perf_counter()
    run._epoch(threading.Event(), lambda *a, **k: None)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return seconds, seconds / run.per_epoch


def peer_step() -> float:
    """Return seconds of the released code's step: eager, float32, its own networks and queue, no backbone."""
    config = GeoClipConfig()
    locations, head = LocationEncoder(config).to(DEVICE), GeoClip(config, DIM).image_head.to(DEVICE)
    if peer.find() is not None:  # the authors' own class; ours has the same layers
        locations = peer.load("model.location_encoder").LocationEncoder(from_pretrained=False).to(DEVICE)
    else:
        print("package geoclip is not here: the peer is the same eager step on our layers")
    scale = torch.nn.Parameter(torch.tensor(2.66, device=DEVICE))
    optimiser = torch.optim.Adam([*locations.parameters(), *head.parameters(), scale], lr=3e-5, weight_decay=1e-6)
    queue = torch.rand(4096, 2, device=DEVICE) * 90
    times = []
    for step in range(60):
        features, coordinates = torch.randn(512, DIM, device=DEVICE), torch.rand(512, 2, device=DEVICE) * 90
        torch.cuda.synchronize()
        started = time.perf_counter()
        optimiser.zero_grad()
        images = functional.normalize(head(features), dim=1)
        places = functional.normalize(locations(torch.cat([coordinates, queue])), dim=1)
        loss = functional.cross_entropy(scale.exp() * images @ places.T, torch.arange(512, device=DEVICE))
        loss.backward()
        optimiser.step()
        queue = torch.cat([queue[512:], coordinates])
        loss.item()
        if step >= 20:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def ceilings() -> tuple[float, float]:
    """Return what the card does: bf16 TFLOP/s of a large product, and TB/s of a large copy."""
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


def vit(images: int) -> tuple[float, float]:
    """Return photos a second of ViT-L/14 extraction from JPEG files, and of the same network on tensors in memory."""
    import open_clip
    import pandas as pd
    from PIL import Image

    from geobench import extract, get_encoder
    from geobench.datasets import Dataset

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = open_clip.create_model("ViT-L-14", pretrained=None)
        torch.save(model.state_dict(), folder / "random.pt")
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        for number in range(images):
            photo = Image.fromarray(np.roll(noise, number, axis=1)).resize((640, 480), Image.Resampling.BICUBIC)
            photo.save(folder / f"{number}.jpg", quality=90)
        dataset = Dataset("vit", "vit", splits={"all": {"images": name, "metadata": name}})
        table = pd.DataFrame({"image": [f"{number}.jpg" for number in range(images)]})
        encoder = get_encoder(f"ViT-L-14/{folder / 'random.pt'}")
        encoder.load(DEVICE)
        batch = torch.randn(256, 3, 224, 224, device=DEVICE)
        with torch.inference_mode():
            for _ in range(3):
                encoder.encode_images(batch)
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(10):
                encoder.encode_images(batch)
            torch.cuda.synchronize()
        memory = 2560 / (time.perf_counter() - started)
        started = time.perf_counter()
        extract(dataset, table, encoder, device=DEVICE, batch_size=256, workers=16)
        return images / (time.perf_counter() - started), memory


def accuracies(precision: str, device: str) -> dict[str, float]:
    """Return the scores of GeoCLIP trained on bluemarble in ``precision``."""
    from geobench import run, train

    checkpoint = train("geoclip", settings={"precision": precision}, device=device)
    with tempfile.TemporaryDirectory() as folder:
        (result,) = run([checkpoint.spec], ["bluemarble"], folder=Path(folder), device=device).results
    return {name: value for name, value in result.scores.items() if name.startswith("acc")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer photos: to see that everything runs")
    quick = parser.parse_args().quick
    if not torch.cuda.is_available():
        print("skipped: there is no GPU here")
        return
    rows: list[tuple[str, str]] = [("card", torch.cuda.get_device_name())]

    def measure(what, work):
        try:
            rows.append((what, work()))
        except Exception as error:  # one figure that cannot be had leaves the others
            rows.append((what, f"not measured: {type(error).__name__}: {str(error).splitlines()[0][:150]}"))
        print(f"{rows[-1][0]}: {rows[-1][1]}", flush=True)

    flops, bandwidth = ceilings()
    rows.append(("ceilings", f"{flops:.0f} TFLOP/s bf16, {bandwidth:.2f} TB/s copy"))
    rows.append(("floor of a step", f"{1000 * FLOP_PER_STEP / flops / 1e12:.3f} ms ({FLOP_PER_STEP / 1e9:.0f} GFLOP)"))
    small, large = 512 * (100 if quick else 1000), 512 * (500 if quick else PAPER_STEPS // 10)
    steps = {}
    for precision in ("bf16", "fp32"):

        def step(precision=precision):
            steps[precision] = seconds_of(small, precision=precision)[1]
            return f"{1000 * steps[precision]:.3f} ms"

        measure(f"step, batch 512, queue 4096, {precision}", step)
    measure("step of the released code, eager float32", lambda: f"{1000 * peer_step():.3f} ms")
    measure("ratio to it, bf16", lambda: f"{peer_step() / steps['bf16']:.1f} ×")

    def epoch():
        seconds, _ = seconds_of(large, precision="bf16")
        return f"{seconds:.1f} s an epoch of {large:,}; ten: {10 * seconds / 60:.2f} min"

    measure("training on 4.72 M cached features", epoch)

    def extraction():
        files, memory = vit(512 if quick else 8192)
        return f"{files:.0f} photos/s from JPEG, {memory:.0f}/s from memory: {100 * files / memory:.0f} %"

    measure("ViT-L/14 features", extraction)

    def compare():
        graphed, eager = accuracies("bf16", "cuda"), accuracies("fp32", "cpu")
        return ", ".join(f"{name[4:]} {graphed[name]:.1f} / {eager[name]:.1f}" for name in graphed)

    measure("bluemarble accuracy, bf16 GPU / fp32 eager CPU", compare)
    print("\n" + "\n".join(f"{what:55s} {value}" for what, value in rows))


if __name__ == "__main__":
    main()
