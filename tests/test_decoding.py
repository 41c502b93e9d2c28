import io
import pickle
from itertools import count

import numpy as np
import pytest
from PIL import ExifTags, Image

from geobench import Dataset, get_dataset, get_encoder
from geobench.data.raster import _world
from geobench.features.decoding import PREFETCH_BATCHES, Decoder, decoded
from geobench.images.augmentation import Augmentation
from geobench.images.decoding import open_image


@pytest.fixture
def mine(photos, own_home):
    photos(10, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


@pytest.fixture
def sided(tiny_encoder):
    """An encoder that declares the side to which it scales images."""
    encoder = type("Sided", (type(tiny_encoder),), {"side": 224})()
    return encoder


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_a_worker_holds_no_list_of_names_and_gets_them_as_they_are_needed(mine, tiny_encoder):
    assert len(pickle.dumps(Decoder(mine, None, "test", 1, None))) < 2000
    asked = count()
    endless = ([f"photo-{next(asked) % 10}.jpg"] for _ in count())
    with decoded(Decoder(mine, tiny_encoder, "test", 1, None), endless, workers=0) as batches:
        assert [next(batches).names[0] for _ in range(3)] == ["photo-0.jpg", "photo-1.jpg", "photo-2.jpg"]
    assert next(asked) <= 3 + PREFETCH_BATCHES + 1


def test_only_the_side_that_the_encoder_uses_decides_how_far_a_jpeg_is_reduced(mine, tiny_encoder, sided):
    assert Decoder(mine, tiny_encoder, "test", 1, None).side is None
    assert Decoder(mine, sided, "test", 1, None).side == 224
    assert Decoder(mine, sided, "test", 10, None).side == 256  # a corner crop is 0.875 of the shorter side
    assert Decoder(mine, sided, "train", 1, Augmentation(2)).side is None  # random views may be small parts


@pytest.mark.parametrize("crops", [1, 5, 10])
def test_every_view_of_a_reduced_jpeg_keeps_twice_the_side_that_the_encoder_uses(mine, sided, crops):
    sides = []
    sided.preprocess = lambda view: sides.append(min(view.size)) or type(sided).preprocess(sided, view)
    for number, size in enumerate([(900, 896), (1023, 1024), (1024, 1024), (1500, 2000), (4000, 1800)]):
        (mine.folder / "images" / f"photo-{number}.jpg").write_bytes(jpeg(noise(*size)))
        Decoder(mine, sided, "test", crops, None).decode([f"photo-{number}.jpg"])
    assert len(sides) == 5 * crops and min(sides) >= 2 * 224
    assert max(sides) < 1000  # 1,500 × 2,000 and 1,800 × 4,000 were reduced


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (None, (1001, 803)),
        (500, (1001, 803)),
        (201, (1001, 803)),
        (200, (501, 402)),
        (100, (251, 201)),
        (10, (126, 101)),
    ],
)
def test_a_jpeg_is_decoded_at_an_eighth_to_a_half_if_twice_the_side_is_left(side, expected):
    assert open_image(jpeg(noise(1001, 803)), side=side).size == expected


def test_only_jpegs_are_reduced_and_they_stand_upright_and_in_colour():
    file = io.BytesIO()
    noise(400, 300).save(file, "PNG")
    assert open_image(file.getvalue(), side=10).tobytes() == noise(400, 300).tobytes()
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    half = Image.new("RGB", (400, 200), "red")
    half.paste("blue", (0, 0, 200, 200))  # left of the file: upright, after a quarter turn clockwise, above
    upright = open_image(jpeg(half, exif=turned), side=25)
    assert (upright.size, upright.mode) == ((50, 100), "RGB")
    assert upright.getpixel((25, 10))[2] > 200 and upright.getpixel((25, 90))[0] > 200
    assert open_image(jpeg(half.convert("L")), side=25).size == open_image(jpeg(half.convert("CMYK")), side=25).size


def test_features_of_a_reduced_jpeg_are_close_to_those_of_the_whole_one(one_thread):
    encoder = get_encoder("efficientnet_lite0")
    encoder.load()
    world = _world(get_dataset("bluemarble").raster)
    whole, reduced = [], []
    for number in range(12):
        place = (1200 + 300 * number, 700 + 60 * number)
        photo = jpeg(world.resize((1000, 800), Image.Resampling.BICUBIC, (*place, place[0] + 500, place[1] + 400)))
        whole.append(encoder.preprocess(open_image(photo)))
        reduced.append(encoder.preprocess(open_image(photo, side=encoder.side)))
    import torch

    with torch.inference_mode():
        a, b = (torch.nn.functional.normalize(encoder.encode_images(torch.stack(x)), dim=1) for x in (whole, reduced))
    moved = 1 - (a * b).sum(1)
    apart = 1 - (a @ a.T)[~torch.eye(12, dtype=torch.bool)]
    assert 0 < moved.max() < 0.005
    assert moved.max() < apart.min() / 5
