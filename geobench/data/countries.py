"""Country names as people write them, and the codes of names that tables use, old and official forms included."""

from __future__ import annotations

import csv
import re
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

COMMON = {
    "AX": "Åland", "BL": "Saint Barthélemy", "BN": "Brunei", "BQ": "Caribbean Netherlands", "CC": "Cocos Islands",
    "CD": "DR Congo", "CG": "Republic of the Congo", "CI": "Ivory Coast", "CV": "Cape Verde", "CW": "Curaçao",
    "CZ": "Czechia", "FK": "Falkland Islands", "FM": "Micronesia", "GM": "The Gambia", "BS": "The Bahamas",
    "IR": "Iran", "KP": "North Korea", "KR": "South Korea", "LA": "Laos", "LY": "Libya", "MD": "Moldova",
    "MK": "North Macedonia", "MO": "Macau", "PN": "Pitcairn Islands", "PS": "Palestine", "RE": "Réunion",
    "RU": "Russia", "ST": "São Tomé and Príncipe", "SY": "Syria", "SZ": "Eswatini", "TR": "Turkey", "TZ": "Tanzania",
    "VA": "Vatican City", "VG": "British Virgin Islands", "VI": "US Virgin Islands", "VN": "Vietnam",
}  # fmt: skip
"""Where GeoNames' list has an official, an old or an inverted form."""
ALIASES = {
    "BN": "Brunei Darussalam", "BO": "Plurinational State of Bolivia", "BQ": "Bonaire; Bonaire, Sint Eustatius and Saba",
    "CC": "Cocos (Keeling) Islands", "CD": "Democratic Republic of the Congo; Congo, Democratic Republic; "
    "Congo-Kinshasa; Zaire; Congo (Kinshasa); DRC; Congo, the Democratic Republic of the",
    "CG": "Congo; Congo-Brazzaville; Congo (Brazzaville); Congo, Republic of the",
    "CI": "Côte d'Ivoire; Republic of Côte d'Ivoire", "CV": "Cabo Verde", "CN": "People's Republic of China; PRC; "
    "Mainland China; China, People's Republic of", "CZ": "Czech Republic", "FK": "Falkland Islands (Malvinas); Malvinas",
    "FM": "Federated States of Micronesia; Micronesia, Federated States of", "GB": "UK; Great Britain; Britain; England; "
    "Scotland; Wales; Northern Ireland; United Kingdom of Great Britain and Northern Ireland", "GM": "Gambia",
    "BS": "Bahamas", "HK": "Hong Kong SAR; Hong Kong S.A.R.; Hong Kong SAR China", "IE": "Republic of Ireland; Eire",
    "IR": "Islamic Republic of Iran; Iran, Islamic Republic of; Persia", "KG": "Kyrgyz Republic",
    "KN": "St. Kitts and Nevis; St Kitts and Nevis", "KP": "Democratic People's Republic of Korea; DPRK; "
    "Korea, Democratic People's Republic of; Korea, North", "KR": "Republic of Korea; Korea, Republic of; Korea, South; "
    "Korea; 한국; 대한민국; 韓国; 韩国", "LA": "Lao People's Democratic Republic; Lao PDR", "LC": "St. Lucia; St Lucia",
    "LY": "Libyan Arab Jamahiriya; State of Libya", "MD": "Republic of Moldova; Moldova, Republic of",
    "MK": "Macedonia; FYROM; The former Yugoslav Republic of Macedonia; Republic of North Macedonia",
    "MM": "Burma; Myanmar (Burma)", "MO": "Macao; Macau SAR; Macao SAR China; Macau S.A.R", "NL": "The Netherlands; "
    "Holland", "PH": "The Philippines", "PS": "Palestinian Territory; State of Palestine; Palestinian Territories; "
    "Occupied Palestinian Territory; West Bank; Gaza Strip; West Bank and Gaza", "RU": "Russian Federation; USSR; Россия; РФ; 俄国",
    "SH": "St. Helena", "ST": "Sao Tome and Principe", "SY": "Syrian Arab Republic", "SZ": "Swaziland",
    "TL": "East Timor; Timor Leste", "TR": "Türkiye; Turkiye; Republic of Türkiye", "TW": "Taiwan, Province of China; "
    "Republic of China; Chinese Taipei", "TZ": "United Republic of Tanzania; Tanzania, United Republic of",
    "US": "USA; U.S.A.; U.S.; United States of America; America; США; アメリカ; 미국; 美國", "VA": "Holy See; Vatican; "
    "Holy See (Vatican City State)", "VC": "St. Vincent and the Grenadines; St Vincent and the Grenadines",
    "VE": "Bolivarian Republic of Venezuela; Venezuela, Bolivarian Republic of", "VG": "Virgin Islands, British",
    "VI": "Virgin Islands, U.S.; United States Virgin Islands; U.S. Virgin Islands", "VN": "Viet Nam", "XK": "Kosovo; XKX",
    "AE": "UAE; Emirates", "BA": "Bosnia; Bosnia-Herzegovina", "SK": "Slovak Republic", "RE": "Reunion", "CW": "Curacao",
    "AX": "Aland Islands; Åland Islands", "BL": "St. Barthelemy; St. Barts", "LK": "Ceylon", "BF": "Upper Volta",
    "BJ": "Dahomey", "TT": "Trinidad", "PF": "Tahiti", "DE": "BRD; Federal Republic of Germany", "TH": "ประเทศไทย; ไทย; Siam",
}  # fmt: skip
"""Further names, in use and of old: official and inverted forms, without accents, what a country was called before."""
TERRITORIES = {
    "AU": "CC CX NF", "CN": "HK MO", "DK": "FO GL", "FI": "AX", "FR": "BL GF GP MF MQ NC PF PM RE TF WF YT",
    "GB": "AI BM FK GG GI GS IM IO JE KY MS PN SH TC VG", "NL": "AW BQ CW SX", "NO": "BV SJ", "NZ": "CK NU TK",
    "US": "AS GU MP PR UM VI",
}  # fmt: skip
"""What has a code of its own, by the country that it belongs to."""


@cache
def names() -> dict[str, str]:
    """Return the English name of each country as people write it, by its ISO 3166-1 code; XK is Kosovo."""
    return _listed() | COMMON


@cache
def _listed() -> dict[str, str]:
    spec = find_spec("reverse_geocode")  # whose code is not run: it changes how all CSV files are read
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).with_name("countries.csv").read_text("utf-8")
    return {row[0]: row[1] for row in csv.reader(text.splitlines())}


def country_name(code: str) -> str:
    """Return the English name of the country ``code``; the code itself where it has none.

    >>> country_name("KR")
    'South Korea'
    """
    return names().get(code, code)


def country_code(text: str) -> str | None:
    """Return the code of the country that ``text`` names, in a usual, official or old form; None if it names none.

    >>> [country_code(text) for text in ("Czech Republic", "korea, republic of", "cote d'ivoire", "USA", "pt", "Narnia")]
    ['CZ', 'KR', 'CI', 'US', 'PT', None]
    """
    return _codes().get(_plain(text))


@cache
def _codes() -> dict[str, str]:
    codes = {_plain(code): code for code in names()}
    codes |= {_plain(name): code for code, name in (_listed() | {"EU": "", "AP": ""}).items() if name}
    codes |= {_plain(name): code for code, listed in ALIASES.items() for name in listed.split(";")}
    return codes | {_plain(name): code for code, name in COMMON.items()}


def _plain(text: str) -> str:
    """Return a name without accents, case and punctuation, and without ``the``: how two spellings are compared."""
    letters = unicodedata.normalize("NFKD", text.replace("&", " and ")).casefold()
    words = re.findall(r"[^\W\d_]+", "".join(c for c in letters if not unicodedata.combining(c)).replace(".", ""))
    return " ".join(word for word in words if word != "the")
