"""Names of places in an answer: labelled (``city: Paris``), stated (``it looks like Paris``), or the whole of it."""

from __future__ import annotations

import re
import unicodedata

from geobench.words.spelling import is_unknown

_PLACEHOLDER = re.compile(
    r"^[\[<{(]?\s*(?:the\s+)?(?:country|city|region|state|place|location)(?:[ _]name)?\s*[\]>})]?$", re.I
)
_HEDGE = re.compile(
    r"^(?:most\s+likely|very\s+likely|likely|probably|possibly|perhaps|maybe|presumably|approximately|somewhere\s+in|"
    r"vermutlich|wahrscheinlich|probablement|peut-être|probablemente|probabilmente|provavelmente)[\s:,]+",
    re.I,
)
_LABELS = {
    "country": "country country_name nation pays land país pais paese kraj ülke страна країна 国家 國家 国 국가 나라",
    "region": "region state province state/province state_or_province state_province prefecture admin1 région provincia "
    "bundesland estado stato область регион 省 省份 州 지역",
    "city": "city city_name town village municipality locality nearest_city ville stadt ort ciudad cidade città miasto "
    "şehir город місто 城市 都市 市 도시",
    "continent": "continent kontinent continente континент 大陆 大洲 대륙",
    "place": "place landmark address location location_name exact_location exact_location_name place_name specific_location "
    "最可能的地点 地点 位置",
}
ROLE_OF = {word: role for role, words in _LABELS.items() for word in words.split()}
"""The role of a label: of a line of text, or of a key of JSON, in lower case with ``_`` for blanks."""
_SPELT = "|".join(sorted((re.escape(w).replace("_", r"[ _]") for w in ROLE_OF), key=len, reverse=True))
_LABEL = re.compile(rf"(?:^|(?<=[\n,;.|{{]))\s*[\"'“]?(?P<label>{_SPELT})[\"'”]?\s*[:=]\s*", re.I)
ANSWER = (
    r"(?:(?:my|the|a)\s+)?(?:final|best|most\s+likely)?\s*(?:answer|guess|estimate|conclusion|prediction|verdict)|most\s+likely|"
    r"antwort|réponse(?:\s+finale)?|respuesta(?:\s+final)?|resposta|risposta|ответ|答案|最终答案|回答|정답|답변|답"
)
"""What an answer is marked with."""
_MARKED = re.compile(
    rf"(?:^|(?<=[\n.!?:;]))\s*(?:so\s+|thus\s+|therefore\s+|however,?\s+)*(?:{ANSWER})\s*(?:is|:|=|ist|est|es)\s*:?\s*",
    re.I,
)
_THIS = r"(?:it|this|that|(?:the|this)\s+(?:photo(?:graph)?|image|picture|scene|place|location))"
_LINKED = "|".join(
    (
        r"looks?\s+(?:a\s+lot\s+)?like|seems?\s+(?:to\s+be|like)|appears?\s+to\s+be|resembles?",
        r"i(?:'|’)?(?:d|\s+would)\s+(?:say|guess)",
        rf"i\s+(?:think|believe|guess|suspect)\s+(?:that\s+)?{_THIS}(?:\s+(?:is|was)|(?:'|’)s)|i\s+(?:think|believe|guess)",
        r"(?:could|may|might|must)\s+be",
        rf"{_THIS}(?:\s+(?:is|was|shows|depicts)|(?:'|’)s)",
        r"(?:guess|answer|estimate|conclusion)\s+(?:is|would\s+be)",
        r"(?:likely|probable|plausible)\s+(?:location|place|city|country|candidate)\s+is",
        r"(?:probably|likely|possibly|perhaps)(?=\s+(?:in|at|near|from)\b)",
        r"(?:das|es|dies)\s+ist|sieht\s+(?:aus\s+wie|nach)",
        r"это|il\s+s(?:'|’)agit|c(?:'|’)est|semble\s+être|parece(?:\s+ser)?|sembra(?:\s+essere)?|è|es|é",
    )
)
"""What links a place to the photo."""
_SAID = re.compile(
    rf"\b(?:{_LINKED})\s+"
    r"(?:(?:most\s+likely|likely|probably|possibly|perhaps|wahrscheinlich|vermutlich|probable?ment\w?)\s+)?(?:de\s+)?"
    r"(?:an?\s+(?:(?-i:[a-zà-ÿ-]+)\s+){1,4}?(?:of|in|at|from)\s+)?"
    r"(?:(?:to\s+have\s+been\s+)?(?:taken|located|situated|set|shot)\s+)?(?P<near>near\s+|close\s+to\s+)?"
    r"(?:(?:in|at|from|à|en)\s+)?(?:somewhere\s+in\s+)?(?:the\s+(?:city|town|village|country|state|region)\s+of\s+)?(?:the\s+)?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|never|no|cannot|can(?:'|’)?t|isn(?:'|’)?t|wasn(?:'|’)?t|doesn(?:'|’)?t|don(?:'|’)?t|whether|unless|if|unlikely|nicht|pas|nunca|unable)\b",
    re.I,
)
_CLAUSE = re.compile(r"[.!?;:\n]\s|\b(?:but|however|although|though|yet|aber|mais|pero|ma|mas)\b,?", re.I)
_CAPITALISED = r"(?:(?:[^\W\d_a-z]|d['’][^\W\d_a-z])[\w'’.\-]*)"
_JOINING = r"(?:de|del|della|di|da|do|dos|das|du|des|la|le|les|el|of|the|and|upon|on|am|an|der|den|bei|in|y|sur|al|e|i|van|af|im)"
_NAME = rf"{_CAPITALISED}(?:\s+(?:{_JOINING}\s+){{0,3}}{_CAPITALISED}){{0,6}}"
_NAMES = re.compile(rf"{_NAME}(?:(?:,\s*(?:in\s+)?|\s+in\s+)(?:the\s+)?{_NAME}){{0,6}}")
_LEAD = re.compile(
    r"(?:near|close to|around|just outside|somewhere in|(?:the )?outskirts of|(?:north|south|east|west) of|in)\s+", re.I
)
_PLUS_CODE = re.compile(r"[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b.*")
CLAUSE = 300
"""Characters before a statement that are searched for what denies it."""
CHAT = frozenset(
    [
        "sure",
        "yes",
        "no",
        "ok",
        "okay",
        "hello",
        "hi",
        "thanks",
        "thank",
        "certainly",
        "of_course",
        "i",
        "it",
        "this",
        "that",
        "here",
        "the",
        "a",
        "none",
    ]
)
"""Words that stand alone in an answer, and are no name."""


LONGEST = 200
"""Characters of a name or an address."""


def known(value: str) -> str:
    """Return a name as an answer gives it, without brackets, hedges and remarks; empty if it says that none is known.

    >>> [known(text) for text in ("[France]", "Likely Lyon (or Vienne)", "Unknown (perhaps Spain)", "N/A", "city name")]
    ['France', 'Lyon', '', '', '']
    """
    text = unicodedata.normalize("NFC", value).strip().strip("\"'“”`*[]<>").strip()
    text = _HEDGE.sub("", re.sub(r"\s*[(（][^()（）]*[)）]?\s*$", "", text) or text).strip(" ,;")
    text = text.rstrip(".") if not re.search(r"\b\w\.\w?\.$", text) else text
    if is_unknown(text) or is_unknown(re.split(r"[\s,(;]", text)[0], grammar=False):
        return ""
    if len(text) > LONGEST or not re.search(r"[^\W\d_]", text) or _PLACEHOLDER.match(text) or text.startswith("["):
        return ""
    return text


def labelled(text: str) -> dict[str, str]:
    """Return the names by their labels in ``text``; of one that stands several times the last; a role may be empty.

    >>> labelled("country: France, city: Paris")
    {'country': 'France', 'city': 'Paris'}
    """
    found: dict[str, str] = {}
    text = text.replace("：", ":")
    marks = list(_LABEL.finditer(text))
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        value = text[mark.end() : end].strip(" \t,;").split("\n")[0].rstrip(" \t,;}")
        found[ROLE_OF[re.sub(r"\s+", "_", mark["label"].lower())]] = known(value)
    return found


def marked(text: str) -> str | None:
    """Return what follows the last mark such as ``Final answer:``; None if nothing is marked."""
    marks = list(_MARKED.finditer(text.replace("：", ":")))
    return text[marks[-1].end() :] if marks else None


def stated(text: str) -> str:
    """Return the names of the place that sentences state last, such as ``it looks like Lyon, France``; empty if none.

    What is denied or in question does not count; of ``Paris or Lyon`` the first does.
    """
    last = ""
    for match in _SAID.finditer(text):
        clause = _CLAUSE.split(text[max(0, match.start() - CLAUSE) : match.start()] + " ")[-1] + match[0]
        names = _NAMES.match(text, match.end())
        if names is None or _DENIED.search(clause):
            continue
        name = known(re.sub(r"\s+in\s+(?:the\s+)?|,\s*in\s+(?:the\s+)?", ", ", names[0]).rstrip(".'’"))
        if name and name.lower() not in CHAT:
            last = f"near {name}" if match["near"] else name
    return last


def whole(text: str) -> str:
    """Return ``text`` if it is a name, or several with commas: a short line in capitals, or of another script."""
    line = text.strip().rstrip(".。").strip()
    if "\n" in line or len(line) > 80 or line[-1:] in "?!" or len(line.split()) > 10:
        return ""
    if _PLUS_CODE.fullmatch(line):
        return line
    if re.search(r"[A-Za-zÀ-ɏ]", line) and not _NAMES.fullmatch(_LEAD.sub("", line, count=1)):
        return ""
    return "" if line.lower() in CHAT else known(line)
