"""Photos on the wrong continent, or left out, without a word: what `datasets add --exif` reads, and what it says."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from PIL import ExifTags, Image

from geobench import DatasetError, ImageError, get_dataset, get_results
from geobench.data.registration import add_dataset, remove_dataset
from geobench.images import formats
from geobench.images.decoding import open_image
from geobench.images.exif import exif_position

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
PARIS, SANTIAGO = (48.85, 2.35), (-33.86, -70.63)


def photo(at=None, refs=None):
    """Return a JPEG with a position in whole seconds; its references may be others than its hemisphere's."""
    exif = Image.Exif()
    if at is not None:
        for tag, value, letters in ((2, at[0], "NS"), (4, at[1], "EW")):
            minutes, seconds = divmod(round(abs(value) * 3600), 60)
            exif.get_ifd(ExifTags.IFD.GPSInfo)[tag] = (minutes // 60, minutes % 60, seconds)
            exif.get_ifd(ExifTags.IFD.GPSInfo)[tag - 1] = letters[value < 0]
        for tag, reference in zip((1, 3), refs or (), strict=False):
            exif.get_ifd(ExifTags.IFD.GPSInfo)[tag] = reference
    file = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(file, "JPEG", exif=exif)
    return file.getvalue()


def takeout(at, title="a.jpg"):
    return json.dumps({"title": title, "geoData": {"latitude": at[0], "longitude": at[1]}}).encode()


@pytest.fixture
def folder(tmp_path):
    """Return a function that fills a folder with files."""

    def fill(files, path=tmp_path / "photos"):
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path

    return fill


@pytest.fixture
def without_heif(monkeypatch):
    """Take the package pillow-heif away."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats.can_read_heif.cache_clear()
    yield
    formats.can_read_heif.cache_clear()


# -- the hemisphere


def test_a_photo_whose_hemisphere_is_unknown_is_not_in_the_north_east(folder, cli):
    files = {"a.jpg": photo(SANTIAGO), "b.jpg": photo(SANTIAGO, ("", "")), "c.jpg": photo(SANTIAGO, ("south", "West"))}
    told = cli("datasets", "add", "mine", "--images", folder({**files, "d.jpg": photo()}), "--exif").stderr
    assert "2 images without a position, not part of the set: b.jpg, d.jpg\n" in told
    assert "1 of these: EXIF: the latitude has no reference (N or S) (b.jpg)\n" in told
    assert "1 of these: none is recorded (d.jpg)\n" in told
    rows = get_dataset("mine").table("test").to_numpy(object).tolist()
    assert rows == [["a.jpg", *SANTIAGO], ["c.jpg", *SANTIAGO]]


def test_where_positions_come_from_is_counted_and_sources_that_disagree_are_named(folder, cli, own_home):
    files = {"a.jpg": photo(PARIS), "a.jpg.json": takeout(SANTIAGO), "b.jpg": photo(), "b.jpg.json": takeout(PARIS)}
    near = {"c.jpg": photo(PARIS), "c.jpg.json": takeout((48.855, 2.35))}  # 0.56 km
    told = cli("datasets", "add", "mine", "--images", folder(files | near), "--exif").stderr
    assert "positions: 2 from EXIF, 1 from Takeout's JSON; what is not part of the set, and why: " in told
    # cos d = sin 48.85° sin −33.86° + cos 48.85° cos −33.86° cos 72.98° = −0.2596, d = 105.05° of 111.195 km
    assert "1 image with positions more than 1 km apart, of which the first source counts: a.jpg (EXIF and T" in told
    assert "Takeout's JSON, 11,681 km)\n" in told
    notes = (own_home / "data" / "mine" / "notes.csv").read_text()
    assert '"a.jpg","two positions: EXIF and Takeout\'s JSON, 11,681 km"' in notes and "c.jpg" not in notes


def test_a_set_of_which_no_photo_has_a_position_says_why(folder):
    files = {"a.jpg": photo(PARIS, ("", "")), "b.jpg": photo(PARIS, ("?", "E")), "c.jpg": photo(PARIS, ("", ""))}
    with pytest.raises(DatasetError) as caught:
        add_dataset("mine", folder(files), exif=True)
    assert (
        "none of the 3 photos in" in str(caught.value)
        and "(2 × EXIF: the latitude has no reference (N or S); 1 × EXIF: the reference of the latitude is '?', not N "
        in str(caught.value)
    )


# -- what a listing leaves out


def test_files_that_are_no_images_are_counted_by_kind(folder, cli, own_home):
    files = {"a.jpg": photo(PARIS), "b": photo(PARIS), "film.MP4": b"\0\0\0\x18ftypisom", "notes.txt": b"notes"}
    more = {".a.jpg": b"", ".thumbnails/a.jpg": photo(PARIS), "x.jpg.json": takeout(PARIS), "d.NEF": photo(PARIS)}
    others = {"a.jpg.json": b'{"latitude": 1, "longitude": 2, "camera": "of another program"}'}
    told = cli("datasets", "add", "mine", "--images", folder(files | more | others), "--exif").stderr
    assert "6 files left out, no images: 2 hidden, 2 .json of no photo, 1 .mp4, 1 .txt\n" in told
    assert "1 image recognised by content and not by name: b\n" in told
    assert "1 image in a format that is not read, not part of the set; save as JPEG, with EXIF: d.NEF\n" in told
    notes = (own_home / "data" / "mine" / "notes.csv").read_text().splitlines()
    assert notes[1:] == [
        '"d.NEF","not read: a photo in a format that is not read"',
        '".a.jpg","left out: hidden"',
        '".thumbnails","left out: hidden"',
        '"film.MP4","left out: .mp4"',
        '"notes.txt","left out: .txt"',
        '"a.jpg.json","left out: .json of no photo"',
        '"x.jpg.json","left out: .json of no photo"',
    ]
    assert remove_dataset("mine") and not (own_home / "data" / "mine").exists()


def test_a_folder_of_images_that_only_their_content_shows_is_a_folder_of_images(folder):
    added = add_dataset("mine", folder({"1.dat": photo(PARIS), "2.dat": b"text"}), exif=True)
    assert (added.images, added.photos.by_content, added.photos.left_out) == (1, ["1.dat"], {"2.dat": ".dat"})
    for name in ("1.dat", "2.dat"):
        (folder({}) / name).unlink()
    with pytest.raises(DatasetError, match=r"3\.dat: not a layout that geobench reads"):
        add_dataset("other", folder({"3.dat": b"text"}), exif=True)


def test_a_hidden_file_is_not_what_a_name_means(folder, tmp_path):
    add_dataset(
        "mine", folder({"a/1.jpg": photo(PARIS), ".trash/1.jpg": photo(SANTIAGO), "b/.1.jpg": photo()}), exif=True
    )
    assert get_dataset("mine").store("test").find("1").name == "a/1.jpg"
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for name in ("a/1.jpg", "__MACOSX/1.jpg", "a/._1.jpg"):
            archive.writestr(name, photo(PARIS))
    assert add_dataset("zip", tmp_path / "mac.zip", exif=True).images == 1
    store = get_dataset("zip").store("test")
    assert store.find("1").name == "a/1.jpg" and store.find("._1.jpg") is None


def test_a_photo_and_its_json_may_be_in_two_archives_of_one_export(tmp_path):
    archives = (
        {"x/a.jpg": photo(), "x/a.jpg.json": takeout(PARIS), "x/b.jpg": photo(), "x/c.jpg": photo()},
        {"x/a.jpg.json": takeout(SANTIAGO), "x/b.jpg.json": takeout(SANTIAGO), "x/c.jpg.json": takeout(PARIS)},
        {"x/c.jpg.json": takeout(SANTIAGO)},
    )
    for number, files in enumerate(archives):
        with zipfile.ZipFile(tmp_path / f"takeout-{number}.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    added = add_dataset("mine", tmp_path / "takeout-*.zip", exif=True)
    rows = get_dataset("mine").table("test").to_numpy(object).tolist()
    assert rows == [["x/a.jpg", *PARIS], ["x/b.jpg", *SANTIAGO]]  # that of c.jpg may be either
    assert added.photos.without == {"x/c.jpg": "Takeout's JSON: there are several files of this name"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hidden_members_of_an_archive_are_counted(kind, tmp_path, cli):
    files = {"__MACOSX/._a.jpg": b"mac", "a.jpg": photo(PARIS), "._a.jpg.json": b"mac", "a.jpg.json": takeout(PARIS)}
    path = tmp_path / f"photos.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    assert (
        "2 files left out, no images: 2 hidden\n" in cli("datasets", "add", "mine", "--images", path, "--exif").stderr
    )


def test_a_readme_beside_the_folder_of_the_images_does_not_change_what_rows_mean(folder, tmp_path):
    images = folder({"data/a/1.jpg": photo(), "data/b/1.jpg": photo(SANTIAGO), "README.txt": b"text"})
    (tmp_path / "t.csv").write_text("image,latitude,longitude\na/1.jpg,1,2\nb/1.jpg,3,4\n")
    added = add_dataset("mine", images, tmp_path / "t.csv")
    assert (added.missing, added.renamed, added.photos) == ([], {}, None)


def test_photos_of_phones_are_read_with_an_extra_that_is_named_without_it(folder, cli, without_heif):
    images = folder({"a.jpg": photo(PARIS), "b.heic": HEIC})
    told = cli("datasets", "add", "mine", "--images", images, "--exif").stderr
    assert " save as JPEG, with EXIF, or pip install pillow-heif (the extra heic): b.heic\n" in told
    with pytest.raises(ImageError, match=r"b\.heic: is a HEIC photo \(save it as JPEG\), .* without the package pil"):
        open_image(images / "b.heic")
    (images / "a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"save them as JPEG, .* or install the package pillow-heif: pip install p"):
        add_dataset("other", images, exif=True)


def test_photos_of_phones_are_images_with_the_extra(folder, cli):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    picture = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the decoder turns it, and it must not be turned twice
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    picture.save(file, "HEIF", exif=exif.tobytes())
    images = folder({"IMG_1.HEIC": file.getvalue(), "IMG_2.HEIC": HEIC})
    told = cli("datasets", "add", "mine", "--images", images, "--exif").stderr
    assert "1 of these: is a HEIC photo (save it as JPEG), which cannot be read (IMG_2.HEIC)\n" in told
    dataset = get_dataset("mine")
    assert dataset.table("test").to_numpy(object).tolist() == [["IMG_1.HEIC", *PARIS]]
    assert dataset.read_image("IMG_1.HEIC", "test").size == (16, 24)
    code = "from geobench.images.decoding import open_image; import sys, pathlib; "  # the first image of a process
    code += "print(open_image(pathlib.Path(sys.argv[1])).size)"
    opened = [sys.executable, "-c", code, (images / "IMG_1.HEIC").rename(images / "renamed.jpg")]
    assert subprocess.run(opened, capture_output=True, text=True, check=True).stdout == "(16, 24)\n"


# -- names


ODD = (" a.jpg", "=A1(b).jpg", "1E5", "c\\d.jpg", "#REF!", "e\r\n, \"f\".jpg", "caf\udce9.jpg", "-g.jpg")  # fmt: skip


def test_odd_names_go_all_the_way_to_predictions(folder, cli, tmp_path, one_thread):
    images = folder({name: photo((10 + number, 20)) for number, name in enumerate(ODD)})
    add_dataset("mine", images, exif=True, encoder="tiny")
    assert "Nothing is wrong." in cli("datasets", "check", "mine").stdout
    trained = cli("train", "knn", "--data", "mine", "--device", "cpu").stdout.strip()
    cli("run", "--models", f"{trained},random", "--datasets", "mine", "--galleries", "training:8", "--device", "cpu")
    assert [(row.n, row.failed) for row in get_results("results").itertuples()] == [(8, 0)] * 2
    table = get_dataset("mine").table("test")
    assert set(table["image"]) == {name.replace("\udce9", "\\xe9") for name in ODD}
    images.rename(tmp_path / "moved")  # the table is read without them
    assert get_dataset("mine").positions("test").equals(table)


def test_a_name_that_cannot_be_told_from_another_is_left_out_alone(folder, tmp_path):
    files = {"caf\\xe9.jpg": photo(PARIS), os.fsdecode(b"caf\xe9.jpg"): photo(SANTIAGO), "a.jpg": photo(SANTIAGO)}
    added = add_dataset("mine", folder(files), exif=True)
    assert added.photos.without == {"caf\\xe9.jpg": "its name is that of another file too"}
    rows = get_dataset("mine").table("test").to_numpy(object).tolist()
    assert sorted(rows) == [["a.jpg", *SANTIAGO], ["caf\\xe9.jpg", *PARIS]]
    for number in (1, 2):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            archive.writestr("a.jpg", photo(PARIS))
            archive.writestr(f"{number}.jpg", photo(SANTIAGO))
    added = add_dataset("zips", tmp_path / "*.zip", exif=True)
    assert (added.images, added.photos.without) == (2, {"a.jpg": "its name is that of another file too"})


def test_a_table_of_ones_own_is_still_searched_for_the_damage_of_spreadsheets(folder, tmp_path):
    (tmp_path / "t.csv").write_text("image,latitude,longitude\n1E5,1,2\n")
    with pytest.raises(DatasetError, match="image '1E5' was rounded by a spreadsheet"):
        add_dataset("mine", folder({"b.jpg": photo(PARIS)}), tmp_path / "t.csv")


# -- size


def test_a_photo_of_more_pixels_than_pillow_decodes_is_read_at_a_smaller_scale():
    file = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    Image.new("L", (20_000, 9_000), 77).save(file, "JPEG", exif=exif)  # 180 megapixels: a half has 45
    assert exif_position(file.getvalue()) == PARIS
    image = open_image(file.getvalue())
    assert (image.size, image.getpixel((9, 9))) == ((10_000, 4_500), (77, 77, 77))
    assert open_image(file.getvalue(), side=100).size == (2_500, 1_125)


@pytest.mark.parametrize(("kind", "size", "says"), [
    ("PNG", (18_000, 10_000), "18,000 × 10,000 pixels; of a PNG image at most 178,956,970 are decoded"),
    ("progressive", (27_000, 10_000), "of a JPEG of several scans at most 268,435,455 are decoded: save it smaller"),
])  # fmt: skip
def test_one_that_no_decoder_reduces_fails_alone_with_the_reason(kind, size, says):
    file = io.BytesIO()
    image = Image.new("1" if kind == "PNG" else "L", size)
    image.save(file, "PNG") if kind == "PNG" else image.save(file, "JPEG", progressive=True)
    with pytest.raises(ImageError, match=says):
        open_image(file.getvalue())
