import json
import zipfile
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from geobench import Dataset, DatasetError, get_dataset, get_datasets
from geobench.data.registration import add_dataset, remove_dataset
from geobench.data.tables.rows import read_table

GPS = ExifTags.GPS


def photo_at(path, latitude, longitude):
    """Save a photo whose EXIF says where it was taken, in whole degrees and minutes."""
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    for value, axis, reference in (
        (latitude, "Latitude", "S" if latitude < 0 else "N"),
        (longitude, "Longitude", "W" if longitude < 0 else "E"),
    ):
        degrees, minutes = divmod(round(abs(value) * 60), 60)
        gps[getattr(GPS, f"GPS{axis}")] = (float(degrees), float(minutes), 0.0)
        gps[getattr(GPS, f"GPS{axis}Ref")] = reference
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path, exif=exif)


def test_photos_and_a_csv_become_a_data_set(photos):
    images, metadata = photos(6)
    added = add_dataset("mine", images, metadata, title="Holiday")
    assert (added.images, added.missing, added.without_position) == (6, [], [])
    dataset = get_dataset("mine")
    assert (dataset.title, dataset.status, dataset.count) == ("Holiday", "own", 6)
    assert dataset.present
    assert len(dataset.table("train")) == len(dataset.table("test")) == 6
    assert dataset.read_image("photo-0.jpg", "test").size == (60, 40)


def test_photos_with_positions_in_exif_become_a_data_set(tmp_path, own_home):
    places = {"paris.jpg": (48.85, 2.35), "more/rio.jpeg": (-22.9, -43.2), "more/sydney.JPG": (-33.85, 151.2)}
    for name, place in places.items():
        photo_at(tmp_path / "photos" / name, *place)
    Image.new("RGB", (16, 16)).save(tmp_path / "photos" / "nowhere.png")
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    added = add_dataset("mine", tmp_path / "photos", exif=True)
    assert (added.images, added.without_position) == (3, ["nowhere.png"])
    table = get_dataset("mine").table("test").set_index("image")
    for name, place in places.items():
        assert table.loc[name].to_list() == pytest.approx(place, abs=1e-9)
    assert (own_home / "data" / "mine" / "metadata.csv").is_file()


def test_photos_without_any_position_are_refused(photos, own_home):
    images, _ = photos(3)
    with pytest.raises(DatasetError, match=r"none of the 3 photos .* CSV file of positions as metadata"):
        add_dataset("mine", images, exif=True)
    assert not (own_home / "data" / "mine").exists()


def test_the_names_of_columns_are_kept(photos):
    images, metadata = photos(3)
    metadata.write_text(metadata.read_text().replace("image,latitude,longitude", "Bild,Breite,Länge"))
    add_dataset("mine", images, metadata, columns={"image": "Bild", "latitude": "Breite", "longitude": "Länge"})
    assert len(get_dataset("mine").table("test")) == 3


def test_paths_and_titles_with_odd_characters_survive_the_definition(photos, tmp_path):
    images, metadata = photos(2, tmp_path / 'Ürlaub "2024" \\ süd')
    add_dataset("mine", images, metadata, title='Say "hi" \\ ☀\t!')
    assert get_dataset("mine").title == 'Say "hi" \\ ☀\t!'
    assert len(get_dataset("mine").table("test")) == 2


def test_relative_paths_are_understood_from_where_the_command_was_given(photos, tmp_path, monkeypatch):
    photos(2)
    monkeypatch.chdir(tmp_path / "photos")
    add_dataset("mine", Path("images"), Path("metadata.csv"))
    monkeypatch.chdir(tmp_path)
    assert len(get_dataset("mine").table("test")) == 2


def test_photos_that_are_listed_but_missing_are_reported(photos):
    images, metadata = photos(5)
    (images / "photo-3.jpg").unlink()
    assert add_dataset("mine", images, metadata).missing == ["photo-3.jpg"]


def test_a_folder_with_none_of_the_photos_is_refused(photos, tmp_path, own_home):
    _, metadata = photos(2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"none of the 2 images .* no file with the name of an image"):
        add_dataset("mine", tmp_path / "empty", metadata)
    others = tmp_path / "others.zip"
    with zipfile.ZipFile(others, "w") as archive:
        archive.writestr("a/other.jpg", b"")
    with pytest.raises(
        DatasetError, match=r"such as 'photo-0\.jpg', is in .* contains 'a/other\.jpg'\. Is it .* image column"
    ):
        add_dataset("mine", others, metadata)
    assert not (own_home / "data" / "mine").exists()


def test_a_name_that_is_taken_by_a_bundled_set_is_refused_even_with_replace(photos):
    images, metadata = photos(2)
    for replace in (False, True):
        with pytest.raises(
            DatasetError, match=r"'bluemarble' is taken by 'NASA Blue Marble' \(embedded\); choose another name"
        ):
            add_dataset("bluemarble", images, metadata, replace=replace)


def test_a_registered_name_is_replaced_only_with_replace(photos, tmp_path):
    images, metadata = photos(2)
    more, of_more = photos(5, tmp_path / "more")
    add_dataset("mine", images, metadata)
    with pytest.raises(DatasetError, match=r"is taken by 'mine' \(own\); replace it: geobench datasets add mine"):
        add_dataset("mine", more, of_more)
    assert get_dataset("mine").count == 2
    add_dataset("mine", more, of_more, replace=True)
    assert len(get_dataset("mine").table("test")) == 5
    assert len(list(images.iterdir())) == 2


def test_a_replacement_that_fails_leaves_the_old_set_as_it_was(photos, tmp_path):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    (tmp_path / "bad.csv").write_text("image,latitude,longitude\na.jpg,99,0\n")
    with pytest.raises(DatasetError, match="line 2"):
        add_dataset("mine", images, tmp_path / "bad.csv", replace=True)
    assert len(get_dataset("mine").table("test")) == 2


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "-x"])
def test_an_invalid_name_is_refused(name, photos):
    images, metadata = photos(1)
    with pytest.raises(DatasetError, match="is not a valid data set name; use letters"):
        add_dataset(name, images, metadata)


def test_a_missing_folder_is_named(photos, tmp_path):
    _, metadata = photos(1)
    with pytest.raises(DatasetError, match=r"nowhere: there is no such folder, file or pattern; images must be"):
        add_dataset("mine", tmp_path / "nowhere", metadata)


def test_an_existing_folder_that_geobench_did_not_create_is_left_alone(photos, own_home):
    images, metadata = photos(1)
    (own_home / "data" / "mine").mkdir(parents=True)
    with pytest.raises(DatasetError, match="exists and is not a data set of yours; move it away"):
        add_dataset("mine", images, metadata)


def test_removing_a_set_leaves_the_photos(photos, own_home):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    assert remove_dataset("mine") == own_home / "data" / "mine"
    assert "mine" not in get_datasets()
    assert not (own_home / "data" / "mine").exists()
    assert metadata.is_file()
    assert len(list(images.iterdir())) == 2


@pytest.mark.parametrize("name", ["bluemarble", "gws15k", "nothing"])
def test_only_a_registered_set_can_be_removed(name):
    with pytest.raises(DatasetError, match="is not a data set that you registered"):
        remove_dataset(name)


def test_photos_in_the_folder_of_the_definition_are_never_deleted(photos, own_home):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    photo = own_home / "data" / "mine" / "images" / "photo.jpg"
    photo.parent.mkdir()
    photo.touch()
    for attempt in (
        lambda: remove_dataset("mine"),
        lambda: add_dataset("mine", images, metadata, replace=True),
    ):
        with pytest.raises(DatasetError, match=r"was not created by geobench alone \(images\)"):
            attempt()
    assert photo.is_file()


def test_a_set_that_a_plugin_calls_own_is_not_deleted(register, own_home):
    register("dataset", Dataset("theirs", "Theirs"))
    photo = own_home / "data" / "theirs" / "metadata.csv"
    photo.parent.mkdir(parents=True)
    photo.touch()
    with pytest.raises(DatasetError, match="was not created by geobench alone"):
        remove_dataset("theirs")
    assert photo.is_file()


def test_the_commands_add_list_show_and_remove(cli, photos):
    images, metadata = photos(4)
    (images / "photo-1.jpg").unlink()
    added = cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--title", "Holiday")
    assert "mine: 4 images, defined in " in added.stdout
    assert "1 image listed but not there; counted as failed: photo-1.jpg" in added.stderr
    listed = {row["dataset"]: row for row in json.loads(cli("datasets", "list", "--json").stdout)}
    assert listed["mine"] | {"title": "Holiday", "images": 4, "status": "own", "here": True} == listed["mine"]
    assert "Holiday" in cli("datasets", "show", "mine").stdout
    assert "removed" in cli("datasets", "remove", "mine").stdout
    assert "mine" not in {row["dataset"] for row in json.loads(cli("datasets", "list", "--json").stdout)}


def test_the_command_reads_exif_and_reports_photos_without_a_position(cli, tmp_path):
    photo_at(tmp_path / "photos" / "a.jpg", -10.5, -20.25)
    for name in "bcdef":
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / f"{name}.png")
    added = cli("datasets", "add", "mine", "--images", tmp_path / "photos", "--exif")
    assert "mine: 1 image," in added.stdout
    assert "5 images without a position, not part of the set: b.png, c.png, d.png, …" in added.stderr
    assert get_dataset("mine").table("test").iloc[0].to_list() == ["a.jpg", -10.5, -20.25]


def test_the_command_accepts_only_one_kind_of_positions(cli, photos):
    images, metadata = photos(1)
    both = ["--exif", "--metadata", metadata]
    told = cli("datasets", "add", "mine", "--images", images, *both, exit_code=2)
    assert "give the positions in one way: --metadata CSV, or --exif" in told.output
    told = cli("datasets", "add", "mine", "--images", images, exit_code=1)
    assert "images contains no positions: give a CSV file as metadata, or exif to read them from" in told.output


def test_a_table_without_a_header_asks_for_the_numbers_of_its_columns(cli, photos, tmp_path):
    (tmp_path / "list.txt").write_text("1\t00000\t2.35\t48.85\n")
    where = ["--images", photos(1)[0], "--metadata", tmp_path / "list.txt", "--no-header"]
    told = cli("datasets", "add", "mine", *where, exit_code=1).stderr
    assert "which of its 4 columns, counted from 1, is the image: geobench datasets add NAME … --image-column" in told


def test_photos_that_no_store_reads_are_named_by_their_format(cli, tmp_path):
    (tmp_path / "none").mkdir()
    told = cli("datasets", "add", "mine", "--images", tmp_path / "none", "--exif", exit_code=1).stderr
    assert "none contains no readable photos" in told
    (tmp_path / "none" / "IMG_1.HEIC").write_bytes(b"heic")
    told = cli("datasets", "add", "mine", "--images", tmp_path / "none", "--exif", exit_code=1).stderr
    assert "IMG_1.HEIC are HEIC photos, which are not read; save them as JPEG" in told


def test_an_empty_list_of_names_is_refused(cli):
    told = cli("run", "--models", "knn", "--datasets", ",", exit_code=2).stderr
    assert "'--datasets': it contains no name; separate names by commas." in told


def test_the_command_refuses_a_name_clash_in_one_line(cli, photos):
    images, metadata = photos(1)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    told = cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, exit_code=1)
    assert told.stderr.startswith("Error: the name 'mine' is taken")
    assert told.stderr.count("\n") == 1
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--replace")


def test_a_set_with_a_broken_definition_can_be_replaced_or_removed(photos, own_home):
    images, metadata = photos(2)
    for mend in (lambda: add_dataset("mine", images, metadata, replace=True), lambda: remove_dataset("mine")):
        if not (own_home / "data" / "mine").exists():
            add_dataset("mine", images, metadata)
        (own_home / "data" / "mine" / "dataset.toml").write_text("name = ")
        with pytest.raises(DatasetError, match=r"its definition is broken: replace it: geobench datasets add"):
            add_dataset("mine", images, metadata)
        mend()
    assert not (own_home / "data" / "mine").exists()
    assert len(list(images.iterdir())) == 2


def test_the_command_accepts_an_archive_and_a_table_without_a_header(cli, photos, tmp_path):
    images, _ = photos(3)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for photo in images.iterdir():
            archive.write(photo, f"yfcc4k/{photo.name}")
    rows = [f"{number}\tphoto-{number}\t{10.5 + number}\t{-20 - number}\n" for number in range(3)]
    (tmp_path / "list.txt").write_text("".join(rows))
    where = ["--images", tmp_path / "photos.zip", "--metadata", tmp_path / "list.txt", "--no-header"]
    told = cli("datasets", "add", "vo", *where, "--image-column", "photo", exit_code=2)
    assert "a column is a number that counts from 1, not 'photo'" in told.output
    numbers = ["--image-column", 2, "--longitude-column", 3, "--latitude-column", 4]
    assert "vo: 3 images" in cli("datasets", "add", "vo", *where, *numbers).stdout
    dataset = get_dataset("vo")
    assert dataset.table("test").iloc[1].to_list()[:3] == ["photo-1", -21.0, 11.5]
    assert dataset.read_image("photo-1", "test").size == (60, 40)
    assert json.loads(cli("datasets", "show", "vo", "--json").stdout)


def test_the_commands_train_on_registered_shards(cli, photos, tmp_path, own_home):
    from webdataset import TarWriter

    images, metadata = photos(6)
    places = dict(zip(*read_table(metadata)[["image", "latitude"]].to_numpy().T, strict=True))
    with TarWriter(str(tmp_path / "street-000000.tar")) as shard:
        for name, latitude in places.items():
            about = json.dumps({"latitude": latitude, "longitude": 5.5}).encode()
            shard.write({"__key__": name[:-4], "jpg": (images / name).read_bytes(), "json": about})
    cli("datasets", "add", "street", "--images", tmp_path / "street-*.tar", "--encoder", "tiny")
    done = cli(
        "run",
        "--models",
        "knn",
        "--datasets",
        "street",
        "--galleries",
        "6",
        "--device",
        "cpu",
        "--no-train",
        exit_code=1,
    )
    assert "knn has no checkpoint" in done.output
    trained = cli("train", "knn", "--data", "street", "--device", "cpu")
    done = cli("run", "--models", trained.stdout.strip(), "--datasets", "street", "--galleries", "6", "--device", "cpu")
    assert "street" in done.stdout
    assert not list((own_home / "data" / "street").glob("*.csv"))  # the table lies with the list of the shards


def test_photos_in_formats_that_are_not_read_are_counted_by_add_and_check(cli, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        photo_at(tmp_path / "photos" / name, 48.85, 2.35)
    for name in ("c.HEIC", "d.dng"):
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    added = cli("datasets", "add", "mine", "--images", tmp_path / "photos", "--exif")
    assert "mine: 2 images" in added.stdout
    assert "2 images in a format that is not read, not part of the set" in added.stderr
    assert ": c.HEIC, d.dng\n" in added.stderr
    shown = cli("datasets", "check", "mine").stdout
    assert "2 images exist but are not listed (2 in an unsupported format such as HEIC)" in shown


def test_photos_in_a_zip_in_formats_that_are_not_read_are_counted(photos, tmp_path):
    images, metadata = photos(2)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(images.iterdir()):
            archive.write(path, path.name)
        archive.writestr("more/e.heif", b"no picture")
    assert add_dataset("mine", tmp_path / "photos.zip", metadata).unread == ["more/e.heif"]


def test_an_unknown_encoder_is_refused_before_anything_is_written(cli, photos, own_home):
    images, metadata = photos(2)
    where = ("--images", images, "--metadata", metadata)
    told = cli("datasets", "add", "mine", *where, "--encoder", "efficientnet_lite", exit_code=2).stderr
    assert "unknown encoder 'efficientnet_lite'; did you mean efficientnet_lite0?" in told
    assert not (own_home / "data" / "mine").exists()


def test_show_writes_splits_as_text(cli, photos):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    shown = cli("datasets", "show", "mine").stdout
    assert f"images {images}, metadata {metadata}" in shown
    assert "split all" in shown
    assert "{" not in shown


def test_a_column_that_disappears_later_is_named_with_the_command_that_registers_it(cli, photos):
    images, metadata = photos(2)
    add_dataset("mine", images, metadata)
    metadata.write_text(metadata.read_text().replace("latitude", "breite"))
    told = cli("datasets", "check", "mine", exit_code=1).stderr
    assert "geobench datasets add NAME … --latitude-column COLUMN (with --replace" in told
