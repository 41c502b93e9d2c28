import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from torchvision.transforms import FiveCrop, TenCrop

from geobench import ImageError
from geobench.images.decoding import open_image, views
from geobench.images.exif import exif_position

GPS = ExifTags.GPS


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def with_gps(path, **tags):
    """Save a photo to ``path`` whose GPS block holds ``tags``."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({getattr(GPS, name): value for name, value in tags.items()})
    noise(16, 8).save(path, exif=exif)
    return path


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    noise(20, 10).convert(mode).save(tmp_path / f"photo.{suffix}")
    image = open_image(tmp_path / f"photo.{suffix}")
    assert (image.mode, image.size) == ("RGB", (20, 10))


def test_pixels_of_a_lossless_file_are_unchanged(tmp_path):
    noise(20, 10).save(tmp_path / "photo.png")
    assert open_image(tmp_path / "photo.png").tobytes() == noise(20, 10).tobytes()


def test_a_photo_taken_with_a_rotated_camera_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned: rotate by 90° clockwise to see it upright
    noise(20, 10).save(tmp_path / "photo.png", exif=exif)
    upright = open_image(tmp_path / "photo.png")
    assert upright.tobytes() == noise(20, 10).transpose(Image.Transpose.ROTATE_270).tobytes()


def test_a_file_that_is_missing_or_not_an_image_or_truncated_is_named_with_the_reason(tmp_path):
    whole = io.BytesIO()
    noise(64, 64).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in [
        ("nowhere.jpg", "there is no such file"),
        ("cut.jpg", "truncated"),
        ("text.jpg", "of an unknown format"),
        ("empty.jpg", "is empty"),
        ("folder.jpg", "is a folder"),
    ]:
        with pytest.raises(ImageError, match=rf"^{name}: .*{reason}"):
            open_image(tmp_path / name)


def test_a_damaged_file_is_an_image_error_whatever_byte_is_wrong(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        whole = io.BytesIO()
        noise(24, 16).save(whole, kind)
        for _ in range(60):
            damaged = bytearray(whole.getvalue())
            damaged[rng.integers(len(damaged))] = rng.integers(256)
            (tmp_path / "photo").write_bytes(damaged)
            try:
                assert open_image(tmp_path / "photo").mode == "RGB"
            except ImageError as error:
                assert str(error).startswith("photo: ")
            assert exif_position(tmp_path / "photo") is None


def test_an_image_of_absurd_size_is_an_image_error_and_has_no_position(tmp_path):
    header = io.BytesIO()
    noise(4, 4).save(header, "BMP")
    bomb = bytearray(header.getvalue())
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2  # width and height of the header: 3.6 thousand million pixels
    (tmp_path / "bomb.bmp").write_bytes(bomb)
    with pytest.raises(ImageError, match=r"bomb\.bmp: DecompressionBombError"):
        open_image(tmp_path / "bomb.bmp")
    assert exif_position(tmp_path / "bomb.bmp") is None


def test_one_crop_is_the_image_itself():
    image = noise(60, 40)
    assert views(image, 1) == [image]


def test_five_crops_are_the_corners_and_the_centre():
    # 40 pixels high: the side is 0.875 · 40 = 35, so there are 60 − 35 = 25 to its right and 40 − 35 = 5 below.
    image = noise(60, 40)
    places = [(0, 0), (25, 0), (0, 5), (25, 5), (12, 2)]
    pixels = np.asarray(image)
    for view, (x, y) in zip(views(image, 5), places, strict=True):
        np.testing.assert_array_equal(np.asarray(view), pixels[y : y + 35, x : x + 35])


SIZES = [(60, 40), (40, 60), (61, 40), (63, 40), (48, 48), (101, 57), (57, 103), (7, 5), (1, 9)]


@pytest.mark.parametrize("size", SIZES)
def test_five_and_ten_crops_are_those_of_torchvision(size):
    image = noise(*size)
    side = max(1, round(0.875 * min(size)))
    for crops, theirs in ((5, FiveCrop(side)), (10, TenCrop(side))):
        for ours, judge in zip(views(image, crops), theirs(image), strict=True):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(judge))


def test_ten_crops_are_those_of_the_image_and_of_its_mirror_image():
    image = noise(60, 40)
    ten = [np.asarray(view) for view in views(image, 10)]
    mirrored = views(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 5)
    for view, other in zip(ten, [*views(image, 5), *mirrored], strict=True):
        np.testing.assert_array_equal(view, np.asarray(other))
    assert np.array_equal(ten[5], ten[1][:, ::-1]) and not np.array_equal(ten[5], ten[0])


@pytest.mark.parametrize("crops", [1, 5, 10])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2)])
def test_the_smallest_image_has_its_views(size, crops):
    assert len(views(noise(*size), crops)) == crops


@pytest.mark.parametrize(
    ("latitude_ref", "longitude_ref", "expected"),
    [
        ("N", "E", (33.8566667, 151.2152778)),
        ("S", "E", (-33.8566667, 151.2152778)),
        ("N", "W", (33.8566667, -151.2152778)),
        ("s", "w", (-33.8566667, -151.2152778)),
    ],
)
def test_the_position_in_exif_is_signed_by_its_references(tmp_path, latitude_ref, longitude_ref, expected):
    # 33° 51′ 24″ = 33 + 51/60 + 24/3600, and 151° 12′ 55″
    path = with_gps(
        tmp_path / "photo.jpg",
        GPSLatitude=(33.0, 51.0, 24.0),
        GPSLatitudeRef=latitude_ref,
        GPSLongitude=(151.0, 12.0, 55.0),
        GPSLongitudeRef=longitude_ref,
    )
    assert exif_position(path) == pytest.approx(expected, abs=1e-6)


def test_references_that_are_stored_as_bytes_count_too(tmp_path):
    path = with_gps(
        tmp_path / "photo.jpg",
        GPSLatitude=(33.0, 0.0, 0.0),
        GPSLatitudeRef="S",
        GPSLongitude=(151.0, 0.0, 0.0),
        GPSLongitudeRef="W",
    )
    data = path.read_bytes()
    for tag in (1, 3):  # of two characters each; the type 2 is ASCII, 7 is UNDEFINED
        assert data.count(bytes([0, tag, 0, 2, 0, 0, 0, 2])) == 1
        data = data.replace(bytes([0, tag, 0, 2, 0, 0, 0, 2]), bytes([0, tag, 0, 7, 0, 0, 0, 2]))
    path.write_bytes(data)
    assert exif_position(path) == (-33, -151)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"GPSLatitude": (1.0, 2.0, 3.0)},
        {"GPSLatitude": (1.0, 2.0, 3.0), "GPSLongitude": (1.0, 2.0)},
        {"GPSLatitude": (91.0, 0.0, 0.0), "GPSLongitude": (1.0, 2.0, 3.0)},
        {"GPSLatitude": (1.0, 0.0, 0.0), "GPSLongitude": (180.0, 2.0, 3.0)},
        {"GPSLatitude": (IFDRational(0, 0), 0.0, 0.0), "GPSLongitude": (1.0, 2.0, 3.0)},
    ],
    ids=["none", "latitude alone", "two numbers", "latitude 91", "longitude beyond 180", "zero over zero"],
)
def test_exif_that_is_no_position_counts_as_none(tmp_path, tags):
    assert exif_position(with_gps(tmp_path / "photo.jpg", **tags)) is None


def test_a_file_without_exif_and_one_that_is_not_there_have_no_position(tmp_path):
    noise(8, 8).save(tmp_path / "photo.png")
    assert exif_position(tmp_path / "photo.png") is None
    assert exif_position(tmp_path / "nowhere.jpg") is None


def test_importing_the_command_line_loads_no_pillow():
    code = "import sys, geobench.cli; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
