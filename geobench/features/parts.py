"""Features extracted in shards: each by any process or machine, then joined into those of the whole set.

A shard is a contiguous share of the blocks (:mod:`geobench.features.shards`) that an extraction consists of. It is an
extraction of its own, in the folder ``KEY.3-of-16.partial``; ``3-of-16.json`` in it says that it is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.data.dataset import changed_while_read
from geobench.errors import FeatureError, MergeError, as_plugin_error
from geobench.features.cache import FEW, features_key, features_root, keep_contents, open_features
from geobench.features.code import features_code
from geobench.features.decoding import Decoder
from geobench.features.extraction import FeatureExtraction
from geobench.features.shards import SUFFIX, Shards
from geobench.images.digests import Digests, is_readable, read_digests
from geobench.progress import SILENT, Progress
from geobench.sharding import Part, Shard

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder

KIND = "features"


def extract_shard(
    dataset: Dataset,
    table: pd.DataFrame,
    encoder: Encoder,
    shard: Shard,
    *,
    table_hash: str,
    purpose: str = "test",
    crops: int = 1,
    device: str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    progress: Progress = SILENT,
) -> Path:
    """Extract the features of one shard of ``table``; return the folder that holds it, or the whole if that is cached.

    Args:
        dataset, table, encoder, purpose, crops, device, batch_size, workers, progress: as of
            :func:`geobench.features.cache.extract`.
        shard: which one.
        table_hash: digest of the names and positions in ``table``.

    Raises:
        SettingError: there are more shards than blocks of images.
        DatasetError: images have changed while they were encoded; the blocks that hold them are removed.
    """
    images_key = dataset.content_key(table, purpose, progress)
    decoder = Decoder(dataset, encoder, purpose, crops, None)
    whole = features_root() / features_key(decoder, device, images_key)
    if whole.is_dir():
        progress.say(f"the features of all images are there: {whole}; nothing to extract.")
        return whole
    folder = whole.with_name(f"{whole.name}.{shard.suffix}.partial")
    extraction = FeatureExtraction(decoder, table, folder, images_key, shard)
    with (
        files.locked(whole.with_name(f"{whole.name}.{shard.suffix}"), progress.say),
        as_plugin_error(f"the encoder {encoder.name}", f"on {dataset.name}"),
    ):
        changed = extraction.run(device, batch_size, workers, progress)
        if changed is not None:
            raise changed_while_read(dataset.name, changed)
        settings = {
            "dataset": dataset.name,
            "purpose": purpose,
            "images": len(table),
            "table_hash": table_hash,
            "encoder": encoder.name,
            "encoder_weights": encoder.weights_key(),
            "encoder_code": features_code(encoder),
            "preprocessing": encoder.describe(),
            "precision": encoder.precision(device),
            "crops": crops,
            "width": encoder.dim,
        }
        blocks = sorted((folder / "shards").glob(f"[!.]*{SUFFIX}"))
        about = {"images_key": images_key, "device": device, "blocks": {path.name: _digest(path) for path in blocks}}
        what = f"the features of {dataset.name} ({purpose}) by {encoder.name}"
        Part(folder / f"{shard.suffix}.json", KIND, shard, what, settings, about).save()
    return folder


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


@dataclass(frozen=True)
class FeatureMerge:
    """Shards that make up the features of ``extraction``, which are joined in the folder ``whole``.

    Attributes:
        parts: all shards, in order.
        extraction: of the whole, as it would be made here.
        blocks: where what the shards hold is joined.
        whole: where the features are found then.
    """

    parts: Sequence[Part]
    extraction: FeatureExtraction
    blocks: Shards
    whole: Path

    @classmethod
    def of(
        cls, parts: Sequence[Part], dataset: Dataset, table: pd.DataFrame, encoder: Encoder, table_hash: str
    ) -> FeatureMerge:
        """Return the merge of ``parts``; ``dataset``, ``table`` and ``encoder`` are what they are of, as it is here.

        Raises:
            MergeError: they are of another table or encoder than those here.
        """
        stated, about = parts[0].settings, parts[0].about
        here = {"images": len(table), "table_hash": table_hash, "encoder_weights": encoder.weights_key()}
        here |= {"encoder_code": features_code(encoder), "preprocessing": encoder.describe()}
        for name, value in here.items():
            if value != stated[name]:
                raise MergeError(
                    f"{parts[0].path}: {parts[0].what} have another {name.replace('_', ' ')} than there is here: "
                    f"{stated[name]!r}, not {value!r}; merge where it is the same, or extract again."
                )
        decoder = Decoder(dataset, encoder, stated["purpose"], stated["crops"], None)
        images_key = dataset.content_key(table, stated["purpose"])
        whole = features_root() / features_key(decoder, about["device"], images_key)
        extraction = FeatureExtraction(decoder, table, whole.with_suffix(".partial"), images_key)
        shape = (len(table), decoder.views, stated["width"])
        return cls(parts, extraction, Shards(extraction.folder / "shards", shape), whole)

    def check(self, progress: Progress) -> None:
        """Raise ``MergeError`` if a block is missing or damaged, or was made of other images than those here.

        Contents of images are compared, unless nothing has touched them since the shard was made here. If names, sizes
        and times agree with those on the machine that made it, and there are more than 100,000, that is told instead.
        """
        for part in self.parts:
            same = part.about["images_key"] == self.extraction.images_key
            compared = not same or not self.extraction.is_current(part.path.parent)
            if compared and same and len(self.extraction.table) > FEW:
                compared = False
                progress.say(f"shard {part.shard}: images have the same names, sizes and times; contents not compared.")
            elif compared:
                progress.say(f"shard {part.shard}: comparing the contents of images with those it was made of.")
            for source, block in self._sources(part):
                path = source.path(block)
                if source.record(block) is None or _digest(path) != part.about["blocks"].get(path.name):
                    raise MergeError(f"shard {part.shard} of {part.what}: {path} is missing or damaged; make it again.")
                if compared:
                    self._check_images(part, block, source.digests(block))

    def join(self, progress: Progress) -> Path:
        """Join what the shards hold, and return the folder; they are left where they are."""
        if self.whole.is_dir():
            progress.say(f"{self.parts[0].what}: they are there already, {self.whole}.")
            return self.whole
        with files.locked(self.whole, progress.say):
            self.blocks.folder.mkdir(parents=True, exist_ok=True)
            for part in self.parts:
                for source, block in self._sources(part):
                    self.blocks.path(block).unlink(missing_ok=True)
                    self.blocks.path(block).symlink_to(source.path(block).resolve())
            try:
                self.extraction.join(self.blocks, progress)
            except FeatureError as error:
                raise MergeError(str(error)) from error
            self.blocks.remove()
            files.move_into_place(self.extraction.folder, self.whole)
        n = len(self.extraction.table)
        keep_contents(open_features(self.whole, self.whole.name, n), self.extraction, self.extraction.images_key)
        merged = f"merged {len(self.parts)} shards, {n:,} images: {self.whole}"
        progress.say(f"{self.parts[0].what}: {merged}. The shards can be deleted.")
        return self.whole

    def _sources(self, part: Part) -> Iterator[tuple[Shards, range]]:
        """Yield each block of ``part``, with the folder that it is in."""
        source = replace(self.blocks, folder=part.path.parent / "shards")
        for block in replace(self.extraction, share=part.shard).assigned(source):
            yield source, block

    def _check_images(self, part: Part, block: range, made: Digests | None) -> None:
        """Raise ``MergeError`` if a block was made of other images than those here, or here more can be read."""
        dataset, purpose = self.extraction.decoder.dataset, self.extraction.decoder.purpose
        names = self.extraction.table["image"].to_numpy(object)[block.start : block.stop]
        if made is None:
            raise MergeError(f"{part.path}: an earlier version made shard {part.shard}; make it again.")
        check_images(part, dataset, names, purpose, made, read_digests(dataset, names, purpose))


def check_images(
    part: Part, dataset: Dataset, names: npt.NDArray[np.object_], purpose: str, made: Digests, here: Digests
) -> None:
    """Raise ``MergeError`` if ``part`` was made of other images than those here.

    Args:
        part: named in the error.
        dataset, names, purpose: the n images.
        made: digests (n, 2) of what it was made of, zeros for an image that could not be read.
        here: digests (n, 2) of the files here.
    """
    for row in np.flatnonzero((made != here).any(axis=1)):
        if not here[row].any():
            raise MergeError(
                f"{part.path}: shard {part.shard} was made with {names[row]}, which is not here; bring it."
            )
        if made[row].any():
            raise MergeError(
                f"{part.path}: shard {part.shard} was made of other images than those here, such as {names[row]}; make "
                "it again from these."
            )
        if is_readable(dataset, names[row], purpose):
            raise MergeError(
                f"{part.path}: shard {part.shard} counts {names[row]} as an image that cannot be read, and here it can "
                "be; make it again."
            )
