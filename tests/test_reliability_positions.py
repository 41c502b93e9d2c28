"""Positions of photos as cameras, editors and Google Takeout write them: each is read exactly, or is none for a reason."""

import csv
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from geobench import ImageError, get_dataset
from geobench.data.registration import add_dataset
from geobench.images.exif import Recorded, exif_position, photo_positions
from geobench.images.gps import NoPositionError
from geobench.images.takeout import read_takeout, takeout_positions
from geobench.images.xmp import xmp_position

ASCII, LONG, RATIONAL, UNDEFINED, SIGNED = 2, 4, 5, 7, 10
WHERE = (-33.86, -70.63)  # 33 + 51/60 + 36/3600 and 70 + 37/60 + 48/3600
LATITUDE, LONGITUDE = (33, 51, 36), (70, 37, 48)
ELSEWHERE = {"latitude": 48.85, "longitude": 2.35}
HERE = {"latitude": WHERE[0], "longitude": WHERE[1]}


def fractions(*values):
    """Return whole numbers and decimals as the fractions that EXIF holds; a pair is one already."""
    return [
        value if isinstance(value, tuple) else (round(value * 10_000), 10_000) if value % 1 else (value, 1)
        for value in values
    ]


def packed(kind, value):
    """Return the number of values of a tag of EXIF, and its bytes, little-endian."""
    if kind == ASCII:
        return len(value) + 1, value.encode("latin-1") + b"\0"
    if kind == UNDEFINED:
        return len(value), value
    if kind == LONG:
        return 1, struct.pack("<I", value)
    pairs = fractions(*value)
    return len(pairs), b"".join(struct.pack("<ii" if kind == SIGNED else "<II", *pair) for pair in pairs)


def block(start, tags):
    """Return tags ``{number: (type, value)}`` as they stand at byte ``start`` of EXIF."""
    behind = start + 2 + 12 * len(tags) + 4
    entries, more = struct.pack("<H", len(tags)), b""
    for number, (kind, value) in sorted(tags.items()):
        count, data = packed(kind, value)
        entries += struct.pack("<HHI", number, kind, count)
        entries += data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", behind + len(more))
        more += data if len(data) > 4 else b""
    return entries + bytes(4) + more


def exif(tags):
    """Return EXIF whose GPS block holds ``tags``; Pillow writes neither signed numbers nor odd references."""
    return b"Exif\0\0II*\0\x08\0\0\0" + block(8, {0x8825: (LONG, 26)}) + block(26, tags)


def gps(latitude=LATITUDE, longitude=LONGITUDE, refs=("S", "W"), kind=RATIONAL, status=None):
    """Return EXIF with a position; what is None is left out."""
    tags = {1: (ASCII, refs[0]), 2: (kind, latitude), 3: (ASCII, refs[1]), 4: (kind, longitude), 9: (ASCII, status)}
    return exif({number: tag for number, tag in tags.items() if tag[1] is not None})


def image(kind="JPEG", **options):
    file = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def heic(**options):
    """Return a HEIC photo."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    return image("HEIF", **options)


def packet(attributes="", elements=""):
    """Return XMP."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:exif="http://ns.adobe.com/exif/1.0/" {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def attributes(latitude, longitude, more=""):
    return packet(f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}" {more}')


def elements(latitude, longitude):
    return packet(
        elements=f"<exif:GPSLatitude>{latitude}</exif:GPSLatitude><exif:GPSLongitude>{longitude}</exif:GPSLongitude>"
    )


def takeout(place=None, title="photo.jpg", **more):
    """Return the JSON of Takeout."""
    values = {"title": title, "geoData": HERE if place is None else place, "photoTakenTime": {"timestamp": "0"}}
    return json.dumps(values | more).encode()


def chunk(kind, payload):
    """Return a chunk of PNG."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def behind_the_pixels(*chunks):
    """Return a PNG with chunks behind its pixels, where exiftool puts XMP."""
    png = image("PNG")
    return png[:-12] + b"".join(chunks) + png[-12:]


def international(text):
    return b"XML:com.adobe.xmp\0\0\0\0\0" + text


def of_size(width, height, content):
    """Return a JPEG whose header claims a size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def png_of_size(width, height, *chunks):
    """Return a PNG whose header claims a size that its pixels do not have."""
    png = behind_the_pixels(*chunks)
    header = chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29])
    return png[:8] + header + png[8 + len(header) :]


PHOTO, XMP = image(), attributes("33,51.6S", "70,37.8W")
GOOD = image(exif=gps())
LENGTHY = "a name of a photo that is longer than what fits.jpg"  # 51 characters, as Takeout cuts it
assert len(LENGTHY) == 51


@dataclass(frozen=True)
class Case:
    """A photo, and the files beside it.

    Attributes:
        what: a few words on what is told of its position.
        content: bytes of the photo, or a function that returns them.
        at: the position that must be read; None if there is none.
        says: the source of the position, or what the reason for there being none contains.
        beside: other files by name.
        name: of the photo.
        listed: its name in the table, if that is another.
        archived: whether an archive may hold such names.
    """

    what: str
    content: object
    at: tuple | None = None
    says: str = "EXIF"
    beside: dict = field(default_factory=dict)
    name: str = "photo.jpg"
    listed: str = ""
    archived: bool = True

    @property
    def outcome(self):
        """Return what the documentation says of it."""
        return f"read from {self.says}" if self.at is not None else f"no position: {self.says}"

    def files(self):
        content = self.content() if callable(self.content) else self.content
        return {self.name: content, **self.beside}


def tagged(what, exif, at=WHERE, says="EXIF"):
    return Case(f"EXIF: {what}", image(exif=exif), at, says)


def in_xmp(what, xmp, at=WHERE, says="XMP in the photo"):
    return Case(f"XMP: {what}", image(xmp=xmp), at, says)


def beside(what, files, at=WHERE, says="Takeout's JSON", **more):
    return Case(what, PHOTO, at, says, files, **more)


NORTH_EAST = (33.86, 70.63)
EXIF = [
    tagged("S and W", gps()),
    tagged("N and E", gps(refs=("N", "E")), NORTH_EAST),
    tagged("references in lower case", gps(refs=("s", "w"))),
    tagged("references as words", gps(refs=("South", "WEST"))),
    tagged("references as words of other languages", gps(refs=("Sud", "Est")), (-33.86, 70.63)),
    tagged("references between blanks", gps(refs=(" S", "W  "))),
    tagged("references with NULs behind", gps(refs=("S\0\0", "W\0x"))),
    tagged("references as bytes without a type", exif({1: (UNDEFINED, b"S\0"), 2: (RATIONAL, LATITUDE), 3: (UNDEFINED, b"W\0"), 4: (RATIONAL, LONGITUDE)})),
    tagged("no references", gps(refs=(None, None)), None, "the latitude has no reference (N or S)"),
    tagged("one reference of two", gps(refs=("S", None)), None, "the longitude has no reference (E or W)"),
    tagged("empty references", gps(refs=("", "")), None, "the latitude has no reference"),
    tagged("references of NULs", gps(refs=("\0", "\0")), None, "the latitude has no reference"),
    tagged("an unknown reference", gps(refs=("Q", "W")), None, "the reference of the latitude is 'Q', not N or S"),
    tagged("references swapped", gps(refs=("W", "S")), None, "the reference of the latitude is 'W'"),
    tagged("O, which is east or west", gps(refs=("S", "O")), None, "the reference of the longitude is 'O', not E or W"),
    tagged("'None' as a reference", gps(refs=("None", "W")), None, "the reference of the latitude is 'None'"),
    tagged("references with more words", gps(refs=("South latitude", "W."))),
    tagged("N/A", gps(refs=("N/A", "W")), None, "the reference of the latitude is 'N/A'"),
    tagged("both references in one", gps(refs=("N/S", "W")), None, "the reference of the latitude is 'N/S'"),
    tagged("signed degrees without references", gps((-33, 51, 36), (-70, 37, 48), (None, None), SIGNED)),
    tagged("signed degrees, and S and W", gps((-33, 51, 36), (-70, 37, 48), kind=SIGNED)),
    tagged("a sign on degrees, minutes and seconds", gps((-33, -51, -36), (-70, -37, -48), kind=SIGNED)),
    tagged("one axis signed, one with its reference", gps((-33, 51, 36), (70, 37, 48), (None, "E"), SIGNED), (-33.86, 70.63)),
    tagged("signed degrees, and N and E", gps((-33, 51, 36), (-70, 37, 48), ("N", "E"), SIGNED), None, "the latitude is negative, and its reference says N"),
    tagged("unsigned numbers of a signed type without references", gps(refs=(None, None), kind=SIGNED), None, "the latitude has no reference"),
    tagged("a sign on the minutes alone", gps((33, -51, 36), kind=SIGNED), None, "minutes or seconds of the latitude are not between 0 and 60"),
    tagged("a sign on the minutes of 0 degrees", gps((0, -51, 36), refs=(None, "W"), kind=SIGNED), None, "minutes or seconds of the latitude are not between 0 and 60"),
    tagged("a negative number as an unsigned one", gps((2**32 - 33, 51, 36)), None, "the latitude is beyond ±90"),
    tagged("60 minutes", gps((33, 60, 0)), None, "minutes or seconds of the latitude are not between 0 and 60"),
    tagged("60 seconds", gps(longitude=(70, 37, 60)), None, "minutes or seconds of the longitude"),
    tagged("seconds with a decimal point lost", gps((33, 51, 3600)), None, "minutes or seconds of the latitude"),
    tagged("GPSStatus void", gps(status="V"), None, "its GPSStatus is void"),
    tagged("GPSStatus active", gps(status="A")),
    tagged("(0, 0)", gps((0, 0, 0), (0, 0, 0), ("N", "E")), None, "(0, 0), which stands for no position"),
    tagged("zeros over zeros", gps([(0, 0)] * 3, [(0, 0)] * 3), None, "the latitude is not a number"),
    tagged("zeros, and references of NULs", gps((0, 0, 0), (0, 0, 0), ("\0", "\0")), None, "the latitude has no reference"),
    tagged("on the equator", gps((0, 0, 0)), (0.0, -70.63)),
    tagged("at a pole, on the date line", gps((90, 0, 0), (180, 0, 0)), (-90.0, -180.0)),
    tagged("beyond a pole", gps((90, 0, 1)), None, "the latitude is beyond ±90"),
    tagged("beyond the date line", gps(longitude=(180, 0, 1)), None, "the longitude is beyond ±180"),
    tagged("a number over 0", gps([(33, 0), (51, 1), (36, 1)]), None, "the latitude is not a number"),
    tagged("decimal degrees", gps((33.86, 0, 0), (70.63, 0, 0))),
    tagged("decimal minutes", gps((33, 51.6, 0), (70, 37.8, 0))),
    tagged("decimal degrees, and the minutes again", gps((33.86, 51, 36)), None, "a fraction of degrees or minutes, and smaller units besides"),
    tagged("decimal minutes, and the seconds again", gps((33, 51.6, 36)), None, "a fraction of degrees or minutes"),
    tagged("two numbers", gps((33, 51)), None, "the latitude is not three numbers"),
    tagged("one number", gps((33,)), None, "the latitude is not three numbers"),
    tagged("a text", exif({2: (ASCII, "33.86S"), 4: (ASCII, "70.63W")}), None, "the latitude is not three numbers"),
    tagged("a text of three digits", exif({1: (ASCII, "S"), 2: (ASCII, "338"), 3: (ASCII, "W"), 4: (ASCII, "706")}), None, "the latitude is not three numbers"),
    tagged("three bytes without a type", exif({1: (ASCII, "S"), 2: (UNDEFINED, b"338"), 3: (ASCII, "W"), 4: (UNDEFINED, b"706")}), None, "the latitude is not three numbers"),
    tagged("no longitude", gps(longitude=None), None, "the longitude is missing"),
    tagged("references alone", gps(None, None), None, "none is recorded"),
    tagged("cut within its numbers", gps()[:-20], None, "the longitude is missing"),
    Case("EXIF in PNG", image("PNG", exif=gps()), WHERE, name="photo.png"),
    Case("EXIF behind the pixels of a PNG", behind_the_pixels(chunk(b"eXIf", gps()[6:])), WHERE, name="photo.png"),
    Case("EXIF in WebP", image("WEBP", exif=gps()), WHERE, name="photo.webp"),
    Case("EXIF in TIFF", image("TIFF", exif=gps()), WHERE, name="photo.tif"),
    Case("EXIF in MPO", image("MPO", exif=gps(), save_all=True, append_images=[Image.new("RGB", (24, 16))]), WHERE, name="photo.mpo"),
    *([Case("EXIF in AVIF", image("AVIF", exif=gps()), WHERE, name="photo.avif")] if features.check("avif") else []),
    Case("EXIF in HEIC, with pillow-heif", lambda: heic(exif=gps()), WHERE, name="IMG_1.HEIC"),
    Case("EXIF of a JPEG of 4,295 megapixels", of_size(65_535, 65_535, GOOD), WHERE),
    Case("EXIF behind 2,400 megapixels of a PNG", png_of_size(60_000, 40_000, chunk(b"eXIf", gps()[6:])), WHERE, name="photo.png"),
]  # fmt: skip
IN_XMP = [
    in_xmp("attributes", XMP),
    in_xmp("elements", elements("33,51.6S", "70,37.8W")),
    in_xmp("degrees, minutes and seconds", attributes("33,51,36S", "70,37,48W")),
    in_xmp("blanks behind commas", attributes("33, 51.6 S", "70, 37.8 W")),
    in_xmp("decimal commas", attributes("33,51,60S", "70,37,80W"), None, "minutes or seconds of the latitude"),
    in_xmp("references in lower case", attributes("33,51.6s", "70,37.8w")),
    in_xmp("decimal degrees with references", attributes("33.86S", "70.63 W")),
    in_xmp("decimal degrees with signs", attributes("-33.86", "-70.63")),
    in_xmp("decimal degrees without signs", attributes("33.86", "70.63"), None, "the latitude is not written as degrees, minutes and a reference"),
    in_xmp("a sign and a reference", attributes("-33,51.6S", "70,37.8W"), None, "the latitude is not written as"),
    in_xmp("61 minutes", attributes("33,61S", "70,37.8W"), None, "minutes or seconds of the latitude"),
    in_xmp("an unknown reference", attributes("33,51.6S", "70,37.8O"), None, "the reference of the longitude is 'O'"),
    in_xmp("a latitude alone", packet('exif:GPSLatitude="33,51.6S"'), None, "the longitude is missing"),
    in_xmp("two latitudes", packet('exif:GPSLatitude="33,51.6S" exif:GPSLongitude="70,37.8W"', "<exif:GPSLatitude>33,51.6N</exif:GPSLatitude>"), None, "it has more than one latitude"),
    in_xmp("GPSStatus void", attributes("33,51.6S", "70,37.8W", 'exif:GPSStatus="V"'), None, "its GPSStatus is void"),
    in_xmp("(0, 0)", attributes("0,0.0N", "0,0.0E"), None, "(0, 0), which stands for no position"),
    in_xmp("no position", packet('exif:ISO="100"'), None, "none is recorded"),
    in_xmp("damaged", XMP[:200], None, "it is not XML, or damaged"),
    in_xmp("entities that unpack to anything", b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 99 + b'">]>' + XMP[XMP.index(b"<x:") :], None, "it is not XML, or damaged"),
    in_xmp("in UTF-16", XMP.decode().encode("utf-16")),
    Case("XMP in WebP", image("WEBP", xmp=XMP), WHERE, "XMP in the photo", name="photo.webp"),
    Case("XMP in TIFF", image("TIFF", tiffinfo={700: XMP}), WHERE, "XMP in the photo", name="photo.tif"),
    Case("XMP behind the pixels of a PNG", behind_the_pixels(chunk(b"iTXt", international(XMP))), WHERE, "XMP in the photo", name="photo.png"),
    Case("XMP where EXIF has no references", image(exif=gps(refs=(None, None)), xmp=XMP), WHERE, "XMP in the photo"),
    Case("EXIF before XMP", image(exif=gps(), xmp=attributes("48,51.0N", "2,21.0E")), WHERE),
]  # fmt: skip
BESIDE = [
    beside("photo.jpg.xmp", {"photo.jpg.xmp": XMP}, says="XMP beside it"),
    beside("photo.xmp", {"photo.xmp": XMP}, says="XMP beside it"),
    beside("photo.XMP", {"photo.XMP": XMP}, says="XMP beside it"),
    beside("photo.jpg.xmp before photo.xmp", {"photo.xmp": elements("48,51.0N", "2,21.0E"), "photo.jpg.xmp": XMP}, says="XMP beside it"),
    beside("an XMP file before Takeout's JSON", {"photo.xmp": XMP, "photo.jpg.json": takeout(ELSEWHERE)}, says="XMP beside it"),
    beside("an empty XMP file", {"photo.xmp": b""}, None, "none is recorded"),
    beside("the XMP file of another photo", {"photo-2.xmp": XMP}, None, "none is recorded"),
    beside("photo.jpg.json", {"photo.jpg.json": takeout()}),
    beside("photo.jpg.supplemental-metadata.json", {"photo.jpg.supplemental-metadata.json": takeout()}),
    *(beside(f"{part}.json", {f"{part}.json": takeout()}) for part in ("photo.jpg.supplemental-meta", "photo.jpg.suppl", "photo.jpg.s", "photo.jpg.")),
    beside("a JSON whose name is cut after 46 characters", {f"{LENGTHY[:46]}.json": takeout(title="A name of a photo that is longer than what fits?.jpg".lower())}, name=LENGTHY),
    beside("one of another photo with the same beginning", {f"{LENGTHY[:46]}.json": takeout(title=LENGTHY[:46] + "x.jpg")}, None, "none is recorded", name=LENGTHY),
    beside("photo.json with the title photo.jpg", {"photo.json": takeout()}),
    beside("photo.json with the title photo", {"photo.json": takeout(title="photo")}),
    beside("photo.json with the title photo.png", {"photo.json": takeout(title="photo.png")}, None, "none is recorded"),
    beside("photo.json that another program wrote", {"photo.json": json.dumps(HERE).encode()}, None, "none is recorded"),
    beside("photo(1).jpg: photo.jpg(1).json", {"photo.jpg(1).json": takeout(), "photo.jpg.json": takeout(ELSEWHERE)}, name="photo(1).jpg"),
    beside("photo(1).jpg: photo.jpg.supplemental-metadata(1).json", {"photo.jpg.supplemental-metadata(1).json": takeout()}, name="photo(1).jpg"),
    beside("photo(1).jpg: not photo.jpg.json", {"photo.jpg.json": takeout()}, None, "none is recorded", name="photo(1).jpg"),
    beside("photo-edited.jpg: photo.jpg.json", {"photo.jpg.json": takeout()}, name="photo-edited.jpg"),
    beside("photo-edited(1).jpg: photo.jpg(1).json", {"photo.jpg(1).json": takeout()}, name="photo-edited(1).jpg"),
    beside("photo-edited.jpg: its own JSON first", {"photo-edited.jpg.json": takeout(), "photo.jpg.json": takeout(ELSEWHERE)}, name="photo-edited.jpg"),
    beside("in another folder", {"more/photo.jpg.json": takeout()}, None, "none is recorded"),
    beside("geoDataExif before geoData", {"photo.jpg.json": takeout(ELSEWHERE, geoDataExif=HERE)}),
    beside("geoData where geoDataExif is (0, 0)", {"photo.jpg.json": takeout(geoDataExif={"latitude": 0.0, "longitude": 0.0})}),
    beside("(0, 0), as Takeout writes it", {"photo.jpg.json": takeout({"latitude": 0.0, "longitude": 0.0})}, None, "none is recorded"),
    beside("no place", {"photo.jpg.json": takeout({})}, None, "its latitude or longitude is not a number"),
    beside("a latitude as text", {"photo.jpg.json": takeout({"latitude": "33.86 S", "longitude": 70})}, None, "its latitude or longitude is not a number"),
    beside("NaN", {"photo.jpg.json": takeout({"latitude": float("nan"), "longitude": 70})}, None, "the latitude is not a number"),
    beside("an integer of 400 digits", {"photo.jpg.json": takeout({"latitude": 10**400, "longitude": 70})}, None, "its latitude or longitude is not a number"),
    beside("beyond a pole", {"photo.jpg.json": takeout({"latitude": 338600000, "longitude": -706300000})}, None, "the latitude is beyond ±90"),
    beside("JSON that is cut", {"photo.jpg.json": takeout()[:-9]}, None, "it is not JSON, or damaged"),
    beside("JSON nested 100,000 deep", {"photo.jpg.json": b"[" * 100_000}, None, "it is not JSON, or damaged"),
    Case("a JSON where EXIF has no references", image(exif=gps(refs=(None, None))), WHERE, "Takeout's JSON", {"photo.jpg.json": takeout()}),
    Case("EXIF before Takeout's JSON", GOOD, WHERE, "EXIF", {"photo.jpg.json": takeout(ELSEWHERE)}),
    Case("a damaged photo with a JSON", PHOTO[:100], WHERE, "Takeout's JSON", {"photo.jpg.json": takeout()}),
    Case("a photo that is an HTML page", b"<html>Not found", None, "is an HTML page"),
]  # fmt: skip


def takeout_told(content):
    """Return what a JSON tells."""
    values = read_takeout(content)
    return [] if values is None else list(takeout_positions(values))


def named(what, name, **more):
    return Case(what, GOOD, WHERE, name=name, **more)


NAMES = [
    named("a suffix in capitals", "PHOTO.JPG"),
    *(named(f"the suffix {suffix}", f"photo{suffix}") for suffix in (".jfif", ".jpe", ".JPE", ".mpo", ".dat", ".jpg_original")),
    named("no suffix", "photo"),
    Case("a text named .dat", b"no photo", None, "left out: .dat", name="photo.dat"),
    Case("a video", b"\0\0\0\x18ftypisom" + bytes(99), None, "left out: .mp4", name="photo.mp4"),
    Case("a raw photo", image("TIFF", exif=gps()), None, "a photo in a format that is not read", name="photo.dng"),
    Case("a hidden photo", GOOD, None, "left out: hidden", name=".photo.jpg"),
    named("a name that begins and ends with blanks", "  photo.jpg "),
    named("a name like a formula", "=A1(photo).jpg"),
    named("a name like a rounded number", "1E5"),
    named("a name like a spreadsheet's error", "#REF!"),
    named("a name with a backslash", "\\photo\\1.jpg", archived=False),
    named("a name like a path of Windows", "C:\\..\\photo.jpg", archived=False),
    named("a name with a comma, quotes and line breaks", ' a, "b"\r\nc\r.jpg'),
    named("a name in Latin-1", os.fsdecode(b"caf\xe9.jpg"), listed="caf\\xe9.jpg", archived=False),
    named("a name of quotes", '""".jpg'),
    named("a name like a number", "007"),
]  # fmt: skip
CASES = EXIF + IN_XMP + BESIDE + NAMES


def in_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def in_zip(path, files):
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path.with_suffix(".zip")


def in_tar(path, files):
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path.with_suffix(".tar")


def noted(folder):
    """Return what the notes of a data set say of each file."""
    with (folder / "notes.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["note"] for row in csv.DictReader(file)}


@pytest.mark.reliability("positions of photos")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_position_is_read_exactly_or_is_none_for_a_reason(tmp_path, case):
    added = add_dataset("mine", in_folder(tmp_path / "photos", {"another.jpg": GOOD, **case.files()}), exif=True)
    table = get_dataset("mine").table("test").set_index("image")
    name = case.listed or case.name
    if case.at is None:
        assert set(table.index) - {"another.jpg"} == set()
        assert case.says in noted(added.dataset.folder)[name]
    else:
        assert tuple(table.loc[name]) == pytest.approx(case.at, abs=1e-9)
        assert added.photos.found == ({"EXIF": 2} if case.says == "EXIF" else {"EXIF": 1, case.says: 1})
        if case.content is GOOD:
            assert get_dataset("mine").read_image(name, "test").size == (24, 16)


# A webdataset's KEY.json is metadata of the shard, so that a tar has no photo.json.
@pytest.mark.parametrize(("archive", "without"), [(in_zip, ()), (in_tar, ("photo.json", LENGTHY[:46] + ".json"))])
def test_they_are_the_same_in_an_archive(tmp_path, archive, without):
    cases = [case for case in CASES if case.archived and not set(case.beside) & set(without)]
    if find_spec("pillow_heif") is None:
        cases = [case for case in cases if not case.name.endswith(".HEIC")]
    files = {f"{number}/{name}": content for number, case in enumerate(cases) for name, content in case.files().items()}
    added = add_dataset("mine", archive(tmp_path / "photos", files), exif=True)
    table = get_dataset("mine").table("test").set_index("image")
    notes = noted(added.dataset.folder)
    for number, case in enumerate(cases):
        name = f"{number}/{case.name}"
        if case.at is None:
            assert name not in table.index and case.says in notes[name], case.what
        else:
            assert tuple(table.loc[name]) == pytest.approx(case.at, abs=1e-9), case.what


def test_there_are_at_least_sixty_distinct_cases():
    assert len({case.what for case in CASES}) == len(CASES) >= 60


REFERENCES = st.sampled_from(
    [None, "", "N", "S", "E", "W", "n", "s", "e", "w", "North", "South", "EAST", "west", " S", "W\0", "O", "NS"]
)
NUMBERS = st.tuples(st.integers(-200, 200), st.sampled_from([1, 1, 1, 10, 100, 0, -1]))
ANGLES = st.one_of(
    st.lists(NUMBERS, min_size=1, max_size=4),
    st.tuples(st.integers(-91, 91), st.integers(-1, 60), st.integers(0, 60)).map(
        lambda dms: [(value, 1) for value in dms]
    ),
    st.tuples(st.integers(0, 89), st.integers(0, 59), st.integers(0, 59_999)).map(
        lambda dms: [(dms[0], 1), (dms[1], 1), (dms[2], 1000)]
    ),
)


def judged(tags, axis, letters):
    """Return the sign of an axis by its reference and by its degrees, 0 for unknown, and its size, by exifread."""
    reference = tags.get(f"GPS GPS{axis}Ref")
    text = str(reference.values).strip("\0 ").upper() if reference else ""
    by_reference = {letters[0]: 1, letters[1]: -1}.get(text[:1], 0)
    numbers = [value.num / value.den if value.den else float("nan") for value in tags[f"GPS GPS{axis}"].values]
    by_sign = -1 if numbers[0] < 0 else 0
    return by_reference, by_sign, sum(abs(number) / 60**power for power, number in enumerate(numbers))


@given(ANGLES, ANGLES, REFERENCES, REFERENCES)
def test_a_sign_is_never_other_than_what_an_independent_reader_finds(latitude, longitude, latitude_ref, longitude_ref):
    exifread = pytest.importorskip("exifread")
    photo = image(exif=gps(latitude, longitude, (latitude_ref, longitude_ref), SIGNED))
    got = exif_position(photo)
    tags = exifread.process_file(io.BytesIO(photo), details=False)
    if got is not None:
        for value, axis, letters in zip(got, ("Latitude", "Longitude"), ("NS", "EW"), strict=True):
            by_reference, by_sign, size = judged(tags, axis, letters)
            signs = {sign for sign in (by_reference, by_sign) if sign}
            assert len(signs) == 1, "no sign is guessed, and none is chosen among two"
            assert value == pytest.approx(signs.pop() * size, abs=1e-9)


@given(*(st.tuples(st.integers(0, most), st.integers(0, 59), st.integers(0, 59_999)) for most in (89, 179)), st.sampled_from("NS"), st.sampled_from("EW"))  # fmt: skip
def test_what_cameras_write_is_read_as_an_independent_reader_does(latitude, longitude, latitude_ref, longitude_ref):
    exifread = pytest.importorskip("exifread")
    angles = ([(d, 1), (m, 1), (s, 1000)] for d, m, s in (latitude, longitude))
    photo = image(exif=gps(*angles, (latitude_ref, longitude_ref)))
    expected = exifread.utils.get_gps_coords(exifread.process_file(io.BytesIO(photo), details=False))
    assert exif_position(photo) == (None if expected == (0, 0) else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize(
    ("read", "whole"),
    [(xmp_position, XMP), (takeout_told, takeout()), (photo_positions, image(exif=gps(), xmp=XMP))],
    ids=["XMP", "JSON", "JPEG"],
)
@given(st.data())
def test_what_is_damaged_is_a_position_on_earth_or_none(read, whole, data):
    start = data.draw(st.integers(0, len(whole)))
    end = start + data.draw(st.sampled_from([0, 1, 2, 40]))
    content = whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:]
    try:
        told = read(content)
    except (NoPositionError, ImageError) as error:
        assert str(error) and "\n" not in str(error)
        return
    for found in told if isinstance(told, list) else [Recorded("", told)]:
        assert found.position is None or (abs(found.position[0]) <= 90 and abs(found.position[1]) <= 180)
