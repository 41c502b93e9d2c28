"""Names of countries and their divisions in other languages: the translations of ISO 3166 that ``pycountry`` has."""

from __future__ import annotations

import gettext
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from geobench.data.countries import names
from geobench.words.index import missing_extra
from geobench.words.spelling import plain


def pycountry() -> ModuleType:
    """Return the package ``pycountry``.

    Raises:
        GeobenchError: it is not installed.
    """
    try:
        import pycountry as package
    except ModuleNotFoundError as error:
        raise missing_extra("pycountry") from error
    return package


@cache
def translated_countries() -> dict[str, str]:
    """Return the code of each country by its names in 160 languages.

    A name that is one country's in some languages and another's in others, as by a slip of a translator, is that of the
    country which more of them call so; of none if as many.
    """
    forms = {
        name: country.alpha_2
        for country in pycountry().countries
        if country.alpha_2 in names()
        for key in ("name", "official_name", "common_name")
        if (name := getattr(country, key, ""))
    }
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for catalogue in _catalogues("iso3166-1"):
        for name, code in forms.items():
            votes[plain(catalogue.gettext(name))][code] += 1
    found = {}
    for name, counter in votes.items():
        first, second = [*counter.most_common(2), ("", 0)][:2]
        if name and first[1] > second[1]:
            found[name] = first[0]
    return found


@cache
def translated_divisions() -> dict[str, dict[str, list[str]]]:
    """Return the names in other languages of each country's divisions: code of the country, ISO name, translations."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    divisions = [(division.country_code, division.name) for division in pycountry().subdivisions]
    for catalogue in _catalogues("iso3166-2"):
        for code, name in divisions:
            if (other := catalogue.gettext(name)) != name:
                found[code].setdefault(name, []).append(other)
    return found


def _catalogues(domain: str) -> Iterator[gettext.GNUTranslations]:
    for path in sorted(Path(pycountry().LOCALES_DIR).glob(f"*/LC_MESSAGES/{domain}.mo")):
        with path.open("rb") as file:
            yield gettext.GNUTranslations(file)
