"""The position in XMP, as editors write it into a photo or into a file beside it."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from xml.etree import ElementTree

from geobench.images.gps import LATITUDE, LONGITUDE, Axis, NoPositionError, Position, degrees, position

MAX_BYTES = 1 << 24
_EXIF = "{http://ns.adobe.com/exif/1.0/}GPS"
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,20})?"
# XMP specification, part 2: DDD,MM,SSk or DDD,MM.mmk. Decimal degrees occur too, with a letter or a minus sign.
_ANGLE = re.compile(rf"({_NUMBER})(?:,\s*({_NUMBER}))?(?:,\s*({_NUMBER}))?\s*([A-Za-z]+)|(-{_NUMBER})")


def xmp_position(content: bytes) -> Position | None:
    """Return the position in an XMP packet or file, None if none is recorded.

    Raises:
        NoPositionError: what is recorded has no meaning, or several.
    """
    if len(content) > MAX_BYTES:
        raise NoPositionError(f"it has more than {MAX_BYTES:,} bytes")
    if not content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        content = content.strip(b"\0 \n\r\t")
    if not content:
        return None
    target = _Tags()
    parser = ElementTree.XMLParser(target=target)
    try:
        parser.feed(content)
        parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
        raise NoPositionError("it is not XML, or damaged") from None
    tags = target.found
    if any(status.upper().startswith("V") for status in tags.get("Status", ())):
        raise NoPositionError("its GPSStatus is void")
    found = {axis.name: tags.get(axis.name.capitalize(), set()) for axis in (LATITUDE, LONGITUDE)}
    if not any(found.values()):
        return None
    return position(_degrees(found["latitude"], LATITUDE), _degrees(found["longitude"], LONGITUDE))


class _Tags:
    """Collects the values of ``exif:GPS…``, which are attributes or elements; the rest of a packet is passed over."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}
        self.text: str | None = None  # of a GPS element that is open; other texts may be megabytes

    def doctype(self, *_: object) -> None:
        """Refuse entities, which may unpack to anything."""
        raise ValueError("XMP has no document type")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Keep the attributes of an element; its text begins."""
        self.text = "" if tag.startswith(_EXIF) else None
        for name, value in attributes.items():
            self._keep(name, value)

    def data(self, text: str) -> None:
        """Keep text, which comes in pieces."""
        if self.text is not None:
            self.text += text

    def end(self, tag: str) -> None:
        """Keep the text of an element."""
        self._keep(tag, self.text or "")
        self.text = None

    def close(self) -> None:
        """End the document."""

    def _keep(self, name: str, value: str) -> None:
        if name.startswith(_EXIF) and value.strip():
            self.found.setdefault(name.removeprefix(_EXIF), set()).add(value.strip())


def _degrees(values: set[str], axis: Axis) -> float:
    if len(values) != 1:
        raise NoPositionError(f"it has more than one {axis.name}" if values else f"the {axis.name} is missing")
    (text,) = values
    match = _ANGLE.fullmatch(text)
    if match is None:
        raise NoPositionError(f"the {axis.name} is not written as degrees, minutes and a reference")
    *parts, reference, signed = match.groups()
    return degrees([float(signed)], "", axis) if signed else degrees([float(p) for p in parts if p], reference, axis)
