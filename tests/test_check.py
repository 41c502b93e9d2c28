"""``datasets check``: images that are missing, damaged or listed twice, and implausible positions."""

import csv
import json
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from geobench import DatasetNotFoundError
from geobench.audits.check import check
from geobench.data.land import is_land, is_open_sea, sample_land
from geobench.data.registration import add_dataset
from geobench.data.tables.swapped import swap_evidence
from geobench.geo import sample_sphere


@pytest.fixture
def mine(photos):
    """Eight photos as the data set ``mine``; returns their folder and table."""
    images, metadata = photos(8)
    rows = [f"photo-{n}.jpg,{40 + n},{-100 + n}" for n in range(8)]
    metadata.write_text("\n".join(["image,latitude,longitude", *rows]) + "\n")
    add_dataset("mine", images, metadata, encoder="tiny")
    return images, metadata


def rewrite(metadata, **lines):
    """Replace lines of the table: ``line_3="a.jpg,1,2"``."""
    text = metadata.read_text().splitlines()
    for number, line in lines.items():
        text[int(number.removeprefix("line_")) - 1] = line
    metadata.write_text("\n".join(text) + "\n")


def found(**options):
    """Return the findings about ``mine`` by kind."""
    return {finding.kind: finding for finding in check("mine", workers=0, **options).findings}


def test_a_data_set_without_problems_shows_its_numbers_and_exits_with_0(cli, mine):
    done = cli("datasets", "check", "mine", "--workers", 0)
    assert "Nothing is wrong." in done.stdout
    record = json.loads(cli("datasets", "check", "mine", "--json", "--workers", 0).stdout)
    numbers = {name: record[name] for name in ("expected", "listed", "found", "readable", "scored")}
    assert numbers == dict.fromkeys(numbers, 8)
    assert record["ok"] is True and record["findings"] == []


def test_missing_and_unreadable_images_are_errors_and_count_as_misses(cli, mine):
    images, _ = mine
    (images / "photo-2.jpg").unlink()
    (images / "photo-4.jpg").write_bytes((images / "photo-4.jpg").read_bytes()[:700])
    (images / "photo-5.jpg").write_text("<html>gone</html>")
    result = check("mine", workers=0)
    assert (result.listed, result.found, result.readable, result.scored, result.ok) == (8, 7, 5, 8, False)
    findings = {finding.kind: finding for finding in result.findings}
    assert findings["missing"].items == ["photo-2.jpg"]
    assert [item.partition(":")[0] for item in findings["unreadable"].items] == ["photo-4.jpg", "photo-5.jpg"]
    shown = cli("datasets", "check", "mine", exit_code=1).stdout
    assert "WRONG  missing: 1 images are listed but missing; they count as misses" in shown


def test_quick_opens_no_image(mine):
    images, _ = mine
    (images / "photo-2.jpg").unlink()
    (images / "photo-4.jpg").write_bytes(b"")
    result = check("mine", quick=True)
    assert (result.found, result.readable) == (7, None)
    assert [finding.kind for finding in result.findings] == ["missing"]


def test_worker_processes_find_the_same_as_one_process(mine):
    images, _ = mine
    (images / "photo-4.jpg").write_bytes(b"")
    shutil.copy(images / "photo-1.jpg", images / "photo-6.jpg")
    assert check("mine", workers=2) == check("mine", workers=0)


def test_images_that_exist_but_are_not_listed_are_a_note(mine):
    images, _ = mine
    Image.new("RGB", (9, 9)).save(images / "more.png")
    (images / "below").mkdir()
    Image.new("RGB", (9, 9)).save(images / "below" / "photo-1.png")
    (images / "readme.txt").write_text("no image")
    result = check("mine", workers=0)
    (finding,) = result.findings
    assert (finding.kind, finding.is_error, finding.items, result.ok) == (
        "unlisted",
        False,
        ["more.png", "below/photo-1.png"],
        True,
    )


def test_files_of_the_same_bytes_are_a_note_unless_their_positions_differ(mine):
    images, metadata = mine
    for copy in (3, 5, 6):
        shutil.copy(images / f"photo-{copy % 3}.jpg", images / f"photo-{copy}.jpg")  # 3 and 6 of 0, 5 of 2
    rewrite(metadata, line_5="photo-3.jpg,40,-100", line_8="photo-6.jpg,40.001,-100")
    findings = found()
    assert list(findings) == ["same bytes, apart", "same bytes"]
    assert findings["same bytes"].items == ["photo-0.jpg = photo-3.jpg = photo-6.jpg"]
    assert findings["same bytes, apart"].items == ["photo-2.jpg = photo-5.jpg"]
    assert [finding.is_error for finding in findings.values()] == [True, False]


def test_one_photo_under_two_names_is_found(mine):
    images, metadata = mine
    (images / "45" / "77").mkdir(parents=True)
    for name, number in (("45/77/3228511372.jpg", 0), ("45_77_3228511372.jpg", 1)):
        shutil.move(images / f"photo-{number}.jpg", images / name)
    rewrite(metadata, line_2="45/77/3228511372.jpg,40,-100", line_3="45_77_3228511372.jpg,40,-100")
    assert found()["same id"].items == ["45/77/3228511372.jpg = 45_77_3228511372.jpg"]


def test_all_invalid_rows_are_reported_with_their_lines(cli, mine):
    _, metadata = mine
    rewrite(
        metadata,
        line_2="photo-0.jpg,95,10",
        line_4="photo-2.jpg,nan,10",
        line_5="photo-3.jpg,,",
        line_6="photo-1.jpg,41,-99",
        line_9="photo-7.jpg,1,inf",
    )
    result = check("mine", workers=0)
    findings = {finding.kind: finding for finding in result.findings}
    assert [item.partition(":")[0] for item in findings["coordinates"].items] == [
        "line 2",
        "line 4",
        "line 5",
        "line 9",
    ]
    assert findings["repeated"].items == ["line 6: image 'photo-1.jpg' is already listed on line 3"]
    assert (result.listed, result.found, result.readable, result.scored) == (8, 3, 3, 0)
    done = cli("datasets", "check", "mine", "--output", "problems.csv", exit_code=1)
    assert "a run refuses the table" in done.stdout
    with Path("problems.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["kind"] == "coordinates" for row in rows) == 4 and rows[0]["is_error"] == "True"


def test_a_table_without_valid_rows_is_checked_nevertheless(mine):
    _, metadata = mine
    metadata.write_text("image,latitude,longitude\n" + "".join(f"photo-{n}.jpg,,\n" for n in range(8)))
    result = check("mine", workers=0)
    assert (result.listed, result.found, result.scored, len(result.coordinates)) == (8, 0, 0, 0)
    assert [finding.kind for finding in result.findings] == ["coordinates", "unlisted"]


def test_images_at_0_0_are_errors_and_many_at_one_place_are_a_note(photos):
    images, metadata = photos(30)
    lines = metadata.read_text().splitlines()
    lines[1:4] = [f"photo-{n}.jpg,{zero},0" for n, zero in enumerate(("0", "-0.0", "0.00000001"))]
    lines[5:20] = [f"photo-{n}.jpg,48.85,2.35" for n in range(4, 19)]
    metadata.write_text("\n".join(lines) + "\n")
    add_dataset("mine", images, metadata)
    findings = found()
    assert findings["zero"].is_error and findings["zero"].items == [f"line {n + 2}: photo-{n}.jpg" for n in range(3)]
    assert not findings["in bulk"].is_error and findings["in bulk"].items == ["15 at 48.85, 2.35"]


def test_a_set_whose_size_differs_from_what_its_authors_state_is_reported(mine):
    _, metadata = mine
    with metadata.open("a") as file:
        file.write("photo-8.jpg,1,2\n")
    assert found()["count"].text.startswith("9 images are listed but its authors state 8")


def cities(n, seed=0):
    """Return n coordinates distributed like photos: on land, most in a few places, some just off the coast."""
    rng = np.random.default_rng(seed)
    centres = sample_land(40, rng, -50, 70)
    return centres[rng.choice(40, n)] + rng.normal(0, 0.2, (n, 2))


@pytest.mark.parametrize("n", [60, 300, 3000])
def test_swapped_headers_are_detected_and_correct_ones_are_not(n):
    right = cities(n)
    right = right[np.abs(right[:, 1]) <= 90]  # rows that are all valid either way round
    assert swap_evidence(right) == ""
    evidence = swap_evidence(right[:, ::-1])
    assert "latitude and longitude look swapped: swap their names in the header" in evidence


@pytest.mark.parametrize(
    "right",
    [
        sample_sphere(2000, np.random.default_rng(1)),  # two thirds at sea, either way round
        np.array([[4.17, 73.51]]) + np.random.default_rng(2).normal(0, 0.02, (200, 2)),  # Malé: at sea in the mask
        np.array([[21.3, -157.86], [-17.53, -149.57], [64.15, -21.94], [-27.11, -109.35]]).repeat(50, axis=0),
        np.array([[0.0, 0.0]]).repeat(100, axis=0),
        np.random.default_rng(3).uniform((-10, 60), (5, 90), (300, 2)),  # ships in the Indian Ocean; Norway, swapped
        np.empty((0, 2)),
        np.array([[51.5, -0.1], [10.0, -40.0]]),  # one ship is no evidence
    ],
)
def test_the_swap_detector_raises_no_false_alarm(right):
    assert swap_evidence(right) == ""


@pytest.mark.parametrize("header", ["IMG_ID,AUTHOR,LAT,LON", "IMG_ID,AUTHOR,LON,LAT"])
def test_a_file_with_swapped_headers_is_reported_and_the_correct_one_is_not(cli, own_home, header):
    folder = own_home / "data" / "im2gps"
    (folder / "images").mkdir(parents=True)
    rows = [f"{n}.jpg,{n}@N00,{latitude:.6f},{longitude:.6f}" for n, (latitude, longitude) in enumerate(cities(237))]
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    record = json.loads(cli("datasets", "check", "im2gps", "--quick", "--json", exit_code=1).stdout)
    kinds = {finding["kind"] for finding in record["findings"]} - {"in bulk", "missing"}
    assert kinds == ({"swapped", "coordinates"} if header.endswith("LAT") else set())
    assert (record["listed"], record["scored"]) == (237, 0 if kinds else 237)


def test_a_swapped_file_without_valid_rows_is_reported_too(mine):
    _, metadata = mine
    lines = [f"photo-{n}.jpg,{-100 - n},{40 + n}" for n in range(8)]
    metadata.write_text("image,latitude,longitude\n" + "\n".join(lines) + "\n")
    assert "swap their names" in found()["swapped"].text


def test_islands_and_shores_are_not_open_sea():
    honolulu_mahe_bermuda_bahrain = np.array([[21.3, -157.86], [-4.62, 55.45], [32.3, -64.78], [26.2, 50.6]])
    mid_ocean = np.array([[0.0, -30.0], [-40.0, -180.0], [-40.0, 170.0], [40.0, 179.99], [85.0, 0.0]])
    assert not is_open_sea(honolulu_mahe_bermuda_bahrain).any()
    assert is_open_sea(mid_ocean).tolist() == [True, True, True, True, True]
    land = sample_land(2000, np.random.default_rng(0))
    assert is_land(land).all() and is_open_sea(land).mean() < 0.01


def test_the_images_of_an_archive_are_checked_in_place(photos, own_home):
    images, metadata = photos(5, own_home / "a")
    with ZipFile(own_home / "photos.zip", "w") as archive:
        for path in sorted(images.iterdir())[:4]:
            archive.write(path, f"images/{path.name}")
        archive.writestr("images/more.jpg", b"no image")
    add_dataset("mine", own_home / "photos.zip", metadata)
    result = check("mine", workers=0)
    assert (result.found, result.readable) == (4, 4)
    assert {finding.kind: finding.items for finding in result.findings if finding.kind != "at sea"} == {
        "missing": ["photo-4.jpg"],
        "unlisted": ["images/more.jpg"],
    }


def test_images_that_are_cut_on_the_fly_pass(cli):
    result = check("shadedrelief", quick=True)
    assert (result.ok, result.found) == (True, result.listed)


def test_the_map_shows_where_the_images_are(cli, mine):
    assert "wrote where.png" in cli("datasets", "check", "mine", "--map", "where.png", "--quick").stderr
    with Image.open("where.png") as picture:
        assert picture.width > 1000
    cli("datasets", "check", "mine", "--map", "where.gif", exit_code=2)


def test_a_set_that_is_not_on_this_machine_is_a_one_line_error(cli):
    with pytest.raises(DatasetNotFoundError):
        check("im2gps3k")
    assert "Status: available" in cli("datasets", "check", "im2gps3k", exit_code=1).output
    assert "unknown data set" in cli("datasets", "check", "im2gps3", exit_code=2).output
