"""Large tables are read by pyarrow where it makes the same of them as Python's ``csv``: no text shows a difference."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geobench import DatasetError
from geobench.data.tables import coordinates, plain, rows
from geobench.data.tables.coordinates import as_numbers, other_unit
from geobench.data.tables.plain import Plain
from geobench.data.tables.rows import read_rows

HEADER = "image,latitude,longitude,note\n"
NASTY = (
    [
        "",
        " ",
        "a.jpg",
        "b.jpg",
        " c.jpg",
        "d.jpg ",
        "é.jpg",
        "\ufeffe.jpg",
        "../f.jpg",
        "12E3",
        "\x0b",
        "\u2028",
        "x" * 99,
    ]
    + ["1.5", "-0", "48.85837", "91", "nan", "1e1", "−3", " 4", "48,8", "0.1234567890123456", "007.50"]
    + ['"', '""', '"quoted"', '"a, b"', '"a\nb"', '"a\r\nb"', '"a""b"', 'a"b', '"a"b', ' "a"', '" a"', '"open']
)
fields = st.one_of(st.sampled_from(NASTY), st.floats(-90, 90).map(repr), st.floats(-90, 90).map("{:.6f}".format))
good_rows = st.tuples(st.integers(0, 10**6), st.floats(-90, 90), st.floats(-180, 180)).map(
    lambda row: f"{row[0]}.jpg,{row[1]:.5f},{row[2]:.5f},x"
)
any_rows = st.lists(fields, max_size=6).map(",".join)
ends = st.sampled_from(["\n"] * 8 + ["\r\n", "\r", "\n\n", "\n,,,\n", "\n \n", ""])
tables = st.lists(st.tuples(st.one_of(good_rows, good_rows, any_rows), ends), max_size=30).map(
    lambda found: "".join(row + end for row, end in found)
)


def outcome(path, **how):
    """Everything that reading tells, or its error."""
    try:
        found = read_rows(path, **how)
    except DatasetError as error:
        return str(error)
    index, columns = found.table.index.tolist(), found.table.columns.tolist()
    values = [found.table[name].tolist() for name in columns]
    return index, columns, list(map(repr, values)), [*map(str, found.table.dtypes)], *map(repr, found[1:])


def both(content, monkeypatch, first, block, **how):
    """What is read with and without pyarrow, in blocks of so many bytes."""
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        patch.setattr(plain, "FIRST_BYTES", first)
        patch.setattr(plain, "BLOCK_BYTES", block)
        quick = outcome(path, **how)
        patch.setattr(rows, "_blocks", lambda layout: layout.rows.blocks(rows.ROWS_AT_ONCE))
        patch.setattr(rows, "_are_distinct", lambda texts: False)
        patch.setattr(coordinates, "_plain_numbers", lambda texts: None)
        patch.setattr(coordinates, "_are_surely_degrees", lambda found: False)
        return quick, outcome(path, **how)


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(1, 80), st.integers(1, 200), st.sampled_from(["", "\ufeff"]))
@example('a.jpg,1.5,2.5,"x"\nb.jpg,1,2,"y, z"\nc.jpg,1,2,""\n', 1, 200, "")
@example('a.jpg,1,2,x"\nb.jpg,1,2,"y\n', 1, 200, "")
@example("a.jpg,1,2,\n\nSource,of all\n", 1, 200, "\ufeff")
@example("a.jpg,1,2,,\nb.jpg,1,2,x,\na.jpg, 1,2,x,\n", 1, 200, "")
@example('a.jpg,1,2,"x"\nb.jpg,1,2, y\n', 1, 200, "")
@example('a.jpg,1,2,"x\ny"\nb.jpg,1,2,"z"\n', 1, 200, "")
@example('a.jpg,1,2,"x\ry"\nb.jpg,1,2,"z"\nc.jpg,1,200,z\n', 1, 200, "")
@example("\ufeffa.jpg,1,2,x\n", 1, 200, "")
@example("a.jpg,1,2, x\n", 1, 200, "")
@example("a.jpg,1,2,x\nb.jpg,1,2,y\nSource,of all\n", 1, 24, "")
@example("a.jpg,1,2,x\n\nSource,of all\n" + "".join(f"{n}.jpg,1,2,x\n" for n in range(30)), 1, 50, "")
@example("a.jpg,1,2,x\r\nb.jpg,1,2,y\r\n\r\nc.jpg,1,2,z\r\n", 1, 200, "")
def test_any_text_reads_as_it_does_without_pyarrow(body, first, block, mark):
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick, slow = both((mark + HEADER + body).encode(), monkeypatch, first, block)
        assert quick == slow


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=12).map(lambda found: found.replace(b"\0", b"")), max_size=12), st.integers(1, 40))
@example([b"a.jpg,1,2,\xff\n"], 40)
@example([b"a.jpg,1,2,\xed\xa0\x80\n"], 40)
def test_any_bytes_read_as_they_do_without_pyarrow(parts, block):
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick, slow = both(HEADER.encode() + b"z.jpg,3,4,\n" + b"".join(parts), monkeypatch, 1, block)
        assert quick == slow


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_tables_with_other_separators_and_without_a_header_read_as_without_pyarrow(separator, monkeypatch):
    body = "".join(f"{n}.jpg,{n / 10},-{n},it's \"{n}\n".replace(",", separator) for n in range(1, 90))
    how = {"columns": {"image": 1, "latitude": 2, "longitude": 3}, "header": False}
    if separator != "\t":  # a dump in tabs has no quotes
        body = body.replace('"', "")
    quick, slow = both(body.encode(), monkeypatch, 100, 500, **how)
    assert quick == slow and len(quick[0]) == 89


def test_a_large_table_is_read_by_pyarrow_and_each_error_names_its_line(tmp_path):
    path, n = tmp_path / "large.csv", 300_000
    lines = [f'{n:08}.jpg,{n % 90}.25,{n % 180}.125,"Paris, {n}"\n' for n in range(n)]
    lines[123_456] = "here.jpg,91,0,x\n"
    lines[250_000] = "there.jpg,1\n"
    lines[299_999] = lines[7]
    path.write_text(HEADER + "".join(lines))
    found = read_rows(path)
    assert [(problem.line, problem.kind) for problem in found.problems] == [
        (123_458, "coordinates"),
        (250_002, "fields"),
        (300_001, "repeated"),
    ]
    layout = rows.find_layout(path, {}, True, ("image", "latitude", "longitude"))
    quick = [len(piece.table) for piece in rows._blocks(layout) if isinstance(piece, Plain)]
    assert sum(quick) > 150_000  # the block with the short row goes to csv
    assert found.table.index[123_455:123_458].tolist() == [123_457, 123_459, 123_460]
    assert found.table["note"].iloc[-1] == "Paris, 299998"


def test_a_field_that_csv_refuses_as_too_long_is_refused(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(HEADER + "a.jpg,1,2,x\n" * 10_000 + f"b.jpg,1,2,{'y' * (csv.field_size_limit() + 1)}\n")
    with pytest.raises(DatasetError, match=r"line 10002: field larger than field limit"):
        read_rows(path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.from_regex(coordinates.PLAIN, fullmatch=True), min_size=1, max_size=50))
def test_numbers_read_by_pyarrow_are_those_of_pandas_to_the_last_bit(texts):
    quick = as_numbers(pd.Series(texts, dtype=str), False)
    assert quick.tobytes() == pd.to_numeric(pd.Series(texts, dtype=object)).to_numpy(np.float64).tobytes()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3.3, 3.3), st.floats(-3.3, 3.3)), min_size=1, max_size=60),
    st.sampled_from([1.0, 0.5, 30.0]),
)
def test_what_is_surely_in_degrees_at_a_glance_is_in_no_other_unit(points, scale):
    places = np.array(points) * scale
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick = other_unit(places)
        monkeypatch.setattr(coordinates, "_are_surely_degrees", lambda found: False)
        assert other_unit(places) == quick
