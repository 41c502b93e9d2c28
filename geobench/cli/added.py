"""What ``geobench datasets add`` says of a new data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from geobench.cli.group import counted

if TYPE_CHECKING:
    from geobench.data.photo_positions import PhotoPositions
    from geobench.data.registration import Registered

SHOWN = 3  # names in a line
REASONS = 8  # for photos to have no position, each in a line


def echo_added(added: Registered) -> None:
    """Say what was added, and of each image that a person may not expect what became of it."""
    from geobench.data.photo_positions import NOTES

    folder = added.dataset.folder
    click.echo(f"{added.dataset.name}: {counted(added.images, 'image')}, defined in {folder / 'dataset.toml'}")
    for note in added.notes:
        click.echo(f"{note[0].upper()}{note[1:]}.", err=True)
    if added.photos is not None:
        sources = ", ".join(f"{n:,} from {source}" for source, n in added.photos.found.most_common())
        click.echo(f"positions: {sources}; what is not part of the set, and why: {folder / NOTES}", err=True)
    _echo_names("listed but not there; counted as failed", added.missing)
    _echo_names("found under another name than the table gives", [f"{a} = {b}" for a, b in added.renamed.items()])
    _echo_names("without a position, not part of the set", added.without_position)
    if added.photos is not None:
        _echo_photos(added.photos)
    _echo_names(f"in a format that is not read, not part of the set; {_remedy(added.unread)}", added.unread)


def _echo_photos(photos: PhotoPositions) -> None:
    """Say why photos have no position or two, and what the other files beside them are."""
    from geobench.data.photo_positions import NONE, SAME_PLACE_KM

    reasons = photos.by_reason()
    for reason, names in list(reasons.items())[:REASONS] if list(reasons) != [NONE] else ():
        click.echo(f"{len(names):,} of these: {reason} ({_first(names)})", err=True)
    if len(reasons) > REASONS:
        click.echo(f"{sum(map(len, list(reasons.values())[REASONS:])):,} of these: other reasons", err=True)
    apart = [f"{name} ({what})" for name, what in photos.apart.items()]
    _echo_names(f"with positions more than {SAME_PLACE_KM:g} km apart, of which the first source counts", apart)
    _echo_names("recognised by content and not by name", photos.by_content)
    if photos.left_out:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in Counter(photos.left_out.values()).most_common())
        click.echo(f"{counted(len(photos.left_out), 'file')} left out, no images: {kinds}", err=True)


def _remedy(names: Sequence[str]) -> str:
    """Return what to do about photos in formats that are not read."""
    from geobench.images.formats import HEIC_REMEDY, can_read_heif

    heic = any(name.lower().endswith((".heic", ".heif", ".hif")) for name in names) and not can_read_heif()
    return "save as JPEG, with EXIF" + (f", or {HEIC_REMEDY}" if heic else "")


def _echo_names(what: str, names: Sequence[str]) -> None:
    """Say of how many images something is true, and of which; nothing if it is of none."""
    if names:
        click.echo(f"{counted(len(names), 'image')} {what}: {_first(names)}", err=True)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
