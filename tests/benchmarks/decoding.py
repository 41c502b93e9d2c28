"""What decoding a JPEG at a reduced scale would change and save: python tests/benchmarks/decoding.py FOLDER

FOLDER holds ``images`` and ``metadata.csv``. Half of the photos train kNN and GeoCLIP, the other half is placed twice:
from the full decode, as geobench does it, and from one at 1/2, 1/4 or 1/8 that leaves at least FACTOR times the
encoder's input. Photos are enlarged by pasting ``--paste`` times as many of them side by side in each direction, which
keeps their detail; ``efficientnet_lite0@56`` needs none for photos of 224 pixels. For comparison, photos saved again as
JPEG. Then the CPU milliseconds per photo, from the file to the encoder's input.
"""

import argparse
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from geobench import get_dataset, get_encoder, get_gallery, get_model, train
from geobench.data.registration import add_dataset
from geobench.geo import haversine_km
from geobench.images import decoding
from geobench.images.decoding import open_image

FACTORS = (2, 4)
SIZES = ((500, 375), (1024, 768), (2048, 1536), (4000, 3000))
GEOCLIP = {"epochs": 30, "batch_size": 64, "queue_length": 256, "hidden_dim": 256}
GALLERY = "land:10k"


def jpeg(image, quality=90):
    """Return the bytes of a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def pasted(photos, n, rng):
    """Return ``photos`` as they are (n = 1), or the same number of n × n of them side by side, as JPEG files."""
    if n == 1:
        return photos
    opened = [open_image(photo) for photo in photos]
    side = min(min(photo.size) for photo in opened)
    result = []
    for _ in photos:
        sheet = Image.new("RGB", (n * side, n * side))
        for place in range(n * n):
            sheet.paste(
                opened[rng.integers(len(opened))].crop((0, 0, side, side)), (place % n * side, place // n * side)
            )
        result.append(jpeg(sheet))
    return result


def features(encoder, images):
    """Return features (n, 1, d)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 32):
            inputs = torch.stack([encoder.preprocess(image) for image in images[start : start + 32]])
            parts.append(encoder.encode_images(inputs).numpy())
    return np.concatenate(parts)[:, None]


def compare(encoder, side, photos, models, gallery):
    """Print how far features move and how many predictions change, for each way of decoding."""
    whole = features(encoder, [open_image(photo) for photo in photos])
    ways = {"saved again at quality 95": [open_image(jpeg(open_image(photo), 95)) for photo in photos]}
    for factor in FACTORS:
        decoding.DRAFT_FACTOR = factor
        ways[f"reduced, factor {factor}"] = [open_image(photo, side=side) for photo in photos]
    for name, images in ways.items():
        other = features(encoder, images)
        cosine = torch.nn.functional.cosine_similarity(torch.tensor(whole[:, 0]), torch.tensor(other[:, 0]))
        line = f"  {name} ({images[0].width}×{images[0].height}): 1 − cosine median {1 - cosine.median():.4f}, "
        print(f"{line}largest {1 - cosine.min():.4f}")
        for model in models:
            a, b = (model.locate(x, gallery if model.uses_gallery else None, 5).coordinates for x in (whole, other))
            first, order = (a[:, 0] != b[:, 0]).any(1), (a != b).any((1, 2))
            km = np.median(haversine_km(a[first, 0], b[first, 0])) if first.any() else 0
            print(
                f"    {model.name}: top 1 of {first.mean():.1%} (by {km:,.0f} km), order of top 5 of {order.mean():.1%}"
            )


def cost(photos, rng):
    """Print the milliseconds from a JPEG file to an input of 224 pixels."""
    opened = [open_image(photo) for photo in photos[:200]]
    encoder = get_encoder("efficientnet_lite0@224")
    for width, height in SIZES:
        files = []
        for scale in (1, 2, 4):
            sheet, tile = Image.new("RGB", (width, height)), 224 * scale
            for x in range(0, width, tile):
                for y in range(0, height, tile):
                    sheet.paste(
                        opened[rng.integers(len(opened))].resize((tile, tile), Image.Resampling.LANCZOS), (x, y)
                    )
            files.append(jpeg(sheet))
        shown = []
        for factor in (None, *FACTORS):
            decoding.DRAFT_FACTOR, times = factor or 1, []
            for _ in range(5):
                started = time.process_time()
                for file in files:
                    encoder.preprocess(open_image(file, side=224 if factor else None))
                times.append((time.process_time() - started) / len(files))
            shown.append(f"{f'factor {factor}' if factor else 'full'} {min(times) * 1000:.1f} ms")
        print(f"  {width}×{height}: {', '.join(shown)}")


def main():
    """Run all of it in a temporary GEOBENCH_HOME."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="efficientnet_lite0@56")
    parser.add_argument("--side", type=int, default=56, help="of the encoder's input")
    parser.add_argument("--paste", type=int, default=1)
    parser.add_argument("--photos", type=int, default=1000, help="to place, at most; all are held in memory")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as home:
        os.environ["GEOBENCH_HOME"] = home
        add_dataset("photos", chosen.folder / "images", chosen.folder / "metadata.csv", encoder=chosen.encoder)
        dataset = get_dataset("photos")
        n = len(dataset.table("train")) // 2
        specs = [
            train(name, "photos", limit=n, settings=settings, device="cpu", workers=0).spec
            for name, settings in (("knn", {}), ("geoclip", GEOCLIP))
        ]
        trained_on = set(dataset.table("train", n)["image"])
        names = [name for name in dataset.table("test")["image"] if name not in trained_on][: chosen.photos]
        photos = [(chosen.folder / "images" / name).read_bytes() for name in names]
        encoder = get_encoder(chosen.encoder)
        encoder.load("cpu")
        print(f"{len(photos)} photos, {chosen.encoder}")
        models = [get_model(spec, "cpu") for spec in specs]
        compare(encoder, chosen.side, pasted(photos, chosen.paste, rng), models, get_gallery(GALLERY))
        cost(photos, rng)


if __name__ == "__main__":
    main()
