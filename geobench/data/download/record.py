"""What is known of a data set's files: the record ``downloads.json`` next to them, and whether a file fits it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geobench import files
from geobench.data.download.fetch import MB, Target
from geobench.data.download.web import AddressError
from geobench.errors import DownloadError
from geobench.progress import Progress

RECORD = "downloads.json"
"""Next to the data: address, size, SHA-256, version and date of each file."""


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the record of the files in ``folder``, by file name.

    Raises:
        DownloadError: it is damaged.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if all(isinstance(entry, dict) for entry in record.values()):
            return dict(record)
    except (ValueError, AttributeError):
        pass
    raise DownloadError(f"{path} is not a record of downloads; move it away.")


def write_record(folder: Path, file: str, entry: Mapping[str, Any]) -> None:
    """Add ``entry`` for ``file`` to the record of ``folder``."""
    files.write_json(folder / RECORD, {**read_record(folder), file: dict(entry)})


def new_entry(url: str, size: int, sha256: str, version: str) -> dict[str, Any]:
    """Return the entry of a file that was downloaded or verified now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"url": url, "size": size, "sha256": sha256, "version": version, "downloaded": now}


def verify(path: Path, target: Target, before: Mapping[str, Any], progress: Progress) -> tuple[int, str]:
    """Return size and SHA-256 of ``path``, the file fetched for ``target``.

    Args:
        before: the entry of an earlier download, empty if there is none or if another file is accepted.

    Raises:
        AddressError: it is another file.
    """
    size = path.stat().st_size
    check_stated(size, "", target, before)
    sha256 = sha256_of(path, progress)
    check_stated(size, sha256, target, before)
    if target.path.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
        raise AddressError("gives an incomplete zip archive")
    return size, sha256


def check_stated(size: int | None, sha256: str, target: Target, before: Mapping[str, Any]) -> None:
    """Raise ``AddressError`` if a given size or hash is not that of ``target`` or of ``before``."""
    if size is not None and target.size not in (None, size):
        raise AddressError(f"gives {size:,} bytes instead of {target.size:,}")
    if sha256 and target.sha256 not in ("", sha256):
        raise AddressError(f"gives another file ({short(sha256)}, not {short(target.sha256)})")
    if sha256 and before.get("sha256", sha256) != sha256:
        raise AddressError(
            f"gives another file ({short(sha256)}) than on {before['downloaded'][:10]} ({short(before['sha256'])})",
            advice="Find out what changed before you accept it with `geobench datasets download NAME --accept-changed`",
        )


def sha256_of(path: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file, progress.track(f"verify {path.name}", -(-path.stat().st_size // MB), "MB") as advance:
        while block := file.read(MB):
            found.update(block)
            advance(1)
    return found.hexdigest()


def short(sha256: str) -> str:
    """Return the beginning of a hash, for messages."""
    return f"sha256 {sha256[:12]}…"
