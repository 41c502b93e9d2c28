"""The disk: where home is, why a file cannot be written, and who may read what was."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geobench.errors import GeobenchError, SettingError, StorageError


def home() -> Path:
    """Return the folder of data and caches: ``GEOBENCH_HOME``, else the user's cache folder.

    Raises:
        SettingError: it is a file.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("GEOBENCH_HOME", "").strip()
    if not named:
        return Path(user_cache_path("geobench", appauthor=False))
    path = Path(named).expanduser().absolute()
    if path.is_file():
        raise SettingError(f"GEOBENCH_HOME is {path}, which is a file; name a folder, which need not exist yet.")
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a library raises where ``path`` cannot be written into a ``StorageError`` that says why."""
    try:
        yield
    except GeobenchError:
        raise
    except Exception as error:
        found = not_written(error, path)
        if found is None:
            raise
        raise found from error


LIBRARIES = ("sqlite3", "safetensors_rust", "safetensors", "pyarrow")
"""They have errors of their own, of which only the text tells."""
TEXTS = {
    "no space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "os error 28)": errno.ENOSPC,
    "os error 122)": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "os error 27)": errno.EFBIG,
    "read-only file system": errno.EROFS,
    "os error 30)": errno.EROFS,
    "permission denied": errno.EACCES,
    "os error 13)": errno.EACCES,
    "readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "disk i/o error": errno.EIO,
}
PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def not_written(error: Exception, path: Path) -> StorageError | None:
    """Return the error that ``path``, or the file that ``error`` names, cannot be written; None if it says otherwise.

    It says why: a full disk, one without room for another file, a quota, a limit on the size of files, a disk that can
    only be read, or a missing permission; and what to do.
    """
    code = _code(error)
    if code is None:
        return None
    named = Path(os.fsdecode(error.filename)) if isinstance(error, OSError) and error.filename else path
    absolute, blamed = path.absolute(), named.absolute()
    if blamed not in absolute.parents and not blamed.is_relative_to(absolute.parent):
        if code in PERMISSION:
            return None  # another file, which may have been read
        path = named
    elif code in PERMISSION and blamed.is_file():
        path = named
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), path.parent)
    return StorageError(f"{path} cannot be written: {_reason(code, path, folder, error)} {_elsewhere(path)}.")


def _code(error: Exception) -> int | None:
    """Return the number of the system's error, None if it is not about writing."""
    if isinstance(error, OSError):
        known = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, *PERMISSION)
        return error.errno if error.errno in known else None
    if type(error).__module__.partition(".")[0] not in LIBRARIES:
        return None
    text = str(error).lower()
    return next((code for words, code in TEXTS.items() if words in text), None)


def _reason(code: int, path: Path, folder: Path, error: Exception) -> str:
    """Return why, up to the words before another place to choose."""
    of_library = not isinstance(error, OSError)
    if of_library and code in (*PERMISSION, errno.EIO):  # SQLite says the same of several
        code = _state(folder, code)
    if code == errno.ENOSPC:
        free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB free"
        free = free if _files_left(folder) else f"no room for another file, df -i; {free}"
        return f"the disk of {folder} is full ({free}); make room there, or"
    if code in (errno.EACCES, errno.EPERM):
        what = "change this file" if path.is_file() else f"write in {folder}"
        return f"you have no permission to {what}; ask its owner, or"
    return {
        errno.EDQUOT: f"your quota on the disk of {folder} is used up; make room there, or",
        errno.EFBIG: f"files in {folder} may be no larger (ulimit -f);",
        errno.EROFS: f"{folder} is on a disk that can only be read;",
        errno.EIO: f"the disk of {folder} reports an error ({error});",
    }[code]


def _state(folder: Path, code: int) -> int:
    """Return what is wrong with the disk of ``folder`` as it is now, ``code`` if nothing is found."""
    if not hasattr(os, "statvfs"):
        return code
    status = os.statvfs(folder)
    if status.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not os.access(folder, os.W_OK):
        return errno.EACCES
    if not _files_left(folder) or status.f_bavail * status.f_frsize < 1 << 20:
        return errno.ENOSPC
    if code == errno.EIO and _size_limited():
        return errno.EFBIG
    return code


def _files_left(folder: Path) -> bool:
    """Return whether the disk has room for another file, however small; some do not count them."""
    if not hasattr(os, "statvfs"):
        return True
    status = os.statvfs(folder)
    return status.f_files == 0 or status.f_favail > 0


def _size_limited() -> bool:
    """Return whether this process may write files only up to a size."""
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _elsewhere(path: Path) -> str:
    """Return how to choose another place."""
    if path.absolute().is_relative_to(home()):
        return "choose another place with GEOBENCH_HOME, and run the same command again"
    return "choose another folder, and run the same command again"


def not_readable(path: Path, error: Exception, otherwise: str) -> str:
    """Return why ``path`` cannot be used, in words: without permission, else ``otherwise``, such as that it is damaged.

    A file that another user may read is not damaged, and must not be deleted.
    """
    denied = isinstance(error, PermissionError) or "permission denied" in str(error).lower()
    return f"{path} cannot be read: you have no permission; ask its owner." if denied else otherwise


def _umask() -> int:
    """Return the mask of permissions that this process was started with."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Asked once: asking sets it, and another thread may be making a file."""


def share(path: Path) -> None:
    """Give a new file or folder, and all in it, the permissions that the umask allows and the group of its folder.

    Temporary files, and those of safetensors, belong to one user alone; a home may be shared by several. A disk that
    knows no permissions (FAT, some network folders) is left as it is.
    """
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not each.is_symlink():
            mode = each.stat().st_mode
            executable = stat.S_ISDIR(mode)
            wanted = (0o777 if executable else 0o666) & ~UMASK | (mode & stat.S_ISGID if executable else 0)
            if stat.S_IMODE(mode) != wanted:
                with suppress(PermissionError):
                    each.chmod(wanted)
