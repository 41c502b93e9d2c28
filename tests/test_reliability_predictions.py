"""Predictions as authors and language models leave them, generated: scored as they are, counted, or refused in a line."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from geobench.results import read_results

pytestmark = pytest.mark.reliability("predictions of others")
TRUTH = "image,latitude,longitude\na.jpg,48.0,2.0\nb/c.jpg,-33.0,151.0\nd.png,0.5,-70.0\n"
RIGHT = ((48.0, 2.0), (-33.0, 151.0), (0.5, -70.0))
FIRST = ((48.0, 2.0), "not asked", "not asked")
HEAD = "id,latitude,longitude\n"
REST = "b/c.jpg,-33,151\nd.png,0.5,-70\n"
PARTS = [
    {"id": "a.jpg", "latitude": 48, "longitude": 2},
    {"id": "b/c.jpg", "latitude": -33, "longitude": 151},
    {"id": "d.png", "latitude": 0.5, "longitude": -70},
]
NESTED = [
    {"image_file": part["id"], "answer": {"place": {"coordinates": {"latitude": str(part["latitude"]), "longitude": str(part["longitude"])}}}}
    for part in PARTS
]  # fmt: skip


def lines(records):
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)


def sheet(*rows, before=()):
    """Return a function that writes a spreadsheet: ``rows`` in its first sheet, below those ``before``."""

    def write(path):
        import openpyxl

        book = openpyxl.Workbook()
        for row in (*before, ("id", "latitude", "longitude"), *rows):
            book.active.append(row)
        book.create_sheet("notes").append(("nothing",))
        book.save(path)

    return write


@dataclass(frozen=True)
class File:
    """A file of predictions.

    Attributes:
        what: a few words on what it is.
        content: text, or a function that creates it at a path.
        read: what becomes of each image: its position, or the status it is counted as; None if the file is refused.
        says: what the command says: of a refusal with the remedy.
        name: of the file.
        columns: of the option.
    """

    what: str
    content: object
    read: tuple | None = None
    says: tuple = ()
    name: str = "theirs.csv"
    columns: str = ""

    @property
    def outcome(self):
        """Return what the documentation says of it."""
        if self.read is None:
            return f"refused: {' … '.join(self.says)}"
        statuses = list(dict.fromkeys(each for each in self.read if isinstance(each, str)))
        named = f" ({self.columns})" if self.columns else ""
        return f"read{named}" + (f", counted: {', '.join(statuses)}" if statuses else "")


def position(text):
    """Return a table of which the first image is answered ``text`` in one column."""
    return f'id,coordinates\na.jpg,"{text}"\nb/c.jpg,"-33, 151"\nd.png,"0.5, -70"\n'


def first(latitude, longitude="2"):
    """Return a table of which the first image has the given texts."""
    quoted = ",".join('"' + text.replace('"', '""') + '"' for text in (latitude, longitude))
    return f"{HEAD}a.jpg,{quoted}\n{REST}"


def first_counted(status):
    return (status, *RIGHT[1:])


ALL_READ = [
    File("a JSON array", json.dumps(PARTS), RIGHT, name="theirs.json"),
    File("a JSON array over many lines", json.dumps(PARTS, indent=2), RIGHT, name="theirs.json"),
    File("a JSON object with one list of answers", json.dumps({"model": "x", "predictions": PARTS}), RIGHT, name="theirs.json"),
    File("JSON: positions by the name of the image", json.dumps({p["id"]: [p["latitude"], p["longitude"]] for p in PARTS}), RIGHT, name="theirs.json"),
    File("JSON: answers by the name of the image", json.dumps({p["id"]: {"lat": p["latitude"], "lon": p["longitude"]} for p in PARTS}), RIGHT, name="theirs.json"),
    File("JSON Lines with one pair of coordinates, nested", lines(NESTED), RIGHT, name="theirs.jsonl"),
    File("nested JSON with a column named by its path", lines({"id": p["id"], "start": {"lat": 0, "lon": 0}, "end": {"lat": p["latitude"], "lon": p["longitude"]}} for p in PARTS), RIGHT, name="theirs.jsonl", columns="latitude=end.lat,longitude=end.lon"),
    File("JSON Lines with U+2028 and U+0085 in a text", lines(p | {"note": "one\u2028two\u0085three\u2029"} for p in PARTS), RIGHT, name="theirs.jsonl"),
    File("JSON Lines with Windows line endings", lines(PARTS).replace("\n", "\r\n"), RIGHT, name="theirs.jsonl"),
    File("JSON Lines of which one answer is missing", lines([NESTED[0], {"image_file": "b/c.jpg", "answer": None, "error": "HTTP 503"}, NESTED[2]]), ((48.0, 2.0), "service error", (0.5, -70.0)), name="theirs.jsonl"),
    File("GeoJSON's order, named by its place in the list", lines({"id": p["id"], "at": [p["longitude"], p["latitude"]]} for p in PARTS), RIGHT, name="theirs.jsonl", columns="latitude=at.1,longitude=at.0"),
    File("a spreadsheet", sheet(*(tuple(p.values()) for p in PARTS)), RIGHT, name="theirs.xlsx"),
    File("a spreadsheet with texts and an empty row", sheet(("a.jpg", "48° N", "2° E"), (None, None, None), *(tuple(p.values()) for p in PARTS[1:])), RIGHT, name="theirs.xlsx"),
    File("a wide table of one model", "id,lat,lon,pred_lat_x,pred_lon_x\na.jpg,1,1,48,2\nb/c.jpg,1,1,-33,151\nd.png,1,1,0.5,-70\n", RIGHT),
    File("the best two in a row", "id,pred_lat_1,pred_lon_1,pred_lat_2,pred_lon_2\na.jpg,48,2,0,0\nb/c.jpg,-33,151,0,0\nd.png,0.5,-70,0,0\n", RIGHT),
    File("truth and answer side by side, as label_ and predicted_", "image_name,label_lat,label_long,predicted_lat,predicted_long\na.jpg,0,0,48,2\nb/c.jpg,0,0,-33,151\nd.png,0,0,0.5,-70\n", RIGHT),
    File("camel case", "imageId,trueLat,trueLng,predLat,predLng\na.jpg,0,0,48,2\nb/c.jpg,0,0,-33,151\nd.png,0,0,0.5,-70\n", RIGHT, columns="image=imageId"),
    File("a table of averages below a blank line, as in the files of the ISNs' authors", "img_id,gt_lat,predicted_lat,gt_long,predicted_long,great_circle_distance\na.jpg,0,48,0,2,1.94\nb/c.jpg,0,-33,0,151,2.67\nd.png,0,0.5,0,-70,0.1\n\nstreet acc (1km),city acc (25km),region acc (200km),country acc (750km),continent acc (2500km),mean deviation (km)\n0.168776,0.43038,0.518987,0.666667,0.801688,1732.86\n", RIGHT, ("lines 6 to 7 are another table below a blank line, and left out: street acc (1km)",)),
    File("blank lines between rows", HEAD.replace("\n", "\n\n") + "a.jpg,48,2\n\n" + REST.replace("\n", "\n\n"), RIGHT),
    File("sep=; above the header", "sep=;\n" + (HEAD + "a.jpg,48,2\n" + REST).replace(",", ";"), RIGHT),
    File("JSON that a language model wrote, in a column", "id,answer\na.jpg,\"```json {\"\"location\"\": {\"\"latitude\"\": 48.0, \"\"longitude\"\": 2.0}}```\"\nb/c.jpg,\"{\"\"lat\"\": -33, \"\"lng\"\": 151}\"\nd.png,\"0.5, -70\"\n", RIGHT),
    File("a suffix twice", HEAD + "a.jpg.jpg,48,2\nb/c.jpg.jpg,-33,151\nd.png.png,0.5,-70\n", RIGHT),
    File("degree signs and hemispheres", first("48° N", "2.0° E"), RIGHT),
    File("hemispheres in words", first("48 degrees north", "2 degrees east"), RIGHT),
    File("degrees, minutes and seconds", first("48°0'0\"N", "2°0′ E"), RIGHT),
    File("degrees and minutes as XMP writes them", first("48,0.000N", "2,0.000E"), RIGHT),
    File("a typographic minus", HEAD + "a.jpg,48,2\nb/c.jpg,−33,151\nd.png,0.5,−70\n", RIGHT),
    File("decimal commas in quotes", first("48,0", "2,0"), RIGHT),
    File("both in one column", position("48.0, 2.0"), RIGHT),
    File("both in one column, in brackets", position("(48.0, 2.0)"), RIGHT),
    File("both in one column, with letters", position("48.0° N, 2.0° E"), RIGHT),
    File("both in one column, east first", position("2.0° E, 48.0° N"), RIGHT),
    File("both in one column, with labels", position("Latitude: 48.0, Longitude: 2.0"), RIGHT),
    File("both in one column, as well-known text", position("POINT(2.0 48.0)"), RIGHT),
    File("a column of both, named", "id,text,where\na.jpg,x,48 2\nb/c.jpg,x,-33 151\nd.png,x,0.5 -70\n", RIGHT, columns="position=where"),
    File("words in place of a position", first("No GPS data available", "Unknown"), first_counted("unparseable"), ("line 2: 'No GPS data available Unknown' is no position",)),
    File("a sentence in place of a position", position("Paris, France"), first_counted("unparseable"), ("line 2: 'Paris, France' is no position",)),
    File("an apology in place of a position", first("I'm sorry, but I can't help with that.", ""), first_counted("refused")),
    File("an empty position and an apology beside it", "id,model_response,latitude,longitude\na.jpg,\"I cannot assist with that.\",,\nb/c.jpg,x,-33,151\nd.png,y,0.5,-70\n", first_counted("refused")),
    File("an error of the service in place of a position", first("Error: 429 rate limit", ""), first_counted("service error")),
    File("an unreadable image", first("cannot identify image file", ""), first_counted("unreadable image")),
    File("a column status", "id,status,latitude,longitude\na.jpg,refused,,\nb/c.jpg,ok,-33,151\nd.png,timeout,0,0\n", ("refused", (-33.0, 151.0), "service error")),
    File("images that were skipped", "id,status,latitude,longitude\na.jpg,ok,48,2\nb/c.jpg,skipped,,\nd.png,pending,,\n", FIRST, ("partial: 2 of 3 images",)),
    File("a position out of range", first("95", "2"), first_counted("unparseable"), ("95, 2 is out of range",)),
    File("61 minutes", first("48°61′N", "2"), first_counted("unparseable"), ("is no position",)),
    File("a sign against its letter", first("-48 N", "2"), first_counted("unparseable")),
    File("a latitude with the letter of a longitude", first("48 E", "2"), first_counted("unparseable")),
    File("a comma that may be a decimal one or minutes", first("48,15 N", "2"), first_counted("unparseable")),
    File("half a position", first("48", ""), first_counted("unparseable"), ("a latitude or a longitude, not both",)),
    File("infinity", first("inf", "2"), first_counted("unparseable")),
    File("a confidence in words", lines(p | {"confidence": "high"} for p in PARTS), RIGHT, ("the column 'confidence' is not taken for the score",), name="theirs.jsonl"),
    File("a confidence", lines(p | {"confidence": 4} for p in PARTS), RIGHT, ("the column 'confidence' is taken for the score",), name="theirs.jsonl"),
]  # fmt: skip

REFUSED = [
    File("several positions in a record", lines({"id": p["id"], "start": {"lat": 0, "lon": 0}, "end": {"lat": 1, "lon": 1}} for p in PARTS), says=("several positions in a record: start.lat and start.lon; end.lat and end.lon", "latitude=NAME"), name="theirs.jsonl"),
    File("nothing but words", "id,latitude,longitude\na.jpg,Unknown,Unknown\n", says=("none of 1 lines has a position", "position=NAME")),
    File("no position", "id,city\na.jpg,Paris\n", says=("no recognised column for position", "it has id, city", "position=NAME")),
    File("a list of lists", "[[1, 2], [3, 4]]", says=("record 1 is a JSON list, not an object",), name="theirs.json"),
    File("JSON cut off", json.dumps(PARTS)[:-9], says=("line 1 is not JSON", "one object per line, or all in one list"), name="theirs.json"),
    File("a spreadsheet of nothing", sheet(), says=("contains no predictions",), name="theirs.xlsx"),
    File("a damaged spreadsheet", lambda path: path.write_bytes(b"PK\x03\x04 and no more"), says=("is not a readable spreadsheet", "save it as CSV"), name="theirs.xlsx"),
    File("swapped columns, out of range", HEAD + "a.jpg,2,48\nb/c.jpg,151,-33\nd.png,-70,0.5\n", says=("they look swapped", "latitude=longitude,longitude=latitude", "--as-given")),
]  # fmt: skip
CASES = ALL_READ + REFUSED


@pytest.fixture
def score(cli):
    """Return a function that scores a file by the command; returns what that says."""

    def run(file, exit_code):
        Path("truth.csv").write_text(TRUTH, encoding="utf-8")
        cli("datasets", "add", "places", "--metadata", "truth.csv")
        path = Path(file.name)
        if callable(file.content):
            file.content(path)
        else:
            path.write_text(file.content, encoding="utf-8")
        columns = ("--columns", file.columns) if file.columns else ()
        return cli("score", path, "--dataset", "places", *columns, exit_code=exit_code).stderr

    return run


@pytest.mark.parametrize("file", ALL_READ, ids=lambda file: file.what)
def test_predictions_are_scored_as_they_are_and_what_is_no_position_is_counted(file, score):
    said = score(file, exit_code=0)
    ((result,), damaged) = read_results(Path("results"))
    assert not damaged
    rows = zip(result.predictions.coordinates[:, 0].tolist(), result.predictions.status, strict=True)
    assert tuple(tuple(place) if status == "ok" else status for place, status in rows) == file.read
    assert sum(result.statuses.values()) == result.n == 3
    for part in file.says:
        assert part in said, said


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.what)
def test_any_other_file_is_refused_with_its_name_and_a_remedy(file, score):
    said = score(file, exit_code=1)
    assert len(said.splitlines()) == 1
    assert file.name in said
    for part in file.says:
        assert part in said, said
    assert not Path("results").exists()


def test_every_case_is_another():
    assert len({file.what for file in CASES}) == len(CASES) >= 50
