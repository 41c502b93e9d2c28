"""What ``geobench datasets add`` says of a new data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from geobench.cli.group import counted
from geobench.errors import GeobenchError

if TYPE_CHECKING:
    from geobench.data.photo_positions import PhotoPositions
    from geobench.data.registration import Registered
    from geobench.data.splitting import Sides

EMBEDDED = "efficientnet_lite0"
"""The encoder whose weights come with a dependency."""
SHOWN = 3  # names in a line
REASONS = 8  # for photos to have no position, each in a line


def echo_added(added: Registered) -> None:
    """Say what was added, and of each image that a person may not expect what became of it."""
    from geobench.data.photo_positions import NOTES

    folder = added.dataset.folder
    sizes = " and ".join(f"{n:,} to {split} on" for split, n in added.splits.items())
    images = counted(added.images, "image") + (f", {sizes}" if sizes else "")
    click.echo(f"{added.dataset.name}: {images}, defined in {folder / 'dataset.toml'}")
    for note in added.notes:
        click.echo(f"{note[0].upper()}{note[1:]}.", err=True)
    if added.photos is not None:
        sources = ", ".join(f"{n:,} from {source}" for source, n in added.photos.found.most_common())
        click.echo(f"positions: {sources}; what is not part of the set, and why: {folder / NOTES}", err=True)
    if added.bad:
        click.echo(f"{counted(len(added.bad), 'row')} left out, listed in {folder / NOTES}:", err=True)
        for bad in added.bad[:SHOWN]:
            click.echo(f"  {bad.what}: {bad.reason}", err=True)
        if len(added.bad) > SHOWN:
            click.echo(f"  … and {len(added.bad) - SHOWN:,} more", err=True)
        click.echo("The set has a copy of the table; after changes add it again with --replace.", err=True)
    _echo_names("listed but not there; counted as failed", added.missing)
    _echo_names("found under another name than the table gives", [f"{a} = {b}" for a, b in added.renamed.items()])
    _echo_names("without a position, not part of the set", added.without_position)
    if added.photos is not None:
        _echo_photos(added.photos)
    _echo_names(f"in a format that is not read, not part of the set; {_remedy(added.unread)}", added.unread)
    if added.dataset.has_photos(added.dataset.split_for("test")):
        _echo_encoder(added.dataset.default_encoder)
        _echo_next(added.dataset.name, added.dataset.default_encoder, bool(added.splits))


def echo_sides(sides: Sides, km: Sequence[float] = (1, 25, 200)) -> None:
    """Say how a set was divided, how near the sides are to each other, and what can be done with it."""
    name, n = sides.dataset.name, sides.train + sides.test
    share = f"{100 * sides.test / n:.1f} %"
    definition = sides.dataset.folder / "dataset.toml"
    click.echo(
        f"{name}: {sides.train:,} images to train on, {sides.test:,} to test on ({share}), defined in {definition}"
    )
    together = ", and ".join([*sides.rules, "files of the same bytes"])
    click.echo(f"On one side: {together} ({counted(sides.groups, 'group')}).")
    within = ", ".join(f"{(sides.nearest_km <= d).sum():,} within {d:g} km" for d in km)
    least, median = f"{sides.nearest_km.min():,.3g}", f"{sorted(sides.nearest_km)[len(sides.nearest_km) // 2]:,.3g}"
    click.echo(
        f"From a test image to the nearest training image: at least {least} km, median {median} km; of {sides.test:,} "
        f"test images {within}."
    )
    for note in sides.notes:
        click.echo(f"{note[0].upper()}{note[1:]}.", err=True)
    _echo_encoder(sides.dataset.default_encoder)
    _echo_next(name, sides.dataset.default_encoder, True)


def _missing_weights(encoder: str) -> str:
    """Return why the weights of an encoder are not here, without asking a network; empty if they are."""
    from geobench.plugins import get_encoder

    try:
        found = get_encoder(encoder)
        if found.downloads():
            return "The first command that needs them downloads them."
        found.check()
    except GeobenchError as error:
        return str(error)
    return ""


def _echo_encoder(encoder: str) -> None:
    """Say which encoder commands will ask for if none is named, and whether its weights are here."""
    missing = _missing_weights(encoder)
    if missing:
        click.echo(f"Encoder: {encoder}, whose weights are not on this machine. {missing}", err=True)
        click.echo(f"The encoder {EMBEDDED} is here: --encoder {EMBEDDED}.", err=True)
    else:
        click.echo(f"Encoder: {encoder}, whose weights are here.", err=True)


def _echo_next(name: str, encoder: str, is_split: bool) -> None:
    """Say which commands lead to a table."""
    named = f" --encoder {EMBEDDED}" if encoder != EMBEDDED and _missing_weights(encoder) else ""
    if not is_split:
        click.echo(f"Next: geobench datasets split {name}    # to train and to test on different images", err=True)
        return
    click.echo(f"Next: geobench train knn --data {name}{named}", err=True)
    click.echo(f"      geobench run --models knn@{name} --datasets {name}", err=True)


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
