"""The leakage audit, on real images: every planted leak is found, and nothing else."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geobench import FeatureError, get_dataset
from geobench.audits import near_pairs as search_of_pairs
from geobench.audits.fingerprints import FEATURELESS, OK, UNREADABLE, fingerprint, fingerprints
from geobench.audits.leakage import audit
from geobench.audits.near_pairs import near_pairs
from geobench.audits.overlap import photo_ids, same_photographer, twins
from geobench.audits.subsets import Subset, get_subsets, score_subset
from geobench.data.raster import RasterDataset
from geobench.data.registration import add_dataset
from geobench.data.tables.photographers import photographers
from geobench.geo import unit_vectors
from geobench.progress import SILENT
from geobench.results import load_result, read_results

N = 60  # images on each side, of places that are at least 600 km apart
EACH = 10  # planted leaks of each kind
KINDS = ("photographer", "id", "coordinate", "twin")


def far_apart(coordinates, km):
    """Return rows of ``coordinates``, chosen greedily so that none is near an earlier one."""
    vectors, kept = unit_vectors(coordinates), []
    for row, vector in enumerate(vectors):
        if not kept or (vectors[kept] @ vector).max() < np.cos(km / 6371):
            kept.append(row)
    return kept


@pytest.fixture(scope="module")
def pictures():
    """Real images of different places: crops of Blue Marble, 128 pixels."""
    dataset = RasterDataset("crops", "Crops", splits={"all": {"count": 3000, "seed": 5}}, crop_pixels=128)
    table = dataset.table("test")
    rows = far_apart(table[["latitude", "longitude"]].to_numpy(), 600)[: 2 * N]
    assert len(rows) == 2 * N
    return [(dataset.read_image(table["image"][row], "test"), *table.iloc[row, 1:3]) for row in rows]


def reencode(image):
    return image


def shrink(image):
    return image.resize((70, 70), Image.Resampling.BICUBIC)


def cut(image):
    return image.crop((2, 2, 126, 126))


TWINS = (reencode, shrink, cut)


@pytest.fixture
def planted(pictures, own_home):
    """The data sets ``exam`` and ``lessons``; returns the planted pairs of each kind."""
    ours = [[f"exam-{n}.jpg", f"e{n}@N01", *pictures[n][1:], pictures[n][0]] for n in range(N)]
    theirs = [[f"{n % 7}/lesson-{n}.jpg", f"t{n}@N02", *pictures[N + n][1:], pictures[N + n][0]] for n in range(N)]
    pairs = {kind: [] for kind in KINDS}
    for n in range(EACH):
        photographer, same_id, place, twin = n, EACH + n, 2 * EACH + n, 3 * EACH + n
        ours[photographer][1] = theirs[photographer][1]
        ids = [f"45_7f_30000000{n:02}.png", f"30000000{n:02}_0a1b2c3d4e_1125_{n}@N00.jpg", f"30000000{n:02}.webp"]
        ours[same_id][0], theirs[same_id][0] = ids[n % 3], f"45/7f/30000000{n:02}.jpg"
        ours[place][2:4] = theirs[place][2:4] = [40.445379, 11.0 + n] if n < 5 else theirs[place][2:4]
        ours[place][2] = 40.445378999999996 if n < 5 else ours[place][2]
        ours[twin][4] = TWINS[n % 3](theirs[twin][4])
        for kind, row in zip(KINDS, (photographer, same_id, place, twin), strict=True):
            pairs[kind].append((ours[row][0], theirs[row][0]))
    for name, rows, quality in (("exam", ours, 60), ("lessons", theirs, 92)):
        folder = own_home / "photos" / name
        for image, *_, picture in rows:
            path = folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, **({"quality": quality} if path.suffix == ".jpg" else {}))
        table = pd.DataFrame([row[:4] for row in rows], columns=["IMG_ID", "AUTHOR", "LAT", "LON"])
        table.to_csv(own_home / f"{name}.csv", index=False)
        add_dataset(name, folder, own_home / f"{name}.csv", encoder="tiny")
    return pairs


def read_pairs(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_forty_planted_leaks_are_found_and_no_others(cli, planted):
    done = cli("datasets", "audit", "exam", "--against", "lessons", "--output", "leaks.csv", "--json", "--workers", 0)
    found = read_pairs("leaks.csv")
    for kind in KINDS:
        of_kind = [(row["test_image"], row["training_image"]) for row in found if row["kind"] == kind]
        assert sorted(of_kind) == sorted(planted[kind])
    assert len(found) == 4 * EACH
    rows = {row["kind"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [*KINDS, "any"]
    assert all((rows[k]["pairs"], rows[k]["test_images"], rows[k]["training_images"]) == (10, 10, 10) for k in KINDS)
    assert (rows["any"]["pairs"], rows["any"]["test_images"]) == (40, 40)
    assert rows["any"]["test_share"] == pytest.approx(40 / 60)
    assert "clean: 20 of 60 images that share no photographer, id, coordinate, twin with lessons" in done.stderr


def test_what_is_shared_is_listed_pair_by_pair(planted):
    leaks = audit("exam", "lessons", workers=0)
    shared = {kind: [text for found, _, _, text in leaks.pairs() if found == kind] for kind in KINDS}
    assert shared["photographer"] == [f"t{n}@N02" for n in range(EACH)]
    assert shared["id"] == [f"30000000{n:02}" for n in range(EACH)]
    assert shared["coordinate"][0] == "40.445378999999996 11.0"
    assert all(int(text.removesuffix(" bits apart")) <= 16 for text in shared["twin"])


def test_only_the_requested_kinds_count(planted):
    leaks = audit("exam", "lessons", kinds=["twin", "id"], workers=0)
    assert list(leaks.matches) == ["id", "twin"]
    clean = leaks.clean()
    assert (len(clean.kept), len(clean.left_out), clean.kinds) == (40, 20, ("id", "twin"))
    assert set(clean.left_out) == {ours for kind in ("id", "twin") for ours, _ in planted[kind]}


def test_a_smaller_distance_finds_a_subset_of_the_twins(planted):
    strict, usual = (audit("exam", "lessons", kinds=["twin"], distance=d, workers=0) for d in (2, 16))
    assert not (strict.leaking & ~usual.leaking).any()
    assert 0 < strict.leaking.sum() < usual.leaking.sum() == EACH


def test_fingerprints_are_cached_and_recomputed_if_an_image_changes(planted, own_home):
    exam = get_dataset("exam")
    table = exam.table("test")
    first = fingerprints(exam, table, "test", workers=0)
    (kept,) = (own_home / "fingerprints").glob("*.npy")
    stamp = kept.stat().st_ino
    np.testing.assert_array_equal(fingerprints(exam, table, "test", workers=0), first)
    assert kept.stat().st_ino == stamp
    image = own_home / "photos" / "exam" / "exam-50.jpg"
    Image.open(image).rotate(180).save(image)
    changed = (fingerprints(exam, table, "test", workers=0) != first).any(axis=1)
    assert table["image"][changed].tolist() == ["exam-50.jpg"]


def test_damaged_fingerprints_are_named(planted, own_home):
    exam = get_dataset("exam")
    fingerprints(exam, exam.table("test"), "test", workers=0)
    (kept,) = (own_home / "fingerprints").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-5])
    with pytest.raises(FeatureError, match=r"fingerprints are damaged .*; delete the file"):
        fingerprints(exam, exam.table("test"), "test", workers=0)


def test_worker_processes_give_the_same_fingerprints_as_one_process(planted, own_home):
    exam = get_dataset("exam")
    table = exam.table("test").head(20)
    alone = fingerprints(exam, table, "test", workers=0)
    for path in (own_home / "fingerprints").glob("*.npy"):
        path.unlink()
    np.testing.assert_array_equal(fingerprints(exam, table, "test", workers=2), alone)


def test_unreadable_and_featureless_images_are_reported_and_are_not_twins(cli, photos):
    images, metadata = photos(6)
    (images / "photo-0.jpg").write_bytes(b"")
    (images / "photo-1.jpg").unlink()
    for n in (2, 3):
        Image.new("RGB", (50, 50), (200, 200, 200)).save(images / f"photo-{n}.jpg")
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    mine = get_dataset("mine")
    statuses = [fingerprint(mine, "test", f"photo-{n}.jpg")[2] for n in range(5)]
    assert statuses == [UNREADABLE, UNREADABLE, FEATURELESS, FEATURELESS, OK]
    done = cli("datasets", "audit", "mine", "--against", "mine", "--kinds", "twin", "--json", "--workers", 0)
    assert json.loads(done.stdout)[0]["pairs"] == 2
    assert "twin: not checked for 4 test images of mine and 4 train images of mine: unreadable or" in done.stderr


def test_an_unreadable_image_is_not_clean_and_not_a_leak(cli, photos, tmp_path):
    images, metadata = photos(6, tmp_path / "test")
    (images / "photo-0.jpg").write_bytes(b"")
    others, other_table = photos(3, tmp_path / "training", seed=1)
    for number in range(3):
        (others / f"photo-{number}.jpg").rename(others / f"other-{number}.jpg")
    other_table.write_text(other_table.read_text().replace("photo-", "other-"))
    cli("datasets", "add", "exam", "--images", images, "--metadata", metadata)
    cli("datasets", "add", "lesson", "--images", others, "--metadata", other_table)
    done = cli("datasets", "audit", "exam", "--against", "lesson", "--workers", 0, "--json")
    assert json.loads(done.stdout)[-1]["test_images"] == 0
    assert "clean: 5 of 6 images that share no id, coordinate, twin with lesson; 1 unreadable" in done.stderr
    (subset,) = get_subsets("exam", "clean")
    assert (subset.left_out, subset.unreadable) == (("photo-0.jpg",), ("photo-0.jpg",))


def test_a_set_that_does_not_name_photographers_is_reported_and_not_called_clean_of_them(cli, photos):
    images, metadata = photos(4)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    done = cli("datasets", "audit", "mine", "--against", "mine", "--workers", 0)
    assert "photographer: not checked, a data set does not name photographers (a column author" in done.stderr
    assert "share no id, coordinate, twin with mine" in done.stderr
    assert "photographer" not in done.stdout
    arguments = ("datasets", "audit", "mine", "--against", "mine", "--kinds", "photographer,id")
    assert "Error: photographer: not checked" in cli(*arguments, exit_code=1).stderr


def test_without_the_images_everything_except_twins_is_checked(cli, own_home, photos):
    images, metadata = photos(4)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    (own_home / "data" / "im2gps").mkdir()
    (own_home / "data" / "im2gps" / "metadata.csv").write_text(metadata.read_text())
    done = cli("datasets", "audit", "mine", "--against", "im2gps", "--json")
    assert [row["kind"] for row in json.loads(done.stdout)] == ["id", "coordinate", "any"]
    assert "twin: not checked. im2gps is not on this machine: looked for" in done.stderr
    output = cli("datasets", "audit", "mine", "--against", "im2gps", "--kinds", "twin", exit_code=1).stderr
    assert "Error: twin: not checked. im2gps is not on this machine" in output
    assert (
        "Error: im2gps3k is not on this machine"
        in cli("datasets", "audit", "mine", "--against", "im2gps3k", exit_code=1).stderr
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["45/77/3228511372.jpg", "45_77_3228511372.jpg", "45\\77\\3228511372", "3228511372.PNG"], "3228511372"),
        (["1000269685_e60e9cdfb4_1125_78841376@N00.jpg", "1000269685", "1000269685_e60e9cdfb4_o.jpg"], "1000269685"),
        (["a/b.c/photo 1.jpg", "a_b.c_photo 1.jpeg", "/a/b.c/photo 1"], "a_b.c_photo 1"),
        (["IMG_2041.JPG", "IMG_2041.tiff"], "IMG_2041"),
        (["12_34.jpg"], "12_34"),
    ],
)
def test_names_of_the_same_photo_give_one_id(names, expected):
    assert set(photo_ids(pd.Series(names))) == {expected}


def test_photographers_come_from_a_column_or_from_flickr_file_names():
    named = pd.DataFrame({"image": ["a", "b"], "Author": [" 1@N00", "2%40N01"]})
    assert list(photographers(named)) == ["1@N00", "2@N01"]
    broken = pd.DataFrame({"AUTHOR": ["9f05b2251e_1292_8504005@N07", "8504005@N07", "someone_else"]})
    assert list(photographers(broken)) == ["8504005@N07", "8504005@N07", "someone_else"]
    flickr = pd.DataFrame({"image": ["10_ab_1_78841376@N00.jpg", "holiday.jpg"]})
    assert list(photographers(flickr)) == ["78841376@N00", ""]
    assert photographers(pd.DataFrame({"image": ["holiday.jpg"]})) is None


def test_images_without_a_photographer_share_none():
    ours, theirs = (
        pd.DataFrame({"image": list("abc"), "author": authors}) for authors in (["", "x", "y"], ["", "", "x"])
    )
    found = same_photographer(ours, theirs)
    assert list(found.pairs()) == [(1, 2, "x")]
    assert (list(found.counts), list(found.training_images)) == ([0, 1, 0], [2])


def random_fingerprints(n, seed):
    found = np.random.default_rng(seed).integers(0, 2**63, (n, 3), dtype=np.uint64)
    found[:, 2] = OK
    return found


def test_twins_agree_with_a_bitwise_comparison():
    ours, theirs = random_fingerprints(70, 0), random_fingerprints(5000, 1)
    rng = np.random.default_rng(2)
    for flips in range(1, 30):  # a copy of ours[flips] with this many bits flipped
        bits = np.unpackbits(ours[flips, :2].view(np.uint8))
        bits[rng.choice(128, flips, replace=False)] ^= 1
        theirs[100 * flips, :2] = np.packbits(bits).view(np.uint64)
    theirs[4990] = theirs[100]  # a duplicate fingerprint
    ours[60] = ours[1]
    ours[61, 2] = theirs[200, 2] = UNREADABLE
    a, b = (np.unpackbits(side[:, :2].copy().view(np.uint8), axis=1).astype(int) for side in (ours, theirs))
    apart = (a[:, None] != b[None]).sum(axis=2)
    apart[61], apart[:, 200] = 128, 128
    expected = {
        (row, other, f"{apart[row, other]} bits apart") for row, other in zip(*np.nonzero(apart <= 16), strict=True)
    }
    found = twins(ours, theirs, 16, "twins", SILENT)
    assert [pair[:2] for pair in found.pairs()] == sorted(pair[:2] for pair in expected)
    assert set(found.pairs()) == expected and len(list(found.pairs())) == len(expected) == 15 + 3
    assert list(found.counts) == list((apart <= 16).sum(axis=1))


@pytest.mark.parametrize(("parts", "distance"), [(6, 16), (7, 5), (8, 16), (8, 7), (13, 30), (16, 0)])
def test_a_search_by_parts_finds_what_comparing_each_with_each_does_and_nothing_twice(parts, distance, monkeypatch):
    monkeypatch.setattr(search_of_pairs, "CANDIDATES", 50)
    monkeypatch.setattr(search_of_pairs, "LOOKED_UP", 5000)
    rng = np.random.default_rng(parts)
    ours, theirs = random_fingerprints(200, 0), random_fingerprints(3000, 1)
    for row in range(2000):  # copies with up to twice as many bits flipped, spread or side by side
        flips = rng.integers(0, 2 * distance + 2)
        bits = np.unpackbits(ours[row % 200, :2].view(np.uint8), bitorder="little")
        where = rng.choice(128, flips, replace=False) if row % 2 else (rng.integers(128) + np.arange(flips)) % 128
        bits[where] ^= 1
        theirs[row, :2] = np.packbits(bits, bitorder="little").view(np.uint64)
    counted = []
    found, expected = [], []
    for pairs in search_of_pairs._by_parts(ours, theirs, distance, parts, counted.append):
        found += zip(*(each.tolist() for each in pairs), strict=True)
    for pairs in search_of_pairs._each(ours, theirs, distance, lambda n: None):
        expected += zip(*(each.tolist() for each in pairs), strict=True)
    assert len(expected) > 500 and sorted(found) == sorted(expected)
    assert sum(counted) == 3000


def test_a_search_by_parts_is_chosen_where_it_is_the_faster_one():
    chosen = search_of_pairs._parts
    assert [chosen(2, 1000, 16), chosen(3000, 1000, 16), chosen(3000, 1_000_000, 50)] == [0, 0, 0]
    assert chosen(3000, 1_000_000, 16) == 7 and chosen(4_700_000, 4_700_000, 16) == 6


def test_three_thousand_against_a_million_needs_little_memory():
    from geobench.devices import peak_memory_mb

    ours, theirs = random_fingerprints(100, 0), random_fingerprints(300_000, 1)
    before = peak_memory_mb()
    assert not list(near_pairs(ours, theirs, 16, lambda n: None))
    assert peak_memory_mb() - before < 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "nope"), "unknown data set 'nope'"),
        (("--against", "bluemarble", "--kinds", "twins"), "unknown kind of leak 'twins'; did you mean twin?"),
        (("--against", "bluemarble", "--distance", "64"), "distance must be a number of bits from 0 to 63, not 64"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(cli, arguments, message):
    assert message in cli("datasets", "audit", "bluemarble", *arguments, exit_code=2).output


def test_a_subset_is_another_result_which_depends_on_its_images(make_result):
    result = make_result((0.0, 1.0, 10.0, None))
    names = tuple(result.names)

    def part(*kept):
        left_out = tuple(name for name in names if name not in kept)
        return score_subset(result, Subset("clean", "mine", "theirs", ("id",), 0, "2026", kept, left_out), None)

    first, other = part(*names[:2]), part(*names[1:3])
    assert len({result.key, first.key, other.key, part(*names).key}) == 4
    assert first.key == part(*names[:2]).key
    assert (first.subset, first.n, first.scores["acc_1km"], other.scores["acc_1km"]) == ("clean", 2, 50.0, 0.0)
    assert read_results(first.save().parent)[0] == [first], "it is read back with its key"
    old = score_subset(make_result(key="a" * 16), Subset("clean", "mine", "theirs", ("id",), 0, "", names, ()), None)
    assert old.key != "a" * 16 and load_result(old.save()).key == old.key
