"""Stories of images that could be decoded, to other pixels than they show, or that could be another row's.

The files are written here byte by byte, so that what is expected does not come from the library that reads them.
"""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geobench import DatasetError, ImageError, get_dataset
from geobench.data.registration import add_dataset
from geobench.data.stores.layouts import open_store
from geobench.images.decoding import open_image
from geobench.models import TestSet
from geobench.progress import Progress

GREY = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
COLOUR = np.stack([GREY, GREY[:, ::-1], np.full_like(GREY, 90)], axis=-1)
WIDE = GREY.astype(np.uint16) * 257  # 0 to 65535
OPAQUE = np.full((32, 64, 1), 65535, np.uint16)
GREYSCALE, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types of PNG


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(lines, kind, bits, more=b""):
    """Return a PNG of 64 × 32 pixels from the bytes of its lines; ``more`` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", 64, 32, bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def lines(array):
    """Return the bytes of each line, 16 bits with the first byte high."""
    wide = np.ascontiguousarray(array).astype(">u2" if array.dtype == np.uint16 else array.dtype)
    return [row.tobytes() for row in wide]


def packed(levels, bits):
    """Return lines of several pixels per byte, the first in the highest bits."""
    whole = levels.reshape(32, -1, 8 // bits).astype(np.uint8)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    return lines(np.bitwise_or.reduce(whole << shifts, axis=2))


def tiff(array, photometric, sample_format=1, order="<", bits=None):
    """Return an uncompressed TIFF of one strip."""
    bits = bits or 8 * array.dtype.itemsize
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    tags = [(256, 64), (257, 32), (258, bits), (259, 1), (262, photometric), (273, 134), (277, 1), (278, 32)]
    tags += [(279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + b"\0" * 4 + data


def clear(levels):
    """Return the chunk that makes palette entries, or a grey level, transparent."""
    return chunk(b"tRNS", bytes(levels))


ENTRIES = chunk(b"PLTE", bytes(COLOUR[0].ravel()))
INDICES = [bytes(range(64))] * 32
FILES = {
    "grey, 16 bits": (png(lines(WIDE), GREYSCALE, 16), GREY),
    "grey, 16 bits, with a transparent level": (png(lines(WIDE), GREYSCALE, 16, clear((0, 16))), GREY),
    "grey and alpha, 16 bits": (png(lines(np.dstack([WIDE, OPAQUE])), GREY_ALPHA, 16), GREY),
    "grey and alpha": (png(lines(np.dstack([GREY, GREY])), GREY_ALPHA, 8), GREY),
    "colour, 16 bits": (png(lines(COLOUR.astype(np.uint16) * 257), RGB, 16), COLOUR),
    "colour and alpha, 16 bits": (
        png(lines(np.dstack([COLOUR.astype(np.uint16) * 257, OPAQUE])), RGB_ALPHA, 16),
        COLOUR,
    ),
    "transparent to the left": (
        png(lines(np.dstack([COLOUR, np.where(np.arange(64) < 32, 0, 255) + 0 * GREY]).astype(np.uint8)), RGB_ALPHA, 8),
        COLOUR,
    ),
    "grey, 4 bits": (png(packed(GREY >> 4, 4), GREYSCALE, 4), (GREY >> 4) * 17),
    "grey, 2 bits": (png(packed(GREY >> 6, 2), GREYSCALE, 2), (GREY >> 6) * 85),
    "black and white": (png(packed(GREY >> 7, 1), GREYSCALE, 1), (GREY >> 7) * 255),
    "palette": (png(INDICES, PALETTE, 8, ENTRIES), COLOUR),
    "palette with transparent colours": (png(INDICES, PALETTE, 8, ENTRIES + clear(range(0, 128, 2))), COLOUR),
    "TIFF, black is zero": (tiff(GREY, 1), GREY),
    "TIFF, white is zero": (tiff(GREY, 0), 255 - GREY),
    "TIFF, 16 bits": (tiff(WIDE, 1), GREY),
    "TIFF, 16 bits, high byte first": (tiff(WIDE, 1, order=">"), GREY),
    "TIFF, 16 bits, white is zero": (tiff(WIDE, 0), 255 - GREY),
    "PGM, 16 bits": (b"P5 64 32 65535\n" + b"".join(lines(WIDE)), GREY),
    "PPM, 16 bits": (b"P6 64 32 65535\n" + b"".join(lines(COLOUR.astype(np.uint16) * 257)), COLOUR),
    "PGM to 1000": (b"P5 64 32 1000\n" + b"".join(lines((WIDE / 65.535).astype(np.uint16))), GREY),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_that_were_written(name):
    content, expected = FILES[name]
    image = open_image(content)
    whole = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    assert (image.mode, image.size) == ("RGB", (64, 32))
    assert np.abs(np.asarray(image, int) - whole.astype(int)).max() <= (1 if "1000" in name else 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(GREY.astype(np.int8), 1, 2), "signed values have no defined black; save it with unsigned ones"),
        (tiff(WIDE.astype(np.int16), 1, 2), "32-bit values have no defined white"),
        (tiff(GREY.astype(np.float32), 1, 3), "32-bit values have no defined white"),
        (tiff(GREY.astype(np.uint32), 1), "32-bit values have no defined white"),
    ],
)
def test_numbers_without_a_defined_black_and_white_are_no_image(content, reason):
    with pytest.raises(ImageError, match=reason):
        open_image(content)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_the_first_counts(kind, tmp_path):
    path = tmp_path / "x"
    first, second = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    first.save(path, kind, save_all=True, append_images=[second])
    assert np.abs(np.asarray(open_image(path), int) - [255, 0, 0]).max() < 4


# -- names


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def added(tmp_path, files, rows):
    """Register images, each of a colour of its own by name, and return which name each row gets, or None."""
    (tmp_path / "images").mkdir()
    for name in files:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, "PNG")
    table = Path("t.csv")
    table.write_text("image,lat,lon\n" + "".join(f'"{name}",1,{n}\n' for n, name in enumerate(rows)), encoding="utf-8")
    store = add_dataset("mine", tmp_path / "images", table).dataset.store("test")
    return [found.name if (found := store.find(name)) is not None else None for name in rows]


def test_names_that_differ_in_case_zeros_or_accents_are_different_images(tmp_path):
    accents = [unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD")]
    names = ["A.jpg", "a.jpg", "1.jpg", "01.jpg", "001.jpg", *accents, "1E5.jpg", "100000.jpg"]
    (tmp_path / "probe").write_text("")
    if (tmp_path / "PROBE").exists():
        pytest.skip("needs a disk on which A and a are two files")
    assert added(tmp_path, names, names) == names


def test_a_name_is_not_taken_for_another_one_that_only_looks_like_it(tmp_path):
    rows = ["here.jpg", "01.jpg", "cafe.jpg", "100000", "b.png"]
    files = ["here.jpg", "1.jpg", "café.jpg", "1E5.jpg", "b.jpg"]
    assert added(tmp_path, files, rows) == ["here.jpg", *[None] * 4]


def test_spaces_around_names_make_no_two_rows_of_one_image(tmp_path):
    with pytest.raises(DatasetError, match=r"image 'a\.jpg' is already listed on line 2"):
        added(tmp_path, ["a.jpg", "a.jpg "], ["a.jpg", "a.jpg "])


def test_a_name_in_two_subfolders_is_asked_for(tmp_path):
    with pytest.raises(DatasetError, match=r"the image '1\.jpg' may be 'a/1\.jpg' in images or 'b/1\.jpg' in images"):
        added(tmp_path, ["a/1.jpg", "b/1.jpg"], ["1.jpg"])


def test_a_backslash_in_a_table_is_a_slash_and_finds_no_other_image(tmp_path):
    files, rows = ["a/1.jpg", "1.jpg", "2.jpg"], ["2.jpg", "a\\1.jpg", "b\\3.jpg"]
    assert added(tmp_path, files, rows) == ["2.jpg", "a/1.jpg", None]


def test_a_photo_that_another_one_of_its_name_elsewhere_stands_in_for_is_named_at_every_run(tmp_path):
    names = ["1.jpg", "2.jpg", "3.jpg"]
    assert added(tmp_path, [*names, "other town/3.jpg"], names) == names
    (tmp_path / "images" / "3.jpg").unlink()
    told = Told()
    for _ in range(2):
        assert TestSet.of(get_dataset("mine"), progress=told).images_key
    assert told.said == 2 * [
        "mine: 1 images are found under another name than the table gives them, as others are not, such as "
        "3.jpg = other town/3.jpg; is each the right one?"
    ]


def test_a_table_whose_names_all_lack_the_folder_needs_no_word(tmp_path):
    names = ["1.jpg", "2.jpg", "3.jpg"]
    assert added(tmp_path, [f"town/{name}" for name in names], names) == [f"town/{name}" for name in names]
    told = Told()
    assert TestSet.of(get_dataset("mine"), progress=told).images_key
    assert told.said == []


def test_a_zip_of_two_members_of_one_name_is_asked_for(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for content in (b"one", b"other"):
            archive.writestr("1.jpg", content)
    with pytest.raises(DatasetError, match=r"the image '1\.jpg' may be '1\.jpg' in x\.zip or '1\.jpg' in x\.zip"):
        open_store(tmp_path / "x.zip").image_file("1.jpg")


# -- which field of a record names its image

NUMBERS = [str(number) for number in range(1, 7)]
TITLES = [f"{number}.jpg" for number in (4, 2, 6, 1, 5, 3)]  # of the records 1 to 6


def content(name):
    """Return the image of a record: a colour of its own for each file name."""
    return png([bytes([40 * int(name[0]), 90, 200] * 64)] * 32, RGB, 8)


def records(folder, layout, *, told=True, **fields):
    """Write records with fields besides the image, and what the file of each was called if that is ``told``."""
    path = folder / f"shard.{layout}"
    images = [{"bytes": content(name), "path": name if told else None} for name in TITLES]
    if layout == "parquet":
        pq.write_table(pa.table({**fields, "image": images}), path)
    else:
        columns = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
        path.write_bytes(
            b"".join(msgpack.packb({"image": i["bytes"], **more}) for i, more in zip(images, columns, strict=True))
        )
    return path


def listed(folder):
    """Write the table of the photos: the position of each tells which one it is."""
    table = folder / "t.csv"
    table.write_text("image,lat,lon\n" + "".join(f"{n}.jpg,{n},0\n" for n in NUMBERS))
    return table


def test_row_numbers_beside_file_names_in_parquet_give_no_photo_the_position_of_another_one(tmp_path, cli):
    path = records(tmp_path, "parquet", id=NUMBERS, filename=TITLES)
    given = ["datasets", "add", "mine", "--images", path, "--metadata", listed(tmp_path), "--encoder", "tiny"]
    said = cli(*given).stderr
    assert f"{path}: the column 'filename' names the images (6 of 6 rows looked at), not 'id'." in said
    dataset = get_dataset("mine")
    assert all(dataset.image_bytes(f"{n}.jpg", "test") == content(f"{n}.jpg") for n in NUMBERS)


@pytest.mark.parametrize("layout", ["parquet", "msg"])
def test_two_names_of_records_without_a_word_on_their_files_are_asked_for(tmp_path, layout):
    path, table = records(tmp_path, layout, told=False, id=NUMBERS, filename=TITLES), listed(tmp_path)
    with pytest.raises(DatasetError) as caught:
        add_dataset("mine", path, table)
    assert str(caught.value) == (
        f"{path}: 'id' and 'filename' may each be the column of the image ('1', '4.jpg'), and there are no images here "
        "to tell by; name the right one: columns={'image': 'filename'} in Python, or geobench datasets add NAME … "
        "--image-column filename (with --replace if NAME exists)."
    )
    table.write_text(table.read_text().replace("image", "filename"))
    dataset = add_dataset("mine", path, table, columns={"image": "filename"}).dataset
    assert all(dataset.image_bytes(f"{n}.jpg", "test") == content(f"{n}.jpg") for n in NUMBERS)


@pytest.mark.parametrize("layout", ["parquet", "msg"])
@pytest.mark.parametrize("fields", [{"id": TITLES}, {"id": TITLES, "filename": TITLES}])
def test_one_name_or_two_equal_ones_need_no_word(tmp_path, layout, fields):
    dataset = add_dataset("mine", records(tmp_path, layout, told=False, **fields), listed(tmp_path)).dataset
    assert all(dataset.image_bytes(f"{n}.jpg", "test") == content(f"{n}.jpg") for n in NUMBERS)
