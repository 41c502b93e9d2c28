"""Parquet files as people publish photos: which column is the photo, which the position, what each image is called."""

import io
import json
import struct
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geobench import DatasetError, get_dataset
from geobench.data.registration import add_dataset

N = 4
PLACES = [(-33.5, 151.25), (48.75, 2.25), (0.5, -78.5), (65.25, -18.0)]
LATITUDES, LONGITUDES = [place[0] for place in PLACES], [place[1] for place in PLACES]


def jpeg(number):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


PHOTOS = [jpeg(number) for number in range(N)]
IDS = [f"photo-{number}" for number in range(N)]
NUMBERS = {"latitude": LATITUDES, "longitude": LONGITUDES}
HASHES = [bytes([number]) * 20 for number in range(N)]


def wkb(latitude, longitude, order="<", kind=1, srid=None, extra=()):
    head = struct.pack(f"{order}BI", order == "<", kind)
    return head + (struct.pack(f"{order}I", srid) if srid else b"") + struct.pack(f"{order}{2 + len(extra)}d", longitude, latitude, *extra)  # fmt: skip


def geometry(**how):
    return [wkb(*place, **how) for place in PLACES]


def structs(**names):
    return [{names["lat"]: a, names["lon"]: b} for a, b in PLACES]


def decimals(values):
    return pa.array([Decimal(str(value)) for value in values], pa.decimal128(9, 6))


@dataclass(frozen=True)
class Parquet:
    """A table with photos: what it holds, and what the images are called, or what is said."""

    what: str
    columns: dict
    names: tuple = tuple(IDS)
    says: str = ""
    given: dict | None = None
    geo: dict | None = None

    @property
    def outcome(self):
        return "refused: " + self.says if self.says else "read"


def photos(kind=None):
    return pa.array(PHOTOS, kind) if kind is not None else PHOTOS


FIXED = [photo.ljust(max(map(len, PHOTOS)), b"\0") for photo in PHOTOS]
UNNAMED = tuple(f"x/{number + 1}" for number in range(N))
CRS = {"columns": {"geometry": {"encoding": "WKB", "crs": {"name": "Pseudo-Mercator", "id": {"authority": "EPSG", "code": 3857}}}}}  # fmt: skip
DEGREES = {"columns": {"geometry": {"encoding": "WKB", "crs": {"name": "WGS 84", "id": {"authority": "EPSG", "code": 4326}}}}}  # fmt: skip

CASES = [
    Parquet(
        "coordinates as DECIMAL",
        {"id": IDS, "image": PHOTOS, "latitude": decimals(LATITUDES), "longitude": decimals(LONGITUDES)},
    ),
    Parquet(
        "coordinates as strings",
        {
            "id": IDS,
            "image": PHOTOS,
            "latitude": [str(v) for v in LATITUDES],
            "longitude": [str(v) for v in LONGITUDES],
        },
    ),
    Parquet(
        "coordinates as float32",
        {
            "id": IDS,
            "image": PHOTOS,
            "latitude": pa.array(LATITUDES, pa.float32()),
            "longitude": pa.array(LONGITUDES, pa.float32()),
        },
    ),
    Parquet("photos as large_binary", {"id": IDS, "image": photos(pa.large_binary()), **NUMBERS}),
    Parquet("photos as binary_view", {"id": IDS, "image": photos(pa.binary_view()), **NUMBERS}),
    Parquet("ids as string_view", {"id": pa.array(IDS, pa.string_view()), "image": PHOTOS, **NUMBERS}),
    Parquet("photos as fixed-size binary", {"id": IDS, "image": pa.array(FIXED, pa.binary(len(FIXED[0]))), **NUMBERS}),
    Parquet("a hash before the photo", {"id": IDS, "sha1": HASHES, "photo": PHOTOS, **NUMBERS}),
    Parquet(
        "a hash of fixed size after the photo",
        {"id": IDS, "photo": PHOTOS, "sha1": pa.array(HASHES, pa.binary(20)), **NUMBERS},
    ),
    Parquet(
        "a photo and a thumbnail, neither called image",
        {"id": IDS, "photo": PHOTOS, "small": PHOTOS, **NUMBERS},
        says="photo and small each hold photos",
    ),
    Parquet(
        "the same, with --photo-column small",
        {"id": IDS, "photo": HASHES, "small": PHOTOS, **NUMBERS},
        given={"photo": "small"},
    ),
    Parquet("a thumbnail beside a column called image", {"id": IDS, "thumbnail": HASHES, "image": PHOTOS, **NUMBERS}),
    Parquet(
        "two columns of bytes without any photo",
        {"id": IDS, "a": HASHES, "b": HASHES, **NUMBERS},
        says="none of a, b holds photos",
    ),
    Parquet(
        "--photo-column that does not exist",
        {"id": IDS, "image": PHOTOS, **NUMBERS},
        given={"photo": "picture"},
        says="has no column 'picture' of bytes; those it has: image",
    ),
    Parquet("no column of bytes", {"id": IDS, "url": IDS, **NUMBERS}, says="no column of images"),
    Parquet("photos in lists of one", {"id": IDS, "image": [[photo] for photo in PHOTOS], **NUMBERS}),
    Parquet(
        "photos as lists of one struct",
        {"id": IDS, "images": [[{"bytes": photo, "path": None}] for photo in PHOTOS], **NUMBERS},
    ),
    Parquet(
        "a struct with its path",
        {"image": [{"bytes": p, "path": f"{i}.jpg"} for p, i in zip(PHOTOS, IDS, strict=True)], **NUMBERS},
        names=tuple(f"{i}.jpg" for i in IDS),
    ),
    Parquet("path: null, no ids", {"image": [{"bytes": p, "path": None} for p in PHOTOS], **NUMBERS}, names=UNNAMED),
    Parquet(
        "path: null in one row",
        {"image": [{"bytes": p, "path": None if n == 2 else f"{n}.jpg"} for n, p in enumerate(PHOTOS)], **NUMBERS},
        names=("0.jpg", "1.jpg", "x/3", "3.jpg"),
    ),
    Parquet(
        "bytes before path in the struct",
        {"id": IDS, "image": [{"path": "x.jpg", "bytes": p} for p in PHOTOS], **NUMBERS},
    ),
    Parquet(
        "a struct of latitude and longitude",
        {"id": IDS, "image": PHOTOS, "location": structs(lat="latitude", lon="longitude")},
    ),
    Parquet("a struct of lat and lng", {"id": IDS, "image": PHOTOS, "gps": structs(lat="lat", lon="lng")}),
    Parquet("a GeoParquet point of x and y", {"id": IDS, "image": PHOTOS, "geometry": structs(lat="y", lon="x")}),
    Parquet("a WKB point, little-endian", {"id": IDS, "image": PHOTOS, "geometry": geometry()}),
    Parquet("a WKB point, big-endian", {"id": IDS, "image": PHOTOS, "geometry": geometry(order=">")}),
    Parquet("an EWKB point of EPSG:4326", {"id": IDS, "image": PHOTOS, "geom": geometry(kind=0x20000001, srid=4326)}),
    Parquet(
        "an EWKB point with height",
        {"id": IDS, "image": PHOTOS, "geom": geometry(kind=0xA0000001, srid=4326, extra=(12.0,))},
    ),
    Parquet("an ISO WKB point with height", {"id": IDS, "image": PHOTOS, "geom": geometry(kind=1001, extra=(12.0,))}),
    Parquet("a WKB point before the photo", {"geometry": geometry(), "id": IDS, "photo": PHOTOS}),
    Parquet("GeoParquet that states EPSG:4326", {"id": IDS, "image": PHOTOS, "geometry": geometry()}, geo=DEGREES),
    Parquet(
        "GeoParquet that states EPSG:3857",
        {"id": IDS, "image": PHOTOS, "geometry": geometry()},
        geo=CRS,
        says="not in degrees of WGS-84",
    ),
    Parquet(
        "an EWKB point of EPSG:3857",
        {"id": IDS, "image": PHOTOS, "geom": geometry(kind=0x20000001, srid=3857)},
        says="in the reference system EPSG:3857",
    ),
    Parquet("a WKB point beside the same numbers", {"id": IDS, "image": PHOTOS, "geometry": geometry(), **NUMBERS}),
    Parquet(
        "two geometries, and no numbers",
        {"id": IDS, "image": PHOTOS, "camera": geometry(), "target": geometry()},
        says="has no latitude column",
    ),
    Parquet(
        "the same, with --latitude-column camera.latitude",
        {"id": IDS, "image": PHOTOS, "camera": geometry(), "target": geometry()},
        given={"latitude": "camera.latitude", "longitude": "camera.longitude"},
    ),
    Parquet(
        "a null among the WKB points",
        {"id": IDS, "image": PHOTOS, "geometry": [*geometry()[:3], None]},
        says="latitude is empty",
    ),
]


def written(case, folder):
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(case.columns)
    if case.geo is not None:
        table = table.replace_schema_metadata({"geo": json.dumps(case.geo)})
    pq.write_table(table, folder / "x.parquet", row_group_size=3)
    return folder / "x.parquet"


@pytest.mark.reliability("parquet")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_photos_in_parquet(case, tmp_path):
    path = written(case, tmp_path / "disk")
    if case.says:
        with pytest.raises(DatasetError) as told:
            add_dataset("mine", path, columns=case.given)
        assert case.says in str(told.value)
        assert "\n" not in str(told.value)
        return
    add_dataset("mine", path, columns=case.given)
    dataset = get_dataset("mine")
    table = dataset.table("test")
    assert tuple(table["image"]) == case.names
    np.testing.assert_allclose(table[["latitude", "longitude"]], PLACES, atol=1e-6)
    for name, photo in zip(case.names, PHOTOS, strict=True):
        found = np.asarray(dataset.read_image(name, "test"))
        np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(photo))))


def hub_cache(root, splits=("train",)):
    """As the hub's client keeps a repository: files called by their digests, and links with their names."""
    repository = root / "datasets--someone--photos"
    snapshot = repository / "snapshots" / ("a" * 40)
    (repository / "blobs").mkdir(parents=True)
    (snapshot / "data").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    for number, split in enumerate(splits):
        blob = repository / "blobs" / (f"{number}" * 64)
        pq.write_table(pa.table({"id": IDS, "image": PHOTOS, **NUMBERS}), blob)
        link = snapshot / "data" / f"{split}-00000-of-00001.parquet"
        link.symlink_to(f"../../../blobs/{blob.name}")
    readme = repository / "blobs" / ("f" * 40)
    readme.write_text("# photos\n")
    (snapshot / "README.md").symlink_to(f"../../blobs/{readme.name}")
    return repository, snapshot


GIVEN = {
    "the repository": lambda repository, snapshot: repository,
    "the snapshot": lambda repository, snapshot: snapshot,
    "its folder data": lambda repository, snapshot: snapshot / "data",
    "the file": lambda repository, snapshot: snapshot / "data" / "train-00000-of-00001.parquet",
    "a pattern": lambda repository, snapshot: snapshot / "data" / "train-*.parquet",
    "the blob itself": lambda repository, snapshot: repository / "blobs" / ("0" * 64),
}


@pytest.mark.reliability("parquet")
@pytest.mark.parametrize("what", GIVEN)
def test_a_repository_in_the_cache_of_the_hub(what, tmp_path):
    add_dataset("mine", GIVEN[what](*hub_cache(tmp_path)))
    dataset = get_dataset("mine")
    assert dataset.present
    assert list(dataset.table("test")["image"]) == IDS
    dataset.read_image(IDS[2], "test")


@pytest.mark.reliability("parquet")
def test_splits_of_a_repository_are_not_mixed(tmp_path):
    repository, snapshot = hub_cache(tmp_path, ("train", "test"))
    with pytest.raises(DatasetError, match=r"holds several splits \(test, train\), which would be mixed.*test-\*"):
        add_dataset("mine", repository)
    add_dataset("mine", snapshot / "data" / "test-*.parquet")
    assert len(get_dataset("mine").table("test")) == N


@pytest.mark.reliability("parquet")
def test_a_repository_of_several_revisions_uses_main_or_asks(tmp_path):
    repository, _ = hub_cache(tmp_path)
    (repository / "snapshots" / ("b" * 40) / "data").mkdir(parents=True)
    add_dataset("mine", repository)
    assert len(get_dataset("mine").table("test")) == N
    (repository / "refs" / "main").unlink()
    with pytest.raises(DatasetError, match=r"has no revision called main; give one of those in .*: aaaa.*, bbbb"):
        add_dataset("other", repository)


def test_the_option_names_the_column_of_the_photos(cli, tmp_path):
    case = next(case for case in CASES if "--photo-column small" in case.what)
    cli("datasets", "add", "mine", "--images", written(case, tmp_path / "disk"), "--photo-column", "small")
    assert get_dataset("mine").read_image(IDS[0], "test").size == (24, 24)
