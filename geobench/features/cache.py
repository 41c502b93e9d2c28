"""The feature cache: features are extracted once, in bounded memory, and stored under a key of all they depend on.

A finished entry is a folder ``GEOBENCH_HOME/features/KEY`` with ``features.npy`` (n, views, d) in float32, float16 if
the encoder's are, ``ok.npy`` (n,), ``digests.npy`` (n, 2), ``failures.jsonl`` and ``about.json``. During extraction
(:mod:`geobench.features.extraction`) it is called ``KEY.partial``.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import disk, files, holding
from geobench.data.dataset import changed_while_read
from geobench.distributed import current
from geobench.errors import FeatureError, SettingError, as_plugin_error
from geobench.features.code import features_code
from geobench.features.decoding import Decoder
from geobench.features.extraction import FeatureExtraction
from geobench.features.half import HalfArray
from geobench.features.shards import SUFFIX
from geobench.images.decoding import CROPS
from geobench.images.digests import Digests, read_digests
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation

ARRAY, DIGESTS, ABOUT = "features.npy", "digests.npy", "about.json"
FEW = 100_000
"""Digests that features lack are added to at most this many images: reading these takes a minute or two."""
SAMPLED, SAME = 64, 0.01
"""Rows that tell features from others, and by which share of its norm a row of the same may be off after --force."""


@dataclass(frozen=True)
class Features:
    """Features of n images.

    Attributes:
        array: (n, views, d), memory-mapped; zeros for failed images. What is read of it is float32; if it is in half
            precision on the disk, it is no numpy array, but can be indexed and given to ``np.asarray``.
        ok: (n,), False if the image could not be read.
        key: hash of the images, the crops, and the encoder with its weights, preprocessing and code.
        root: the folder of the features of all kinds; None is that in ``GEOBENCH_HOME``.
        rows: which of the images in the cache these are; None if they are all.
    """

    array: npt.NDArray[np.float32] | HalfArray
    ok: npt.NDArray[np.bool_]
    key: str
    root: Path | None = None
    rows: range | None = None

    def part(self, rows: range) -> Features:
        """Return those of the images ``rows``."""
        chosen = slice(rows.start, rows.stop)
        return replace(self, array=self.array[chosen], ok=self.ok[chosen], rows=rows)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def folder(self) -> Path:
        """Return the folder of the features."""
        return (self.root or _root()) / self.key

    @property
    def about(self) -> dict[str, Any]:
        """Return how they were computed: encoder, preprocessing, failures, time, and how busy the encoder was."""
        about: dict[str, Any] = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        return about

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that decoded and encoded; empty if an earlier version extracted them."""
        versions: dict[str, str] = self.about.get("versions", {})
        return versions

    @property
    def digests(self) -> Digests | None:
        """Return the digests (n, 2) of the images, memory-mapped, zeros for failed ones; None if they were not kept.

        Features that an earlier version extracted have none, unless there are few enough to read the images again.
        """
        path = self.folder / DIGESTS
        if not path.exists():
            return None
        try:
            known = files.read_array(path, np.uint64, (len(self) if self.rows is None else None, 2), mapped=True)
            return known if self.rows is None else known[self.rows.start : self.rows.stop]
        except (OSError, ValueError) as error:
            raise FeatureError(
                f"{path}: the digests of the images are damaged ({error}); delete the file and run again."
            ) from error

    def reference(self) -> npt.NDArray[np.uint8]:
        """Return what a checkpoint keeps in place of them, for :meth:`referred`: their key, and what tells them."""
        about = self.about
        named = {name: about.get(name) for name in ("dataset", "purpose", "encoder", "images", "crops")}
        text = json.dumps({"key": self.key, "sample": self._sample(), **named}, sort_keys=True)
        return np.frombuffer(text.encode(), dtype=np.uint8)

    @classmethod
    def referred(cls, reference: npt.NDArray[np.uint8]) -> Features:
        """Return the features that :meth:`reference` was made of.

        Raises:
            FeatureError: they are not in the cache, or others are in their place.
        """
        named = json.loads(reference.tobytes())
        folder = _root() / named["key"]
        again = f"geobench features {named['dataset']} --split {named['purpose']} --encoder {named['encoder']}"
        again += f" --limit {named['images']}" + (f" --crops {named['crops']}" if named["crops"] != 1 else "")
        if not folder.is_dir():
            raise FeatureError(
                f"{folder}: the features that it refers to are not there; bring them back, or extract them again as "
                f"for the training: {again}"
            )
        found = open_features(folder, named["key"])
        if not found._are(named["sample"]):
            raise FeatureError(f"{folder}: these are other features than it was trained on; train it again (--force).")
        return found

    def _sample(self) -> dict[str, Any]:
        """Return what tells these features from others: of rows from all over a projection, and which could be read."""
        rows = np.linspace(0, len(self) - 1, min(SAMPLED, len(self))).astype(np.intp)
        values = np.asarray(self.array[rows], dtype=np.float64).reshape(len(rows), -1)
        onto = np.random.default_rng(0).standard_normal(values.shape[1])
        projected, norms = (values @ onto).tolist(), np.linalg.norm(values, axis=1).tolist()
        return {"shape": list(self.array.shape), "ok": files.digest(self.ok), "projected": projected, "norms": norms}

    def _are(self, sample: Mapping[str, Any]) -> bool:
        """Return whether these are the features of a sample, but for the last bits, which a GPU may round otherwise."""
        own = self._sample()
        if (own["shape"], own["ok"]) != (sample["shape"], sample["ok"]):
            return False
        apart = np.abs(np.subtract(own["projected"], sample["projected"]))
        return bool((apart <= SAME * np.maximum(sample["norms"], 1e-12)).all())


def extract(
    dataset: Dataset,
    table: pd.DataFrame,
    encoder: Encoder,
    *,
    purpose: str = "test",
    crops: int = 1,
    augmentation: Augmentation | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    images_key: str = "",
    force: bool = False,
    progress: Progress = SILENT,
) -> Features:
    """Return the features of the images in ``table``, from the cache if they are in it.

    A killed extraction is resumed; at most one shard is computed twice. If all processes of a group
    (:func:`geobench.distributed.joined`) call it, they divide the work.

    Args:
        dataset: the data set of ``table``.
        table: rows of the data set.
        encoder: loaded only if anything has to be computed.
        purpose: ``train`` or ``test``.
        crops: views of each image: 1, 5 or 10.
        augmentation: random views instead of crops.
        device: of the encoder.
        batch_size: views encoded together; it does not affect the features.
        workers: processes that decode; with 0 a thread of this one does.
        images_key: ``dataset.content_key(table, purpose)``, if already known: computing it stats every image.
        force: extract them again if they are in the cache. They replace the old ones only when complete, and a process
            that has the old ones open keeps them.
        progress: reports progress.

    Raises:
        DatasetError: images have changed while they were encoded.
        FeatureError: the files on disk are truncated, or a process that decodes was killed.
        EncoderError: the encoder's weights are not available.
        SettingError: ``crops`` is not one of the policies.
    """
    if crops not in CROPS:
        raise SettingError(f"crops must be one of {', '.join(map(str, CROPS))}, not {crops}.")
    group = current()
    if group.main and not images_key:
        images_key = dataset.content_key(table, purpose, progress)
    decoder = Decoder(dataset, encoder, purpose, crops, augmentation)
    key = group.share(features_key(decoder, device, images_key) if group.main else "")
    root = group.share(_writable_root(key, progress) if group.main else None)
    folder = root / key
    extraction = FeatureExtraction(decoder, table, folder.with_suffix(".partial"), images_key)
    if group.share(force or not folder.is_dir()):
        with files.locked(folder, progress.say) if group.main else nullcontext():
            if group.share(force or not folder.is_dir()):  # another process may have finished while this one waited
                _extracted(extraction, folder, device, force, batch_size=batch_size, workers=workers, progress=progress)
    features = replace(open_features(folder, key, len(table)), root=root)
    if group.main:
        _add_digests(features, decoder, table, progress)
        keep_contents(features, extraction, images_key)
    return features


def _root() -> Path:
    return files.home() / "features"


def features_root() -> Path:
    """Return the folder of all features, to write to.

    Raises:
        SettingError: it cannot be written.
    """
    files.check_folder(_root())
    return _root()


def _writable_root(key: str, progress: Progress) -> Path:
    """Return the folder of all features; one for this process alone if they are not cached and it can only be read."""
    root = _root()
    existing = next(path for path in (root, *root.parents) if path.exists())
    if (root / key).is_dir() or os.access(existing, os.W_OK):
        return root
    progress.say(f"{root} cannot be written: the features are kept for this command only, in {tempfile.gettempdir()}.")
    return _of_this_process()


@cache
def _of_this_process() -> Path:
    """Return a temporary folder, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="geobench-features-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _extracted(extraction: FeatureExtraction, folder: Path, device: str, force: bool, **how: Any) -> None:
    """Extract features and move them to ``folder``; every process of a group calls this.

    Raises:
        DatasetError: images have changed in the meantime.
    """
    group, decoder, partial = current(), extraction.decoder, extraction.folder
    if force and group.main:
        shutil.rmtree(partial, ignore_errors=True)  # an interrupted extraction may be as old as the rest
    elif group.main:
        _use_shards(folder, extraction, how["progress"])
    group.wait()
    with as_plugin_error(f"the encoder {decoder.encoder.name}", f"on {decoder.dataset.name}"):
        changed = extraction.run(device, **how)
    if group.main and changed is None:
        files.move_into_place(partial, folder)
    group.wait()
    if changed is None:
        return
    if group.main:  # the images have another key now, or will have it once they are known
        key = features_key(decoder, device, decoder.dataset.content_key(extraction.table, decoder.purpose))
        if not (resumed := folder.with_name(f"{key}.partial")).exists():
            partial.rename(resumed)
    raise changed_while_read(decoder.dataset.name, changed)


def _use_shards(folder: Path, extraction: FeatureExtraction, progress: Progress) -> None:
    """Link what shards of the features ``folder`` (``features --shard``) hold to where the whole is extracted.

    A shard that was made before one of its images changed is not used.
    """
    target = folder.with_suffix(".partial") / "shards"
    sources = sorted(folder.parent.glob(f"{folder.name}.*-of-*.partial"))
    used = [source for source in sources if extraction.is_current(source)]
    for path in (path for source in used for path in (source / "shards").glob(f"[!.]*{SUFFIX}")):
        target.mkdir(parents=True, exist_ok=True)
        if not (target / path.name).exists():
            (target / path.name).unlink(missing_ok=True)  # a link to what was removed
            (target / path.name).symlink_to(path)
    if used:
        remove = "geobench cache remove --kind shards --older-than 1h"
        progress.say(f"{extraction.what}: {len(used)} shards are used, and not needed any more afterwards ({remove}).")
    if len(used) < len(sources):
        number = len(sources) - len(used)
        progress.say(f"{extraction.what}: {number} shards were made before images changed, and are not used.")


def _add_digests(features: Features, decoder: Decoder, table: pd.DataFrame, progress: Progress) -> None:
    """Add the digests to features that an earlier version extracted; their key says that no image has changed since."""
    if len(table) > FEW or (features.folder / DIGESTS).exists():
        return
    digests = read_digests(decoder.dataset, list(table["image"]), decoder.purpose, progress)
    digests[~features.ok] = 0
    files.write_array(features.folder / DIGESTS, digests)


def keep_contents(features: Features, extraction: FeatureExtraction, images_key: str) -> None:
    """Keep the digests of the images as those of ``images_key``, unless that was done when these were extracted."""
    about = features.about
    if "images_key" in about or features.digests is None:
        return
    dataset, purpose = extraction.decoder.dataset, extraction.decoder.purpose
    contents = extraction.changes.contents or dataset.contents(extraction.table, purpose)
    if contents is not None:
        digests = np.array(features.digests)
        failed = np.flatnonzero(~features.ok)
        digests[failed] = read_digests(dataset, extraction.table["image"].to_numpy(object)[failed], purpose)
        contents.remember(images_key, digests)
    files.write_json(features.folder / ABOUT, about | {"images_key": images_key})


def is_cached(
    dataset: Dataset, table: pd.DataFrame, encoder: Encoder, *, crops: int, device: str, images_key: str = ""
) -> bool:
    """Return whether :func:`extract` would find the features of the test images in the cache."""
    images_key = images_key or dataset.content_key(table, "test")
    key = features_key(Decoder(dataset, encoder, "test", crops, None), device, images_key)
    return (_root() / key).is_dir()


def features_key(decoder: Decoder, device: str, images_key: str) -> str:
    """Return 16 hexadecimal digits, a hash of everything the features depend on."""
    augmentation, encoder = decoder.augmentation, decoder.encoder
    return files.digest(
        images_key,
        [encoder.name, encoder.weights_key(), encoder.describe(), features_code(encoder), encoder.precision(device)],
        asdict(augmentation) if augmentation is not None else decoder.crops,
    )


def _mapped(path: Path) -> npt.NDArray[np.float32] | HalfArray:
    """Return the features in the file ``path`` as a memory map."""
    array = files.read_array(path, (np.float32, np.float16), (None, None, None), mapped=True)
    return HalfArray(array) if array.dtype == np.float16 else array


def open_features(folder: Path, key: str, n: int | None = None) -> Features:
    """Return the features in ``folder``, of ``n`` images if that is known.

    Raises:
        FeatureError: they are damaged.
    """
    holding.use(folder / ARRAY, folder / ABOUT)
    try:
        array = _mapped(folder / ARRAY)
        ok = files.read_array(folder / "ok.npy", np.bool_, (None,))
    except (OSError, ValueError) as error:
        damaged = f"{folder}: the features are damaged ({error}); delete the folder and run again."
        raise FeatureError(disk.not_readable(folder, error, damaged)) from error
    n = len(array) if n is None else n
    if len(array) != n or len(ok) != n:
        raise FeatureError(f"{folder}: {len(array)} features instead of {n}; delete the folder and run again.")
    return Features(array, ok, key)
