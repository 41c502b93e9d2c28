"""Every layout, on small real files written by their own tools, and how hostile ones are handled."""

import functools
import io
import json
import multiprocessing
import os
import random
import struct
import tarfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geobench import Dataset, DatasetError, DatasetNotFoundError, ImageError, StorageError, get_dataset
from geobench.data.registration import add_dataset
from geobench.data.stores import zips
from geobench.data.stores.layouts import open_store, recognise
from geobench.data.stores.names import EXACT, OTHER, TAIL, WHOLE, fit
from geobench.data.stores.store import Store
from geobench.progress import Progress

IDS = [f"{a:02x}/{b:02x}/{3000 + 7 * a + b}.jpg" for a in (0x45, 0x46) for b in (0x10, 0x77, 0xA0)]
PLACES = {name: (10.5 + number, -20.25 - number) for number, name in enumerate(IDS)}


@pytest.fixture
def jpegs():
    """Six photos of one colour each: the bytes of their files by id."""
    made = {}
    for number, name in enumerate(IDS):
        file = io.BytesIO()
        Image.new("RGB", (24, 16), (40 * number, 255 - 40 * number, 7)).save(file, "JPEG")
        made[name] = file.getvalue()
    return made


@pytest.fixture
def metadata(tmp_path):
    table = pd.DataFrame([(name, *place) for name, place in PLACES.items()], columns=["IMG_ID", "LAT", "LON"])
    table.to_csv(tmp_path / "places.csv", index=False)
    return tmp_path / "places.csv"


def write_tar(path, members, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def split(path, size, suffixes):
    """Cut a file into parts of ``size`` bytes as ``split`` does, and remove it."""
    content = path.read_bytes()
    for start, suffix in zip(range(0, len(content), size), suffixes, strict=False):
        (path.parent / f"{path.name}{suffix}").write_bytes(content[start : start + size])
    path.unlink()
    return path.parent


# -- the layouts; each maker writes one and returns what --images is given


def folder_tree(root, jpegs):
    for name, content in jpegs.items():
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / name).write_bytes(content)
    return root / "photos"


def flat_folder(root, jpegs):
    return folder_tree(root, {name.replace("/", "_"): content for name, content in jpegs.items()})


def one_zip(root, jpegs):
    return write_zip(root / "photos.zip", {"__MACOSX/45/10/._3079.jpg": b"fork", "README.md": b"read me"} | jpegs)


def folder_of_zips(root, jpegs):
    for number in range(2):
        write_zip(
            root / "train" / f"{number % 2:02d}.zip",
            {f"{number % 2:02d}/{key}": jpegs[key] for key in list(jpegs)[number % 2 :: 2]},
        )
    return root / "train"


def one_tar(root, jpegs):
    return write_tar(root / "photos.tar", {f"./images/{name}": content for name, content in jpegs.items()})


def tar_of_v7_days(root, jpegs):
    return write_tar(root / "photos.tar", jpegs, format=tarfile.USTAR_FORMAT)


def tars_by_pattern(root, jpegs):
    for number, name in enumerate(jpegs):
        write_tar(root / "mp" / f"mp-{number:06d}.tar", {name: jpegs[name]})
    (root / "mp" / "notes.txt").write_text("about the shards")
    return root / "mp" / "*.tar"


def split_tar(root, jpegs):
    """As MP16-Pro is handed out: mp-16-images00, mp-16-images01, …"""
    whole = write_tar(root / "mp16" / "mp-16-images", {f"images/{n.replace('/', '_')}": c for n, c in jpegs.items()})
    return split(whole, 1500, [f"{number:02d}" for number in range(99)])


def split_tar_by_letters(root, jpegs):
    whole = write_tar(root / "parts" / "mp16.tar", jpegs)
    return split(whole, 512, [f".part{a}{b}" for a in "abc" for b in "abcdefghijklmnopqrstuvwxyz"])


def isn_shards(root, jpegs):
    """As TIBHannover/GeoEstimation writes them: old msgpack, in which a text and bytes are the same."""
    (root / "mp16").mkdir()
    for number in range(3):
        with (root / "mp16" / f"shard_{number}.msg").open("wb") as file:
            for name in list(jpegs)[number::3]:
                file.write(msgpack.packb({"image": jpegs[name], "id": name}, use_bin_type=False))
    return root / "mp16"


def new_msgpack(root, jpegs):
    path = root / "shard_0.msg"
    path.write_bytes(b"".join(msgpack.packb({"id": name, "image": content}) for name, content in jpegs.items()))
    return path


WITH_A_TABLE_BESIDE = [
    folder_tree,
    flat_folder,
    one_zip,
    folder_of_zips,
    one_tar,
    tar_of_v7_days,
    tars_by_pattern,
    split_tar,
    split_tar_by_letters,
    isn_shards,
    new_msgpack,
]


def webdataset_with_json(root, jpegs):
    from webdataset import ShardWriter

    with ShardWriter(str(root / "street-%06d.tar"), maxcount=4, verbose=0) as shards:
        for name, content in jpegs.items():
            latitude, longitude = PLACES[name]
            about = {"LAT": latitude, "LON": longitude, "country": "NA", "nested": {"is": "left out"}}
            shards.write({"__key__": name[:-4], "jpg": content, "json": json.dumps(about)})
    return root / "street-*.tar"


def webdataset_with_cls(root, jpegs):
    from webdataset import TarWriter

    with TarWriter(str(root / "street.tar")) as shard:
        for name, content in jpegs.items():
            shard.write({"__key__": name[:-4], "cls": "{} {}".format(*PLACES[name]).encode(), "jpg": content})
    return root / "street.tar"


def webdataset_with_two_texts(root, jpegs):
    from webdataset import TarWriter

    with TarWriter(str(root / "street.tar")) as shard:
        for name, content in jpegs.items():
            latitude, longitude = (str(value).encode() for value in PLACES[name])
            shard.write({"__key__": name[:-4], "jpg": content, "latitude": latitude, "longitude": longitude})
    return root


def hub_parquet(root, jpegs):
    """As the Hugging Face hub keeps images: a struct of bytes and path, the rest beside it, small row groups."""
    (root / "data").mkdir()
    for number in range(2):
        names = list(jpegs)[number * 3 : number * 3 + 3]
        table = pa.table(
            {
                "image": [{"bytes": jpegs[name], "path": "x.jpg"} for name in names],
                "id": names,
                "latitude": [PLACES[name][0] for name in names],
                "longitude": [PLACES[name][1] for name in names],
                "country": ["NA"] * 3,
                "tags": [["a", "b"]] * 3,
            }
        )
        pq.write_table(table, root / "data" / f"train-{number:05d}-of-00002.parquet", row_group_size=2)
    return root / "data"


def parquet_without_ids(root, jpegs):
    table = pa.table(
        {
            "LAT": [place[0] for place in PLACES.values()],
            "LON": [place[1] for place in PLACES.values()],
            "image": [{"bytes": content, "path": name} for name, content in jpegs.items()],
        }
    )
    pq.write_table(table, root / "x.parquet")
    return root / "x.parquet"


def msgpack_with_places(root, jpegs):
    records = [
        {"id": name, "image": content, "latitude": PLACES[name][0], "longitude": PLACES[name][1]}
        for name, content in jpegs.items()
    ]
    (root / "shard_0.msg").write_bytes(b"".join(map(msgpack.packb, records)))
    return root


WITH_THEIR_OWN_TABLE = [
    webdataset_with_json,
    webdataset_with_cls,
    webdataset_with_two_texts,
    hub_parquet,
    parquet_without_ids,
    msgpack_with_places,
]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_every_kind_has_a_layout_here(root, jpegs):
    kinds = set()
    for number, maker in enumerate([*WITH_A_TABLE_BESIDE, *WITH_THEIR_OWN_TABLE]):
        (root / str(number)).mkdir()
        kinds.add(recognise(maker(root / str(number), jpegs))[0].kind)
    assert kinds == set(Store.kinds)


@pytest.mark.parametrize("maker", WITH_A_TABLE_BESIDE)
def test_a_layout_with_a_separate_table_is_a_data_set(maker, root, jpegs, metadata):
    images = maker(root, jpegs)
    added = add_dataset("mine", images, metadata)
    assert (added.images, added.missing) == (6, [])
    dataset = get_dataset("mine")
    assert dataset.present
    table = dataset.table("test")
    assert list(table["image"]) == IDS
    store = dataset.store("test")
    for name in IDS:
        source = store.image_file(name)
        assert (source.read_bytes() if isinstance(source, Path) else source) == jpegs[name]
        assert dataset.read_image(name, "test").size == (24, 16)
    assert sorted(name[-8:] for name in store.names()) == sorted(name[-8:] for name in IDS)
    assert len(store) == len(list(store.names())) or maker is one_zip  # which holds a text as well


@pytest.mark.parametrize("maker", WITH_THEIR_OWN_TABLE)
def test_shards_that_contain_the_positions_need_no_table(maker, root, jpegs):
    added = add_dataset("mine", maker(root, jpegs))
    assert (added.images, added.missing) == (6, [])
    dataset = get_dataset("mine")
    assert dataset.present
    table = dataset.table("train").set_index("image")
    for name, place in PLACES.items():
        row = table.loc[name if name in table.index else name[:-4]]
        assert (row["latitude"], row["longitude"]) == place
        assert dataset.store("train").image_file(row.name) == jpegs[name]
        assert dataset.store("train").image_file(name) == jpegs[name]
    if "country" in table:
        assert set(table["country"]) == {"NA"}  # Namibia, no missing value
        assert "nested" not in table and "tags" not in table


def test_webdataset_reads_the_same_samples_from_its_shards(root, jpegs):
    from webdataset import WebDataset

    store = open_store(webdataset_with_json(root, jpegs))
    samples = {s["__key__"]: s for s in WebDataset([str(p) for p in store.parts], shardshuffle=False)}
    names = list(store.names())
    assert [name[:-4] for name in names] == list(samples)
    table = pd.read_csv(store.table(), keep_default_na=False).set_index("image")
    for name in names:
        assert store.image_file(name) == samples[name[:-4]]["jpg"]
        assert table.loc[name, "LAT"] == json.loads(samples[name[:-4]]["json"])["LAT"]


def test_a_given_table_takes_precedence_over_the_metadata_of_shards(root, jpegs, metadata):
    text = metadata.read_text().replace("10.5", "60.5")
    metadata.write_text(text)
    add_dataset("mine", hub_parquet(root, jpegs), metadata)
    assert get_dataset("mine").table("test")["latitude"][0] == 60.5


def test_shards_without_positions_name_the_metadata_that_they_have(root, jpegs):
    write_tar(root / "a.tar", {"1.jpg": jpegs[IDS[0]], "1.json": b'{"caption": "a street"}'})
    with pytest.raises(DatasetError, match=r"no latitude column.*caption"):
        add_dataset("mine", root / "a.tar")
    write_tar(root / "b.tar", {"1.jpg": jpegs[IDS[0]]})
    with pytest.raises(
        DatasetNotFoundError, match=r"there is no table: \S+ is not there, and \S+b\.tar tells no positions"
    ):
        add_dataset("mine", root / "b.tar")


def test_an_image_of_a_shard_without_a_position_is_reported(root, jpegs):
    first, second = list(jpegs.values())[:2]
    write_tar(root / "a.tar", {"1.jpg": first, "1.json": b'{"lat": 1, "lon": 2}', "2.jpg": second})
    with pytest.raises(DatasetError, match=r"a\.tar: what is told of its images: 1 of 2 rows .*: line 3: "):
        add_dataset("mine", root / "a.tar")


def test_a_sidecar_file_that_is_not_json_is_named_with_its_shard(root, jpegs):
    first, second = list(jpegs.values())[:2]
    write_tar(root / "a.tar", {"1.jpg": first, "1.json": b'{"lat": 1, "lon": 2}', "2.jpg": second, "2.json": b"{lat"})
    with pytest.raises(DatasetError, match=r"a\.tar: .* 2\.json in a\.tar cannot be read: Expecting property name"):
        add_dataset("mine", root / "a.tar")
    write_tar(root / "b.tar", {"1.jpg": first, "1.json": b"[1, 2]"})
    with pytest.raises(DatasetError, match=r"b\.tar: .*no latitude .* 1\.json in b\.tar cannot be read: it is not"):
        add_dataset("mine", root / "b.tar")


def test_a_zip_named_tar_is_reported_as_a_zip(root, jpegs, metadata):
    write_zip(root / "photos.tar", jpegs)
    with pytest.raises(DatasetError, match=r"photos\.tar is not a tar archive but a zip archive"):
        add_dataset("mine", root / "photos.tar", metadata)
    add_dataset("mine", root / "photos.tar", metadata, layout="zip")


def test_columns_of_shards_can_be_named(root, jpegs):
    pq.write_table(
        pa.table({"photo": list(jpegs.values()), "nr": [1, 2, 3, 4, 5, 6], "breite": [1.0] * 6, "laenge": [2.0] * 6}),
        root / "x.parquet",
    )
    with pytest.raises(DatasetError, match=r"no field with the name of the image.*nr, breite, laenge.*--image-column"):
        add_dataset("mine", root / "x.parquet")
    add_dataset("mine", root / "x.parquet", columns={"image": "nr", "latitude": "breite", "longitude": "laenge"})
    dataset = get_dataset("mine")
    assert list(dataset.table("test")["image"]) == ["1", "2", "3", "4", "5", "6"]
    assert dataset.read_image("4", "test").size == (24, 16)


def test_positions_are_read_from_the_exif_of_photos_in_an_archive(root, jpegs):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "S", 2: (10.0, 30.0, 0.0), 3: "E", 4: (20.0, 15.0, 0.0)})
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    write_zip(root / "p.zip", {"at.jpg": file.getvalue(), "nowhere.jpg": jpegs[IDS[0]], "broken.jpg": b"no image"})
    added = add_dataset("mine", root / "p.zip", exif=True)
    assert added.without_position == ["nowhere.jpg", "broken.jpg"]
    assert get_dataset("mine").table("test").iloc[0].to_list() == ["at.jpg", -10.5, 20.25]


# -- names


@pytest.mark.parametrize(
    ("image", "name", "how"),
    [
        ("45/77/3228.jpg", "45/77/3228.jpg", EXACT),
        ("45/77/3228.jpg", "45_77_3228.jpg", WHOLE),
        ("45_77_3228", "45/77/3228.jpg", WHOLE),
        ("45_77_3228.jpg", "45/77/3228", WHOLE),
        ("a.JPG", "a.jpeg", WHOLE),
        ("a.jpg", "a.png", OTHER),
        ("3228.jpg", "45/77/3228.jpg", TAIL),
        ("77_3228", "45/77/3228.jpg", TAIL),
        ("3228.jpg", "45_77_3228.jpg", OTHER),
        ("228.jpg", "45/77/3228.jpg", OTHER),
        ("a.b@N00.jpg", "a.b@N00", WHOLE),
        ("1.5", "1", OTHER),
    ],
)
def test_two_names_are_one_image(image, name, how):
    assert fit(image, name) == how


def test_the_folder_that_all_images_share_is_not_part_of_their_names(root, jpegs):
    store = open_store(one_tar(root, jpegs))
    for image in (IDS[0], IDS[0].replace("/", "_"), "images/" + IDS[0], "images_" + IDS[0].replace("/", "_")[:-4]):
        assert store.image_file(image) == jpegs[IDS[0]]


def test_an_identical_name_takes_precedence_over_one_that_is_written_differently(root):
    store = open_store(write_tar(root / "a.tar", {"a_b.jpg": b"1", "a/b.jpg": b"2", "a_b": b"3", "x/y.jpg": b"4"}))
    assert [store.image_file(image) for image in ("a_b.jpg", "a/b.jpg", "a_b", "x_y")] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("maker", [folder_tree, one_zip])
def test_an_ambiguous_name_names_both_images(maker, root):
    images = maker(
        root, {"a_b.jpg": b"1", "a/b.jpg": b"2", "c/1.jpg": b"3", "d/1.jpg": b"4", "e.jpg": b"", "e.png": b""}
    )
    store = open_store(images)
    for image, either in (
        ("a_b", ["a_b.jpg", "a/b.jpg"]),
        ("1.jpg", ["c/1.jpg", "d/1.jpg"]),
        ("e", ["e.jpg", "e.png"]),
    ):
        with pytest.raises(DatasetError) as caught:
            store.image_file(image)
        assert all(repr(name) in str(caught.value) for name in either)
        assert repr(image) in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_in_two_shards_is_ambiguous_and_names_both(root):
    for part in ("a.tar", "b.tar"):
        write_tar(root / part, {"1.jpg": part.encode()})
    with pytest.raises(DatasetError, match=r"'1\.jpg' in a\.tar or '1\.jpg' in b\.tar"):
        open_store(root).image_file("1.jpg")


@settings(max_examples=30)
@given(st.lists(st.text("ab_/.1é", min_size=1, max_size=8), min_size=1, max_size=12, unique=True), st.booleans())
def test_every_member_is_found_by_its_own_name_and_never_confused_with_another(tmp_path_factory, names, deep):
    names = [n for n in names if "//" not in n and n.strip("/.") == n and "/." not in n and "./" not in n]
    members = {("top/" if deep else "") + name + ".jpg": str(i).encode() for i, name in enumerate(names)}
    path = write_tar(tmp_path_factory.mktemp("t") / "a.tar", members)
    store = open_store(path)
    for name, content in members.items():
        assert store.image_file(name) == content
        for other in (name.replace("/", "_"), name[:-4], name.removeprefix("top/")):
            same = [member for member in members if fit(other, member, "top/" * deep) < OTHER]
            assert name in same
            if len(same) == 1:
                assert store.image_file(other) == content


# -- the list of an archive


class Told(Progress):
    def __init__(self):
        self.said = []

    def track(self, what, total, unit, done=0):
        self.said.append(what)
        return super().track(what, total, unit, done)


def test_an_archive_is_listed_once_and_again_when_it_changes(root, jpegs, own_home):
    path = one_tar(root, jpegs)
    first, second, third = Told(), Told(), Told()
    open_store(path).prepare(first)
    open_store(path).prepare(second)
    assert (first.said, second.said) == (["index of photos.tar"], [])
    write_tar(path, {"new.jpg": b"new"})
    store = open_store(path)
    store.prepare(third)
    assert third.said == ["index of photos.tar"]
    assert list(store.names()) == ["new.jpg"]
    assert len(list((own_home / "index").glob("photos.tar-*/images.sqlite"))) == 1


def test_a_damaged_catalogue_is_rebuilt(root, jpegs, own_home):
    path = one_tar(root, jpegs)
    open_store(path).prepare()
    listed = next((own_home / "index").glob("*/images.sqlite"))
    for damage in (b"", b"SQLite format 3\0 but no more", listed.read_bytes()[:5000]):
        listed.write_bytes(damage)
        assert len(open_store(path)) == 6


def test_a_new_file_in_a_folder_is_found_at_once(root, jpegs):
    folder = folder_tree(root, jpegs)
    assert open_store(folder).find("1234") is None
    for number in range(3):
        (folder / "45" / f"123{number}.png").write_bytes(b"")
        assert open_store(folder).find(f"123{number}").name == f"45/123{number}.png"
    (folder / "45" / "1230.png").unlink()
    assert open_store(folder).find("1230") is None


def test_an_unchanged_tree_is_not_walked_again(root, jpegs):
    folder = folder_tree(root, jpegs)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1e9, 1e9))
    first, second = Told(), Told()
    open_store(folder).prepare(first)
    open_store(folder).prepare(second)
    assert (len(first.said), second.said) == (1, [])


def test_circular_links_end(root, jpegs):
    folder = folder_tree(root, jpegs)
    (folder / "45" / "again").symlink_to(folder)
    assert len(list(open_store(folder).names())) == 6


def test_no_name_leads_outside_the_folder(root, jpegs):
    folder = folder_tree(root, jpegs)
    (root / "secret.jpg").write_bytes(b"secret")
    for image in ("../secret.jpg", str(root / "secret.jpg"), "45/../../secret.jpg"):
        with pytest.raises(ImageError, match="there is no such file"):
            open_store(folder).image_file(image)


@pytest.mark.parametrize("maker", [folder_tree, one_zip, one_tar, split_tar, isn_shards, hub_parquet])
def test_the_content_key_follows_the_data(maker, root, jpegs, metadata):
    images = maker(root, jpegs)
    add_dataset("mine", images, metadata)
    dataset = get_dataset("mine")
    table = dataset.table("test")
    key = dataset.content_key(table, "test")
    assert key == dataset.content_key(dataset.table("test"), "test")
    assert dataset.content_key(table.head(5), "test") != key
    store = dataset.store("test")
    part = store.parts[-1] if store.kind != "folder" else store.parts[0] / IDS[0]
    os.utime(part, (1e9, 1e9))
    assert dataset.content_key(table, "test") != key


def read_colour(arguments):
    dataset, image = arguments
    return dataset.read_image(image, "test").getpixel((0, 0))


@pytest.mark.parametrize("maker", [one_zip, split_tar, isn_shards, hub_parquet, flat_folder])
def test_forked_workers_read_the_same_images_as_the_process_that_started_them(maker, root, jpegs, metadata):
    add_dataset("mine", maker(root, jpegs), metadata)
    dataset = get_dataset("mine")
    expected = [read_colour((dataset, name)) for name in IDS]  # open here before the fork
    assert len(set(expected)) == 6
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(read_colour, [(dataset, name) for name in IDS * 10])) == expected * 10


def test_a_spawned_worker_reads_the_same_images(root, jpegs, metadata):
    from torch.utils.data import DataLoader

    add_dataset("mine", hub_parquet(root, jpegs), metadata)
    dataset = get_dataset("mine")
    read = functools.partial(dataset.read_image, purpose="test")
    loader = DataLoader(list(IDS), batch_size=None, num_workers=1, collate_fn=read, multiprocessing_context="spawn")
    assert [image.getpixel((0, 0)) for image in loader] == [read_colour((dataset, name)) for name in IDS]


def test_rows_of_parquet_are_read_in_any_order(root, jpegs):
    store = open_store(hub_parquet(root, jpegs))
    order = IDS * 5
    random.Random(0).shuffle(order)
    assert [store.image_file(name) for name in order] == [jpegs[name] for name in order]


# -- archives against the standard library


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5), st.integers(1, 4000))
def test_a_split_tar_gives_the_bytes_that_were_put_in_wherever_it_was_cut(tmp_path_factory, contents, size):
    folder = tmp_path_factory.mktemp("t")
    members = {f"{number}.jpg": content for number, content in enumerate(contents)}
    size = max(size, 600)  # the first part shows that it begins a tar
    split(write_tar(folder / "a.tar", members), size, [f".{number:04d}" for number in range(9999)])
    store = open_store(folder)
    assert store.kind == "split-tar"
    assert {name: store.image_file(name) for name in store.names()} == members


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5), st.sampled_from(METHODS))
def test_a_zip_gives_the_bytes_that_zipfile_gives(tmp_path_factory, contents, method):
    members = {f"{number}.jpg": content for number, content in enumerate(contents)}
    path = write_zip(tmp_path_factory.mktemp("z") / "a.zip", members, method)
    store = open_store(path)
    assert {name: store.image_file(name) for name in store.names()} == members


def test_the_directory_of_a_zip_is_read_as_zipfile_reads_it(root):
    path = root / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("ü")
        for name in ("plain.jpg", "ü/東京.jpg", "long" * 100 + ".png"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(name.encode() * 9)
        archive.comment = b"photos of my own" * 50
    content = path.read_bytes()
    # A directory in 64 bits, as archives of more than 4 GB or 65,535 members have, and an old name that is no UTF-8.
    end = content.rindex(b"PK\5\6")
    count, size, offset = struct.unpack_from("<HII", content, end + 10)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    for variant in (content[: end + 20] + b"\0\0", content[:end] + wide + locator + last, b"in front" + content):
        path.write_bytes(variant)
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            ours = [(m.name, m.method, m.crc, m.packed, m.size, m.offset) for m in zips.members(file)]
            theirs = [
                (m.filename, m.compress_type, m.CRC, m.compress_size, m.file_size, m.header_offset)
                for m in archive.infolist()
            ]
            assert ours == theirs
            store = open_store(path, "zip")
            assert all(store.image_file(name) == archive.read(name) for name in archive.namelist() if name[-1] != "/")


def test_sizes_in_64_bits_are_read_from_the_extra_field():
    full = 2**32 - 1
    extra = struct.pack("<HHI", 0x5455, 4, 7) + struct.pack("<HHQQ", 1, 16, 5 * 2**32, 6 * 2**32)
    assert zips._in_64_bits(extra, [full, 3, full]) == [5 * 2**32, 3, 6 * 2**32]
    assert zips._in_64_bits(extra, [1, 2, 3]) == [1, 2, 3]
    assert zips._in_64_bits(b"", [full, 2, 3]) == [full, 2, 3]


def test_a_zip_that_was_streamed_has_its_sizes_at_the_end(root, jpegs):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in jpegs.items():
            archive.writestr(name, content)
    (root / "a.zip").write_bytes(b"MZ, an executable in front" + pipe.getvalue())
    assert all(open_store(root / "a.zip").image_file(name) == content for name, content in jpegs.items())


def test_long_names_and_other_alphabets_survive_in_a_tar(root):
    names = ["ü/" + "x" * 300 + ".jpg", "東京/塔.png"]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        store = open_store(write_tar(root / f"{form}.tar", {name: name.encode() for name in names}, format=form))
        assert [store.image_file(name).decode() for name in names] == names


# -- hostile


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_links_and_paths_that_lead_outside_an_archive_are_failed_images(root, jpegs):
    path = root / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd" if kind != tarfile.FIFOTYPE else ""
            archive.addfile(member)
        for name in ("../out.jpg", "/etc/abs.jpg", "a/../../b.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"out"))
        archive.add(root, "good", recursive=False)
    store = open_store(path)
    expected = {
        "link.jpg": "link to '/etc/passwd'",
        "hard.jpg": "link to",
        "pipe.jpg": "not a file",
        "../out.jpg": "leads outside the archive",
        "/etc/abs.jpg": "leads outside the archive",
        "a/../../b.jpg": "leads outside the archive",
    }
    for name, reason in expected.items():
        with pytest.raises(ImageError, match=reason) as caught:
            store.image_file(name)
        assert name in one_line(caught)


def test_a_zip_member_that_is_encrypted_a_link_damaged_or_a_bomb_is_a_failed_image(root, jpegs):
    path = write_zip(
        root / "a.zip", {"good.jpg": jpegs[IDS[0]], "crc.jpg": bytes(500), "bomb.jpg": b"b"}, zipfile.ZIP_STORED
    )
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    secret = zipfile.ZipInfo("secret.jpg")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr(secret, "x")
    content = bytearray(path.read_bytes())
    content[content.index(bytes(500)) + 7] = 1
    directory = {}
    start = content.rindex(b"PK\1\2", 0, content.index(b"PK\1\2") + 4)
    while content[start : start + 4] == b"PK\1\2":
        length, extra, comment = struct.unpack_from("<HHH", content, start + 28)
        directory[bytes(content[start + 46 : start + 46 + length]).decode()] = start
        start += 46 + length + extra + comment
    struct.pack_into("<H", content, directory["secret.jpg"] + 8, 1)
    struct.pack_into("<I", content, directory["bomb.jpg"] + 24, (1 << 30) + 1)
    path.write_bytes(content)
    store = open_store(path)
    assert store.image_file("good.jpg") == jpegs[IDS[0]]
    for name, reason in (
        ("crc", "Bad CRC"),
        ("link", "is a link"),
        ("secret", "encrypted"),
        ("bomb", "1,073,741,825 bytes"),
    ):
        with pytest.raises(ImageError, match=reason) as caught:
            store.image_file(f"{name}.jpg")
        assert f"{name}.jpg" in one_line(caught)


@pytest.mark.parametrize("maker", [one_tar, one_zip, new_msgpack, parquet_without_ids])
def test_an_archive_that_is_truncated_anywhere_is_refused_or_complete(maker, root, jpegs):
    path = maker(root, jpegs)
    whole = path.read_bytes()
    outcomes = []
    for size in sorted({0, 1, 511, 512, 513, 1024, *range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1}):
        path.write_bytes(whole[:size])
        try:
            store = open_store(path)
            outcomes.append(len(list(store.names())))
        except DatasetError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            outcomes.append(-1)
    # nothing between: a list that is shorter than the archive was would score a smaller test set
    assert set(outcomes) <= {-1, 6} or (maker is new_msgpack and outcomes[0] == 0 and set(outcomes[1:]) <= {-1, 6})
    assert outcomes.count(-1) > 20


def test_a_split_tar_without_one_of_its_parts_is_refused(root, jpegs):
    folder = split_tar(root, jpegs)
    parts = sorted(folder.iterdir())
    taken = parts[3].read_bytes()
    parts[3].unlink()
    with pytest.raises(DatasetError, match=rf"{parts[4].name}: the part before it, after {parts[2].name}, is missing"):
        open_store(folder)
    parts[3].write_bytes(taken)
    parts[-1].unlink()
    with pytest.raises(DatasetError, match="not an intact tar archive") as caught:
        open_store(folder).prepare()
    one_line(caught)
    parts[0].unlink()
    with pytest.raises(DatasetError, match=r"mp-16-images01, .* no tar begins in the first of them") as caught:
        open_store(folder)
    one_line(caught)


def test_a_tar_without_an_end_mark_says_how_to_add_it(root, jpegs):
    path = write_tar(root / "a.tar", jpegs)
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DatasetError, match="head -c 1024 /dev/zero >> FILE") as caught:
        open_store(path).prepare()
    one_line(caught)
    with path.open("ab") as file:
        file.write(bytes(1024))
    assert len(open_store(path)) == 6


def test_a_damaged_header_in_a_tar_is_not_mistaken_for_its_end(root, jpegs):
    path = write_tar(root / "a.tar", jpegs)
    with tarfile.open(path) as archive:
        header = archive.getmembers()[2].offset
    content = bytearray(path.read_bytes())
    content[header : header + 100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"no header at byte {header:,}") as caught:
        open_store(path).prepare()
    one_line(caught)


def test_an_archive_that_shrinks_after_it_was_listed_stops_the_work_and_fails_no_image(root, jpegs):
    path = write_tar(root / "a.tar", jpegs)
    store = open_store(path)
    store.prepare()
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(StorageError, match=r"a\.tar ends at byte 700, before an image that was listed in it") as caught:
        store.image_file(IDS[0])
    one_line(caught)
    store._opened.drop()
    path.unlink()
    with pytest.raises(StorageError, match=rf"{IDS[-1]} in \S+a\.tar cannot be read: No such file"):
        store.image_file(IDS[-1])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1, 2], "not a map of an image and its id"),
        ({"image": b"x"}, "no field with the name of the image"),
        ({"image": b"x", "idee": "1"}, r"no field with the name of the image .* it has idee\."),
    ],
)
def test_a_msgpack_record_of_another_kind_names_file_and_byte(record, reason, root):
    good = msgpack.packb({"id": "1", "image": b"x"})
    (root / "shard_0.msg").write_bytes(good + msgpack.packb(record))
    with pytest.raises(DatasetError, match=rf"shard_0\.msg, record at byte {len(good)}: {reason}"):
        open_store(root).prepare()


def test_a_msgpack_record_that_claims_too_many_bytes_is_refused(root):
    (root / "shard_0.msg").write_bytes(b"\x82\xa2id\xa11\xa5image\xc6\xff\xff\xff\xffshort")
    with pytest.raises(DatasetError, match="not an intact msgpack shard") as caught:
        open_store(root).prepare()
    one_line(caught)


def test_a_record_without_an_image_is_a_failed_image(root, jpegs):
    (root / "shard_0.msg").write_bytes(msgpack.packb({"id": "1", "image": None}) + msgpack.packb(None))
    with pytest.raises(ImageError, match="1: its record has no image"):
        open_store(root).image_file("1")
    table = pa.table({"image": [{"bytes": None, "path": "1.jpg"}, {"bytes": jpegs[IDS[0]], "path": "2.jpg"}]})
    pq.write_table(table, root / "x.parquet")
    store = open_store(root / "x.parquet")
    with pytest.raises(ImageError, match=r"1\.jpg: row 1 of x\.parquet has no image"):
        store.image_file("1.jpg")
    assert store.image_file("2") == jpegs[IDS[0]]


# -- what is no layout


def test_what_is_found_and_what_is_valid_is_named(root, jpegs):
    (root / "features.npy").write_bytes(b"\x93NUMPY")
    (root / "a.lmdb").touch()
    for path in (root, root / "features.npy", root / "*.npy"):
        with pytest.raises(DatasetError) as caught:
            open_store(path)
        message = one_line(caught)
        assert "features.npy" in message
        assert all(kind in message for kind in Store.kinds)


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tgz", "photos.tar.xz", "photos.7z"])
def test_an_archive_that_is_compressed_as_a_whole_says_what_to_do(name, root):
    (root / name).write_bytes(b"\x1f\x8b\x08")
    for path in (root / name, root, root / "*"):
        with pytest.raises(DatasetError, match=rf"{name} is compressed as a whole.*unpack it once") as caught:
            open_store(path)
        one_line(caught)


def test_archives_of_two_kinds_are_not_mixed(root, jpegs):
    write_zip(root / "a.zip", jpegs)
    write_tar(root / "b.tar", jpegs)
    with pytest.raises(DatasetError, match=r"a\.zip, b\.tar are of several layouts \(tar, zip\)"):
        open_store(root)
    assert len(open_store(root / "*.zip")) == 6


def test_a_folder_with_archives_and_folders_is_refused(root, jpegs):
    write_zip(root / "a.zip", jpegs)
    (root / "a").mkdir()
    with pytest.raises(DatasetError, match=r"both archives \(a\.zip\) and folders \(a\); .*\*\.zip"):
        open_store(root)
    assert open_store(root, "folder").kind == "folder"


def test_photos_next_to_an_archive_are_a_folder_of_photos(root, jpegs):
    write_zip(root / "backup.zip", jpegs)
    (root / "photo.jpg").write_bytes(jpegs[IDS[0]])
    assert open_store(root).kind == "folder"


def test_a_layout_can_be_named_and_a_wrong_name_gets_the_nearest(root, jpegs):
    path = write_zip(root / "photos.cbz", jpegs)
    assert open_store(path, "zip").kind == open_store(path).kind == "zip"
    with pytest.raises(DatasetError, match=r"photos\.cbz is not of layout parquet but zip; set layout to 'zip'"):
        open_store(path, "parquet")
    with pytest.raises(Exception, match=r"unknown layout 'zap'; did you mean zip\?"):
        open_store(path, "zap")


def test_a_missing_path_is_a_data_set_that_is_not_found(root):
    for path in (root / "nowhere", root / "*.tar"):
        with pytest.raises(DatasetNotFoundError, match="there is no such file or folder"):
            open_store(path)
    dataset = Dataset("s", "S", splits={"all": {"images": str(root / "*.tar"), "metadata": "m.csv"}})
    assert not dataset.present
    with pytest.raises(DatasetNotFoundError, match=r"looked for \S+m\.csv and \S+\*\.tar"):
        dataset.table("test")


def test_listing_ten_thousand_members_is_a_matter_of_seconds(root):
    write_tar(root / "a.tar", {f"{number % 256:02x}/{number}.jpg": b"x" for number in range(10_000)})
    started = time.monotonic()
    store = open_store(root / "a.tar")
    assert len(store) == 10_000
    assert time.monotonic() - started < 10  # 0.3 s on a quiet machine
    assert np.mean([store.find(f"{n % 256:02x}_{n}") is not None for n in range(0, 10_000, 7)]) == 1
