"""Names in a table and on disk: spelled otherwise by another system, in another case, or like a rounded number."""

import csv
import io
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geobench import DatasetError, get_dataset
from geobench.data.registration import add_dataset
from geobench.data.stores.names import CASE, EXACT, OTHER, SAME, TAIL, WHOLE, fit
from geobench.published.matching import match_ids

CAFE = "café/Zoë.jpg"
NFC, NFD = (unicodedata.normalize(form, CAFE) for form in ("NFC", "NFD"))
HANGUL = [unicodedata.normalize(form, "서울.jpg") for form in ("NFC", "NFD")]


def jpeg(number):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 40 * number + 20, dtype=np.uint8)).save(buffer, "jpeg")
    return buffer.getvalue()


def folder(root, names):
    for number, name in enumerate(names):
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return root / "photos"


def zipped(root, names):
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, jpeg(number))
    return root / "photos.zip"


def tarred(root, names):
    with tarfile.open(root / "photos.tar", "w") as archive:
        for number, name in enumerate(names):
            member, content = tarfile.TarInfo(name), jpeg(number)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return root / "photos.tar"


def parquet(root, names):
    table = pa.table({"id": list(names), "image": [jpeg(number) for number in range(len(names))]})
    pq.write_table(table, root / "photos.parquet")
    return root / "photos.parquet"


@dataclass(frozen=True)
class Names:
    """Names on disk and in a table; which image each row of the table is, or what is said."""

    what: str
    disk: tuple
    table: tuple
    images: tuple = ()
    says: str = ""

    @property
    def outcome(self):
        return f"refused: {self.says}" if self.says else "read"


CASES = [
    Names("composed in the table, decomposed on disk", (NFD, "b.jpg"), (NFC, "b.jpg"), (0, 1)),
    Names("decomposed in the table, composed on disk", (NFC, "b.jpg"), (NFD, "b.jpg"), (0, 1)),
    Names("Hangul, which decomposes into letters", (HANGUL[1],), (HANGUL[0],), (0,)),
    Names("decomposed and without its suffix", (NFD,), (NFC[:-4],), (0,)),
    Names("the end of a path, decomposed on disk", (NFD,), ("Zoë.jpg",), (0,)),
    Names("both spellings on disk, each listed as it is", (NFC, NFD), (NFD, NFC), (1, 0)),
    Names("backslashes in the table", ("sub/a.jpg", "sub/b.jpg"), ("sub\\a.jpg", "sub\\b.jpg"), (0, 1)),
    Names("backslashes for some of several folders", ("s/t/a.jpg", "s/u/a.jpg"), ("s\\u\\a.jpg", "s\\t\\a.jpg"), (1, 0)),
    Names("./ before the name", ("a.jpg", "b.jpg"), ("./b.jpg", "./a.jpg"), (1, 0)),
    Names("another case", ("IMG_1.JPG", "IMG_2.JPG"), ("img_1.jpg", "img_2.jpg"), (0, 1)),
    Names("another case of the folder", ("Paris/a.jpg", "Rome/a.jpg"), ("paris/a.jpg", "ROME/A.jpg"), (0, 1)),
    Names("another case beside the exact name", ("a.jpg", "A.jpg"), ("A.jpg", "a.jpg"), (1, 0)),
    Names("another case of two that differ in case", ("aB.jpg", "Ab.jpg"), ("AB.jpg",), says="list each by its full name"),
    Names("another case in a spelling of its own", (NFD,), (NFC.upper(),), (0,)),
    Names("Turkish and German letters in another case", ("Straße.jpg", "i.jpg"), ("STRASSE.jpg", "I.jpg"), (0, 1)),
    Names("one image listed in two cases", ("a.jpg",), ("a.jpg", "A.jpg"), says="are both the image 'a.jpg'"),
    Names("12E3 where the image is 12E3.jpg", ("12E3.jpg", "77E10.jpg"), ("12E3", "77E10"), (0, 1)),
    Names("12E3 where the image is called so", ("12E3", "b.jpg"), ("12E3", "b.jpg"), (0, 1)),
    Names("1.2E+10, which is no image", ("12000000000.jpg", "b.jpg"), ("1.2E+10", "b.jpg"), says="was rounded by a spreadsheet"),
    Names("12E3 beside one that is no image", ("12E3.jpg", "b.jpg"), ("12E3", "4E7"), says="image '4E7' was rounded by a spreadsheet"),
]  # fmt: skip
MAKERS = [folder, zipped, tarred, parquet]


@pytest.mark.reliability("names")
@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_which_image_a_name_is(case, maker, tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    images = maker(root, case.disk)
    metadata = root / "table.csv"
    with metadata.open("w", newline="", encoding="utf-8") as file:
        rows = [(name, 10 + row, 20 + row) for row, name in enumerate(case.table)]
        csv.writer(file).writerows([("image", "latitude", "longitude"), *rows])
    if case.says:
        with pytest.raises(DatasetError) as told:
            add_dataset("mine", images, metadata)
        assert case.says in str(told.value)
        return
    added = add_dataset("mine", images, metadata)
    assert not added.missing
    dataset = get_dataset("mine")
    for name, number in zip(case.table, case.images, strict=True):
        shade = int(np.asarray(dataset.read_image(name, "test")).mean())
        assert abs(shade - (40 * number + 20)) <= 2, name


def test_names_found_in_another_case_are_said_and_those_in_another_spelling_are_not(tmp_path, cli):
    images = folder(tmp_path, (NFD, "IMG_1.JPG"))
    metadata = tmp_path / "table.csv"
    metadata.write_text(f"image,latitude,longitude\n{NFC},1,2\nimg_1.jpg,3,4\n", encoding="utf-8")
    said = cli("datasets", "add", "mine", "--images", images, "--metadata", metadata).stderr
    assert "1 image found under another name than the table gives: img_1.jpg = IMG_1.JPG" in said


def test_how_well_names_fit():
    assert fit("a.jpg", "a.jpg") == EXACT
    assert fit(NFC, NFD) == SAME
    assert fit("a\\b.jpg", "a/b.jpg") == SAME
    assert fit("a_b", "a/b.jpg") == WHOLE
    assert fit("b", "a/b.jpg") == TAIL
    assert fit("B", "a/b.jpg") == CASE
    assert fit("A.PNG", "a.jpg") == OTHER
    assert sorted([EXACT, SAME, WHOLE, TAIL, CASE, OTHER]) == [EXACT, SAME, WHOLE, TAIL, CASE, OTHER]


@pytest.mark.parametrize(
    ("ids", "images", "rows", "loosely"),
    [
        ([NFD, "b.jpg"], ["b.jpg", NFC], [1, 0], []),
        (["sub\\a.jpg"], ["sub/a.jpg"], [0], []),
        (["SUB\\A.JPG", "b.jpg"], ["sub/a.jpg", "b.jpg"], [0, 1], ["SUB\\A.JPG"]),
        (["A"], ["a.jpg", "A.jpg"], [1], ["A"]),
        (["AB"], ["aB.jpg", "Ab.jpg"], [-1], []),
        (["12E3"], ["12E3.jpg"], [0], ["12E3"]),
        ([NFD.upper()], [NFC], [0], [NFD.upper()]),
    ],
)
def test_ids_of_predictions_are_matched_likewise(ids, images, rows, loosely):
    found = match_ids(ids, images)
    assert found.rows.tolist() == rows
    assert found.loosely == loosely
