"""How two spellings of a place's name are compared, and words that name no place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]")
"""Accents of Latin, Greek and Cyrillic, vowel points of Hebrew and Arabic. The marks of other scripts are letters:
without them パリ, Paris, would be バリ, Bali."""
_LETTERS = str.maketrans(
    dict.fromkeys("'’‘ʻʼʿʾ`´.·")
    | {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
    | {"ی": "ي", "ى": "ي", "ک": "ك", "ة": "ه", "臺": "台"}
)
_BETWEEN = re.compile("[\\s\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f\u30fb]+")
_LONG = {"st": "saint", "ste": "sainte", "ft": "fort", "mt": "mount"}

UNKNOWN = """
    unknown, unidentified, undetermined, indeterminate, uncertain, unclear, unsure, unspecified, undefined,
    none, null, nan, na, n a, nil, not, not applicable, not visible, not sure, not available, not identifiable,
    not specified, not determined, not known, cannot determine, can't determine, unable to determine,
    cannot be determined, no idea, no gps data available, no answer, error, parse failed, unbekannt, inconnu,
    inconnue, desconocido, desconocida, desconhecido, sconosciuto, onbekend, nieznane, nieznany, неизвестно,
    невідомо, bilinmiyor, غير معروف, 未知, 不明, 不详, 알 수 없음, neznámé, okänd
"""
"""What is written where no place is known."""
GRAMMAR = """
    no, yes, other, various, multiple, any, anywhere, somewhere, nowhere, here, there, maybe, probably,
    possibly, likely, of, in, at, on, by, to, is, it, this, that, the, a, an, and, or, near
"""
"""Words of grammar, which stand alone in an answer and are no name."""
KINDS = """
    city, town, village, country, region, state, province, place, location, street, road, house,
    building, church, temple, castle, bridge, beach, mountain, mountains, hill, hills, valley, river,
    lake, sea, ocean, coast, island, islands, forest, desert, jungle, canyon, waterfall, park, field,
    airport, station, downtown, suburb, suburbs, center, centre, old town, city center, city centre,
    countryside, landmark, museum, harbour, harbor, port, market, square, rural, urban, rural area,
    urban area, central park
"""
"""Kinds of places. Towns called so exist; an answer that consists of such a word does not mean them."""
PARTS_OF_THE_WORLD = """
    africa, asia, europe, america, north america, south america, latin america, central america,
    oceania, eurasia, middle east, far east, southeast asia, east asia, south asia, central asia,
    western europe, eastern europe, northern europe, southern europe, central europe, west africa, east
    africa, north africa, southern africa, scandinavia, balkans, mediterranean, caribbean, arctic, alps,
    sahara, world, earth
"""
"""Larger than a country: no point stands for them."""
_WORDS = """
    bad, bar, bath, batman, best, buffalo, cold, commerce, cool, cork, corona, deal, early, enterprise,
    hell, hope, hot, hull, independence, industry, liberal, male, man, march, mobile, most, nice,
    normal, ontario, orange, paradise, phoenix, police, reading, red, rugby, sale, same, sandwich, see,
    split, surprise, tours, view, warm, wells
"""
"""Towns whose names are everyday words: in a text without their country or region they are words."""


def plain(text: str) -> str:
    """Return a name without case, accents and punctuation: two spellings of one name are then equal.

    >>> [plain(name) for name in ("São  Paulo", "ŁÓDŹ", "Saint-Étienne", "Jo'burg", "D.C.", "Ｐａｒｉｓ")]
    ['sao paulo', 'lodz', 'saint etienne', 'joburg', 'dc', 'paris']
    """
    text = text.casefold()
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _BETWEEN.sub(" ", text.translate(_LETTERS)).strip()


ALSO_WORDS = frozenset(plain(name) for name in _WORDS.split(","))
_UNKNOWN = frozenset(plain(name) for name in UNKNOWN.split(","))
_GRAMMAR = frozenset(plain(name) for name in GRAMMAR.split(","))
_NO_PLACES = frozenset(plain(name) for name in ",".join([KINDS, PARTS_OF_THE_WORLD]).split(","))


def is_unknown(text: str, grammar: bool = True) -> bool:
    """Return whether ``text`` says that no place is known, or is a word of ``grammar``; ``IN`` and ``OR`` are codes.

    >>> [is_unknown(text) for text in ("N/A", "not sure", "неизвестно", "the", "OR", "Oslo")]
    [True, True, True, True, False, False]
    """
    word = plain(text)
    return word in _UNKNOWN or (grammar and word in _GRAMMAR and not re.fullmatch("[A-Z]{2}", text.strip()))


def names_nothing(text: str) -> bool:
    """Return whether ``text`` cannot be a place's name: empty, without letters, ``unknown``, ``a beach``, ``Asia``.

    >>> [names_nothing(text) for text in ("N/A", "?", "the mountains", "Europe", "Oslo")]
    [True, True, True, True, False]
    """
    words = re.sub("^(?:the|a|an) ", "", plain(text))
    return not any(map(str.isalpha, words)) or is_unknown(text) or words in _NO_PLACES


def spellings(text: str) -> Iterator[str]:
    """Yield ``text`` as :func:`plain` has it, then as it may be listed: ``Saint`` for ``St.``, 大阪 for 大阪市.

    >>> list(spellings("St. Louis")), list(spellings("Kansas City"))
    (['st louis', 'saint louis'], ['kansas city', 'kansas'])
    """
    words = plain(text)
    yield words
    first, _, rest = words.partition(" ")
    if rest and first in _LONG:
        yield f"{_LONG[first]} {rest}"
    if rest and first in ("the", "city"):
        yield rest.removeprefix("of ")
    if words.endswith(" city"):
        yield words.removesuffix(" city")
    if len(words) > 2 and words[-1] in "市区區县縣町村":
        yield words[:-1]
