import csv

import numpy as np
import pytest
from PIL import Image
from test_registration import photo_at

from geobench import DatasetError, SettingError, UnknownNameError, get_dataset
from geobench.data.registration import add_dataset
from geobench.data.splitting import split_dataset
from geobench.geo import nearest_km

TOWNS = [(48.85, 2.35), (40.7, -74.0), (-33.85, 151.2), (35.68, 139.7), (-22.9, -43.2), (51.5, -0.12)]


@pytest.fixture
def towns(tmp_path):
    """Return a function that registers 30 photos as ``mine``: 5 in each of 6 towns, some metres apart, by 3 people."""

    def make(order=1, encoder="tiny", **changes):
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        rng, rows = np.random.default_rng(0), []
        for number in range(30):
            name, (latitude, longitude) = f"{number:02}.png", TOWNS[number % 6]
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / name)
            rows.append([name, latitude + number / 100_000, longitude, ["Ann", "Ben", "Cem"][number % 3]])
        rows = [changes.get(row[0], row) for row in rows][::order]
        with (tmp_path / "photos.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "latitude", "longitude", "author"), *rows])
        return add_dataset("mine", folder, tmp_path / "photos.csv", encoder=encoder, replace=True)

    return make


def sides(name="mine-split"):
    """Return the tables of both sides."""
    return [get_dataset(name).table(purpose) for purpose in ("train", "test")]


def test_every_image_is_on_one_side_and_no_place_on_both(towns):
    towns()
    made = split_dataset("mine", 0.2)
    train, test = sides()
    assert (made.train, made.test, made.groups) == (25, 5, 6) == (len(train), len(test), 6)
    assert not set(train["image"]) & set(test["image"])
    assert made.nearest_km.min() > 300
    positions = [table[["latitude", "longitude"]].to_numpy() for table in (test, train)]
    assert made.nearest_km == pytest.approx(nearest_km(*positions))


def test_no_value_of_a_column_is_on_both_sides(towns):
    towns()
    split_dataset("mine", 0.34, by=["author"])
    train, test = sides()
    assert len(test) == 10
    assert not set(train["author"]) & set(test["author"])


def test_images_of_one_group_by_any_rule_stay_together(towns):
    towns(**{"00.png": ["00.png", *TOWNS[0], "Zoe"], "01.png": ["01.png", *TOWNS[1], "Zoe"]})
    assert split_dataset("mine", by=["distance"]).groups == 6
    # Each author has two of the towns, and Zoe links two of these pairs.
    assert split_dataset("mine", by=["distance", "author"], replace=True).groups == 2
    train, test = sides()
    assert not set(train["author"]) & set(test["author"])


def test_images_without_an_author_stay_together_and_are_counted(towns):
    towns(**{f"{n:02}.png": [f"{n:02}.png", n * 3, n * 3, who] for n, who in enumerate(("", "unknown", "N/A", "-"))})
    made = split_dataset("mine", 0.4, by=["author"])
    assert made.groups == 4
    assert any("4 images have no author" in note for note in made.notes)


def test_copies_of_one_file_stay_together_whatever_their_positions(towns, tmp_path):
    towns()
    (tmp_path / "photos" / "01.png").write_bytes((tmp_path / "photos" / "00.png").read_bytes())
    assert split_dataset("mine").groups == 5


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_table(towns):
    towns()
    drawn = []
    for seed in (0, 0, 1, 2, 3):
        split_dataset("mine", seed=seed, replace=True)
        drawn.append(frozenset(sides()[1]["image"]))
    towns(order=-1)
    split_dataset("mine", replace=True)
    assert drawn[0] == drawn[1] == set(sides()[1]["image"])
    assert len(set(drawn)) > 1


def test_a_chain_is_one_place_by_distance_and_several_clusters(tmp_path, towns):
    towns(**{f"{n:02}.png": [f"{n:02}.png", 0.0, n * 0.1, "Ann"] for n in range(30)})  # 11 km apart
    with pytest.raises(DatasetError, match=r"all 30 images belong together .* smaller distance"):
        split_dataset("mine", km=12)
    made = split_dataset("mine", by=["cluster"], km=25)
    assert 6 <= made.groups <= 15


def test_names_and_columns_survive_whatever_they_are_called(tmp_path, photos):
    images, _ = photos(4)
    for number, name in enumerate((" a.jpg", "12E3.jpg", "007.jpg", "b.jpg")):
        (images / f"photo-{number}.jpg").rename(images / name)
    metadata = tmp_path / "table.csv"
    metadata.write_text("Photo,lat,lon,image,IMAGE\n12E3.jpg,1,2,x,1\n007.jpg,20,30,y,1\nb.jpg,-40,50,z,1\n")
    add_dataset("mine", images, metadata, columns={"image": "Photo"}, encoder="tiny")
    split_dataset("mine", 0.3)
    train, test = sides()
    assert sorted([*train["image"], *test["image"]]) == ["007.jpg", "12E3.jpg", "b.jpg"]
    assert get_dataset("mine-split").read_image(test["image"][0], "test").size == (60, 40)


def test_blanks_at_the_beginning_of_a_file_name_survive(tmp_path):
    for number, name in enumerate((" a.jpg", "b.jpg", " c.jpg")):
        photo_at(tmp_path / "photos" / name, 10 * number, 20)
    add_dataset("mine", tmp_path / "photos", exif=True, encoder="tiny")
    split_dataset("mine", 0.3)
    assert {name for table in sides() for name in table["image"]} == {" a.jpg", "b.jpg", " c.jpg"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"test": 20.0}, SettingError, "share of the images between 0 and 1"),
        ({"by": ["photographer"]}, UnknownNameError, "unknown column or way to divide 'photographer'"),
        ({"by": ["author"], "km": 2.0}, SettingError, "km must be a distance above 0 for by=distance or cluster"),
        ({"new_name": "mine"}, DatasetError, "the name 'mine' is taken"),
    ],
)
def test_what_cannot_be_divided_is_one_line(towns, changes, error, message):
    towns()
    with pytest.raises(error, match=message):
        split_dataset("mine", **changes)


def test_sets_with_splits_or_without_files_are_not_divided(towns):
    towns()
    split_dataset("mine")
    with pytest.raises(DatasetError, match=r"replace it: geobench datasets split mine .* --name"):
        split_dataset("mine")
    with pytest.raises(DatasetError, match="already has splits: train, test"):
        split_dataset("mine-split", new_name="again")
    with pytest.raises(DatasetError, match="it makes its images"):
        split_dataset("bluemarble", new_name="again")


def test_a_divided_set_is_trained_and_tested_on_and_never_on_its_own_images(cli, towns):
    towns()
    said = cli("datasets", "split", "mine")
    assert "25 images to train on, 5 to test on (16.7 %)" in said.output
    assert "0 within 25 km" in said.output
    assert "geobench train knn --data mine-split" in said.output
    assert "a photographer may be on both sides".capitalize() in said.output
    cli("train", "knn", "--data", "mine-split", "--device", "cpu")
    cli("run", "--models", "knn@mine-split", "--datasets", "mine-split", "--device", "cpu", "--workers", "0")
    (row,) = csv.DictReader(cli("report", "--format", "csv").output.splitlines())
    assert (row["n"], row["model"]) == ("5", "knn")


def test_add_takes_a_table_to_train_on_and_one_to_test_on(cli, photos, tmp_path):
    images, metadata = photos(6)
    head, *rows = metadata.read_text().splitlines()
    for name, part in (("train", rows[:4]), ("test", rows[4:]), ("both", rows[3:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *part]) + "\n")
    common = ("datasets", "add", "mine", "--images", images, "--encoder", "tiny", "--train", tmp_path / "train.csv")
    said = cli(*common, "--test", tmp_path / "test.csv")
    assert "6 images, 4 to train on and 2 to test on" in said.output
    assert [len(table) for table in sides("mine")] == [4, 2]
    assert "give two tables" in cli(*common, exit_code=2).output

    said = cli(*common, "--test", tmp_path / "both.csv", "--replace", exit_code=1)
    assert "1 images are in both tables, to train and to test on, such as 'photo-3.jpg'" in said.output
    said = cli(*common, "--test", tmp_path / "both.csv", "--replace", "--skip-bad")
    assert "1 row left out" in said.output
    assert [len(table) for table in sides("mine")] == [3, 3]


def test_bad_rows_are_an_error_or_left_out_counted_and_reported_by_check(cli, photos):
    images, metadata = photos(6)
    metadata.write_text(metadata.read_text() + "photo-0.jpg,1,2\nx.jpg,91,0\nphoto-1,3,4\n")
    add = ("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    assert "--skip-bad" in cli(*add, exit_code=1).output
    said = cli(*add, "--skip-bad").output
    assert "mine: 6 images" in said
    assert "3 rows left out" in said
    assert "line 8: image 'photo-0.jpg' is already listed on line 2" in said
    assert "photo-1: " in said
    assert len(get_dataset("mine").table("test")) == 6
    found = cli("datasets", "check", "mine", exit_code=1).output  # made-up positions are at sea
    assert "3 rows or files were left out when the set was added" in found
    assert "line 9" in found


def test_a_table_that_is_misread_as_a_whole_is_not_taken_for_bad_rows(photos):
    images, metadata = photos(6)
    rows = [f"photo-{n}.jpg,{longitude},10" for n, longitude in enumerate((5, 20, 30, 40, 120, -130))]
    metadata.write_text("\n".join(["image,latitude,longitude", *rows]))
    with pytest.raises(DatasetError, match=r"look swapped.* They are not left out"):
        add_dataset("mine", images, metadata, skip_bad=True, encoder="tiny")
    rows = [f"photo-{n}.jpg,{'?' if n > 1 else n},10" for n in range(6)]
    metadata.write_text("\n".join(["image,latitude,longitude", *rows]))
    with pytest.raises(DatasetError, match=r"4 of 6 rows cannot be used.* They are not left out"):
        add_dataset("mine", images, metadata, skip_bad=True, encoder="tiny")


def test_add_says_which_encoder_will_be_asked_for_and_whether_it_is_here(cli, photos):
    images, metadata = photos(3)
    add = ("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--replace")
    assert "Encoder: tiny, whose weights are here" in cli(*add, "--encoder", "tiny").output
    said = cli(*add, "--encoder", "ViT-S-32-alt/none.pt").output
    assert "whose weights are not on this machine" in said
    assert "--encoder efficientnet_lite0" in said
