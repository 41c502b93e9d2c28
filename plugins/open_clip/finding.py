"""Where weights lie: the file of a folder, that of a tag in ``GEOBENCH_HOME/weights``, the copy in the hub's cache."""

from __future__ import annotations

from pathlib import Path

from geobench import EncoderError, files

from .preprocessing import QUICK
from .weights_file import OPENAI, is_openais, repository

SUFFIXES = (".safetensors", ".pt", ".bin")
FOLDER = "weights"
"""In ``GEOBENCH_HOME``: ``weights/ViT-L-14/openai.pt`` is read instead of downloading ``ViT-L-14/openai``."""
OPEN_CLIPS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")
"""What the two libraries call the weights in a folder that they save or download."""


def place(architecture, tag, suffix):
    """Return where a file of the weights ``architecture/tag`` belongs."""
    return files.home() / FOLDER / architecture / f"{tag}{suffix}"


def named(path):
    """Return the file of weights at ``path``: itself, or that in a folder or in a repository of the hub's cache.

    Raises:
        EncoderError: there is none, or there are several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise EncoderError(f"there is no weights file {path}{_others(path.parent)}.")
    folder = _snapshot(path)
    found = _of_libraries(folder) or _weights_in(folder)
    if len(found) == 1 or (found and found[0].name in OPEN_CLIPS + TRANSFORMERS):
        return found[0]
    if found:
        listed = ", ".join(file.name for file in found)
        raise EncoderError(f"the folder {folder} has several files of weights ({listed}); name one of them.")
    parts = next(iter(sorted(folder.glob("*.index.json"))), None)
    if parts is not None:
        raise EncoderError(f"the weights in {folder} are in several parts ({parts.name}); save them as one file.")
    raise EncoderError(f"the folder {folder} has no file of weights ({', '.join(TRANSFORMERS + OPEN_CLIPS)}).")


def of_tag(architecture, tag):
    """Return a local file of the weights ``architecture/tag``; None if open_clip is to find them.

    It is the file in ``FOLDER`` with the tag's name, or a folder of that name. For OpenAI's weights it may also be a
    file there under another name, or the copy of transformers in the hub's cache, if it is known by its digest.
    """
    own = next((file for suffix in SUFFIXES if (file := place(architecture, tag, suffix)).is_file()), None)
    if own is not None:
        return own
    if (folder := place(architecture, tag, "")).is_dir():
        return named(folder)
    if tag != OPENAI:
        return None
    found = (file for file in near(architecture) if is_openais(architecture, file))
    return next(found, None) or _in_the_hubs_cache(architecture)


def near(architecture):
    """Return files in ``FOLDER`` that may be meant as weights of ``architecture``: under other names."""
    plain = architecture.removesuffix(QUICK)
    root = files.home() / FOLDER
    found = [file for folder in (root / plain, root / f"{plain}{QUICK}") for file in _weights_in(folder)]
    return found + [file for file in _weights_in(root) if file.stem.startswith((plain, plain.replace("-", "_")))]


def _in_the_hubs_cache(architecture):
    """Return transformers' copy if it is known to hold OpenAI's weights, unless open_clip has its own."""
    if has_own_copy(architecture, OPENAI):
        return None
    file = copy_of_transformers(architecture)
    return file if file is not None and is_openais(architecture, file) else None


def has_own_copy(architecture, tag):
    """Return whether the hub's cache holds the weights ``architecture/tag`` as open_clip downloads them."""
    import open_clip

    own = (open_clip.get_pretrained_cfg(architecture, tag) or {}).get("hf_hub", "").rstrip("/")
    return bool(own) and _cached(own, OPEN_CLIPS) is not None


def copy_of_transformers(architecture):
    """Return the file of weights that transformers downloaded from OpenAI's repository; None if there is none."""
    theirs = repository(architecture)
    return _cached(theirs, TRANSFORMERS) if theirs else None


def _cached(repository, names):
    """Return the first of the files ``names`` of a repository that the hub's cache holds; None if it holds none."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _snapshot(folder):
    """Return the folder with the files, if ``folder`` is a repository of the hub's cache; else itself."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    revisions = [main.read_text().strip()] if main.is_file() else [each.name for each in snapshots.iterdir()]
    found = [snapshots / revision for revision in revisions if (snapshots / revision).is_dir()]
    if len(found) != 1:
        raise EncoderError(f"{snapshots} has {len(found)} revisions and none is called main; name the folder of one.")
    return found[0]


def _of_libraries(folder):
    """Return the files that have a name which a library gives, in the order of preference."""
    return [folder / name for name in OPEN_CLIPS + TRANSFORMERS if (folder / name).is_file()]


def _weights_in(folder):
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())


def _others(folder):
    """Return a remark on the files of weights that are in ``folder``."""
    found = _weights_in(folder)
    return f"; in that folder there is {', '.join(file.name for file in found[:3])}" if found else ""
