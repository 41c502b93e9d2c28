"""Country names as people write them, and the many ways in which tables do."""

import csv

import pytest

from geobench.data.countries import ALIASES, COMMON, country_code, country_name, names
from geobench.data.places import CONTINENTS

CODES = [code for codes in CONTINENTS.values() for code in codes.split()]


def test_every_country_has_a_name_that_is_no_inversion_and_is_found_again():
    for code in CODES:
        name = country_name(code)
        assert name != code, code
        assert not any(
            word in name for word in (", Republic", "Democratic People", "Arab Jamahiriya", "Republic of Korea")
        )
        assert country_code(name) == code, name


@pytest.mark.parametrize(
    ("code", "name"),
    [("KR", "South Korea"), ("KP", "North Korea"), ("LY", "Libya"), ("CZ", "Czechia"), ("RU", "Russia"),
     ("SZ", "Eswatini"), ("MK", "North Macedonia"), ("VN", "Vietnam"), ("CD", "DR Congo"), ("IR", "Iran")],
)  # fmt: skip
def test_names_are_the_usual_ones(code, name):
    assert country_name(code) == name


@pytest.mark.parametrize(
    ("text", "code"),
    [("Korea, Republic of", "KR"), ("SOUTH KOREA", "KR"), ("Libyan Arab Jamahiriya", "LY"), ("Czech Republic", "CZ"),
     ("Burma", "MM"), ("Swaziland", "SZ"), ("Côte d’Ivoire", "CI"), ("Cote d'Ivoire", "CI"), ("Ivory Coast", "CI"),
     ("the netherlands", "NL"), ("USA", "US"), ("U.S.A.", "US"), ("UK", "GB"), ("Türkiye", "TR"), ("Viet Nam", "VN"),
     ("Bosnia & Herzegovina", "BA"), ("Congo", "CG"), ("Zaire", "CD"), ("de", "DE"), (" Macau ", "MO"),
     ("Russian Federation", "RU"), ("Trinidad and Tobago", "TT"), ("", None), ("Atlantis", None), ("123", None)],
)  # fmt: skip
def test_old_official_and_short_forms_are_understood(text, code):
    assert country_code(text) == code


def test_no_name_is_of_two_countries():
    seen = {}
    for code, listed in [*ALIASES.items(), *COMMON.items()]:
        for name in listed.split(";"):
            assert country_code(name) == code, name
            assert seen.setdefault(name.strip(), code) == code
    assert set(ALIASES) | set(COMMON) <= set(names())


def table(folder, rows):
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "latitude", "longitude", "Country"), *rows])
    return path


def test_check_tells_positions_in_another_country_than_the_table_says(tmp_path, cli):
    rows = [
        ("a.jpg", 37.5665, 126.978, "Korea, Republic of"),
        ("b.jpg", 50.0755, 14.4378, "Czech Republic"),
        ("c.jpg", 38.8785, -121.2947, "United Kingdom"),
        ("d.jpg", 48.8566, 2.3522, "somewhere"),
        ("e.jpg", -33.8568, 151.2153, "AU"),
        ("f.jpg", 32.8872, 13.1913, "Libya"),
    ]
    cli("datasets", "add", "mine", "--metadata", table(tmp_path, rows))
    said = cli("datasets", "check", "mine").stdout
    assert "country: 1 of 5 positions are in another country than the column 'Country' says" in said
    assert "line 4: c.jpg: United Kingdom, and at 38.8785, -121.2947 is United States" in said


def test_many_positions_in_another_country_are_an_error(tmp_path, cli):
    rows = [(f"{n}.jpg", 33.86, 151.21 - n / 1000, "Australia") for n in range(10)]
    cli("datasets", "add", "mine", "--metadata", table(tmp_path, [*rows, ("x.jpg", -33.5, 150.1, "Australia")]))
    assert "WRONG  at sea" in cli("datasets", "check", "mine", exit_code=1).stdout
    ashore = [
        (f"{n}.jpg", 33.5, -84.4 - n / 100, "Chile") for n in range(9)
    ]  # (−33.5, −84.4) is at sea, this is Georgia
    cli("datasets", "add", "other", "--metadata", table(tmp_path, ashore))
    assert "WRONG  country: 9 of 9 positions" in cli("datasets", "check", "other", exit_code=1).stdout
