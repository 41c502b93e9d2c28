import io
import pickle
from itertools import count

import numpy as np
import pytest
from PIL import ExifTags, Image

from geobench import Dataset
from geobench.features.decoding import PREFETCH_BATCHES, Decoder, decoded
from geobench.images.decoding import open_image, views


@pytest.fixture
def mine(photos, own_home):
    photos(10, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


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


@pytest.mark.parametrize("crops", [1, 10])
def test_features_come_from_the_full_decode_however_large_a_jpeg_is(mine, tiny_encoder, crops):
    photo = noise(1300, 900).resize((2600, 1800), Image.Resampling.BICUBIC)
    path = mine.folder / "images/photo-0.jpg"
    photo.save(path, quality=92)
    batch = Decoder(mine, tiny_encoder, "test", crops, None).decode(["photo-0.jpg"])
    with Image.open(path) as whole:
        expected = [tiny_encoder.preprocess(view) for view in views(whole.convert("RGB"), crops)]
    np.testing.assert_array_equal(batch.inputs[0], np.stack(expected))


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
