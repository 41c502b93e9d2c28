"""Tables as people have them, generated: the real command reads each, or refuses it with one helpful line."""

import codecs
import gzip
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from geobench import get_dataset

pytestmark = pytest.mark.reliability("hostile tables")
HEADER = "image,latitude,longitude\n"
TWO = "a.jpg,48.8566,2.3522\nb.jpg,-33.8568,151.2153\n"
READ = (("a.jpg", 48.8566, 2.3522), ("b.jpg", -33.8568, 151.2153))
GOOD = HEADER + TWO


@dataclass(frozen=True)
class Table:
    """A hostile table.

    Attributes:
        what: a few words on what it is.
        content: text (as UTF-8) or bytes of the file, or a function that creates it at a path.
        read: the rows that must be read; None if the file must be refused.
        says: what the message of a refusal contains: the line of the file, if there is one, and the remedy.
    """

    what: str
    content: object
    read: tuple | None = None
    says: tuple = ()

    @property
    def outcome(self):
        """Return what the documentation says of it."""
        return "read" if self.read is not None else f"refused: {' … '.join(self.says)}"

    def write(self, path):
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content if isinstance(self.content, bytes) else self.content.encode())


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.csv", GOOD)


def parquet(path):
    path.write_bytes(b"PAR1" + bytes(range(256)) + b"PAR1")


ALL_READ = [
    Table("plain, UTF-8", GOOD, READ),
    Table("UTF-8 with byte order mark", GOOD.encode("utf-8-sig"), READ),
    Table("UTF-16, little-endian, with byte order mark", codecs.BOM_UTF16_LE + GOOD.encode("utf-16-le"), READ),
    Table("UTF-16, big-endian, with byte order mark", codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"), READ),
    Table("UTF-32 with byte order mark", GOOD.encode("utf-32"), READ),
    Table("Windows line endings", GOOD.replace("\n", "\r\n"), READ),
    Table("old Mac line endings", GOOD.replace("\n", "\r"), READ),
    Table("mixed line endings", "image,latitude,longitude\r\na.jpg,48.8566,2.3522\rb.jpg,-33.8568,151.2153\n", READ),
    Table("no line ending after the last row", GOOD.rstrip(), READ),
    Table("semicolons", GOOD.replace(",", ";"), READ),
    Table("tabs", GOOD.replace(",", "\t"), READ),
    Table("bars", GOOD.replace(",", "|"), READ),
    Table("semicolons and decimal commas", GOOD.replace(",", ";").replace(".", ",").replace(",jpg", ".jpg"), READ),
    Table("tabs and decimal commas", GOOD.replace(",", "\t").replace(".", ",").replace(",jpg", ".jpg"), READ),
    Table("decimal commas in quotes", HEADER + 'a.jpg,"48,8566","2,3522"\nb.jpg,"-33,8568","151,2153"\n', READ),
    Table("everything in quotes", re.sub(r"[^,\n]+", r'"\g<0>"', GOOD), READ),
    Table("line breaks and commas in quotes", 'image,latitude,longitude,note\na.jpg,48.8566,2.3522,"one,\ntwo"\n', READ[:1]),
    Table("quotes in quotes", 'image,latitude,longitude,note\na.jpg,48.8566,2.3522,"say ""hello"""\n', READ[:1]),
    Table("blank lines above, between and below", "\n\n" + HEADER + "\n" + TWO.replace("\n", "\n\n") + "\n\n", READ),
    Table("rows of nothing but commas, as spreadsheets leave them", GOOD + ",,\n,,\n", READ),
    Table("commas at the end of rows", GOOD.replace("\n", ",,\n"), READ),
    Table("commas at the end of the header only", GOOD.replace("longitude\n", "longitude,,\n").replace("22\n", "22,,\n").replace("53\n", "53,,\n"), READ),
    Table("spaces around everything", re.sub(r"[^,\n]+", r"  \g<0>  ", GOOD), READ),
    Table("non-breaking spaces around numbers", HEADER + "a.jpg,\u00a048.8566\u00a0,2.3522\n", READ[:1]),
    Table("column names in capitals", GOOD.replace(HEADER, "IMAGE,Latitude,LONGITUDE\n"), READ),
    Table("IMG_ID, AUTHOR, LAT, LON", "IMG_ID,AUTHOR,LAT,LON,S3_Label\n1/a_b.jpg,7@N00,1.5,-2.5,0\n", (("1/a_b.jpg", 1.5, -2.5),)),
    Table("IMG_FILE, LAT, LON", "IMG_FILE,LAT,LON\na.jpg,48.8566,2.3522\n", READ[:1]),
    Table("id, latitude, longitude, as OSV-5M has them", "id,latitude,longitude,country\n007,-22.5,17,NA\n", (("007", -22.5, 17),)),
    Table("an unnamed index, as pandas writes it", ",image,latitude,longitude\n0,a.jpg,48.8566,2.3522\n", READ[:1]),
    Table("two other columns with the same name", "image,latitude,longitude,note,note\na.jpg,48.8566,2.3522,x,y\n", READ[:1]),
    Table("a typographic minus sign", HEADER + "a.jpg,\u221233.5,\u2212151\n", (("a.jpg", -33.5, -151.0),)),
    Table("a plus sign and exponents", HEADER + "a.jpg,+4.8E1,2e-3\n", (("a.jpg", 48.0, 0.002),)),
    Table("the poles and the date line", HEADER + "a,90,180\nb,-90,-180\n", (("a", 90, 180), ("b", -90, -180))),
    Table("zero and negative zero", HEADER + "a,0,-0.0\nb,1e-400,0\n", (("a", 0, 0), ("b", 0, 0))),
    Table("thirty digits", HEADER + "a,48.856600000000000000000000000001,2\n", (("a", 48.8566, 2),)),
    Table("ids with leading zeros, and one called NA", HEADER + "000123,1,2\nNA,3,4\nnull,5,6\n", (("000123", 1, 2), ("NA", 3, 4), ("null", 5, 6))),
    Table("names in other scripts, composed and decomposed", HEADER + "caf\u00e9.jpg,1,2\ncafe\u0301.jpg,3,4\n東京.jpg,5,6\n", (("caf\u00e9.jpg", 1, 2), ("cafe\u0301.jpg", 3, 4), ("東京.jpg", 5, 6))),
    Table("characters that other programs treat as line endings", HEADER + "a\u2028b\x85c\x0bd.jpg,1,2\n", (("a\u2028b\x85c\x0bd.jpg", 1, 2),)),
    Table("a name with dots that stays inside the folder", HEADER + "a..b/..c.jpg,1,2\n", (("a..b/..c.jpg", 1, 2),)),
    Table("a comment above the header", "# exported 2020\n" + GOOD, READ),
    Table("a title and three remarks above the header", "Cells, 2018\nn,2\n\nsource;web\n" + GOOD, READ),
    Table("sep=; above the header, as spreadsheets write it", "sep=;\n" + GOOD.replace(",", ";"), READ),
    Table("sep=, in quotes", '"sep=,"\r\n' + GOOD.replace("\n", "\r\n"), READ),
    Table("sep=; and decimal commas", "sep=;\n" + GOOD.replace(",", ";").replace(".", ",").replace(",jpg", ".jpg"), READ),
    Table("a table of averages below a blank line", GOOD + "\nimages,mean\n2,7.3\n", READ),
    Table("a source below a blank line", GOOD + "\nSource: the web\n", READ),
    Table("a blank line between rows", HEADER + TWO.replace("\nb", "\n\nb"), READ),
    Table("the columns of cell files", "class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean\na.jpg,47a1,60,48.8566,2.3522\n".replace("class_label", "image"), READ[:1]),
    Table("a text of 100,000 characters", f"image,latitude,longitude,note\na.jpg,48.8566,2.3522,{'x' * 100_000}\n", READ[:1]),
    Table("a thousand additional columns", f"image,latitude,longitude,{','.join(f'c{i}' for i in range(1000))}\na.jpg,48.8566,2.3522,{','.join('x' * 1000)}\n", READ[:1]),
]  # fmt: skip

REFUSED = [
    Table("empty", "", says=("has no rows", "needs a header")),
    Table("nothing but blank lines", "\n\n \n", says=("has no rows",)),
    Table("nothing but a header", HEADER, says=("no rows below its header",)),
    Table("one column", "image\na.jpg\n", says=("no latitude column", "--latitude-column")),
    Table("no header", TWO, says=("looks like a row", "add a header above it")),
    Table("rows of the table below a blank line and a bad one", GOOD + "\nc.jpg,north,east\nd.jpg,1,2\n", says=("line 5: latitude 'north' is not a number",)),
    Table("many rows below a blank line and a remark", GOOD + "\nmore\n" + "".join(f"c{n},1,{n}\n" for n in range(30)), says=("line 5: 1 field instead of 3",)),
    Table("a total below a blank line", GOOD + "\nTotal,2\n", says=("line 5: 2 fields instead of 3",)),
    Table("a header on line 30", "x\n" * 29 + GOOD, says=("no image column",)),
    Table("sep=; and commas", "sep=;\n" + GOOD, says=("no image column",)),
    Table("radians", HEADER + "".join(f"p{n},{0.5 + n / 100},{1.0 + n / 40}\n" for n in range(30)), says=("look like radians",)),
    Table("a comment between rows", GOOD + "# the end\n", says=("line 4: 1 field instead of 3", "correct or remove")),
    Table("no longitudes", "image,latitude\na.jpg,1\n", says=("no longitude column", "it has image, latitude")),
    Table("two columns with the same name", "image,lat,LAT,lon\na.jpg,1,1,2\n", says=("2 columns called 'lat'", "rename all but one")),
    Table("different separators in header and rows", HEADER + TWO.replace(",", ";"), says=("line 2: 1 field instead of 3",)),
    Table("NaN", HEADER + "a.jpg,NaN,2\n", says=("line 2: latitude 'NaN' is not a number", "correct or remove")),
    Table("infinity", GOOD + "c.jpg,1,-inf\n", says=("1 of 3 rows", "line 4: longitude '-inf' is not a number")),
    Table("1e309", HEADER + "a.jpg,1e309,2\n", says=("line 2: latitude '1e309' is not a number",)),
    Table("an empty coordinate", HEADER + "a.jpg,,2\n", says=("line 2: latitude is empty",)),
    Table("a coordinate of None", HEADER + "a.jpg,1,None\n", says=("line 2: longitude 'None' is not a number",)),
    Table("a latitude beyond the pole", HEADER + "a.jpg,90.0001,2\n", says=("line 2: latitude '90.0001' is beyond ±90",)),
    Table("swapped headers", HEADER + "a.jpg,2.3522,48.8566\nb.jpg,151.2153,-33.8568\n", says=("line 3: latitude '151.2153'", "look swapped", "swap their names")),
    Table("longitudes from 0 to 360", HEADER + "a.jpg,48.8,2.3\nb.jpg,40.7,286.0\n", says=("line 3: longitude '286.0'", "subtract 360")),
    Table("projected metres", HEADER + "a.jpg,5411938.2,452483.1\n", says=("line 2: latitude '5411938.2' is beyond ±90",)),
    Table("microdegrees", HEADER + "a.jpg,48856600,2352200\n", says=("line 2: latitude '48856600' is beyond",)),
    Table("decimal commas with commas as separators", HEADER + "a.jpg,48,8566,2,3522\n", says=("line 2: 5 fields instead of 3", "quote texts that contain the separator")),
    Table("decimal commas and decimal points mixed", "image;latitude;longitude\na.jpg;48,8566;2.3522\n", says=("line 2: latitude '48,8566' has a comma", "write 48.85")),
    Table("thousands separators", "image;latitude;longitude\na.jpg;1,048.85;2.35\n", says=("line 2: latitude '1,048.85' has a comma",)),
    Table("degrees, minutes and seconds", HEADER + "a.jpg,48°51′24″N,2°21′8″E\n", says=("line 2: latitude '48°51′24″N' is not in decimal degrees", "south and west negative")),
    Table("N and W after numbers", HEADER + "a.jpg,48.85N,122.3 W\n", says=("line 2: latitude '48.85N' is not in decimal degrees", "longitude '122.3 W'")),
    Table("degree signs", HEADER + "a.jpg,48.85°,2.35°\n", says=("line 2: latitude '48.85°' is not in decimal degrees",)),
    Table("both coordinates in one field", HEADER + 'a.jpg,"48.85, 2.35",\n', says=("line 2: latitude '48.85, 2.35' has a comma", "longitude is empty")),
    Table("digits in other scripts", HEADER + "a.jpg,\u0664\u0668,\uff12\n", says=("line 2: latitude", "is not a number")),
    Table("hexadecimal and digits with underscores", HEADER + "a.jpg,0x1F,2\nb.jpg,4_8,2\n", says=("line 2: latitude '0x1F'", "line 3: latitude '4_8'")),
    Table("formulas", HEADER + "=A1&\".jpg\",1,2\n", says=("line 2: image", "formula", "save the values")),
    Table("a formula as a coordinate", HEADER + "a.jpg,=B2,2\n", says=("line 2: latitude '=B2' is not a number",)),
    Table("ids that a spreadsheet rounded", "id,latitude,longitude\n1.23457E+11,1,2\n", says=("line 2: image '1.23457E+11' was rounded by a spreadsheet", "column as text")),
    Table("spreadsheet errors as ids", "id,latitude,longitude\n#NAME?,1,2\n#N/A,3,4\n", says=("2 of 2 rows", "line 2: image '#NAME?'", "save the values")),
    Table("a row without an image", HEADER + ",1,2\n", says=("line 2: the image name is empty",)),
    Table("an image name of spaces", HEADER + '"  ",1,2\n', says=("line 2: the image name is empty",)),
    Table("the same image twice", GOOD + "a.jpg,1,2\n", says=("line 4: image 'a.jpg' is already listed on line 2",)),
    Table("the same row twice", GOOD + "a.jpg,48.8566,2.3522\n", says=("line 4: image 'a.jpg' is already listed on line 2",)),
    Table("an absolute path", HEADER + "/etc/passwd,1,2\n", says=("line 2: image '/etc/passwd' leads outside", "relative to that folder")),
    Table("a Windows path", HEADER + "C:\\photos\\a.jpg,1,2\n", says=("line 2:", "leads outside the folder")),
    Table("a path that climbs", HEADER + "x/../../a.jpg,1,2\n", says=("line 2: image 'x/../../a.jpg' leads outside",)),
    Table("a missing field", GOOD + "c.jpg,1\n", says=("line 4: 2 fields instead of 3",)),
    Table("one field too many", GOOD + "c.jpg,1,2,3\n", says=("line 4: 4 fields instead of 3", "quote texts that contain the separator")),
    Table("cut off in the middle of a row", GOOD[:-12], says=("line 3: 2 fields",)),
    Table("a quote that is never closed", HEADER + '"a.jpg,1,2\n' + TWO, says=("line 2: unexpected end of data", "must end with a quote")),
    Table("an open quote in a long file", HEADER + TWO + '"c.jpg,1,2\n' + "d.jpg,1,2\n" * 20_000, says=("line 4: field larger than field limit", "must end with a quote")),
    Table("text after a closing quote", HEADER + '"a".jpg,1,2\n', says=("line 2: ',' expected after", "doubled")),
    Table("Latin-1", (HEADER + "a.jpg,1,2\ncafé.jpg,1,2\n").encode("latin-1"), says=("line 3 is not UTF-8 text", "iconv -f latin1 -t utf-8")),
    Table("UTF-16 without byte order mark", GOOD.encode("utf-16-le"), says=("line 1 contains NUL characters", "UTF-16 without a byte order mark")),
    Table("half a character of UTF-16", codecs.BOM_UTF16_LE + GOOD.encode("utf-16-le")[:-1], says=("not UTF-16 text", "save the file as UTF-8")),
    Table("NUL characters", GOOD.replace("b.jpg", "b\0.jpg"), says=("line 3 contains NUL characters",)),
    Table("zero bytes at the end, as after a crash", GOOD.encode() + bytes(4096), says=("line 4 contains NUL characters", "damaged")),
    Table("a field of 200,000 characters", f"image,latitude,longitude,note\na.jpg,1,2,{'x' * 200_000}\n", says=("line 2: field larger than field limit",)),
    Table("a header of a million columns", "image,latitude,longitude," + ",".join(map(str, range(1_000_000))) + "\n", says=("1,000,003 fields", "at most 4,096 are read")),
    Table("a zip archive named .csv", archive, says=("is a zip archive or an .xlsx workbook", "save it as CSV")),
    Table("a gzip archive named .csv", gzip.compress(GOOD.encode()), says=("is a gzip archive", "unpack")),
    Table("a Parquet file named .csv", parquet, says=("is a Parquet file",)),
    Table("an HTML page named .csv", "<!DOCTYPE html>\n<title>404</title>", says=("is an HTML page", "instead of a missing file")),
    Table("a JSON document named .csv", '[{"image": "a.jpg", "latitude": 1}]', says=("is a JSON document",)),
    Table("a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", says=("Git LFS pointer", "git lfs pull")),
    Table("a photo named .csv", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", says=("is a JPEG image",)),
    Table("a folder", Path.mkdir, says=("is a folder", "CSV file with a header")),
    Table("a pipe that nobody writes to", os.mkfifo, says=("is not a regular file",)),
    Table("a link that leads nowhere", lambda path: path.symlink_to("nowhere"), says=("metadata.csv is not there",)),
]  # fmt: skip
CASES = ALL_READ + REFUSED


@pytest.fixture
def add(cli):
    """Return a function that registers a table as the data set ``hostile`` by the command; returns what that says."""

    def run(table, exit_code):
        Path("images").mkdir()
        for name, _, _ in table.read or ():
            (Path("images") / name).parent.mkdir(parents=True, exist_ok=True)
            (Path("images") / name).touch()
        table.write(Path("metadata.csv"))
        options = ("--images", "images", "--metadata", "metadata.csv")
        return cli("datasets", "add", "hostile", *options, exit_code=exit_code).output

    return run


@pytest.mark.parametrize("table", ALL_READ, ids=lambda table: table.what)
def test_a_table_that_has_one_meaning_is_read(table, add):
    add(table, exit_code=0)
    rows = get_dataset("hostile").table("test")[["image", "latitude", "longitude"]]
    assert tuple(rows.itertuples(index=False, name=None)) == table.read


@pytest.mark.parametrize("table", REFUSED, ids=lambda table: table.what)
def test_any_other_table_is_refused_with_file_line_and_remedy(table, add):
    said = add(table, exit_code=1)
    assert len(said.splitlines()) == 1
    assert len(said) < 600
    assert re.match(r"Error: .*\bmetadata\.csv\b", said)
    for part in table.says:
        assert part in said, said


def test_there_are_at_least_sixty_distinct_hostile_tables():
    assert len({table.what for table in CASES}) == len(CASES) >= 60


def test_an_error_is_one_line_whatever_the_header_contains(add):
    said = add(Table("", '"one\ntwo",\x1b[31mred\na,b\n'), exit_code=1)
    assert len(said.splitlines()) == 1
    assert "\x1b" not in said
