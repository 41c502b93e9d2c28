"""Images as found on disks, generated: each is read with the right pixels, or counted as failed with a reason."""

import base64
import csv
import gzip
import io
import os
import signal
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, features

from geobench import Dataset, ImageError, extract, get_dataset, get_results
from geobench.predictions import Predictions

WIDTH, HEIGHT = 48, 32
ORIENTATION = ExifTags.Base.Orientation
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
SECONDS = 20  # a reader that waits for a pipe would wait forever


def picture(mode="RGB", size=(WIDTH, HEIGHT)):
    """Return a picture with different corners and soft edges, so that rotations show and JPEG preserves it."""
    corners = np.array([[[220, 30, 40], [30, 200, 60]], [[40, 60, 210], [230, 220, 50]]], dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR).convert(mode)


def encoded(image=None, kind="JPEG", **options):
    """Return the bytes of ``image``, of the picture if None."""
    file = io.BytesIO()
    defaults = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    (image or picture()).save(file, kind, **defaults | options)
    return file.getvalue()


def tags(orientation, description=""):
    """Return EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if description:
        exif[ExifTags.Base.ImageDescription] = description
    return exif


def turned(orientation):
    """Return a JPEG whose EXIF says ``orientation``; put upright it is the picture."""
    way_back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # members of Image.Transpose
    image = picture() if way_back is None else picture().transpose(Image.Transpose(way_back))
    return encoded(image, exif=tags(orientation))


def text_of(length):
    """Return texts of a PNG."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * length, zip=True)
    return texts


def linked(path):
    """Make a link to an image beside it."""
    path.with_name("target").write_bytes(PNG)
    path.symlink_to("target")


JPEG, PNG, WEBP, GIF = (encoded(kind=kind) for kind in ("JPEG", "PNG", "WEBP", "GIF"))
SCAN = JPEG.index(b"\xff\xda")
WITH_EXIF = encoded(exif=tags(1, "a description that is longer than a few bytes"))


def segment(marker, payload):
    """Return the JPEG with a segment put behind its first marker."""
    return JPEG[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + JPEG[2:]


def chunk(kind, payload):
    """Return a PNG chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_of_size(width, height, colour=2):
    """Return a PNG whose header declares a size that its few bytes do not hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def rgb16():
    """Return a PNG of 16 bits and three channels, which Pillow does not write."""
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in np.asarray(picture()))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def ycck():
    """Return a JPEG of luminance, two colours and black: bands stored as CMYK, the mark of Adobe says otherwise."""
    bands = [255 - np.asarray(band) for band in picture().point(lambda value: 255 - value).convert("YCbCr").split()]
    cmyk = encoded(Image.fromarray(np.stack([*bands, np.zeros_like(bands[0])], axis=2), "CMYK"))
    mark = cmyk.index(b"Adobe")
    assert cmyk[mark + 11] == 0
    return cmyk[: mark + 11] + b"\2" + cmyk[mark + 12 :]


def with_alpha(mode="RGBA", **options):
    """Return the picture as PNG, half of it transparent."""
    image = picture("RGBA" if mode == "RGBA" else mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image, "PNG", **options)


def palette(transparency):
    return encoded(picture().quantize(64), "PNG", transparency=transparency)


def frames(kind):
    """Return an animation whose first frame is the picture."""
    other = picture().transpose(Image.Transpose.ROTATE_180)
    return encoded(
        kind=kind, save_all=True, append_images=[other, other], **({"lossless": True} if kind == "WEBP" else {})
    )


def bad_exif(entries=b"", order=b"II*\0\x08\0\0\0"):
    return segment(0xE1, b"Exif\0\0" + order + entries)


def half(data, share=0.5):
    return data[: int(len(data) * share)]


GREY16 = Image.fromarray(np.asarray(picture("L")).astype(np.uint16) * 257)
# Of the picture at quality 60; Pillow reads arithmetic coding and does not write it. Made with cjpeg of libjpeg-turbo.
ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV01XKW3knDg3knMk4h;_zAQcl55)&sJ9v2`kDKRiEDJ?8BI!Zn>HbyrrEkIX6ModmpQ&KWM"
    "T47pHU`kO^PygEhLjevB4iga*CKVMXPc<zyPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPf!2J"
    "01*fPAOJ7}0U`hb5di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zf#06IXxwR>sBo1aO)&d=80@vB&gupSA)d_Y~Cn$iK^NJqMv"
    "fdV0?lofCl;H8e$W_rc7*PS=EP}0)ZYZf&B04i1V@ak4g;!&-q?D7?kv8HJSP?J|7_d_u$kt6{GQc|uYe5D+m-$minC~dbs-%x=6"
    "*#"
)


@dataclass(frozen=True)
class Hostile:
    """A hostile image.

    Attributes:
        what: a few words on what it is.
        content: bytes of the file, or a function that creates it at a path.
        shows: the image that must be read, to ``within`` of 255 grey levels on average; None if it must fail.
        says: what the reason of a failure contains.
        name: of its file.
    """

    what: str
    content: object
    shows: Image.Image | None = None
    within: float = 3.0
    says: str = ""
    name: str = ""

    @property
    def outcome(self):
        """Return what the documentation says of it."""
        return "read" if self.shows is not None else f"failed: {self.says or 'damaged'}"

    def write(self, path):
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)


READ = [
    Hostile("JPEG", JPEG, picture()),
    Hostile("progressive JPEG", encoded(progressive=True), picture()),
    Hostile("JPEG with arithmetic coding", ARITHMETIC, picture()),
    Hostile("JPEG with restart marks", encoded(restart_marker_blocks=1), picture()),
    Hostile("greyscale JPEG", encoded(picture("L")), picture("L").convert("RGB")),
    Hostile("JPEG in CMYK", encoded(picture("CMYK")), picture()),
    Hostile("JPEG in YCCK", ycck(), picture()),
    Hostile("JPEG of lowest quality", encoded(quality=1), picture(), within=40),
    Hostile("JPEG with a colour profile", encoded(icc_profile=SRGB), picture()),
    Hostile("JPEG with a broken colour profile", encoded(icc_profile=b"no profile"), picture()),
    Hostile("JPEG with 60 KB of thumbnail", segment(0xE1, b"Exif\0\0" + bytes(60_000)), picture()),
    Hostile("JPEG, then garbage", JPEG + bytes(range(256)) * 10, picture()),
    Hostile("JPEG, then a JPEG", JPEG + encoded(Image.new("RGB", (9, 9))), picture()),
    Hostile("JPEG named .png", JPEG, picture(), name="jpeg.png"),
    Hostile("PNG named .jpg", PNG, picture(), 0, name="png.jpg"),
    Hostile("WebP named .jpeg", encoded(kind="WEBP", lossless=True), picture(), 0, name="webp.jpeg"),
    Hostile("GIF named .tif", GIF, picture(), name="gif.tif"),
    *(Hostile(f"EXIF orientation {value}", turned(value), picture()) for value in range(1, 9)),
    Hostile("PNG with an orientation", encoded(picture().transpose(Image.Transpose.ROTATE_90), "PNG", exif=tags(6)), picture(), 0),
    Hostile("EXIF orientation 0", turned(0), picture()),
    Hostile("EXIF orientation 99", bad_exif(b"\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0"), picture()),
    Hostile("EXIF orientation as text", bad_exif(b"\x01\0\x12\x01\x02\0\x01\0\0\0c\0\0\0\0\0\0\0"), picture()),
    Hostile("EXIF that is garbage", bad_exif(order=b"garbage that is no TIFF"), picture()),
    Hostile("EXIF that points past its end", bad_exif(order=b"II*\0\xff\xff\xff\x7f"), picture()),
    Hostile("EXIF that points to itself", bad_exif(b"\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0"), picture()),
    Hostile("PNG", PNG, picture(), 0),
    Hostile("PNG without its last chunk", PNG[:-12], picture(), 0),
    Hostile("16-bit PNG, greyscale", encoded(GREY16, "PNG"), picture("L").convert("RGB"), 0),
    Hostile("16-bit PNG, colour", rgb16(), picture(), 0),
    Hostile("1-bit PNG", encoded(picture("1"), "PNG"), picture("1").convert("RGB"), 0),
    Hostile("PNG with a palette", encoded(picture().quantize(64), "PNG"), picture(), 8),
    Hostile("PNG with a palette and a transparent colour", palette(3), picture(), 8),
    Hostile("PNG with a palette and a transparency for each colour", palette(bytes(range(64))), picture(), 8),
    Hostile("greyscale PNG with transparency", with_alpha("L"), picture("L").convert("RGB"), 0),
    Hostile("PNG with transparency", with_alpha(), picture(), 0),
    Hostile("PNG with 60 KB of text", encoded(kind="PNG", pnginfo=text_of(60_000)), picture(), 0),
    Hostile("PNG with a broken profile of 4 KB", encoded(kind="PNG", icc_profile=bytes(4096)), picture(), 0),
    Hostile("16-bit TIFF", encoded(GREY16, "TIFF"), picture("L").convert("RGB"), 0),
    Hostile("TIFF in CMYK", encoded(picture("CMYK"), "TIFF"), picture(), 1),
    Hostile("TIFF in Lab", encoded(picture("LAB"), "TIFF"), picture()),
    Hostile("TIFF with three pages", frames("TIFF"), picture(), 0),
    Hostile("compressed TIFF", encoded(kind="TIFF", compression="tiff_lzw"), picture(), 0),
    Hostile("BMP", encoded(kind="BMP"), picture(), 0),
    Hostile("1-bit BMP", encoded(picture("1"), "BMP"), picture("1").convert("RGB"), 0),
    Hostile("BMP with a palette", encoded(picture().quantize(64), "BMP"), picture(), 8),
    Hostile("32-bit BMP", encoded(picture("RGBA"), "BMP"), picture(), 0),
    Hostile("animated GIF", frames("GIF"), picture()),
    Hostile("animated PNG", frames("PNG"), picture(), 0),
    Hostile("animated WebP", frames("WEBP"), picture(), 0),
    Hostile("GIF without its last byte", GIF[:-1], picture()),
    Hostile("1 × 1", encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), Image.new("RGB", (1, 1), (9, 8, 7)), 0),
    Hostile("1 × 20,000: its middle", encoded(picture(size=(1, 20_000)), "PNG"), picture(size=(1, 20_000)).crop((0, 9950, 1, 10_050)), 0),
    Hostile("20,000 × 2: its middle", encoded(picture(size=(20_000, 2)), "PNG"), picture(size=(20_000, 2)).crop((9900, 0, 10_100, 2)), 0),
    Hostile("a link to an image", linked, picture(), 0),
    Hostile("a name in other scripts", PNG, picture(), 0, name="naïve 東京 🏔.png"),
    Hostile("a name with a comma, quotes and a line break", PNG, picture(), 0, name='a, "b"\nc.png'),
    Hostile("a name like an option", PNG, picture(), 0, name="--help.png"),
    Hostile("a name of 255 bytes", PNG, picture(), 0, name="x" * 251 + ".png"),
    Hostile("a name without a suffix", PNG, picture(), 0, name="no-suffix"),
    Hostile("a suffix in capitals", JPEG, picture(), name="CAPITALS.JPG"),
    *([Hostile("AVIF", encoded(kind="AVIF"), picture())] if features.check("avif") else []),
    *([Hostile("JPEG 2000", encoded(kind="JPEG2000"), picture(), 0)] if features.check("jpg_2000") else []),
]  # fmt: skip

FAILED = [
    Hostile("no bytes", b"", says="is empty"),
    Hostile("null bytes", bytes(4096), says="of an unknown format"),
    *(Hostile(f"JPEG cut after {n} bytes", JPEG[:n], says="") for n in (1, 3, 12, 100, SCAN, SCAN + 12)),
    Hostile("JPEG cut within its EXIF", WITH_EXIF[:60], says="Truncated"),
    Hostile("JPEG cut in the middle of its pixels", half(JPEG, (SCAN / len(JPEG) + 1) / 2), says="image file is truncated"),
    Hostile("JPEG without its last byte", JPEG[:-1], says="image file is truncated"),
    Hostile("progressive JPEG cut in the middle", half(encoded(progressive=True)), says="truncated"),
    Hostile("JPEG with a hole in its pixels", JPEG[: SCAN + 200] + bytes(len(JPEG) - SCAN - 200), says="image file is truncated"),
    Hostile("lossless JPEG, which Pillow cannot read", JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1), says="broken data stream"),
    Hostile("12-bit JPEG", JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c", 1), says="JPEG image with a damaged beginning"),
    Hostile("JPEG of height 0", JPEG.replace(b"\xff\xc0\x00\x11\x08\x00\x20", b"\xff\xc0\x00\x11\x08\x00\x00", 1), says="JPEG image with a damaged beginning"),
    Hostile("PNG cut after its signature", PNG[:8], says="PNG image with a damaged beginning"),
    Hostile("PNG cut within its header", PNG[:20], says="Truncated"),
    Hostile("PNG cut in the middle of its pixels", half(PNG), says="image file is truncated"),
    Hostile("WebP cut in the middle", half(WEBP), says="could not create decoder"),
    Hostile("GIF cut in the middle of its pixels", half(GIF, 0.9), says="image file is truncated"),
    Hostile("BMP cut in the middle", half(encoded(kind="BMP")), says="image file is truncated"),
    Hostile("TIFF cut in the middle", half(encoded(kind="TIFF")), says="image file is truncated"),
    Hostile("PNG that claims 60,000 × 60,000", png_of_size(60_000, 60_000), says="DecompressionBomb"),
    Hostile("PNG that claims 2,000,000,000 × 1", png_of_size(2_000_000_000, 1), says="DecompressionBomb"),
    Hostile("PNG that claims 10,000 × 10,000 and has a few bytes", png_of_size(10_000, 10_000, 0), says="image file is truncated"),
    Hostile("PNG of 0 × 5", png_of_size(0, 5), says="PNG image with a damaged beginning"),
    Hostile("PNG whose profile unpacks to 100 MB", PNG[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100_000_000), 9)) + PNG[33:], says="too large"),
    Hostile("floating-point TIFF", encoded(picture("F"), "TIFF"), says="no defined white"),
    Hostile("32-bit integer TIFF", encoded(picture("I"), "TIFF"), says="no defined white"),
    Hostile("HEIC", HEIC, says="is a HEIC photo (save it as JPEG)"),
    Hostile("a video", b"\0\0\0\x18ftypisom" + bytes(100), says="is a video"),
    Hostile("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", says="is a program, which is not run"),
    Hostile("an SVG drawing", b'<svg xmlns="http://www.w3.org/2000/svg" width="9"/>', says="is an SVG drawing"),
    Hostile("an HTML page saved as .jpg", b"\n<!DOCTYPE html><title>Not Found</title>", says="is an HTML page"),
    Hostile("a JSON error saved as .jpg", b'{"error": "rate limit"}', says="is a JSON document"),
    Hostile("an XML error saved as .jpg", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', says="is an XML document"),
    Hostile("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", says="git lfs pull"),
    Hostile("a gzip archive", gzip.compress(JPEG), says="is a gzip archive"),
    Hostile("a zip archive", b"PK\x03\x04" + bytes(50), says="is a zip archive"),
    Hostile("a PDF document", b"%PDF-1.7\n", says="is a PDF document"),
    Hostile("a NumPy array", b"\x93NUMPY\x01\0", says="is a NumPy array"),
    Hostile("text", b"This image is no longer available.", says="of an unknown format"),
    Hostile("a folder named photo.jpg", Path.mkdir, says="no such file", name="photo.jpg"),
    Hostile("a pipe that nobody writes to", os.mkfifo, says="not a regular file"),
    Hostile("a link that leads nowhere", lambda path: path.symlink_to("nowhere"), says="there is no such file"),
    Hostile("a link to itself", lambda path: path.symlink_to(path.name), says="symbolic links"),
    Hostile("a file that is not there", lambda path: None, says="there is no such file"),
    Hostile("a name too long for any disk", lambda path: None, says="no such file", name="y" * 300 + ".jpg"),
    Hostile("one too long, without a suffix", lambda path: None, says="no such file", name="y" * 300),
]  # fmt: skip
CASES = [replace(image, name=image.name or f"image-{number}.jpg") for number, image in enumerate(READ + FAILED)]


@pytest.fixture(autouse=True)
def alarm():
    """End a test that waits forever."""

    def ring(*_):
        raise TimeoutError(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def dataset_of(folder, images):
    """Write ``images`` and their table below ``folder``; return the data set."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "another.jpg").touch()  # an empty folder would be taken for a disk that is not mounted
    for image in images:
        if len(image.name) < 256:
            image.write(folder / "images" / image.name)
    rows = [(image.name, f"{number % 60}", f"{number}") for number, image in enumerate(images)]
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "latitude", "longitude"), *rows])
    paths = {"images": str(folder / "images"), "metadata": str(folder / "metadata.csv")}
    return Dataset("hostile", "Hostile images", default_encoder="tiny", splits={"all": paths})


@pytest.mark.reliability("hostile images")
@pytest.mark.parametrize("image", CASES, ids=lambda image: image.what)
def test_an_image_is_read_as_it_looks_or_fails_with_its_reason(tmp_path, image):
    dataset = dataset_of(tmp_path / "hostile", [image])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if image.shows is None:
            with pytest.raises(ImageError) as caught:
                dataset.read_image(image.name, "test")
        else:
            got = dataset.read_image(image.name, "test")
    assert not heard
    if image.shows is None:
        reason = str(caught.value)
        assert reason.startswith(image.name)
        assert image.says in reason
        assert " 0x" not in reason and "\n" not in reason  # no address of an object
    else:
        assert (got.mode, got.size) == ("RGB", image.shows.size)
        difference = np.abs(np.asarray(got, dtype=float) - np.asarray(image.shows, dtype=float)).mean()
        assert difference <= image.within


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read it")
def test_a_file_without_read_permission_fails_with_that_reason(tmp_path):
    dataset = dataset_of(tmp_path / "hostile", [Hostile("", PNG, name="locked.png")])
    (tmp_path / "hostile" / "images" / "locked.png").chmod(0)
    with pytest.raises(ImageError, match=r"^locked\.png: .*Permission denied"):
        dataset.read_image("locked.png", "test")


def test_there_are_at_least_sixty_distinct_hostile_images():
    assert len({image.what for image in CASES}) == len({image.name for image in CASES}) == len(CASES) >= 60


def test_a_set_of_them_is_extracted_with_every_failure_counted(tmp_path, tiny_encoder, one_thread):
    dataset = dataset_of(tmp_path / "hostile", CASES)
    tiny_encoder.load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = extract(dataset, dataset.table("test"), tiny_encoder, batch_size=8)
    assert got.ok.tolist() == [image.shows is not None for image in CASES]
    for image, features_of in zip(CASES, got.array, strict=True):
        if image.shows is not None and image.within == 0:
            expected = tiny_encoder.encode_images(tiny_encoder.preprocess(image.shows)[None])[0]
            np.testing.assert_allclose(features_of[0], expected, atol=1e-6)


def test_they_are_the_denominator_of_a_model_trained_and_run_on_them(tmp_path, cli, register, one_thread):
    register("dataset", dataset_of(tmp_path / "hostile", CASES))
    failed = len(FAILED)
    trained = cli("train", "knn", "--data", "hostile", "--encoder", "tiny", "--device", "cpu")
    assert "Traceback" not in trained.output
    done = cli("run", "--models", "knn", "--datasets", "hostile", "--galleries", "training:3", "--device", "cpu")
    assert "Traceback" not in done.output
    assert "Warning" not in trained.output + done.output
    (result,) = get_results("results").itertuples()
    assert (result.n, result.failed) == (len(CASES), failed)
    (path,) = Path("results").glob("*.predictions.csv")
    table = Predictions.load(path)[1]
    assert table["image"].to_list() == [image.name for image in CASES]
    assert table["status"].to_list() == ["failed" if image.shows is None else "ok" for image in CASES]


def test_positions_are_read_from_a_folder_of_them(tmp_path, cli):
    dataset_of(tmp_path / "hostile", CASES)
    exif = tags(1)
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "W", 4: (2.0, 30.0, 0.0)})
    (tmp_path / "hostile" / "images" / "placed.jpg").write_bytes(encoded(exif=exif))
    cli("datasets", "add", "found", "--images", tmp_path / "hostile" / "images", "--exif", "--encoder", "tiny")
    rows = get_dataset("found").table("test").to_numpy(object)
    assert [tuple(row) for row in rows] == [("placed.jpg", 48.85, -2.5)]
