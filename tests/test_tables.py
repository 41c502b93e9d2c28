import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench import DatasetError
from geobench.data.tables.rows import read_coordinates, read_rows, read_table

METADATA = Path("metadata.csv")
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
IMAGE = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=12).map(
    "i{}".format
)
ROWS = st.lists(
    st.tuples(IMAGE, st.floats(-90, 90), st.floats(-180, 180), TEXT),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
)


def write(text):
    METADATA.write_text(text, encoding="utf-8")
    return METADATA


def refused(text, *expected, columns=None):
    """Read ``text`` and check that the error is one line that names the file and holds ``expected``."""
    with pytest.raises(DatasetError) as caught:
        read_table(write(text), columns)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("metadata.csv", *expected):
        assert part in message, message


def test_a_table_has_image_latitude_longitude_first_and_then_the_rest():
    table = read_table(write("country,longitude,image,latitude\nFR,2.35,a.jpg,48.86\n"))
    assert list(table.columns) == ["image", "latitude", "longitude", "country"]
    assert table.iloc[0].to_list() == ["a.jpg", 48.86, 2.35, "FR"]


@given(ROWS)
def test_every_table_that_the_csv_module_writes_is_read_exactly(rows):
    with METADATA.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "latitude", "longitude", "note"), *rows])
    table = read_table(METADATA)
    assert list(table.itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize(
    "header", ["IMG_ID,LAT,LON", "Filename,Latitude,Longitude", "id,lat,lng", " path , gps_latitude, gps_longitude "]
)
def test_the_usual_names_of_columns_are_recognised(header):
    table = read_table(write(f"{header}\na.jpg,1.5,-2.5\n"))
    assert table.iloc[0].to_list() == ["a.jpg", 1.5, -2.5]


def test_columns_of_any_name_can_be_given():
    columns = {"image": "Bild", "latitude": "breite", "longitude": "Länge"}
    table = read_table(write("Bild,Breite,Länge\na.jpg,1,2\n"), columns)
    assert table.iloc[0].to_list() == ["a.jpg", 1.0, 2.0]


def test_spaces_after_commas_are_not_part_of_a_name():
    table = read_table(write("latitude, longitude, image\n1, 2, a.jpg\n"))
    assert table["image"].to_list() == ["a.jpg"]


def test_a_column_that_is_given_takes_precedence_over_one_with_a_usual_name():
    table = read_table(write("file,image,latitude,longitude\na.jpg,wrong.jpg,1,2\n"), {"image": "file"})
    assert table["image"].to_list() == ["a.jpg"]
    assert read_table(write("image,latitude,longitude\na,1,2\n"), {"latitude": "longitude", "longitude": "latitude"})[
        ["latitude", "longitude"]
    ].iloc[0].to_list() == [2, 1]


def test_one_column_for_two_roles_is_refused():
    columns = {"latitude": "lat", "longitude": "lat"}
    refused("image,lat,lon\na.jpg,1,2\n", "must be different columns", columns=columns)


def test_a_missing_column_is_named_with_the_existing_ones_and_what_to_do():
    refused(
        "image,latitude,town\na.jpg,1,Paris\n", "no longitude column", "image, latitude, town", "--longitude-column"
    )


def test_a_column_that_is_given_and_missing_is_named():
    refused("image,lat,lon\na.jpg,1,2\n", "no latitude column (looked for 'breite')", columns={"latitude": "breite"})


@pytest.mark.parametrize(
    ("latitude", "longitude", "reason"),
    [
        ("nan", "2", "latitude 'nan' is not a number"),
        ("", "2", "latitude is empty"),
        ("91", "2", "latitude '91' is beyond ±90"),
        ("-90.01", "2", "latitude '-90.01' is beyond ±90"),
        ("1", "180.1", "longitude '180.1' is beyond ±180"),
        ("1", "inf", "longitude 'inf' is not a number"),
        ("N48", "2", "latitude 'N48' is not in decimal degrees"),
        ("48_1", "2", "latitude '48_1' is not a number"),
        ("x", "", "latitude 'x' is not a number, longitude is empty"),
    ],
)
def test_a_row_without_usable_coordinates_is_named_by_its_line(latitude, longitude, reason):
    refused(
        f"image,latitude,longitude\na.jpg,1,2\nb.jpg,{latitude},{longitude}\nc.jpg,3,4\n",
        "1 of 3 rows cannot be used: line 3: " + reason,
    )


def test_of_many_bad_rows_the_first_three_are_named():
    rows = "".join(f"{number}.jpg,99,0\n" for number in range(10))
    refused(f"image,latitude,longitude\n{rows}", "10 of 10 rows", "line 2:", "line 3:", "line 4:")
    with pytest.raises(DatasetError, match=r"^(?!.*line 5)"):
        read_table(METADATA)


def test_blank_lines_and_line_breaks_in_quotes_do_not_shift_the_line_that_is_named():
    refused(
        'image,latitude,longitude,note\n\na.jpg,1,2,"two\nlines"\n\nb.jpg,99,2,x\n',
        "1 of 2 rows",
        "line 6: latitude '99'",
    )


def test_blank_lines_are_not_images():
    assert len(read_table(write("image,latitude,longitude\n\na.jpg,1,2\n\n\nb.jpg,3,4\n\n"))) == 2


def test_the_bounds_of_the_range_are_valid():
    table = read_table(write("image,latitude,longitude\na,90,180\nb,-90,-180\n"))
    assert table["longitude"].to_list() == [180, -180]


def test_images_listed_twice_are_named_by_line():
    refused(
        "image,latitude,longitude\na.jpg,1,2\nb.jpg,1,2\na.jpg,3,4\n",
        "line 4: image 'a.jpg' is already listed on line 2",
    )


@pytest.mark.parametrize("text", ["", "image,latitude,longitude\n", "image,latitude,longitude\n\n\n"])
def test_a_table_without_rows_says_what_it_needs(text):
    refused(text, "has no rows")


def test_a_missing_file_is_named():
    with pytest.raises(DatasetError, match=r"nowhere\.csv: there is no such file"):
        read_table(Path("nowhere.csv"))


def test_a_folder_and_binary_data_are_not_tables(tmp_path):
    METADATA.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)))
    for path, what in ((METADATA, "a JPEG image, not a CSV file"), (tmp_path, "a folder")):
        with pytest.raises(DatasetError, match=rf"^{re.escape(str(path))} is {what}"):
            read_table(path)


def test_a_row_longer_than_the_header_is_never_read_shifted():
    refused("image,latitude,longitude\na.jpg,1,2,3\n", "line 2: 4 fields instead of 3")


def test_commas_at_the_end_of_rows_are_ignored():
    assert read_table(write("image,latitude,longitude\na.jpg,1,2,,\n")).iloc[0].to_list() == ["a.jpg", 1, 2]
    assert list(read_table(write("image,latitude,longitude,,\na.jpg,1,2,,\n")).columns) == [
        "image",
        "latitude",
        "longitude",
    ]


def test_every_bad_row_is_reported_with_its_line_and_the_others_are_returned():
    rows = read_rows(write("image,latitude,longitude\na,1,2\nb,1\nc,91,2\n../d,1,2\na,3,4\ne,5,6\n"))
    assert rows.table["image"].to_dict() == {2: "a", 7: "e"}
    assert [(problem.line, problem.kind, problem.image) for problem in rows.problems] == [
        (3, "fields", ""),
        (4, "coordinates", "c"),
        (5, "image", "../d"),
        (6, "repeated", "a"),
    ]


def test_a_table_without_a_header_is_read_by_the_numbers_of_its_columns():
    columns = {"image": 2, "longitude": 4, "latitude": 5}
    for separator in ("\t", ","):
        text = "".join(
            separator.join(row) + "\n" for row in [("1", "a", '"x', "2.5", "1.5"), ("2", "b", "y", "-4", "3")]
        )
        table = read_table(write(text if separator == "\t" else text.replace('"', "")), columns, header=False)
        assert table[["image", "latitude", "longitude"]].to_numpy().tolist() == [["a", 1.5, 2.5], ["b", 3, -4]]
        assert list(table.columns) == ["image", "latitude", "longitude", "column 1", "column 3"]
    with pytest.raises(DatasetError, match=r"line 1: column 3, 'y', is not a latitude"):
        read_table(write("1,a,y,2.5\n"), {"image": 2, "longitude": 4, "latitude": 3}, header=False)
    with pytest.raises(DatasetError, match=r"has no column 9 for the longitude; it has 4"):
        read_table(METADATA, {"image": 2, "longitude": 9, "latitude": 4}, header=False)


def test_a_byte_order_mark_is_not_part_of_the_first_column():
    METADATA.write_bytes("image,latitude,longitude\na.jpg,1,2\n".encode("utf-8-sig"))
    assert list(read_table(METADATA).columns) == ["image", "latitude", "longitude"]


def test_the_country_na_is_namibia_and_ids_keep_their_leading_zeros():
    table = read_table(write("image,latitude,longitude,country\n007,-22.5,17,NA\n0,1,2,null\n"))
    assert table["image"].to_list() == ["007", "0"]
    assert table["country"].to_list() == ["NA", "null"]


def test_coordinates_are_read_exactly():
    written = np.random.default_rng(0).uniform((-90, -180), (90, 180), (2000, 2))
    METADATA.write_text("lat,lon\n" + "".join(f"{a!r},{b!r}\n" for a, b in written.tolist()))
    np.testing.assert_array_equal(read_coordinates(METADATA), written)


def test_a_file_of_coordinates_needs_no_image_column():
    assert read_coordinates(write("lon,lat\n2,1\n")).tolist() == [[1, 2]]
    with pytest.raises(DatasetError, match=r"has no longitude column .* Call it longitude"):
        read_coordinates(write("lat,town\n1,Paris\n"))
