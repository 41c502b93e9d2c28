"""The answer in what a model sent: without its reasoning, its tags and its Markdown."""

from __future__ import annotations

import re

from geobench.words.refusals import is_refusal


class NoAnswer(Exception):  # noqa: N818  # it says what an answer is, not what went wrong with the program
    """A text that claims no place; the message says why, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))


class Refusal(NoAnswer):
    """The model, or a filter before or behind it, declined to answer."""


class Unparseable(NoAnswer):
    """The text is no answer in the form that the parser reads: empty, cut off, HTML, or of another form."""


THINKING = "think|thinking|thought|reasoning|reason|scratchpad"
_CLOSED = re.compile(rf"^.*(?:</(?:{THINKING})>|◁/think▷)", re.IGNORECASE | re.DOTALL)
_OPEN = re.compile(rf"<(?:{THINKING})>|◁think▷", re.IGNORECASE)
_ANSWER, _CLOSE = re.compile(r"<answer>", re.IGNORECASE), re.compile(r"</answer>", re.IGNORECASE)
_HTML = re.compile(r"^\s*(?:<!doctype\b|<html\b|<head\b|<body\b|<\?xml\b)", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^\s*(?:```|~~~)[\w-]*\s*$", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:[*•#>]+[ \t]+|[-+][ \t]+(?!\d)|\d{1,2}[.)][ \t]+(?=\D))+", re.MULTILINE)
SHOWN = 60
LONGEST = 20_000
"""Characters of an answer; what is longer repeats itself without end."""


def answer_in(text: str) -> str:
    """Return what a model answers in ``text``: what follows its reasoning, or stands in its last ``<answer>``.

    Raises:
        Unparseable: nothing, HTML, reasoning without an answer, or an ``<answer>`` that is not closed: it was cut off.
    """
    if not text.strip():
        raise Unparseable("the answer is empty")
    if _HTML.match(text):
        raise Unparseable(f"an HTML page instead of an answer: {shown(text)}")
    after = _CLOSED.sub("", text)
    if _OPEN.search(after):
        raise Unparseable("the answer ends within its reasoning")
    if not after.strip():
        raise Unparseable("reasoning, and no answer after it")
    tags = list(_ANSWER.finditer(after))
    inside = after[tags[-1].end() :] if tags else after
    closed = _CLOSE.search(inside)
    if tags and closed is None:
        raise Unparseable("the answer was cut off: <answer> is not closed")
    after = inside[: closed.start()] if closed else inside
    if not after.strip():
        raise Unparseable("the answer is empty")
    if len(after) > LONGEST:
        raise Unparseable(f"{len(after):,} characters besides reasoning, above {LONGEST:,}: {shown(after)}")
    return after.strip()


def plain(text: str) -> str:
    """Return ``text`` without Markdown: fences, bullets, bold; line breaks stay.

    >>> plain("- **Latitude:** `48.85`")
    'Latitude: 48.85'
    """
    bare = _BULLET.sub("", _FENCE_LINE.sub("", text))
    return re.sub(r"\*\*|__|`|(?<!\w)\*|\*(?!\w)", "", bare).strip()


def nothing_in(text: str, why: str) -> NoAnswer:
    """Return what to raise for a text that claims no place: a refusal if it declines, else unparseable for ``why``."""
    return Refusal(f"declined: {shown(text)}") if is_refusal(text) else Unparseable(why)


def shown(text: str) -> str:
    """Return the beginning of a text, in quotes and on one line."""
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…")
